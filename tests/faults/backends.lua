-- backends.lua - a Postgres and a Redis behind a proxy each, and what the matrix does
-- with both: reads and writes that tell when an answer is not theirs.

local core = require "tidepool.core"
local proxy = require "proxy"
local server = require "tidepool.server"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local must = support.must
local PASSWORD = "s3cret"
local KEYS = 64

-- A second is long for servers of this machine, also when it is busy.
local SETTINGS = {
  max_connections = 4,
  connect_timeout = 1 * support.slowness,
  acquire_timeout = 3 * support.slowness,
  statement_timeout = 1.5 * support.slowness,
  stall_timeout = 0.5 * support.slowness,
  test_after = 0.05,
  connect_rate = 0,
}

local backends = {}
local fresh = 0

-- Raises when an answer is another caller's.
local function same(wanted, got)
  if wanted ~= got then
    error(("answered wrong: %s instead of %s"):format(tostring(got), tostring(wanted)), 0)
  end
  return true
end

-- Runs count calls at the same time: the list of { ok =, err =, i = }.
local function together(count, call)
  local tasks, results = {}, {}
  for i = 1, count do
    tasks[i] = tide.spawn(function() return call(i) end)
  end
  for i, task in ipairs(tasks) do
    local done, ok, err = task:wait()
    if not done then
      if not core.is_err(ok) then error(ok, 0) end
      ok, err = nil, ok
    end
    results[i] = { i = i, ok = ok, err = err }
  end
  return results
end

-- ---- Postgres

local postgres = { name = "Postgres" }
backends.postgres = postgres

function postgres.start()
  local dir = support.certificates()
  for _, kind in ipairs { ".pem", ".key" } do
    must(server.run_as_account { "cp", dir .. "/good" .. kind, dir .. "/faults" .. kind })
  end
  postgres.server = must(servers.postgres {
    directory = support.directory .. "/pg-faults", tcp = true, password = PASSWORD,
    settings = { ssl = "on", ssl_cert_file = dir .. "/faults.pem",
                 ssl_key_file = dir .. "/faults.key" },
  })
  must(postgres.server:psql "CREATE TABLE written (id text PRIMARY KEY)")
  postgres.proxy = proxy.start(postgres.server.port)
end

function postgres.open(tls)
  local url = ("postgres://tide:%s@127.0.0.1:%d/tide?sslmode=%s"):format(PASSWORD,
    postgres.proxy.port, tls and "require" or "disable")
  return support.postgres(SETTINGS, { url = url, raw_url = true })
end

function postgres.read(pool, i)
  local row, err = pool:one("SELECT $1::int AS n", i)
  if not row then return nil, err end
  return same(i, row.n)
end

-- A statement that no connection has seen.
function postgres.fresh(pool, i)
  fresh = fresh + 1
  local column = "n" .. fresh
  local row, err = pool:one("SELECT $1::int AS " .. column, i)
  if not row then return nil, err end
  return same(i, row[column])
end

function postgres.write(pool, id)
  local count, err = pool:exec("INSERT INTO written VALUES ($1)", id)
  if not count then return nil, err end
  return same(1, count)
end

-- How often the server has it, by a way that no fault is on.
function postgres.count(id)
  return tonumber((must(postgres.server:psql(
    ("SELECT count(*) FROM written WHERE id = '%s'"):format(id)))))
end

-- Leaves a lease in a state that the pool must clean, after calling then.
function postgres.leave_dirty(pool, after)
  return pool:with(function(conn)
    must(conn:exec "BEGIN")
    must(conn:exec "INSERT INTO written VALUES ('never')")
    after()
    return true
  end)
end

-- Begins a call that is to end before its answer has come, and has the fault strike
-- what that makes the pool do: here the cancel request, on a connection of its own.
function postgres.give_up(pool, strike)
  strike "new"
  return together(1, function()
    return pool:one { "SELECT pg_sleep(60)", timeout_ms = 300 * support.slowness }
  end)
end

-- Ends what a cancel that did not arrive left running.
function postgres.tidy()
  must(postgres.server:psql [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()]])
end

function postgres.sessions()
  return tonumber((must(postgres.server:psql [[SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()]])))
end

-- ---- Redis

local redis = { name = "Redis" }
backends.redis = redis

function redis.start()
  local dir = support.certificates()
  local port = server.free_port()
  redis.server = must(servers.redis {
    directory = support.directory .. "/redis-faults", password = PASSWORD, tcp = true,
    settings = {
      appendonly = "yes", appendfsync = "always", -- what was acknowledged outlives a kill
      ["tls-port"] = port, ["tls-cert-file"] = dir .. "/good.pem",
      ["tls-key-file"] = dir .. "/good.key", ["tls-ca-cert-file"] = dir .. "/ca.pem",
      ["tls-auth-clients"] = "no",
    },
  })
  for i = 1, KEYS do must(redis.server:cli("SET", "key:" .. i, "value:" .. i)) end
  redis.proxy = proxy.start(redis.server.port)
  redis.tls_port = port
end

function redis.open(tls)
  local query = tls and "?cacert=" .. support.certificates() .. "/ca.pem" or ""
  redis.proxy:say("target %d", tls and redis.tls_port or redis.server.port)
  return support.redis(SETTINGS, { url = ("%s://:%s@127.0.0.1:%d/0%s"):format(
    tls and "rediss" or "redis", PASSWORD, redis.proxy.port, query) })
end

function redis.read(pool, i)
  local key = (i - 1) % KEYS + 1
  local value, err = pool:get("key:" .. key)
  if not value then return nil, err end
  return same("value:" .. key, value)
end

-- A script that the server has not seen.
function redis.fresh(pool, i)
  fresh = fresh + 1
  local mark = ":" .. fresh
  local source = ("return ARGV[1] .. '%s'"):format(mark)
  local script = pool:script(source, { read_only = true })
  local text, err = script({}, i)
  if not text then return nil, err end
  return same(i .. mark, text)
end

function redis.write(pool, id)
  local done, err = pool:call("RPUSH", "written:" .. id, id)
  if not done then return nil, err end
  return same(1, done)
end

function redis.count(id)
  return tonumber((must(redis.server:cli("LLEN", "written:" .. id))))
end

function redis.leave_dirty(pool, after)
  return pool:with(function(conn)
    must(conn:call("WATCH", "key:1"))
    after()
    return true
  end)
end

-- Here the replies that are due all the same: they are held until the calls are over.
function redis.give_up(pool, strike)
  redis.proxy:say "at down 0 stall old"
  local up = redis.proxy:status().up
  local tasks = {}
  for i = 1, 8 do tasks[i] = tide.spawn(function() return redis.read(pool, i) end) end
  support.eventually("they are sent", function() return redis.proxy:status().up > up end)
  for _, task in ipairs(tasks) do task:cancel() end
  if not strike "old" then redis.proxy:say "resume" end -- a rule takes the other's place
  return together(0)
end

function redis.tidy() end

function redis.sessions()
  local _, count = must(redis.server:cli("CLIENT", "LIST", "TYPE", "normal")):gsub(
    "addr=127", "")
  return count
end

-- ---- both

function backends.stop()
  for _, backend in pairs { postgres, redis } do
    if backend.proxy then backend.proxy:stop() end
    if backend.server then backend.server:stop() end
    backend.proxy, backend.server = nil, nil
  end
end

backends.together = together

return backends
