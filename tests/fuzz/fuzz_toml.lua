-- fuzz_toml.lua - TOML: what is read is written and read again as the same; what is
-- refused is refused at a line of the text.
--
-- tests/fuzz/toml_compare.py has the second opinion on what is read.

local toml = require "tidepool.toml"

local fuzz = fuzz -- luacheck: globals fuzz

local write

local function quote(text)
  return '"' .. text:gsub('[%c"\\\127]', function(c)
    return ("\\u%04X"):format(c:byte())
  end) .. '"'
end

local function write_float(value)
  if value ~= value then return "nan" end
  if value == math.huge then return "inf" end
  if value == -math.huge then return "-inf" end
  local text = ("%.17g"):format(value)
  return text:find "[.e]" and text or text .. ".0"
end

local function write_members(value, places, is_array)
  local parts = {}
  if is_array then
    for i = 1, #value do parts[i] = write(value[i], places, places[value][i].kind) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, member in pairs(value) do
    parts[#parts + 1] = quote(name) .. "="
      .. write(member, places, places[value][name].kind)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function write(value, places, kind)
  fuzz.feature(kind)
  if kind == "table" or kind == "array" then
    return write_members(value, places, kind == "array")
  end
  if kind == "string" then return quote(value) end
  if kind == "float" then return write_float(value) end
  if kind == "integer" then
    return type(value) == "number" and ("%.0f"):format(value)
      or (tostring(value):gsub("LL$", ""))
  end
  return tostring(value)
end

local function write_root(root, places)
  local lines = {}
  for name, value in pairs(root) do
    local kind = places[root][name].kind
    lines[#lines + 1] = quote(name) .. " = " .. write(value, places, kind)
  end
  return table.concat(lines, "\n")
end

local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "cdata" then return a == b end
  if type(a) ~= "table" then return a == b or (a ~= a and b ~= b) end
  for name, value in pairs(a) do
    if not same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if a[name] == nil then return false end
  end
  return true
end

return function(data)
  local root, places = toml.parse(data)
  if not root then
    local _, lines = data:gsub("\n", "")
    assert(places.line >= 1 and places.line <= lines + 1, "no such line")
    assert(#places.message > 0)
    fuzz.feature((places.message:gsub("'.-'", "")))
    return
  end
  local text = write_root(root, places)
  local again, err = toml.parse(text)
  if not again then error(("wrote %q: %s"):format(text, tostring(err))) end
  if not same(root, again) then error(("wrote %q: not the same"):format(text)) end
end
