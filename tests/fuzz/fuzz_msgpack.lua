-- fuzz_msgpack.lua - MessagePack from anybody: what is read is written, and read again as
-- the same, but for what is missing in a table that is taken as an array: that is null.

local tide = require "tidepool"

local fuzz = fuzz -- luacheck: globals fuzz

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b or (a ~= a and b ~= b)
  end
  for name, value in pairs(a) do
    if not same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if a[name] == nil and b[name] ~= tide.null then return false end
  end
  return true
end

return function(data)
  local value, err = tide.msgpack_decode(data)
  if err then
    assert(err.status == 400 and #err.message > 0)
    fuzz.feature((err.message:gsub("%d+", "")))
    return
  end
  fuzz.feature(type(value))
  local ok, bytes = pcall(tide.msgpack_encode, value)
  if not ok then
    fuzz.feature((tostring(bytes):gsub("%d+", "")))
    return
  end
  local again = tide.msgpack_decode(bytes)
  if not same(value, again) then error(("%q is not the same"):format(bytes)) end
end
