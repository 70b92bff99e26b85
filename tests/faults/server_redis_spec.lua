-- What a Redis can do to those who use it.  Elsewhere: a connection that is killed, one
-- that stalls (tests/live/redis_spec.lua), a master that becomes a replica
-- (tests/live/outdated_spec.lua), kills, CLIENT KILL and SIGSTOP under load, with all
-- that callers were told checked (history_spec.lua).

local core = require "tidepool.core"
local proxy = require "proxy"
local recovery = require "recovery"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local STOP_SECONDS = 10
local slow = support.slowness

local SETTINGS = {
  max_connections = 4, connect_timeout = 1 * slow, acquire_timeout = 3 * slow,
  statement_timeout = 1 * slow, stall_timeout = 0.5 * slow,
}

local function open(url) return support.redis(SETTINGS, { url = url }) end

local function reads(cache)
  return function() return cache:get "k" == "v" end
end

local function there(own)
  local set = {}
  for id in must(own:cli("SMEMBERS", "w")):gmatch "%d+" do set[tonumber(id)] = true end
  return set
end

describe("Redis", function()
  local own, cache

  setup(function()
    own = must(servers.redis {
      directory = support.directory .. "/redis-server",
      settings = { appendonly = "yes", appendfsync = "always" },
    })
  end)

  teardown(function() own:stop() end)

  before_each(function()
    cache = open(own.url)
    must(cache:call("FLUSHALL"))
    must(cache:set("k", "v"))
  end)

  after_each(support.end_file)

  it("that is killed and started again answers soon, and has what it said", function()
    for _ = 1, 3 do
      local told = recovery.writers(20, function(id) return cache:sadd("w", id) end)
      eventually("they write", function() return #told.ok > 200 end)
      own:kill()
      must(own:restart())
      recovery.measure("kill -9, Redis", reads(cache))
      local before = #told.ok
      eventually("they write again", function() return #told.ok > before + 200 end)
      told.load.stop()
      recovery.check_writes(told, there(own), "kill -9, Redis")
      must(own:cli("DEL", "w"))
    end
  end)

  it("that is stopped, and goes on, is waited for no longer than a deadline", function()
    recovery.signal(own, "STOP")
    local began, longest = core.now(), 0
    while core.now() - began < STOP_SECONDS do
      local at = core.now()
      local value, err = cache:get "k"
      longest = math.max(longest, core.now() - at)
      if not value then
        assert.is_true(err.code == "timeout" or err.code == "refused"
          or err.code == "lost", tostring(err))
      end
    end
    recovery.signal(own, "CONT")
    recovery.measure("SIGSTOP, Redis", reads(cache))
    assert.is_true(longest < 5 * slow, "a call took " .. longest)
  end)

  it("that is out of memory refuses writes, answers reads, and takes writes again",
    function()
    must(cache:call("CONFIG", "SET", "maxmemory-policy", "noeviction"))
    must(cache:call("CONFIG", "SET", "maxmemory", "1mb"))
    local done, err = cache:set("big", ("x"):rep(2 ^ 20))
    if done then done, err = cache:set("more", "x") end
    assert.is_nil(done)
    assert.are.equal("server", err.code)
    assert.matches("^OOM", err.message)
    assert.are.equal("v", must(cache:get "k"))
    assert.are.equal(0, cache:stats().counters.outdated)
    must(cache:call("CONFIG", "SET", "maxmemory", "0"))
    assert.are.equal("OK", must(cache:set("big", "x")))
  end)
end)

describe("A Redis that is loading its data", function()
  local KEYS = 4000
  local own

  setup(function()
    own = must(servers.redis {
      directory = support.directory .. "/redis-loading",
      settings = {
        ["key-load-delay"] = 500, ["loading-process-events-interval-bytes"] = 1024,
        ["enable-debug-command"] = "yes",
      },
    })
  end)

  teardown(function()
    support.end_file()
    own:stop()
  end)

  it("is known not to serve, and used as soon as it does", function()
    local cache = open(own.url)
    must(cache:set("k", "v"))
    must(cache:call("DEBUG", "POPULATE", KEYS))
    must(cache:call "SAVE")
    own:kill()
    local restart = tide.spawn(function() return own:start() end)
    local refusals = 0
    eventually("it says that it loads", function()
      local value, err = cache:get "k"
      if not value and err.message:find "LOADING" then refusals = refusals + 1 end
      return refusals > 0
    end, 30 * slow)
    must(select(2, restart:wait()))
    recovery.measure("LOADING, Redis", reads(cache))
    assert.are.equal(KEYS + 1, must(cache:call "DBSIZE"))
  end)
end)

describe("A Redis with a replica", function()
  local master, replica, between

  setup(function()
    master = must(servers.redis {
      directory = support.directory .. "/redis-master", tcp = true,
    })
    replica = must(servers.redis {
      directory = support.directory .. "/redis-replica", tcp = true,
      settings = { replicaof = "127.0.0.1 " .. master.port,
                   ["repl-diskless-sync-delay"] = 0 },
    })
    between = proxy.start(master.port) -- the address that moves
  end)

  teardown(function()
    support.end_file()
    between:stop()
    master:stop()
    replica:stop()
  end)

  local function said_to_replica()
    return must(replica:cli("INFO", "replication")):find "master_link_status:up"
  end

  it("is left for it when it dies, and what both had is there", function()
    local cache = open("redis://127.0.0.1:" .. between.port)
    eventually("the replica hears it", said_to_replica)
    must(cache:set("k", "v"))
    local told = recovery.writers(20, function(id)
      -- A write counts when the replica has it; who is told less knows nothing.
      local ok, done = pcall(cache.with, cache, function(conn)
        must(conn:sadd("w", id))
        return must(conn:call("WAIT", 1, 1000)) == 1
      end)
      if ok and done then return true end
      return nil, { code = core.is_err(done) and done.code or "late",
                    outcome = "unknown" }
    end)
    eventually("they write", function() return #told.ok > 50 end)
    told.load.stopped = true -- or they would wait for a replica of the replica
    master:kill()
    must(replica:cli("REPLICAOF", "NO", "ONE"))
    between:say("target %d", replica.port)
    recovery.measure("promotion, Redis", function() return cache:set("k", "v") end)
    told.load.stop()
    recovery.check_writes(told, there(replica), "promotion, Redis")
  end)
end)
