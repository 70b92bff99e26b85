-- Replies that are sent piece by piece, and server-sent events.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local function head(method, path, version)
  return ("%s %s HTTP/%s\r\nHost: t\r\n"):format(method, path, version or "1.1")
end

local function get(path) return head("GET", path) .. "Connection: close\r\n\r\n" end

-- The body of a chunked reply, and whether it had its end.
local function unchunk(bytes)
  local rest = bytes:match "\r\n\r\n(.*)$"
  local parts = {}
  while true do
    local size, after = rest:match "^(%x+)\r\n(.*)$"
    if not size then return table.concat(parts), false end
    local n = tonumber(size, 16)
    if n == 0 then return table.concat(parts), after == "\r\n" end
    parts[#parts + 1] = after:sub(1, n)
    assert(#after >= n + 2 and after:sub(n + 1, n + 2) == "\r\n", "a cut chunk")
    rest = after:sub(n + 3)
  end
end

-- Sends a request and reads nothing before the file `go` is there; then all.
local RELUCTANT = [[exec 3<>/dev/tcp/${0%:*}/${0##*:} && printf "$1" >&3 &&
  while [ ! -e "$2" ]; do sleep 0.02; done && cat <&3 | wc -c]]

describe("A streamed reply", function()
  local server, address, app, seen

  setup(function()
    app = tide.app()
    app:get("/three", function()
      return tide.stream(function(reply)
        for i = 1, 3 do must(reply:write("piece " .. i .. "\n")) end
      end, { status = 201, headers = { ["content-type"] = "text/plain" } })
    end)
    app:get("/slowly", function()
      return tide.stream(function(reply)
        for i = 1, 3 do
          must(reply:write(tostring(i)))
          tide.sleep(0.01)
        end
      end)
    end)
    app:get("/nothing", function() return tide.stream(function() end) end)
    app:get("/fails", function()
      return tide.stream(function(reply)
        must(reply:write "half of it")
        tide.sleep(0.01)
        error "in the middle"
      end)
    end)
    app:get("/number", function()
      return tide.stream(function(reply) reply:write(5) end)
    end)
    local function much(reply)
      seen.state = "begun"
      for _ = 1, 2000 do
        seen.state = "writing"
        local ok, err = reply:write(("x"):rep(10000))
        seen.state = "written"
        if not ok then
          seen.err = err
          return
        end
        seen.count = seen.count + 1
      end
      seen.state = "done"
    end
    app:get("/much", function()
      return tide.stream(function(reply)
        local ok, err = pcall(much, reply)
        seen.raised = not ok and err or nil
        if not ok then error(err, 0) end
      end)
    end)
    app:post("/much", function() return tide.stream(much) end)
    app:get("/owns", function()
      return tide.stream(function(reply)
        reply:own { close = function() seen.closed = (seen.closed or "") .. "a" end }
        reply:own { cancel = function() seen.closed = (seen.closed or "") .. "b" end }
        must(reply:write "x")
        error(core.err("server", "no"), 0)
      end)
    end)
    app:get("/plain", function() return "plain" end)
    server, address = support.serve(app)
  end)

  teardown(function() server:close() end)

  before_each(function() seen = { count = 0 } end)

  it("goes in chunks, with the status and headers given", function()
    local bytes = support.raw(address, get "/three")
    assert.matches("^HTTP/1.1 201 Created\r\n", bytes)
    assert.matches("\r\nTransfer%-Encoding: chunked\r\n", bytes)
    assert.matches("\r\ncontent%-type: text/plain\r\n", bytes)
    assert.not_matches("Content%-Length", bytes)
    local body, is_whole = unchunk(bytes)
    assert.are.equal("piece 1\npiece 2\npiece 3\n", body)
    assert.is_true(is_whole)
  end)

  it("goes piece by piece, and may be empty", function()
    assert.are.equal("123", (unchunk(support.raw(address, get "/slowly"))))
    local body, is_whole = unchunk(support.raw(address, get "/nothing"))
    assert.are.same({ "", true }, { body, is_whole })
  end)

  it("ends with the connection for HTTP/1.0", function()
    local bytes = support.raw(address, head("GET", "/three", "1.0")
      .. "Connection: keep-alive\r\n\r\n")
    assert.matches("\r\nConnection: close\r\n", bytes)
    assert.not_matches("chunked", bytes)
    assert.matches("\r\n\r\npiece 1\npiece 2\npiece 3\n$", bytes)
  end)

  it("has no body for HEAD, and its function is not run", function()
    local bytes = support.raw(address, head("HEAD", "/much")
      .. "Connection: close\r\n\r\n")
    assert.matches("^HTTP/1.1 200 OK\r\n", bytes)
    assert.matches("\r\n\r\n$", bytes)
    assert.is_nil(seen.state)
  end)

  it("is followed by the next one on its connection", function()
    local bytes = support.raw(address, head("GET", "/slowly") .. "\r\n" .. get "/plain")
    local first, second = bytes:match "^(.-0\r\n\r\n)(HTTP/1.1 .*)$"
    assert.are.equal("123", (unchunk(first)))
    assert.matches("\r\n\r\nplain$", second)
  end)

  it("that fails in the middle is cut, so that the client sees it", function()
    local body, is_whole = unchunk(support.raw(address, get "/fails"))
    assert.is_false(is_whole)
    assert.is_true(body == "" or body == "half of it")
  end)

  it("that fails before its first piece is a 500", function()
    local status = support.request(address, "GET", "/number")
    assert.are.equal(500, status)
  end)

  it("ends what it owns, the last first", function()
    support.raw(address, get "/owns")
    assert.are.equal("ba", seen.closed)
  end)

  it("waits for a client that does not read, in little memory", function()
    local go = support.file("go", "")
    os.remove(go)
    local client = support.start({ "bash", "-c", RELUCTANT, address,
      "GET /much HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n", go })
    local same, before = 0, -1
    eventually("it waits", function()
      same = seen.count == before and seen.state == "writing" and same + 1 or 0
      before = seen.count
      return same > 50
    end)
    assert.is_true(seen.count < 1500, "it wrote " .. seen.count)
    assert(io.open(go, "w")):close()
    local _, output = client:wait()
    assert.are.equal(2000, seen.count)
    assert.is_true(tonumber(output) > 20000000)
  end)

  it("is cancelled when the client of a GET goes away", function()
    local client = support.start({ "bash", "-c", RELUCTANT, address,
      "GET /much HTTP/1.1\\r\\nHost: t\\r\\n\\r\\n", "/nowhere/at/all" })
    eventually("it waits", function()
      return seen.count > 0 and seen.state == "writing"
    end)
    client:signal "KILL"
    eventually("it is over", function() return seen.raised ~= nil end)
    assert.are.equal("cancelled", seen.raised.code)
  end)

  it("of a POST is told that the client has gone", function()
    local client = support.start({ "bash", "-c", RELUCTANT, address,
      "POST /much HTTP/1.1\\r\\nHost: t\\r\\nContent-Length: 0\\r\\n\\r\\n",
      "/nowhere/at/all" })
    eventually("it waits", function()
      return seen.count > 0 and seen.state == "writing"
    end)
    client:signal "KILL"
    eventually("it is told", function() return seen.err ~= nil end)
    assert.are.equal("closed", seen.err.code)
    assert.are.equal("the client has gone", seen.err.message)
  end)

  it("is cut when the client reads nothing for write_timeout", function()
    local own, own_address = support.serve(app, { write_timeout = 0.1 })
    local client = support.start({ "bash", "-c", RELUCTANT, own_address,
      "POST /much HTTP/1.1\\r\\nHost: t\\r\\nContent-Length: 0\\r\\n\\r\\n",
      "/nowhere/at/all" })
    eventually("it is told", function() return seen.err ~= nil end)
    assert.are.equal(1, own:stats().write_timeouts)
    client:signal "KILL"
    own:close()
  end)

  it("raises for what is no function or option", function()
    local ok, err = pcall(tide.stream, "x")
    assert.is_false(ok)
    assert.matches("function expected, got string", err)
    ok, err = pcall(tide.stream, print, { code = 5 })
    assert.is_false(ok)
    assert.matches("unknown option: code", err)
  end)
end)

describe("Server-sent events", function()
  local server, address, app, db, seen

  setup(function()
    db = support.postgres { max_connections = 3 }
    app = tide.app()
    app:get("/events", function()
      return tide.events(function(stream)
        must(stream:send "hello")
        must(stream:send { event = "tick", id = 7, retry = 1000, data = "two\nlines" })
        must(stream:send { data = { n = 1 } })
        must(stream:send { event = "empty", data = "" })
      end)
    end)
    app:get("/last", function()
      return tide.events(function(stream) stream:send(stream.last_id or "none") end)
    end)
    app:get("/beat", function()
      return tide.events(function(stream)
        seen.begun = true
        stream:wait()
      end, { heartbeat = 0.01 })
    end)
    app:get("/orders", function()
      return tide.events(function(stream)
        stream:own(must(db:listen("orders", function(message)
          stream:send { event = "order", data = message.payload }
        end)))
        seen.begun = true
        stream:wait()
      end)
    end)
    app:get("/bad", function()
      return tide.events(function(stream)
        local function message(event)
          local ok, err = pcall(stream.send, stream, event)
          assert(not ok)
          return err
        end
        seen.errors = {
          message { event = "a\nb" }, message { id = "a\rb" }, message { name = "x" },
          message { retry = "soon" },
        }
      end)
    end)
    server, address = support.serve(app)
  end)

  teardown(function() server:close() end)

  before_each(function() seen = {} end)

  it("are written as the standard has them", function()
    local bytes = support.raw(address, get "/events")
    assert.matches("\r\ncontent%-type: text/event%-stream\r\n", bytes)
    assert.matches("\r\ncache%-control: no%-store\r\n", bytes)
    local body, is_whole = unchunk(bytes)
    assert.is_true(is_whole)
    assert.are.equal("data: hello\n\n"
      .. "event: tick\nid: 7\nretry: 1000\ndata: two\ndata: lines\n\n"
      .. 'data: {"n":1}\n\n' .. "event: empty\ndata: \n\n", body)
  end)

  it("tell what the client has seen", function()
    local bytes = support.raw(address, head("GET", "/last")
      .. "Last-Event-ID: 41\r\nConnection: close\r\n\r\n")
    assert.are.equal("data: 41\n\n", (unchunk(bytes)))
  end)

  it("refuse what would break out of its line", function()
    support.raw(address, get "/bad")
    assert.matches("event of an event: one line expected", seen.errors[1])
    assert.matches("id of an event: one line expected", seen.errors[2])
    assert.matches("unknown field of an event: name", seen.errors[3])
    assert.matches("retry: milliseconds expected", seen.errors[4])
  end)

  it("of notifications reach every client, and stop listening when they go", function()
    local clients = {}
    for i = 1, 20 do clients[i] = support.start_raw(address, get "/orders") end
    eventually("all listen", function()
      local subscriber = db:stats().subscriber
      return subscriber ~= nil and subscriber.subscriptions == 20
    end)
    must(db:notify("orders", "first"))
    eventually("all are sent it", function()
      return db:stats().subscriber.messages >= 1
    end)
    for _, client in ipairs(clients) do client:signal "KILL" end
    eventually("none listens", function()
      return db:stats().subscriber.subscriptions == 0
    end)
  end)

  it("show signs of life, and end as a whole when the server drains", function()
    local own, own_address = support.serve(app)
    local client = support.start_raw(own_address, get "/beat")
    eventually("it runs", function() return seen.begun end)
    tide.sleep(0.05)
    assert.is_true(own:drain(10))
    local _, output = client:wait()
    local body, is_whole = unchunk(output)
    assert.is_true(is_whole)
    assert.matches("^:\n\n:\n\n", body)
    own:close()
  end)
end)
