-- Small records: bytes under a name, with a version that each write raises.

-- Whether a write is as expected: its new version, or none if nothing changes; and the version of now if it is refused.
local function admit_record(prefix, write)
  local held = redis.call('HMGET', prefix .. 'record:' .. write.name, 'version', 'here')
  local written = tonumber(held[1] or 0)
  local actual = held[2] and written or 0
  if write.expected ~= 'any' and tonumber(write.expected) ~= actual then
    return nil, actual
  end
  if not write.value and not held[2] then
    return 0
  end
  -- A removed record keeps its version, so that writing it again does not give an old version a new meaning.
  return written + 1
end

local function write_record(prefix, write, version)
  local key = prefix .. 'record:' .. write.name
  if version == 0 then
    return
  end
  if write.value then
    redis.call('HSET', key, 'version', number(version), 'here', '1', 'value', write.value)
  else
    redis.call('HSET', key, 'version', number(version))
    redis.call('HDEL', key, 'here', 'value')
  end
end

-- Reads a write from the arguments: name, "any" or the expected version, "set" and the value, or "remove" and nothing.
local function record_write_of(take)
  local write = { name = take(), expected = take() }
  local value
  if take() == 'set' then
    value = take()
  else
    take()
  end
  write.value = value
  return write
end

-- Writes one record. Gives 0 and its version, or 5, 0 and the version that it has.
local function record(keys, args)
  local at = 0
  local write = record_write_of(function()
    at = at + 1
    return args[at]
  end)
  local version, actual = admit_record(prefix_of(keys), write)
  if not version then
    return { 5, 0, actual }
  end
  write_record(prefix_of(keys), write, version)
  return { 0, version }
end
