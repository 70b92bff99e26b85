-- Leases: lent to one task, given back whatever happens, clean for the next.

local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("Postgres leases", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 2, acquire_timeout = 5 * support.slowness }
    must(db:exec "CREATE TABLE acct (id int PRIMARY KEY, n int NOT NULL)")
  end)

  before_each(function()
    must(db:exec "TRUNCATE acct")
    must(db:exec "INSERT INTO acct VALUES (1, 100), (2, 100)")
  end)

  after_each(function()
    eventually("all leases are back", function()
      local stats = db:stats()
      return stats.leased == 0 and stats.waiting == 0
    end)
    eventually("nothing runs at the server", function()
      return support.running(db, "%pg_sleep%") == 0
    end)
  end)

  describe("with", function()
    it("lends one connection and gives what fn returns", function()
      local a, b, c = db:with(function(conn)
        local first = must(conn:one "SELECT pg_backend_pid() AS pid").pid
        assert.are.equal(first, must(conn:one "SELECT pg_backend_pid() AS pid").pid)
        assert.are.equal(1, db:stats().leased)
        return "a", nil, "c"
      end)
      assert.are.same({ "a", nil, "c" }, { a, b, c })
      assert.are.equal(0, db:stats().leased)
    end)

    it("gives it back when fn raises, and lets the error go on", function()
      local ok, err = pcall(db.with, db, function() error("mine", 0) end)
      assert.is_false(ok)
      assert.are.equal("mine", err)
      assert.are.equal(0, db:stats().leased)
    end)

    it("takes back a transaction that was left open", function()
      db:with(function(conn)
        must(conn:exec "BEGIN")
        must(conn:exec "UPDATE acct SET n = 0")
      end)
      assert.are.equal(100, must(db:one "SELECT n FROM acct WHERE id = 1").n)
      db:with(function(conn) assert.are.equal("none", conn:tx()) end)
    end)

    it("clears session state before the next borrower", function()
      local one = support.postgres { max_connections = 1 }
      one:with(function(conn)
        must(conn:exec "SET application_name = 'left over'")
        must(conn:exec "CREATE TEMP TABLE scratch (a int)")
        must(conn:one "SELECT pg_advisory_lock(7)")
      end)
      one:with(function(conn)
        local row = must(conn:one [[SELECT
          current_setting('application_name') AS name,
          to_regclass('pg_temp.scratch')::text AS temp,
          (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks]])
        assert.are_not.equal("left over", row.name)
        assert.is_nil(row.temp)
        assert.are.equal(0, row.locks)
      end)
    end)
  end)

  describe("acquire and release", function()
    it("lend until release", function()
      local conn = must(db:acquire())
      assert.are.equal(1, db:stats().leased)
      assert.are.equal(1, must(conn:one "SELECT 1 AS n").n)
      conn:release()
      assert.are.equal(0, db:stats().leased)
    end)

    it("raise when used after release, naming where it was acquired", function()
      local conn = must(db:acquire())
      conn:release()
      local ok, err = pcall(function()
        local rows = conn:query "SELECT 1"
        return rows
      end)
      assert.is_false(ok)
      assert.matches("pg_lease_spec%.lua:%d+.*pg_lease_spec%.lua:%d+", tostring(err))
    end)

    it("may release twice: the second does nothing", function()
      local one = support.postgres { max_connections = 1 }
      local conn = must(one:acquire())
      assert.is_true(conn:release())
      local other = must(one:acquire())
      assert.is_false(conn:release())
      assert.are.equal(1, one:stats().leased)
      other:release()
    end)

    it("raise for an old handle also while the connection is lent anew", function()
      local one = support.postgres { max_connections = 1 }
      local old = must(one:acquire())
      old:release()
      local new = must(one:acquire())
      assert.has_error(function() old:query "SELECT 1" end)
      assert.are.equal(1, must(new:one "SELECT 1 AS n").n)
      new:release()
    end)

    it("raise when another task uses the handle, naming both", function()
      local conn = must(db:acquire())
      local ok, err = tide.spawn(function() return conn:query "SELECT 1" end):wait()
      conn:release()
      assert.is_false(ok)
      local message = tostring(err)
      local owner, other = message:match "task (%d+).*task (%d+)"
      assert.is_not_nil(owner, message)
      assert.are_not.equal(owner, other)
      assert.matches("pg_lease_spec%.lua:%d+", message)
    end)

    it("end with the task at the latest", function()
      local pid
      local task = tide.spawn(function()
        pid = must(must(db:acquire()):one "SELECT pg_backend_pid() AS pid").pid
      end)
      assert.is_true(task:wait())
      assert.is_number(pid)
      assert.are.equal(0, db:stats().leased)
    end)

    it("end when the task raises or is cancelled in a statement", function()
      local raised = tide.spawn(function()
        must(db:acquire())
        error("mine", 0)
      end)
      assert.is_false((raised:wait()))
      local cancelled = tide.spawn(function()
        must(must(db:acquire()):one "SELECT pg_sleep(60)")
      end)
      eventually("the statement runs", function()
        return support.running(db, "%pg_sleep(60)%") == 1
      end)
      cancelled:cancel()
      assert.is_false((cancelled:wait()))
    end)

    it("end when the handle is forgotten, at the next collection", function()
      local function forget() must(db:acquire()) end
      local task = tide.spawn(function()
        forget()
        eventually("the lease is rescued", function()
          collectgarbage()
          return db:stats().leased == 0
        end)
      end)
      assert.is_true(task:wait())
    end)

    it("try_acquire never waits", function()
      local one = support.postgres { max_connections = 1, test_before_acquire = false }
      assert.is_nil((one:try_acquire())) -- nothing is open yet
      local first = must(one:acquire())
      assert.is_nil((one:try_acquire()))
      first:release()
      must(one:try_acquire()):release()
    end)

    it("wait their turn, first come first served", function()
      local one = support.postgres { max_connections = 1 }
      local held = must(one:acquire())
      local order, tasks = {}, {}
      for i = 1, 5 do
        tasks[i] = tide.spawn(function()
          one:with(function() order[#order + 1] = i end)
        end)
        eventually("it stands in line", function() return one:stats().waiting == i end)
      end
      held:release()
      for i = 1, 5 do assert.is_true((tasks[i]:wait())) end
      assert.are.same({ 1, 2, 3, 4, 5 }, order)
    end)
  end)

  it("tell what the server says of itself", function()
    local server = must(db:server())
    local version = must(db:one "SHOW server_version_num").server_version_num
    assert.are.equal(tonumber(version), server.version)
    assert.are.equal(must(db:one "SHOW server_version").server_version,
      server.server_version)
    assert.are.equal("UTF8", server.client_encoding)
    assert.are.equal("tidepool", server.application_name)
    db:with(function(conn)
      must(conn:exec "SET TimeZone = 'Asia/Tokyo'")
      assert.are.equal("Asia/Tokyo", conn:server().TimeZone)
    end)
  end)

  describe("timeouts", function()
    it("of a wait in line say where the time went and who holds", function()
      local one = support.postgres { max_connections = 1 }
      local release = support.hold(one)
      local conn, err = one:acquire { timeout_ms = 50 }
      release()
      assert.is_nil(conn)
      assert.are.equal("timeout", err.code)
      assert.is_true(err.waited.queue >= 0.05)
      assert.is_true(err.waited.total < 5 * support.slowness)
      assert.matches("support%.lua:%d+", err.message)
      assert.is_true(err.retryable)
      assert.are.equal(1, one:stats().counters.timeouts)
    end)

    it("of a full line come at once as busy", function()
      local one = support.postgres { max_connections = 1, max_waiters = 1 }
      local release = support.hold(one)
      local waiter = tide.spawn(function() return one:acquire() end)
      eventually("one waits", function() return one:stats().waiting == 1 end)
      local conn, err = one:acquire()
      release()
      assert.is_nil(conn)
      assert.are.equal("busy", err.code)
      assert.is_nil(err.sqlstate)
      assert.are.equal(1, one:stats().counters.busy)
      assert.is_true((waiter:wait()))
    end)

    it("of a statement stop it at the server", function()
      local row, err = db:one { "SELECT pg_sleep(61)", timeout_ms = 50 }
      assert.is_nil(row)
      assert.are.equal("timeout", err.code)
      eventually("the server has stopped it", function()
        return support.running(db, "%pg_sleep(61)%") == 0
      end)
    end)

    it("of a statement on a lease leave the lease usable", function()
      db:with(function(conn)
        local row, err = conn:one { "SELECT pg_sleep(62)", timeout_ms = 50 }
        assert.is_nil(row)
        assert.are.equal("timeout", err.code)
        assert.are.equal(5, must(conn:one "SELECT 5 AS n").n)
      end)
    end)

    it("of statement_timeout hold where no other is given", function()
      local hasty = support.postgres { max_connections = 1, statement_timeout = 0.05 }
      local row, err = hasty:one "SELECT pg_sleep(63)"
      assert.is_nil(row)
      assert.are.equal("timeout", err.code)
      eventually("the next one is served", function()
        return hasty:one { "SELECT 1 AS n", timeout_ms = 5000 }
      end)
    end)

    it("of tide.timeout give the lease back and stop the statement", function()
      local ok, err = tide.timeout(0.05, function()
        return db:with(function(conn) return must(conn:one "SELECT pg_sleep(64)") end)
      end)
      assert.is_nil(ok)
      assert.are.equal("timeout", err.code)
      eventually("the server has stopped it", function()
        return support.running(db, "%pg_sleep(64)%") == 0 and db:stats().leased == 0
      end)
    end)
  end)

  describe("the pool", function()
    it("can be resized while it runs", function()
      local pool = support.postgres { max_connections = 1 }
      local first = must(pool:acquire())
      assert.is_nil((pool:try_acquire()))
      assert.is_true(pool:set { max_connections = 2 })
      local second = must(pool:acquire())
      assert.are.equal(2, pool:stats().open)
      assert.is_true(pool:set { max_connections = 1 })
      first:release()
      second:release()
      eventually("it has shrunk", function() return pool:stats().open == 1 end)
      assert.are.equal(1, pool:settings().max_connections)
    end)

    it("refuses settings that make no sense", function()
      local ok, err = db:set { max_connections = 0 }
      assert.is_nil(ok)
      assert.matches("max_connections", err.message)
      ok, err = db:set { max_connections = 2, min_connections = 3 }
      assert.is_nil(ok)
      assert.is_not_nil(err)
      assert.has_error(function() must(db:set { max_conections = 3 }) end)
      assert.are.equal(2, db:settings().max_connections)
    end)

    it("hands nothing out while paused", function()
      db:pause()
      local task = tide.spawn(function() return must(db:one "SELECT 1 AS n").n end)
      assert.is_nil((db:try_acquire()))
      tide.sleep(0)
      assert.is_false(task:done())
      db:resume()
      local ok, n = task:wait()
      assert.is_true(ok)
      assert.are.equal(1, n)
    end)

    it("replaces its connections when drained", function()
      local pool = support.postgres { max_connections = 1 }
      local before = must(pool:one "SELECT pg_backend_pid() AS pid").pid
      pool:drain()
      local after = must(pool:one "SELECT pg_backend_pid() AS pid").pid
      assert.are_not.equal(before, after)
    end)

    it("raises once it is closed", function()
      local pool = support.postgres { max_connections = 1 }
      pool:close(1)
      assert.has_error(function() pool:one "SELECT 1" end)
    end)

    it("refuses those in line when it closes", function()
      local pool = support.postgres { max_connections = 1 }
      local held = support.gate()
      local holder = tide.spawn(function()
        pool:with(function() held.wait() end)
      end)
      eventually("it is held", function() return pool:stats().leased == 1 end)
      local waiter = tide.spawn(function() return pool:acquire() end)
      eventually("one waits", function() return pool:stats().waiting == 1 end)
      local closer = tide.spawn(function() return pool:close(5) end)
      local _, conn, err = waiter:wait()
      assert.is_nil(conn)
      assert.are.equal("closed", err.code)
      held.open()
      assert.is_true((holder:wait()))
      assert.is_true((closer:wait()))
    end)

    it("keeps min_connections open and closes what is idle beyond", function()
      local pool = support.postgres {
        max_connections = 3, min_connections = 1, idle_timeout = 0.05,
      }
      local jobs = {}
      for i = 1, 3 do
        jobs[i] = function()
          return pool:with(function(conn) return conn:one "SELECT pg_sleep(0.02)" end)
        end
      end
      must(tide.all(jobs))
      eventually("one is left", function() return pool:stats().open == 1 end)
      assert.is_true(pool:stats().closes.idle_timeout >= 1)
    end)

    it("counts what it did", function()
      local pool = support.postgres { max_connections = 1 }
      local before = pool:stats()
      for _ = 1, 3 do must(pool:with(function(conn) return conn:one "SELECT 1" end)) end
      local after = pool:stats()
      assert.are.equal(3, after.counters.acquires - before.counters.acquires)
      assert.are.equal(3, after.wait.count - before.wait.count)
      assert.are.equal("postgres", after.kind)
      assert.is_false(after.down)
    end)
  end)

  describe("seen from outside", function()
    it("a lease held too long is warned of, with the line that took it", function()
      local status, output = support.program([[
        local tide = require "tidepool"
        local db = tide.postgres()
        assert(db:set { leak_threshold = 0.02 })
        local conn = assert(db:acquire())
        local limit = os.time() + 5
        while db:stats().counters.leaks == 0 and os.time() < limit do tide.sleep(0.01) end
        conn:release()
      ]])
      assert.are.equal(0, status, output)
      assert.matches("level=warn", output)
      assert.matches("program%.lua:4", output)
    end)
  end)

  it("runs a batch in order, up to the first that fails", function()
    local one = support.postgres { max_connections = 1 }
    one:with(function(conn)
      must(conn:exec "CREATE TEMP TABLE steps (n int)")
      local results = must(conn:batch {
        { "INSERT INTO steps VALUES ($1) RETURNING n", 1 },
        { "SELECT n + 1 AS n FROM steps" },
      })
      assert.are.same({ 1, 2 }, { results[1][1].n, results[2][1].n })
      local list = {
        { "INSERT INTO steps VALUES (2)" }, { "SELECT 1 / 0" }, { "DELETE FROM steps" },
      }
      local none, err = conn:batch(list)
      assert.is_nil(none)
      assert.are.equal("22012", err.sqlstate)
      assert.are.equal(2, must(conn:one "SELECT count(*) AS n FROM steps").n)
      list.atomic = true
      none, err = conn:batch(list)
      assert.is_nil(none)
      assert.are.equal("22012", err.sqlstate)
      assert.are.equal(2, must(conn:one "SELECT count(*) AS n FROM steps").n)
      local ok, message = pcall(function() return (conn:batch { "SELECT 1" }) end)
      assert.is_false(ok)
      assert.matches("pg_lease_spec.lua:%d+: statement 1: { sql, ... } expected", message)
    end)
  end)

  it("called without their colon are told so, at the script's line", function()
    for _, call in ipairs {
      function() return (db.one "SELECT 1") end,
      function() return (db.query()) end,
      function() return (db.with("x", function() end)) end,
      function() return (db:with(function(conn) return conn.query "SELECT 1" end)) end,
      function() return (support.redis().get "k") end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("^tests/live/pg_lease_spec.lua:%d+: [%a.]+ expected, got %a+: "
        .. "methods are called with a colon", tostring(message))
    end
  end)

  it("of a pool that is closed raises at the script's line", function()
    local gone = support.postgres()
    gone:close(1)
    for _, call in ipairs {
      function() return (gone:query "SELECT 1") end,
      function() return (gone:acquire()) end,
      function() return (gone:with(print)) end, function() return (gone:stats()) end,
      function() return (gone:transaction(print)) end,
      function() return (gone:batch { { "SELECT 1" }, atomic = true }) end,
      function() return (gone:each("SELECT 1", print)) end,
      function() return (gone:listen("c", print)) end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches('^tests/live/pg_lease_spec.lua:%d+: pool "[^"]+" is closed$',
        tostring(message))
    end
  end)
end)
