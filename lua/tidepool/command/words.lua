-- words.lua - the words after a command: options with values, flags, operands.

local schema = require "tidepool.schema"

local words = {}

-- The field of an option or flag.
local function field_of(name) return (name:gsub("-", "_")) end

-- ---- what a command takes
--
-- options     name -> an entry of schema.read(), whose value becomes the field of that
--             name with _ for -; or fn(self, value), which gives what is wrong, or nil
-- flags       name -> true: the field of that name becomes true; or fn(self, name)
-- operand     fn(self, word), gives what is wrong, or nil; without it they are collected
--             in self.operands
-- takes_args  what follows -- becomes self.args

local function names_of(spec)
  local names = { "--help" }
  for name in pairs(spec.options) do names[#names + 1] = "--" .. name end
  for name in pairs(spec.flags or {}) do names[#names + 1] = "--" .. name end
  table.sort(names)
  return names
end

local function unknown_option(spec, name)
  local near = schema.nearest(name, names_of(spec))
  return ("unknown option %s%s"):format(name, near and "; did you mean " .. near .. "?"
    or "")
end

local function take_value(self, name, entry, value)
  if type(entry) == "function" then return entry(self, value, name) end
  local result, expected = schema.read(entry, value, true)
  if result == nil then
    return ('--%s: expected %s, found "%s"'):format(name, expected, value)
  end
  self[field_of(name)] = result
end

-- Takes the word at self.at, and the next where it is the value; gives what is wrong.
local function take(self, spec, list)
  local word = list[self.at]
  local name, value = word:match "^%-%-([^=]+)(.*)$"
  local entry = name and spec.options[name]
  if word == "--help" or word == "-h" then
    self.wants_help = true
  elseif entry then
    if value == "" then
      self.at = self.at + 1
      value = list[self.at]
      if not value then return ("--%s: a value is missing"):format(name) end
    else
      value = value:sub(2)
    end
    return take_value(self, name, entry, value)
  elseif name and spec.flags and spec.flags[name] then
    if value ~= "" then return ("--%s: takes no value"):format(name) end
    local flag = spec.flags[name]
    if flag == true then self[field_of(name)] = true else flag(self, name) end
  elseif word:find "^%-." then
    return unknown_option(spec, word:match "^[^=]+")
  elseif spec.operand then
    return spec.operand(self, word)
  else
    self.operands[#self.operands + 1] = word
  end
end

-- Reads a list of words into self, which may hold what is so without them.  Returns self,
-- or nil and what is wrong.  Of --help comes self.wants_help.
function words.read(spec, list, self)
  self.operands, self.at = {}, 1
  while list[self.at] do
    if spec.takes_args and list[self.at] == "--" then
      self.args = { unpack(list, self.at + 1) }
      break
    end
    local wrong = take(self, spec, list)
    if wrong then return nil, wrong end
    self.at = self.at + 1
  end
  return self
end

-- An option that is any text.
function words.text(self, value, name) self[field_of(name)] = value end

-- An option that may be one of names.
function words.one_of(names, read)
  return function(self, value, name)
    local word = read and read(value) or value
    for _, known in ipairs(names) do
      if known == word then
        self[field_of(name)] = word
        return nil
      end
    end
    return ('--%s: expected one of %s, found "%s"'):format(name,
      table.concat(names, ", "), value)
  end
end

return words
