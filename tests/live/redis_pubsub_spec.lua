-- Redis: subscriptions, what restores them, and what their handlers are told.

local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local sandbox = require "tidepool.sandbox"
local servers = require "tidepool.servers"
local standing = require "tidepool.standing"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

-- A handler that keeps what it is told, and its list.
local function collector()
  local seen = {}
  return seen, function(message) seen[#seen + 1] = message end
end

local function count(list)
  return function(n)
    return function() return #list >= n end
  end
end

describe("Redis subscriptions", function()
  local cache

  setup(function() cache = support.redis { max_connections = 4 } end)

  it("call the handler for each message, in order", function()
    local seen, keep = collector()
    local sub = must(cache:subscribe("news", keep))
    finally(function() sub:close() end)
    for i = 1, 100 do assert.are.equal(1, cache:publish("news", i)) end
    eventually("all came", count(seen)(100))
    for i = 1, 100 do
      assert.are.same({ channel = "news", payload = tostring(i) }, seen[i])
    end
    assert.are.equal(100, sub:stats().received)
    assert.is_true(sub:stats().live)
  end)

  it("share one connection, and give it back when none is left", function()
    local seen, keep = collector()
    local before = cache:stats().leased
    local subs = {}
    for i = 1, 20 do subs[i] = must(cache:subscribe("room" .. i % 10, keep)) end
    assert.are.equal(before + 1, cache:stats().leased)
    assert.are.equal(10, cache:stats().subscriber.channels)
    assert.are.equal(20, cache:stats().subscriber.subscriptions)
    must(cache:publish("room3", "x"))
    eventually("both heard it", count(seen)(2))
    for _, sub in ipairs(subs) do assert.is_true(sub:close()) end
    assert.is_false(subs[1]:close())
    eventually("it is given back", function() return cache:stats().leased == before end)
    assert.are.equal(0, cache:publish("room3", "x"))
  end)

  it("hear nothing more once they are closed, and others go on", function()
    local one, keep_one = collector()
    local two, keep_two = collector()
    local first = must(cache:subscribe("both", keep_one))
    local second = must(cache:subscribe("both", keep_two))
    first:close()
    must(cache:publish("both", "x"))
    eventually("the other heard it", count(two)(1))
    assert.are.equal(0, #one)
    second:close()
  end)

  it("take a channel again right after they gave it up", function()
    local seen, keep = collector()
    local other = must(cache:subscribe("stays", keep))
    must(cache:subscribe("again", keep)):close()
    local sub = must(cache:subscribe("again", keep))
    must(cache:publish("again", "x"))
    eventually("it came", count(seen)(1))
    assert.is_nil(seen[1].gap)
    sub:close()
    other:close()
  end)

  it("by pattern tell the pattern and the channel", function()
    local seen, keep = collector()
    local sub = must(cache:psubscribe("user.*", keep))
    finally(function() sub:close() end)
    must(cache:publish("user.7", "in"))
    eventually("it came", count(seen)(1))
    assert.are.same({ channel = "user.7", pattern = "user.*", payload = "in" }, seen[1])
  end)

  it("by shard hear SPUBLISH", function()
    local seen, keep = collector()
    local sub = must(cache:ssubscribe("shard", keep))
    finally(function() sub:close() end)
    must(cache:spublish("shard", "x"))
    eventually("it came", count(seen)(1))
    assert.are.same({ channel = "shard", payload = "x" }, seen[1])
  end)

  it("run handlers that wait in order, and beside those of others", function()
    local log, gate = {}, support.gate()
    local slow = must(cache:subscribe("slow", function(message)
      if message.payload == "1" then gate.wait() end
      log[#log + 1] = "slow " .. message.payload
    end))
    local quick = must(cache:subscribe("quick", function() log[#log + 1] = "quick" end))
    must(cache:publish("slow", 1))
    must(cache:publish("slow", 2))
    must(cache:publish("quick", 1))
    eventually("the quick one ran", count(log)(1))
    gate.open()
    eventually("all ran", count(log)(3))
    assert.are.same({ "quick", "slow 1", "slow 2" }, log)
    slow:close()
    quick:close()
  end)

  it("go on after a handler that raises", function()
    local seen = {}
    local sub = must(cache:subscribe("bad", function(message)
      seen[#seen + 1] = message.payload
      if #seen == 1 then error "mine" end
    end))
    must(cache:publish("bad", 1))
    must(cache:publish("bad", 2))
    eventually("both ran", count(seen)(2))
    assert.are.equal(1, sub:stats().failures)
    sub:close()
  end)

  it("tell a gap in its place when the handler is too slow", function()
    local seen, gate = {}, support.gate()
    local sub = must(cache:subscribe("flood", function(message)
      gate.wait()
      seen[#seen + 1] = message
    end, { queue = 3 }))
    local quick, keep = collector()
    local probe = must(cache:subscribe("flood", keep))
    for i = 1, 10 do must(cache:publish("flood", i)) end
    eventually("all were received", count(quick)(10))
    gate.open()
    eventually("the gap was told", function() return seen[#seen] and seen[#seen].gap end)
    local stats = sub:stats()
    local gap = seen[#seen]
    assert.are.equal(10, stats.received)
    assert.are.equal(10, #seen - 1 + stats.dropped)
    assert.are.equal(stats.dropped, gap.dropped)
    assert.are.equal("flood", gap.channel)
    assert.matches("too slow: its queue of 3 was full", gap.reason)
    must(cache:publish("flood", "after"))
    eventually("it goes on", function() return seen[#seen].payload == "after" end)
    sub:close()
    probe:close()
  end)

  it("are restored after their connection was killed, with a gap", function()
    local seen, keep = collector()
    local one = must(cache:subscribe("kept", keep))
    local two = must(cache:psubscribe("kept*", keep))
    must(cache:call("CLIENT", "KILL", "TYPE", "pubsub"))
    eventually("both were told", count(seen)(2))
    for _, message in ipairs(seen) do
      assert.is_true(message.gap)
      assert.matches("connection was lost", message.reason)
    end
    assert.are.equal(2, cache:publish("kept", "x"))
    eventually("both hear again", count(seen)(4))
    assert.are.equal(1, one:stats().gaps)
    one:close()
    two:close()
  end)

  it("hold through a server that is killed and started again", function()
    local own = must(servers.redis { directory = support.directory .. "/pubsub-r" })
    finally(function() own:stop() end)
    local pool = support.redis({ max_connections = 3, acquire_timeout = 2 },
      { url = own.url })
    local seen, keep = collector()
    must(pool:subscribe("a", keep))
    own:kill()
    eventually("it is lost", function()
      return not pool:stats().subscriber.connected
    end)
    local late, keep_late = collector()
    local sub = must(pool:subscribe("b", keep_late))
    assert.is_false(sub:stats().live)
    must(own:restart())
    eventually("both are told", function() return #seen == 1 and #late == 1 end)
    assert.is_true(seen[1].gap)
    assert.is_true(late[1].gap)
    assert.matches("could not be subscribed at once", late[1].reason)
    eventually("it is heard", function() return pool:publish("a", "x") == 1 end)
    eventually("it came", count(seen)(2))
    assert.are.equal("x", seen[2].payload)
    pool:close(1)
  end)

  it("see a server that stands still, and hear again when it goes on", function()
    local own = must(servers.redis { directory = support.directory .. "/pubsub-s" })
    finally(function() own:stop() end)
    local pool = support.redis({
      max_connections = 3, test_after = 0.05, stall_timeout = 0.1,
    }, { url = own.url })
    local seen, keep = collector()
    must(pool:subscribe("a", keep))
    must(support.run { "kill", "-STOP", tostring(own.pid) })
    eventually("it is given up", function()
      return pool:stats().subscriber.losses > 0
    end)
    must(support.run { "kill", "-CONT", tostring(own.pid) })
    eventually("it is told", count(seen)(1))
    assert.matches("no answer to a ping", seen[1].reason)
    pool:close(1)
  end)

  it("stay on a quiet connection that answers", function()
    local pool = support.redis { max_connections = 3, test_after = 0.05,
      stall_timeout = 5 }
    local seen, keep = collector()
    must(pool:subscribe("quiet", keep))
    local function pings()
      return tonumber(must(cache:call("INFO", "commandstats"))
        :match "cmdstat_ping:calls=(%d+)") or 0
    end
    local before = pings()
    eventually("it is asked", function() return pings() >= before + 3 end)
    assert.are.equal(0, pool:stats().subscriber.losses)
    must(cache:publish("quiet", "x"))
    eventually("it came", count(seen)(1))
    assert.is_nil(seen[1].gap)
    pool:close(1)
  end)

  it("move to a new connection when the pool is drained", function()
    local pool = support.redis { max_connections = 3, test_after = 0.05 }
    local seen, keep = collector()
    must(pool:subscribe("drained", keep))
    pool:drain()
    eventually("it is told", count(seen)(1))
    assert.matches("drained", seen[1].reason)
    pool:close(1)
  end)

  it("that the server refuses are nil, err", function()
    local own = must(servers.redis { directory = support.directory .. "/pubsub-acl" })
    finally(function() own:stop() end)
    must(own:cli("ACL", "SETUSER", "ear", "on", ">pw", "~*", "+@all", "resetchannels",
      "&open"))
    local pool = support.redis({ max_connections = 3 },
      { url = own.url:gsub("^unix://", "unix://ear:pw@") })
    local sub, err = pool:subscribe("closed", function() end)
    assert.is_nil(sub)
    assert.are.equal("server", err.code)
    assert.matches("NOPERM", err.message)
    must(pool:subscribe("open", function() end))
    pool:close(1)
  end)

  it("that the server refuses to restore are told, and asked for again", function()
    local own = must(servers.redis { directory = support.directory .. "/pubsub-acl2" })
    finally(function() own:stop() end)
    must(own:cli("ACL", "SETUSER", "ear", "on", ">pw", "~*", "+@all", "resetchannels",
      "&open"))
    local pool = support.redis({ max_connections = 3 },
      { url = own.url:gsub("^unix://", "unix://ear:pw@") })
    local seen, keep = collector()
    local sub = must(pool:subscribe("open", keep))
    must(own:cli("ACL", "SETUSER", "ear", "resetchannels"))
    eventually("it is told", count(seen)(1))
    assert.is_true(seen[1].gap)
    assert.matches("^refused: NOPERM", seen[1].reason)
    assert.is_false(sub:stats().live)
    assert.matches("NOPERM", sub:stats().error.message)
    must(own:cli("ACL", "SETUSER", "ear", "&open"))
    eventually("it is told again", count(seen)(2))
    assert.matches("refused meanwhile", seen[2].reason)
    must(pool:publish("open", "x"))
    eventually("it hears again", count(seen)(3))
    assert.are.equal("x", seen[3].payload)
    assert.is_nil(sub:stats().error)
    pool:close(1)
  end)

  it("sharded, on a server that has none, are nil, err", function()
    local own = must(servers.redis {
      directory = support.directory .. "/pubsub-old",
      settings = { ["rename-command SSUBSCRIBE"] = "" },
    })
    finally(function() own:stop() end)
    local pool = support.redis({ max_connections = 3 }, { url = own.url })
    local sub, err = pool:ssubscribe("a", function() end)
    assert.is_nil(sub)
    assert.matches("unknown command", err.message)
    pool:close(1)
  end)

  it("need a second connection", function()
    local pool = support.redis { max_connections = 1 }
    local sub, err = pool:subscribe("a", function() end)
    assert.is_nil(sub)
    assert.are.equal("badarg", err.code)
    assert.matches("max_connections of pool", err.message)
  end)

  it("are no leak, and not the oldest lease of a timeout", function()
    local pool = support.redis { max_connections = 2, leak_threshold = 0.02 }
    must(pool:subscribe("a", function() end))
    local gate = support.gate()
    local holder = tide.spawn(function() pool:with(gate.wait) end)
    eventually("the lease leaks", function() return pool:stats().counters.leaks == 1 end)
    local conn, err = pool:acquire { timeout_ms = 20 }
    assert.is_nil(conn)
    assert.matches("redis_pubsub_spec.lua", err.message)
    gate.open()
    assert.is_true((holder:wait()))
    assert.are.equal(1, pool:stats().counters.leaks)
    pool:close(1)
  end)

  it("are not waited for by who holds the other connection", function()
    local pool = support.redis { max_connections = 2 }
    local sub = must(pool:subscribe("a", function() end))
    local lease = must(pool:acquire())
    local conn, err = pool:acquire()
    assert.is_nil(conn)
    assert.are.equal("busy", err.code)
    assert.matches("no connection can come free", err.message)
    lease:release()
    sub:close()
    pool:close(1)
  end)

  it("end when who waits for them is cancelled", function()
    local pool = support.redis { max_connections = 2 }
    local gate = support.gate()
    local holders = {}
    for i = 1, 2 do holders[i] = tide.spawn(function() pool:with(gate.wait) end) end
    eventually("all are lent", function() return pool:stats().leased == 2 end)
    local task = tide.spawn(function() return pool:subscribe("a", function() end) end)
    eventually("it waits", function() return pool:stats().waiting == 1 end)
    task:cancel()
    assert.is_false((task:wait()))
    gate.open()
    for _, holder in ipairs(holders) do assert.is_true((holder:wait())) end
    eventually("none is left", function()
      return pool:stats().subscriber.subscriptions == 0 and pool:stats().leased == 0
    end)
    pool:close(1)
  end)

  it("that a request made end with it, in whichever task of it they were made", function()
    local app = tide.app()
    local subs = {}
    local function keep(sub)
      subs[#subs + 1] = must(sub)
      return true
    end
    app:get("/end", function()
      local function nothing() end
      keep(cache:subscribe("a", nothing))
      must(tide.all(function() return keep(cache:subscribe("b", nothing)) end))
      local _, spawned = tide.spawn(function()
        return cache:subscribe("c", nothing)
      end):wait()
      keep(spawned)
      must(cache:subscribe("a", nothing)):close()
      if #subs == 6 then error "mine" end
      return "done"
    end)
    local server, address = support.serve(app)
    assert.are.equal(200, (support.request(address, "GET", "/end")))
    assert.are.equal(500, (support.request(address, "GET", "/end")))
    eventually("they end", function()
      return cache:stats().subscriber.subscriptions == 2
    end)
    for i, sub in ipairs(subs) do assert.are.equal(i % 3 == 0, sub:stats().live) end
    subs[3]:close()
    subs[6]:close()
    server:close()
  end)

  it("of a client that went away end", function()
    local app = tide.app()
    app:get("/stay", function()
      must(cache:subscribe("stay", function() end))
      tide.sleep(60)
    end)
    local server, address = support.serve(app)
    local client = support.start_raw(address, "GET /stay HTTP/1.1\r\nHost: t\r\n\r\n")
    eventually("it is subscribed", function() return cache:publish("stay", "x") == 1 end)
    client:signal "KILL"
    eventually("it ends", function() return cache:publish("stay", "x") == 0 end)
    client:wait()
    server:close()
  end)

  it("of a script begin while it loads, and end with its next version", function()
    local pool = support.redis { max_connections = 3 }
    tide._set_pool("redis", "of_script", pool)
    finally(function() tide._set_pool("redis", "of_script", nil) end)
    local text = [[
      local tide = require "tidepool"
      local seen = {}
      assert(tide.redis("of_script"):subscribe("a", function(m) seen[#seen + 1] = m end))
    ]]
    local function subscribers() return pool:publish("a", "x") end
    local one = must(sandbox.load(support.file("one.lua", text .. "return seen")))
    eventually("it hears", function() subscribers() return #one.value > 0 end)
    assert.is_nil((sandbox.load(support.file("bad.lua", text .. "error 'bad'"))))
    local two = must(sandbox.load(support.file("two.lua", text .. "return seen")))
    assert.are.equal(2, pool:stats().subscriber.subscriptions)
    standing.retire(one.env)
    assert.are.equal(1, pool:stats().subscriber.subscriptions)
    local before = #two.value
    subscribers()
    eventually("the new one hears", function() return #two.value > before end)
    pool:close(1)
  end)

  it("are counted in the metrics", function()
    local pool = support.redis({ max_connections = 3 }, { name = "counted" })
    local seen, keep = collector()
    must(pool:subscribe("a", keep))
    must(pool:publish("a", 1))
    eventually("it came", count(seen)(1))
    local page = metrics.page({ pool:stats() }, nil, core.task_counts())
    assert.matches('tidepool_subscriptions_messages_total{pool_name="counted",'
      .. 'kind="redis"} 1', page, 1, true)
    pool:close(1)
  end)

  it("raise for wrong arguments at the caller's line", function()
    local function of(...)
      local args = { ... }
      local ok, err = pcall(function()
        local sub = cache:subscribe(unpack(args, 1, 3))
        return sub
      end)
      assert.is_false(ok)
      assert.matches("redis_pubsub_spec.lua:%d+: ", err)
      return err
    end
    assert.matches("channel's name expected, got nil", of(nil, function() end))
    assert.matches("function expected, got string", of("a", "b"))
    assert.matches("unknown option: max", of("a", function() end, { max = 1 }))
    assert.matches("queue: a whole number", of("a", function() end, { queue = 0 }))
  end)
end)
