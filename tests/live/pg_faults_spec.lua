-- What callers see when Postgres misbehaves: lost, refused, back again.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

-- What callers may see while the server is away.
local EXPECTED = { lost = true, refused = true, timeout = true }

local function with_user(url, user, password)
  local start = ("postgresql://%s:%s@"):format(user, password)
  return (url:gsub("^postgres%w*://[^@/]*@?", start))
end

describe("Postgres faults", function()
  local db -- on the shared server: for looking at, and for killing, others

  setup(function() db = support.postgres { max_connections = 2 } end)

  local function terminate(pid)
    must(db:one("SELECT pg_terminate_backend($1)", pid))
  end

  describe("a terminated backend", function()
    it("ends a statement in flight with lost, outcome unknown", function()
      local pool = support.postgres { max_connections = 1 }
      local pid = must(pool:one "SELECT pg_backend_pid() AS pid").pid
      local task = tide.spawn(function() return pool:exec "SELECT pg_sleep(60)" end)
      eventually("it runs", function()
        return support.running(db, "%pg_sleep(60)%") == 1
      end)
      terminate(pid)
      local _, row, err = task:wait()
      assert.is_nil(row)
      assert.is_true(err.code == "lost" or err.sqlstate == "57P01", tostring(err))
      assert.is_true(err.retryable)
      assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
    end)

    it("is seen while idle: the next statement never meets it", function()
      local pool = support.postgres { max_connections = 1 }
      for _ = 1, 5 do
        local pid = must(pool:one "SELECT pg_backend_pid() AS pid").pid
        terminate(pid)
        eventually("it is gone", function() return pool:stats().open == 0 end)
        local row = must(pool:one "SELECT pg_backend_pid() AS pid")
        assert.are_not.equal(pid, row.pid)
      end
      assert.are.equal(5, pool:stats().closes.lost)
    end)

    it("ends a transaction with an err, and nothing of it is kept", function()
      local pool = support.postgres { max_connections = 1 }
      must(pool:exec "CREATE TABLE IF NOT EXISTS kept (n int)")
      local result, err = pool:transaction(function(tx)
        must(tx:exec "INSERT INTO kept VALUES (1)")
        terminate(tx:pid())
        return must(tx:one "SELECT 1 AS n")
      end)
      assert.is_nil(result)
      assert.is_true(err.code == "lost" or err.sqlstate == "57P01", tostring(err))
      assert.are.equal(0, must(pool:one "SELECT count(*) AS n FROM kept").n)
    end)

    it("on a lease makes every later call on it fail, until it is given back", function()
      local pool = support.postgres { max_connections = 1 }
      pool:with(function(conn)
        terminate(conn:pid())
        local first, first_err = conn:query "SELECT 1"
        local second, second_err = conn:query "SELECT 1"
        assert.is_nil(first)
        assert.is_nil(second)
        assert.is_not_nil(first_err)
        assert.is_not_nil(second_err)
      end)
      assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
    end)
  end)

  describe("a server that is killed and started again", function()
    local own, pool

    setup(function()
      own = must(servers.postgres { directory = support.directory .. "/faults" })
    end)

    teardown(function() own:stop() end)

    before_each(function()
      pool = support.postgres({
        max_connections = 4, acquire_timeout = 2 * support.slowness,
        connect_timeout = 1 * support.slowness,
      }, { url = own.url, raw_url = true })
      must(pool:one "SELECT 1")
    end)

    after_each(function() pool:close(0) end)

    it("loses nobody: all callers go on within 2 s of its return", function()
      local seen = support.load(20, function(i)
        local row, err = pool:one("SELECT $1::int AS n", i)
        if not row then return nil, err end
        return must(row.n == i)
      end)
      eventually("the load runs", function() return seen.ok > 100 end)
      own:kill()
      eventually("the callers see it", function() return #seen.errors > 0 end)
      must(own:restart())
      local before = seen.ok
      eventually("statements succeed again", function() return seen.ok > before end,
        2 * support.slowness)
      eventually("all callers are served", function() return seen.ok > before + 200 end)
      seen.stop()
      for _, err in ipairs(seen.errors) do
        assert.is_true(EXPECTED[err.code] or err.sqlstate ~= nil, tostring(err))
      end
      assert.is_true(pool:stats().open <= 4)
    end)

    it("is reported as down meanwhile, with the reason", function()
      own:kill()
      eventually("the pool knows", function()
        pool:one "SELECT 1"
        return pool:stats().down
      end)
      local row, err = pool:one "SELECT 1"
      assert.is_nil(row)
      assert.is_true(err.code == "refused" or err.code == "timeout", tostring(err))
      assert.is_string(pool:stats().last_error)
      must(own:restart())
      eventually("it is up again", function() return pool:one "SELECT 1" end)
      assert.is_false(pool:stats().down)
      assert.is_nil(pool:stats().last_error)
    end)
  end)

  describe("a server that cannot be reached", function()
    it("refuses, with libpq's words, long before acquire_timeout", function()
      local url = "postgresql://127.0.0.1:" .. support.closed_port() .. "/x"
      local pool = support.postgres({ max_connections = 2, acquire_timeout = 60 },
        { url = url, raw_url = true })
      local began = core.now()
      local row, err = pool:one "SELECT 1"
      assert.is_nil(row)
      assert.are.equal("refused", err.code)
      assert.matches("[Cc]onnection refused", tostring(err))
      assert.is_true(err.retryable)
      assert.is_true(core.now() - began < 10)
      assert.is_true(pool:stats().down)
    end)

    it("refuses an unknown name", function()
      local pool = support.postgres({ max_connections = 1, acquire_timeout = 60 },
        { url = "postgresql://no-such-host.invalid/x", raw_url = true })
      local row, err = pool:one { "SELECT 1", timeout_ms = 20000 }
      assert.is_nil(row)
      assert.are.equal("refused", err.code)
      assert.matches("no%-such%-host%.invalid", tostring(err))
    end)

    it("refuses an unknown database and an unknown user", function()
      local url = support.servers.postgres.url
      local pool = support.postgres({ max_connections = 1 },
        { url = with_user(url, "nobody_here", "x"), raw_url = true })
      local row, err = pool:one "SELECT 1"
      assert.is_nil(row)
      assert.are.equal("refused", err.code)
      assert.matches("nobody_here", tostring(err))
    end)

    it("says what is wrong in a url at once", function()
      local url = "postgresql://h/x?nosuch=1"
      local pool, err = core.postgres_open { name = "bad", url = url }
      assert.is_nil(pool)
      assert.matches("nosuch", err.message)
    end)

    it("is logged once per attempt, attempts are spaced", function()
      local status, output = support.program(([[
        local core = require "tidepool.core"
        local pool = assert(core.postgres_open {
          name = "away", url = "postgresql://127.0.0.1:%s/x",
          settings = { max_connections = 4, acquire_timeout = 1 },
        })
        local tide = require "tidepool"
        local jobs = {}
        for i = 1, 50 do jobs[i] = function() pool:one "SELECT 1" return true end end
        assert(tide.all(jobs))
        tide.sleep(0.5)
        print("attempts", pool:stats().counters.connects)
      ]]):format(support.closed_port()))
      assert.are.equal(0, status, output)
      local attempts = tonumber(output:match "attempts%s+(%d+)")
      local _, lines = output:gsub("connect failed", "")
      assert.is_true(attempts <= 40, output)
      assert.is_true(lines <= attempts, output)
      assert.is_true(lines >= 1, output)
    end)
  end)

  describe("a wrong password", function()
    local own

    setup(function()
      own = must(servers.postgres {
        directory = support.directory .. "/password",
        tcp = true, password = "r1ght-secret",
      })
    end)

    teardown(function() own:stop() end)

    local function wrong_url()
      return (own.url:gsub("r1ght", "wr0ng"))
    end

    it("is refused with the server's words, and never shown", function()
      local pool = support.postgres({ max_connections = 1 },
        { url = wrong_url(), raw_url = true })
      local row, err = pool:one "SELECT 1"
      assert.is_nil(row)
      assert.are.equal("refused", err.code)
      assert.matches("password authentication failed", tostring(err))
      assert.not_matches("wr0ng%-secret", tostring(err))
    end)

    it("is logged once per attempt, however many ask", function()
      local status, output = support.program(([[
        local core = require "tidepool.core"
        local tide = require "tidepool"
        local pool = assert(core.postgres_open {
          name = "locked", url = "%s", settings = { max_connections = 4 },
        })
        local jobs = {}
        for i = 1, 50 do jobs[i] = function() pool:one "SELECT 1" return true end end
        for _ = 1, 5 do
          assert(tide.all(jobs))
          tide.sleep(0.1)
        end
        print("attempts", pool:stats().counters.connects)
      ]]):format(wrong_url()))
      assert.are.equal(0, status, output)
      assert.not_matches("wr0ng%-secret", output)
      local attempts = tonumber(output:match "attempts%s+(%d+)")
      local _, lines = output:gsub("connect failed", "")
      assert.is_true(attempts <= 30, output)
      assert.is_true(lines >= 1 and lines <= attempts, output)
    end)

    it("that is put right lets everybody in, over TCP", function()
      local pool = support.postgres({ max_connections = 2 },
        { url = own.url, raw_url = true })
      local row = must(pool:one "SELECT inet_server_addr()::text AS address")
      assert.matches("^127%.0%.0%.1", row.address)
    end)
  end)
end)
