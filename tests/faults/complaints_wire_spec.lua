-- Complaints about other pools, by their number: statements and commands, cancels and
-- answers (13 to 15, 19 to 25; the others are in complaints_spec.lua).

local core = require "tidepool.core"
local pgbouncer = require "pgbouncer"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must, teach = support.eventually, support.must, support.teach
local SLOWNESS = support.slowness

local ECHO = "SELECT $1::int AS n"

-- Runs call(i) for 1 to count, all at once; gives what they gave.
local function all(count, call)
  local jobs = {}
  for i = 1, count do
    jobs[i] = function() return call(i) end
  end
  return must(tide.all(jobs))
end

-- Each of count callers asks for its own number, rounds times.
local function ask_for_numbers(pool, sql, count, rounds)
  all(count, function(i)
    for k = 1, rounds do
      local n = i * 1000 + k
      assert.are.equal(n, must(pool:one(sql, n)).n)
    end
    return true
  end)
end

describe("A complaint about Postgres is none here:", function()
  local db, pooler

  setup(function()
    db = support.postgres { max_connections = 3 }
    pooler = pgbouncer.start "complaints_pooler"
  end)

  teardown(function() pooler.stop() end)
  after_each(support.run_ends)

  local function behind(url, settings)
    local pool = support.postgres(settings, { url = url, raw_url = true })
    support.at_end(function() pool:close(1) end)
    return pool
  end

  it("13: prepared statements work behind a pooler", function()
    -- Two services whose statements all are in the one session that the pooler has.
    local one = behind(pooler.single_url, { max_connections = 4 })
    local other = behind(pooler.single_url, { max_connections = 4 })
    local sql = "SELECT $1::int AS n, 'prepared'"
    must(tide.all(
      function() ask_for_numbers(one, sql, 8, 20) return true end,
      function() ask_for_numbers(other, sql, 8, 20) return true end))
    local kept = must(one:one "SELECT count(*)::int AS n FROM pg_prepared_statements").n
    assert.is_true(kept > 1, kept .. " are prepared")
    assert.are.equal(0, one:stats().errors.server + other:stats().errors.server)

    -- Gone behind the pool's back they are made anew, once, and nobody sees it.
    must(one:with(function(conn) return conn:exec "DEALLOCATE ALL" end))
    ask_for_numbers(other, sql, 8, 5)
    ask_for_numbers(one, sql, 8, 5)

    -- Without a cache any number of sessions may be behind it.
    local many = behind(pooler.url, { max_connections = 8, statement_cache = 0 })
    ask_for_numbers(many, sql, 16, 10)
  end)

  it("14: a plan whose result changed is made anew, at once", function()
    -- However slow the machine, no read may look slow: it would leave the lanes.
    local direct = support.postgres { max_connections = 4, lanes = 2, group_target = 1 }
    must(direct:exec "CREATE TABLE changes (a int)")
    must(direct:exec "INSERT INTO changes VALUES (1)")
    local schema = must(direct:one "SELECT current_schema() AS name").name
    local pooled = behind(pooler.single_url, { max_connections = 4 })
    local sql = ("SELECT * FROM %s.changes"):format(schema)
    local write = ("UPDATE %s.changes SET a = a + 1 RETURNING *"):format(schema)
    teach(direct, sql) -- behind a pooler reads have connections of their own
    teach(direct, write)
    teach(pooled, write)
    for i = 1, 20 do
      local column = "b" .. i
      must(direct:exec(("ALTER TABLE changes ADD COLUMN %s int DEFAULT %d")
        :format(column, i)))
      for _, pool in ipairs { direct, pooled } do
        for _, n in ipairs(all(8, function() return must(pool:one(sql))[column] end)) do
          assert.are.equal(i, n)
        end
        for _, n in ipairs(all(4, function() return must(pool:one(write))[column] end)) do
          assert.are.equal(i, n)
        end
        assert.are.equal(i, pool:with(function(conn)
          return must(conn:one(sql))[column]
        end))
      end
    end
    assert.are.equal(0, direct:stats().errors.server + pooled:stats().errors.server)
  end)

  it("15: a cancel stops nobody else's statement", function()
    local pool = support.postgres { max_connections = 1 }
    local late = 0
    for i = 1, 150 do
      -- Its end and the cancel for it are about as late.
      local row, err = pool:one { "SELECT pg_sleep(0.004)", share = false,
        timeout_ms = 3 + i % 30 / 10 }
      if not row then
        assert.are.equal("timeout", err.code, tostring(err))
        late = late + 1
      end
      must(pool:one { "SELECT pg_sleep(0.002)", share = false, timeout_ms = 20000 })
    end
    assert.is_true(late > 0)
    assert.are.equal(0, pool:stats().errors.server)
  end)

  it("19: who shares a connection waits for nobody's transaction", function()
    local pool = support.postgres { max_connections = 4, lanes = 2, group_target = 1 }
    teach(pool, ECHO, 1)
    local gate, inside = support.gate(), false
    local holder = tide.spawn(function()
      return pool:transaction(function(tx)
        must(tx:exec "CREATE TEMP TABLE mine (n int)")
        inside = true
        gate.wait()
        -- Nothing of the others' came into it.
        return must(tx:one "SELECT count(*)::int AS n FROM mine").n
      end)
    end)
    eventually("it is inside", function() return inside end)
    local slow = tide.spawn(function() return pool:one "SELECT pg_sleep(60)" end)
    eventually("it runs", function()
      return support.running(db, "SELECT pg_sleep(60)") == 1
    end)
    ask_for_numbers(pool, ECHO, 32, 10)
    assert.is_false(slow:done() or holder:done())
    -- While lanes are busy a lease has its turn.
    local load = support.load(32, function(i) return pool:one(ECHO, i) end)
    for _ = 1, 5 do
      must(pool:with(function(conn) return conn:one "SELECT 1" end))
    end
    load.stop()
    assert.are.equal(0, #load.errors)
    slow:cancel()
    gate.open()
    assert.are.same({ true, 0 }, { holder:wait() })
    assert.is_true(pool:stats().open <= 4)
    -- The pooler in between gets groups, and goes on.
    ask_for_numbers(behind(pooler.single_url, { max_connections = 4 }), ECHO, 32, 10)
  end)

  it("20: notifications come through a pool, and a loss is told", function()
    local pool = support.postgres { max_connections = 3 }
    local heard, subs = {}, {}
    for i = 1, 20 do
      subs[i] = must(pool:listen("room" .. i, function(message)
        heard[#heard + 1] = message.gap and "gap" or message.payload
      end))
    end
    assert.are.equal(1, pool:stats().leased)
    for i = 1, 20 do must(pool:notify("room" .. i, "before")) end
    eventually("all heard", function() return #heard == 20 end)
    local hub = must(db:one [[SELECT pid FROM pg_stat_activity
      WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()
      ORDER BY query_start DESC]]).pid
    heard = {}
    must(db:one("SELECT pg_terminate_backend($1)", hub))
    eventually("each is told of the gap", function() return #heard == 20 end)
    assert.are.equal(("gap "):rep(20), table.concat(heard, " ") .. " ")
    heard = {}
    for i = 1, 20 do must(pool:notify("room" .. i, "after")) end
    eventually("all hear again", function() return #heard == 20 end)
    assert.are.equal(("after "):rep(20), table.concat(heard, " ") .. " ")
    assert.are.equal(1, pool:stats().leased)
    for _, sub in ipairs(subs) do sub:close() end
  end)
end)

describe("A complaint about Redis is none here:", function()
  local cache, own

  setup(function()
    cache = support.redis { max_connections = 2 }
    own = must(servers.redis { directory = support.directory .. "/complaints-r" })
  end)

  teardown(function() own:stop() end)
  after_each(support.run_ends)

  -- Redis stands still for everybody; it answers when the time is over.
  local function freeze(ms) must(cache:call("CLIENT", "PAUSE", ms, "ALL")) end

  -- calls of each command that the server has seen
  local function calls(of)
    local seen = {}
    for name, count in must(of:call("INFO", "commandstats"))
      :gmatch "cmdstat_([^:]+):calls=(%d+)" do
      seen[name] = tonumber(count)
    end
    return seen
  end

  local function closes(pool)
    local sum = 0
    for _, count in pairs(pool:stats().closes) do sum = sum + count end
    return sum
  end

  it("21: a cancelled command shifts nobody's reply", function()
    local one = support.redis { max_connections = 1, lanes = 1 }
    local id = must(one:call("CLIENT", "ID"))
    for round = 1, 30 do
      local tasks, is_cancelled, is_frozen = {}, {}, round % 10 == 0
      if is_frozen then freeze(100) end
      for i = 1, 60 do
        tasks[i] = tide.spawn(function() return one:call("ECHO", round .. "/" .. i) end)
      end
      for _ = 1, round % 4 do tide.sleep(0) end -- unsent, sent, partly answered
      if is_frozen then
        eventually("all are due", function() return one:stats().due == 60 end)
      end
      for i = is_frozen and 1 or 1 + round % 3, 60, 3 do
        tasks[i]:cancel()
        is_cancelled[i] = true
      end
      for i = 1, 60 do
        local ok, value = tasks[i]:wait()
        if ok then assert.are.equal(round .. "/" .. i, value) end
        assert.is_true(ok or is_cancelled[i] and value.code == "cancelled")
      end
    end
    assert.are.equal(id, must(one:call("CLIENT", "ID"))) -- all on one connection
  end)

  it("22: a slow command ends alone", function()
    local one = support.redis { max_connections = 1, lanes = 1 }
    local id = must(one:call("CLIENT", "ID"))
    freeze(200)
    local slow = tide.spawn(function()
      return tide.timeout(0.02, function() return one:call("ECHO", "slow") end)
    end)
    local values = all(20, function(i) return must(one:call("ECHO", "with it " .. i)) end)
    for i = 1, 20 do assert.are.equal("with it " .. i, values[i]) end
    local _, value, err = slow:wait()
    assert.is_nil(value)
    assert.are.equal("timeout", err.code)
    assert.are.equal(id, must(one:call("CLIENT", "ID")))
    assert.are.equal(0, closes(one))
  end)

  it("23: who blocks holds up nobody", function()
    local pool = support.redis { max_connections = 5, lanes = 1 }
    local blocked = {
      tide.spawn(function() return pool:blpop("list", 0) end),
      tide.spawn(function() return pool:xread("BLOCK", 0, "STREAMS", "stream", "$") end),
      tide.spawn(function() return pool:brpoplpush("from", "to", 0) end),
    }
    eventually("they wait", function()
      local _, count = must(cache:call("CLIENT", "LIST")):gsub("flags=b", "")
      return count == 3
    end)
    local values = all(300, function(i) return must(pool:call("ECHO", i)) end)
    for i = 1, 300 do assert.are.equal(tostring(i), values[i]) end
    assert.are.equal(3, pool:stats().leased)
    must(pool:rpush("list", "a"))
    must(pool:xadd("stream", "1-1", "k", "v"))
    must(pool:rpush("from", "b"))
    local _, first = blocked[1]:wait()
    local _, second = blocked[2]:wait()
    local _, third = blocked[3]:wait()
    assert.are.same({ { "list", "a" }, "stream", "b" }, { first, second[1][1], third })
  end)

  it("24: a deadline holds in the queue as well", function()
    local COUNT, LIMIT, TEXT = 150, 1, ("x"):rep(16384) -- more than a lane takes
    local one = support.redis({ max_connections = 1, lanes = 1, stall_timeout = 600,
      statement_timeout = LIMIT }, { url = own.url })
    support.at_end(function() one:close(0) end)
    must(one:ping())
    must(support.run { "kill", "-STOP", tostring(own.pid) })
    support.at_end(function() support.run { "kill", "-CONT", tostring(own.pid) } end)
    local codes, is_queued = {}, false
    local began = core.now()
    local tasks = {}
    for i = 1, COUNT do
      tasks[i] = tide.spawn(function()
        local _, err = one:call("ECHO", TEXT)
        codes[err.code] = (codes[err.code] or 0) + 1
        return core.now() - began
      end)
    end
    eventually("some wait to be sent", function()
      is_queued = is_queued or one:stats().queued > 0
      return is_queued or tasks[1]:done()
    end)
    assert.is_true(is_queued)
    for i = 1, COUNT do
      local _, took = tasks[i]:wait()
      assert.is_true(took > LIMIT - 0.05 and took < LIMIT + 4 * SLOWNESS, took)
    end
    assert.are.same({ timeout = COUNT }, codes)
    must(support.run { "kill", "-CONT", tostring(own.pid) })
    must(one:set { statement_timeout = 30 })
    for i = 1, 20 do assert.are.equal("m" .. i, must(one:call("ECHO", "m" .. i))) end
  end)

  it("25: no topology is asked for, whatever happens", function()
    local pool = support.redis({ max_connections = 4 }, { url = own.url })
    support.at_end(function() pool:close(0) end)
    must(pool:call("CONFIG", "RESETSTAT"))
    for round = 1, 5 do
      all(100, function(i) return must(pool:call("ECHO", i)) end)
      local _, err = pool:call("EVAL", -- as of a cluster
        "return redis.error_reply('MOVED 1 127.0.0.1:' .. KEYS[1])", 1, round)
      assert.are.equal("server", err.code)
      assert.matches("^.*MOVED 1 127.0.0.1:" .. round, err.message)
      local before = closes(pool)
      must(own:cli("CLIENT", "KILL", "TYPE", "normal"))
      eventually("they are lost", function() return closes(pool) > before end)
    end
    eventually("it goes on", function() return pool:ping() end)
    local seen = calls(pool)
    assert.are.equal(500, seen.echo)
    assert.are.equal(5, seen.eval)
    for name in pairs(seen) do
      assert.is_nil(name:match "^cluster" or name:match "^role" or name:match "^command")
    end
  end)
end)
