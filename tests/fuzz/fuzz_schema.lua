-- fuzz_schema.lua - keys of the configuration and their values: what is taken is within
-- its limits, and what is said of others is a sentence.
--
-- Input: a line, the path of a key; then its value as a text.

local schema = require "tidepool.schema"

local fuzz = fuzz -- luacheck: globals fuzz

local function check(entry, value)
  fuzz.feature(entry.kind .. type(value))
  if type(value) == "number" and entry.kind ~= "option" then
    assert(value == value, "it is NaN")
    assert(not entry.min or value >= entry.min, "under its least")
    assert(not entry.max or value <= entry.max, "over its most")
  end
  if entry.kind == "rail" then
    assert(value.min <= value.max)
    assert(value.min >= entry.min and value.max <= entry.max, "over its limits")
  end
  if entry.kind == "text" or entry.kind == "token" then
    assert(not value:find "%c", "a control character")
  end
end

local function read(entry, value, is_text)
  local result, expected = schema.read(entry, value, is_text)
  if result ~= nil then return check(entry, result) end
  assert(type(expected) == "string" and #expected > 0, "nothing was expected")
end

return function(data)
  local path, text = data:match "^([^\n]*)\n(.*)$"
  if not path then return end
  if path:find "^[%w_.-]+$" then
    local entry = schema.find(path)
    if entry then
      fuzz.feature(path)
      read(entry, text, true)
      read(entry, text, false)
      read(entry, tonumber(text) or false, false)
    elseif #path < 100 and not path:find "%.%." and not path:find "^%." and
      not path:find "%.$" then
      local near = schema.suggest(path)
      assert(near == nil or type(near) == "string")
    end
    return
  end
  for _, each in ipairs(schema.list) do read(each, text, true) end
end
