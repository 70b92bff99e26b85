-- Redis: consumers of streams.

local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local redis_stream = require "tidepool.redis_stream"
local sandbox = require "tidepool.sandbox"
local servers = require "tidepool.servers"
local standing = require "tidepool.standing"
local support = require "support"
local tide = require "tidepool"

local at_end, eventually, must = support.at_end, support.eventually, support.must

describe("A consumer of a Redis stream", function()
  local cache

  setup(function() cache = support.redis { max_connections = 6 } end)

  before_each(function() must(cache:call "FLUSHALL") end)
  after_each(support.run_ends)

  -- A consumer that ends with the test, and the entries that it saw.
  local function consume(opts, fn, pool)
    local seen = {}
    opts.stream, opts.group = opts.stream or "jobs", opts.group or "workers"
    local consumer = must((pool or cache):consume(opts, function(entry)
      seen[#seen + 1] = entry
      if fn then return fn(entry) end
    end))
    at_end(function()
      consumer:close()
      consumer:wait()
    end)
    return consumer, seen
  end

  local function pending(pool)
    return must((pool or cache):xpending("jobs", "workers"))[1]
  end

  local function add(n, pool)
    for i = 1, n do must((pool or cache):xadd("jobs", "*", "n", i)) end
  end

  local function nobody_has_any()
    return cache:exists "jobs" == 1 and pending() == 0
  end

  it("makes stream and group, and works on what was there and what comes", function()
    add(3)
    local consumer, seen = consume {}
    eventually("what was there came", function() return #seen == 3 end)
    add(2)
    eventually("all came", function() return consumer:stats().handled == 5 end)
    assert.are.equal(0, pending())
    assert.are.same({ n = "1" }, seen[1].fields)
    assert.are.same({ "n", "1" }, seen[1].list)
    assert.are.equal("jobs", seen[1].stream)
    assert.are.equal(1, seen[1].deliveries)
    assert.matches("^%d+%-%d+$", seen[1].id)
  end)

  it("begins where it is told to", function()
    add(3)
    local _, seen = consume { start = "$" }
    eventually("the group is there", function()
      return #must(cache:xinfo("GROUPS", "jobs")) == 1
    end)
    add(1)
    eventually("the new one came", function() return #seen == 1 end)
    eventually("it is done", nobody_has_any)
    assert.are.equal(1, #seen)
  end)

  it("shares the work with others of its group", function()
    local one, seen_one = consume({ count = 1 }, function() tide.sleep(0.001) end)
    local two, seen_two = consume({ count = 1 }, function() tide.sleep(0.001) end)
    add(100)
    eventually("all is done", function()
      return one:stats().handled + two:stats().handled == 100
    end)
    assert.is_true(#seen_one > 0 and #seen_two > 0)
    assert.are_not.equal(one:stats().consumer, two:stats().consumer)
  end)

  it("gets an entry again that failed, by an error or by nil, err", function()
    local consumer, seen = consume({ min_idle = 0.05 }, function(entry)
      if entry.deliveries == 1 then error "mine" end
      if entry.deliveries == 2 then return nil, core.err("lost", "gone") end
    end)
    add(1)
    eventually("it is done", function() return consumer:stats().handled == 1 end)
    assert.are.equal(3, #seen)
    assert.are.equal(3, seen[3].deliveries)
    assert.are.equal(2, consumer:stats().failed)
    eventually("it is acknowledged", nobody_has_any)
  end)

  it("hands what failed too often to on_failure, with why, and is rid of it", function()
    local given
    local consumer, seen = consume({
      min_idle = 0.05, max_deliveries = 2,
      on_failure = function(entry, err) given = { entry = entry, err = err } end,
    }, function(entry)
      if entry.fields.n == "1" then error "poison" end
    end)
    add(2)
    eventually("it was given up", function() return given end)
    assert.are.equal("1", given.entry.fields.n)
    assert.are.equal(2, given.entry.deliveries)
    assert.matches("poison", given.err)
    eventually("none is pending", nobody_has_any)
    assert.are.equal(3, #seen)
    assert.are.equal(1, consumer:stats().given_up)
  end)

  it("keeps an entry whose on_failure fails", function()
    local tries = 0
    local consumer = consume({
      min_idle = 0.05, max_deliveries = 1,
      on_failure = function()
        tries = tries + 1
        if tries < 3 then error "not yet" end
      end,
    }, function() error "poison" end)
    add(1)
    eventually("it was given up", function() return consumer:stats().given_up == 1 end)
    assert.are.equal(3, tries)
    eventually("none is pending", nobody_has_any)
  end)

  -- Entries that a consumer of this name was given, and that it never acknowledged.
  local function leave_behind(name, n, pool)
    pool = pool or cache
    must(pool:xgroup("CREATE", "jobs", "workers", "0", "MKSTREAM"))
    add(n, pool)
    must(pool:xreadgroup("GROUP", "workers", name, "COUNT", n, "STREAMS", "jobs", ">"))
  end

  it("takes up at once what it had before it ended", function()
    leave_behind("me", 25)
    local consumer, seen = consume { consumer = "me", min_idle = 1000 }
    eventually("all is done", function() return consumer:stats().handled == 25 end)
    assert.are.equal(25, consumer:stats().recovered)
    assert.are.equal("1", seen[1].fields.n)
    assert.are.equal(2, seen[1].deliveries)
    eventually("none is pending", nobody_has_any)
  end)

  it("takes over what another left, when it has lain for min_idle", function()
    leave_behind("gone", 25)
    local consumer = consume { min_idle = 0.1 }
    eventually("all is done", function() return consumer:stats().handled == 25 end)
    assert.are.equal(25, consumer:stats().claimed)
    eventually("none is pending", nobody_has_any)
  end)

  it("gives up what others crashed on, saying so", function()
    leave_behind("gone", 1)
    local cause
    local _, seen = consume {
      min_idle = 0.05, max_deliveries = 1,
      on_failure = function(_, err) cause = err end,
    }
    eventually("it was given up", function() return cause end)
    assert.are.equal("delivered 1 times and never acknowledged", cause.message)
    assert.are.equal(0, #seen)
    eventually("none is pending", nobody_has_any)
  end)

  it("drops pending entries that were deleted from the stream", function()
    leave_behind("me", 2)
    local id = must(cache:xrange("jobs", "-", "+", "COUNT", 1))[1][1]
    must(cache:xdel("jobs", id))
    local consumer, seen = consume { consumer = "me" }
    eventually("none is pending", nobody_has_any)
    assert.are.equal(1, #seen)
    assert.are.equal(1, consumer:stats().handled)
  end)

  it("takes over on a server without XAUTOCLAIM", function()
    local own = must(servers.redis {
      directory = support.directory .. "/stream-old",
      settings = { ["rename-command XAUTOCLAIM"] = "" },
    })
    at_end(function() own:stop() end)
    local pool = support.redis({ max_connections = 4 }, { url = own.url })
    leave_behind("gone", 25, pool)
    local first = must(pool:xrange("jobs", "-", "+", "COUNT", 1))[1][1]
    must(pool:xdel("jobs", first))
    local consumer = consume({ min_idle = 0.1 }, nil, pool)
    eventually("all is done", function() return consumer:stats().handled == 24 end)
    eventually("none is pending", function() return pending(pool) == 0 end)
    pool:close(1)
  end)

  it("goes on when the server was killed and started again, its data gone", function()
    local own = must(servers.redis { directory = support.directory .. "/stream-r" })
    at_end(function() own:stop() end)
    local pool = support.redis({ max_connections = 4, acquire_timeout = 2 },
      { url = own.url })
    local consumer = consume({}, nil, pool)
    add(3, pool)
    eventually("it works", function() return consumer:stats().handled == 3 end)
    own:kill()
    eventually("it is held up", function() return consumer:stats().last_error end)
    must(own:restart())
    eventually("the server is back", function() return pool:xadd("jobs", "*", "n", 4) end)
    eventually("it works again", function() return consumer:stats().handled == 4 end)
    assert.is_nil(consumer:stats().last_error)
    pool:close(1)
  end)

  it("does not repeat work whose acknowledgement was lost", function()
    local own = must(servers.redis {
      directory = support.directory .. "/stream-ack", keep = true,
      settings = { appendonly = "yes", appendfsync = "always" },
    })
    at_end(function() own:stop() end)
    local pool = support.redis({ max_connections = 4, acquire_timeout = 2 },
      { url = own.url })
    local runs = 0
    local consumer = consume({ consumer = "me" }, function()
      runs = runs + 1
      own:kill()
      must(own:restart())
    end, pool)
    add(1, pool)
    eventually("it is acknowledged", function()
      local summary = pool:xpending("jobs", "workers")
      return runs > 0 and summary and summary[1] == 0
    end)
    eventually("it goes on", function() return not consumer:stats().last_error end)
    assert.are.equal(1, runs)
    pool:close(1)
  end)

  it("ends after the entry that runs, and leaves the others pending", function()
    local gate = support.gate()
    local consumer, seen = consume({}, gate.wait)
    add(3)
    eventually("the first runs", function() return #seen == 1 end)
    assert.is_true(consumer:close())
    assert.is_false(consumer:close())
    gate.open()
    consumer:wait()
    assert.are.equal(1, consumer:stats().handled)
    assert.are.equal(1, #seen)
  end)

  it("that waits ends at once, and gives its connection up", function()
    local consumer = consume { block = 60 }
    eventually("it waits", function() return cache:stats().leased == 1 end)
    consumer:close()
    consumer:wait()
    eventually("it is given up", function() return cache:stats().leased == 0 end)
    assert.is_nil(cache:stats().consumers)
  end)

  it("ends with its pool, which waits for the entry that runs", function()
    local pool = support.redis { max_connections = 3 }
    local is_done = false
    local _, seen = consume({}, function()
      tide.sleep(0.05)
      is_done = true
    end, pool)
    add(1, pool)
    eventually("it runs", function() return #seen == 1 end)
    pool:close(10)
    assert.is_true(is_done)
    eventually("it was acknowledged", nobody_has_any)
  end)

  it("gives back what its function forgot to", function()
    local pool = support.redis { max_connections = 4 }
    local consumer = consume({}, function() must(pool:acquire()) end, pool)
    add(5, pool)
    eventually("all is done", function() return consumer:stats().handled == 5 end)
    consumer:close()
    consumer:wait()
    eventually("all came back", function() return pool:stats().leased == 0 end)
    pool:close(1)
  end)

  -- Servers before version 7 claim what was deleted as null and keep it pending.
  it("gives up what was deleted, as older servers tell of it", function()
    local said = {}
    local replies = {
      XPENDING = { { "1-1", "gone", 9000, 1 }, { "2-1", "gone", 9000, 1 },
        { "3-1", "gone", 10, 1 } },
      XCLAIM = { tide.null, { "2-1", { "n", "2" } } },
      XRANGE = {}, XACK = 1,
    }
    local server = redis_stream.new {
      pool = { call = function(_, verb, ...)
        said[#said + 1] = table.concat({ verb, ... }, " ")
        if replies[verb] then return replies[verb] end
        return nil, core.err("server", "ERR unknown command '" .. verb .. "'")
      end },
      stream = "jobs", group = "workers", consumer = "me", count = 3, min_idle = 1,
    }
    local entries, cursor = server:claim "0-0"
    assert.are.equal(1, #entries)
    assert.are.same({ n = "2" }, entries[1].fields)
    assert.are.equal("3-2", cursor)
    assert.are.same({
      "XAUTOCLAIM jobs workers me 1000 0-0 COUNT 3", "XPENDING jobs workers - + 3",
      "XCLAIM jobs workers me 1000 1-1 2-1", "XRANGE jobs 1-1 1-1",
      "XACK jobs workers 1-1",
    }, said)
  end)

  it("of a script ends with the script's next version", function()
    tide._set_pool("redis", "of_script", cache)
    at_end(function() tide._set_pool("redis", "of_script", nil) end)
    local script = must(sandbox.load(support.file("consume.lua", [[
      local pool = require("tidepool").redis "of_script"
      local opts = { stream = "jobs", group = "workers" }
      return (assert(pool:consume(opts, function() end)))
    ]])))
    add(1)
    eventually("it works", function() return script.value:stats().handled == 1 end)
    standing.retire(script.env)
    script.value:wait()
    assert.is_nil(cache:stats().consumers)
  end)

  it("is in the metrics", function()
    local consumer = consume { consumer = "me" }
    add(1)
    eventually("it is done", function() return consumer:stats().handled == 1 end)
    local page = metrics.page({ cache:stats() }, nil, core.task_counts())
    assert.matches('tidepool_consumer_handled_total{pool_name="' .. cache:name()
      .. '",stream="jobs",group="workers",consumer="me"} 1', page, 1, true)
  end)

  it("raises for wrong options at the caller's line", function()
    local function of(opts, fn)
      local ok, err = pcall(function()
        local consumer = cache:consume(opts, fn)
        return consumer
      end)
      assert.is_false(ok)
      assert.matches("redis_stream_spec.lua:%d+: ", err)
      return err
    end
    local function fn() end
    assert.matches("options table expected, got string", of("jobs", fn))
    assert.matches("stream: a string expected, got nil", of({ group = "g" }, fn))
    assert.matches("group: a string expected, got nil", of({ stream = "s" }, fn))
    assert.matches("unknown option: idle",
      of({ stream = "s", group = "g", idle = 1 }, fn))
    assert.matches("block: seconds above 0 expected, got 0",
      of({ stream = "s", group = "g", block = 0 }, fn))
    assert.matches("max_deliveries needs on_failure",
      of({ stream = "s", group = "g", max_deliveries = 3 }, fn))
    assert.matches("function expected, got nil", of({ stream = "s", group = "g" }))
  end)

  it("needs a second connection", function()
    local pool = support.redis { max_connections = 1 }
    local consumer, err = pool:consume({ stream = "s", group = "g" }, function() end)
    assert.is_nil(consumer)
    assert.are.equal("badarg", err.code)
  end)
end)
