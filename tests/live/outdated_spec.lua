-- Connections that outlive what they were opened to: servers that end sessions, become
-- read only, or a replica.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"

local eventually, fill, must = support.eventually, support.fill, support.must

local function pid_of(pool)
  return pool:with(function(conn) return conn:pid() end)
end

describe("A pool of Postgres", function()
  local db

  setup(function() db = support.postgres { max_connections = 2 } end)

  it("replaces all its connections when the server ends one", function()
    local pool = support.postgres { max_connections = 3 }
    local pids = fill(pool, 3)
    must(db:one("SELECT pg_terminate_backend($1)", pids[1]))
    eventually("all are closed", function() return pool:stats().open == 0 end)
    local stats = pool:stats()
    assert.are.equal(1, stats.counters.outdated)
    assert.are.equal(2, stats.closes.outdated)
    assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
  end)

  it("replaces a lent one when it comes back", function()
    local pool = support.postgres { max_connections = 2 }
    local pids = fill(pool, 2)
    local kept = pool:with(function(conn)
      local other = pids[1] == conn:pid() and pids[2] or pids[1]
      must(db:one("SELECT pg_terminate_backend($1)", other))
      eventually("it is known", function() return pool:stats().counters.outdated == 1 end)
      assert.are.equal(1, must(conn:one "SELECT 1 AS n").n)
      return conn:pid()
    end)
    assert.are_not.equal(kept, pid_of(pool))
    assert.are.equal(1, pool:stats().closes.outdated)
  end)

  it("is not outdated by a transaction that was begun read only", function()
    local pool = support.postgres { max_connections = 1 }
    must(pool:exec "CREATE TABLE readonly_tx (n int)")
    local _, err = pool:transaction(function(tx)
      must(tx:exec "SET TRANSACTION READ ONLY")
      return tx:exec "INSERT INTO readonly_tx VALUES (1)"
    end)
    assert.are.equal("25006", err.sqlstate)
    pool:with(function(conn)
      must(conn:exec "SET default_transaction_read_only = on")
      local _, refusal = conn:exec "INSERT INTO readonly_tx VALUES (1)"
      assert.are.equal("25006", refusal.sqlstate)
    end)
    assert.are.equal(0, pool:stats().counters.outdated)
  end)

  it("is not outdated by an error of the script's", function()
    local pool = support.postgres { max_connections = 1 }
    local _, err = pool:query({ "SELECT dblink_of_none($1)", share = false }, 1)
    assert.are.equal("42883", err.sqlstate)
    assert.are.equal(0, pool:stats().counters.outdated)
  end)
end)

describe("A pool whose Postgres becomes read only", function()
  local server, pool

  setup(function()
    server = must(servers.postgres { directory = support.directory .. "/outdated" })
    pool = must(core.postgres_open {
      name = "outdated", url = server.url, settings = { max_connections = 2 },
    })
  end)

  teardown(function()
    pool:close(1)
    server:stop()
  end)

  it("replaces what it has, once, and can read meanwhile", function()
    must(pool:exec "CREATE TABLE t (n int)")
    local before = fill(pool, 2)
    must(server:psql "ALTER SYSTEM SET default_transaction_read_only = on")
    must(server:psql "SELECT pg_reload_conf()")
    eventually("a write is refused", function()
      local _, err = pool:exec "INSERT INTO t VALUES (2)" -- done until the server knows
      return err ~= nil and err.sqlstate == "25006"
    end)
    for _ = 1, 20 do
      local done, err = pool:exec "INSERT INTO t VALUES (1)"
      assert.is_nil(done)
      assert.are.equal("25006", err.sqlstate)
      assert.are.equal(0, #must(pool:query "SELECT n FROM t WHERE n = 1"))
    end
    local stats = pool:stats()
    assert.are.equal(1, stats.counters.outdated)
    assert.is_true(stats.closes.outdated >= 1)
    local now = pid_of(pool)
    assert.is_true(now ~= before[1] and now ~= before[2])
  end)
end)

describe("A pool whose Redis becomes a replica", function()
  it("replaces what it has, and writes again when it is a master again", function()
    local server = must(servers.redis { directory = support.directory .. "/replica" })
    local cache = must(core.redis_open {
      name = "replica", url = server.url, settings = { max_connections = 2 },
    })
    local id = must(cache:with(function(conn) return conn:call("CLIENT", "ID") end))
    must(cache:call("REPLICAOF", "127.0.0.1", "1"))
    local done, err = cache:set("k", 1)
    assert.is_nil(done)
    assert.matches("READONLY", err.message)
    eventually("all are replaced", function()
      return cache:stats().closes.outdated > 0
    end)
    assert.are.equal(1, cache:stats().counters.outdated)
    assert.is_true(id < must(cache:with(function(conn)
      return conn:call("CLIENT", "ID")
    end)))
    must(cache:call("REPLICAOF", "NO", "ONE"))
    assert.are.equal("OK", must(cache:set("k", 1)))
    cache:close(1)
    server:stop()
  end)
end)
