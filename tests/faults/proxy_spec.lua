-- The proxy itself: what it does to bytes, and to whom.

local core = require "tidepool.core"
local proxy = require "proxy"
local support = require "support"
local tide = require "tidepool"

local BODY = ("0123456789"):rep(20)
local REQUEST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

describe("The proxy", function()
  local server, between

  setup(function()
    local app = tide.app()
    app:get("/", function() return BODY end)
    local listener, address = support.serve(app)
    server = listener
    between = proxy.start(address:match "%d+$")
  end)

  teardown(function()
    between:stop()
    server:close()
  end)

  before_each(function() between:say "clear" end)

  -- What comes of the reply, without what bash says of a connection that breaks.
  local function fetch()
    local reply = support.raw("127.0.0.1:" .. between.port, REQUEST)
    return (reply:gsub("cat: [^\n]*\n", ""))
  end

  it("passes bytes both ways, and counts them", function()
    local before = between:status()
    local reply = fetch()
    assert.are.equal(BODY, reply:sub(-#BODY))
    local after = between:status()
    assert.are.equal(before.accepted + 1, after.accepted)
    assert.are.equal(#REQUEST, after.up - before.up)
    assert.are.equal(#reply, after.down - before.down)
    support.eventually("it is closed", function() return between:status().open == 0 end)
  end)

  it("cuts after so many bytes, and only as often as it is told", function()
    between:say "at down 100 cut times 1"
    assert.are.equal(100, #fetch())
    assert.are.equal(BODY, fetch():sub(-#BODY))
  end)

  it("resets before the first byte", function()
    local hits = between:status().hits
    between:say "at up 0 reset"
    assert.are.equal("", fetch())
    assert.are.equal(hits + 1, between:status().hits)
  end)

  it("corrupts one byte, and doubles one", function()
    local clean = fetch()
    local at = #clean - 10
    between:say("at down %d corrupt", at)
    local reply = fetch()
    assert.are.equal(#clean, #reply)
    assert.are.equal(string.char(clean:byte(at + 1) + 128), reply:sub(at + 1, at + 1))
    assert.are.equal(clean:sub(at + 2), reply:sub(at + 2))
    between:say("at down %d duplicate", at)
    reply = fetch()
    assert.are.equal(#clean + 1, #reply)
    assert.are.equal(clean:sub(at + 1, at + 1) .. clean:sub(at + 1), reply:sub(at + 1))
  end)

  it("stalls until it is cleared, and loses nothing", function()
    between:say "at down 50 stall"
    local process = support.start_raw("127.0.0.1:" .. between.port, REQUEST)
    local before = between:status()
    support.eventually("it stalls", function()
      return between:status().hits > before.hits
    end)
    between:say "clear"
    local _, reply = process:wait()
    assert.are.equal(BODY, reply:sub(-#BODY))
  end)

  it("is late, and slow, and gives all the same", function()
    between:say "latency both 20 10"
    between:say "rate down 2000"
    local began = core.now()
    assert.are.equal(BODY, fetch():sub(-#BODY))
    assert.is_true(core.now() - began > 0.12) -- 2 x 20 ms and over 200 bytes
  end)

  it("refuses, and drops what is open", function()
    between:say "at down 50 stall"
    local process = support.start_raw("127.0.0.1:" .. between.port, REQUEST)
    support.eventually("it is open", function() return between:status().open == 1 end)
    between:say "refuse on"
    between:say "drop reset"
    process:wait()
    assert.are.equal(0, between:status().open)
    assert.matches("refused", fetch())
    between:say "clear"
    assert.are.equal(BODY, fetch():sub(-#BODY))
  end)

  it("does not take what is no command", function()
    assert.has_error(function() between:say "at down 5 explode" end)
    assert.has_error(function() between:say "sideways" end)
  end)
end)
