-- beside_bench.lua - what slow statements do to the latency of fast ones beside them.

local bench = require "bench"
local core = require "tidepool.core"
local tide = require "tidepool"

local NAP = "SELECT nap($1)"
local FAST_SECONDS, FAST_TASKS, PAUSE_SECONDS = 0.001, 10, 0.01
local SLOW_SECONDS, SLOW_TASKS = 0.2, 4

local function percentile(values, part)
  table.sort(values)
  return values[math.max(1, math.ceil(#values * part))]
end

-- Tasks that call once() until is_over() says so.
local function spawn_all(count, is_over, once)
  local tasks = {}
  for i = 1, count do
    tasks[i] = tide.spawn(function()
      while not is_over() do once() end
    end)
  end
  return tasks
end

local function end_all(tasks)
  for _, task in ipairs(tasks) do
    local ok, err = task:wait()
    if not ok then error(err, 0) end
  end
end

-- The p99 of the fast ones in ms.
local function p99(db, slow_tasks, seconds)
  local taken, over = {}, false
  local function is_over() return over end
  local slow = spawn_all(slow_tasks, is_over, function()
    assert(db:one(NAP, SLOW_SECONDS))
  end)
  tide.sleep(SLOW_SECONDS)
  local fast = spawn_all(FAST_TASKS, is_over, function()
    local start = core.now()
    assert(db:one(NAP, FAST_SECONDS))
    taken[#taken + 1] = (core.now() - start) * 1000
    tide.sleep(PAUSE_SECONDS)
  end)
  tide.sleep(seconds)
  over = true
  end_all(fast)
  end_all(slow)
  return percentile(taken, 0.99)
end

local function beside()
  local db = bench.postgres_pool()
  local function with(slow_tasks)
    return function(seconds) return p99(db, slow_tasks, seconds) end
  end
  local ms = bench.compare {
    { name = "fast_alone_p99", unit = "ms", run = with(0) },
    { name = "fast_beside_slow_p99", unit = "ms", run = with(SLOW_TASKS) },
  }
  db:close(1)
  bench.ratio("fast_beside_slow_to_alone", ms.fast_beside_slow_p99 / ms.fast_alone_p99)
end

return { { name = "beside", run = beside } }
