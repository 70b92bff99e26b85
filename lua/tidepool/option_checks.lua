-- option_checks.lua - options that scripts give as a table: which there are, and what
-- of them is wrong.

local options = {}

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
function options.one_of(list)
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
  local is_pool, kind = pcall(function() return value:kind() end)
  return is_pool and kind
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

-- Raises at level for what is unknown or wrong of given: checks has for each name
-- fn(value), which gives what was expected, or nothing.  Gives the table.
function options.check(given, checks, level)
  if type(given) ~= "table" then
    error("options table expected, got " .. type(given), level + 1)
  end
  for name, value in pairs(given) do
    local check = checks[name]
    if not check then error("unknown option: " .. tostring(name), level + 1) end
    local expected = check(value)
    if expected then
      error(("option %s: %s expected, got %s"):format(name, expected, tostring(value)),
        level + 1)
    end
  end
  return given
end

return options
