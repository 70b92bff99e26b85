-- tide.serial: one after another by key, in line, and no dead-lock.

local core = require "tidepool.core"
local serial = require "tidepool.serial"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(err)
end

-- A task that holds key; release() lets it go on, and gives how it ended.
local function hold(key, fn)
  local gate, is_held = support.gate(), false
  local task = tide.spawn(function()
    return tide.serial(key, function()
      is_held = true
      gate.wait()
      if fn then return fn() end
    end)
  end)
  eventually("it is held", function() return is_held end)
  return function()
    gate.open()
    return task:wait()
  end, task
end

local function settle()
  for _ = 1, 3 do tide.sleep(0) end
end

describe("tide.serial", function()
  after_each(function() assert.are.equal(0, serial.count()) end)

  it("gives what the function gives, nils included, for its arguments", function()
    assert.are.same({ 3, nil, "x", n = 3 }, (function(...)
      return { n = select("#", ...), ... }
    end)(tide.serial("a", function(a, b) return a + b, nil, "x" end, 1, 2)))
    assert.are.equal(0, select("#", tide.serial(7, function() end)))
  end)

  it("runs calls of a key one at a time in the order they came", function()
    local running, most, order, jobs = 0, 0, {}, {}
    for i = 1, 30 do
      jobs[i] = function()
        return tide.serial("k", function()
          running = running + 1
          most = math.max(most, running)
          order[#order + 1] = i
          tide.sleep(0)
          running = running - 1
          return true
        end)
      end
    end
    must(tide.all(jobs))
    assert.are.equal(1, most)
    for i = 1, 30 do assert.are.equal(i, order[i]) end
  end)

  it("runs different keys at the same time, also 1 and \"1\"", function()
    local release = hold(1)
    assert.are.equal("other", tide.serial("1", function() return "other" end))
    release()
  end)

  it("lets its owner in again", function()
    assert.are.equal("inner", tide.serial("a", function()
      return tide.serial("b", function()
        return tide.serial("a", function() return "inner" end)
      end)
    end))
  end)

  it("lets the owner's children in, one at a time, before others", function()
    local order, running = {}, 0
    local function note(name)
      return function()
        running = running + 1
        assert(running == 1, "one at a time")
        tide.sleep(0)
        order[#order + 1] = name
        running = running - 1
        return name
      end
    end
    local other
    must(tide.serial("k", function()
      other = tide.spawn(function() return tide.serial("k", note "other") end)
      settle()
      return tide.all(
        function() return tide.serial("k", note "first") end,
        function() return tide.serial("k", note "second") end)
    end))
    assert.is_true((other:wait()))
    assert.are.same({ "first", "second", "other" }, order)
  end)

  it("passes errors on as they are, and the next one runs", function()
    local release = hold("k", function() error({ mine = true }, 0) end)
    local next_one = tide.spawn(function() return tide.serial("k", tostring, 5) end)
    settle()
    local ok, failure = release()
    assert.is_false(ok)
    assert.is_true(failure.mine)
    assert.are.same({ true, "5" }, { next_one:wait() })
    local nothing, err = tide.serial("k", function()
      return nil, core.err("server", "no")
    end)
    assert.is_nil(nothing)
    assert.are.equal("server", err.code)
  end)

  it("waits no longer than its timeout, and has left the line then", function()
    local release = hold "k"
    local ran = false
    local began = tide.now()
    local nothing, err = tide.serial({ "k", timeout = 0.02 }, function() ran = true end)
    assert.is_nil(nothing)
    assert.are.equal("timeout", err.code)
    assert.is_truthy(err.message:find('serial "k"', 1, true))
    assert.is_true(tide.now() - began >= 0.02)
    release()
    settle()
    assert.is_false(ran)
    assert.is_true(tide.serial({ "k", timeout = 0 }, function() return true end))
  end)

  it("leaves the line when its task is cancelled, from the middle too", function()
    local release = hold "k"
    local ran, tasks = {}, {}
    for i = 1, 3 do
      tasks[i] = tide.spawn(function()
        return tide.serial("k", function() ran[#ran + 1] = i end)
      end)
    end
    settle()
    tasks[2]:cancel()
    local ok, err = tasks[2]:wait()
    assert.is_false(ok)
    assert.are.equal("cancelled", err.code)
    release()
    tasks[1]:wait()
    tasks[3]:wait()
    assert.are.same({ 1, 3 }, ran)
  end)

  it("counts a deadline of its task", function()
    local release = hold "k"
    local nothing, err = tide.timeout(0.01, tide.serial, "k", function() end)
    assert.is_nil(nothing)
    assert.are.equal("timeout", err.code)
    release()
  end)

  it("goes on when its owner is cancelled, before or after its turn came", function()
    local _, owner = hold "k"
    local waiting = tide.spawn(function() return tide.serial("k", function() end) end)
    local last = tide.spawn(function() return tide.serial("k", tostring, 1) end)
    settle()
    waiting:cancel()
    owner:cancel()
    assert.are.same({ true, "1" }, { last:wait() })
  end)

  it("goes on when its owner is ended in a coroutine that it left", function()
    local task = tide.spawn(function()
      local co = coroutine.wrap(function()
        tide.serial("k", function() coroutine.yield() end)
      end)
      co()
      tide.sleep(0)
    end)
    tide.sleep(0)
    assert.are.equal(2, tide.serial("k", function() return 2 end))
    assert.is_true((task:wait()))
  end)

  -- Tasks that each hold one key of the ring and ask for the next one by ask(key).
  local function ring(keys, ask)
    local gate, tasks, outcomes = support.gate(), {}, {}
    for i, key in ipairs(keys) do
      tasks[i] = tide.spawn(tide.serial, key, function()
        gate.wait()
        return ask(keys[i % #keys + 1])
      end)
    end
    settle()
    gate.open()
    for i, task in ipairs(tasks) do outcomes[i] = { task:wait() } end
    return outcomes
  end

  local function assert_one_refused(outcomes)
    local refused, done = {}, 0
    for _, outcome in ipairs(outcomes) do
      if outcome[2] == "both" then done = done + 1 end
      if outcome[3] then refused[#refused + 1] = outcome[3] end
    end
    assert.are.equal(#outcomes - 1, done)
    assert.are.equal(1, #refused)
    assert.are.equal("busy", refused[1].code)
    return refused[1].message
  end

  local function both() return "both" end

  it("says at once that two tasks wait for one another, and the other goes on", function()
    local message = assert_one_refused(ring({ "x", "y" }, function(key)
      return tide.serial(key, both)
    end))
    assert.is_truthy(message:find("dead-lock", 1, true))
    assert.is_truthy(message:find('serial "x"', 1, true))
    assert.is_truthy(message:find('serial "y"', 1, true))
  end)

  it("sees a circle of four", function()
    assert_one_refused(ring({ "w", "x", "y", "z" }, function(key)
      return tide.serial(key, both)
    end))
  end)

  it("sees a circle through children that their parents wait for", function()
    assert_one_refused(ring({ "x", "y", "z" }, function(key)
      return tide.all(function() return tide.serial(key, both) end)
    end))
  end)

  it("sees no circle among children of one owner", function()
    local ok = must(tide.serial("a", function()
      return tide.all(
        function()
          return tide.serial("b", function()
            tide.sleep(0.005)
            return tide.serial("a", function() return 1 end)
          end)
        end,
        function() return tide.serial("b", function() return 2 end) end)
    end))
    assert.are.equal(1, ok)
  end)

  it("raises at the line of a mistake", function()
    local here = "serial_spec.lua:%d+: "
    assert.is_truthy(raised(function() tide.serial(nil, print) end)
      :find(here .. "serial: key"))
    assert.is_truthy(raised(function() tide.serial(0 / 0, print) end):find(here))
    assert.is_truthy(raised(function() tide.serial("k") end):find(here .. "function"))
    assert.is_truthy(raised(function() tide.serial({ "k", wait = 1 }, print) end)
      :find(here .. "serial: unknown option: wait"))
    assert.is_truthy(raised(function() tide.serial({ "k", timeout = -1 }, print) end)
      :find(here .. "serial: timeout"))
  end)
end)
