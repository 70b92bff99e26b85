-- tune_server.lua - what `tidepool tune` asks a server beside the load: its version, how
-- many connections it has free, the CPU that it uses.  On one connection of its own.

local core = require "tidepool.core"
local postgres_cpu = require "tidepool.command.postgres_cpu"

local PATIENCE = 10 -- seconds for an answer, also while the server is under load
local SPARE = 0.1   -- of all connections are left to others who come meanwhile

local Server = {}
Server.__index = Server

-- ---- Postgres

local Postgres = setmetatable({}, { __index = Server })
Postgres.__index = Postgres

local SESSION = [[SELECT pg_backend_pid() AS pid,
  current_setting('server_version') AS version,
  COALESCE(inet_client_addr() = inet_server_addr(), true) AS is_here]]

local CONNECTIONS = [[SELECT current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - COALESCE(current_setting('reserved_connections', true), '0')::int AS most,
  (SELECT count(*)::int FROM pg_stat_activity
    WHERE backend_type = 'client backend') AS used]]

function Postgres:learn()
  local session, err = self.pool:one { SESSION, share = false }
  if not session then return nil, err end
  self.version = "Postgres " .. session.version
  self.postmaster = session.is_here and postgres_cpu.postmaster_of(session.pid) or nil
  return true
end

function Postgres:connections()
  local row, err = self.pool:one { CONNECTIONS, share = false }
  if not row then return nil, err end
  return row.most, row.used
end

function Postgres:usage()
  return self.postmaster and postgres_cpu.begin(self.postmaster)
end

-- ---- Redis

local Redis = setmetatable({}, { __index = Server })
Redis.__index = Redis

function Redis:info()
  local text, err = self.pool:call "INFO"
  if not text then return nil, err end
  local info = {}
  for name, value in text:gmatch "([%w_]+):([^\r\n]*)" do info[name] = value end
  return info
end

function Redis:learn()
  local info, err = self:info()
  if not info then return nil, err end
  self.version = "Redis " .. (info.redis_version or "of an unknown version")
  return true
end

function Redis:connections()
  local info, err = self:info()
  if not info then return nil, err end
  return tonumber(info.maxclients) or math.huge, tonumber(info.connected_clients) or 0
end

local RedisUsage = {}
RedisUsage.__index = RedisUsage

local function seconds_of(server)
  local info = server:info()
  local user = info and tonumber(info.used_cpu_user)
  return user and user + tonumber(info.used_cpu_sys)
end

function Redis:usage()
  local start = seconds_of(self)
  return start and setmetatable({ server = self, start = start, at = core.now() },
    RedisUsage)
end

function RedisUsage:percent()
  local now = seconds_of(self.server)
  return now and 100 * (now - self.start) / (core.now() - self.at)
end

-- ---- both

-- How many connections may be opened beside this one, where ours are open; or nil, err.
function Server:room(ours)
  local most, used = self:connections()
  if not most then return nil, used end
  local others = math.max(0, used - ours - 1)
  if most == math.huge then return most end
  return most - others - 1 - math.ceil(most * SPARE)
end

function Server:close() self.pool:close(0) end

local KINDS = {
  postgres = { class = Postgres, open = core.postgres_open },
  redis = { class = Redis, open = core.redis_open },
}

local tune_server = { PATIENCE = PATIENCE }

-- Opens a pool on the server that words name; or nil, err.
function tune_server.open_pool(words, name, settings)
  local pool, err = KINDS[words.kind].open {
    name = name, url = words.url, settings = settings,
    application_name = "tidepool tune",
  }
  return pool, err
end

-- Connects and learns the version; or nil, err and the last error of a connect.
function tune_server.open(words)
  local pool, err = tune_server.open_pool(words, "watch", {
    max_connections = 1, acquire_timeout = PATIENCE, statement_timeout = PATIENCE,
  })
  if not pool then return nil, err end
  local self = setmetatable({ pool = pool }, KINDS[words.kind].class)
  local ok
  ok, err = self:learn()
  if ok then return self end
  local last_error = pool:stats().last_error
  pool:close(0)
  return nil, err, last_error
end

return tune_server
