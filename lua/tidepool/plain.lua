-- plain.lua - copies of plain data: booleans, numbers, texts, tide.null, and tables of
-- these, which share nothing with what they were copied from.

local core = require "tidepool.core"

-- A copy is made at once, while all else waits: about 50 ms for so much.
local BYTES_MAX = 8 * 2 ^ 20
local VALUE_BYTES = 16
local DEPTH_MAX = 100
local KEY_MAX = 40 -- of its characters, in a sentence

local IS_KEY = { string = true, number = true, boolean = true }

local plain = {}

-- "state.users[3]"
local function place(at)
  local parts = { at[0] }
  for i, key in ipairs(at) do
    local text = tostring(key):sub(1, KEY_MAX)
    if type(key) ~= "string" then
      parts[i + 1] = ("[%s]"):format(text)
    elseif text:find "^[%a_][%w_]*$" then
      parts[i + 1] = "." .. text
    else
      parts[i + 1] = ("[%q]"):format(text)
    end
  end
  return table.concat(parts)
end

local function refuse(at, what)
  error(("%s %s: plain data expected, that is tables, texts, numbers and booleans")
    :format(place(at), what), 0)
end

local function count(at, tally, bytes)
  tally.bytes = tally.bytes + VALUE_BYTES + bytes
  if tally.bytes > BYTES_MAX then
    error(("%s is too large: at %s there are more than %d MiB, where each value counts "
      .. "as %d bytes more than its text"):format(at[0], place(at), BYTES_MAX / 2 ^ 20,
      VALUE_BYTES), 0)
  end
end

local copy

local function copy_table(value, at, tally)
  if tally.is_open[value] then refuse(at, "holds itself") end
  if getmetatable(value) ~= nil then refuse(at, "is a table with a metatable") end
  if #at >= DEPTH_MAX then refuse(at, "is more than " .. DEPTH_MAX .. " tables deep") end
  tally.is_open[value] = true
  local result, depth = {}, #at + 1
  for key, item in next, value do
    if not IS_KEY[type(key)] then
      refuse(at, "has a key that is a " .. type(key))
    end
    at[depth] = key
    count(at, tally, type(key) == "string" and #key or 0)
    result[key] = copy(item, at, tally)
    at[depth] = nil
  end
  tally.is_open[value] = nil
  return result
end

function copy(value, at, tally)
  local kind = type(value)
  if kind == "table" then return copy_table(value, at, tally) end
  if kind == "string" then
    count(at, tally, #value)
  elseif kind ~= "number" and kind ~= "boolean" and kind ~= "nil"
    and value ~= core.null then
    refuse(at, "is a " .. kind)
  end
  return value
end

-- Gives true and a copy of value; or false and a sentence that says what of it is no
-- plain data, where name stands for the whole.
function plain.copy(value, name)
  return pcall(copy, value, { [0] = name }, { bytes = 0, is_open = {} })
end

return plain
