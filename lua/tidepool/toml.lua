-- toml.lua - TOML 1.0: an LPeg grammar, and the rules of what may be defined twice.
--
-- Values: strings, booleans, tables and arrays are Lua's own.  Integers are numbers up
-- to 2^53 either way and int64_t beyond, so none loses a digit; floats are numbers.  A
-- date or time is a table with those of year, month, day, hour, minute, second, fraction
-- (the digits after the point) and offset (minutes east of UTC) that were written;
-- tostring() gives it in RFC 3339's form.

local lpeg = require "lpeg"

local P, R, S, V = lpeg.P, lpeg.R, lpeg.S, lpeg.V
local C, Cc, Cg, Cp, Cs, Ct = lpeg.C, lpeg.Cc, lpeg.Cg, lpeg.Cp, lpeg.Cs, lpeg.Ct

local INT64_MIN = -0x7fffffffffffffffLL - 1LL
local EXACT = 0x20000000000000LL -- 2^53

local function fail(at, message, ...)
  error({ at = at, message = message:format(...) }, 0)
end

local function brief(word)
  return #word > 60 and word:sub(1, 57) .. "..." or word
end

-- What stands at a place, for "expected ..., found ...".
local function found_at(text, at)
  local byte = text:byte(at)
  if not byte then return "the end of the file" end
  if text:find("^\r?\n", at) then return "the end of the line" end
  if byte < 32 or byte == 127 then return ("control character U+%04X"):format(byte) end
  return "'" .. text:match("^[%z\1-\127\192-\255][\128-\191]*", at) .. "'"
end

-- A pattern that ends the parse here, with a sentence.
local function expected(what)
  return P(function(text, at)
    fail(at, "expected %s, found %s", what, found_at(text, at))
  end)
end

-- ---- strings

local newline = P "\n" + P "\r\n"
local blank = S " \t"
local ws = blank ^ 0
-- All that is not a control character; the text is known to be UTF-8.
local printable = R("\t\t", " ~", "\128\255")
local comment = P "#" * printable ^ 0

local function utf8(at, digits)
  local code = tonumber(digits, 16)
  if code > 0x10ffff or (code >= 0xd800 and code <= 0xdfff) then
    fail(at, "U+%s is not a Unicode character", digits)
  end
  local function lead(mark, shift)
    return mark + math.floor(code / 2 ^ shift)
  end
  local function next_six(shift)
    return 0x80 + math.floor(code / 2 ^ shift) % 0x40
  end
  local char = string.char
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(lead(0xc0, 6), next_six(0)) end
  if code < 0x10000 then return char(lead(0xe0, 12), next_six(6), next_six(0)) end
  return char(lead(0xf0, 18), next_six(12), next_six(6), next_six(0))
end

local hex = R("09", "af", "AF")
local hex4 = hex * hex * hex * hex
local ESCAPES = {
  b = "\b", t = "\t", n = "\n", f = "\f", r = "\r", ['"'] = '"', ["\\"] = "\\",
}
local escape = P "\\" / "" * (S 'btnfr"\\' / ESCAPES
  + P "u" / "" * (Cp() * C(hex4) / utf8 + expected "four hex digits")
  + P "U" / "" * (Cp() * C(hex4 * hex4) / utf8 + expected "eight hex digits")
  + expected "one of b t n f r \" \\ u U after a backslash")

local basic = P '"' * Cs((printable - S '"\\' + escape) ^ 0) * (P '"' + expected "'\"'")
local literal = P "'" * C((printable - P "'") ^ 0) * (P "'" + expected "\"'\"")

-- A multi-line string: one or two quotes may stand in it, also right before its end.
local function multi_line(quote, char)
  local close = quote * quote * quote
  local few = (quote * quote + quote) * -quote
  local last = quote * quote * #close + quote * #close
  return close * newline ^ -1 * Cs((char + newline / "\n" + few) ^ 0 * last ^ -1)
    * (close + expected "the end of a multi-line string")
end

local folded = P "\\" * ws * newline * (blank + newline) ^ 0 / ""
local multi_basic = multi_line(P '"', printable - S '"\\' + folded + escape)
local multi_literal = multi_line(P "'", printable - P "'")

-- ---- numbers and dates

local digit = R "09"
local sign = S "+-" ^ -1
-- Nothing that could go on with a number or a word follows.
local stop = -(R("09", "az", "AZ") + S "_+-.:")

local function grouped(one)
  return one * (P "_" ^ -1 * one) ^ 0
end

