-- Redis: scripts by their hash, and iterators.

local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local must = support.must

local function raised(fn)
  local ok, err = pcall(fn)
  assert.is_false(ok)
  return err
end

describe("A Redis script", function()
  local cache

  setup(function() cache = support.redis { max_connections = 3 } end)

  before_each(function()
    must(cache:call "FLUSHALL")
    must(cache:call("SCRIPT", "FLUSH"))
    must(cache:call("CONFIG", "RESETSTAT"))
  end)

  local function calls(command)
    local text = must(cache:call("INFO", "commandstats"))
    return tonumber(text:match("cmdstat_" .. command .. ":calls=(%d+)") or 0)
  end

  it("gets keys and arguments and gives its reply", function()
    local add = cache:script [[
      redis.call("INCRBY", KEYS[1], ARGV[1])
      return { KEYS[1], redis.call("GET", KEYS[1]), #ARGV, false } ]]
    assert.are.same({ "n", "2", 2, tide.null }, add({ "n" }, 2, "x"))
    assert.are.same({ "n", "4", 2, tide.null }, add({ "n" }, 2, "x"))
    assert.is_nil((cache:script("return false")({})))
  end)

  it("goes by its source once, then by its hash", function()
    local one = cache:script "return 1"
    for _ = 1, 5 do assert.are.equal(1, one {}) end
    assert.are.equal(1, calls "eval")
    assert.are.equal(4, calls "evalsha")
  end)

  it("that the server forgot goes by its source once for each time", function()
    local one = cache:script "return 1"
    must(one {})
    must(cache:call("SCRIPT", "FLUSH"))
    for _ = 1, 3 do assert.are.equal(1, one {}) end
    assert.are.equal(2, calls "eval")
    assert.are.equal(3, calls "evalsha")
  end)

  it("runs for many callers at once, whoever finds it unknown", function()
    local add = cache:script "return redis.call('INCR', KEYS[1])"
    local jobs = {}
    for i = 1, 50 do jobs[i] = function() return add { "n" } end end
    must(tide.all(jobs))
    must(cache:call("SCRIPT", "FLUSH"))
    must(tide.all(jobs))
    assert.are.equal("100", cache:get "n")
  end)

  it("runs on a server that was started again", function()
    local own = must(servers.redis { directory = support.directory .. "/script-r" })
    finally(function() own:stop() end)
    local pool = support.redis({ max_connections = 2 }, { url = own.url })
    local one = pool:script "return 1"
    must(one {})
    own:kill()
    must(own:restart())
    support.eventually("it runs", function() return one {} == 1 end)
    pool:close(1)
  end)

  it("that fails gives nil, err, and is not run again", function()
    local bad = cache:script "redis.call('INCR', 'n') return redis.error_reply('MINE no')"
    for n = 1, 2 do
      local reply, err = bad {}
      assert.is_nil(reply)
      assert.are.equal("server", err.code)
      assert.matches("^MINE no", err.message)
      assert.are.equal(tostring(n), cache:get "n")
    end
    local reply, err = cache:script("this is not Lua")({})
    assert.is_nil(reply)
    assert.matches("compiling", err.message)
  end)

  it("runs in pipelines, in multi and on a lease", function()
    local add = cache:script "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    assert.are.same({ 1, "1", 3 }, cache:pipeline(function(p)
      add:on(p, { "n" }, 1)
      p:get "n"
      add:on(p, { "n" }, 2)
    end))
    must(cache:call("SCRIPT", "FLUSH"))
    assert.are.same({ 4, 5 }, cache:multi(function(m)
      add:on(m, { "n" }, 1)
      add:on(m, { "n" }, 1)
    end))
    assert.are.equal(7, cache:with(function(conn)
      must(conn:watch "n")
      return add:on(conn, { "n" }, 2)
    end))
  end)

  it("that only reads cannot write", function()
    local get = cache:script("return redis.call('GET', KEYS[1])", { read_only = true })
    local set = cache:script("return redis.call('SET', KEYS[1], 1)", { read_only = true })
    must(cache:set("k", "v"))
    assert.are.equal("v", get { "k" })
    assert.are.equal("v", get { "k" })
    assert.are.equal(1, calls "evalsha_ro")
    local reply, err = set { "k" }
    assert.is_nil(reply)
    assert.matches("read%-only", err.message)
  end)

  it("that only reads runs on a server that has no such commands", function()
    local own = must(servers.redis {
      directory = support.directory .. "/script-old",
      settings = { ["rename-command EVAL_RO"] = "", ["rename-command EVALSHA_RO"] = "" },
    })
    finally(function() own:stop() end)
    local pool = support.redis({ max_connections = 2 }, { url = own.url })
    local one = pool:script("return 1", { read_only = true })
    assert.are.equal(1, one {})
    assert.are.equal(1, one {})
    pool:close(1)
  end)

  it("runs for a user who may not load scripts", function()
    local own = must(servers.redis { directory = support.directory .. "/script-acl" })
    finally(function() own:stop() end)
    must(own:cli("ACL", "SETUSER", "u", "on", ">pw", "~*", "&*", "+@all", "-script"))
    local pool = support.redis({ max_connections = 2 },
      { url = own.url:gsub("^unix://", "unix://u:pw@") })
    local one = pool:script "return 1"
    for _ = 1, 2 do assert.are.equal(1, one {}) end
    pool:close(1)
  end)

  it("raises for wrong arguments at the caller's line", function()
    local one = cache:script "return 1"
    local here = "redis_script_spec.lua:%d+: "
    assert.matches(here .. "list of keys expected, got string",
      raised(function() local r = one "k" return r end))
    assert.matches(here .. "key 1 of a script: a string or a number expected, got table",
      raised(function() local r = one { {} } return r end))
    assert.matches(here .. "argument 2 of a script: .* got nil",
      raised(function() local r = one({}, 1, nil) return r end))
    assert.matches(here .. "argument 1 of a script: .* got boolean",
      raised(function() local r = one:on(cache, {}, true) return r end))
    assert.matches(here .. "a script's source expected, got \"FLUSH\"",
      raised(function() local r = cache:script "FLUSH" return r end))
    assert.matches(here .. "unknown option: readonly",
      raised(function()
        local r = cache:script("return 1", { readonly = true })
        return r
      end))
  end)
end)

describe("A Redis iterator", function()
  local cache

  setup(function() cache = support.redis { max_connections = 3 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  local function fill(prefix, n)
    must(cache:pipeline(function(p)
      for i = 1, n do p:set(prefix .. i, i) end
    end))
  end

  local function size(set)
    local n = 0
    for _ in pairs(set) do n = n + 1 end
    return n
  end

  it("gives every key", function()
    fill("key", 1000)
    local seen = {}
    for key in cache:scan() do seen[key] = true end
    assert.are.equal(1000, size(seen))
  end)

  it("matches, counts and looks at the type", function()
    fill("a", 50)
    fill("b", 50)
    must(cache:rpush("alist", 1))
    local seen = {}
    for key in cache:scan { match = "a*", count = 7, type = "string" } do
      assert.matches("^a%d+$", key)
      seen[key] = true
    end
    assert.are.equal(50, size(seen))
  end)

  it("gives nothing where there is nothing", function()
    for _ in cache:scan() do error "none was expected" end
    for _ in cache:hscan "nothing" do error "none was expected" end
  end)

  it("gives the fields of a hash, the members of sets, and scores", function()
    for i = 1, 600 do
      must(cache:pipeline(function(p)
        p:hset("hash", "f" .. i, "v" .. i)
        p:sadd("set", "m" .. i)
        p:zadd("zset", i / 2, "m" .. i)
      end))
    end
    local fields, members, scores = {}, {}, {}
    for field, value in cache:hscan("hash", { count = 50 }) do fields[field] = value end
    for member in cache:sscan "set" do members[member] = true end
    for member, score in cache:zscan("zset", { match = "m*" }) do
      scores[member] = score
    end
    assert.are.equal("v600", fields.f600)
    assert.are.equal(600, size(fields))
    assert.are.equal(600, size(members))
    assert.are.equal(0.5, scores.m1)
    assert.are.equal(600, size(scores))
  end)

  it("runs on a lease, and waits for others between its pages", function()
    fill("key", 100)
    local n = 0
    must(cache:with(function(conn)
      for key in conn:scan { count = 10 } do
        must(cache:get(key))
        n = n + 1
      end
      return true
    end))
    assert.are.equal(100, n)
  end)

  it("is the command when it gets a cursor", function()
    fill("key", 3)
    local reply = must(cache:scan(0, "COUNT", 100))
    assert.are.equal("0", reply[1])
    assert.are.equal(3, #reply[2])
    must(cache:hset("hash", "f", "v"))
    assert.are.same({ "0", { "f", "v" } }, cache:hscan("hash", 0))
  end)

  it("raises what Redis refuses, as an err", function()
    must(cache:set("text", "x"))
    local err = raised(function() cache:hscan("text")() end)
    assert.are.equal("server", err.code)
    assert.matches("WRONGTYPE", err.message)
  end)

  it("raises for wrong options at the caller's line", function()
    assert.matches("redis_script_spec.lua:%d+: unknown option: limit",
      raised(function() local r = cache:scan { limit = 5 } return r end))
    assert.matches("redis_script_spec.lua:%d+: count: a whole number",
      raised(function() local r = cache:sscan("k", { count = 0 }) return r end))
    assert.matches("redis_script_spec.lua:%d+: unknown option: type",
      raised(function() local r = cache:hscan("k", { type = "x" }) return r end))
  end)
end)
