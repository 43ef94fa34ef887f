-- The append: everything is looked at before anything is written, so that a refused append changes nothing.
--
-- An answer begins with a number: 0 recorded, 1 recorded before, 2 conflict, 3 condition failed, 4 id reused, 5 record conflict,
-- 6 the keys contradict each other, 7 a command failed before anything was written.

local RECORDED, DUPLICATE, CONFLICT, CONDITION_FAILED, ID_REUSED, RECORD_CONFLICT, CONTRADICTION, FAILED = 0, 1, 2, 3, 4, 5, 6, 7
local WRONG_VERSION, PARTLY_RECORDED, RECORDED_ELSEWHERE = 0, 1, 2

-- So many values are handed to one command at most; Lua's stack has room for about eight thousand.
local VALUES_MAX = 4000

-- Reads the parts from the arguments, from place `at` on. Gives them and the place behind them.
local function parts_of(args, at)
  local parts = {}
  local parts_count = tonumber(args[at])
  at = at + 1
  for number_of_part = 1, parts_count do
    local events = {}
    parts[number_of_part] = { stream = args[at], expected = args[at + 1], events = events }
    local events_count = tonumber(args[at + 2])
    at = at + 3
    for place = 1, events_count do
      local event = {
        id = args[at], id_text = args[at + 1], type = args[at + 2], data = args[at + 3], metadata = args[at + 4], occurred_at = args[at + 5],
      }
      local tags_count = tonumber(args[at + 6])
      at = at + 7
      if tags_count > 0 then
        event.tags = { unpack(args, at, at + tags_count - 1) }
        at = at + tags_count
      end
      events[place] = event
    end
  end
  return parts, at
end

