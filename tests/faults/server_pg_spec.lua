-- What a Postgres can do to those who use it.  Elsewhere: backends that are ended one
-- at a time, wrong passwords, unknown names (tests/live/pg_faults_spec.lua), read only
-- by its settings (tests/live/outdated_spec.lua), storms, kills and SIGSTOP under load,
-- with all that callers were told checked (history_spec.lua).

local core = require "tidepool.core"
local proxy = require "proxy"
local recovery = require "recovery"
local server = require "tidepool.server"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local STOP_SECONDS = 10
local slow = support.slowness

local SETTINGS = {
  max_connections = 4, connect_timeout = 1 * slow, acquire_timeout = 3 * slow,
  statement_timeout = 2 * slow,
}

local function open(url, settings)
  return support.postgres(settings or SETTINGS, { url = url, raw_url = true })
end

local function reads(pool)
  return function() return (pool:one "SELECT 1 AS n" or {}).n == 1 end
end

local function there(own)
  local set = {}
  for id in must(own:psql "SELECT n FROM w"):gmatch "%d+" do set[tonumber(id)] = true end
  return set
end

describe("Postgres", function()
  local own, pool

  setup(function()
    own = must(servers.postgres {
      directory = support.directory .. "/pg-server", tcp = true,
      settings = { max_connections = 10, superuser_reserved_connections = 3 },
    })
    must(own:psql "CREATE TABLE w (n int PRIMARY KEY)")
    must(own:psql "CREATE USER plain")
  end)

  teardown(function() own:stop() end)

  before_each(function()
    must(own:psql "TRUNCATE w")
    pool = open(own.url)
    must(pool:one "SELECT 1 AS n")
  end)

  after_each(function()
    support.end_file()
    support.run_ends()
  end)

  local function write(id) return pool:exec("INSERT INTO w VALUES ($1)", id) end

  it("that is killed and started again answers soon, and has what it said", function()
    for _ = 1, 3 do
      local told = recovery.writers(20, write)
      eventually("they write", function() return #told.ok > 50 end)
      own:kill()
      must(own:restart())
      recovery.measure("kill -9, Postgres", reads(pool))
      local before = #told.ok
      eventually("they write again", function() return #told.ok > before + 50 end)
      told.load.stop()
      recovery.check_writes(told, there(own), "kill -9, Postgres")
      must(own:psql "TRUNCATE w")
    end
  end)

  it("that ends all sessions, again and again, answers soon", function()
    local longest = 0
    for _ = 1, 20 do
      must(own:psql [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()]])
      longest = math.max(longest, recovery.measure("terminated, Postgres", reads(pool)))
    end
    print(("# recovery terminated, Postgres: longest %.3f s"):format(longest))
  end)

  it("that restarts while reads are in flight answers each, or says why not", function()
    must(own:psql [[CREATE FUNCTION slowly(n int) RETURNS int LANGUAGE sql STABLE
      AS 'SELECT n FROM pg_sleep(0.02)']])
    local seen = { ok = 0, codes = {} }
    local reader = support.load(20, function(i)
      local row, err = pool:one("SELECT slowly($1) AS n", i)
      if row then
        assert.are.equal(i, row.n)
        seen.ok = seen.ok + 1
      else
        seen.codes[err.code] = (seen.codes[err.code] or 0) + 1
      end
      return row, err
    end)
    eventually("they read", function() return seen.ok > 40 end)
    must(own:restart())
    recovery.measure("restart, Postgres", reads(pool))
    local before = seen.ok
    eventually("they read again", function() return seen.ok > before + 40 end)
    reader.stop()
    for code in pairs(seen.codes) do
      assert.is_true(code == "lost" or code == "refused" or code == "timeout"
        or code == "server", code)
    end
    print(("# reads through a restart: %d answered right, %d told why not"):format(
      seen.ok, #reader.errors))
  end)

  it("that is stopped, and goes on, is waited for no longer than a deadline", function()
    recovery.signal(own, "STOP")
    local began, longest = core.now(), 0
    while core.now() - began < STOP_SECONDS do
      local at = core.now()
      local row, err = pool:one { "SELECT 1 AS n", timeout_ms = 500 * slow }
      longest = math.max(longest, core.now() - at)
      if not row then assert.is_true(err.code == "timeout" or err.code == "refused") end
    end
    recovery.signal(own, "CONT")
    recovery.measure("SIGSTOP, Postgres", reads(pool))
    assert.is_true(longest < 5 * slow, "a call took " .. longest)
  end)

  it("that has no connection left is used with those that there are", function()
    local url = own.url:gsub("//tide", "//plain")
    local others = open(url, { max_connections = 5, min_connections = 5 })
    eventually("others have theirs", function() return others:stats().open == 5 end)
    local crowded = open(url, { max_connections = 6, acquire_timeout = 5 * slow })
    eventually("one is open", function() return crowded:one "SELECT 1 AS n" end)
    local calls = {}
    for i = 1, 20 do
      calls[i] = function()
        return crowded:one({ "SELECT $1::int AS n, pg_sleep(0.02)", share = false }, i)
      end
    end
    for i, row in ipairs(must(tide.all(calls))) do assert.are.equal(i, row.n) end
    local stats = crowded:stats()
    assert.is_true(stats.open <= 2)
    assert.is_true(stats.counters.connect_failures > 0)
    others:close(1)
    recovery.measure("too many connections", reads(crowded))
  end)

  it("whose answer was changed on the way leaves a write unknown, without TLS", function()
    local between = proxy.start(own.port)
    support.at_end(function() between:stop() end)
    local through = open(("postgres://tide@127.0.0.1:%d/tide?sslmode=disable"):format(
      between.port))
    local insert = { "INSERT INTO w VALUES ($1)", share = false }
    assert.are.equal(1, must(through:exec(insert, 1)))
    between:say "at down 0 corrupt old times 1"
    local count, err = through:exec(insert, 2)
    assert.is_nil(count)
    assert.are.same({ "lost", "unknown" }, { err.code, err.outcome })
    assert.are.equal(1, must(through:exec(insert, 3)))
    assert.are.same({ [1] = true, [2] = true, [3] = true }, there(own))
  end)

  it("whose disk is full says so, and is used when there is room", function()
    local disk = must(server.home(support.directory .. "/disk"))
    local options = "size=8m,mode=700,uid=" .. core.stat(disk).uid
    if not server.run { "mount", "-t", "tmpfs", "-o", options, "tmpfs", disk } then
      pending "mounts are not allowed here"
      return
    end
    support.at_end(function()
      must(own:psql "DROP TABLE IF EXISTS big")
      must(own:psql "DROP TABLESPACE full_disk")
      must(server.run { "umount", disk })
    end)
    must(own:psql(("CREATE TABLESPACE full_disk LOCATION '%s'"):format(disk)))
    must(own:psql "CREATE TABLE big (t text) TABLESPACE full_disk")
    must(own:psql "ALTER TABLE big ALTER t SET STORAGE EXTERNAL")
    local err
    for _ = 1, 100 do
      local _, why = pool:exec("INSERT INTO big SELECT repeat(md5(n::text), 10000) "
        .. "FROM generate_series(1, 3) AS n")
      err = err or why
    end
    assert.are.same({ "server", "53100" }, { err.code, err.sqlstate })
    assert.is_true(err.retryable)
    assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
    must(own:psql "DROP TABLE big")
    must(own:psql "CREATE TABLE big (t text) TABLESPACE full_disk")
    assert.are.equal(1, must(pool:exec "INSERT INTO big VALUES ('room')"))
  end)
end)

describe("A Postgres with a standby", function()
  local primary, standby, pool

  local function base_backup()
    local home = must(server.home(support.directory .. "/pg-standby"))
    must(server.run_as_account { primary.bin .. "/pg_basebackup", "-D", home .. "/data",
      "-R", "-X", "stream", "-c", "fast", "-d", primary.socket_url })
    return must(servers.postgres {
      directory = home, tcp = true, settings = { hot_standby = "on" },
    })
  end

  setup(function()
    primary = must(servers.postgres {
      directory = support.directory .. "/pg-primary", tcp = true,
    })
    must(primary:psql "CREATE TABLE w (n int PRIMARY KEY)")
    standby = base_backup()
    must(primary:psql "ALTER SYSTEM SET synchronous_standby_names = '*'")
    must(primary:psql "SELECT pg_reload_conf()")
    pool = open(("postgres://tide@127.0.0.1:%d,127.0.0.1:%d/tide"
      .. "?target_session_attrs=read-write"):format(primary.port, standby.port))
  end)

  teardown(function()
    support.end_file()
    primary:stop()
    standby:stop()
  end)

  it("is left for it when it dies, and nothing that was said is gone", function()
    must(pool:one "SELECT 1 AS n")
    eventually("the standby hears it", function()
      return must(primary:psql "SELECT sync_state FROM pg_stat_replication") == "sync\n"
    end)
    local told = recovery.writers(20, function(id)
      return pool:exec("INSERT INTO w VALUES ($1)", id)
    end)
    eventually("they write", function() return #told.ok > 50 end)
    primary:kill()
    must(standby:psql "SELECT pg_promote()")
    recovery.measure("promotion, Postgres", function()
      return pool:exec("INSERT INTO w VALUES (0)")
    end)
    local before = #told.ok
    eventually("they write again", function() return #told.ok > before + 50 end)
    told.load.stop()
    recovery.check_writes(told, there(standby), "promotion, Postgres")
  end)
end)
