-- tide.lock: one at a time among processes, with a fence.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

describe("tide.lock", function()
  local cache, db

  setup(function()
    cache, db = support.redis { max_connections = 4 }, support.postgres()
  end)

  before_each(function() must(cache:call "FLUSHALL") end)

  local KEY = "tidepool:lock:{job}"

  -- Takes or ends the lease as another process would.
  local function steal(fence) must(cache:set(KEY, fence, "PX", 60000)) end

  it("gives a fence that grows, what fn gives, and the lock back", function()
    local function pass(fence) return fence, nil, "x" end
    local first, none, text = tide.lock("job", { redis = cache }, pass)
    assert.are.same({ 1, nil, "x" }, { first, none, text })
    assert.is_nil((cache:get(KEY)))
    assert.are.equal(2, (tide.lock("job", { redis = cache }, pass)))
  end)

  it("lets one in at a time", function()
    local running, jobs = 0, {}
    for i = 1, 5 do
      jobs[i] = function()
        return tide.lock("job", { redis = cache }, function(fence)
          running = running + 1
          assert(running == 1)
          tide.sleep(0.002)
          running = running - 1
          return fence
        end)
      end
    end
    assert.are.same({ 1, 2, 3, 4, 5 }, must(tide.all(jobs)))
  end)

  it("waits for another process, no longer than timeout", function()
    steal(77)
    local ran = false
    local done, err = tide.lock("job", { redis = cache, timeout = 0.03 }, function()
      ran = true
    end)
    assert.is_nil(done)
    assert.are.equal("timeout", err.code)
    assert.is_false(ran)
    local task = tide.spawn(tide.lock, "job", { redis = cache }, function()
      return "mine"
    end)
    tide.sleep(0.01)
    cache:del(KEY)
    assert.are.same({ true, "mine" }, { task:wait() })
  end)

  it("is renewed while fn runs", function()
    assert.are.equal("kept", tide.lock("job", { redis = cache, ttl = 0.15 }, function()
      tide.sleep(0.4)
      assert(cache:exists(KEY) == 1)
      return "kept"
    end))
  end)

  it("that is lost cancels fn, and leaves another's alone", function()
    local cancelled
    local done, err = tide.lock("job", { redis = cache, ttl = 0.06 }, function()
      steal(99)
      local _, failure = pcall(tide.sleep, 10)
      cancelled = failure
    end)
    assert.is_nil(done)
    assert.are.equal("lost", err.code)
    assert.is_truthy(err.message:find('lock "job" was lost', 1, true))
    assert.are.equal("cancelled", cancelled.code)
    assert.are.equal("99", cache:get(KEY))
  end)

  it("is lost when Redis goes away for its lease", function()
    local own = must(servers.redis { directory = support.directory .. "/lock-r" })
    finally(function() own:stop() end)
    local pool = support.redis({ max_connections = 2, connect_timeout = 1 },
      { url = own.url })
    local began
    local done, err = tide.lock("job", { redis = pool, ttl = 0.3 }, function()
      own:kill()
      began = tide.now()
      tide.sleep(20)
    end)
    assert.is_nil(done)
    assert.are.equal("lost", err.code)
    assert.is_true(tide.now() - began < 5)
    pool:close(1)
  end)

  it("is given back when its task is cancelled, held or waiting", function()
    local is_held = false
    local task = tide.spawn(tide.lock, "job", { redis = cache }, function()
      is_held = true
      tide.sleep(60)
    end)
    eventually("it is held", function() return is_held end)
    local waiting = tide.spawn(tide.lock, "job", { redis = cache }, function() end)
    tide.sleep(0)
    waiting:cancel()
    waiting:wait()
    task:cancel()
    task:wait()
    assert.are.equal("next", tide.lock("job", { redis = cache, timeout = 5 }, function()
      return "next"
    end))
    task = tide.spawn(tide.lock, "job", { redis = cache }, function() end)
    tide.sleep(0)
    task:cancel() -- while it asks
    task:wait()
    eventually("it is given back", function() return cache:exists(KEY) == 0 end)
  end)

  it("passes errors on, and is given back", function()
    local ok, failure = pcall(tide.lock, "job", { redis = cache }, function()
      error({ mine = true }, 0)
    end)
    assert.is_false(ok)
    assert.is_true(failure.mine)
    local done, err = tide.lock("job", { redis = cache }, function()
      error(core.err("server", "no"), 0)
    end)
    assert.is_nil(done)
    assert.are.equal("server", err.code)
    assert.are.equal(0, cache:exists(KEY))
  end)

  it("fails when Redis is away", function()
    local away = support.redis({ max_connections = 1, connect_timeout = 1 },
      { url = "redis://127.0.0.1:1" })
    local done, err = tide.lock("job", { redis = away }, function() return 1 end)
    assert.is_nil(done)
    assert.are.equal("refused", err.code)
  end)

  it("of Postgres has one at a time, with a fence that grows", function()
    local opts = { postgres = db }
    local first = must(tide.lock("job", opts, function(fence)
      local other, err = db:with(function(conn)
        return conn:try_lock "tidepool:lock:job"
      end)
      assert(other == false, err)
      return fence
    end))
    local second = must(tide.lock("job", opts, function(fence) return fence end))
    assert.is_true(second > first)
  end)

  it("of Postgres waits no longer than timeout", function()
    local release
    local task = tide.spawn(function()
      return db:with(function(conn)
        must(conn:lock "tidepool:lock:job")
        local gate = support.gate()
        release = gate.open
        gate.wait()
      end)
    end)
    eventually("it is held", function() return release end)
    local done, err = tide.lock("job", { postgres = db, timeout = 0.03 }, function() end)
    assert.is_nil(done)
    assert.are.equal("timeout", err.code)
    release()
    task:wait()
    assert.are.equal(1, tide.lock("job", { postgres = db }, function() return 1 end))
  end)

  it("of Postgres is lost with its session", function()
    local done, err = tide.lock("job", { postgres = db }, function()
      must(db:query [[SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND granted]])
      tide.sleep(20)
    end)
    assert.is_nil(done)
    assert.are.equal("lost", err.code)
  end)

  it("is another one in Postgres than in Redis", function()
    local inner = tide.lock("job", { redis = cache, timeout = 5 }, function()
      return tide.lock("job", { postgres = db, timeout = 5 }, function()
        return "both"
      end)
    end)
    assert.are.equal("both", inner)
  end)

  it("raises at the line of a mistake", function()
    local here = "lock_spec.lua:%d+: lock"
    assert.is_truthy(raised(function() tide.lock("", {}, print) end):find(here))
    assert.is_truthy(raised(function() tide.lock("a", {}, print) end)
      :find(here .. ": one of redis and postgres"))
    assert.is_truthy(raised(function()
      tide.lock("a", { redis = cache, tll = 1 }, print)
    end):find(here .. ": unknown option: tll"))
    assert.is_truthy(raised(function()
      tide.lock("a", { redis = cache }, function()
        tide.lock("a", { redis = cache }, print)
      end)
    end):find(here .. ' "a": this task holds it already'))
  end)
end)
