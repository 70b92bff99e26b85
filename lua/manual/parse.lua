-- parse.lua - reads the manual of the Lua API, ../README.md, into tables.  Its form is
-- described at the manual's end; what is not in that form is refused with its line.
--
-- Gives { chapters, classes, by_name, aliases, examples }:
--   chapter   title, line, functions
--   class     name, var, parent, text, line, chapter, fields, functions, commands
--   function  name, class, receiver, is_method, params, text, returns, errors, raises,
--             line
--   a param, return or field: name, type, text, is_optional, line; a param may be
--             is_leading: f(opts, fn) as well as f(fn)
--   alias     name, text, line, values: { value, text }

local Parser = {}
Parser.__index = Parser

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

function Parser:refuse(line, message, ...)
  error(("%s:%d: %s"):format(self.path, line, message:format(...)), 0)
end

-- ---- headings

function Parser:add_class(name, var, line, parent)
  if self.by_name[name] then
    self:refuse(line, "type %s is described twice, before at line %d", name,
      self.by_name[name].line)
  end
  local class = {
    name = name, var = var, parent = parent, line = line, text = "",
    chapter = self.chapter, fields = {}, functions = {},
  }
  self.by_name[name] = class
  self.classes[#self.classes + 1] = class
  if var then self.vars[var] = class end
  return class
end

-- Of "[opts,] fn" or "channel, fn [, opts]": what stands in brackets is optional, and
-- leading when what follows is not.
function Parser:params_of(text, line)
  local params, is_bracketed = {}, false
  for bracket, name in text:gmatch "([%[%]]?)%s*,?%s*([%w_.]*)" do
    if bracket ~= "" then is_bracketed = bracket == "[" end
    if name ~= "" then
      params[#params + 1] = { name = name, line = line, text = "",
        is_optional = is_bracketed }
    end
  end
  for i, param in ipairs(params) do
    local after = params[i + 1]
    param.is_leading = param.is_optional and after ~= nil and not after.is_optional
  end
  return params
end

function Parser:class_of(receiver, line)
  local class = self.vars[receiver]
  if not class then
    self:refuse(line, "%s: no type above has this name, as in ### `%s: Type`", receiver,
      receiver)
  end
  return class
end

function Parser:add_function(span, params, line)
  local receiver, sign, name = span:match "^(%l[%w_]*)([:.])([%a_][%w_]*)$"
  if not receiver then
    receiver = span:match "^(%l[%w_]*)$"
    if not receiver then
      self:refuse(line, "a function, as db:query(sql, ...), expected: %s", span)
    end
  end
  local class = self:class_of(receiver, line)
  local fn = {
    name = name, receiver = receiver, class = class, is_method = sign == ":",
    params = params, line = line, text = "", returns = {}, errors = nil, raises = {},
  }
  class.functions[#class.functions + 1] = fn
  local all = self.chapter.functions
  all[#all + 1] = fn
  return fn
end

-- `db:query(sql, ...)`, `conn:query`: functions that share what follows.
function Parser:function_heading(spans, line)
  local first, args = spans[1]:match "^([^(]+)%((.*)%)$"
  if not first then
    self:refuse(line, "`name: Type` or `object:name(arguments)` expected, got %s",
      spans[1])
  end
  local params = self:params_of(args, line)
  local functions = { self:add_function(first, params, line) }
  for i = 2, #spans do
    functions[i] = self:add_function(spans[i], params, line)
  end
  self.section = { functions = functions, line = line, params = params, returns = {},
    raises = {} }
end

function Parser:heading(text, line)
  local spans = {}
  for span in text:gmatch "`([^`]+)`" do spans[#spans + 1] = span end
  if #spans == 0 then
    self:refuse(line, "a heading of this depth is of a type or a function, in ` `")
  end
  local var, name = spans[1]:match "^(%l[%w_]*): (%u%w*)$"
  if not var then return self:function_heading(spans, line) end
  local class = self:add_class(name, var, line, spans[2])
  self.section = { class = class, line = line }
end

-- ---- lists

-- "`name?: type` - text"
function Parser:value_of(text, line)
  local span, rest = text:match "^`([^`]+)`(.*)$"
  local name, is_optional, type_text
  if span then name, is_optional, type_text = span:match "^([^:?]+)(%??): (.+)$" end
  if not name then
    self:refuse(line, "`name: type` - text expected, got %s", text)
  end
  local words = rest == "" and "" or rest:match "^ %- (.+)$"
  if not words then self:refuse(line, "` - ` and a text expected after `%s`", span) end
  return { name = name, type = type_text, text = words, line = line,
    is_optional = is_optional == "?" }
end

-- Codes of an err, and a text.
function Parser:errors_of(text, line)
  local codes, words = text:match "^(.-) %- (.+)$"
  codes = codes or text
  local errors = { text = words or "", line = line }
  for code in codes:gmatch "`(%l+)`" do errors[#errors + 1] = code end
  if #errors == 0 then
    self:refuse(line, "errors: codes in ` ` expected, got %s", text)
  end
  return errors
end

function Parser:take_param(value)
  for _, param in ipairs(self.section.params) do
    if param.name == value.name then
      if param.type then self:refuse(value.line, "%s is described twice", value.name) end
      if value.name ~= "..." and param.is_optional ~= value.is_optional then
        self:refuse(value.line, "%s: brackets in the heading and ? here go together",
          value.name)
      end
      param.type, param.text, param.line = value.type, value.text, value.line
      return
    end
  end
  self:refuse(value.line, "the heading has no parameter %s", value.name)
end

function Parser:function_item(text, line)
  local section = self.section
  local verb, rest = text:match "^(%l+) (.+)$"
  if text == "returns nothing" then return nil end
  if verb == "returns" then
    local value = self:value_of(rest, line)
    section.returns[#section.returns + 1] = value
    return value
  elseif verb == "errors" then
    if section.errors then self:refuse(line, "errors stand in one line of the list") end
    section.errors = self:errors_of(rest, line)
  elseif verb == "raises" then
    section.raises[#section.raises + 1] = trim(rest:gsub("^%- ", ""))
  else
    local value = self:value_of(text, line)
    self:take_param(value)
    return value
  end
end

-- The type that a nested list describes: the one of the item above it that is new.
function Parser:record_of(item)
  if item.record then return item.record end
  for name in item.type:gmatch "%f[%w_]%u%w*" do
    if not self.by_name[name] then
      item.record = self:add_class(name, nil, item.line)
      item.record.text = item.text
      return item.record
    end
  end
  self:refuse(item.line, "the list below %s describes no type that is new", item.name)
end

function Parser:item(indent, text, line)
  local depth = #indent / 2 + 1
  self.section.is_told = true
  if depth == 1 then
    local class = self.section.class
    local value
    if class then
      value = self:value_of(text, line)
      class.fields[#class.fields + 1] = value
    else
      value = self:function_item(text, line)
    end
    self.items = { value }
    return
  end
  local above = self.items and self.items[depth - 1]
  if not above then self:refuse(line, "a nested item needs one above it") end
  local record = self:record_of(above)
  local value = self:value_of(text, line)
  record.fields[#record.fields + 1] = value
  self.items[depth] = value
end

-- ---- tables: of the values of an alias, or of Redis commands

function Parser:table_row(cells, line)
  local open = self.table
  if not open then
    local name = cells[1]:match "^`(%u%w*)`$"
    self.table = { name = name, count = 0 }
    if name then self.table.line = line end
    return
  end
  if not open.name or cells[1]:find "^%-+$" then return end
  local span = cells[1]:match "^`([^`]+)`$"
  if not span then self:refuse(line, "a name in ` ` expected, got %s", cells[1]) end
  local command, args = span:match "^(%l+)%((.*)%)$"
  if not command then
    open.alias = open.alias or self:add_alias(open.name, open.line)
    table.insert(open.alias.values, { value = span, text = cells[2] })
    return
  end
  if not open.class then
    open.class = self:add_class(open.name, nil, open.line)
    open.class.commands = {}
  end
  table.insert(open.class.commands, {
    name = command, params = self:params_of(args, line), line = line,
    type = (cells[2] or ""):match "^`(.+)`$"
      or self:refuse(line, "a type in ` ` expected, got %s", tostring(cells[2])),
    text = cells[3] or "",
  })
end

function Parser:add_alias(name, line)
  local alias = { name = name, line = line, text = "", values = {} }
  self.aliases[#self.aliases + 1] = alias
  self.by_name[name] = alias
  return alias
end

local function cells_of(row)
  local cells = {}
  -- a | in ` ` is written \|
  row = row:gsub("\\|", "\1")
  for cell in row:gmatch "|([^|]*)" do
    cells[#cells + 1] = trim((cell:gsub("\1", "|")))
  end
  cells[#cells] = nil -- behind the last |
  return cells
end

-- ---- lines

-- What a section's list and text come to, given to all its functions.
function Parser:end_section()
  local section = self.section
  self.section, self.items = nil, nil
  if not section then return end
  local text = trim(table.concat(section.text or {}, "\n"))
  if section.class then
    section.class.text = text
    return
  end
  for _, fn in ipairs(section.functions) do
    fn.text, fn.returns, fn.errors = text, section.returns, section.errors
    fn.raises = section.raises
  end
  if not section.is_told then
    self:refuse(section.line, "a list of arguments and results expected below this")
  end
  for _, param in ipairs(section.params) do
    if not param.type then
      self:refuse(section.line, "parameter %s is not described", param.name)
    end
  end
end

function Parser:open_fence(line, rest)
  self.fence = { line = line, is_lua = rest == "lua", lines = {} }
end

function Parser:close_fence()
  local fence = self.fence
  self.fence = nil
  if not fence.is_lua then return end
  table.insert(self.examples, {
    line = fence.line, text = table.concat(fence.lines, "\n") .. "\n",
  })
end

-- A line of an item that goes on below it.
function Parser:goes_on(text)
  if not self.item_text then return false end
  self.item_text = self.item_text .. " " .. trim(text)
  return true
end

function Parser:end_item()
  if not self.item_text then return end
  local text = self.item_text
  self.item_text = nil
  self:item(self.item_indent, text, self.item_line)
end

-- What stands above a section's list is its text; the rest is for readers alone.
function Parser:prose(text)
  local section = self.section
  if not section or section.is_told then return end
  section.text = section.text or {}
  table.insert(section.text, text)
end

function Parser:line(text, number)
  local hashes, title = text:match "^(#+) (.+)$"
  if hashes or text == "" or text:find "^```" then self:end_item() end
  if text:sub(1, 1) ~= "|" then self.table = nil end
  if hashes then
    self:end_section()
    if #hashes == 2 then
      self.chapter = { title = title, line = number, functions = {} }
      self.chapters[#self.chapters + 1] = self.chapter
    elseif #hashes == 3 then
      self:heading(title, number)
    end
    return
  end
  local fence = text:match "^```(.*)$"
  if fence then return self:open_fence(number, fence) end
  if text:sub(1, 1) == "|" then return self:table_row(cells_of(text), number) end
  local indent, item = text:match "^( *)%* (.+)$"
  if item and self.section then
    self:end_item()
    self.item_indent, self.item_text, self.item_line = indent, item, number
  elseif not (text:find "^ +%S" and self:goes_on(text)) then
    self:end_item()
    self:prose(text)
  end
end

-- The manual in text; path is for what is said of errors.
local function parse(text, path)
  local parser = setmetatable({
    path = path or "README.md", chapters = {}, classes = {}, by_name = {}, aliases = {},
    examples = {}, vars = {},
  }, Parser)
  local number = 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local fence = parser.fence
    if not fence then parser:line(line, number)
    elseif line == "```" then parser:close_fence()
    else fence.lines[#fence.lines + 1] = line end
  end
  parser:end_item()
  parser:end_section()
  return parser
end

return parse
