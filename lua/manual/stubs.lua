-- stubs.lua - the parsed manual as LuaCATS annotations, for language servers.

local PREFIX = "tidepool."

local BUILT_IN = {}
for name in ([[any nil boolean string number integer function table thread userdata
    lightuserdata fun file true false]]):gmatch "%a+" do BUILT_IN[name] = true end

local Writer = {}
Writer.__index = Writer

function Writer:put(text, ...)
  self[#self + 1] = select("#", ...) > 0 and text:format(...) or text
end

function Writer:refuse(line, message, ...)
  error(("%s:%d: %s"):format(self.manual.path, line, message:format(...)), 0)
end

-- ---- types

-- A type of the manual's, with the prefix of ours.
function Writer:type_of(text, line)
  local kept = {}
  text = text:gsub('"[^"]*"', function(literal)
    kept[#kept + 1] = literal
    return "\1"
  end)
  text = text:gsub("([%a_][%w_]*)(%??:?)", function(name, after)
    if after:find ":" then return nil end -- a parameter of fun()
    if self.manual.by_name[name] then return PREFIX .. name .. after end
    if not BUILT_IN[name] then self:refuse(line, "there is no type %s", name) end
  end)
  local at = 0
  return (text:gsub("\1", function()
    at = at + 1
    return kept[at]
  end))
end

local function or_nil(type_text)
  if type_text == "any" or type_text:find "%?$" and not type_text:find "[|(]" then
    return type_text
  end
  return type_text:find "[|(]" and ("(%s)|nil"):format(type_text) or type_text .. "?"
end

-- ---- functions

local function is_kept(param, has_leading) return has_leading or not param.is_leading end

-- The results with what a failure makes of them: { type, name, text }.
function Writer:results_of(fn)
  local results = {}
  for i, value in ipairs(fn.returns) do
    local type_text = self:type_of(value.type, value.line)
    if value.is_optional or fn.errors and i == 1 then type_text = or_nil(type_text) end
    results[i] = { type_text, value.name, value.text }
    if value.name == "..." then return results end -- an err would be among them
  end
  if fn.errors then
    results[math.max(2, #results + 1)] = { or_nil(PREFIX .. "Err"), "err", "" }
    results[1] = results[1] or { "nil", "", "" }
  end
  return results
end

-- The function as a type, for @overload.
function Writer:fun_of(fn, has_leading)
  local params, results = {}, {}
  if fn.is_method then params[1] = "self: " .. PREFIX .. fn.class.name end
  for _, param in ipairs(fn.params) do
    if is_kept(param, has_leading) then
      params[#params + 1] = ("%s%s: %s"):format(param.name,
        param.is_optional and not param.is_leading and "?" or "",
        self:type_of(param.type, param.line))
    end
  end
  for i, result in ipairs(self:results_of(fn)) do results[i] = result[1] end
  return ("fun(%s)%s"):format(table.concat(params, ", "),
    #results > 0 and ": " .. table.concat(results, ", ") or "")
end

-- A text without links, which lead nowhere from there.
local function plain(text) return (text:gsub("%[([^%]]+)%]%([^)]*%)", "%1")) end

function Writer:comment(text)
  if text == "" then return end
  text = plain(text)
  for line in (text .. "\n"):gmatch "(.-)\n" do self:put("---%s", line) end
end

local function code_list(errors)
  local codes = {}
  for i, code in ipairs(errors) do codes[i] = "`" .. code .. "`" end
  return table.concat(codes, ", ") .. (errors.text ~= "" and " - " .. errors.text or "")
end

function Writer:comments_of(fn)
  self:comment(fn.text)
  if fn.errors then self:put("---\n---Errors: %s", plain(code_list(fn.errors))) end
  for _, text in ipairs(fn.raises) do self:put("---\n---Raises: %s", plain(text)) end
end

local function names_of(params)
  local names = {}
  for i, param in ipairs(params) do names[i] = param.name end
  return table.concat(names, ", ")
end

local function described(text) return text ~= "" and " " .. plain(text) or "" end

function Writer:fn(owner, fn, others)
  self:comments_of(fn)
  for _, other in ipairs(others) do
    self:put "---"
    self:comments_of(other)
  end
  local has_leading = false
  for _, param in ipairs(fn.params) do
    has_leading = has_leading or param.is_leading
    self:put("---@param %s%s %s%s", param.name,
      param.is_optional and not param.is_leading and "?" or "",
      self:type_of(param.type, param.line), described(param.text))
  end
  for _, result in ipairs(self:results_of(fn)) do
    self:put("---@return %s %s%s", result[1], result[2], described(result[3]))
  end
  if has_leading then self:put("---@overload %s", self:fun_of(fn, false)) end
  for _, other in ipairs(others) do
    self:put("---@overload %s", self:fun_of(other, true))
  end
  self:put("function %s%s%s(%s) end\n", owner, fn.is_method and ":" or ".", fn.name,
    names_of(fn.params))
end

-- A Redis command: its words are strings or numbers.
function Writer:command(owner, command)
  self:comment(command.text)
  for _, param in ipairs(command.params) do
    self:put("---@param %s%s string|number", param.name, param.is_optional and "?" or "")
  end
  self:put("---@return %s reply", or_nil(self:type_of(command.type, command.line)))
  self:put("---@return %sErr? err", PREFIX)
  self:put("function %s:%s(%s) end\n", owner, command.name, names_of(command.params))
end

-- ---- classes

function Writer:field(field)
  self:put("---@field %s%s %s%s", field.name, field.is_optional and "?" or "",
    self:type_of(field.type, field.line), described(field.text))
end

-- Functions by their names in order; those of one name are one with overloads; and calls
-- of the object itself.
local function sorted(functions)
  local list, by_name, calls = {}, {}, {}
  for _, fn in ipairs(functions) do
    if not fn.name then
      calls[#calls + 1] = fn
    elseif by_name[fn.name] then
      table.insert(by_name[fn.name].others, fn)
    else
      by_name[fn.name] = { fn = fn, others = {} }
      list[#list + 1] = by_name[fn.name]
    end
  end
  return list, calls
end

function Writer:class(class)
  local list, calls = sorted(class.functions)
  self:comment(class.text)
  for _, fn in ipairs(calls) do self:comments_of(fn) end
  self:put("---@class %s%s%s", PREFIX, class.name,
    class.parent and ": " .. self:type_of(class.parent, class.line) or "")
  for _, field in ipairs(class.fields) do self:field(field) end
  for _, fn in ipairs(calls) do self:put("---@overload %s", self:fun_of(fn, true)) end
  if #list == 0 and not class.commands then return self:put "" end
  local owner = class.name
  self:put("local %s = {}\n", owner)
  for _, item in ipairs(list) do self:fn(owner, item.fn, item.others) end
  for _, command in ipairs(class.commands or {}) do self:command(owner, command) end
end

function Writer:alias(alias)
  self:put("---@alias %s%s", PREFIX, alias.name)
  for _, value in ipairs(alias.values) do
    self:put('---| "%s" # %s', value.value, value.text)
  end
  self:put ""
end

-- The stubs of a manual that parse.lua read.  root: the type that the module is.
local function write(manual, root)
  local writer = setmetatable({ manual = manual }, Writer)
  writer:put "---@meta tidepool"
  writer:put "-- Made by `make types` from lua/README.md; not to be edited.\n"
  for _, alias in ipairs(manual.aliases) do writer:alias(alias) end
  for _, class in ipairs(manual.classes) do writer:class(class) end
  writer:put("return %s", root)
  return table.concat(writer, "\n") .. "\n"
end

return write
