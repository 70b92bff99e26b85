-- leak_reclaim: a lease that is held too long is taken back.

local support = require "support"

local must, eventually = support.must, support.eventually

local function await_reclaim(pool)
  eventually("it is taken back", function()
    return pool:stats().counters.reclaims == 1
  end)
end

-- The words of a handle whose connection is gone.
local function assert_taken(value, err)
  assert.is_nil(value)
  assert.are.equal("closed", err.code)
  assert.matches("taken back: it was held longer than leak_reclaim", err.message)
end

describe("leak_reclaim of Postgres", function()
  local pool

  before_each(function()
    pool = support.postgres {
      max_connections = 1, leak_threshold = 0, leak_reclaim = 0.05,
    }
  end)

  after_each(function() pool:close(1) end)

  it("takes a lease back, whose handle then says so and where it was acquired", function()
    local conn = must(pool:acquire())
    await_reclaim(pool)
    local value, err = conn:one "SELECT 1 AS n"
    assert_taken(value, err)
    assert.matches("reclaim_spec%.lua:%d+", err.message)
    assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
    conn:release()
    assert.are.equal(0, pool:stats().leased)
  end)

  it("rolls back what was open, on the connection that the next one gets", function()
    local conn = must(pool:acquire())
    local pid = conn:pid()
    must(conn:exec "BEGIN")
    must(conn:exec "CREATE TABLE reclaimed (id int)")
    await_reclaim(pool)
    local row = must(pool:one(
      "SELECT pg_backend_pid() AS pid, to_regclass('reclaimed') AS found"))
    assert.are.equal(pid, row.pid)
    assert.is_nil(row.found)
    conn:release()
  end)

  it("cancels the statement that runs, and uses the connection again", function()
    local conn = must(pool:acquire())
    local pid = conn:pid()
    assert_taken(conn:one "SELECT pg_sleep(60)")
    assert.are.equal(pid, must(pool:one "SELECT pg_backend_pid() AS pid").pid)
    assert.are.equal(1, pool:stats().counters.cancels)
    conn:release()
  end)

  it("ends a COPY that runs", function()
    must(pool:exec "CREATE TABLE reclaim_copy (id int)")
    local chunks = 0
    local count, err = pool:copy_in("COPY reclaim_copy FROM STDIN", function()
      chunks = chunks + 1
      if chunks > 2 then
        await_reclaim(pool)
      end
      return chunks < 5 and "1\n" or nil
    end)
    assert_taken(count, err)
    assert.are.equal("0", tostring(must(pool:one
      "SELECT count(*)::text AS n FROM reclaim_copy").n))
    must(pool:exec "DROP TABLE reclaim_copy")
  end)

  it("lets a transaction end with the error", function()
    assert_taken(pool:transaction(function(tx)
      local row, err = tx:one "SELECT pg_sleep(60)"
      if not row then error(err, 0) end
    end))
    assert.are.equal(1, pool:stats().counters.reclaims)
  end)

  it("leaves statements on the pool alone, and what was set to 0", function()
    must(pool:one { "SELECT pg_sleep(0.2)", share = false })
    assert.are.equal(0, pool:stats().counters.reclaims)
    must(pool:set { leak_reclaim = 0, leak_threshold = 0.02 })
    local conn = must(pool:acquire())
    eventually("it leaks", function() return pool:stats().counters.leaks == 1 end)
    assert.are.equal(1, must(conn:one "SELECT 1 AS n").n)
    conn:release()
  end)
end)

describe("leak_reclaim of Redis", function()
  local pool

  before_each(function()
    pool = support.redis { max_connections = 1, leak_threshold = 0, leak_reclaim = 0.05 }
  end)

  after_each(function() pool:close(1) end)

  it("takes a lease back and cleans it", function()
    local conn = must(pool:acquire())
    must(conn:call "MULTI")
    await_reclaim(pool)
    assert_taken(conn:get "k")
    must(pool:set("k", 1))
    assert.are.equal("1", must(pool:get "k"))
    assert.are.equal(1, pool:stats().counters.resets)
    conn:release()
  end)

  it("ends a command that blocks", function()
    local conn = must(pool:acquire())
    assert_taken(conn:call("BLPOP", "reclaim-nothing", 60))
    must(pool:set("k", 2))
    assert.are.equal("2", must(pool:get "k"))
    conn:release()
  end)
end)

describe("leak_reclaim seen from outside", function()
  it("is logged with the line that took the lease", function()
    local status, output = support.program [[
      local tide = require "tidepool"
      local db = tide.postgres()
      assert(db:set { leak_threshold = 0, leak_reclaim = 0.02 })
      local conn = assert(db:acquire())
      assert(not conn:one "SELECT pg_sleep(60)")
      conn:release()
      tide.sleep(0)
    ]]
    assert.are.equal(0, status, output)
    assert.matches("lease taken back", output)
    assert.matches("program%.lua:4", output)
  end)
end)
