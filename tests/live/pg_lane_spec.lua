-- Statements that share connections: what is answered once, and what runs once.

local server = require "tidepool.server"
local support = require "support"
local tide = require "tidepool"

local eventually, must, teach = support.eventually, support.must, support.teach

local ONE = "SELECT n FROM item WHERE id = $1"
local DIVIDE = "SELECT 100 / $1::int AS n"
local ADD = "UPDATE item SET n = n + $1 WHERE id = $2"

local function counters(db) return db:stats().counters end

-- Runs fn(i) until the pool has sent one statement more to a write lane instead;
-- gives how often.
local function until_rerouted(db, fn)
  local before = counters(db).reroutes
  for i = 1, 200 do
    fn(i)
    if counters(db).reroutes > before then
      for more = i + 1, i + 10 do fn(more) end
      assert.are.equal(before + 1, counters(db).reroutes)
      return i + 10
    end
  end
  error("never on a read lane", 2)
end

local function sum_of(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return sum
end

describe("Postgres lanes", function()
  local db -- few connections, as lanes
  local one_lane -- its groups are as large as can be
  local watch -- looks at, and kills, others

  setup(function()
    watch = support.postgres { max_connections = 2 }
    db = support.postgres { max_connections = 4, lanes = 2 }
    one_lane = support.postgres { max_connections = 2, lanes = 1, group_target = 0.5 }
    must(db:exec "CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL)")
    must(db:exec "CREATE TABLE noted (n int)")
  end)

  before_each(function()
    must(db:exec "TRUNCATE item, noted")
    must(db:exec "INSERT INTO item SELECT i, i FROM generate_series(1, 100) AS i")
    teach(db, ONE, 1)
    teach(one_lane, ONE, 1)
    teach(one_lane, DIVIDE, 1)
    teach(db, ADD, 0, 1)
  end)

  describe("groups", function()
    it("carry many statements, each with its own answer", function()
      local before, jobs = counters(one_lane), {}
      for i = 1, 1000 do
        jobs[i] = function() return must(one_lane:one(ONE, i % 100 + 1)).n end
      end
      local results = must(tide.all(jobs))
      for i = 1, 1000 do assert.are.equal(i % 100 + 1, results[i]) end
      local after = counters(one_lane)
      local shared = after.shared_statements - before.shared_statements
      assert.is_true(shared > 500, shared .. " were shared")
      assert.is_true(after.groups - before.groups < shared / 2)
      assert.is_true(one_lane:stats().shared <= 4)
    end)

    it("give 19 answers and 1 error when the 7th of 20 divides by zero", function()
      local jobs, errors = {}, 0
      for i = 1, 20 do
        jobs[i] = function()
          local row, err = one_lane:one(DIVIDE, i == 7 and 0 or i)
          if row then return row.n end
          errors = errors + 1
          assert.are.equal("22012", err.sqlstate)
          return -1
        end
      end
      local results = must(tide.all(jobs))
      for i = 1, 20 do
        assert.are.equal(i == 7 and -1 or math.floor(100 / i), results[i])
      end
      assert.are.equal(1, errors)
      assert.is_true(counters(one_lane).resends > 0)
    end)

    it("give each its own when many of them fail", function()
      local jobs = {}
      for i = 1, 200 do
        jobs[i] = function()
          local row, err = one_lane:one(DIVIDE, i % 3)
          return row and row.n or err.sqlstate
        end
      end
      for i, result in ipairs(must(tide.all(jobs))) do
        assert.are.equal(i % 3 == 0 and "22012" or 100 / (i % 3), result)
      end
    end)

    it("are not made of what has share = false", function()
      local before, jobs = counters(db).shared_statements, {}
      for i = 1, 50 do
        jobs[i] = function() return must(db:one({ ONE, share = false }, i)).n end
      end
      must(tide.all(jobs))
      assert.are.equal(before, counters(db).shared_statements)
    end)

    it("keep the count of parameters checked", function()
      local ok, err = pcall(function()
        local row = db:one(ONE)
        return row
      end)
      assert.is_false(ok)
      assert.matches("1 parameter", tostring(err))
    end)
  end)

  describe("writes", function()
    it("run once each", function()
      local jobs = {}
      for i = 1, 500 do
        jobs[i] = function() return must(db:exec(ADD, 1, i % 50 + 1)) end
      end
      assert.are.equal(500, sum_of(must(tide.all(jobs))))
      assert.are.equal(5050 + 500, must(db:one "SELECT sum(n) AS n FROM item").n)
    end)

    it("that fail when they commit are not told to be done", function()
      must(db:exec [[CREATE TABLE IF NOT EXISTS part (
        of int REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)]])
      finally(function() must(db:exec "DROP TABLE part") end)
      local insert = "INSERT INTO part VALUES ($1)"
      teach(db, insert, 1)
      must(db:exec "DELETE FROM part")
      local jobs = {}
      for i = 1, 60 do
        jobs[i] = function()
          local count, err = db:exec(insert, i % 3 == 0 and 1000 + i or i)
          return count or err.sqlstate
        end
      end
      for i, result in ipairs(must(tide.all(jobs))) do
        assert.are.equal(i % 3 == 0 and "23503" or 1, result)
      end
      assert.are.equal(40, must(db:one "SELECT count(*) AS n FROM part").n)
    end)

    it("of a function that is first seen as SELECT are not repeated", function()
      must(db:exec [[CREATE OR REPLACE FUNCTION note(i int) RETURNS int LANGUAGE sql
        AS 'INSERT INTO noted VALUES (i) RETURNING n']])
      for i = 1, 10 do must(db:one("SELECT note($1) AS n", i)) end
      assert.are.equal(10, must(db:one "SELECT count(*) AS n FROM noted").n)
    end)

    it("in a WITH are sent to a write lane, once", function()
      local sql = "WITH new AS (INSERT INTO noted VALUES ($1) RETURNING n) TABLE new"
      local count = until_rerouted(db, function(i)
        assert.are.equal(i, must(db:one(sql, i)).n)
      end)
      assert.are.equal(count, must(db:one "SELECT count(*) AS n FROM noted").n)
    end)

    it("and locks of rows are left to the server to find", function()
      until_rerouted(db, function()
        must(db:one("SELECT n FROM item WHERE id = $1 FOR UPDATE", 3))
      end)
    end)

    it("of a function that nobody has seen yet run once", function()
      teach(db, ONE, 1)
      must(watch:exec [[CREATE OR REPLACE FUNCTION note_late(i int) RETURNS int
        LANGUAGE sql AS 'INSERT INTO noted VALUES (i) RETURNING n']])
      for i = 1, 10 do must(db:one("SELECT note_late($1) AS n", i)) end
      assert.are.equal(10, must(db:one "SELECT count(*) AS n FROM noted").n)
    end)
  end)

  -- Listens to the channel while fn runs; gives how often each payload came.  psql waits
  -- for a lock that is ours, and tells what it heard when it has it.
  local function heard(channel, fn)
    local output
    must(db:with(function(conn)
      must(conn:one("SELECT pg_advisory_lock(77)"))
      local listener = tide.spawn(function()
        local words = { support.servers.postgres.bin .. "/psql", "-XqAt", "-d",
          support.servers.postgres.url, "-c", "LISTEN " .. channel,
          "-c", "SELECT pg_advisory_lock(77)" }
        output = must(server.run(words))
      end)
      eventually("psql listens", function()
        return must(conn:one [[SELECT count(*) AS n FROM pg_locks
          WHERE locktype = 'advisory' AND objid = 77 AND NOT granted]]).n == 1
      end)
      fn()
      must(conn:one("SELECT pg_advisory_unlock(77)"))
      must(listener:wait())
      return true
    end))
    local counts = {}
    for payload in output:gmatch 'with payload "([^"]*)"' do
      counts[payload] = (counts[payload] or 0) + 1
    end
    return counts
  end

  it("a notification in a SELECT is told once, whatever fails beside it", function()
    local notify = "SELECT pg_notify('news', $1)"
    local expected = {}
    local counts = heard("news", function()
      local jobs = {}
      for i = 1, 300 do
        jobs[i] = function()
          if i % 10 > 0 then return must(db:one(notify, "t" .. i)) end
          local row, err = db:one(DIVIDE, 0)
          return row == nil and err.sqlstate == "22012"
        end
        if i % 10 > 0 then expected["t" .. i] = 1 end
      end
      for _ = 1, 4 do
        for i, ok in ipairs(must(tide.all(jobs))) do assert.is_truthy(ok, i) end
      end
    end)
    for payload in pairs(expected) do expected[payload] = 4 end
    assert.are.same(expected, counts)
  end)

  it("a notification in a SELECT is never sent with others, nor again", function()
    local notify = "SELECT pg_notify('news', $1)"
    for i = 1, 5 do must(db:one(notify, "first" .. i)) end
    local before, jobs = counters(db), {}
    for i = 1, 50 do
      jobs[i] = function() return must(db:one(notify, "n" .. i)) and true end
    end
    must(tide.all(jobs))
    local after = counters(db)
    assert.are.equal(before.shared_statements, after.shared_statements)
    assert.are.equal(before.resends, after.resends)
  end)

  describe("a killed backend", function()
    local function lanes_of(pool_name, pattern)
      local rows = must(watch:query([[SELECT pid FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND application_name = $1 AND query LIKE $2]],
        pool_name, pattern))
      return rows
    end

    -- On a busy machine it may be there for long after it was told to end.
    local function await_death(pool, pid)
      eventually("the pool has only those that the server has", function()
        local rows = lanes_of("killed", "%")
        for _, row in ipairs(rows) do
          if row.pid == pid then return false end
        end
        return #rows == pool:stats().open
      end)
    end

    it("loses no read and repeats no write", function()
      -- On a slow machine as well no read may look slow: it would have a lease, and a
      -- lease that is lost is not tried again.
      local settings = { max_connections = 4, lanes = 2, group_target = 1 }
      local pool = support.postgres(settings, {
        url = support.servers.postgres.url:gsub("%?.*", "")
          .. (support.servers.postgres.url:find("?", 1, true)
            and support.servers.postgres.url:match("(%?.*)") .. "&" or "?")
          .. "application_name=killed&options=-csearch_path%3Dof_pg_lane_spec",
        raw_url = true,
      })
      local read = "SELECT n FROM item WHERE id = $1 AND 'killed' <> ''"
      local write = "UPDATE item SET n = n + 1 WHERE id = $1 AND 'killed' <> ''"
      teach(pool, read, 1)
      teach(pool, write, 100)
      must(pool:exec "UPDATE item SET n = id")
      local sure, unsure = 0, 0
      for round = 1, 5 do
        local jobs, killed = {}, nil
        for i = 1, 64 do
          jobs[i] = function()
            local row, err = pool:one(read, i)
            if not row then return tostring(err) end
            assert.are.equal(i, row.n)
            return true
          end
        end
        for i = 65, 72 do
          jobs[i] = function()
            local count, err = pool:exec(write, i)
            if count then
              sure = sure + count
            else
              assert.are.equal("lost", err.code, tostring(err))
              if err.outcome == "unknown" then unsure = unsure + 1 end
            end
            return true
          end
        end
        jobs[73] = function()
          local row = lanes_of("killed", round % 2 == 0 and "UPD%" or "SEL%")[1]
          killed = row and row.pid
          if killed then must(watch:one("SELECT pg_terminate_backend($1)", killed)) end
          return true
        end
        for i, result in ipairs(must(tide.all(jobs))) do
          assert.are.equal(true, result, "round " .. round .. ", " .. i)
        end
        await_death(pool, killed) -- whoever is lost twice is not sent a third time
      end
      local done = must(watch:one([[SELECT sum(n - id)::int AS n FROM item
        WHERE id BETWEEN 65 AND 72]])).n
      assert.is_true(done >= sure and done <= sure + unsure,
        ("%d done, %d sure, %d unknown"):format(done, sure, unsure))
      pool:close(1)
    end)
  end)

  describe("a batch", function()
    it("gives the rows of each statement, in their order", function()
      local results = must(db:batch {
        { ONE, 3 }, { "SELECT 'x' AS s" }, { ADD, 5, 3 },
        { "SELECT $1::int AS n", tide.null },
      })
      assert.are.equal(3 == results[1][1].n and 3 or 8, results[1][1].n)
      assert.are.equal("x", results[2][1].s)
      assert.are.equal(1, results[3]:affected())
      assert.are.equal(4, #results)
      assert.are.equal(0, #must(db:batch {}))
    end)

    it("gives the error of the one that failed", function()
      local results, err = db:batch { { ONE, 3 }, { DIVIDE, 0 } }
      assert.is_nil(results)
      assert.are.equal("22012", err.sqlstate)
    end)

    it("that is atomic happens as a whole, in order", function()
      local results = must(db:batch {
        atomic = true, { ADD, 10, 1 }, { ONE, 1 }, { ADD, 10, 1 }, { ONE, 1 },
      })
      assert.are.equal(11, results[2][1].n)
      assert.are.equal(21, results[4][1].n)
      local none, err = db:batch { atomic = true, { ADD, 10, 1 }, { DIVIDE, 0 } }
      assert.is_nil(none)
      assert.are.equal("22012", err.sqlstate)
      assert.are.equal(21, must(db:one(ONE, 1)).n)
    end)

    it("of something else raises", function()
      for _, list in ipairs { 7, { "SELECT 1" }, { { ONE, 1 }, atomc = true } } do
        local ok, err = pcall(function()
          local results = db:batch(list)
          return results
        end)
        assert.is_false(ok)
        assert.matches("pg_lane_spec", tostring(err))
      end
    end)
  end)

  describe("session state", function()
    for _, sql in ipairs {
      "SET search_path = public", "LISTEN news", "BEGIN", "LOCK item",
      "PREPARE a AS SELECT 1", "DECLARE c CURSOR FOR SELECT 1",
      "CREATE TEMP TABLE scratch (a int)", "SELECT pg_advisory_lock(1)",
    } do
      it("is not changed on the pool: " .. sql, function()
        for _ = 1, 3 do
          local ok, err = pcall(function()
            local rows = db:query(sql)
            return rows
          end)
          assert.is_false(ok)
          assert.matches("db:with", tostring(err))
        end
      end)
    end

    it("of a read lane does not reach a lease", function()
      local one = support.postgres { max_connections = 1 }
      teach(one, "SELECT $1::int AS n", 1)
      assert.are.equal(1, one:stats().shared)
      must(one:with(function(conn)
        local row = must(conn:one "SHOW default_transaction_read_only")
        assert.are.equal("off", row.default_transaction_read_only)
        return must(conn:exec "INSERT INTO noted VALUES (1)")
      end))
    end)
  end)

  describe("prepared statements", function()
    it("may be more than are kept", function()
      local pool = support.postgres { max_connections = 2, statement_cache = 4 }
      local jobs = {}
      for round = 1, 4 do
        for i = 1, 12 do
          jobs[#jobs + 1] = function()
            return must(pool:one(("SELECT $1::int + %d AS n"):format(i), round)).n
              - i - round
          end
        end
        for _, rest in ipairs(must(tide.all(jobs))) do assert.are.equal(0, rest) end
      end
      assert.is_true(counters(pool).shared_statements > 0)
      local kept = must(pool:one "SELECT count(*) AS n FROM pg_prepared_statements").n
      assert.is_true(kept <= 5, kept .. " are kept")
    end)

    it("survive a table that changed its columns", function()
      must(db:exec "CREATE TABLE changing (a int)")
      must(db:exec "INSERT INTO changing VALUES (1)")
      teach(db, "SELECT * FROM changing")
      for i = 1, 200 do -- both lanes may have an old plan, and a request may meet both
        must(db:exec(("ALTER TABLE changing ADD COLUMN b%d int DEFAULT %d"):format(i, i)))
        local jobs = {}
        for j = 1, 20 do
          jobs[j] = function() return must(db:one "SELECT * FROM changing")["b" .. i] end
        end
        for _, value in ipairs(must(tide.all(jobs))) do assert.are.equal(i, value) end
      end
    end)
  end)
end)
