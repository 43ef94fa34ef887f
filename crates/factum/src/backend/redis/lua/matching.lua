-- Which events match a query, found by lists of positions, one for each category, type and tag.
--
-- Every key of a partition begins with the same prefix, `{name:partition}:`, which is what stands before `log` in the one key that a
-- caller names. The others are made from it: their names are long, and the function has all that they are made of.

local function prefix_of(keys)
  return string.sub(keys[1], 1, -4)
end

-- Numbers up to 2^53 as Redis reads them; Lua by itself would write large ones with an exponent.
local function number(value)
  return value < 1e14 and value .. '' or string.format('%.0f', value)
end

local function category_of(stream)
  local dash = string.find(stream, '-', 1, true)
  if dash and dash > 1 then
    return string.sub(stream, 1, dash - 1)
  end
  return stream
end

-- An entry of the log: where an event is, and what queries ask of it.
local function pointer(entry)
  local fields = entry[2]
  local found = { position = tonumber(string.match(entry[1], '^%d+')), stream = fields[2], version = fields[4], type = fields[6], tags = {} }
  for index = 8, #fields, 2 do
    found.tags[fields[index]] = true
  end
  return found
end

-- Reads a query from the arguments; `take` gives the next one.
local function query_of(take)
  local items = {}
  for index = 1, tonumber(take()) do
    local item = { category = take(), prefix = take(), types = {}, has_types = false, tags = {} }
    for _ = 1, tonumber(take()) do
      item.types[take()] = true
      item.has_types = true
    end
    for place = 1, tonumber(take()) do
      item.tags[place] = take()
    end
    items[index] = item
  end
  return items
end

local function matches_item(item, found)
  if item.category ~= '' and item.category ~= category_of(found.stream) then
    return false
  end
  if string.sub(found.stream, 1, #item.prefix) ~= item.prefix then
    return false
  end
  if item.has_types and not item.types[found.type] then
    return false
  end
  for _, tag in ipairs(item.tags) do
    if not found.tags[tag] then
      return false
    end
  end
  return true
end

-- A query without items matches everything.
local function matches(items, found)
  for _, item in ipairs(items) do
    if matches_item(item, found) then
      return true
    end
  end
  return #items == 0
end

-- The place in a list of positions of the first one after `after`. It looks from the end, where most questions are about.
local function place_after(key, after)
  local low, high = 0, redis.call('LLEN', key)
  local step = 1
  while high > low do
    local at = math.max(high - step, 0)
    if tonumber(redis.call('LINDEX', key, at)) > after then
      high = at
      step = step * 2
    else
      low = at + 1
      break
    end
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) > after then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- The lists that together hold all that can match an item: of several ways the shortest. None for an item that only asks for a prefix.
local function lists_of(prefix, item)
  local ways = {}
  for _, tag in ipairs(item.tags) do
    ways[#ways + 1] = { prefix .. 'tag:' .. tag }
  end
  if item.has_types then
    local keys = {}
    for name in pairs(item.types) do
      keys[#keys + 1] = prefix .. 'type:' .. name
    end
    ways[#ways + 1] = keys
  end
  if item.category ~= '' then
    ways[#ways + 1] = { prefix .. 'category:' .. item.category }
  end
  local best, shortest
  for _, keys in ipairs(ways) do
    local length = 0
    for _, key in ipairs(keys) do
      length = length + redis.call('LLEN', key)
    end
    if not best or length < shortest then
      best, shortest = keys, length
    end
  end
  return best
end

-- The next positions to look at, in order, and how far they reach: all up to there that can match is among them. None if there is no
-- list to go by. Of each list it takes `count`.
local function candidates(prefix, items, range, count)
  local keys = {}
  for _, item in ipairs(items) do
    local lists = lists_of(prefix, item)
    if not lists then
      return nil
    end
    for _, key in ipairs(lists) do
      keys[key] = true
    end
  end
  if #items == 0 then
    return nil
  end
  local taken = {}
  local reached = range.forward and range.up_to or range.after + 1
  for key in pairs(keys) do
    local first = place_after(key, range.after)
    local last = place_after(key, range.up_to) - 1
    local from, to = first, last
    if range.forward then
      to = math.min(last, first + count - 1)
    else
      from = math.max(first, last - count + 1)
    end
    if from <= to then
      local positions = redis.call('LRANGE', key, from, to)
      for _, position in ipairs(positions) do
        taken[tonumber(position)] = true
      end
      if to < last then
        reached = math.min(reached, tonumber(positions[#positions]))
      end
      if from > first then
        reached = math.max(reached, tonumber(positions[1]))
      end
    end
  end
  local sorted = {}
  for position in pairs(taken) do
    if (range.forward and position <= reached) or (not range.forward and position >= reached) then
      sorted[#sorted + 1] = position
    end
  end
  if range.forward then
    table.sort(sorted)
  else
    table.sort(sorted, function(one, other) return one > other end)
  end
  return sorted, reached
end

-- Looks at some of the range and gives what matches, and how far it came.
local function look(prefix, items, range, looked_max, found_max)
  local log = prefix .. 'log'
  local found = {}
  local positions, reached = candidates(prefix, items, range, looked_max)
  if positions then
    for _, position in ipairs(positions) do
      local id = number(position) .. '-0'
      local event = pointer(redis.call('XRANGE', log, id, id)[1])
      if matches(items, event) then
        found[#found + 1] = event
        if #found == found_max then
          return found, position
        end
      end
    end
    return found, reached
  end
  local from, to = number(range.after + 1) .. '-0', number(range.up_to) .. '-0'
  local entries
  if range.forward then
    entries = redis.call('XRANGE', log, from, to, 'COUNT', looked_max)
  else
    entries = redis.call('XREVRANGE', log, to, from, 'COUNT', looked_max)
  end
  for _, entry in ipairs(entries) do
    local event = pointer(entry)
    if matches(items, event) then
      found[#found + 1] = event
    end
    reached = event.position
    if #found == found_max then
      return found, reached
    end
  end
  if #entries < looked_max then
    reached = range.forward and range.up_to or range.after + 1
  end
  return found, reached
end

-- Some event after `after` that matches, or none.
local function match_after(prefix, items, after, head)
  while after < head do
    local found, reached = look(prefix, items, { after = after, up_to = head, forward = true }, 1000, 1)
    if found[1] then
      return found[1]
    end
    after = reached
  end
  return nil
end

-- One page of a read of the log: how far it looked, then position, stream and version of each match.
-- Arguments: after, up to, "forward" or "backward", how many to look at, how many to find, the query.
local function scan(keys, args)
  local at = 0
  local function take()
    at = at + 1
    return args[at]
  end
  local range = { after = tonumber(take()), up_to = tonumber(take()), forward = take() == 'forward' }
  local looked_max, found_max = tonumber(take()), tonumber(take())
  local found, reached = look(prefix_of(keys), query_of(take), range, looked_max, found_max)
  local reply = { reached }
  for _, event in ipairs(found) do
    reply[#reply + 1] = event.position
    reply[#reply + 1] = event.stream
    reply[#reply + 1] = tonumber(event.version)
  end
  return reply
end
