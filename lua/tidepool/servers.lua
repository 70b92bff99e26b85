-- servers.lua - private Postgres and Redis servers, for development and for tests.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local server = require "tidepool.server"

local POSTGRES_FOLDER = "/usr/lib/postgresql/%d/bin"
local NEWEST_POSTGRES, OLDEST_POSTGRES = 30, 10
local POSTGRES_PORT = 5432
local USER, DATABASE = "tide", "tide"
local NEW = "tidepool.new" -- in data whose database is not finished
local SHARED_MEMORY_SECONDS = 10

local OPTIONS = {
  directory = true, -- where it lives, nothing else does; made when it is not there
  fresh = true,     -- true: its data are made anew
  keep = true,      -- true: stop() leaves the directory, which it else removes
  settings = true,  -- name -> value, as in the server's own configuration
  tcp = true,       -- true: also on a port of 127.0.0.1, and url says so
  password = true,  -- asked for on TCP; Redis: everywhere
  schema = true,    -- Postgres: a file of SQL, run once when the database is new
}

local servers = {}

local function check_options(options)
  for name in pairs(options) do
    if not OPTIONS[name] then error("unknown server option: " .. tostring(name), 3) end
  end
  if type(options.directory) ~= "string" then error("directory expected", 3) end
end

-- Makes the directories of a server named name: its own, and that of its socket.
local function settle(self, options, socket_name)
  local home, err = server.home(options.directory)
  if not home then return nil, err end
  self.directory = home
  self.log = home .. "/" .. self.name .. ".log"
  self.keep = options.keep
  self.socket_directory, err = server.socket_home(home, socket_name)
  return self.socket_directory, err
end

local function write_file(path, text)
  local file, err = io.open(path, "w")
  if not file then return nil, core.err("refused", err) end
  file:write(text)
  file:close()
  return true
end

-- Writes a file that only the servers' account can read.
local function write_secret(path, text)
  os.remove(path)
  local ok, err = server.run_as_account { "sh", "-c", 'umask 077 && : > "$0"', path }
  if not ok then return nil, err end
  return write_file(path, text)
end

-- ---- Postgres

local Postgres = setmetatable({}, { __index = server.Server })
Postgres.__index = Postgres
Postgres.stop_signals = { "INT", "QUIT", "KILL" }