local decimal = sign * (R "19" * (P "_" ^ -1 * digit) ^ 0 + P "0")
local integer = P "0x" * grouped(hex) + P "0o" * grouped(R "07")
  + P "0b" * grouped(R "01") + decimal
local exponent = S "eE" * sign * grouped(digit)
local float = decimal * (P "." * grouped(digit) * exponent ^ -1 + exponent)
  + sign * (P "inf" + P "nan")

local function digits(name, count)
  local pattern = P(true)
  for _ = 1, count do pattern = pattern * digit end
  return Cg(pattern, name)
end

local date = digits("year", 4) * "-" * digits("month", 2) * "-" * digits("day", 2)
local time = digits("hour", 2) * ":" * digits("minute", 2) * ":" * digits("second", 2)
  * (P "." * Cg(digit ^ 1, "fraction")) ^ -1
local hour_offset = S "+-" * digit * digit * ":" * digit * digit
local zone = Cg(S "Zz" / "+00:00" + C(hour_offset), "zone")
local date_time = date * S "Tt " * time

-- ---- the grammar: nodes { kind =, at =, captures... }, read by the builder below

local function node(kind, pattern)
  return Ct(Cg(Cp(), "at") * Cg(Cc(kind), "kind") * pattern)
end

local simple_key = Ct(Cg(Cp(), "at")
  * Cg(C((R("az", "AZ", "09") + S "_-") ^ 1) + basic + literal, "name"))
local key = Ct(simple_key
  * (ws * "." * ws * (simple_key + expected "a key after '.'")) ^ 0)

-- A text without its quotes may be a url: of "user:password" only the user is shown.
local function no_value(text, at)
  local number = text:match("^[%d+-][%w_+.:-]*", at)
  if number then
    fail(at, "'%s' is not a number or a date; a text needs quotes", brief(number))
  end
  local word = text:match("^[%w_+.-]+", at)
  if not word then fail(at, "expected a value, found %s", found_at(text, at)) end
  fail(at, "'%s' is not a value; a text needs quotes", brief(word))
end

local line_end = #newline + -P(1) + expected "the end of the line"

