-- toml_values.lua - what toml.lua reads of files, for toml_compare.py: a line of JSON for
-- each file of the arguments, { "wrong": message } or { "value": ... }, in which every
-- scalar is [kind, text].

local core = require "tidepool.core"
local toml = require "tidepool.toml"

local convert

local function members(value, places, is_array)
  local result = {}
  for name, member in pairs(value) do
    result[is_array and name or tostring(name)] =
      convert(member, places, places[value][name].kind)
  end
  return { is_array and "array" or "table", result }
end

function convert(value, places, kind)
  if kind == "table" or kind == "array" then
    return members(value, places, kind == "array")
  end
  if kind == "float" then return { kind, ("%.17g"):format(value) } end
  if kind == "integer" and type(value) == "number" then
    return { kind, ("%.0f"):format(value) }
  end
  return { kind, (tostring(value):gsub(kind == "integer" and "LL$" or "^$", "")) }
end

for _, path in ipairs(arg) do
  local file = assert(io.open(path, "rb"))
  local root, places = toml.parse(file:read "*a")
  file:close()
  local told = root and { value = members(root, places, false) }
    or { wrong = places.message }
  print(assert(core.encode(told)))
end
