-- Limits of routes: time, size, how many at the same time.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("A route's", function()
  local db, server, address, app, gate, seen

  setup(function()
    db = support.postgres { max_connections = 2 }
    app = tide.app()
    app:get("/slow", { timeout_ms = 50 }, function()
      seen.ok, seen.err = pcall(function()
        return must(db:one { "SELECT pg_sleep(60)", share = false })
      end)
      error(seen.err, 0)
    end)
    app:get("/queue", { timeout_ms = 50 }, function()
      local row, err = db:one "SELECT 1 AS n"
      return row and "got it" or tide.fail(err)
    end)
    app:get("/children", { timeout_ms = 50 }, function()
      return tide.json(must(tide.all(
        function() return must(db:one { "SELECT pg_sleep(61)", share = false }) end,
        function() return tide.sleep(60) end)))
    end)
    app:get("/quick", { timeout_ms = 30000 }, function(req)
      return "quick " .. (req.query.q or "")
    end)
    app:get("/fails", { timeout_ms = 30000 }, function() error "mine" end)
    app:get("/refused", { timeout_ms = 30000 }, function()
      error(core.err("refused", "the server is away"), 0)
    end)
    app:get("/endless", { timeout_ms = 50 }, function()
      return tide.stream(function(reply)
        for i = 1, 1e9 do
          assert(reply:write(i .. "\n"))
          tide.sleep(0.001)
        end
      end)
    end)
    app:get("/late", { timeout_ms = 50 }, function()
      return tide.stream(function(reply)
        must(db:one { "SELECT pg_sleep(62)", share = false })
        return reply:write "never"
      end)
    end)
    app:post("/slow-body", { timeout_ms = 50, body = "stream" }, function(req)
      seen.ok, seen.err = pcall(function()
        repeat until not must(req:read())
      end)
      error(seen.err, 0)
    end)
    app:post("/small", { max_body_bytes = 4 }, function(req) return req.body end)
    app:get("/two", { max_concurrent = 2 }, function()
      seen.running = (seen.running or 0) + 1
      gate.wait()
      return "done"
    end)
    server, address = support.serve(app)
  end)

  teardown(function() server:close() end)

  before_each(function() gate, seen = support.gate(), {} end)

  local function get(path) return support.request(address, "GET", path) end

  it("deadline cuts a reply that is sent piece by piece, which is counted", function()
    local bytes = support.raw(address, "GET /endless HTTP/1.1\r\nHost: t\r\n\r\n")
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\n1\n\r\n", bytes)
    assert.is_nil(bytes:find("\r\n0\r\n\r\n", 1, true)) -- not whole
    assert.are.equal(1, server:stats().replies_late)
    assert.are.equal(0, server:stats().replies_cut)
  end)

  it("deadline gives 504 while nothing of such a reply was sent", function()
    assert.are.equal(504, (get "/late"))
    eventually("the server has stopped", function()
      return support.running(db, "%pg_sleep(62)%") == 0
    end)
  end)

  it("deadline ends the reading of a body with 504", function()
    local status = support.parse_reply(support.raw(address,
      "POST /slow-body HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n"
      .. "Connection: close\r\n\r\nabc"))
    assert.are.equal(504, status)
    assert.are.equal("cancelled", seen.err.code)
  end)

  it("deadline ends the handler with 504, and what it waits for at the server", function()
    assert.are.equal(504, (get "/slow"))
    assert.are.equal("cancelled", seen.err.code)
    assert.are.equal(504, (get "/children"))
    eventually("the server has stopped both", function()
      return support.running(db, "%pg_sleep(6_)%") == 0
    end)
  end)

  it("deadline bounds the wait for a connection", function()
    local release = { support.hold(db), support.hold(db) }
    assert.are.equal(504, (get "/queue"))
    assert.are.equal(0, db:stats().waiting)
    release[1]()
    release[2]()
    local _, _, body = get "/queue"
    assert.are.equal("got it", body)
  end)

  it("deadline changes nothing for what is quicker", function()
    local status, _, body = get "/quick?q=5"
    assert.are.same({ 200, "quick 5" }, { status, body })
    assert.are.equal(500, (get "/fails"))
    assert.are.equal(503, (get "/refused"))
  end)

  it("body may not be larger", function()
    local status, _, body = support.request(address, "POST", "/small", "1234")
    assert.are.same({ 200, "1234" }, { status, body })
    assert.are.equal(413, (support.request(address, "POST", "/small", "12345")))
  end)

  it("handlers may not be more at the same time", function()
    local tasks = {}
    for i = 1, 2 do tasks[i] = tide.spawn(get, "/two") end
    eventually("both run", function() return seen.running == 2 end)
    local status, headers = get "/two"
    assert.are.same({ 503, "1" }, { status, headers["retry-after"] })
    gate.open()
    for i = 1, 2 do
      local _, done = tasks[i]:wait()
      assert.are.equal(200, done)
    end
    assert.are.equal(200, (get "/two"))
  end)

  it("options are checked", function()
    local function message(opts)
      local ok, err = pcall(app.get, app, "/x", opts, function() end)
      assert.is_false(ok)
      return err
    end
    assert.matches("unknown route option: timeout", message { timeout = 5 })
    assert.matches("timeout_ms: milliseconds above 0 expected, got 0",
      message { timeout_ms = 0 })
    assert.matches("max_concurrent: a count from 1 on expected, got 1.5",
      message { max_concurrent = 1.5 })
    assert.matches('on_disconnect: "cancel" or "finish" expected, got no',
      message { on_disconnect = "no" })
  end)
end)
