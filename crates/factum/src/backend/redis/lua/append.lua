-- The append: everything is looked at before anything is written, so that a refused append changes nothing.
--
-- What it gives begins with a number: 0 recorded, 1 recorded before, 2 conflict, 3 condition failed, 4 id reused, 5 record conflict,
-- 6 the keys contradict each other.

local RECORDED, DUPLICATE, CONFLICT, CONDITION_FAILED, ID_REUSED, RECORD_CONFLICT, CONTRADICTION = 0, 1, 2, 3, 4, 5, 6
local WRONG_VERSION, PARTLY_RECORDED, RECORDED_ELSEWHERE = 0, 1, 2

-- So many values are handed to one command at most; Lua's stack has room for about eight thousand.
local VALUES_MAX = 4000

local function parts_of(take)
  local parts = {}
  for number_of_part = 1, tonumber(take()) do
    local part = { stream = take(), expected = take(), events = {} }
    for place = 1, tonumber(take()) do
      local event = { id = take(), id_text = take(), type = take(), data = take(), metadata = take(), occurred_at = take(), tags = {} }
      for tag = 1, tonumber(take()) do
        event.tags[tag] = take()
      end
      part.events[place] = event
    end
    parts[number_of_part] = part
  end
  return parts
end

-- The stream's version, the first that is left, and for each event the version at which its id stands.
local function stand_of(prefix, part)
  local key = prefix .. 'ids:' .. part.stream
  local stands = {}
  local version, first
  local done = 0
  repeat
    local wanted = { 'version', 'first' }
    local upto = math.min(done + VALUES_MAX, #part.events)
    for place = done + 1, upto do
      wanted[#wanted + 1] = part.events[place].id
    end
    local held = redis.call('HMGET', key, unpack(wanted))
    version, first = tonumber(held[1] or 0), tonumber(held[2] or 1)
    for index = 3, #wanted do
      local stands_at = tonumber(held[index] or 0)
      stands[done + index - 2] = stands_at >= first and stands_at or false
    end
    done = upto
  until done >= #part.events
  return version, stands
end

-- The position of the event that stands there, if its content is that of the proposed one.
local function position_if_same(prefix, part, event, version)
  local id = number(version) .. '-0'
  local fields = redis.call('XRANGE', prefix .. 'stream:' .. part.stream, id, id)[1][2]
  local metadata = ''
  for index = 11, #fields, 2 do
    if fields[index] == 'metadata' then
      metadata = fields[index + 1]
    end
  end
  if fields[2] ~= event.type or fields[4] ~= event.data or metadata ~= event.metadata then
    return nil
  end
  return tonumber(fields[8])
end

local function accepts(expected, version)
  if expected == 'any' then
    return true
  elseif expected == 'exists' then
    return version > 0
  end
  return version == tonumber(expected)
end

-- Decides about one part: nothing if all of it is new; what it did if it was recorded before; or a refusal. `recorded_to` is where an
-- earlier part of the same stream had been recorded before.
local function admit_part(prefix, part, index, version, stands, recorded_to)
  local recorded, count = {}, 0
  local first_place
  for place, event in ipairs(part.events) do
    if stands[place] then
      local position = position_if_same(prefix, part, event, stands[place])
      if not position then
        return nil, { ID_REUSED, index, place - 1, stands[place], version }
      end
      count = count + 1
      first_place = first_place or place
      recorded[count] = { version = stands[place], position = position }
    end
  end
  if count == 0 then
    if recorded_to or accepts(part.expected, version) then
      return nil, nil
    end
    return nil, { CONFLICT, index, version, WRONG_VERSION, 0, 0 }
  end
  local first, last = recorded[1], recorded[count]
  if count < #part.events then
    return nil, { CONFLICT, index, version, PARTLY_RECORDED, first_place - 1, first.version }
  end
  local in_place = true
  for place = 2, count do
    in_place = in_place and recorded[place].version == recorded[place - 1].version + 1
  end
  if part.expected ~= 'any' and part.expected ~= 'exists' then
    in_place = in_place and first.version == tonumber(part.expected) + 1
  end
  if recorded_to then
    in_place = in_place and first.version == recorded_to + 1
  end
  if not in_place then
    return nil, { CONFLICT, index, version, RECORDED_ELSEWHERE, 0, first.version }
  end
  return { first.version, last.version, first.position, last.position }, nil
end

-- Decides about all parts. Gives the version each follows on, or an answer that ends the append.
local function admit(prefix, parts)
  local versions, receipts, receipts_count, first_receipt = {}, {}, 0, nil
  local added, recorded_to = {}, {}
  for place, part in ipairs(parts) do
    local stored, stands = stand_of(prefix, part)
    -- A stream that comes again goes on where its earlier part left it.
    local version = stored + (added[part.stream] or 0)
    local receipt, answer = admit_part(prefix, part, place - 1, version, stands, recorded_to[part.stream])
    if answer then
      return nil, answer
    end
    versions[place] = version
    if receipt then
      receipts[place] = receipt
      receipts_count = receipts_count + 1
      first_receipt = first_receipt or place
      recorded_to[part.stream] = receipt[2]
    end
    added[part.stream] = (added[part.stream] or 0) + #part.events
  end
  if first_receipt and receipts_count == #parts then
    local answer = { DUPLICATE }
    for _, receipt in ipairs(receipts) do
      for _, value in ipairs(receipt) do
        answer[#answer + 1] = value
      end
    end
    return nil, answer
  elseif first_receipt then
    return nil, { CONFLICT, first_receipt - 1, versions[first_receipt], PARTLY_RECORDED, 0, receipts[first_receipt][1] }
  end
  return versions, nil
end

-- Hands many values to a command, some at a time. Gives the last answer.
local function call_with(command, key, values)
  local answer
  for from = 1, #values, VALUES_MAX do
    answer = redis.call(command, key, unpack(values, from, math.min(from + VALUES_MAX - 1, #values)))
  end
  return answer
end

-- The keys of lists of positions, with what is to be added to each.
local function terms_of(prefix, parts, place)
  local terms, order = {}, {}
  local function add(key, position)
    local positions = terms[key]
    if not positions then
      positions = {}
      terms[key] = positions
      order[#order + 1] = key
    end
    -- An event that carries a tag twice stands in its list once.
    if positions[#positions] ~= position then
      positions[#positions + 1] = position
    end
  end
  local counter = place.counter
  for _, part in ipairs(parts) do
    local category = prefix .. 'category:' .. category_of(part.stream)
    for _, event in ipairs(part.events) do
      counter = counter + 1
      local position = number(counter * place.partitions + place.partition)
      add(category, position)
      add(prefix .. 'type:' .. event.type, position)
      for _, tag in ipairs(event.tags) do
        add(prefix .. 'tag:' .. tag, position)
      end
    end
  end
  return terms, order
end

-- While a cluster moves a slot, a key may be here or there. One command that names all keys fails then, before anything is written.
local function touch_keys(prefix, parts, records, order)
  local keys = { prefix .. 'log', prefix .. 'meta', prefix .. 'streams', prefix .. 'categories', prefix .. 'types' }
  for _, part in ipairs(parts) do
    keys[#keys + 1] = prefix .. 'stream:' .. part.stream
    keys[#keys + 1] = prefix .. 'ids:' .. part.stream
    keys[#keys + 1] = prefix .. 'streams:' .. category_of(part.stream)
  end
  for _, write in ipairs(records) do
    keys[#keys + 1] = prefix .. 'record:' .. write.name
  end
  for _, key in ipairs(order) do
    keys[#keys + 1] = key
  end
  for from = 1, #keys, VALUES_MAX do
    redis.call('EXISTS', unpack(keys, from, math.min(from + VALUES_MAX - 1, #keys)))
  end
end

-- Writes one part's events. Gives nothing, or what was in the way.
local function write_part(prefix, part, before, place, recorded_at)
  local events, log, ids = prefix .. 'stream:' .. part.stream, prefix .. 'log', {}
  for index, event in ipairs(part.events) do
    place.counter = place.counter + 1
    local position = number(place.counter * place.partitions + place.partition)
    local version = number(before + index)
    local fields = { 'type', event.type, 'data', event.data, 'id', event.id_text, 'position', position, 'recorded_at_us', recorded_at }
    local pointed = { 'stream', part.stream, 'version', version, 'type', event.type }
    if event.metadata ~= '' then
      fields[11], fields[12] = 'metadata', event.metadata
    end
    if event.occurred_at ~= '' then
      fields[#fields + 1], fields[#fields + 2] = 'occurred_at', event.occurred_at
    end
    for _, tag in ipairs(event.tags) do
      fields[#fields + 1], fields[#fields + 2] = 'tag', tag
      pointed[#pointed + 1], pointed[#pointed + 2] = 'tag', tag
    end
    local written = redis.pcall('XADD', events, version .. '-0', unpack(fields))
    if type(written) == 'table' and written.err then
      return events .. ' does not take version ' .. version .. ': ' .. written.err
    end
    written = redis.pcall('XADD', log, position .. '-0', unpack(pointed))
    if type(written) == 'table' and written.err then
      return log .. ' does not take position ' .. position .. ': ' .. written.err
    end
    ids[#ids + 1], ids[#ids + 2] = event.id, version
  end
  ids[#ids + 1], ids[#ids + 2] = 'version', number(before + #part.events)
  call_with('HSET', prefix .. 'ids:' .. part.stream, ids)
  return nil
end

-- Adds to the lists of positions; a category or type that is new is named in the list of them.
local function write_terms(prefix, terms, order)
  for _, key in ipairs(order) do
    local length = call_with('RPUSH', key, terms[key])
    if length == #terms[key] then
      local kind, name = string.match(string.sub(key, #prefix + 1), '^(%a+):(.*)$')
      if kind == 'category' then
        redis.call('RPUSH', prefix .. 'categories', name)
      elseif kind == 'type' then
        redis.call('RPUSH', prefix .. 'types', name)
      end
    end
  end
end

-- Arguments: "cluster" or "single", the number of partitions, which of them this is, the number that positions are to be beyond; the
-- parts; the records; the condition: its query and position, or -1 for none.
local function append(keys, args)
  local prefix = prefix_of(keys)
  local at = 0
  local function take()
    at = at + 1
    return args[at]
  end
  local in_cluster = take() == 'cluster'
  local place = { partitions = tonumber(take()), partition = tonumber(take()), counter = tonumber(take()) }
  local parts = parts_of(take)
  local records = {}
  for index = 1, tonumber(take()) do
    records[index] = record_write_of(take)
  end
  local after = tonumber(take())

  local versions, answer = admit(prefix, parts)
  if answer then
    return answer
  end
  local held = redis.call('HMGET', prefix .. 'meta', 'head', 'closed', 'first_at', 'last_at')
  local head = tonumber(held[1] or 0)
  if after >= 0 then
    local match = match_after(prefix, query_of(take), after, head)
    if match then
      return { CONDITION_FAILED, match.position }
    end
  end
  local record_versions = {}
  for index, write in ipairs(records) do
    local version, actual = admit_record(prefix, write)
    if not version then
      return { RECORD_CONFLICT, index - 1, actual }
    end
    record_versions[index] = version
  end

  place.counter = math.max(place.counter, math.floor(head / place.partitions), tonumber(held[2] or 0))
  local terms, order = terms_of(prefix, parts, place)
  if in_cluster then
    touch_keys(prefix, parts, records, order)
  end
  local answer = { RECORDED, (place.counter + 1) * place.partitions + place.partition }
  if #parts > 0 then
    -- The clock may go back; what is recorded may not.
    local time = redis.call('TIME')
    local recorded_at = number(math.max(tonumber(held[4] or 0), tonumber(time[1]) * 1000000 + tonumber(time[2])))
    for index, part in ipairs(parts) do
      local first = place.counter + 1
      local wrong = write_part(prefix, part, versions[index], place, recorded_at)
      if wrong then
        return { CONTRADICTION, wrong }
      end
      if versions[index] == 0 then
        redis.call('HSET', prefix .. 'ids:' .. part.stream, 'begun', number(first * place.partitions + place.partition))
        redis.call('RPUSH', prefix .. 'streams', part.stream)
        redis.call('RPUSH', prefix .. 'streams:' .. category_of(part.stream), part.stream)
      end
      answer[#answer + 1] = versions[index]
    end
    write_terms(prefix, terms, order)
    local last = number(place.counter * place.partitions + place.partition)
    if held[3] then
      redis.call('HSET', prefix .. 'meta', 'head', last, 'last_at', recorded_at)
    else
      redis.call('HSET', prefix .. 'meta', 'head', last, 'last_at', recorded_at, 'first_at', recorded_at)
    end
  end
  for index, write in ipairs(records) do
    write_record(prefix, write, record_versions[index])
    answer[#answer + 1] = record_versions[index]
  end
  return answer
end
