-- tide.ratelimit: token buckets, of this process and by Redis.

local support = require "support"
local tide = require "tidepool"

local must = support.must

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

-- How many of count takes are allowed.
local function allowed(limit, key, count)
  local n = 0
  for _ = 1, count do
    if limit:take(key) then n = n + 1 end
  end
  return n
end

describe("tide.ratelimit", function()
  it("allows burst at once, then says when the next is due", function()
    local limit = tide.ratelimit { rate = 0.1, burst = 3 }
    assert.are.equal(3, allowed(limit, "a", 5))
    assert.are.equal(3, allowed(limit, "b", 5))
    local is_allowed, wait = limit:take "a"
    assert.is_false(is_allowed)
    assert.is_true(wait > 9 and wait <= 10)
    assert.are.same({ 6, 5, 2 }, { limit:stats().allowed, limit:stats().refused,
      limit:stats().keys })
  end)

  it("fills at its rate, and is right about when", function()
    local limit = tide.ratelimit { rate = 50, burst = 1 }
    assert.is_true((limit:take "a"))
    local is_allowed, wait = limit:take "a"
    assert.is_false(is_allowed)
    tide.sleep(wait + 0.001)
    assert.is_true((limit:take "a"))
    assert.is_false((limit:take "a"))
  end)

  it("takes several, or none of them", function()
    local limit = tide.ratelimit { rate = 0.1, burst = 5 }
    assert.is_true((limit:take("a", 3)))
    assert.is_false((limit:take("a", 3)))
    assert.is_true((limit:take("a", 2)))
    assert.is_true((limit:take("a", 0)))
  end)

  it("has a second's worth as its burst without one, 1 at least", function()
    assert.are.equal(20, allowed(tide.ratelimit { rate = 20 }, "a", 21))
    assert.are.equal(1, allowed(tide.ratelimit { rate = 0.01 }, "a", 3))
  end)

  it("forgets buckets that are full again", function()
    local limit = tide.ratelimit { rate = 1000, burst = 10 }
    for i = 1, 50 do limit:take(i) end
    assert.is_true(limit:stats().keys > 0)
    support.eventually("they are forgotten", function()
      return limit:stats().keys == 0
    end)
  end)

  it("raises at the line of a mistake", function()
    local here = "ratelimit_spec.lua:%d+: ratelimit: "
    assert.is_truthy(raised(function() tide.ratelimit {} end):find(here .. "rate"))
    assert.is_truthy(raised(function() tide.ratelimit { rate = 0 } end):find(here))
    assert.is_truthy(raised(function() tide.ratelimit { rate = 1, brst = 1 } end)
      :find(here .. "unknown option: brst"))
    assert.is_truthy(raised(function()
      tide.ratelimit { rate = 1, when_away = "shut" }
    end):find(here .. "when_away: one of local, open, closed expected, got shut"))
    assert.is_truthy(raised(function() tide.ratelimit { rate = 1, lease = 2 } end)
      :find(here .. "when_away and lease"))
    local limit = tide.ratelimit { rate = 1, burst = 2 }
    assert.is_truthy(raised(function() limit:take() end):find(here .. "key"))
    assert.is_truthy(raised(function() limit:take("a", 3) end)
      :find(here .. "tokens, from 0 to burst %(2%)"))
  end)
end)

describe("tide.ratelimit with Redis", function()
  local cache

  setup(function() cache = support.redis { max_connections = 4 } end)

  before_each(function() must(cache:call "FLUSHALL") end)

  local function limit_of(opts)
    opts.redis, opts.name = cache, opts.name or "api"
    return tide.ratelimit(opts)
  end

  it("is one bucket for all processes", function()
    local opts = { rate = 0.1, burst = 5 }
    local one, two = limit_of(opts), limit_of(opts)
    assert.are.equal(3, allowed(one, "a", 3))
    assert.are.equal(2, allowed(two, "a", 4))
    local is_allowed, wait = one:take "a"
    assert.is_false(is_allowed)
    assert.is_true(wait > 9 and wait <= 10)
    assert.are.equal(1, allowed(limit_of { rate = 1, name = "other" }, "a", 2))
  end)

  it("fills by the server's clock, and goes by itself when full", function()
    local limit = limit_of { rate = 50, burst = 1 }
    local wait
    assert.is_true((limit:take "a"))
    support.eventually("it is empty", function() -- refilled in 20 ms
      local is_allowed, seconds = limit:take "a"
      wait = seconds
      return not is_allowed
    end)
    tide.sleep(wait + 0.001)
    assert.is_true((limit:take "a"))
    local left = cache:call("PTTL", "tidepool:ratelimit:{api}:a")
    assert.is_true(left > 0 and left <= 1020)
  end)

  it("fetches lease tokens at once, and gives out no more than there are", function()
    local limit = limit_of { rate = 0.1, burst = 100, lease = 10 }
    assert.are.equal(100, allowed(limit, "a", 130))
    assert.are.equal(11, limit:stats().trips) -- of 30 refused one
    local other = limit_of { rate = 0.1, burst = 100, lease = 10 }
    assert.are.equal(0, allowed(other, "a", 5))
  end)

  it("makes one trip for all who ask at once", function()
    local limit = limit_of { rate = 0.1, burst = 50, lease = 25 }
    local jobs, count = {}, 0
    for i = 1, 60 do
      jobs[i] = function()
        if limit:take "a" then count = count + 1 end
        return true
      end
    end
    must(tide.all(jobs))
    assert.are.equal(50, count)
    assert.are.equal(3, limit:stats().trips)
  end)

  it("gives no token of a lease twice, to one of many and to one of few", function()
    local limit = limit_of { rate = 0.001, burst = 6, lease = 5 }
    local taken = 0
    local function take(count)
      return function()
        if limit:take("a", count) then taken = taken + count end
        return true
      end
    end
    take(3)() -- and leases two more
    must(tide.all { take(3), take(1), take(1) })
    assert.are.equal(6, taken)
  end)

  local function away_limit(opts)
    opts.redis = support.redis({ max_connections = 1, connect_timeout = 1 },
      { url = "redis://127.0.0.1:1" })
    opts.name, opts.rate, opts.burst = "api", 0.1, 3
    return tide.ratelimit(opts)
  end

  it("when it is away goes by this process, open or closed, as told", function()
    assert.are.equal(3, allowed(away_limit {}, "a", 5))
    assert.are.equal(5, allowed(away_limit { when_away = "open" }, "a", 5))
    local closed = away_limit { when_away = "closed" }
    assert.are.equal(0, allowed(closed, "a", 5))
    local _, wait = closed:take "a"
    assert.is_true(wait > 0 and wait <= 1)
    local stats = closed:stats()
    assert.are.same({ 1, 1 }, { stats.away, stats.trips }) -- not asked for each
    assert.is_string(stats.last_error)
  end)
end)
