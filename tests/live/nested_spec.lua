-- A task that holds a connection and asks for another: refused at once when none can
-- come free, else it waits.

local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("A task that holds the only connection", function()
  local pool

  setup(function() pool = support.postgres { max_connections = 1 } end)

  local function refused(err, holder)
    assert.are.equal("busy", err.code)
    assert.matches("nested_spec.lua:%d+: " .. holder .. " holds the one acquired at "
      .. ".*nested_spec.lua:%d+", err.message)
  end

  it("is refused another at once, with both lines", function()
    pool:with(function()
      local before = pool:stats().counters.nested
      local conn, err = pool:acquire()
      assert.is_nil(conn)
      refused(err, "this task")
      assert.are.equal(before + 1, pool:stats().counters.nested)
    end)
  end)

  it("is refused a statement on the pool and a transaction", function()
    local result, err = pool:transaction(function(tx)
      must(tx:exec "CREATE TEMP TABLE n (n int)")
      local rows, query_err = pool:query "SELECT 1"
      assert.is_nil(rows)
      refused(query_err, "this task")
      local inner, inner_err = pool:transaction(function() end)
      assert.is_nil(inner)
      refused(inner_err, "this task")
      return true
    end)
    assert.is_true(must(result, err))
  end)

  it("is refused what its children need", function()
    pool:with(function()
      local rows, err = tide.all(
        function()
          local one, one_err = pool:query "SELECT 1"
          return one, one_err
        end,
        function()
          local two, two_err = pool:query "SELECT 2"
          return two, two_err
        end)
      assert.is_nil(rows)
      refused(err, "its parent")
    end)
  end)

  it("waits when one of its children may let it go on", function()
    local before = pool:stats().counters.nested
    local refusal
    local first = pool:with(function()
      local first = tide.race(
        function()
          local _, err = pool:query "SELECT 1"
          refusal = err
        end,
        function() return "first" end)
      return first
    end)
    assert.are.equal("first", first)
    assert.is_nil(refusal)
    assert.are.equal(before, pool:stats().counters.nested)
  end)

  it("is no hindrance to others, who wait for it", function()
    local gate = support.gate()
    local task = tide.spawn(function()
      return pool:with(function() gate.wait() end)
    end)
    eventually("it is lent", function() return pool:stats().leased == 1 end)
    local other = tide.spawn(function() return must(pool:one "SELECT 7 AS n").n end)
    eventually("it waits", function() return pool:stats().waiting == 1 end)
    gate.open()
    must(task:wait())
    local ok, n = other:wait()
    assert.is_true(ok)
    assert.are.equal(7, n)
  end)
end)

describe("Tasks that hold all connections", function()
  it("wait for one another until the last would close the circle", function()
    local pool = support.postgres { max_connections = 2 }
    local lent, ends = 0, {}
    local function take_two(i)
      return pool:with(function()
        lent = lent + 1
        eventually("both are lent", function() return lent == 2 end)
        local conn, err = pool:acquire()
        if conn then conn:release() end
        ends[i] = err and err.code or "ok"
        return true
      end)
    end
    must(tide.all(function() return take_two(1) end, function() return take_two(2) end))
    table.sort(ends)
    assert.are.same({ "busy", "ok" }, ends)
    assert.are.equal(1, pool:stats().counters.nested)
  end)

  it("wait for a connection that a third one holds and works on", function()
    local pool = support.postgres { max_connections = 2 }
    local task = tide.spawn(function()
      return pool:with(function(conn) return conn:query "SELECT pg_sleep(0.05)" end)
    end)
    eventually("it is lent", function() return pool:stats().leased == 1 end)
    local n = must(pool:with(function()
      return must(pool:with(function(conn) return conn:one "SELECT 3 AS n" end)).n
    end))
    assert.are.equal(3, n)
    must(task:wait())
    assert.are.equal(0, pool:stats().counters.nested)
  end)
end)

describe("A task that holds the only connection to Redis", function()
  it("is refused a command on the pool", function()
    local cache = support.redis { max_connections = 1 }
    cache:with(function(conn)
      must(conn:set("k", "v"))
      local value, err = cache:get "k"
      assert.is_nil(value)
      assert.are.equal("busy", err.code)
      assert.matches("holds the one acquired at", err.message)
    end)
    assert.are.equal("v", must(cache:get "k"))
  end)
end)
