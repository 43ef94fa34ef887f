-- Batches of appends: one call, one sync of the server, and an answer for each. What is most frequent, one event for one stream, is done here with
-- few steps; all else by append.lua.

-- The answer to an append that a command did not let be carried out.
local function failed(reason)
  return { FAILED, type(reason) == 'table' and reason.err or tostring(reason) }
end

-- One plain event, as its arguments stand from place `at` on: its expectation behind a "+", and so many in all.
local PLAIN_COUNT = 6

-- Records one plain event of a stream that is as expected, at this position: most appends are that, and few steps do it. Gives its answer, its
-- position as text, and whether the stream begins with it; or nothing if it is to be looked at closely: then nothing has been written.
local function record_plain(prefix, place, recorded_at, args, at)
  local expected, stream, id, type = args[at], args[at + 1], args[at + 2], args[at + 4]
  local ids = prefix .. 'ids:' .. stream
  local held = redis.call('HMGET', ids, 'version', id)
  local before = held[1]
  if held[2] then
    return nil
  elseif before then
    if expected ~= '+' .. before and expected ~= '+any' and expected ~= '+exists' then
      return nil
    end
  elseif expected ~= '+0' and expected ~= '+any' then
    return nil
  end
  local versions_before = tonumber(before or 0)
  local version, position = number(versions_before + 1), number(place)
  local wrong = add_entry(prefix .. 'stream:' .. stream, version .. '-0', 'type', type, 'data', args[at + 5], 'id', args[at + 3],
    'position', position, 'recorded_at_us', recorded_at)
    or add_entry(prefix .. 'log', position .. '-0', 'stream', stream, 'version', version, 'type', type)
  if wrong then
    return { CONTRADICTION, wrong }
  end
  if before then
    redis.call('HSET', ids, 'version', version, id, version)
  else
    redis.call('HSET', ids, 'version', version, 'first', '1', 'begun', position, id, version)
  end
  return { RECORDED, place, versions_before }, position, not before
end

-- One such event of a batch.
local function append_plain(batch, args, at)
  local counter = batch.counter + 1
  local place = counter * batch.partitions + batch.partition
  local answer, position, begins = record_plain(batch.prefix, place, batch.recorded_at, args, at)
  if position then
    local category = category_of(args[at + 1])
    batch.counter, batch.head, batch.written = counter, place, true
    add_to_list(batch.lists.type, args[at + 4], position)
    add_to_list(batch.lists.category, category, position)
    if begins then
      note_begun(batch, args[at + 1], category)
    end
  end
  return answer
end

-- One such event by itself, in a store of one partition that has some already: what a caller who is alone sends again and again. A batch of
-- one would do the same with a third more work. Gives the answers, or nothing if it is not so simple.
local function append_alone(prefix, args, at)
  local meta = prefix .. 'meta'
  local held = redis.call('HMGET', meta, 'head', 'last_at', 'closed')
  if not held[1] or held[3] then
    return nil
  end
  local time = redis.call('TIME')
  local recorded_at = time[1] .. string.sub('00000' .. time[2], -6)
  if tonumber(recorded_at) < tonumber(held[2]) then
    recorded_at = held[2]
  end
  local carried_out, answer, position, begins = pcall(record_plain, prefix, held[1] + 1, recorded_at, args, at)
  if not carried_out then
    return { failed(answer) }
  elseif not position then
    return answer and { answer }
  end
  local category, type = category_of(args[at + 1]), args[at + 4]
  if begins then
    redis.call('RPUSH', prefix .. 'streams', args[at + 1])
    redis.call('RPUSH', prefix .. 'streams:' .. category, args[at + 1])
  end
  if redis.call('RPUSH', prefix .. 'category:' .. category, position) == 1 then
    redis.call('RPUSH', prefix .. 'categories', category)
  end
  if redis.call('RPUSH', prefix .. 'type:' .. type, position) == 1 then
    redis.call('RPUSH', prefix .. 'types', type)
  end
  redis.call('HSET', meta, 'head', position, 'last_at', recorded_at)
  return { answer }
end

-- The parts of an append that is one plain event.
local function plain_parts(args, at)
  local event = { id = args[at + 2], id_text = args[at + 3], type = args[at + 4], data = args[at + 5], metadata = '', occurred_at = '' }
  return { { stream = args[at + 1], expected = string.sub(args[at], 2), events = { event } } }
end

-- Carries out one append whose arguments are from place `at` on. Gives the place behind them, and its answer.
local function append_next(batch, in_cluster, args, at)
  if string.byte(args[at]) == 43 then
    local next = at + PLAIN_COUNT
    -- In a cluster all keys are looked at before anything is written.
    local answer = not in_cluster and append_plain(batch, args, at)
    return next, answer or append_one(batch, in_cluster, plain_parts(args, at), {}, nil)
  end
  local parts, next = parts_of(args, at)
  local function take()
    next = next + 1
    return args[next - 1]
  end
  local records, condition = {}, nil
  for index = 1, tonumber(take()) do
    records[index] = record_write_of(take)
  end
  local after = tonumber(take())
  if after >= 0 then
    condition = { after = after, none_of = query_of(take) }
  end
  -- The place comes back although the append may fail.
  local carried_out, answer = pcall(append_one, batch, in_cluster, parts, records, condition)
  return next, carried_out and answer or failed(answer)
end

-- Carries out a batch of appends, none of which touches what another does. Gives an answer for each.
--
-- Arguments: "cluster" or "single", the number of partitions, which of them this is, the number that positions are to be beyond, and how
-- many appends follow. Each is its parts, its records, and its condition: the position and the query, or -1 for none. One event for one stream,
-- with nothing besides, is shorter: "+" and what it expects, the stream, its id in bytes and as text, its type, its data.
local function append(keys, args)
  local in_cluster = args[1] == 'cluster'
  if args[5] == '1' and args[2] == '1' and not in_cluster and string.byte(args[6]) == 43 then
    local answers = append_alone(prefix_of(keys), args, 6)
    if answers then
      return answers
    end
  end
  local place = { partitions = tonumber(args[2]), partition = tonumber(args[3]), counter = tonumber(args[4]) }
  local batch = begin_batch(prefix_of(keys), place)
  local at = 6
  local answers = {}
  for number_of_append = 1, tonumber(args[5]) do
    -- What fails in one append leaves the others as they are.
    local carried_out, next, answer = pcall(append_next, batch, in_cluster, args, at)
    if not carried_out then
      next, answer = at + PLAIN_COUNT, failed(next)
    end
    at = next
    answers[number_of_append] = answer
  end
  write_batch(batch)
  return answers
end
