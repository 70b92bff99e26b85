-- config.lua - the settings that the layers make, each with its source, and the pools
-- among them.
--
-- Layers, the later ones win: defaults, the file (--config, else config/local.toml, else
-- tidepool.toml), .env, the environment, --set, flags.  All that is wrong is found in one
-- go.  Passwords leave this module only inside the urls of Config:pools().

local access = require "tidepool.access"
local core = require "tidepool.core"
local layers = require "tidepool.layers"
local schema = require "tidepool.schema"

local config = {}

local Config = {}
Config.__index = Config

-- The value of one key, and where it came from.
function Config:get(path)
  local known = self.values[path]
  if known then return known.value, known.source end
  local default = schema.find(path).default
  return default, default ~= nil and "default" or nil
end

-- The entries of all configurations, then those of pools with a name, as far as they
-- have values, or are among more (path -> value).
function Config:entries(more)
  local entries, seen, named = { unpack(schema.list) }, {}, {}
  for _, paths in ipairs { self.values, more } do
    for path in pairs(paths) do
      if not schema.entries[path] and not seen[path] then
        seen[path] = true
        named[#named + 1] = path
      end
    end
  end
  table.sort(named)
  for _, path in ipairs(named) do entries[#entries + 1] = schema.find(path) end
  return entries
end

-- One line a value: "key = value  # source".  chosen: path -> what the runtime takes
-- where nothing is configured.
function Config:describe(chosen)
  chosen = chosen or {}
  local lines = {}
  for _, entry in ipairs(self:entries(chosen)) do
    local value, source = self:get(entry.path)
    if value == nil then value, source = chosen[entry.path], "default" end
    if value ~= nil and not entry.stands_for then
      lines[#lines + 1] = ("%s = %s  # %s"):format(entry.path,
        layers.show(value, entry), source)
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

-- The pool of a section gets its connections from another server, which has no password.
function Config:point(section, url, source)
  self:set(section .. "." .. KINDS[section:match "^%l+"].url, url, source)
  self.values[section .. ".password_command"] = nil
end

-- How the server is told of requests; nil: not at all.
function Config:trace_of(section)
  local trace = self:get(section .. ".trace")
  return trace ~= "off" and trace or nil
end

local function add_pool(self, pools, root, name)
  local kind = KINDS[root]
  local section = name and root .. "." .. name or root
  local url, source = self:get(section .. "." .. kind.url)
  if not url then return end
  pools[#pools + 1] = {
    kind = kind.kind, name = name or "main", url = url, source = source,
    section = section,
    label = name and kind.label:format(name) or kind.main,
    required = (self:get(section .. ".required")),
    password_command = (self:get(section .. ".password_command")),
    application_name = root == "database" and self:get(section .. ".application_name")
      or nil,
    trace = root == "database" and self:trace_of(section) or nil,
    settings = self:section(section .. ".pool"),
  }
end

-- The pools whose url is set: array of { kind =, name =, label =, section =, url =,
-- source =, required =, password_command =, trace =, settings = } with those settings
-- that are not left to the runtime.  label names a pool in logs, health and metrics,
-- where both kinds are.
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

-- What follows the dots after prefix, of all that is set: name -> value.
local function below(self, prefix)
  local result
  for path, known in pairs(self.values) do
    if path:sub(1, #prefix) == prefix then
      result = result or {}
      result[path:sub(#prefix + 1)] = known.value
    end
  end
  return result
end

-- The policy: { use =, source =, dry_run =, revert =, rails =, options = }; the last two
-- by name, or nil.
function Config:policy()
  local use, source = self:get "policy.use"
  return {
    use = use, source = source,
    dry_run = (self:get "policy.dry_run"), revert = (self:get "policy.revert"),
    rails = below(self, "policy.rails."), options = below(self, "policy.options."),
  }
end

-- Whether somebody is told by which route a request came.
function Config:tells_route()
  if self.log.access then return true end
  for _, pool in ipairs(self:pools()) do
    if pool.trace == "comment" then return true end
  end
  return false
end

-- Whether the operator has said how many connections a pool may have.
function Config:is_sized(section)
  return self.values[section .. ".pool.max_connections"] ~= nil
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

-- Where the first key below a section was set.
local function source_below(values, section)
  local first
  for path in pairs(values) do
    if path:sub(1, #section + 1) == section .. "." and (not first or path < first) then
      first = path
    end
  end
  return values[first].source
end

-- A pool with a name is there to be used, so it has a url.
local function check_named(loader, root)
  for _, name in ipairs(names_below(loader.values, root)) do
    local section = root .. "." .. name
    local taken = name == "main" and root
      or root == "database" and name == "redis" and name
    if taken then
      loader:problem(source_below(loader.values, section),
        "[%s]: %s is the name of the pool in [%s]", section, name, taken)
    elseif not loader.values[section .. "." .. KINDS[root].url] then
      loader:problem(source_below(loader.values, section), "[%s] has no %s", section,
        KINDS[root].url)
    end
    check_pool(loader, section .. ".pool")
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

-- Who can reach the admin listener from elsewhere must know the token.
local function check_admin(loader)
  local admin, token = loader.values["server.admin"], loader.values["server.admin_token"]
  if not admin or token or access.is_local(admin.value) then return end
  loader:problem(admin.source, "server.admin: %s can be reached from elsewhere; set "
    .. "server.admin_token, or listen on 127.0.0.1", admin.value)
end

-- Each certificate has its key.
local function check_tls(loader)
  local certificate = loader.values["server.tls.certificate"]
  local key = loader.values["server.tls.key"]
  local n_certificates, n_keys = certificate and #certificate.value or 0,
    key and #key.value or 0
  if n_certificates == n_keys then return end
  loader:problem((certificate or key).source, "server.tls: certificate and key belong "
    .. "together, found %d and %d", n_certificates, n_keys)
end

-- Reads all layers.  options may set file (of --config), sets (array of "KEY=VALUE"),
-- flags (path -> { name =, value = }), and for tests environment (name -> value) and read
-- (path -> text, or nil, message, errno).  Returns a Config with the sections server and
-- log, and the file that was read and the one that it hides; or nil and the array of what
-- is wrong, a sentence each.
function config.load(options)
  local loader = layers.read {
    environment = options.environment or environment(), file = options.file,
    sets = options.sets, flags = options.flags, read = options.read or read_file,
    is_open_to_all = options.is_open_to_all or is_open_to_all,
  }
  check_pool(loader, "database.pool")
  check_pool(loader, "redis.pool")
  check_named(loader, "database")
  check_named(loader, "redis")
  check_admin(loader)
  check_tls(loader)
  if #loader.problems > 0 then return nil, loader.problems end

  local result = setmetatable({
    values = loader.values, file = loader.file, unread = loader.unread,
    warnings = loader.warnings,
  }, Config)
  result.server = result:section("server")
  result.server.limits = result:section("server.limits")
  result.server.tls = result:section("server.tls")
  result.script = result:section("script")
  result.log = result:section("log")
  result.record = result:section("record")
  if result.unread then
    table.insert(result.warnings, 1, ("%s is not read, because %s is"):format(
      result.unread, result.file))
  end
  return result
end

return config
