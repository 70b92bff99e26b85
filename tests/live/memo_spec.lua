-- tide.memo: one load by key, kept for a while, here and in Redis.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

local function settle()
  for _ = 1, 3 do tide.sleep(0) end
end

-- A loader that counts its calls, and waits at a gate when there is one.
local function loader()
  local self = { calls = 0 }
  function self.load(key, extra)
    self.calls = self.calls + 1
    local n = self.calls
    if self.gate then self.gate.wait() end
    if self.fail then return self.fail() end
    return ("%s %s %d"):format(key, tostring(extra), n)
  end
  return self
end

local function spawn_gets(memo, key, count)
  local tasks = {}
  for i = 1, count do tasks[i] = tide.spawn(memo.get, memo, key, i) end
  settle()
  return tasks
end

local function fail()
  return nil, core.err("server", "no luck")
end

describe("tide.memo", function()
  it("loads a key once, with the arguments of the first", function()
    local users = loader()
    local memo = tide.memo({ ttl = 60 }, users.load)
    assert.are.equal("7 x 1", memo:get(7, "x"))
    assert.are.equal("7 x 1", memo:get(7, "y"))
    assert.are.equal("8 y 2", memo:get(8, "y"))
    local stats = memo:stats()
    assert.are.same({ 1, 2, 2, 2 }, { stats.hits, stats.misses, stats.loads,
      stats.entries })
    local other = tide.memo { ttl = 60, load = users.load }
    assert.are.equal("7 nil 3", other:get(7))
  end)

  it("loads once for all who ask meanwhile", function()
    local users = loader()
    users.gate = support.gate()
    local memo = tide.memo({}, users.load)
    local tasks = spawn_gets(memo, "a", 10)
    assert.are.equal(9, memo:stats().waiting)
    users.gate.open()
    for i = 1, 10 do assert.are.same({ true, "a 1 1" }, { tasks[i]:wait() }) end
    assert.are.equal(1, users.calls)
    assert.are.equal(0, memo:stats().waiting)
  end)

  it("has no more wait than max_waiting", function()
    local users = loader()
    users.gate = support.gate()
    local memo = tide.memo({ max_waiting = 2 }, users.load)
    local tasks = spawn_gets(memo, "a", 3)
    local value, err = memo:get "a"
    assert.is_nil(value)
    assert.are.equal("busy", err.code)
    assert.are.equal(1, memo:stats().refused)
    users.gate.open()
    for i = 1, 3 do assert.is_true((tasks[i]:wait())) end
  end)

  it("gives a failure to all who wait for it, and keeps none", function()
    local users = loader()
    users.gate, users.fail = support.gate(), fail
    local memo = tide.memo({ negative_ttl = 60 }, users.load)
    local tasks = spawn_gets(memo, "a", 3)
    users.gate.open()
    for i = 1, 3 do
      local ok, value, err = tasks[i]:wait()
      assert.is_true(ok)
      assert.is_nil(value)
      assert.are.equal("no luck", err.message)
    end
    users.fail = function() error(core.err("timeout", "raised"), 0) end
    assert.are.equal("raised", select(2, memo:get "a").message)
    users.fail = nil
    assert.are.equal("a nil 3", memo:get "a")
    assert.are.equal(2, memo:stats().errors)
  end)

  it("passes a mistake of the loader on", function()
    local memo = tide.memo({}, function() error({ mine = true }, 0) end)
    local ok, failure = pcall(memo.get, memo, "a")
    assert.is_false(ok)
    assert.is_true(failure.mine)
    assert.are.equal(0, memo:stats().waiting)
  end)

  it("has another load when the loading task is cancelled", function()
    local users = loader()
    users.gate = support.gate()
    local memo = tide.memo({}, users.load)
    local tasks = spawn_gets(memo, "a", 3)
    tasks[1]:cancel()
    tasks[1]:wait()
    settle()
    users.gate.open()
    assert.are.same({ true, "a 2 2" }, { tasks[2]:wait() })
    assert.are.same({ true, "a 2 2" }, { tasks[3]:wait() })
  end)

  it("tells those who wait that the loading task was ended", function()
    local calls = 0
    local memo = tide.memo({}, function()
      calls = calls + 1
      coroutine.yield() -- to its own task, which then ends
    end)
    local gate = support.gate()
    local first = tide.spawn(function()
      coroutine.wrap(function() memo:get "a" end)()
      gate.wait()
    end)
    settle()
    local task = spawn_gets(memo, "a", 1)[1]
    gate.open()
    first:wait()
    local ok, value, err = task:wait()
    assert.is_true(ok)
    assert.is_nil(value)
    assert.are.equal("budget", err.code)
    assert.are.same({ 1, 1, 0 }, { calls, memo:stats().errors, memo:stats().waiting })
  end)

  it("lets one who waits go away", function()
    local users = loader()
    users.gate = support.gate()
    local memo = tide.memo({}, users.load)
    local tasks = spawn_gets(memo, "a", 3)
    tasks[2]:cancel()
    tasks[2]:wait()
    assert.are.equal(1, memo:stats().waiting)
    users.gate.open()
    assert.are.same({ true, "a 1 1" }, { tasks[3]:wait() })
  end)

  it("keeps no value longer than its ttl, and less by a tenth at most", function()
    local users = loader()
    local memo = tide.memo({ ttl = 0.05 }, users.load)
    memo:get "a"
    local loaded = tide.now()
    eventually("it is loaded anew", function()
      memo:get "a"
      return users.calls == 2
    end)
    assert.is_true(tide.now() - loaded >= 0.044)
  end)

  it("gives an old value while a new one is loaded, by one task", function()
    local users = loader()
    local memo = tide.memo({ ttl = 0.001, stale = 60 }, users.load)
    memo:get "a"
    tide.sleep(0.002)
    users.gate = support.gate()
    for _ = 1, 5 do
      assert.are.equal("a nil 1", memo:get "a")
      settle()
    end
    assert.are.equal(2, users.calls)
    assert.are.equal(5, memo:stats().stale)
    users.gate.open()
    eventually("the new one is there", function() return memo:get "a" == "a nil 2" end)
  end)

  it("keeps nil for negative_ttl only", function()
    local calls = 0
    local function none() calls = calls + 1 end
    local memo = tide.memo({ ttl = 60 }, none)
    assert.is_nil((memo:get "a"))
    assert.is_nil((memo:get "a"))
    assert.are.equal(2, calls)
    memo = tide.memo({ ttl = 0, negative_ttl = 60 }, none)
    assert.is_nil((memo:get "a"))
    assert.is_nil((memo:get "a"))
    assert.are.equal(3, calls)
    assert.are.equal(1, memo:stats().hits)
  end)

  it("gives an old value for stale_if_error when loading fails", function()
    local users = loader()
    local memo = tide.memo({ ttl = 0.001, stale_if_error = 60 }, users.load)
    memo:get "a"
    tide.sleep(0.002)
    users.fail = fail
    assert.are.equal("a nil 1", memo:get "a")
    local stats = memo:stats()
    assert.are.same({ 1, 1 }, { stats.errors, stats.stale })
    assert.is_truthy(stats.last_error:find "no luck")
  end)

  it("keeps max_entries, those asked for last", function()
    local users = loader()
    local memo = tide.memo({ max_entries = 2 }, users.load)
    memo:get "a"
    memo:get "b"
    memo:get "a"
    memo:get "c" -- in the place of b
    memo:get "a"
    assert.are.equal(3, users.calls)
    memo:get "b"
    assert.are.equal(4, users.calls)
    local stats = memo:stats()
    assert.are.same({ 2, 2 }, { stats.entries, stats.evictions })
  end)

  it("forgets a key, and what is being loaded for it", function()
    local users = loader()
    local memo = tide.memo({}, users.load)
    memo:get "a"
    assert.is_true(memo:forget "a")
    assert.are.equal("a nil 2", memo:get "a")
    memo:forget "a"
    users.gate = support.gate()
    local task = spawn_gets(memo, "a", 1)[1]
    memo:forget "a"
    users.gate.open()
    assert.are.same({ true, "a 1 3" }, { task:wait() })
    assert.are.equal("a nil 4", memo:get "a")
  end)

  it("says that a loader asks for what it loads", function()
    local memo
    memo = tide.memo({ name = "loop" }, function(key) return memo:get(key) end)
    assert.is_truthy(raised(function() return memo:get "a" end)
      :find('memo loop "a": its loader asks for itself', 1, true))
    local other
    other = tide.memo({ name = "circle" }, function(key)
      settle()
      return other:get(key == "a" and "b" or "a")
    end)
    local a, b = tide.spawn(other.get, other, "a"), tide.spawn(other.get, other, "b")
    local _, _, err = a:wait()
    local _, _, err_b = b:wait()
    assert.are.equal("busy", (err or err_b).code)
    assert.is_truthy((err or err_b).message:find "dead%-lock")
  end)

  it("raises at the line of a mistake", function()
    local here = "memo_spec.lua:%d+: memo: "
    assert.is_truthy(raised(function() tide.memo({}) end):find(here))
    assert.is_truthy(raised(function() tide.memo({ tll = 1 }, print) end)
      :find(here .. "unknown option: tll"))
    assert.is_truthy(raised(function() tide.memo({ ttl = "1" }, print) end)
      :find(here .. "ttl: seconds, from 0 on, expected, got 1"))
    assert.is_truthy(raised(function() tide.memo({ redis = {} }, print) end)
      :find(here .. "redis: a Redis pool"))
    assert.is_truthy(raised(function() tide.memo({}, print):get() end)
      :find(here .. "key expected"))
  end)
end)

