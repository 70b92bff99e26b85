-- The HTTP face of an app: routes, replies, failures, clients that go away.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("HTTP", function()
  local db, server, address, app
  local held -- counts of the handlers that wait, see /hold

  setup(function()
    db = support.postgres { max_connections = 4 }
    app = tide.app()
    held = { smuggled = 0, begun = 0, cancelled = 0, finished = 0, gate = support.gate() }

    app:get("/text", function() return "plain\n" end)
    app:get("/smuggled", function() held.smuggled = held.smuggled + 1 end)
    app:get("/table", function()
      return { status = 201, headers = { ["X-Kind"] = "table" }, body = "made\n" }
    end)
    app:get("/json", function() return tide.json { a = 1, list = { 1, 2 } } end)
    app:get("/html", function() return tide.html "<p>hi</p>" end)
    app:get("/raw", function() return tide.json_raw '{"raw":true}' end)
    app:get("/rows", function()
      return tide.json(must(db:query "SELECT n FROM generate_series(1, 2) AS n"))
    end)
    app:get("/hello/:name/:age", function(req)
      return req.params.name .. " is " .. req.params.age
    end)
    app:get("/hello/fixed/1", function() return "the fixed one" end)
    app:get("/files/*path", function(req) return req.params.path end)
    app:get("/query", function(req)
      return tide.json { q = req.query.q, empty = req.query.empty, none = req.query.none }
    end)
    app:get("/headers", function(req) return req.headers["x-test"] or "none" end)
    app:get("/remote", function(req) return req.remote end)
    app:post("/echo", function(req) return req.body end)
    app:put("/echo", function(req) return "put " .. req.body end)
    app:post("/sum", function(req)
      local order = must(req:json())
      return tide.json { sum = order.a + order.b }
    end)
    app:post("/lenient", function(req)
      local order, err = req:json()
      return order and "json" or "no json: " .. err.message
    end)
    app:get("/raises", function() error "a mistake of ours" end)
    app:get("/nothing", function() end)
    app:get("/number", function() return 42 end)
    app:get("/bad-status", function() return { status = 99, body = "" } end)
    app:get("/bad-header", function()
      return { headers = { ["x-a"] = "b\r\nx-injected: 1" }, body = "x" }
    end)
    app:get("/bad-rows", function()
      local rows = must(db:query "SELECT 1 AS n")
      rows[1].n = print
      return tide.json(rows)
    end)
    app:get("/raw-rows", function()
      local rows = must(db:query "SELECT 1 AS n")
      rows[1].n = 2
      return { body = rows }
    end)
    app:get("/fail/:code", function(req)
      return tide.fail(core.err(req.params.code, "made up"))
    end)
    app:get("/fail-status", function()
      return tide.fail(core.err("server", "made up", { status = 422 }))
    end)
    app:get("/sql-error", function()
      local _, err = db:one "SELECT 1 / 0"
      return tide.fail(err)
    end)
    app:get("/assert-error", function()
      return tide.json(must(db:one "SELECT 1 / 0"))
    end)

    local function hold()
      held.begun = held.begun + 1
      local ok, err = pcall(tide.sleep, 0)
      while ok and not held.is_open do ok, err = pcall(tide.sleep, 0.002) end
      local ending = ok and "finished" or "cancelled"
      held[ending] = held[ending] + 1
      if not ok then error(err, 0) end
      return "held\n"
    end
    app:get("/hold", hold)
    app:post("/hold", hold)
    app:get("/hold-to-the-end", hold, { on_disconnect = "finish" })
    app:post("/hold-and-cancel", hold, { on_disconnect = "cancel" })

    server, address = support.serve(app,
      { max_body_bytes = 1000, max_header_bytes = 4000 })
  end)

  teardown(function() server:close() end)

  before_each(function()
    held.begun, held.cancelled, held.finished, held.is_open = 0, 0, 0, false
  end)

  local function get(target, headers)
    return support.request(address, "GET", target, nil, headers)
  end

  describe("replies", function()
    it("a string is text", function()
      local status, headers, body = get "/text"
      assert.are.equal(200, status)
      assert.are.equal("plain\n", body)
      assert.matches("^text/plain", headers["content-type"])
      assert.are.equal("6", headers["content-length"])
    end)

    it("a table has status, headers and body", function()
      local status, headers, body = get "/table"
      assert.are.same({ 201, "table", "made\n" }, { status, headers["x-kind"], body })
    end)

    it("json, html and json_raw have their type", function()
      local _, headers, body = get "/json"
      assert.matches("^application/json", headers["content-type"])
      assert.are.same({ a = 1, list = { 1, 2 } }, tide.decode(body))
      _, headers, body = get "/html"
      assert.matches("^text/html", headers["content-type"])
      assert.are.equal("<p>hi</p>", body)
      _, headers, body = get "/raw"
      assert.matches("^application/json", headers["content-type"])
      assert.are.equal('{"raw":true}', body)
    end)

    it("rows go out as an array of objects", function()
      local _, _, body = get "/rows"
      assert.are.equal('[{"n":1},{"n":2}]', body)
    end)

    it("nothing, or what is no reply, is 500", function()
      assert.are.equal(500, (get "/nothing"))
      assert.are.equal(500, (get "/number"))
      assert.are.equal(500, (get "/bad-status"))
    end)

    it("a row that was changed so that it is no JSON does no harm", function()
      local status = get "/bad-rows"
      assert.are.equal(500, status)
      assert.are.equal(200, (get "/text"))
    end)

    it("rows that were changed are sent as they are now", function()
      local status, _, body = get "/raw-rows"
      assert.are.equal(200, status)
      assert.are.equal('[{"n":2}]', body)
    end)

    it("headers that would break the reply are left out", function()
      local reply = support.raw(address,
        "GET /bad-header HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
      assert.not_matches("injected", reply)
      assert.matches("^HTTP/1.1 [25]00", reply)
    end)
  end)

  describe("routes", function()
    it("give parameters, decoded", function()
      local _, _, body = get "/hello/Ada%20L/36"
      assert.are.equal("Ada L is 36", body)
    end)

    it("a fixed path goes before a parameter", function()
      local _, _, body = get "/hello/fixed/1"
      assert.are.equal("the fixed one", body)
    end)

    it("a rest takes all that follows", function()
      local _, _, body = get "/files/a/b%2Fc/d.txt"
      assert.matches("^a/b.+/d%.txt$", body)
    end)

    it("give the query, decoded; what is absent is nil", function()
      local _, _, body = get "/query?q=a%26b+c&empty="
      assert.are.same({ q = "a&b c", empty = "" }, tide.decode(body))
    end)

    it("give headers by lower-case name and the remote address", function()
      local _, _, body = get("/headers", { ["X-TEST"] = "yes" })
      assert.are.equal("yes", body)
      _, _, body = get "/remote"
      assert.matches("^127%.0%.0%.1:%d+$", body)
    end)

    it("404 when there is none", function()
      assert.are.equal(404, (get "/no/such/route"))
      assert.are.equal(404, (get "/hello/only-one"))
      assert.are.equal(404, (get "/textual"))
    end)

    it("405 with Allow for another method", function()
      local status, headers = support.request(address, "DELETE", "/echo", nil)
      assert.are.equal(405, status)
      assert.matches("POST", headers.allow)
      assert.matches("PUT", headers.allow)
    end)

    it("HEAD is GET without the body", function()
      local reply = support.raw(address,
        "HEAD /text HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
      assert.matches("^HTTP/1.1 200", reply)
      assert.matches("[Cc]ontent%-[Ll]ength: 6\r\n", reply)
      assert.matches("\r\n\r\n$", reply)
    end)

    it("methods of one path are apart", function()
      local _, _, body = support.request(address, "PUT", "/echo", "x")
      assert.are.equal("put x", body)
    end)

    it("a route that is given twice raises, as does one that is no path", function()
      local other = tide.app()
      other:get("/a", function() end)
      assert.has_error(function() other:get("/a", function() end) end)
      assert.has_error(function() other:get("a", function() end) end)
      assert.has_error(function() other:get "/b" end)
      assert.has_error(function() other:get("/c", function()
        end, { on_disconect = "x" })
      end)
    end)
  end)

  describe("bodies", function()
    it("come whole, at any size up to the limit", function()
      for _, size in ipairs { 0, 1, 999, 1000 } do
        local status, _, body = support.request(address, "POST", "/echo", ("x"):rep(size))
        assert.are.same({ 200, size }, { status, #body })
      end
    end)

    it("413 over the limit, said by length or by chunks", function()
      assert.are.equal(413, (support.request(address, "POST", "/echo", ("x"):rep(1001))))
      local chunk = "100\r\n" .. ("x"):rep(256) .. "\r\n"
      local reply = support.raw(address, "POST /echo HTTP/1.1\r\nHost: t\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n" .. chunk:rep(5) .. "0\r\n\r\n")
      assert.are.equal(413, (support.parse_reply(reply)))
    end)

    it("in chunks are put together", function()
      local reply = support.raw(address, "POST /echo HTTP/1.1\r\nHost: t\r\n"
        .. "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        .. "3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
      local status, _, body = support.parse_reply(reply)
      assert.are.same({ 200, "abc0123456789" }, { status, body })
    end)

    it("as JSON are decoded; wrong JSON is 400 where it is asserted", function()
      local status, _, body = support.request(address, "POST", "/sum", '{"a":1,"b":2}')
      assert.are.same({ 200, '{"sum":3}' }, { status, body })
      for _, wrong in ipairs { "", "{", '{"a":1,}', "nonsense" } do
        assert.are.equal(400, (support.request(address, "POST", "/sum", wrong)), wrong)
      end
      status, _, body = support.request(address, "POST", "/lenient", "{")
      assert.are.equal(200, status)
      assert.matches("^no json: ", body)
    end)
  end)

  describe("failures", function()
    it("an error of the handler is 500 with an id, without its words", function()
      local status, _, body = get "/raises"
      assert.are.equal(500, status)
      assert.not_matches("a mistake of ours", body)
      assert.not_matches("%.lua", body)
      assert.matches("%w+", body)
      local _, _, second = get "/raises"
      assert.are_not.equal(body, second)
    end)

    it("tide.fail maps the code of an err", function()
      local expected = {
        busy = 503, closed = 503, refused = 503, lost = 503, timeout = 504, server = 500,
        internal = 500,
      }
      for code, status in pairs(expected) do
        assert.are.equal(status, (get("/fail/" .. code)), code)
      end
      assert.are.equal(422, (get "/fail-status"))
    end)

    it("tide.fail does not show the database's words to the world", function()
      local status, _, body = get "/sql-error"
      assert.are.equal(500, status)
      assert.not_matches("division", body)
    end)

    it("an err of the world that is asserted is answered as tide.fail would", function()
      local status, _, body = get "/assert-error"
      assert.are.equal(500, status)
      assert.not_matches("division", body)
    end)

    it("what is no HTTP is 400 and closed", function()
      for _, wrong in ipairs {
        "nonsense\r\n\r\n", "GET\r\n\r\n", "GET /text HTTP/9.9\r\n\r\n",
        "GET /text HTTP/1.1\r\nbad header\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
          .. "Content-Length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
          .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      } do
        local reply = support.raw(address, wrong)
        assert.matches("^HTTP/1.1 [45]%d%d", reply, nil, nil, wrong)
      end
      assert.are.equal(200, (get "/text"))
    end)

    it("what is refused ends its connection, nothing after it is run, and why counts",
      function()
        local smuggled = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
        local post = "POST /echo HTTP/1.1\r\nHost: t\r\n"
        for reason, wrong in pairs {
          framing = post
            .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          encoding = post .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
          header = post .. "Content-Length : 5\r\n\r\nabcde",
          chunk = post .. "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n",
          host = "GET http://other/text HTTP/1.1\r\nHost: t\r\n\r\n",
          target = "GET /text#a HTTP/1.1\r\nHost: t\r\n\r\n",
          line = "GET /text\r\n\r\n",
          version = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
          method = "get /text HTTP/1.1\r\nHost: t\r\n\r\n",
          expectation = post .. "Expect: tea\r\nContent-Length: 5\r\n\r\nabcde",
          head_size = "GET /text HTTP/1.1\r\nHost: t\r\nX: "
            .. ("x"):rep(5000) .. "\r\n\r\n",
        } do
          local before = server:stats()
          local reply = support.raw(address,
            "GET /text HTTP/1.1\r\nHost: t\r\n\r\n" .. wrong .. smuggled)
          local status, _, body, rest = support.parse_reply(reply)
          assert.are.same({ 200, "plain\n" }, { status, body })
          local refused, headers, _, more = support.parse_reply(rest)
          assert.matches("^[45]%d%d$", tostring(refused))
          assert.are.same({ "close", "" }, { headers.connection, more }, reason)
          local after = server:stats()
          assert.are.equal(before.refusals[reason] + 1, after.refusals[reason], reason)
          assert.are.equal(before.requests + 1, after.requests, reason)
        end
        assert.are.equal(0, held.smuggled)
      end)

    it("431 for headers over the limit", function()
      local status = get("/text", { ["X-Long"] = ("x"):rep(5000) })
      assert.are.equal(431, status)
    end)
  end)

  describe("connections", function()
    it("are kept for the next request, pipelined ones are answered in order", function()
      local bytes = {}
      for i = 1, 20 do
        bytes[i] = ("GET /hello/n/%d HTTP/1.1\r\nHost: t\r\n%s\r\n")
          :format(i, i == 20 and "Connection: close\r\n" or "")
      end
      local rest = support.raw(address, table.concat(bytes))
      for i = 1, 20 do
        local status, _, body
        status, _, body, rest = support.parse_reply(rest)
        assert.are.same({ 200, "n is " .. i }, { status, body })
      end
      assert.are.equal("", rest)
    end)

    it("of HTTP/1.0 are closed after the reply", function()
      local reply = support.raw(address, "GET /text HTTP/1.0\r\n\r\n")
      assert.are.equal("plain\n", select(3, support.parse_reply(reply)))
    end)
  end)

  describe("a client that goes away", function()
    local function leave(method, target)
      local client = support.start_raw(address,
        method .. " " .. target .. " HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
      eventually("the handler has begun", function() return held.begun == 1 end)
      client:signal "KILL"
      client:wait()
    end

    it("cancels GET", function()
      leave("GET", "/hold")
      eventually("it was cancelled", function() return held.cancelled == 1 end)
    end)

    it("lets POST finish", function()
      local before = server:stats().gone
      leave("POST", "/hold")
      eventually("the server has seen it", function()
        return server:stats().gone > before
      end)
      held.is_open = true
      eventually("it has finished", function() return held.finished == 1 end)
      assert.are.equal(0, held.cancelled)
    end)

    it("does as the route says: a GET that finishes", function()
      local before = server:stats().gone
      leave("GET", "/hold-to-the-end")
      eventually("the server has seen it", function()
        return server:stats().gone > before
      end)
      held.is_open = true
      eventually("it has finished", function() return held.finished == 1 end)
    end)

    it("does as the route says: a POST that is cancelled", function()
      leave("POST", "/hold-and-cancel")
      eventually("it was cancelled", function() return held.cancelled == 1 end)
    end)

    it("leaves nothing in flight", function()
      eventually("all requests have ended", function()
        return server:stats().in_flight == 0
      end)
    end)
  end)

  describe("drain", function()
    it("answers what runs, refuses what comes, and tells when all is done", function()
      local other, other_address = support.serve(app)
      local client = support.start_raw(other_address,
        "GET /hold HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
      eventually("the handler has begun", function() return held.begun == 1 end)
      local drain = tide.spawn(function() return other:drain(10) end)
      tide.sleep(0)
      assert.is_false(drain:done())
      assert.are.equal("", support.raw(other_address, "GET /text HTTP/1.1\r\n\r\n")
        :match "^HTTP.*" or "")
      held.is_open = true
      local _, output = client:wait()
      assert.are.equal("held\n", select(3, support.parse_reply(output)))
      assert.are.same({ true, true }, { drain:wait() })
      other:close()
    end)
  end)
end)