local grammar = P {
  "document",
  document = P "\239\187\191" ^ -1 * Ct(V "line" * (newline * V "line") ^ 0)
    * (-P(1) + expected "a key, a [section] or a comment"),
  line = ws * (V "statement" * ws * comment ^ -1 * line_end + comment ^ -1),
  statement = V "tables" + V "header" + V "pair",
  tables = node("tables", P "[[" * ws * (key + expected "a name") * ws
    * (P "]]" + expected "']]'")),
  header = node("header", P "[" * ws * (key + expected "a name") * ws
    * (P "]" + expected "']'")),
  pair = node("pair", key * ws * (P "=" + expected "'='") * ws
    * (V "value" + P(no_value))),
  value = V "text" + V "scalar" * stop + V "array" + V "inline",
  text = node("string", multi_basic + basic + multi_literal + literal),
  scalar = node("boolean", P "true" * Cc(true) + P "false" * Cc(false)) * stop
    + node("datetime", date_time * zone) * stop
    + node("datetime-local", date_time) * stop
    + node("date-local", date) * stop
    + node("time-local", time) * stop
    + node("float", C(float)) * stop
    + node("integer", C(integer)),
  gap = (blank + newline + comment * (#newline + expected "the end of the line")) ^ 0,
  array = node("array", P "[" * V "gap"
    * (V "value" * V "gap" * (P "," * V "gap" + #P "]" + expected "',' or ']'")) ^ 0
    * (P "]" + P(no_value))),
  inline = node("inline", P "{" * ws * (P "}" + V "inline_pair" * ws
    * (P "," * ws * V "inline_pair" * ws) ^ 0 * (P "}" + expected "',' or '}'"))),
  inline_pair = V "pair" + expected "a key",
}

-- ---- values

local BASES = { ["0x"] = 16, ["0o"] = 8, ["0b"] = 2 }

-- Counts downwards, because INT64_MIN has no positive twin.
local function to_integer(at, written)
  local base = BASES[written:sub(1, 2)]
  local plain = (base and written:sub(3) or written):gsub("[_+-]", "")
  local is_negative = written:sub(1, 1) == "-"
  local sum = 0LL
  base = base or 10
  for i = 1, #plain do
    local next_digit = tonumber(plain:sub(i, i), 16)
    if sum < (INT64_MIN + next_digit) / base then
      fail(at, "%s does not fit in 64 bits", brief(written))
    end
    sum = sum * base - next_digit
  end
  if not is_negative then
    if sum == INT64_MIN then fail(at, "%s does not fit in 64 bits", brief(written)) end
    sum = -sum
  end
  return (sum <= EXACT and sum >= -EXACT) and tonumber(sum) or sum
end

local SPECIAL = { inf = math.huge, nan = 0 / 0 }

-- What tonumber() gives up on: an exponent of many digits.
local function to_extreme(plain)
  local mantissa, exponent_sign = plain:match("^-?([%d.]+)[eE](-?)")
  local size = (exponent_sign == "-" or not mantissa:find("[1-9]")) and 0 or math.huge
  return plain:sub(1, 1) == "-" and -size or size
end

local function to_float(written)
  local plain = written:gsub("[_+]", "")
  local special = SPECIAL[plain:match("%a+$")]
  if special then return plain:sub(1, 1) == "-" and -special or special end
  return tonumber(plain) or to_extreme(plain)
end

local DateTime = {}

local function offset_text(offset)
  if offset == 0 then return "Z" end
  local minutes = math.abs(offset)
  return ("%s%02d:%02d"):format(offset < 0 and "-" or "+", math.floor(minutes / 60),
    minutes % 60)
end

function DateTime:__tostring()
  local text = ""
  if self.year then
    text = ("%04d-%02d-%02d"):format(self.year, self.month, self.day)
  end
  if not self.hour then return text end
  if text ~= "" then text = text .. "T" end
  text = text .. ("%02d:%02d:%02d"):format(self.hour, self.minute, self.second)
  if self.fraction then text = text .. "." .. self.fraction end
  return text .. (self.offset and offset_text(self.offset) or "")
end

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function days_in(year, month)
  local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return (month == 2 and is_leap) and 29 or DAYS[month] or 0
end

local function to_offset(at, written)
  local mark, hours, minutes = written:match("(.)(%d%d):(%d%d)")
  if tonumber(hours) > 23 or tonumber(minutes) > 59 then
    fail(at, "there is no offset %s", written)
  end
  return (mark == "-" and -1 or 1) * (hours * 60 + minutes)
end

local function to_datetime(part)
  local when = setmetatable({ fraction = part.fraction }, DateTime)
  for _, name in ipairs { "year", "month", "day", "hour", "minute", "second" } do
    when[name] = tonumber(part[name])
  end
  if when.year and (when.day < 1 or when.day > days_in(when.year, when.month)) then
    fail(part.at, "there is no day %s-%s-%s", part.year, part.month, part.day)
  end
  if when.hour and (when.hour > 23 or when.minute > 59 or when.second > 60) then
    fail(part.at, "there is no time %s:%s:%s", part.hour, part.minute, part.second)
  end
  when.offset = part.zone and to_offset(part.at, part.zone)
  return when
end

-- ---- the builder

-- how[t] tells how a table came to be, which decides who may add to it:
--   header   by [x], or as an element of [[x]]
--   implied  on the way to a header: may become one later
--   dotted   by a dotted key
--   inline   { }, closed      array   [ ], closed
--   tables   the array of [[x]]
local Builder = {}
Builder.__index = Builder

local function new_builder(line_of)
  local root = {}
  local self = { root = root, how = { [root] = "header" }, places = { [root] = {} },
                 line_of = line_of }
  self.section = root
  return setmetatable(self, Builder)
end

function Builder:put(parent, name, value, kind, at)
  parent[name] = value
  self.places[parent][name] = { line = self.line_of(at), kind = kind }
  return value
end

function Builder:add_table(parent, name, how, at)
  local is_array = how == "array" or how == "tables"
  local child = {}
  self.how[child] = how
  self.places[child] = {}
  return self:put(parent, name, child, is_array and "array" or "table", at)
end

function Builder:refuse(parent, name, at)
  fail(at, "%s is already defined on line %d", name, self.places[parent][name].line)
end

-- One step on the way to a header's table.
function Builder:descend(parent, part)
  local child = parent[part.name]
  if child == nil then return self:add_table(parent, part.name, "implied", part.at) end
  local how = self.how[child]
  if how == "tables" then return child[#child] end
  if how == nil or how == "inline" or how == "array" then
    self:refuse(parent, part.name, part.at)
  end
  return child
end

function Builder:open(statement)
  local parts = statement[1]
  local parent = self.root
  for i = 1, #parts - 1 do parent = self:descend(parent, parts[i]) end
  return parent, parts[#parts].name
end

function Builder:header(statement)
  local parent, name = self:open(statement)
  local child = parent[name]
  if child == nil then
    self.section = self:add_table(parent, name, "header", statement.at)
  elseif self.how[child] == "implied" then
    self.how[child] = "header"
    self.places[parent][name].line = self.line_of(statement.at)
    self.section = child
  else
    self:refuse(parent, name, statement.at)
  end
end

function Builder:tables(statement)
  local parent, name = self:open(statement)
  local list = parent[name]
  if list == nil then
    list = self:add_table(parent, name, "tables", statement.at)
  elseif self.how[list] ~= "tables" then
    self:refuse(parent, name, statement.at)
  end
  self.section = self:add_table(list, #list + 1, "header", statement.at)
end

-- One step of a dotted key.
function Builder:dotted(parent, part)
  local child = parent[part.name]
  if child == nil then return self:add_table(parent, part.name, "dotted", part.at) end
  local how = self.how[child]
  if how ~= "dotted" and how ~= "implied" then
    self:refuse(parent, part.name, part.at)
  end
  self.how[child] = "dotted"
  return child
end

function Builder:assign(parent, pair)
  local parts, value = pair[1], pair[2]
  for i = 1, #parts - 1 do parent = self:dotted(parent, parts[i]) end
  local last = parts[#parts]
  if parent[last.name] ~= nil then self:refuse(parent, last.name, last.at) end
  self:add_value(parent, last.name, value, last.at)
end

function Builder:add_value(parent, name, value, at)
  local kind = value.kind
  if kind == "array" then
    local list = self:add_table(parent, name, "array", at)
    for i, element in ipairs(value) do self:add_value(list, i, element, element.at) end
  elseif kind == "inline" then
    local child = self:add_table(parent, name, "inline", at)
    for _, pair in ipairs(value) do self:assign(child, pair) end
  elseif kind == "integer" then
    self:put(parent, name, to_integer(value.at, value[1]), kind, at)
  elseif kind == "float" then
    self:put(parent, name, to_float(value[1]), kind, at)
  elseif kind == "string" or kind == "boolean" then
    self:put(parent, name, value[1], kind, at)
  else
    self:put(parent, name, to_datetime(value), kind, at)
  end
end

function Builder:pair(statement)
  self:assign(self.section, statement)
end

-- ---- the module

local tail = R "\128\191"
local character = R "\0\127" + R "\194\223" * tail
  + P "\224" * R "\160\191" * tail + (R "\225\236" + R "\238\239") * tail * tail
  + P "\237" * R "\128\159" * tail
  + P "\240" * R "\144\191" * tail * tail + R "\241\243" * tail * tail * tail
  + P "\244" * R "\128\143" * tail * tail
local first_not_utf8 = character ^ 0 * Cp()

-- A function from a place in text to its line.
local function line_counter(text)
  local starts = { 1 }
  for at in text:gmatch("\n()") do starts[#starts + 1] = at end
  return function(at)
    local low, high = 1, #starts
    while low < high do
      local middle = math.ceil((low + high) / 2)
      if starts[middle] <= at then low = middle else high = middle - 1 end
    end
    return low
  end
end

local function build(text, line_of)
  if text:find("^\255\254") or text:find("^\254\255") then
    fail(1, "the text is UTF-16, expected UTF-8")
  end
  local bad = first_not_utf8:match(text)
  if bad <= #text then fail(bad, "the text is not UTF-8") end
  local builder = new_builder(line_of)
  for _, statement in ipairs(grammar:match(text)) do
    builder[statement.kind](builder, statement)
  end
  return builder.root, builder.places
end

local Error = {}

function Error:__tostring()
  return ("line %d: %s"):format(self.line, self.message)
end

local toml = {}

-- Parses a document.  Returns its table and the places: places[t][key] is
-- { line =, kind = } for every key of every table and every index of every array, kind
-- being string, integer, float, boolean, datetime, datetime-local, date-local,
-- time-local, array or table.  Or nil, err with err.message and err.line.
function toml.parse(text)
  if type(text) ~= "string" then error("toml.parse wants a string", 2) end
  local line_of = line_counter(text)
  local ok, result, places = pcall(build, text, line_of)
  if ok then return result, places end
  if type(result) ~= "table" then
    if not tostring(result):find("overflow", 1, true) then error(result, 0) end
    result = { at = 1, message = "values are nested too deeply" }
  end
  return nil, setmetatable({ message = result.message, line = line_of(result.at) }, Error)
end

return toml
