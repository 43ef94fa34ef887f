-- What happens to a partition besides appends: it is made, truncated, and told how far readers have come.

-- Makes the store, or gives what it was made with: its format and its number of partitions; nothing if it is not there and not to be made.
-- Arguments: format, partitions, "create" or "keep".
local function open(keys, args)
  local meta = prefix_of(keys) .. 'meta'
  if args[3] == 'create' and redis.call('HEXISTS', meta, 'format') == 0 then
    redis.call('HSET', meta, 'format', args[1], 'partitions', args[2])
  end
  return redis.call('HMGET', meta, 'format', 'partitions')
end

-- Promises that no later event of this partition has a number up to this one. Gives the position of its last event.
-- Arguments: the number.
local function close(keys, args)
  local meta = prefix_of(keys) .. 'meta'
  local held = redis.call('HMGET', meta, 'head', 'closed')
  if tonumber(held[2] or 0) < tonumber(args[1]) then
    redis.call('HSET', meta, 'closed', args[1])
  end
  return tonumber(held[1] or 0)
end

local function bytes_of(id)
  local digits = string.gsub(id, '-', '')
  return (string.gsub(digits, '%x%x', function(pair) return string.char(tonumber(pair, 16)) end))
end

-- Removes events of a stream from its beginning, at most a thousand, so that nobody waits long. Whoever calls it goes on until done.
-- Arguments: stream, the first version to keep.
-- Gives 0 (no such stream), 1 and the version (beyond its end), or 2, the version and the first version that is left.
local function truncate(keys, args)
  local prefix = prefix_of(keys)
  local events, ids = prefix .. 'stream:' .. args[1], prefix .. 'ids:' .. args[1]
  local before = tonumber(args[2])
  local held = redis.call('HMGET', ids, 'version', 'first')
  if not held[1] then
    return { 0 }
  end
  local version, first = tonumber(held[1]), tonumber(held[2] or 1)
  if before > version + 1 then
    return { 1, version }
  end
  before = math.min(before, first + 1000)
  if before <= first then
    return { 2, version, first }
  end
  -- Ids of truncated events are forgotten. They are read a few at a time, because payloads come with them.
  local from = first
  while from < before do
    local entries = redis.call('XRANGE', events, number(from) .. '-0', number(before - 1) .. '-0', 'COUNT', 50)
    local forgotten = {}
    for index, entry in ipairs(entries) do
      forgotten[index] = bytes_of(entry[2][6])
    end
    if #forgotten > 0 then
      redis.call('HDEL', ids, unpack(forgotten))
    end
    from = from + 50
  end
  redis.call('XTRIM', events, 'MINID', number(before) .. '-0')
  redis.call('HSET', ids, 'first', number(before))
  return { 2, version, before }
end
