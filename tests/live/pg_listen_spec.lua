-- Postgres: LISTEN and NOTIFY, what restores it, and what handlers are told.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

-- A handler that keeps what it is told, and its list.
local function collector()
  local seen = {}
  return seen, function(message) seen[#seen + 1] = message end
end

local function count(list, n)
  return function() return #list >= n end
end

local function hub_of(pool)
  return must(pool:one([[SELECT pid FROM pg_stat_activity
    WHERE query LIKE 'LISTEN%' OR query LIKE 'UNLISTEN%']])).pid
end

describe("Postgres listeners", function()
  local db

  setup(function() db = support.postgres { max_connections = 4 } end)

  it("call the handler for each notification, in order", function()
    local seen, keep = collector()
    local listener = must(db:listen("orders", keep))
    finally(function() listener:close() end)
    for i = 1, 50 do assert.is_true(must(db:notify("orders", tostring(i)))) end
    eventually("all came", count(seen, 50))
    for i = 1, 50 do
      assert.are.same({ channel = "orders", payload = tostring(i) }, seen[i])
    end
    assert.are.equal(50, listener:stats().received)
  end)

  it("hear what a transaction sent when it commits, and nothing of one that fails",
    function()
      local seen, keep = collector()
      local listener = must(db:listen("tx", keep))
      finally(function() listener:close() end)
      db:transaction(function(tx)
        must(tx:notify("tx", "never"))
        error(core.err("server", "no"), 0)
      end)
      must(db:transaction(function(tx)
        must(tx:notify "tx")
        must(tx:notify("tx", "second"))
        assert.are.equal(0, #seen)
        return true
      end))
      eventually("both came", count(seen, 2))
      assert.are.same({ "", "second" }, { seen[1].payload, seen[2].payload })
    end)

  it("share one connection, and give it back when none is left", function()
    local before = db:stats().leased
    local listeners, seen = {}, {}
    for i = 1, 100 do
      local name = "room " .. i
      listeners[i] = must(db:listen(name, function() seen[name] = true end))
    end
    assert.are.equal(before + 1, db:stats().leased)
    assert.are.equal(100, db:stats().subscriber.channels)
    for i = 1, 100 do must(db:notify("room " .. i)) end
    eventually("all heard", function()
      for i = 1, 100 do if not seen["room " .. i] then return false end end
      return true
    end)
    for _, listener in ipairs(listeners) do listener:close() end
    eventually("it is given back", function() return db:stats().leased == before end)
  end)

  it("hear nothing more once closed, and others of the channel go on", function()
    local one, keep_one = collector()
    local two, keep_two = collector()
    local first = must(db:listen("both", keep_one))
    local second = must(db:listen("both", keep_two))
    assert.is_true(first:close())
    assert.is_false(first:close())
    must(db:notify("both", "x"))
    eventually("the other heard it", count(two, 1))
    assert.are.equal(0, #one)
    second:close()
  end)

  it("take channels with any name", function()
    local other = must(db:listen("keeps the hub", function() end))
    local names = { 'with "quotes"', "UPPER and lower", "ein Wört", ("x"):rep(63) }
    for _, name in ipairs(names) do
      local seen, keep = collector()
      local listener = must(db:listen(name, keep))
      must(db:notify(name, "x"))
      eventually("it came", count(seen, 1))
      assert.are.equal(name, seen[1].channel)
      listener:close()
    end
    other:close()
  end)

  it("raise for what is no channel, handler or option", function()
    local function message(...)
      local ok, err = pcall(db.listen, db, ...)
      assert.is_false(ok)
      return err
    end
    assert.matches("a channel's name expected, got number", message(5, print))
    assert.matches("at most 63 bytes", message(("x"):rep(64), print))
    assert.matches("function expected, got nil", message("a"))
    assert.matches("unknown option: size", message("a", print, { size = 5 }))
    local ok, err = pcall(db.notify, db, "a", 5)
    assert.is_false(ok)
    assert.matches("payload: string expected, got number", err)
  end)

  it("are refused on a pool of one connection", function()
    local one = support.postgres { max_connections = 1 }
    local listener, err = one:listen("a", function() end)
    assert.is_nil(listener)
    assert.are.equal("badarg", err.code)
    assert.matches("set 2 or more", err.message)
  end)

  it("are restored when their connection is lost, and told of the gap", function()
    local seen, keep = collector()
    local listener = must(db:listen("jobs", keep))
    finally(function() listener:close() end)
    must(db:one("SELECT pg_terminate_backend($1)", hub_of(db)))
    eventually("the gap is told", count(seen, 1))
    assert.is_true(seen[1].gap)
    assert.matches("the connection was lost", seen[1].reason)
    must(db:notify("jobs", "after"))
    eventually("it hears again", count(seen, 2))
    assert.are.same({ channel = "jobs", payload = "after" }, seen[2])
    assert.are.equal(1, listener:stats().gaps)
  end)

  it("go on when a handler fails, which is logged and counted", function()
    local seen = {}
    local listener = must(db:listen("jobs", function(message)
      seen[#seen + 1] = message.payload
      if message.payload == "bad" then error "mine" end
    end))
    finally(function() listener:close() end)
    for _, payload in ipairs { "bad", "good" } do must(db:notify("jobs", payload)) end
    eventually("both are heard", count(seen, 2))
    assert.are.same({ "bad", "good" }, seen)
    assert.are.equal(1, listener:stats().failures)
  end)

  it("of a request end with it", function()
    local app, before = tide.app(), db:stats().subscriber.subscriptions
    local seen, keep = collector()
    app:get("/", function()
      must(db:listen("mine", keep))
      must(db:notify("mine", "x"))
      eventually("it is heard", count(seen, 1))
      assert.are.equal(before + 1, db:stats().subscriber.subscriptions)
      return "heard"
    end)
    local server, address = support.serve(app)
    finally(function() server:close() end)
    assert.are.equal(200, (support.request(address, "GET", "/")))
    eventually("it is gone", function()
      return db:stats().subscriber.subscriptions == before
    end)
  end)

  it("move to a new connection when the pool is drained", function()
    local seen, keep = collector()
    local listener = must(db:listen("drained", keep))
    finally(function() listener:close() end)
    local before = hub_of(db)
    db:drain()
    eventually("the gap is told", count(seen, 1))
    assert.is_true(seen[1].gap)
    must(db:notify("drained", "x"))
    eventually("it hears", count(seen, 2))
    assert.are_not.equal(before, hub_of(db))
  end)

  it("tell a handler that is too slow what it missed, in its place", function()
    local seen, gate = {}, support.gate()
    local listener = must(db:listen("flood", function(message)
      seen[#seen + 1] = message
      if #seen == 1 then gate.wait() end
    end, { queue = 5 }))
    finally(function() listener:close() end)
    must(db:query "SELECT pg_notify('flood', i::text) FROM generate_series(1, 20) AS i")
    eventually("some were dropped", function() return listener:stats().dropped > 0 end)
    eventually("all have come", function()
      local stats = listener:stats()
      return stats.received == 20
    end)
    gate.open()
    eventually("the gap is told", function()
      return seen[1] and seen[#seen].gap
    end)
    assert.are.equal(20, #seen - 1 + seen[#seen].dropped)
    assert.matches("too slow", seen[#seen].reason)
  end)

  it("end with their pool", function()
    local own = support.postgres { max_connections = 2 }
    local listener = must(own:listen("a", function() end))
    own:close(1)
    assert.is_false(listener:close())
  end)
end)

describe("Postgres listeners of a server that restarts", function()
  it("hear again, with a gap; begun while it is away, they begin with one", function()
    local server = must(servers.postgres {
      directory = support.directory .. "/listen", keep = true,
    })
    local pool = must(core.postgres_open {
      name = "listen", url = server.url, settings = { max_connections = 3 },
    })
    local old, keep_old = collector()
    local new, keep_new = collector()
    must(pool:listen("old", keep_old))
    server:stop()
    eventually("it is down", function() return pool:stats().down end)
    must(pool:listen("new", keep_new))
    server = must(servers.postgres {
      directory = support.directory .. "/listen", keep = true,
    })
    eventually("both are told", function() return #old >= 1 and #new >= 1 end)
    assert.is_true(old[1].gap)
    assert.is_true(new[1].gap)
    must(pool:notify("old", "x"))
    must(pool:notify("new", "y"))
    eventually("both hear", function() return #old >= 2 and #new >= 2 end)
    assert.are.same({ "x", "y" }, { old[#old].payload, new[#new].payload })
    pool:close(1)
    server:stop()
  end)
end)