describe("tide.memo with Redis", function()
  local cache

  setup(function() cache = support.redis { max_connections = 4 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  -- Two of them are as two processes.
  local function memo_of(users, opts)
    opts = opts or {}
    opts.redis, opts.name, opts.ttl = cache, "users", opts.ttl or 60
    return tide.memo(opts, users.load)
  end

  it("finds what another process loaded, for its time left", function()
    local users = loader()
    local one, two = memo_of(users), memo_of(users)
    assert.are.equal("a nil 1", one:get "a")
    assert.are.equal("a nil 1", two:get "a")
    assert.are.equal(1, users.calls)
    assert.are.equal(1, two:stats().shared_hits)
    local left = cache:call("PTTL", "tidepool:memo:{users}:value:a")
    assert.is_true(left > 50000 and left <= 60000)
  end)

  it("has what Redis gives in its last millisecond as its old value", function()
    local users = loader()
    local memo = memo_of(users, { stale_if_error = 60 })
    must(cache:set("tidepool:memo:{users}:value:a", [[{"v":"of another"}]]))
    assert.are.equal("of another", memo:get "a")
    must(cache:del "tidepool:memo:{users}:value:a")
    tide.sleep(0.002)
    users.fail = fail
    assert.are.equal("of another", memo:get "a")
  end)

  it("loads once for all processes", function()
    local users = loader()
    users.gate = support.gate()
    local one, two = memo_of(users), memo_of(users)
    local first = tide.spawn(one.get, one, "a")
    eventually("it loads", function() return users.calls == 1 end)
    local second = tide.spawn(two.get, two, "a")
    tide.sleep(0.02)
    assert.are.equal(1, users.calls)
    users.gate.open()
    assert.are.same({ true, "a nil 1" }, { first:wait() })
    assert.are.same({ true, "a nil 1" }, { second:wait() })
    assert.are.equal(1, users.calls)
  end)

  it("gives a value as JSON brings it back, also to who loaded it", function()
    local memo = tide.memo({ redis = cache, name = "json", negative_ttl = 60 },
      function(key) if key == "a" then return { n = 1, list = { "x" } } end end)
    assert.are.same({ n = 1, list = { "x" } }, memo:get "a")
    assert.is_nil((memo:get "b"))
    assert.are.equal("{}", cache:get "tidepool:memo:{json}:value:b")
    local bad = tide.memo({ redis = cache, name = "bad" }, function() return print end)
    assert.is_truthy(raised(bad.get, bad, "a"):find("cannot be shared", 1, true))
  end)

  it("has the next process load when one failed, or was cancelled", function()
    local users = loader()
    local one, two = memo_of(users), memo_of(users)
    users.fail = fail
    assert.is_nil((one:get "a"))
    users.fail = nil
    assert.are.equal("a nil 2", two:get "a")
    users.gate = support.gate()
    local task = tide.spawn(one.get, one, "b")
    eventually("it loads", function() return users.calls == 3 end)
    task:cancel()
    task:wait()
    users.gate = nil
    assert.are.equal("b nil 4", two:get "b")
  end)

  it("forgets for all, and keeps no load from before", function()
    local users = loader()
    local one, two = memo_of(users), memo_of(users)
    users.gate = support.gate()
    local task = tide.spawn(one.get, one, "a")
    eventually("it loads", function() return users.calls == 1 end)
    assert.is_true(two:forget "a")
    users.gate.open()
    assert.are.same({ true, "a nil 1" }, { task:wait() })
    assert.is_nil((cache:get "tidepool:memo:{users}:value:a"))
    assert.are.equal("a nil 2", one:get "a")
  end)

  it("loads for itself when Redis is away", function()
    local users = loader()
    local away = support.redis({ max_connections = 1, connect_timeout = 1 },
      { url = "redis://127.0.0.1:1" })
    local memo = tide.memo({ redis = away, name = "users" }, users.load)
    assert.are.equal("a nil 1", memo:get "a")
    assert.are.equal("a nil 1", memo:get "a")
    assert.are.equal(1, memo:stats().away)
    local done, err = memo:forget "a"
    assert.is_nil(done)
    assert.are.equal("refused", err.code)
  end)
end)
