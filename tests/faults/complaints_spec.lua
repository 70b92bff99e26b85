-- Complaints about other pools, by their number: who waits for a connection, and what
-- becomes of it (1 to 12, 16 to 18; the others are in complaints_wire_spec.lua).

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, fill, must = support.eventually, support.fill, support.must
local SLOWNESS = support.slowness

-- Signals a process of whichever account.
local function signal(pid, name)
  must(support.run { "kill", "-" .. name, tostring(pid) } == 0 or nil, "no " .. pid)
end

-- Of one application, what the server knows.
local COUNT = [[SELECT count(*)::int AS n FROM pg_stat_activity
  WHERE application_name = $1]]

local STATE = "SELECT state FROM pg_stat_activity WHERE pid = $1"

local function named_url(name)
  return support.servers.postgres.url .. "&application_name=" .. name
end

local function sum_of_states(stats)
  return stats.opening + stats.idle + stats.leased + stats.shared + stats.testing
    + stats.hooked + stats.resetting + stats.cancelling + stats.closing
end

describe("A complaint about pools is none here:", function()
  local db, own

  setup(function()
    db = support.postgres { max_connections = 3 }
    own = must(servers.postgres {
      directory = support.directory .. "/complaints", tcp = true, password = "right",
    })
  end)

  teardown(function() own:stop() end)
  after_each(support.run_ends)

  local function open(settings, url)
    return support.postgres(settings, { url = url or own.url, raw_url = true })
  end

  -- New connects get no answer until the function that this gives is called.
  local function stand_still()
    local is_still = true
    signal(own.pid, "STOP")
    local function go_on()
      if is_still then signal(own.pid, "CONT") end
      is_still = false
    end
    support.at_end(go_on)
    return go_on
  end

  local function must_end(pool)
    support.at_end(function() pool:close(0) end)
    return pool
  end

  local function refusal(settings, url)
    local pool = must_end(open(settings, url))
    local row, err = pool:one { "SELECT 1", share = false }
    assert.is_nil(row)
    return err
  end

  it("1: a timeout says its cause", function()
    local port = support.closed_port()
    local settings = { max_connections = 1, acquire_timeout = 10 * SLOWNESS }
    local err = refusal(settings, "postgres://tide@127.0.0.1:" .. port .. "/tide")
    assert.are.equal("refused", err.code)
    assert.matches("[Cc]onnection refused", err.message)
    assert.matches(port, err.message)

    err = refusal(settings, (own.url:gsub("right", "wrong")))
    assert.are.equal("refused", err.code)
    assert.matches("password authentication failed", err.message)

    err = refusal(settings, own.url .. "?sslmode=require")
    assert.are.equal("refused", err.code)
    assert.matches("does not support SSL", err.message)

    local pool = open(settings)
    local release = support.hold(pool)
    local conn
    conn, err = pool:acquire { timeout_ms = 50 }
    release()
    assert.is_nil(conn)
    assert.are.equal("timeout", err.code)
    assert.is_true(err.waited.queue >= 0.05)
    assert.are.equal(0, err.waited.tcp + err.waited.tls + err.waited.auth)
    assert.matches("1 of 1 open: 1 leased", err.message)
    assert.matches("support%.lua:%d+", err.message) -- where the holder took it

    stand_still()
    pool = must_end(open(settings))
    conn, err = pool:acquire { timeout_ms = 100 }
    assert.is_nil(conn)
    assert.are.equal("timeout", err.code)
    local waited = err.waited
    assert.is_true(waited.tls + waited.auth > waited.queue, err.message)
    assert.matches("1 opening", err.message)
  end)

  it("2: a wait that ends throws no connect away", function()
    local go_on = stand_still()
    local pool = open { max_connections = 1, connect_timeout = 20 * SLOWNESS }
    for _ = 1, 20 do
      local conn, err = pool:acquire { timeout_ms = 10 }
      assert.is_nil(conn)
      assert.are.equal("timeout", err.code)
    end
    go_on()
    must(pool:acquire { timeout_ms = 10000 * SLOWNESS }):release()
    local counters = pool:stats().counters
    assert.are.equal(20, counters.timeouts)
    assert.are.equal(1, counters.connects)
    assert.are.equal(0, counters.connect_failures)
  end)

  it("3: a cancelled BEGIN leaves no transaction open", function()
    local pool = support.postgres { max_connections = 1 }
    local ended = 0
    for i = 1, 60 do
      local task = tide.spawn(function()
        return pool:transaction(function(tx)
          must(tx:exec "SELECT 1")
          return must(tx:exec "SELECT 2")
        end)
      end)
      local limit = core.now() + (i - 1) * 0.00005 -- from before BEGIN to after COMMIT
      while core.now() < limit do tide.sleep(0) end
      task:cancel()
      if not task:wait() then ended = ended + 1 end
      pool:with(function(conn)
        assert.are.equal("none", conn:tx())
        assert.are.equal("idle", must(db:one(STATE, conn:pid())).state)
      end)
    end
    assert.is_true(ended > 0)
    must(pool:with(function(conn) return conn:exec "BEGIN" end))
    pool:with(function(conn)
      assert.are.equal("none", conn:tx())
      assert.are.equal("idle", must(db:one(STATE, conn:pid())).state)
    end)
  end)

  it("4: a cancelled acquire loses no connection", function()
    local pool = support.postgres { max_connections = 2 }
    for round = 1, 50 do
      local first, second = must(pool:acquire()), must(pool:acquire())
      local tasks = {}
      for i = 1, 10 do
        tasks[i] = tide.spawn(function()
          return pool:with(function() tide.sleep(0) end)
        end)
      end
      eventually("all wait", function() return pool:stats().waiting == 10 end)
      first:release() -- the first in line has it, and does not know yet
      tasks[1]:cancel()
      tasks[1 + round % 10]:cancel()
      second:release()
      for _ = 1, round % 3 do tide.sleep(0) end
      tasks[1 + (round + 3) % 10]:cancel()
      for i = 1, 10 do tasks[i]:wait() end
      support.given_back(pool)
      local stats = pool:stats()
      assert.are.same({ 0, 0, 2 }, { stats.leased, stats.waiting, stats.idle })
      assert.are.equal(stats.open, sum_of_states(stats))
    end
    assert.are.equal(2, pool:stats().counters.connects)
  end)

  it("5: a lease costs no round trip", function()
    local cache = support.redis { max_connections = 1, test_after = 3600 }
    local function pings()
      return tonumber(must(cache:call("INFO", "commandstats"))
        :match "cmdstat_ping:calls=(%d+)") or 0
    end
    local pool = support.postgres { max_connections = 1, test_after = 3600 }
    must(cache:with(function(conn) return conn:ping() end))
    must(pool:with(function(conn) return conn:pid() end))
    local before = pings()
    for _ = 1, 200 do
      must(cache:with(function() return true end))
      must(pool:with(function() return true end))
    end
    assert.are.equal(before, pings())
    assert.are.same({ 0, 0 },
      { cache:stats().counters.tests, pool:stats().counters.tests })

    -- Who is gone is seen without: the descriptor of an idle one tells.
    must(db:one("SELECT pg_terminate_backend($1)", pool:with(function(conn)
      return conn:pid()
    end)))
    eventually("it is known", function() return pool:stats().open == 0 end)
    must(pool:set { test_after = 0 })
    must(pool:with(function() return true end))
    tide.sleep(0.002)
    must(pool:with(function() return true end))
    assert.is_true(pool:stats().counters.tests > 0)
  end)

  it("6: a test has a limit of its own, and then frees its place", function()
    local pool = open { max_connections = 1, acquire_timeout = 20 * SLOWNESS,
      test_after = 0 }
    local pid = must(pool:with(function(conn) return conn:pid() end))
    signal(pid, "STOP")
    support.at_end(function() signal(pid, "CONT") end)
    tide.sleep(0.002)
    local began = core.now()
    assert.are_not.equal(pid, must(pool:with(function(conn) return conn:pid() end)))
    assert.is_true(core.now() - began < 5 * SLOWNESS)
    local stats = pool:stats()
    assert.are.equal(1, stats.closes.test_failed)
    assert.are.equal(1, stats.open)
  end)

  it("7: connections that were opened together do not expire together", function()
    local LIFETIME, ages = 2.5, {}
    local kept = support.postgres { max_connections = 16, min_connections = 8,
      max_lifetime = LIFETIME }
    local left = support.postgres { max_connections = 8, max_lifetime = LIFETIME }
    local watch = tide.on("close", function(event)
      local list = ages[event.pool] or {}
      ages[event.pool] = list
      if event.reason == "lifetime" then list[#list + 1] = event.age end
    end)
    support.at_end(function() watch:close() end)
    local function closed(pool) return ages[pool:name()] or {} end

    -- What is needed goes when another one has come.
    local least, early = 8, 0
    fill(kept, 8)
    for round = 1, 4 do
      fill(left, 8)
      eventually("they have gone", function()
        local stats = kept:stats()
        least = math.min(least, stats.idle + stats.leased + stats.shared)
        return #closed(left) >= round * 8
      end)
      for _, age in ipairs(closed(left)) do
        if age < LIFETIME then early = early + 1 end
      end
      if early > 0 then break end -- else the machine was late with all
    end
    assert.is_true(early > 0, table.concat(closed(left), " "))
    eventually("all are replaced", function()
      local stats = kept:stats()
      least = math.min(least, stats.idle + stats.leased + stats.shared)
      return #closed(kept) >= 8
    end)
    assert.are.equal(8, least)
  end)

  it("8: cancelled statements leave no more sessions than max_connections", function()
    local pool = support.postgres({ max_connections = 3, acquire_timeout = 60 },
      { url = named_url "cancels", raw_url = true })
    local most, goes_on = 0, true
    local watch = tide.spawn(function()
      while goes_on do most = math.max(most, must(db:one(COUNT, "cancels")).n) end
    end)
    local jobs, ends = {}, {}
    for i = 1, 9 do
      jobs[i] = function()
        for k = 1, 10 do
          local _, err = pool:with(function(conn)
            return conn:one { "SELECT pg_sleep(60)", timeout_ms = (i + k) % 4 + 1 }
          end)
          ends[err.code] = (ends[err.code] or 0) + 1
        end
        return true
      end
    end
    must(tide.all(jobs))
    goes_on = false
    watch:wait()
    assert.are.same({ timeout = 90 }, ends)
    assert.is_true(most >= 1 and most <= 3, most .. " sessions")
    eventually("nothing runs on", function()
      return support.running(db, "SELECT pg_sleep(60)") == 0
    end)
  end)

  it("9: who waits is served in turn, and nobody pushes in", function()
    local pool = support.postgres { max_connections = 1 }
    local first, order, turns, tasks = must(pool:acquire()), {}, {}, {}
    for i = 1, 10 do
      turns[i] = 0
      tasks[i] = tide.spawn(function()
        repeat
          pool:with(function()
            order[#order + 1] = i
            turns[i] = turns[i] + 1
            tide.sleep(0)
          end)
        until #order >= 300
      end)
      eventually("it waits", function() return pool:stats().waiting == i end)
    end
    first:release()
    assert.is_nil((pool:try_acquire()))
    while #order < 200 do
      assert.is_nil((pool:try_acquire()))
      tide.sleep(0)
    end
    for i = 1, 10 do must(tasks[i]:wait()) end
    for i = 1, 300 do assert.are.equal((i - 1) % 10 + 1, order[i]) end
  end)

  it("10: a pool that lost all refills at once, asked or not", function()
    local pool = must_end(open { max_connections = 4, min_connections = 4,
      acquire_timeout = 20 * SLOWNESS })
    local function is_full() return pool:stats().idle == 4 end
    eventually("it is full", is_full)
    for _ = 1, 5 do
      local before = pool:stats().counters.connects
      must(own:psql [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'tidepool']])
      eventually("new ones come", function()
        return pool:stats().counters.connects >= before + 4
      end)
      eventually("it is full again", is_full, 3 * SLOWNESS)
    end
    own:kill()
    eventually("it is known", function() return pool:stats().down end)
    must(own:start())
    eventually("it is full after a restart", is_full, 3 * SLOWNESS)
  end)

  it("11: after a failover no session stays with the server that was", function()
    local old = own.socket_directory
    local new = support.servers.postgres.url:match "host=([^&]*)"
    local url = ("postgres://tide@/tide?host=%s,%s&port=%d,5432"
      .. "&target_session_attrs=read-write&application_name=failover")
      :format(old, new, own.port)
    local pool = must_end(open({ max_connections = 3 }, url))
    local WHERE = "SELECT current_setting('data_directory') AS dir"
    fill(pool, 3)
    assert.are.equal(own.data, must(pool:one(WHERE)).dir)
    must(own:psql "ALTER SYSTEM SET default_transaction_read_only = on")
    must(own:psql "SELECT pg_reload_conf()")
    support.at_end(function()
      must(own:psql "ALTER SYSTEM RESET default_transaction_read_only")
      must(own:psql "SELECT pg_reload_conf()")
    end)
    eventually("a write is refused", function()
      local _, err = pool:exec "CREATE TABLE IF NOT EXISTS failover (n int)"
      return err and err.sqlstate == "25006"
    end)
    eventually("writes go on", function()
      return pool:exec "CREATE TABLE IF NOT EXISTS failover (n int)"
    end, 3 * SLOWNESS)
    for _ = 1, 20 do
      assert.are_not.equal(own.data, must(pool:one(WHERE)).dir)
    end
    eventually("the old one has none of ours", function()
      return must(own:psql [[SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'failover']]):match "^0"
    end)
    must(pool:exec "DROP TABLE failover")
  end)

  it("12: who holds one and asks for another does not wait for ever", function()
    local pool = support.postgres { max_connections = 2 }
    local lent, ends, message = 0, {}, nil
    local function take_two(i)
      pool:with(function()
        lent = lent + 1
        eventually("both are lent", function() return lent == 2 end)
        local conn, err = pool:acquire()
        if conn then conn:release() end
        ends[i] = err and err.code or "ok"
        message = err and err.message or message
      end)
      return true
    end
    local began = core.now()
    must(tide.all(function() return take_two(1) end, function() return take_two(2) end))
    assert.is_true(core.now() - began < 15 * SLOWNESS) -- acquire_timeout is 30
    table.sort(ends)
    assert.are.same({ "busy", "ok" }, ends)
    assert.matches("_spec.lua:%d+: this task holds .*_spec.lua:%d+", message)
  end)

  it("16: one failed login holds up nobody else", function()
    local pool = open { max_connections = 2 }
    local wrong = must_end(open({ max_connections = 2 }, (own.url:gsub("right", "no"))))
    local failing = support.load(5, function() return wrong:one "SELECT 1" end)
    eventually("logins fail", function() return #failing.errors > 5 end)
    local began = core.now()
    for i = 1, 50 do assert.are.equal(i, must(pool:one("SELECT $1::int AS n", i)).n) end
    assert.is_true(core.now() - began < 5 * SLOWNESS)
    failing.stop()
    assert.are.equal(0, failing.ok)

    -- Of two servers the one that hangs is left out after the first time.
    stand_still()
    local new = support.servers.postgres.url:match "host=([^&]*)"
    local both = must_end(open({ max_connections = 4, connect_timeout = 0.5 * SLOWNESS },
      ("postgres://tide@/tide?host=%s,%s&port=%d,5432")
        :format(own.socket_directory, new, own.port)))
    began = core.now()
    eventually("one is open", function() return both:stats().idle > 0 end)
    fill(both, 4)
    assert.is_true(core.now() - began < 10 * SLOWNESS)
    assert.is_false(both:stats().down)
  end)

  it("17: one core is no ceiling, and max_connections is one for all", function()
    local log = support.file("workers.log", "")
    local process = support.start({
      core.realpath "/proc/self/exe", "run", support.file("app.lua", [[
        local tide = require "tidepool"
        local app, db = tide.app(), tide.postgres()
        app:get("/", function()
          assert(db:one { "SELECT pg_sleep(0.03)", share = false })
          return tostring((tide.worker()))
        end)
        return app
      ]]), "--workers", "2", "--listen", "127.0.0.1:0", "--policy", "fixed", "--set",
      "database.pool.max_connections=3", "--set",
      "database.application_name=workers",
    }, { env = { DATABASE_URL = support.servers.postgres.url }, log = log })
    support.at_end(function()
      process:signal "TERM"
      process:wait()
    end)
    local address = eventually("it listens", function()
      return ("\n" .. core.read_file(log)):match "\nlistening on http://(%S+)"
    end)
    local served, most, goes_on = {}, 0, true
    local watch = tide.spawn(function()
      while goes_on do most = math.max(most, must(db:one(COUNT, "workers")).n) end
    end)
    eventually("both served", function()
      local jobs = {}
      for i = 1, 8 do
        jobs[i] = function() return (select(3, support.request(address, "GET", "/"))) end
      end
      for _, id in ipairs(must(tide.all(jobs))) do served[id] = true end
      return served["1"] and served["2"]
    end)
    local status, output = support.run { core.realpath "/proc/self/exe", "load",
      "http://" .. address .. "/", "--requests", "100", "--connections", "16" }
    assert.are.equal(0, status, output)
    goes_on = false
    watch:wait()
    assert.are.equal(3, most)
  end)

  it("18: a connect that times out frees its place", function()
    local function descriptors()
      local _, text = support.run { "sh", "-c", "ls /proc/$PPID/fd | wc -l" }
      return tonumber(text)
    end
    local go_on = stand_still()
    local before = descriptors()
    local pool = must_end(open { max_connections = 1, connect_timeout = 0.05 })
    eventually("attempts time out", function()
      return pool:stats().closes.connect_timeout >= 3
    end)
    local row, err = pool:one { "SELECT 1", timeout_ms = 30 }
    assert.is_nil(row)
    assert.is_true(err.code == "timeout" or err.code == "refused", tostring(err))
    must(pool:set { connect_timeout = 10 * SLOWNESS })
    go_on()
    eventually("it is served", function()
      return pool:with(function(conn) return conn:one "SELECT 1 AS n" end)
    end)
    local stats = pool:stats()
    assert.are.equal(1, stats.open)
    assert.are.equal(stats.open, sum_of_states(stats))
    pool:close(1)
    eventually("no descriptor is left", function() return descriptors() <= before end)
  end)
end)