local function find_postgres()
  local more = {}
  for version = NEWEST_POSTGRES, OLDEST_POSTGRES, -1 do
    more[#more + 1] = POSTGRES_FOLDER:format(version)
  end
  local found = server.find({ "initdb", "postgres", "psql" }, more)
  if found then return found end
  return nil, core.err("refused", "Postgres was not found in PATH nor in "
    .. "/usr/lib/postgresql/*/bin; on Debian: apt-get install postgresql")
end

function Postgres:clear()
  server.take_over(self.data .. "/postmaster.pid", self.data)
  for _, name in ipairs { "", ".lock" } do
    os.remove(("%s/.s.PGSQL.%d%s"):format(self.socket_directory, self.port, name))
  end
end

-- postmaster.pid has the state in its eighth line.
function Postgres:is_ready()
  local text = core.read_file(self.data .. "/postmaster.pid") or ""
  local _, count = text:gsub("\n", "")
  return count >= 8 and text:find("\nready%s*\n$") ~= nil
end

-- After a kill its processes hold the shared memory for a moment.
function Postgres:start()
  local limit = core.now() + SHARED_MEMORY_SECONDS
  local ok, err = server.Server.start(self)
  while not ok and core.now() < limit
    and err.message:find("shared memory block", 1, true) do
    of(core.sleep(0.1))
    ok, err = server.Server.start(self)
  end
  return ok, err
end

local function url_of(self, database)
  local port = self.port ~= POSTGRES_PORT and "&port=" .. self.port or ""
  return ("postgres://%s@/%s?host=%s%s"):format(USER, database,
    self.socket_directory, port)
end

local function psql(self, database, ...)
  return server.run { self.bin .. "/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d",
    url_of(self, database), ... }
end

-- Runs SQL as the owner; gives the output, rows as a|b lines, or nil, err.
function Postgres:psql(sql)
  local output, err = psql(self, DATABASE, "-c", sql)
  return output, err
end

local function initdb(self, folder, password_file, locale)
  return server.run_as_account({
    self.bin .. "/initdb", "-D", folder, "-U", USER, "--encoding=UTF8", "--no-sync",
    "--locale=" .. locale, "--auth-local=trust",
    password_file and "--auth-host=scram-sha-256" or "--auth-host=trust",
    password_file and "--pwfile=" .. password_file or nil,
  }, { cwd = self.directory })
end

-- Makes the data aside and moves it in place whole, so that a crash leaves no half.
local function make_data(self, password)
  local folder = self.data .. ".new"
  local password_file = password and self.directory .. "/password"
  local ok, err = true, nil
  if password then ok, err = write_secret(password_file, password .. "\n") end
  for _, locale in ipairs(ok and { "C.UTF-8", "C" } or {}) do
    core.remove_tree(folder)
    ok, err = initdb(self, folder, password_file, locale)
    if ok then break end
  end
  if password then os.remove(password_file) end
  if ok then ok, err = write_file(folder .. "/" .. NEW, "the schema is due\n") end
  if not ok then return nil, err end
  local renamed, why = os.rename(folder, self.data)
  if not renamed then return nil, core.err("refused", why) end
  return true
end

-- What new data still lack: the database, and the schema in it.
local function finish_data(self, schema)
  local marker = self.data .. "/" .. NEW
  if not core.stat(marker) then return true end
  local ok, err = psql(self, "postgres", "-c",
    ("SELECT 1 FROM pg_database WHERE datname = '%s'"):format(DATABASE))
  if ok == "" then
    ok, err = psql(self, "postgres", "-c", "CREATE DATABASE " .. DATABASE)
  end
  if ok and schema then
    ok, err = psql(self, DATABASE, "-o", "/dev/null", "-1", "-f", schema)
  end
  if not ok then return nil, err end
  self.is_new = true
  os.remove(marker)
  return true
end

local function postgres_words(self, options)
  local settings = {
    listen_addresses = options.tcp and "127.0.0.1" or "",
    unix_socket_directories = self.socket_directory,
    unix_socket_permissions = "0700",
  }
  for name, value in pairs(options.settings or {}) do settings[name] = value end
  local words = { self.bin .. "/postgres", "-D", self.data, "-p", tostring(self.port) }
  for name, value in pairs(settings) do
    words[#words + 1] = "-c"
    words[#words + 1] = name .. "=" .. tostring(value)
  end
  return words
end

local function new_postgres(options)
  local self = setmetatable({ name = "postgres", port = POSTGRES_PORT }, Postgres)
  local err
  self.bin, err = find_postgres()
  if not self.bin then return nil, err end
  local ok
  ok, err = settle(self, options, ".s.PGSQL.99999")
  if not ok then return nil, err end
  self.data = self.directory .. "/data"
  if options.tcp then self.port = server.free_port() end
  self.socket_url = url_of(self, DATABASE)
  self.url = self.socket_url
  if options.tcp then
    self.url = ("postgres://%s%s@127.0.0.1:%d/%s"):format(USER,
      options.password and ":" .. options.password or "", self.port, DATABASE)
  end
  self.words = postgres_words(self, options)
  return self
end

-- Starts a private Postgres, its data made where there is none.  Returns it with url,
-- socket_url, directory, data, socket_directory, pid, is_new and the methods psql, stop,
-- kill, restart; or nil, err.
function servers.postgres(options)
  check_options(options)
  local self, err = new_postgres(options)
  if not self then return nil, err end
  local ok = true
  if options.fresh then core.remove_tree(self.data) end
  if not core.stat(self.data) then ok, err = make_data(self, options.password) end
  if ok then ok, err = self:start() end
  if ok then ok, err = finish_data(self, options.schema) end
  if ok then return self end
  self:stop()
  return nil, err
end

-- ---- Redis

local Redis = setmetatable({}, { __index = server.Server })
Redis.__index = Redis
Redis.stop_signals = { "TERM", "KILL" }

function Redis:clear()
  server.take_over(self.directory .. "/redis.pid", self.directory)
end

-- Runs one command; gives its output, or nil, err.
function Redis:cli(...)
  local words = { self.bin .. "/redis-cli", "-e", "-s", self.socket, ... }
  local env = self.password and { REDISCLI_AUTH = self.password }
  local output, err = server.run(words, { env = env or nil })
  return output, err
end

function Redis:is_ready()
  return core.stat(self.socket) ~= nil and (self:cli("PING") or ""):find("PONG") ~= nil
end

local function redis_text(self, options)
  local settings = {
    port = self.port or 0, bind = "127.0.0.1", dir = self.directory,
    unixsocket = self.socket, unixsocketperm = "700", daemonize = "no",
    pidfile = self.directory .. "/redis.pid", requirepass = self.password,
    -- Without it a server that cannot save, its directory gone, never ends.
    ["shutdown-on-sigint"] = "force", ["shutdown-on-sigterm"] = "force",
  }
  if not options.keep then settings.save = "" end
  for name, value in pairs(options.settings or {}) do settings[name] = value end
  local lines = {}
  for name, value in pairs(settings) do
    local quoted = tostring(value):gsub('[\\"]', "\\%0")
    lines[#lines + 1] = ('%s "%s"\n'):format(name, quoted)
  end
  table.sort(lines)
  return table.concat(lines)
end

local function new_redis(options)
  local self = setmetatable({ name = "redis", password = options.password }, Redis)
  self.bin = server.find { "redis-server", "redis-cli" }
  if not self.bin then
    return nil, core.err("refused",
      "redis-server was not found in PATH; on Debian: apt-get install redis-server")
  end
  local ok, err = settle(self, options, "redis.sock")
  if not ok then return nil, err end
  self.socket = self.socket_directory .. "/redis.sock"
  local login = options.password and ("default:%s@"):format(options.password) or ""
  self.socket_url = ("unix://%s%s"):format(login, self.socket)
  self.url = self.socket_url
  if options.tcp then
    self.port = server.free_port(20000 + server.hash(self.directory) % 20000)
    self.url = ("redis://%s127.0.0.1:%d"):format(login, self.port)
  end
  self.words = { self.bin .. "/redis-server", self.directory .. "/redis.conf" }
  return self
end

-- Starts a private Redis.  Returns it with url, socket_url, directory, socket, pid and
-- the methods cli, stop, kill, restart; or nil, err.
function servers.redis(options)
  check_options(options)
  local self, err = new_redis(options)
  if not self then return nil, err end
  if options.fresh then os.remove(self.directory .. "/dump.rdb") end
  local ok
  ok, err = write_secret(self.directory .. "/redis.conf", redis_text(self, options))
  if ok then ok, err = self:start() end
  if ok then return self end
  self:stop()
  return nil, err
end

return servers
