-- config.lua - settings from files, .env, environment and flags, each with its source.
--
-- Layers, the later ones win: defaults, the file (--config, else config/local.toml, else
-- tidepool.toml), .env, the environment, --set, flags.  All that is wrong is found in one
-- go.  Passwords leave this module only inside the urls of Config:pools().

local core = require "tidepool.core"
local dotenv = require "tidepool.dotenv"
local schema = require "tidepool.schema"
local toml = require "tidepool.toml"

local FILES = { "config/local.toml", "tidepool.toml" }
local NO_ENTRY = 2 -- errno of a file that does not exist

-- Names that others have made usual.
local WELL_KNOWN = { DATABASE_URL = "database.postgres_url", REDIS_URL = "redis.url" }

local config = {}

-- A url, or "host=... password=..." as libpq takes it, with *** for each password; where
-- it is not clear how far a password goes, more is hidden.
function config.mask_url(url)
  local masked = url:gsub("^(%a[%w+.-]*://[^:/?#@]*:).*@", "%1***@")
  masked = masked:gsub("([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]%s*=%s*)'.*'", "%1***")
  return (masked:gsub("([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]%s*=%s*)[^%s&*]+", "%1***"))
end

-- A value as messages show it: short, on one line, without passwords.
local function show(value)
  if type(value) == "table" then
    return getmetatable(value) and tostring(value) or "a table"
  elseif type(value) ~= "string" then
    return (tostring(value):gsub("LL$", ""))
  end
  local text = config.mask_url(value):gsub("%c", " ")
  return '"' .. (#text > 80 and text:sub(1, 77) .. "..." or text) .. '"'
end

-- ---- the loader: what is read so far, and what was wrong with it

local Loader = {}
Loader.__index = Loader

function Loader:problem(source, message, ...)
  self.problems[#self.problems + 1] = source .. ": " .. message:format(...)
end

function Loader:unknown(path, source)
  local near = schema.suggest(path)
  self:problem(source, "unknown key %s%s", path,
    near and ("; did you mean %s?"):format(near) or "")
end

-- "${NAME}" and "${NAME:-default}" in a text of a file become what the variable of the
-- environment, or of .env, holds; "$${" is "${".  Gives nil when one is not set, which is
-- a problem, and what is not a text as it is.
function Loader:expand(path, value, source)
  if type(value) ~= "string" or not value:find("${", 1, true) then return value end
  local missing
  local text = value:gsub("(%$?)%${([^}]*)}", function(escape, inner)
    if escape ~= "" then return "${" .. inner .. "}" end
    local name, default = inner:match "^([%a_][%w_]*):%-(.*)$"
    name = name or inner
    local known = self.variables[name]
    if known and known ~= "" then return known end
    if default then return default end
    missing = missing or name
  end)
  if not missing then return text end
  self:problem(source, "%s: ${%s} is not set in the environment, nor in .env", path,
    missing)
end

-- The text of a file that holds a secret, without the line's end; or nil, and a problem.
function Loader:read_secret(path, name, source)
  local text, err = self.read(name)
  if not text then
    self:problem(source, "%s: the file %s: %s", path, name, err)
    return nil
  end
  if self.is_open_to_all(name) then
    self.warnings[#self.warnings + 1] =
      ("%s: everybody may read %s, which holds %s"):format(source, name, path)
  end
  return (text:gsub("\r?\n$", ""))
end

-- A secret may stand in a file of its own: { file = "/run/secrets/url" }.
function Loader:put_from_file(path, value, source)
  local entry = schema.find(path)
  local name = type(value) == "table" and value.file
  if not entry or not entry.is_secret or type(name) ~= "string" or next(value, "file")
    or next(value) ~= "file" then
    return self:put(path, value, source)
  end
  name = self:expand(path, name, source)
  local secret = name and self:read_secret(path, name, source)
  if secret then self:put(path, secret, source .. " from " .. name) end
end

-- Takes the value of one key; is_text when it did not come from a file.
function Loader:put(path, value, source, is_text)
  local entry = schema.find(path)
  if not entry then return self:unknown(path, source) end
  local result, expected = schema.read(entry, value, is_text)
  if result == nil then
    return self:problem(source, "%s: expected %s, found %s", path, expected, show(value))
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

-- ---- layers

function Loader:read_table(values, places, prefix, file)
  for name, value in pairs(values) do
    local path = prefix .. name
    local source = file .. ":" .. places[values][name].line
    local is_table = places[values][name].kind == "table"
    if schema.names_in(path) and is_table then
      self:read_table(value, places, path .. ".", file)
    elseif schema.sections[path] then
      self:problem(source, "%s: expected a section [%s], found %s", path, path,
        show(value))
    else
      value = self:expand(path, value, source)
      if value ~= nil then self:put_from_file(path, value, source) end
    end
  end
end

-- The problems of one file in the order of its lines.
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
  local values, places = toml.parse(text)
  if not values then
    return self:problem(name .. ":" .. places.line, "%s", places.message)
  end
  self:read_table(values, places, "", name)
  table.sort(self.problems, by_line)
end

-- Reads the file given, else the first one there is; the other then stays unread.
function Loader:find_file(given)
  if given then return self:read_file(given) end
  for _, name in ipairs(FILES) do
    local text, _, errno = self.read(name)
    local is_there = text or errno ~= NO_ENTRY
    if is_there and self.file then
      self.unread = name
    elseif is_there then
      self:read_file(name)
    end
  end
end

local function path_of_variable(name)
  if WELL_KNOWN[name] then return WELL_KNOWN[name] end
  local tail = name:match("^TIDEPOOL_(.+__.+)$")
  return tail and tail:lower():gsub("__", ".") or nil
end

-- variables: array of { name =, value =, source = }.  An empty one counts as not set.
function Loader:read_variables(variables)
  self.layer = self.layer + 1
  local function rank(variable)
    return (WELL_KNOWN[variable.name] and "0" or "1") .. variable.name
  end
  table.sort(variables, function(one, other) return rank(one) < rank(other) end)
  for _, variable in ipairs(variables) do
    local path = path_of_variable(variable.name)
    local of_file = not path and path_of_variable(variable.name:match "^(.+)_FILE$" or "")
    if path and variable.value ~= "" then
      self:put(path, variable.value, variable.source, true)
    elseif of_file and variable.value ~= "" then
      local secret = self:read_secret(of_file, variable.value, variable.source)
      if secret then self:put(of_file, secret, variable.source, true) end
    end
  end
end

-- The variables of .env, as read_variables() takes them.
function Loader:find_dotenv()
  local text, err, errno = self.read(".env")
  if not text then
    if errno ~= NO_ENTRY then self:problem(".env", "%s", err) end
    return {}
  end
  local values, wrong = dotenv.parse(text)
  if not values then
    self:problem(".env:" .. wrong.line, "%s", wrong.message)
    return {}
  end
  local variables = {}
  for name, entry in pairs(values) do
    variables[#variables + 1] = { name = name, value = entry.value,
                                  source = (".env:%d: %s"):format(entry.line, name) }
  end
  return variables
end

-- What "${NAME}" stands for: the environment counts before .env.
local function merge(variables, environment)
  local merged = {}
  for _, variable in ipairs(variables) do merged[variable.name] = variable.value end
  for name, value in pairs(environment) do merged[name] = value end
  return merged
end

function Loader:read_environment(environment)
  local variables = {}
  for name, value in pairs(environment) do
    variables[#variables + 1] = { name = name, value = value,
                                  source = "environment: " .. name }
  end
  self:read_variables(variables)
end

function Loader:read_sets(sets)
  for _, set in ipairs(sets) do
    self.layer = self.layer + 1 -- the last one wins
    local path, value = set:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if path then
      self:put(path, value, "--set", true)
    else
      self:problem("--set", "expected KEY=VALUE, found %s", show(set))
    end
  end
end

function Loader:read_flags(flags)
  self.layer = self.layer + 1
  for path, flag in pairs(flags) do self:put(path, flag.value, flag.name, true) end
end

-- ---- the result

local Config = {}
Config.__index = Config

-- The value of one key, and where it came from.
function Config:get(path)
  local known = self.values[path]
  if known then return known.value, known.source end
  local default = schema.find(path).default
  return default, default ~= nil and "default" or nil
end

-- The entries there are: those of all configurations, then those of pools with a name.
function Config:entries()
  local entries, more = { unpack(schema.list) }, {}
  for path in pairs(self.values) do
    if not schema.entries[path] then more[#more + 1] = path end
  end
  table.sort(more)
  for _, path in ipairs(more) do entries[#entries + 1] = schema.find(path) end
  return entries
end

-- One line a value that is not left to the runtime: "key = value  # source".
function Config:describe()
  local lines = {}
  for _, entry in ipairs(self:entries()) do
    local value, source = self:get(entry.path)
    if value ~= nil and not entry.stands_for then
      lines[#lines + 1] = ("%s = %s  # %s"):format(entry.path, show(value), source)
    end
  end
  return lines
end

function Config:section(section)
  local result = {}
  for _, name in ipairs(schema.names_in(section)) do
    if not schema.names_in(section .. "." .. name) then
      result[name] = self:get(section .. "." .. name)
    end
  end
  return result
end

function Config:set(path, value, source)
  self.values[path] = { value = value, source = source, path = path }
end

local KINDS = {
  database = { kind = "postgres", url = "postgres_url", main = "main", label = "%s" },
  redis = { kind = "redis", url = "url", main = "redis", label = "redis.%s" },
}

-- Names of the pools below a section, in order.
local function names_below(values, root)
  local seen, names = {}, {}
  for path in pairs(values) do
    local section, name = schema.named_pool(path)
    if section == root and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

local function add_pool(self, pools, root, name)
  local kind = KINDS[root]
  local section = name and root .. "." .. name or root
  local url, source = self:get(section .. "." .. kind.url)
  if not url then return end
  pools[#pools + 1] = {
    kind = kind.kind, name = name or "main", url = url, source = source,
    label = name and kind.label:format(name) or kind.main,
    required = (self:get(section .. ".required")),
    application_name = root == "database" and self:get(section .. ".application_name")
      or nil,
    settings = self:section(section .. ".pool"),
  }
end

-- The pools whose url is set: array of { kind =, name =, label =, url =, source =,
-- required =, settings = } with those settings that are not left to the runtime.  label
-- names a pool in logs, health and metrics, where both kinds stand side by side.
function Config:pools()
  local pools = {}
  for _, root in ipairs { "database", "redis" } do
    add_pool(self, pools, root)
    for _, name in ipairs(names_below(self.values, root)) do
      add_pool(self, pools, root, name)
    end
  end
  return pools
end

local function check_pool(loader, section)
  local max = loader.values[section .. ".max_connections"]
  local min = loader.values[section .. ".min_connections"]
  if not min then return end
  local limit = max and max.value or core.cores() * 2 + 1
  if min.value > limit then
    loader:problem(min.source, "%s: expected at most max_connections, which is %d (%s), "
      .. "found %d", min.path, limit, max and max.source or "by the cores", min.value)
  end
end

-- A pool with a name is there to be used, so it has a url.
local function check_named(loader, root)
  for _, name in ipairs(names_below(loader.values, root)) do
    local path = root .. "." .. name .. "." .. KINDS[root].url
    if not loader.values[path] then
      loader:problem("configuration", "[%s.%s] has no %s", root, name, KINDS[root].url)
    end
    check_pool(loader, root .. "." .. name .. ".pool")
  end
end

-- All variables of the environment by name.
local function environment()
  local variables = {}
  local file = io.open("/proc/self/environ", "rb")
  if file then
    for name, value in file:read("*a"):gmatch("([^=%z]+)=(%Z*)") do
      variables[name] = value
    end
    file:close()
  end
  return variables
end

local function read_file(path)
  local file, err, errno = io.open(path, "rb")
  if not file then return nil, err:gsub("^.*: ", ""), errno end
  local text, read_err = file:read("*a")
  file:close()
  if not text then return nil, read_err or "cannot be read" end
  return text
end

local function is_open_to_all(path)
  local info = core.stat(path)
  return info ~= nil and info.mode % 8 >= 4
end

-- Reads all layers.  options may set file (of --config), sets (array of "KEY=VALUE"),
-- flags (path -> { name =, value = }), and for tests environment (name -> value) and read
-- (path -> text, or nil, message, errno).  Returns a Config with the sections server and
-- log, and the file that was read and the one that it hides; or nil and the array of what
-- is wrong, a sentence each.
function config.load(options)
  local loader = setmetatable({
    values = {}, problems = {}, warnings = {}, layer = 0,
    read = options.read or read_file,
    is_open_to_all = options.is_open_to_all or is_open_to_all,
  }, Loader)
  local from_dotenv, from_outside =
    loader:find_dotenv(), options.environment or environment()
  loader.variables = merge(from_dotenv, from_outside)
  loader:find_file(options.file)
  loader:read_variables(from_dotenv)
  loader:read_environment(from_outside)
  loader:read_sets(options.sets or {})
  loader:read_flags(options.flags or {})
  check_pool(loader, "database.pool")
  check_pool(loader, "redis.pool")
  check_named(loader, "database")
  check_named(loader, "redis")
  if #loader.problems > 0 then return nil, loader.problems end

  local result = setmetatable({
    values = loader.values, file = loader.file, unread = loader.unread,
    warnings = loader.warnings,
  }, Config)
  result.server = result:section("server")
  result.server.limits = result:section("server.limits")
  result.log = result:section("log")
  return result
end

return config
