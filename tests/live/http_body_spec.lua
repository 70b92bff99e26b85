-- Bodies that a route takes as a stream: read piece by piece while they come.

local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local MIB = 1024 * 1024

-- Sends a text, another one when the file `go` is there, and reads all.
local TWO_STEPS = [[exec 3<>/dev/tcp/${0%:*}/${0##*:} && printf "$1" >&3 &&
  while [ ! -e "$2" ]; do sleep 0.02; done && printf "$3" >&3 && exec cat <&3]]

-- Sends a head and then so many zero bytes, as fast as it can.
local MUCH = [[exec 3<>/dev/tcp/${0%:*}/${0##*:} && printf "$1" >&3 &&
  { head -c "$2" /dev/zero >&3; cat <&3; }]]

local function post(path, ...)
  return ("POST %s HTTP/1.1\r\nHost: t\r\n%s\r\n\r\n"):format(path,
    table.concat({ ... }, "\r\n"))
end

local CLOSE, CHUNKED = "Connection: close", "Transfer-Encoding: chunked"

local function chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

local function quoted(text) return (text:gsub("\r\n", "\\r\\n")) end

-- Peak of the memory of this process, in bytes; begins anew.
local function peak_bytes()
  local status = assert(io.open "/proc/self/status")
  local kib = status:read("*a"):match "VmHWM:%s*(%d+) kB"
  status:close()
  local reset = assert(io.open("/proc/self/clear_refs", "w"))
  reset:write "5"
  reset:close()
  return tonumber(kib) * 1024
end

describe("A body that is read as a stream", function()
  local server, address, app, seen

  setup(function()
    app = tide.app()
    app:post("/pieces", { body = "stream" }, function(req)
      for piece in req:chunks() do seen.pieces[#seen.pieces + 1] = piece end
      return table.concat(seen.pieces, "|")
    end)
    app:post("/small-pieces", { body = "stream" }, function(req)
      repeat
        local piece = req:read(3) or ""
        seen.pieces[#seen.pieces + 1] = piece
      until piece == "" or #seen.pieces == 3
      return table.concat(seen.pieces, "|")
    end)
    app:post("/much", { body = "stream", max_body_bytes = 128 * MIB }, function(req)
      seen.begun = true
      seen.gate.wait()
      for piece in req:chunks() do
        seen.bytes = seen.bytes + #piece
        seen.most = math.max(seen.most, #piece)
        if seen.bytes % MIB < #piece then collectgarbage() end
      end
      return "got " .. seen.bytes
    end)
    app:post("/err", { body = "stream", max_body_bytes = 6 }, function(req)
      seen.begun = true
      repeat seen.piece, seen.err = req:read() until not seen.piece
      seen.over = true
      return seen.err and tide.fail(seen.err) or "whole"
    end)
    app:post("/unread", { body = "stream", max_body_bytes = 9 * MIB }, function(req)
      seen.req = req
      return { status = 415, body = "not that\n" }
    end)
    app:post("/misused", { body = "stream" }, function(req)
      for i, fn in ipairs {
        function() return #req.body end, function() return (req:json()) end,
        function() return (req:read(0)) end, function() return (req:chunks "x") end,
      } do
        local _, message = pcall(fn)
        seen.pieces[i] = message
      end
      return "ok"
    end)
    app:post("/whole", function(req)
      local parts = { req:read(2), req:read(), tostring(req:read()), req.body }
      return table.concat(parts, " ")
    end)
    app:post("/two", { body = "stream" }, function(req)
      local other = tide.spawn(req.read, req)
      while not seen.err do
        tide.sleep(0)
        local _, message = pcall(req.read, req)
        seen.err = tostring(message)
      end
      other:cancel()
      other:wait()
      return "rest: " .. table.concat({ must(req:read()) })
    end)
    app:get("/plain", function() return "plain" end)
    server, address = support.serve(app)
  end)

  teardown(function() server:close() end)

  before_each(function()
    seen = { pieces = {}, bytes = 0, most = 0, gate = support.gate() }
  end)

  local function ask(bytes) return support.parse_reply(support.raw(address, bytes)) end

  -- Sends the two parts, the second after fn().
  local function in_two_steps(first, second, fn)
    local go = support.file("go", "")
    os.remove(go)
    local client = support.start { "bash", "-c", TWO_STEPS, address, quoted(first), go,
      quoted(second) }
    fn()
    assert(io.open(go, "w")):close()
    local _, output = client:wait()
    return output
  end

  it("comes as it arrives, in both framings", function()
    for _, case in ipairs {
      { "Content-Length: 6", "abc", "def" },
      { CHUNKED, chunk "abc", chunk "def" .. "0\r\n\r\n" },
    } do
      seen.pieces = {}
      local output = in_two_steps(post("/pieces", case[1], CLOSE) .. case[2], case[3],
        function()
          eventually("the first piece is read", function() return seen.pieces[1] end)
        end)
      assert.matches("\r\n\r\nabc|def$", output)
    end
  end)

  it("comes in pieces of at most the size asked for, and has an end", function()
    local _, _, body = ask(post("/small-pieces", "Content-Length: 7", CLOSE) .. "abcdefg")
    assert.are.equal("abc|def|g", body)
    seen.pieces = {}
    _, _, body = ask(post("/small-pieces", CHUNKED, CLOSE) .. chunk "abcd" .. chunk "e"
      .. "0\r\nX-Trailer: a\r\n\r\n")
    assert.are.equal("abc|de|", body)
    for _, length in ipairs { "Content-Length: 0", CHUNKED } do
      seen.pieces = {}
      _, _, body = ask(post("/pieces", length, CLOSE) .. "0\r\n\r\n")
      assert.are.equal("", body)
    end
  end)

  it("is followed by the next request", function()
    local bytes = support.raw(address, post("/pieces", CHUNKED) .. chunk "ab"
      .. "0\r\n\r\n" .. "GET /plain HTTP/1.1\r\nHost: t\r\n" .. CLOSE .. "\r\n\r\n")
    local status, _, body, rest = support.parse_reply(bytes)
    assert.are.same({ 200, "ab" }, { status, body })
    assert.matches("\r\n\r\nplain$", rest)
  end)

  it("is held back while nobody reads it, in little memory", function()
    collectgarbage()
    peak_bytes()
    local before = peak_bytes()
    local client = support.start { "bash", "-c", MUCH, address,
      quoted(post("/much", "Content-Length: " .. 96 * MIB, CLOSE)), tostring(96 * MIB) }
    eventually("it is handled", function() return seen.begun end)
    for _ = 1, 50 do tide.sleep(0.001) end -- the client would be done by now
    seen.gate.open()
    local _, output = client:wait()
    assert.matches("\r\n\r\ngot " .. 96 * MIB .. "$", output)
    assert.is_true(seen.most <= 65536)
    local more = peak_bytes() - before
    assert.is_true(more < 24 * MIB, ("it took %d bytes"):format(more))
  end)

  it("may not be larger than the limit of the route", function()
    assert.are.equal(413, (ask(post("/err", "Content-Length: 7", CLOSE))))
    assert.is_nil(seen.begun)
    local status, headers = ask(post("/err", CHUNKED) .. chunk "abcd" .. chunk "efg")
    assert.are.same({ 413, "close" }, { status, headers.connection })
    assert.are.equal("badarg", seen.err.code)
    assert.are.equal("the body is too large", seen.err.message)
    local _, _, body = ask(post("/err", CHUNKED, CLOSE) .. chunk "abcd" .. chunk "ef"
      .. "0\r\n\r\n")
    assert.are.equal("whole", body)
  end)

  it("is refused where its chunks are wrong", function()
    local status, headers = ask(post("/err", CHUNKED) .. chunk "abcd" .. "nonsense\r\n")
    assert.are.same({ 400, "close" }, { status, headers.connection })
    assert.are.equal("protocol", seen.err.code)
  end)

  it("tells when the client has gone, also who waits for more", function()
    local client = support.start_raw(address, post("/err", "Content-Length: 6") .. "abc")
    eventually("it waits", function() return seen.piece == "abc" or seen.begun end)
    client:signal "KILL"
    eventually("it is told", function() return seen.over end)
    assert.are.equal("closed", seen.err.code)
    assert.are.equal("the client has gone", seen.err.message)
  end)

  it("tells when the client sends nothing more for body_timeout", function()
    local own, own_address = support.serve(app, { body_timeout = 0.05 })
    local status = support.parse_reply(support.raw(own_address,
      post("/err", "Content-Length: 6") .. "abc"))
    assert.are.equal(408, status)
    assert.are.equal("timeout", seen.err.code)
    assert.are.equal(1, own:stats().body_timeouts)
    own:close()
  end)

  it("is dropped when the reply comes first, and the connection is kept", function()
    local before = server:stats().bodies_dropped
    local next_one = "GET /plain HTTP/1.1\r\nHost: t\r\n" .. CLOSE .. "\r\n\r\n"
    for _, case in ipairs {
      { "Content-Length: 6", "abc", "def" },
      { CHUNKED, chunk "abc", chunk "def" .. "0\r\n\r\n" },
    } do
      seen.req = nil
      local first, second = post("/unread", case[1]) .. case[2], case[3] .. next_one
      local output = in_two_steps(first, second, function()
        eventually("it was answered", function() return seen.req end)
      end)
      local status, headers, _, rest = support.parse_reply(output)
      assert.are.equal(415, status)
      assert.is_nil(headers.connection)
      assert.matches("\r\n\r\nplain$", rest)
    end
    assert.are.equal(before + 2, server:stats().bodies_dropped)
  end)

  it("ends its connection after the reply when too much is left", function()
    local client = support.start({ "bash", "-c", MUCH, address,
      quoted(post("/unread", "Content-Length: " .. 8 * MIB)), tostring(8 * MIB) })
    local _, output = client:wait()
    local status, headers = support.parse_reply(output)
    assert.are.same({ 415, "close" }, { status, headers.connection })
  end)

  it("ends its connection when what is left does not come", function()
    local own, own_address = support.serve(app, { body_timeout = 0.05 })
    local output = support.raw(own_address, post("/unread", "Content-Length: 6") .. "abc")
    assert.are.equal(415, (support.parse_reply(output)))
    own:close()
  end)

  it("is read to its end while the server drains", function()
    local own, own_address = support.serve(app)
    local go = support.file("go", "")
    os.remove(go)
    local client = support.start { "bash", "-c", TWO_STEPS, own_address,
      quoted(post("/pieces", "Content-Length: 6") .. "abc"), go, "def" }
    eventually("the first piece is read", function() return seen.pieces[1] end)
    local drained = tide.spawn(function() return own:drain(10) end)
    tide.sleep(0)
    assert.is_false(drained:done())
    assert(io.open(go, "w")):close()
    local _, output = client:wait()
    assert.matches("\r\n\r\nabc|def$", output)
    drained:wait()
    own:close()
  end)

  it("ends with an err when the server closes", function()
    local own, own_address = support.serve(app)
    local client = support.start_raw(own_address,
      post("/err", "Content-Length: 6") .. "abc")
    eventually("it is handled", function() return seen.begun end)
    own:close()
    eventually("it is told", function() return seen.over end)
    assert.are.equal("closed", seen.err.code)
    client:wait()
  end)

  it("has its way with clients of HTTP/1.0, and with methods that have none", function()
    local bytes = support.raw(address,
      "POST /pieces HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    assert.matches("\r\n\r\nabc$", bytes)
    bytes = support.raw(address, "GET /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
      .. CLOSE .. "\r\n\r\nabc")
    assert.matches("\r\n\r\nplain$", bytes)
  end)

  it("cannot be read after the reply", function()
    ask(post("/unread", "Content-Length: 3", CLOSE) .. "abc")
    local piece, err = seen.req:read()
    assert.is_nil(piece)
    assert.are.equal("closed", err.code)
    assert.matches("^the request was answered", err.message)
  end)

  it("has one reader at a time", function()
    local request = post("/two", "Content-Length: 3", CLOSE)
    local output = in_two_steps(request, "abc", function()
      eventually("the second was refused", function() return seen.err end)
    end)
    assert.matches("another task reads the body of this request", seen.err)
    assert.matches("\r\n\r\nrest: abc$", output)
  end)

  it("is not there as a whole, and pieces have a size", function()
    assert.are.equal(200, (ask(post("/misused", "Content-Length: 2", CLOSE) .. "{}")))
    for i = 1, 2 do
      assert.matches("^tests/live/http_body_spec.lua:%d+: this route takes its body as a "
        .. "stream: read it by req:read%(%) or req:chunks%(%)$", seen.pieces[i])
    end
    local wrong = "spec.lua:%d+: bytes: a count from 1 on expected, got "
    assert.matches(wrong .. "0", seen.pieces[3])
    assert.matches(wrong .. "x", seen.pieces[4])
  end)

  it("can be read of other routes too", function()
    local _, _, body = ask(post("/whole", "Content-Length: 5", CLOSE) .. "abcde")
    assert.are.equal("ab cde nil abcde", body)
  end)
end)

describe("A client that waits for 100", function()
  local server, address, app, seen

  setup(function()
    app = tide.app()
    app:post("/whole", { max_body_bytes = 10 }, function(req) return req.body end)
    app:post("/stream", { body = "stream", max_body_bytes = 10 }, function(req)
      seen.begun = true
      seen.gate.wait()
      return req:read()
    end)
    app:post("/unread", { body = "stream" }, function() return { status = 415 } end)
    server, address = support.serve(app)
  end)

  teardown(function() server:close() end)

  before_each(function() seen = { gate = support.gate() } end)

  local EXPECT = "Expect: 100-continue"
  local CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n"

  it("gets the reply at once where the body is not taken", function()
    for _, case in ipairs {
      { "/nowhere", 5, 404 }, { "/whole", 11, 413 }, { "/stream", 11, 413 },
      { "/unread", 5, 415 },
    } do
      local bytes = support.raw(address,
        post(case[1], "Content-Length: " .. case[2], EXPECT))
      local status, headers = support.parse_reply(bytes)
      assert.are.same({ case[3], "close" }, { status, headers.connection })
    end
    local bytes = support.raw(address,
      (post("/whole", "Content-Length: 5", EXPECT):gsub("^POST", "PUT")))
    assert.are.equal(405, (support.parse_reply(bytes)))
    bytes = support.raw(address, post("/whole", "Content-Length: 5", "Expect: tea"))
    assert.are.equal(417, (support.parse_reply(bytes)))
  end)

  -- Reads up to the empty line, then sends the body.
  local WAITING = [[exec 3<>/dev/tcp/${0%:*}/${0##*:} && printf "$1" >&3 &&
    read -r line <&3 && read -r empty <&3 && printf "%s\n" "$line" &&
    printf "$2" >&3 && exec cat <&3]]

  it("gets it where the body is taken, of a stream at the first read", function()
    for _, path in ipairs { "/whole", "/stream" } do
      local client = support.start { "bash", "-c", WAITING, address,
        quoted(post(path, "Content-Length: 5", EXPECT, CLOSE)), "abcde" }
      if path == "/stream" then
        eventually("it is handled", function() return seen.begun end)
        local before = server:stats().status[1]
        tide.sleep(0.01)
        assert.are.equal(before, server:stats().status[1])
        seen.gate.open()
      end
      local _, output = client:wait()
      assert.matches("^HTTP/1.1 100 Continue\r?\n", output)
      assert.matches("\r\n\r\nabcde$", output)
    end
  end)

  it("gets none when it does not wait", function()
    seen.gate.open()
    local bytes = support.raw(address,
      post("/stream", "Content-Length: 5", EXPECT, CLOSE) .. "abcde")
    assert.is_nil(bytes:find(CONTINUE, 1, true))
    assert.matches("\r\n\r\nabcde$", bytes)
  end)
end)
