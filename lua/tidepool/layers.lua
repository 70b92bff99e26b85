-- layers.lua - reads the layers of the configuration, one after the other: the file,
-- .env, the environment, --set, flags; what is wrong in any of them is collected.

local dotenv = require "tidepool.dotenv"
local schema = require "tidepool.schema"
local url = require "tidepool.url"

local FILES = { "config/local.toml", "tidepool.toml" }
local ABSENT = { [2] = true, [20] = true } -- errno: no such file, no such directory

-- Names that others have made usual.
local WELL_KNOWN = { DATABASE_URL = "database.postgres_url", REDIS_URL = "redis.url" }

local layers = {}

-- A value as messages show it: short, on one line, without secrets.  entry: of its key,
-- where there is one.
function layers.show(value, entry)
  entry = entry or {}
  if entry.is_hidden then return "****" end
  if type(value) == "table" then
    if getmetatable(value) then return tostring(value) end
    return #value > 0 and "an array" or "a table"
  elseif type(value) ~= "string" then
    return (tostring(value):gsub("LL$", ""))
  end
  local mask = entry.is_secret and value:find "%S" and url.mask or url.mask_inside
  local text = mask(value):gsub("%c", " ")
  return '"' .. (#text > 80 and text:sub(1, 77) .. "..." or text) .. '"'
end

-- ---- the loader: what is read so far, and what was wrong with it

local Loader = {}
Loader.__index = Loader

function Loader:problem(source, message, ...)
  self.problems[#self.problems + 1] = source .. ": " .. message:format(...)
end

function Loader:warn(source, message, ...)
  self.warnings[#self.warnings + 1] = source .. ": " .. message:format(...)
end

function Loader:unknown(path, source)
  local near = schema.suggest(path)
  self:problem(source, "unknown key %s%s", path,
    near and ("; did you mean %s?"):format(near) or "")
end

-- The value of a variable of the environment, or of .env; or nil and what is wrong.
function Loader:variable(name)
  local known = self.environment[name]
  if known and known ~= "" then return known end
  local entry = self.dotenv[name]
  if not entry or entry.value == "" then
    return nil, ("${%s} is not set in the environment, nor in .env"):format(name)
  end
  if entry.is_open then return nil, ("${%s} stands for itself"):format(name) end
  entry.is_open = true
  local value, wrong = self:fill(entry.value)
  entry.is_open = nil
  return value, wrong
end

-- What stands for "${NAME}" or "${NAME:-default}".
function Loader:reference(inner)
  local name, default = inner:match "^([%a_][%w_]*):%-(.*)$"
  name = name or inner:match "^[%a_][%w_]*$"
  if not name then
    return nil, ("expected ${NAME} or ${NAME:-default}, found ${%s...")
      :format(inner:match "^[%w_]*")
  end
  local value, wrong = self:variable(name)
  if value == nil and default then return default end
  return value, wrong
end

-- Puts variables into a text; "$${" is "${".  Or nil and what is wrong.
function Loader:fill(text)
  local wrong
  local result = text:gsub("(%$?)%${([^}]*)}", function(escape, inner)
    if escape ~= "" then return "${" .. inner .. "}" end
    local value, why = self:reference(inner)
    wrong = wrong or why
    return value
  end)
  if wrong then return nil, wrong end
  return result
end

-- The value of a file with variables put in, and whether there were any; or nil.
function Loader:expand(path, value, source)
  if type(value) ~= "string" or not value:find("${", 1, true) then return value end
  local text, wrong = self:fill(value)
  if not text then self:problem(source, "%s: %s", path, wrong) end
  return text, true
end

-- The text of a file that holds a secret; or nil, and a problem.
function Loader:read_secret(path, name, source)
  local text, err = self.read(name)
  if not text then
    self:problem(source, "%s: the file %s: %s", path, name, err)
    return nil
  end
  if self.is_open_to_all(name) then
    self:warn(source, "everybody may read %s, which holds %s", name, path)
  end
  return (text:gsub("%s+$", ""))
end

local function is_secret(path)
  local entry = schema.find(path)
  return entry ~= nil and entry.is_secret == true
end

-- A secret may stand in a file of its own: { file = "/run/secrets/url" }.
function Loader:put_from_file(path, value, source, is_text)
  local name = type(value) == "table" and value.file
  if not is_secret(path) or type(name) ~= "string" or next(value, "file")
    or next(value) ~= "file" then
    return self:put(path, value, source, is_text)
  end
  name = self:expand(path, name, source)
  local secret = name and self:read_secret(path, name, source)
  if secret then self:put(path, secret, source .. " from " .. name, true) end
end

-- A hint for who writes "20" or "true" in a file.
local function hint_of_quotes(entry, value, is_text)
  local is_bare = type(value) == "string" and not is_text
    and (tonumber(value) or value == "true" or value == "false")
  if not is_bare or not (entry.min or entry.kind == "flag") then return "" end
  return "; it stands without quotes"
end

-- Takes the value of one key; is_text when it did not come from a file as it is.
function Loader:put(path, value, source, is_text)
  local entry = schema.find(path)
  if not entry then return self:unknown(path, source) end
  local result, expected, wrong = schema.read(entry, value, is_text)
  if wrong then return self:problem(source, "%s: %s", path, wrong) end
  if result == nil then
    return self:problem(source, "%s: expected %s, found %s%s", path, expected,
      layers.show(value, entry), hint_of_quotes(entry, value, is_text))
  end
  local target = entry.stands_for or path
  local before = self.values[target]
  if before and before.layer == self.layer and before.path ~= path then
    return self:problem(source, "%s is another name of %s, set in %s", path, before.path,
      before.source)
  end
  self.values[target] = { value = result, source = source, path = path,
                          layer = self.layer }
end

-- ---- the file

function Loader:read_table(values, places, prefix, file)
  for name, value in pairs(values) do
    local path = prefix .. name
    local source = file .. ":" .. places[values][name].line
    local is_table = places[values][name].kind == "table"
    if schema.names_in(path) and is_table then
      self:read_table(value, places, path .. ".", file)
    elseif schema.sections[path] then
      self:problem(source, "%s: expected a section [%s], found %s", path, path,
        layers.show(value))
    else
      local is_text
      value, is_text = self:expand(path, value, source)
      if value ~= nil then self:put_from_file(path, value, source, is_text) end
    end
  end
end

-- Puts the problems of one file in the order of its lines.
local function by_line(one, other)
  local line = tonumber(one:match ":(%d+): " or 0)
  local other_line = tonumber(other:match ":(%d+): " or 0)
  if line ~= other_line then return line < other_line end
  return one < other
end

function Loader:read_file(name)
  local text, err = self.read(name)
  self.file = name
  if not text then return self:problem(name, "%s", err) end
  self.layer = self.layer + 1
  local values, places = require("tidepool.toml").parse(text) -- needs LPeg
  if not values then
    return self:problem(name .. ":" .. places.line, "%s", places.message)
  end
  local before = self.problems
  self.problems = {}
  self:read_table(values, places, "", name)
  table.sort(self.problems, by_line)
  for _, problem in ipairs(self.problems) do before[#before + 1] = problem end
  self.problems = before
end

-- Reads the file given, else the first one there is; the other then stays unread.
function Loader:find_file(given)
  if given then return self:read_file(given) end
  for _, name in ipairs(FILES) do
    local text, _, errno = self.read(name)
    local is_there = text or not ABSENT[errno]
    if is_there and self.file then
      self.unread = name
    elseif is_there then
      self:read_file(name)
    end
  end
end

-- ---- variables

local function path_of_variable(name)
  if WELL_KNOWN[name] then return WELL_KNOWN[name] end
  local tail = name:match("^TIDEPOOL_(.+__.+)$")
  return tail and tail:lower():gsub("__", ".") or nil
end

-- The path whose value is in the file that a variable names, as DATABASE_URL_FILE does.
local function path_of_file_variable(name)
  local base = name:match "^(.+)_FILE$"
  local path = base and path_of_variable(base)
  return path and is_secret(path) and path or nil
end

-- The name that was meant, where single underscores stand for double ones.
local function meant_variable(name)
  local tail = name:match "^TIDEPOOL_(.+)$"
  if not tail then return nil end
  if WELL_KNOWN[tail] then return tail end
  for _, entry in ipairs(schema.list) do
    local wanted = entry.path:upper()
    if wanted:gsub("%.", "_") == tail:gsub("__", "_") then
      return "TIDEPOOL_" .. (wanted:gsub("%.", "__"))
    end
  end
end

-- Takes one variable; whether it is one of ours.
function Loader:read_variable(name, value, source)
  local of_file = path_of_file_variable(name)
  local path = of_file or path_of_variable(name)
  if not path or not schema.find(path) then
    local meant = meant_variable(name)
    if meant then
      self:problem(source, "unknown; did you mean %s?", meant)
    elseif path then
      self:unknown(path, source)
    end
  elseif of_file then
    local secret = self:read_secret(path, value, source)
    if secret then self:put(path, secret, source .. " from " .. value, true) end
  else
    self:put(path, value, source, true)
  end
end

-- Gives DATABASE_URL before the names of our own, which win over it.
local function in_order(variables)
  local names = {}
  for name in pairs(variables) do names[#names + 1] = name end
  local function rank(name)
    return (WELL_KNOWN[name:gsub("_FILE$", "")] and "0" or "1") .. name
  end
  table.sort(names, function(one, other) return rank(one) < rank(other) end)
  return names
end

-- variables: name -> { value =, source = }.  An empty one counts as not set.
function Loader:read_variables(variables)
  self.layer = self.layer + 1
  for _, name in ipairs(in_order(variables)) do
    local variable = variables[name]
    local twin = path_of_file_variable(name) and variables[name:match "^(.+)_FILE$"]
    local is_twice = twin and twin.value ~= ""
    if variable.value ~= "" and is_twice then
      self:problem(variable.source, "set beside %s; leave one of them out", twin.source)
    elseif variable.value ~= "" then
      self:read_variable(name, variable.value, variable.source)
    end
  end
end

function Loader:find_dotenv()
  local text, err, errno = self.read(".env")
  if not text then
    if not ABSENT[errno] then self:problem(".env", "%s", err) end
    return
  end
  local values, wrong = dotenv.parse(text)
  if not values then
    return self:problem(".env:" .. wrong.line, "%s", wrong.message)
  end
  self.dotenv = values
end

function Loader:read_dotenv()
  local variables = {}
  for name, entry in pairs(self.dotenv) do
    local source = (".env:%d: %s"):format(entry.line, name)
    local is_ours = path_of_variable(name) or path_of_file_variable(name)
    local value, wrong = entry.value, nil
    if is_ours then value, wrong = self:fill(entry.value) end
    if wrong then self:problem(source, "%s", wrong) end
    if is_ours and entry.before then
      self:warn(source, "set again, what line %d says does not count", entry.before)
    end
    if not wrong then variables[name] = { value = value, source = source } end
  end
  self:read_variables(variables)
end

function Loader:read_environment()
  local variables = {}
  for name, value in pairs(self.environment) do
    variables[name] = { value = value, source = "environment: " .. name }
  end
  self:read_variables(variables)
end

-- ---- the command line

function Loader:read_sets(sets)
  for _, set in ipairs(sets) do
    self.layer = self.layer + 1 -- the last one wins
    local path, value = set:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if path then
      self:put(path, value, "--set", true)
    else
      self:problem("--set", "expected KEY=VALUE, found %s", layers.show(set))
    end
  end
end

function Loader:read_flags(flags)
  self.layer = self.layer + 1
  for path, flag in pairs(flags) do self:put(path, flag.value, flag.name, true) end
end

-- Reads all of them.  options: environment (name -> value), file, sets, flags, and how a
-- file is read: read(path) and is_open_to_all(path).  Returns the loader: values (path ->
-- { value =, source =, path = }), problems, warnings, file, unread.
function layers.read(options)
  local loader = setmetatable({
    values = {}, problems = {}, warnings = {}, layer = 0, dotenv = {},
    environment = options.environment, read = options.read,
    is_open_to_all = options.is_open_to_all,
  }, Loader)
  loader:find_dotenv()
  loader:find_file(options.file)
  loader:read_dotenv()
  loader:read_environment()
  loader:read_sets(options.sets or {})
  loader:read_flags(options.flags or {})
  return loader
end

return layers
