-- Statements on the pool and on a lease: results, errors, prepared statements.

local support = require "support"
local tide = require "tidepool"

local must = support.must

local THIS_FILE = "pg_query_spec%.lua:%d+"

describe("Postgres statements", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 4 }
    must(db:exec "CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL)")
  end)

  before_each(function()
    must(db:exec "TRUNCATE item")
    must(db:exec "INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'three')")
  end)

  describe("results", function()
    it("query gives all rows in order", function()
      local rows = must(db:query "SELECT id, name FROM item ORDER BY id DESC")
      assert.are.equal(3, #rows)
      assert.are.same({ 3, 2, 1 }, { rows[1].id, rows[2].id, rows[3].id })
      assert.are.equal("three", rows[1].name)
      assert.is_nil(rows[4])
    end)

    it("rows know their columns, and can be made a table", function()
      local rows = must(db:query "SELECT id, name FROM item ORDER BY id LIMIT 1")
      assert.are.same({ "id", "name" }, rows:columns())
      assert.are.same({ { id = 1, name = "one" } }, rows:table())
      assert.are.equal(1, rows:affected())
      assert.has_error(function() rows[1] = {} end)
    end)

    it("rows can be walked with ipairs, their columns with pairs", function()
      local names, columns = {}, {}
      for i, row in ipairs(must(db:query "SELECT name FROM item ORDER BY id")) do
        names[i] = row.name
      end
      for name, value in pairs(must(db:one "SELECT 7 AS a, 'x' AS b, NULL AS c")) do
        columns[name] = value
      end
      assert.are.same({ "one", "two", "three" }, names)
      assert.are.same({ a = 7, b = "x" }, columns)
    end)

    it("query gives an empty list when nothing is found", function()
      local rows, err = db:query "SELECT * FROM item WHERE id > 10"
      assert.is_nil(err)
      assert.are.equal(0, #rows)
      assert.is_nil(rows[1])
    end)

    it("one gives the first row, or nil and no error", function()
      local row = must(db:one("SELECT name FROM item WHERE id = $1", 2))
      assert.are.equal("two", row.name)
      assert.are.equal(1, must(db:one "SELECT id FROM item ORDER BY id").id)
      local none, err = db:one "SELECT * FROM item WHERE id = 10"
      assert.is_nil(none)
      assert.is_nil(err)
    end)

    it("exec gives the number of rows it touched", function()
      assert.are.equal(2, db:exec "INSERT INTO item VALUES (4, 'four'), (5, 'five')")
      assert.are.equal(3, db:exec("UPDATE item SET name = 'x' WHERE id <= $1", 3))
      assert.are.equal(0, db:exec "DELETE FROM item WHERE id = 99")
      assert.are.equal(5, db:exec "DELETE FROM item")
    end)

    it("exec gives 0 for a statement that touches no rows", function()
      assert.are.equal(0, db:exec "CREATE TABLE IF NOT EXISTS item2 (id int)")
      assert.are.equal(0, db:exec "DROP TABLE item2")
    end)

    it("RETURNING gives rows of a write", function()
      local row = must(db:one([[INSERT INTO item VALUES ($1, $2)
        RETURNING id, name]], 9, "nine"))
      assert.are.same({ 9, "nine" }, { row.id, row.name })
    end)

    it("a result of 20,000 rows comes whole", function()
      local rows = must(db:query "SELECT n FROM generate_series(1, 20000) AS n")
      assert.are.equal(20000, #rows)
      assert.are.equal(20000, rows[20000].n)
    end)

    it("results outlive the connection they came on", function()
      local rows = must(db:with(function(conn)
        return must(conn:query "SELECT name FROM item ORDER BY id")
      end))
      must(db:query "SELECT 1")
      collectgarbage()
      assert.are.equal("one", rows[1].name)
    end)

    it("an empty statement answers with no rows", function()
      local rows, err = db:query ""
      assert.is_nil(err)
      assert.are.equal(0, #rows)
    end)
  end)

  describe("failures of the world", function()
    local function fails(sqlstate, sql, ...)
      local result, err = db:query(sql, ...)
      assert.is_nil(result)
      assert.are.equal("server", err.code)
      assert.are.equal(sqlstate, err.sqlstate)
      return err
    end

    it("come as nil, err with the server's words", function()
      local err = fails("42P01", "SELECT * FROM no_such_table")
      assert.matches("no_such_table", err.message)
      assert.matches("no_such_table", tostring(err))
      assert.matches("42P01", tostring(err))
      assert.is_false(err.retryable)
    end)

    it("have the same form from one and exec", function()
      for _, method in ipairs { "one", "exec" } do
        local result, err = db[method](db, "SELECT no_such_column FROM item")
        assert.is_nil(result)
        assert.are.equal("42703", err.sqlstate)
      end
    end)

    it("name a broken constraint", function()
      local err = fails("23505", "INSERT INTO item VALUES (1, 'again')")
      assert.matches("item_pkey", err.message)
      fails("23502", "INSERT INTO item VALUES (8, NULL)")
    end)

    it("are given for wrong syntax, and the connection goes on", function()
      fails("42601", "SELEKT 1")
      assert.are.equal(1, must(db:one "SELECT 1 AS n").n)
    end)

    it("are given for a value that the type cannot have", function()
      fails("22P02", "SELECT $1::int", "twelve")
      fails("22003", "SELECT $1::int2", 40000)
      fails("22012", "SELECT 1 / $1::int", 0)
    end)

    it("are given for several statements in one", function()
      fails("42601", "SELECT 1; SELECT 2")
    end)

    it("do not touch the statements that run beside them", function()
      local jobs = {}
      for i = 1, 60 do
        jobs[i] = function()
          if i % 3 == 0 then
            local _, err = db:one("SELECT 1 / $1::int AS n", 0)
            return err.sqlstate
          end
          return must(db:one("SELECT $1::int AS n", i)).n
        end
      end
      local results = must(tide.all(jobs))
      for i = 1, 60 do
        assert.are.equal(i % 3 == 0 and "22012" or i, results[i])
      end
    end)

    it("a write that fails leaves those beside it in place", function()
      local jobs = {}
      for i = 1, 30 do
        jobs[i] = function()
          return (db:exec("INSERT INTO item VALUES ($1, 'w')", 10 + i % 20))
        end
      end
      must(tide.all(jobs))
      local row = must(db:one "SELECT count(*) AS n FROM item WHERE name = 'w'")
      assert.are.equal(20, row.n)
    end)
  end)

  describe("mistakes of the programmer raise at the caller's line:", function()
    local function raises(pattern, fn)
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.matches(THIS_FILE, tostring(err))
      assert.matches(pattern, tostring(err))
    end

    it("too few parameters", function()
      raises("parameter", function()
        local row = db:one "SELECT $1::int AS n"
        return row
      end)
    end)

    it("too many parameters", function()
      raises("parameter", function()
        local row = db:one("SELECT $1::int AS n", 1, 2)
        return row
      end)
    end)

    it("a statement that is not a string", function()
      raises("", function()
        local row = db:one(42)
        return row
      end)
      raises("", function()
        local row = db:one()
        return row
      end)
    end)

    it("an unknown option", function()
      raises("timeot_ms", function()
        local row = db:one { "SELECT 1", timeot_ms = 5 }
        return row
      end)
    end)

    it("and the pool goes on", function()
      assert.are.equal(1, must(db:one "SELECT 1 AS n").n)
    end)
  end)

  describe("options", function()
    it("timeout_ms ends the wait with timeout", function()
      local row, err = db:one { "SELECT pg_sleep(60)", timeout_ms = 50 }
      assert.is_nil(row)
      assert.are.equal("timeout", err.code)
      assert.is_true(err.retryable)
    end)

    it("a write whose time was up says that it may have happened", function()
      local one = support.postgres { max_connections = 1 }
      must(one:exec "CREATE TABLE late (n int)")
      local release = support.hold_lock(db, "late")
      local done, err = one:exec { "INSERT INTO late VALUES (1)", timeout_ms = 100 }
      assert.is_nil(done)
      assert.are.same({ "timeout", "unknown" }, { err.code, err.outcome })
      release()
      support.given_back(one)
      local let_go = support.hold(one)
      done, err = one:exec { "INSERT INTO late VALUES (1)", timeout_ms = 20 }
      assert.is_nil(done) -- it never left
      assert.are.same({ "timeout" }, { err.code, err.outcome })
      let_go()
    end)

    it("timeout_ms is not felt by a statement that is in time", function()
      local row = must(db:one({ "SELECT $1::int AS n", timeout_ms = 5000 }, 3))
      assert.are.equal(3, row.n)
    end)
  end)

  describe("many at once", function()
    it("each gets its own answer", function()
      local jobs = {}
      for i = 1, 500 do
        jobs[i] = function() return must(db:one("SELECT $1::int AS n", i)).n end
      end
      local results = must(tide.all(jobs))
      for i = 1, 500 do assert.are.equal(i, results[i]) end
    end)

    it("never opens more than max_connections", function()
      local jobs = {}
      for i = 1, 100 do
        jobs[i] = function()
          must(db:one "SELECT pg_sleep(0.001)")
          return db:stats().open
        end
      end
      for _, open in ipairs(must(tide.all(jobs))) do assert.is_true(open <= 4) end
    end)

    it("sees its own effects, one after the other", function()
      for i = 1, 50 do
        must(db:exec("UPDATE item SET name = $1 WHERE id = 1", "n" .. i))
        local row = must(db:one "SELECT name FROM item WHERE id = 1")
        assert.are.equal("n" .. i, row.name)
      end
    end)
  end)

  describe("prepared statements", function()
    local SQL = "SELECT $1::int + 1 AS n"
    local KEPT = "SELECT count(*) AS n FROM pg_prepared_statements"

    it("are prepared again after DISCARD ALL", function()
      must(db:with(function(conn)
        assert.are.equal(2, must(conn:one(SQL, 1)).n)
        must(conn:exec "DISCARD ALL")
        assert.are.equal(3, must(conn:one(SQL, 2)).n)
        return true
      end))
    end)

    it("are prepared again after DEALLOCATE ALL", function()
      must(db:with(function(conn)
        assert.are.equal(2, must(conn:one(SQL, 1)).n)
        must(conn:exec "DEALLOCATE ALL")
        assert.are.equal(3, must(conn:one(SQL, 2)).n)
        return true
      end))
    end)

    it("survive a table that changed its columns", function()
      must(db:exec "CREATE TABLE changing (a int)")
      must(db:exec "INSERT INTO changing VALUES (1)")
      must(db:with(function(conn)
        assert.are.equal(1, must(conn:one "SELECT * FROM changing").a)
        must(db:exec "ALTER TABLE changing ADD COLUMN b int DEFAULT 2")
        assert.are.equal(2, must(conn:one "SELECT * FROM changing").b)
        return true
      end))
      must(db:exec "ALTER TABLE changing DROP COLUMN a")
      assert.are.equal(2, must(db:one "SELECT * FROM changing").b)
    end)

    it("are not repeated inside a transaction, which fails as a whole", function()
      local result, err = db:transaction(function(tx)
        must(tx:one(SQL, 1))
        must(tx:exec "DEALLOCATE ALL")
        must(tx:one(SQL, 2))
        return "done"
      end)
      assert.is_true(result == "done" or err.sqlstate == "26000")
      assert.are.equal(4, must(db:one(SQL, 3)).n)
    end)

    it("are never more than statement_cache on a connection", function()
      local small = support.postgres { max_connections = 1, statement_cache = 3 }
      must(small:with(function(conn)
        for i = 1, 10 do
          assert.are.equal(i, must(conn:one(("SELECT %d AS n"):format(i))).n)
        end
        local kept = must(conn:one(KEPT)).n
        assert.is_true(kept <= 3, kept .. " are kept")
        for i = 10, 1, -1 do
          assert.are.equal(i, must(conn:one(("SELECT %d AS n"):format(i))).n)
        end
        return true
      end))
    end)

    it("can be turned off with statement_cache = 0", function()
      local none = support.postgres { max_connections = 1, statement_cache = 0 }
      must(none:with(function(conn)
        for i = 1, 3 do assert.are.equal(i + 1, must(conn:one(SQL, i)).n) end
        local kept = must(conn:one(KEPT)).n
        assert.is_true(kept <= 1, kept .. " are kept")
        return true
      end))
    end)
  end)

  describe("session state", function()
    for _, sql in ipairs {
      "SET search_path = public", "BEGIN", "LISTEN news",
      "CREATE TEMP TABLE scratch (a int)", "SELECT pg_advisory_lock(1)",
    } do
      it(("%s does not reach the next borrower"):format(sql), function()
        local one = support.postgres { max_connections = 1 }
        local ok, result, err = pcall(one.query, one, sql)
        if ok and result == nil then assert.is_not_nil(err.message) end
        local row = must(one:one [[SELECT
          current_setting('search_path') = 'public' AS path,
          (SELECT count(*) FROM pg_listening_channels()) AS channels,
          to_regclass('pg_temp.scratch') IS NOT NULL AS temp,
          (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks]])
        assert.are.same({ false, 0, false, 0 },
          { row.path, row.channels, row.temp, row.locks })
      end)
    end
  end)
end)
