-- fuzz_json.lua - JSON as scripts have it: what is read is written as JSON, to the letter
-- of the standard, and read again as the same.

local core = require "tidepool.core"
local reply = require "tidepool.reply"

local fuzz = fuzz -- luacheck: globals fuzz

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for name, value in pairs(a) do
    if not same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if a[name] == nil then return false end
  end
  return true
end

return function(data)
  local value, err = reply.decode(data)
  local is_json = fuzz.is_json(data)
  if err then
    assert(not is_json, "it is JSON: " .. err.message)
    assert(err.status == 400)
    fuzz.feature((err.message:gsub("%d+", "")))
    return
  end
  local text, failure = core.encode(value)
  if not text then
    assert(not is_json or failure:find "infinite" or failure:find "100 deep", failure)
    fuzz.feature(failure)
    return
  end
  if not fuzz.is_json(text) then error(("%q is not JSON"):format(text)) end
  local again = reply.decode(text)
  if is_json and not same(value, again) then
    error(("%q is not the same"):format(text))
  end
end
