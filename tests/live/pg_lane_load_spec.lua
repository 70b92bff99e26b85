-- Postgres lanes under load: who waits for whom, and what a long mix leaves behind.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must, teach = support.eventually, support.must, support.teach

-- How many statements the mixed run sends, in parts; fewer where all is slow.
local LONG = os.getenv "TEST_LONG" and 1000000 or 100000 -- TEST_LONG=1: the long form
local MIXED = support.slowness == 1 and LONG or 20000
local PART = math.min(MIXED, 20000)

local ECHO = "SELECT $1::int AS n"

local function shared(pool) return pool:stats().counters.shared_statements end

describe("Postgres lanes under load", function()
  describe("time", function()
    it("of 1,000 fast statements is not that of a slow one beside them", function()
      local db = support.postgres { max_connections = 4, lanes = 2 }
      local slow = "SELECT count(*) AS n FROM generate_series(1, $1::int) AS a(i)"
      teach(db, ECHO, 1)
      teach(db, slow, 10)
      local task = tide.spawn(function()
        return must(db:one(slow, 4000000 * support.slowness)).n
      end)
      tide.sleep(0.02)
      local began, jobs = core.now(), {}
      for i = 1, 1000 do
        jobs[i] = function() return must(db:one(ECHO, i)).n end
      end
      must(tide.all(jobs))
      local took, is_done = core.now() - began, task:done()
      local _, n = task:wait()
      assert.are.equal(4000000 * support.slowness, n)
      assert.is_true(not is_done or took < 0.5, ("took %.3f s"):format(took))
    end)

    it("in the queue ends at the deadline", function()
      local one = support.postgres { max_connections = 1 }
      teach(one, ECHO, 1)
      local release = support.hold(one)
      local began = core.now()
      local row, err = one:one({ ECHO, timeout_ms = 50 }, 1)
      assert.is_nil(row)
      assert.are.equal("timeout", err.code)
      assert.is_true(core.now() - began < 5)
      assert.is_nil(err.outcome)
      release()
      assert.are.equal(2, must(one:one(ECHO, 2)).n)
    end)

    it("of one that runs too long is not that of others on its lane", function()
      local one = support.postgres { max_connections = 1 }
      local sql = "SELECT count(*) AS n FROM generate_series(1, $1::bigint) AS b(i)"
      teach(one, sql, 10)
      local jobs = {}
      for i = 1, 20 do
        jobs[i] = function()
          local n = i == 5 and 4e9 or i
          local row, err = one:one({ sql, timeout_ms = i == 5 and 200 or 20000 }, n)
          return row and row.n or err.code
        end
      end
      for i, result in ipairs(must(tide.all(jobs))) do
        assert.are.equal(i == 5 and "timeout" or i, result)
      end
      assert.are.equal(3, must(one:one(sql, 3)).n)
    end)

    it("of a lease that waits for lanes under load is short", function()
      local one = support.postgres { max_connections = 1 }
      teach(one, ECHO, 1)
      local stop, count = false, 0
      local load = tide.spawn(function()
        local jobs = {}
        for i = 1, 50 do
          jobs[i] = function()
            while not stop do
              must(one:one(ECHO, i))
              count = count + 1
            end
            return true
          end
        end
        return tide.all(jobs)
      end)
      for _ = 1, 5 do
        must(one:with(function(conn) return must(conn:one "SELECT 1 AS n") end))
        local before = count
        eventually("statements go on", function() return count > before + 20 end)
      end
      stop = true
      load:wait()
    end)
  end)

  describe("all connections as lanes of one kind", function()
    local READ = "SELECT n FROM filled WHERE id = $1"
    local WRITE = "UPDATE filled SET n = n + 1 WHERE id = $1"
    local PATIENCE_MS = 5000 * support.slowness
    local pool

    before_each(function()
      pool = support.postgres { max_connections = 2, lanes = 2 }
      must(pool:exec "CREATE TABLE IF NOT EXISTS filled (id int PRIMARY KEY, n int)")
      must(pool:exec [[INSERT INTO filled SELECT i, 0 FROM generate_series(1, 65) AS i
        ON CONFLICT DO NOTHING]])
      teach(pool, READ, 65)
      teach(pool, WRITE, 65)
    end)

    after_each(function() pool:close(1) end)

    -- Sends what all callers send, and in between each of others.
    local function check(filler, others)
      local load = support.load(64, function(i) return pool:query(filler, i) end)
      for _ = 1, 3 do
        for _, other in ipairs(others) do
          local before = load.ok
          eventually("they are at work", function() return load.ok > before + 64 end)
          other.timeout_ms = PATIENCE_MS
          must(pool:query(other, 65))
        end
      end
      load.stop()
      assert.are.same({}, load.errors)
    end

    it("let writes and leases among reads", function()
      check(READ, { { WRITE }, { WRITE, share = false } })
    end)

    it("let reads and leases among writes", function()
      check(WRITE, { { READ }, { READ, share = false } })
    end)
  end)

  describe("settings", function()
    it("change the number of lanes while they run", function()
      local pool = support.postgres { max_connections = 6, lanes = 1, group_max = 4 }
      teach(pool, ECHO, 1)
      local stop = false
      local function most_shared(seconds)
        local most, limit = 0, core.now() + seconds
        while core.now() < limit do
          most = math.max(most, pool:stats().shared)
          tide.sleep(0.001)
        end
        return most
      end
      local load = tide.spawn(function()
        local jobs = {}
        for i = 1, 100 do
          jobs[i] = function()
            while not stop do must(pool:one(ECHO, i)) end
            return true
          end
        end
        return tide.all(jobs)
      end)
      tide.sleep(0.05)
      must(pool:set { lanes = 4 })
      eventually("there are more", function() return pool:stats().shared >= 2 end)
      must(pool:set { lanes = 1 })
      eventually("there is one", function() return most_shared(0.01) <= 2 end)
      stop = true
      load:wait()
      eventually("none is left", function() return pool:stats().shared == 0 end)
    end)
  end)

  describe("a random mix", function()
    local pool, left
    local expected, random = {}, math.random

    setup(function()
      pool = support.postgres { max_connections = 5, lanes = 3 }
      must(pool:exec "CREATE TABLE mixed (id int PRIMARY KEY, n int NOT NULL)")
      must(pool:exec "INSERT INTO mixed SELECT i, 0 FROM generate_series(1, 64) AS i")
      for i = 1, 64 do expected[i] = 0 end
    end)

    teardown(function() pool:close(1) end)

    local kinds = {
      function(id)
        local row = must(pool:one("SELECT n FROM mixed WHERE id = $1", id))
        assert.are.equal(expected[id], row.n)
      end,
      function(id)
        local count = must(pool:exec("UPDATE mixed SET n = n + 1 WHERE id = $1", id))
        assert.are.equal(1, count)
        expected[id] = expected[id] + 1
      end,
      function(id)
        local row = must(pool:one([[WITH new AS (UPDATE mixed SET n = n + 2 WHERE id = $1
          RETURNING n) SELECT n FROM new]], id))
        expected[id] = expected[id] + 2
        assert.are.equal(expected[id], row.n)
      end,
      function(id)
        local row, err = pool:one("SELECT n / $2::int FROM mixed WHERE id = $1", id, 0)
        assert.is_nil(row)
        assert.are.equal("22012", err.sqlstate)
      end,
      function(id)
        local count, err = pool:exec("INSERT INTO mixed VALUES ($1, 0)", id)
        assert.is_nil(count)
        assert.are.equal("23505", err.sqlstate)
      end,
      function(id)
        pool:one({ "SELECT n FROM mixed WHERE id = $1", timeout_ms = random(1, 3) }, id)
      end,
      function(id)
        must(pool:transaction(function(tx)
          return must(tx:exec("UPDATE mixed SET n = n + 3 WHERE id = $1", id))
        end))
        expected[id] = expected[id] + 3
      end,
    }
    local weights = { 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7 }
    for part = 1, MIXED / PART do
      it(("leaves what it says it did, %d statements on"):format(part * PART), function()
        local before = shared(pool)
        local jobs = {}
        left = PART
        for id = 1, 64 do
          jobs[id] = function()
            while left > 0 do
              left = left - 1
              kinds[weights[random(#weights)]](id)
            end
            return true
          end
        end
        must(tide.all(jobs))
        local rows = must(pool:query "SELECT id, n FROM mixed")
        assert.are.equal(64, #rows)
        for _, row in ipairs(rows) do assert.are.equal(expected[row.id], row.n) end
        assert.is_true(shared(pool) - before > PART / 4)
      end)
    end
  end)
end)
