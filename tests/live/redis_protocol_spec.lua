-- Redis: what a connection says of itself, and RESP3 where hiredis speaks it.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"

local eventually, must = support.eventually, support.must

local function url_with(parameters)
  return support.servers.redis.url .. "?" .. parameters
end

local function names(pool)
  local list = {}
  for name in must(pool:call("CLIENT", "LIST")):gmatch " name=(%S*)" do
    list[name] = (list[name] or 0) + 1
  end
  return list
end

describe("A Redis connection", function()
  it("names itself, the lanes and the leases alike", function()
    local pool = support.redis { max_connections = 3 }
    must(pool:with(function(conn)
      assert.are.equal("tidepool", conn:call("CLIENT", "GETNAME"))
      return true
    end))
    assert.are.equal("tidepool", pool:call("CLIENT", "GETNAME"))
  end)

  it("has the name that the url gives it", function()
    local pool = support.redis({ max_connections = 2 },
      { url = url_with "client_name=orders%20api" })
    must(pool:ping())
    assert.are.equal(1, names(pool)["orders_api"])
  end)

  it("of a user who may not name itself is used all the same", function()
    local own = must(servers.redis { directory = support.directory .. "/protocol-acl" })
    finally(function() own:stop() end)
    must(own:cli("ACL", "SETUSER", "u", "on", ">pw", "~*", "+@all", "-client|setname"))
    local pool = support.redis({ max_connections = 2 },
      { url = own.url:gsub("^unix://", "unix://u:pw@") })
    must(pool:set("k", "v"))
    assert.are.equal("u", pool:call("ACL", "WHOAMI"))
    pool:close(1)
  end)
end)

local URL = url_with "protocol=3"
local probe, refusal = core.redis_open { name = "probe", url = URL }

if not probe then
  describe("RESP3", function()
    it("is refused with a sentence where hiredis does not speak it", function()
      assert.are.equal("badarg", refusal.code)
      assert.matches("protocol=3 needs hiredis 1.0 or later", refusal.message)
    end)
  end)
  return
end

describe("RESP3", function()
  local own, cache

  setup(function()
    probe:close(0)
    own = must(servers.redis {
      directory = support.directory .. "/protocol-3", password = "s3cret",
      settings = { ["enable-debug-command"] = "yes" },
    })
    cache = support.redis({ max_connections = 4 }, { url = own.url .. "?protocol=3" })
  end)

  teardown(function()
    cache:close(1)
    own:stop()
  end)

  before_each(function() must(cache:call "FLUSHALL") end)

  it("gives maps by key, sets as lists, doubles and booleans as they are", function()
    must(cache:hset("h", "a", 1, "b", 2))
    must(cache:sadd("s", "x"))
    must(cache:zadd("z", 1.5, "m"))
    assert.are.same({ a = "1", b = "2" }, cache:hgetall "h")
    assert.are.same({ "x" }, cache:smembers "s")
    assert.are.equal(1.5, cache:zscore("z", "m"))
    assert.are.same({ { "m", 1.5 } }, cache:zrange("z", 0, -1, "WITHSCORES"))
    assert.is_true(cache:call("DEBUG", "PROTOCOL", "TRUE"))
    assert.are.equal("1234567999999999999999999999999999999",
      cache:call("DEBUG", "PROTOCOL", "BIGNUM"))
    assert.are.equal("This is a verbatim\nstring",
      cache:call("DEBUG", "PROTOCOL", "VERBATIM"))
    assert.is_nil((cache:get "nothing"))
  end)

  it("runs pipelines, multi, scripts, iterators, subscriptions and consumers", function()
    assert.are.same({ "OK", { a = "1" } }, cache:multi(function(m)
      m:hmset("h", "a", 1)
      m:hgetall "h"
    end))
    assert.are.equal(1, cache:script("return 1")({}))
    for field, value in cache:hscan "h" do assert.are.equal("a1", field .. value) end
    for member, score in cache:zscan "z" do assert.is_nil(member .. score) end

    local seen = {}
    local sub = must(cache:psubscribe("c*", function(m) seen[#seen + 1] = m end))
    must(cache:publish("c", "x"))
    eventually("it came", function() return #seen == 1 end)
    assert.are.same({ channel = "c", pattern = "c*", payload = "x" }, seen[1])
    must(cache:call("CLIENT", "KILL", "TYPE", "pubsub"))
    eventually("the gap was told", function() return #seen == 2 and seen[2].gap end)
    sub:close()

    must(cache:xadd("jobs", "*", "n", 1))
    local entries = {}
    local consumer = must(cache:consume({ stream = "jobs", group = "g" },
      function(entry) entries[#entries + 1] = entry.fields.n end))
    eventually("it was done", function() return consumer:stats().handled == 1 end)
    assert.are.same({ "1" }, entries)
    consumer:close()
    consumer:wait()
  end)

  it("gives what Redis refuses as nil, err", function()
    must(cache:lpush("list", 1))
    local value, err = cache:incr "list"
    assert.is_nil(value)
    assert.are.equal("server", err.code)
  end)
end)