-- The stream's version, the first that is left, and for each event the version at which its id stands.
local function stand_of(prefix, part)
  local key = prefix .. 'ids:' .. part.stream
  if #part.events == 1 then
    local held = redis.call('HMGET', key, 'version', 'first', part.events[1].id)
    local at = held[3] and tonumber(held[3])
    return tonumber(held[1] or 0), { at and at >= tonumber(held[2] or 1) and at or false }
  end
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
  if #part.events == 1 and not stands[1] and not recorded_to and accepts(part.expected, version) then
    return nil, nil
  end
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
  if #parts == 1 then
    local version, stands = stand_of(prefix, parts[1])
    local receipt, answer = admit_part(prefix, parts[1], 0, version, stands, nil)
    if receipt then
      answer = { DUPLICATE, unpack(receipt) }
    end
    return { version }, answer
  end
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
  if #values <= VALUES_MAX then
    return redis.call(command, key, unpack(values))
  end
  local answer
  for from = 1, #values, VALUES_MAX do
    answer = redis.call(command, key, unpack(values, from, math.min(from + VALUES_MAX - 1, #values)))
  end
  return answer
end

-- While a cluster moves a slot, a key may be here or there. One command that names all keys fails then, before anything is written.
local function touch_keys(prefix, parts, records)
  local keys = { prefix .. 'log', prefix .. 'meta', prefix .. 'streams', prefix .. 'categories', prefix .. 'types' }
  for _, part in ipairs(parts) do
    local category = category_of(part.stream)
    keys[#keys + 1] = prefix .. 'stream:' .. part.stream
    keys[#keys + 1] = prefix .. 'ids:' .. part.stream
    keys[#keys + 1] = prefix .. 'streams:' .. category
    keys[#keys + 1] = prefix .. 'category:' .. category
    for _, event in ipairs(part.events) do
      keys[#keys + 1] = prefix .. 'type:' .. event.type
      for _, tag in ipairs(event.tags or {}) do
        keys[#keys + 1] = prefix .. 'tag:' .. tag
      end
    end
  end
  for _, write in ipairs(records) do
    keys[#keys + 1] = prefix .. 'record:' .. write.name
  end
  for from = 1, #keys, VALUES_MAX do
    redis.call('EXISTS', unpack(keys, from, math.min(from + VALUES_MAX - 1, #keys)))
  end
end

-- What a batch knows of the partition, and has yet to write: where the log ends, and the positions that lists are to get.
local function begin_batch(prefix, place)
  local held = redis.call('HMGET', prefix .. 'meta', 'head', 'closed', 'first_at', 'last_at')
  local head = tonumber(held[1] or 0)
  -- The clock may go back; what is recorded may not.
  local time = redis.call('TIME')
  return {
    prefix = prefix,
    partitions = place.partitions,
    partition = place.partition,
    counter = math.max(place.counter, math.floor(head / place.partitions), tonumber(held[2] or 0)),
    head = head,
    first_at = held[3],
    recorded_at = number(math.max(tonumber(held[4] or 0), tonumber(time[1]) * 1000000 + tonumber(time[2]))),
    written = false,
    lists = { category = {}, type = {}, tag = {} },
    -- Streams that begin, and the same by category.
    begun = {},
    begun_by_category = {},
  }
end

local function add_to_list(lists, name, value)
  local list = lists[name]
  if not list then
    lists[name] = { value }
  -- An event that carries a tag twice stands in its list once.
  elseif list[#list] ~= value then
    list[#list + 1] = value
  end
end

-- A stream has got its first event.
local function note_begun(batch, stream, category)
  batch.begun[#batch.begun + 1] = stream
  add_to_list(batch.begun_by_category, category, stream)
end

local function write_begun(batch)
  if #batch.begun == 0 then
    return
  end
  call_with('RPUSH', batch.prefix .. 'streams', batch.begun)
  for category, streams in pairs(batch.begun_by_category) do
    call_with('RPUSH', batch.prefix .. 'streams:' .. category, streams)
  end
  batch.begun, batch.begun_by_category = {}, {}
end

-- Adds to the lists of positions; a category or type that is new is named in the list of them.
local function write_lists(batch, kind, names)
  for name, positions in pairs(batch.lists[kind]) do
    local length = call_with('RPUSH', batch.prefix .. kind .. ':' .. name, positions)
    if names and length == #positions then
      redis.call('RPUSH', batch.prefix .. names, name)
    end
  end
  batch.lists[kind] = {}
end

-- Writes what several appends have in common.
local function write_batch(batch)
  if not batch.written then
    return
  end
  write_begun(batch)
  write_lists(batch, 'category', 'categories')
  write_lists(batch, 'type', 'types')
  write_lists(batch, 'tag', nil)
  local meta = batch.prefix .. 'meta'
  if batch.first_at then
    redis.call('HSET', meta, 'head', number(batch.head), 'last_at', batch.recorded_at)
  else
    redis.call('HSET', meta, 'head', number(batch.head), 'last_at', batch.recorded_at, 'first_at', batch.recorded_at)
    batch.first_at = batch.recorded_at
  end
  batch.written = false
end

-- Adds an entry. Gives nothing, or what was in the way.
local function add_entry(key, id, ...)
  local written = redis.pcall('XADD', key, id, ...)
  if type(written) == 'table' then
    return key .. ' does not take ' .. id .. ': ' .. written.err
  end
  return nil
end

-- Writes one event to its stream and to the log. Gives nothing, or what was in the way.
local function write_event(batch, stream, event, version)
  local counter = batch.counter + 1
  local position = number(counter * batch.partitions + batch.partition)
  local events, log = batch.prefix .. 'stream:' .. stream, batch.prefix .. 'log'
  local wrong
  if event.metadata == '' and event.occurred_at == '' and not event.tags then
    wrong = add_entry(events, version .. '-0', 'type', event.type, 'data', event.data, 'id', event.id_text, 'position', position,
      'recorded_at_us', batch.recorded_at)
      or add_entry(log, position .. '-0', 'stream', stream, 'version', version, 'type', event.type)
  else
    local more, tags = {}, {}
    if event.metadata ~= '' then
      more[1], more[2] = 'metadata', event.metadata
    end
    if event.occurred_at ~= '' then
      more[#more + 1], more[#more + 2] = 'occurred_at', event.occurred_at
    end
    for _, tag in ipairs(event.tags or {}) do
      more[#more + 1], more[#more + 2] = 'tag', tag
      tags[#tags + 1], tags[#tags + 2] = 'tag', tag
      add_to_list(batch.lists.tag, tag, position)
    end
    wrong = add_entry(events, version .. '-0', 'type', event.type, 'data', event.data, 'id', event.id_text, 'position', position,
      'recorded_at_us', batch.recorded_at, unpack(more))
      or add_entry(log, position .. '-0', 'stream', stream, 'version', version, 'type', event.type, unpack(tags))
  end
  if wrong then
    return wrong
  end
  batch.counter = counter
  batch.head = counter * batch.partitions + batch.partition
  batch.written = true
  add_to_list(batch.lists.type, event.type, position)
  return nil, position
end

-- Writes one part's events. Gives nothing, or what was in the way.
local function write_part(batch, part, before)
  local prefix, stream = batch.prefix, part.stream
  local category = category_of(stream)
  local ids = { 'version', number(before + #part.events) }
  for index, event in ipairs(part.events) do
    local version = number(before + index)
    local wrong, position = write_event(batch, stream, event, version)
    if wrong then
      return wrong
    end
    add_to_list(batch.lists.category, category, position)
    ids[#ids + 1], ids[#ids + 2] = event.id, version
    if before == 0 and index == 1 then
      -- Short hashes are searched from their beginning: what every append asks for stands in front of the ids.
      ids[3], ids[4], ids[5], ids[6], ids[7], ids[8] = 'first', '1', 'begun', position, event.id, version
    end
  end
  call_with('HSET', prefix .. 'ids:' .. stream, ids)
  if before == 0 then
    note_begun(batch, stream, category)
  end
  return nil
end

-- Carries out one append of a batch, or refuses it. Gives its answer.
local function append_one(batch, in_cluster, parts, records, condition)
  local prefix = batch.prefix
  local versions, answer = admit(prefix, parts)
  if answer then
    return answer
  end
  if condition then
    -- It must see what the batch has recorded so far.
    write_batch(batch)
    local match = match_after(prefix, condition.none_of, condition.after, batch.head)
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
  if in_cluster then
    touch_keys(prefix, parts, records)
  end
  local answer = { RECORDED, (batch.counter + 1) * batch.partitions + batch.partition }
  for index, part in ipairs(parts) do
    local wrong = write_part(batch, part, versions[index])
    if wrong then
      return { CONTRADICTION, wrong }
    end
    answer[#answer + 1] = versions[index]
  end
  for index, write in ipairs(records) do
    write_record(prefix, write, record_versions[index])
    answer[#answer + 1] = record_versions[index]
  end
  return answer
end
