-- options.lua - checks the options table of a building block: what is unknown, or of the
-- wrong kind, raises at the script's line.

local core = require "tidepool.core"

local function is_number(value, least, most)
  return type(value) == "number" and value >= least and value <= most
end

local function is_pool(Pool)
  return function(value)
    local metatable = type(value) == "userdata" and debug.getmetatable(value)
    return metatable and metatable[1] == Pool
  end
end

-- kind -> { what it is in words, the check }
local KINDS = {
  seconds = { "seconds, from 0 on,",
    function(value) return is_number(value, 0, 1e9) end },
  duration = { "seconds, from 0.001 on,",
    function(value) return is_number(value, 0.001, 1e9) end },
  rate = { "a number above 0", function(value) return is_number(value, 1e-9, 1e9) end },
  count = { "a whole number, from 1 on,",
    function(value) return is_number(value, 1, 2 ^ 31) and value % 1 == 0 end },
  name = { "a name", function(value) return type(value) == "string" and value ~= "" end },
  fn = { "a function", function(value) return type(value) == "function" end },
  redis = { "a Redis pool, as tide.redis() gives it,", is_pool(core.redis) },
  postgres = { "a Postgres pool, as tide.postgres() gives it,", is_pool(core.postgres) },
}

local options = {}

local function refuse(who, name, wanted, value, level)
  error(("%s: %s: %s expected, got %s"):format(who, name, wanted, tostring(value)),
    level + 1)
end

-- A copy of opts, of which known says the kinds: name -> a kind, or a list of words.
-- who: in messages; level: of the caller of the function that asks.
function options.read(opts, known, who, level)
  if type(opts) ~= "table" then
    error(("%s: options table expected, got %s"):format(who, type(opts)), level + 1)
  end
  local copy = {}
  for name, value in pairs(opts) do
    local kind = known[name]
    if not kind then
      error(("%s: unknown option: %s"):format(who, tostring(name)), level + 1)
    end
    if type(kind) == "table" then
      if not kind[value] then
        refuse(who, name, "one of " .. kind.words, value, level + 1)
      end
    elseif not KINDS[kind][2](value) then
      refuse(who, name, KINDS[kind][1], value, level + 1)
    end
    copy[name] = value
  end
  return copy
end

-- For known: one of these words.
function options.one_of(...)
  local kind = { words = table.concat({ ... }, ", ") }
  for _, word in ipairs { ... } do kind[word] = true end
  return kind
end

-- A key of an entity: a string or a number.
function options.check_key(key, who, level)
  local kind = type(key)
  if kind ~= "string" and kind ~= "number" or key ~= key then
    error(("%s: key expected, a string or a number, got %s"):format(who, tostring(key)),
      level + 1)
  end
end

-- "users \"7\"": a key in messages.
function options.label(who, key)
  return who .. " " .. (type(key) == "string" and ("%q"):format(key) or key)
end

return options
