-- Results of any size, row by row.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local must = support.must

describe("each", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 3 }
    must(db:exec "CREATE TABLE item (id int PRIMARY KEY, word text)")
    must(db:exec [[INSERT INTO item SELECT i, 'word ' || i
      FROM generate_series(1, 25000) AS i]])
  end)

  local function is_clean()
    support.given_back(db)
    assert.are.equal(0, must(db:one [[SELECT count(*)::int AS n FROM pg_cursors
      WHERE name LIKE 'tidepool%']]).n)
  end

  it("gives every row once, in order", function()
    local n, next_id = 0, 1
    local seen = must(db:each("SELECT id, word FROM item ORDER BY id", function(row)
      assert(row.id == next_id and row.word == "word " .. next_id)
      n, next_id = n + 1, next_id + 1
    end))
    assert.are.equal(25000, n)
    assert.are.equal(25000, seen)
    is_clean()
  end)

  it("takes parameters, and gives 0 for no rows", function()
    local words = {}
    must(db:each("SELECT word FROM item WHERE id BETWEEN $1 AND $2 ORDER BY id", 5, 7,
      function(row) words[#words + 1] = row.word end))
    assert.are.same({ "word 5", "word 6", "word 7" }, words)
    assert.are.equal(0, must(db:each("SELECT 1 WHERE $1::bool", false, error)))
  end)

  it("ends early when the function returns false", function()
    local n = 0
    assert.are.equal(3, must(db:each("SELECT id FROM item", function()
      n = n + 1
      return n < 3
    end)))
    assert.are.equal(3, n)
    is_clean()
  end)

  it("raises what the function raises, or gives it when it is an err", function()
    local ok, err = pcall(db.each, db, "SELECT id FROM item", function()
      error("mine", 0)
    end)
    assert.is_false(ok)
    assert.are.equal("mine", err)
    local seen, failure = db:each("SELECT id FROM item", function()
      must(db:one "SELECT 1 / 0")
    end)
    assert.is_nil(seen)
    assert.are.equal("22012", failure.sqlstate)
    is_clean()
  end)

  it("gives the server's error, also one amid the rows", function()
    local seen, err = db:each("SELECT nothing FROM item", error)
    assert.is_nil(seen)
    assert.are.equal("42703", err.sqlstate)
    local n = 0
    seen, err = db:each("SELECT 1 / (20000 - id) AS q FROM item ORDER BY id",
      function() n = n + 1 end)
    assert.is_nil(seen)
    assert.are.equal("22012", err.sqlstate)
    assert.is_true(n < 20000)
    is_clean()
  end)

  it("runs other statements meanwhile, on the pool and in the transaction", function()
    must(db:transaction(function(tx)
      must(tx:exec "CREATE TEMP TABLE copy (id int)")
      local sum = 0
      must(tx:each("SELECT id FROM item ORDER BY id LIMIT 5", function(row)
        must(tx:exec("INSERT INTO copy VALUES ($1)", row.id))
        must(tx:each("SELECT id FROM copy", function(inner) sum = sum + inner.id end))
        assert.are.equal(1, must(db:one "SELECT 1 AS n").n)
      end))
      assert.are.equal(1 + 3 + 6 + 10 + 15, sum)
      return true
    end))
  end)

  it("is a transaction of its own on a lease", function()
    db:with(function(conn)
      assert.are.equal(25000, must(conn:each("SELECT id FROM item", function() end)))
      assert.are.equal("none", conn:tx())
    end)
  end)

  it("gives back the connection of a cancelled task", function()
    local begun = support.gate()
    local task = tide.spawn(function()
      db:each("SELECT id FROM item", function()
        begun.open()
        tide.sleep(60)
      end)
    end)
    begun.wait()
    task:cancel()
    assert.is_false((task:wait()))
    is_clean()
  end)

  it("keeps the deadline of each batch", function()
    local seen, err = db:each({ "SELECT pg_sleep(60)", timeout_ms = 50 }, error)
    assert.is_nil(seen)
    assert.are.equal("timeout", err.code)
    is_clean()
  end)

  it("ends with lost when its connection is lost", function()
    local n = 0
    local function end_backend(row)
      n = n + 1
      if n == 1 then must(db:one("SELECT pg_terminate_backend($1)", row.pid)) end
    end
    local seen, err = db:each("SELECT pg_backend_pid() AS pid FROM item", end_backend)
    assert.is_nil(seen)
    assert.is_true(err.code == "lost" or err.sqlstate == "57P01", tostring(err))
    is_clean()
  end)

  it("takes little memory for many rows, and for wide ones", function()
    -- a sanitizer keeps what was freed
    if support.slowness > 1 then return pending "measured without sanitizers" end
    local function resident()
      local status = core.read_file "/proc/self/status"
      return tonumber(status:match "RssAnon:%s*(%d+)") / 1024
    end
    collectgarbage()
    local before, most, n = resident(), 0, 0
    local function look()
      n = n + 1
      if n % 1000 == 0 then most = math.max(most, resident()) end
    end
    local sql = "SELECT repeat('x', $1) AS t FROM generate_series(1, $2)"
    must(db:each(sql, 100, 300000, look))
    must(db:each(sql, 100000, 2000, look))
    assert.are.equal(302000, n)
    assert.is_true(most - before < 40 * support.slowness,
      ("grew by %.1f MB"):format(most - before))
  end)

  it("raises for what is no call of it", function()
    local function message(...)
      local ok, err = pcall(db.each, db, ...)
      assert.is_false(ok)
      return err
    end
    local expected = "a function expected as the last argument, got "
    assert.matches(expected .. "nil", message "SELECT 1")
    assert.matches(expected .. "number", message("SELECT $1", 5))
    assert.matches("SQL text expected, got number", message(5, print))
    assert.matches("unknown statement option: share",
      message({ "x", share = true }, print))
  end)
end)
