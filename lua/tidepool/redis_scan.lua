-- redis_scan.lua - SCAN and its kin as iterators.

local OPTIONS = {
  SCAN = { match = true, count = true, type = true },
  HSCAN = { match = true, count = true },
  SSCAN = { match = true, count = true },
  ZSCAN = { match = true, count = true },
}

local redis_scan = {}

local function check_option(allowed, name, value)
  if not allowed[name] then error("unknown option: " .. tostring(name), 5) end
  if name == "count" then
    if type(value) ~= "number" or value < 1 or value % 1 ~= 0 then
      error("count: a whole number from 1 on expected, got " .. tostring(value), 5)
    end
  elseif type(value) ~= "string" then
    error(name .. ": string expected, got " .. type(value), 5)
  end
end

-- The command's words, and the place of the cursor among them.
local function words_of(command, key, opts)
  local words = { command }
  if command ~= "SCAN" then words[2] = key end
  local at = #words + 1
  words[at] = "0"
  for name, value in pairs(opts) do
    check_option(OPTIONS[command], name, value)
    words[#words + 1] = name:upper()
    words[#words + 1] = value
  end
  return words, at
end

-- The next item of one page after another.
local function pages(target, words, cursor_at)
  local items, at, is_last = {}, 0, false
  return function()
    while at >= #items do
      if is_last then return nil end
      local reply, err = target:call(unpack(words))
      if not reply then error(err, 0) end
      words[cursor_at], items = reply[1], reply[2]
      at, is_last = 0, reply[1] == "0"
    end
    at = at + 1
    return items[at]
  end
end

-- key, or for HSCAN field, value, for ZSCAN member, score.  A failure is raised, since an
-- iterator could only end.  Called by the method that a script calls.
function redis_scan.iterate(target, command, key, opts)
  local next_item = pages(target, words_of(command, key, opts or {}))
  if command == "HSCAN" then
    return function()
      local field = next_item()
      if field ~= nil then return field, next_item() end
    end
  elseif command == "ZSCAN" then
    return function()
      local member = next_item()
      if member ~= nil then return member, tonumber(next_item()) end
    end
  end
  return next_item
end

return redis_scan
