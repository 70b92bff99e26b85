-- tide.on: functions that are told what pools do.

local metrics = require "tidepool.metrics"
local support = require "support"
local tide = require "tidepool"

local must, eventually = support.must, support.eventually

describe("tide.on", function()
  local watches, pools

  before_each(function() watches, pools = {}, {} end)

  after_each(function()
    for _, watch in ipairs(watches) do watch:close() end
    for _, pool in ipairs(pools) do pool:close(1) end
  end)

  local function open(kind, settings)
    local pool = support[kind](settings)
    pools[#pools + 1] = pool
    return pool
  end

  -- The list that grows by each such event of pool, and the handle.
  local function collect(name, pool)
    local list = {}
    local watch = tide.on(name, function(event)
      if event.pool == pool then list[#list + 1] = event end
    end)
    watches[#watches + 1] = watch
    return list, watch
  end

  local function await(list, count)
    eventually(("%d events"):format(count), function() return #list >= count end)
    assert.are.equal(count, #list)
  end

  for _, kind in ipairs { "postgres", "redis" } do
    it("tells of each connect and close of " .. kind, function()
      local pool = open(kind, { max_connections = 1 })
      must(pool:with(function() return true end))
      local opened = collect("connect", pool:name())
      local closed = collect("close", pool:name())
      pool:drain() -- what was opened unheard
      await(closed, 1)
      must(pool:with(function() return true end))
      await(opened, 1)
      pool:drain()
      await(closed, 2)
      local open_event, close_event = opened[1], closed[2]
      assert.are.equal(kind, open_event.kind)
      assert.are.equal(open_event.conn, close_event.conn)
      assert.is_true(open_event.took > 0)
      assert.are.equal("drained", close_event.reason)
      assert.is_true(close_event.age >= open_event.took)
    end)
  end

  it("tells of a connect that failed, and when the next is due", function()
    local list = collect("connect_failed", "away")
    local core = require "tidepool.core"
    local pool = assert(core.postgres_open {
      name = "away", url = "postgres://tide@127.0.0.1:1/tide",
    })
    pools[1] = pool
    eventually("it is told", function() return #list > 0 end)
    assert.is_string(list[1].error)
    assert.is_true(list[1].retry >= 0)
  end)

  it("tells of a wait that ended at its deadline, and of who held too long", function()
    local pool = open("postgres", { max_connections = 1, leak_threshold = 0.02 })
    local late = collect("timeout", pool:name())
    local leaks = collect("leak_suspected", pool:name())
    local conn = must(pool:acquire())
    tide.spawn(function() pool:acquire { timeout_ms = 5 } end)
    await(late, 1)
    await(leaks, 1)
    conn:release()
    assert.matches("events_spec%.lua:%d+", late[1].site)
    assert.is_true(late[1].waited >= 0.005)
    assert.matches("events_spec%.lua:%d+", leaks[1].site)
    assert.is_true(leaks[1].held >= 0.02)
  end)

  it("tells once that a pool is exhausted, and once that it has recovered", function()
    local pool = open("postgres", { max_connections = 1 })
    local out = collect("pool_exhausted", pool:name())
    local back = collect("pool_recovered", pool:name())
    local conn = must(pool:acquire())
    local waiters = {}
    for i = 1, 20 do
      waiters[i] = tide.spawn(function() return pool:with(function() return true end) end)
    end
    await(out, 1)
    assert.is_true(out[1].lasted >= 1)
    assert.matches("events_spec%.lua:%d+", out[1].site)
    conn:release()
    for _, waiter in ipairs(waiters) do waiter:wait() end
    await(back, 1)
    assert.are.same({ 1, 1 }, { #out, #back })
    assert.is_true(back[1].lasted >= 1)
    assert.are.equal(1, pool:stats().counters.exhaustions)
  end)

  it("counts and logs the function's errors and goes on", function()
    local pool = open("postgres", { max_connections = 1 })
    local calls = 0
    local watch = tide.on("connect", function(event)
      if event.pool ~= pool:name() then return end
      calls = calls + 1
      error "on purpose"
    end)
    watches[1] = watch
    must(pool:with(function() return true end))
    eventually("it was called", function() return calls == 1 end)
    pool:drain()
    must(pool:with(function() return true end))
    eventually("it was called again", function() return calls == 2 end)
    assert.are.equal(2, watch:stats().failures)
  end)

  it("drops and counts what a function is too slow for", function()
    local pool = open("postgres", { max_connections = 1, acquire_slow_threshold = 0 })
    local gate = support.gate()
    local before = require("tidepool.events").counts().dropped
    local watch = tide.on("timeout", function() gate.wait() end)
    watches[1] = watch
    local conn = must(pool:acquire())
    local jobs = {}
    for i = 1, 1200 do
      jobs[i] = function() pool:acquire { timeout_ms = 1 } end
    end
    tide.spawn(function() tide.all(jobs) end)
    local function seen()
      local stats = watch:stats()
      local dropped = require("tidepool.events").counts().dropped - before
      return stats.delivered + stats.queued + dropped, dropped
    end
    eventually("all are told or dropped", function() return seen() == 1200 end)
    local _, dropped = seen()
    assert.is_true(dropped >= 199)
    assert.matches("tidepool_events_dropped_total %d+", metrics.page({}, nil,
      require("tidepool.core").task_counts()))
    watch:close()
    gate.open()
    conn:release()
  end)

  it("tells nothing more once it is closed", function()
    local pool = open("postgres", { max_connections = 1 })
    local list, watch = collect("close", pool:name())
    local other = collect("close", pool:name())
    must(pool:with(function() return true end))
    assert.is_true(watch:close())
    assert.is_false(watch:close())
    pool:drain()
    await(other, 1)
    assert.are.equal(0, #list)
  end)

  it("names the events that there are, at the script's line", function()
    local ok, message = pcall(tide.on, "closed", print)
    assert.is_false(ok)
    assert.matches("unknown event: closed; there are close, connect, connect_failed",
      message)
    assert.has_error(function() tide.on("close", "print") end)
  end)
end)

describe("tide.log", function()
  it("raises for an unknown level at the script's line", function()
    local ok, message = pcall(function() tide.log("loud", "hello") end)
    assert.is_false(ok)
    assert.matches("events_spec%.lua:%d+: .*invalid option 'loud'", message)
  end)

  it("writes the first 24 fields by name, and says how many it left out", function()
    local _, output = support.program [[
      local tide = require "tidepool"
      local fields, same = {}, {}
      for i = 1, 30 do fields[("k%02d"):format(i)] = i / 2 end
      for i = 30, 1, -1 do same[("k%02d"):format(i)] = i / 2 end
      tide.log("info", "many", fields)
      tide.log("info", "same", same)
      same.k25, same.k26, same.k27, same.k28, same.k29, same.k30 = nil
      tide.log("info", "fits", same)]]
    local words = {}
    for i = 1, 24 do words[i] = ("k%02d=%.14g"):format(i, i / 2) end
    local first = table.concat(words, " ")
    for _, event in ipairs { "many", "same" } do
      local line = output:match("msg=" .. event .. " ([^\n]*)")
      assert.are.equal(first .. " dropped_fields=6", line)
    end
    assert.are.equal(first, output:match "msg=fits ([^\n]*)")
  end)
end)
