-- options.lua - checks options that scripts give as a table: what is unknown, or wrong,
-- raises at the script's line.

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

-- ---- checks, for check()

function options.boolean(value)
  if type(value) ~= "boolean" then return "true or false" end
end

function options.seconds(value)
  if type(value) ~= "number" or not (value > 0 and value < 1e9) then
    return "seconds above 0"
  end
end

-- A check of whole numbers from least to most.
function options.whole(least, most)
  return function(value)
    if type(value) ~= "number" or value < least or value > most or value % 1 ~= 0 then
      return ("a whole number from %d to %d"):format(least, most)
    end
  end
end

-- A check of values in a list.
function options.word_of(list)
  local is_known = {}
  for _, value in ipairs(list) do is_known[value] = true end
  return function(value)
    if not is_known[value] then
      return '"' .. table.concat(list, '", "', 1, #list - 1) .. '" or "' .. list[#list]
        .. '"'
    end
  end
end

-- What of UTF-8 has more than one byte.
local SEQUENCES = {
  "\240[\144-\191][\128-\191][\128-\191]", "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]", "\224[\160-\191][\128-\191]",
  "\237[\128-\159][\128-\191]", "[\225-\236\238\239][\128-\191][\128-\191]",
  "[\194-\223][\128-\191]",
}

-- Whether Postgres takes it as text: UTF-8; and without controls.
function options.is_text(value)
  if value:find "%c" or value:find "%z" then return false end
  for _, sequence in ipairs(SEQUENCES) do value = value:gsub(sequence, ".") end
  return not value:find "[\128-\255]"
end

local function kind_of(value)
  local is_known, kind = pcall(function() return value:kind() end)
  return is_known and kind
end

-- A check of pools of a kind, "postgres" or "redis".
function options.pool(kind)
  return function(value)
    if type(value) ~= "userdata" or kind_of(value) ~= kind then
      return "a pool of tide." .. kind .. "()"
    end
  end
end

-- A check of names that keys, tables and cookies can begin with as they are.
function options.name(value)
  if type(value) ~= "string" or #value > 40 or not value:find "^[a-z_][a-z0-9_]*$" then
    return "a name of up to 40 of a-z, 0-9 and _"
  end
end

-- ---- the walk over an options table

-- How a rule is asked: judge(rule, value) gives what was expected, or nothing; who and
-- label stand in the messages.
local CALLED = { who = "", label = "option ",
                 judge = function(check, value) return check(value) end }
local PAIRED = { who = "", label = "", judge = function(pair, value)
  if not pair[1](value) then return pair[2] end
end }

local function judge_kind(kind, value)
  if type(kind) == "table" then
    return not kind[value] and "one of " .. kind.words or nil
  end
  if not KINDS[kind][2](value) then return KINDS[kind][1] end
end

-- Raises at level for what of given is unknown, or wrong by its rule.  Gives given.
local function walk(given, rules, level, way)
  if type(given) ~= "table" then
    error(("%soptions table expected, got %s"):format(way.who, type(given)), level + 1)
  end
  for name, value in pairs(given) do
    local rule = rules[name]
    if not rule then
      error(("%sunknown option: %s"):format(way.who, tostring(name)), level + 1)
    end
    local expected = way.judge(rule, value)
    if expected then
      error(("%s%s%s: %s expected, got %s"):format(way.who, way.label, name, expected,
        tostring(value)), level + 1)
    end
  end
  return given
end

-- checks: name -> fn(value), which gives what was expected, or nothing.
function options.check(given, checks, level)
  return (walk(given, checks, level + 1, CALLED))
end

-- known: name -> { fn(value), whether it is well; what was expected }.
function options.check_pairs(given, known, level)
  return (walk(given, known, level + 1, PAIRED))
end

-- A copy of opts, of which known says the kinds: name -> a kind, or a list of words.
-- who: in messages; level: of the caller of the function that asks.
function options.read(opts, known, who, level)
  walk(opts, known, level + 1, { who = who .. ": ", label = "", judge = judge_kind })
  local copy = {}
  for name, value in pairs(opts) do copy[name] = value end
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
