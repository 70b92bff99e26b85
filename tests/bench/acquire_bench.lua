-- acquire_bench.lua - processor time to borrow a connection and give it back.

local bench = require "bench"
local tide = require "tidepool"

local OPERATIONS = 1e6
local BURST = 100000 -- calls between two looks at the clock
local LINES = { 10, 1000, 100000 }

local function from_c(in_line)
  return function()
    return tonumber(bench.output { bench.program "acquire", tostring(in_line),
      tostring(OPERATIONS) })
  end
end

local function c_side(in_line)
  local name = in_line == 0 and "acquire_c" or "acquire_c_line_" .. in_line
  return { name = name, unit = "ns", run = from_c(in_line) }
end

local function acquire_c()
  local sides = { c_side(0) }
  for _, in_line in ipairs(LINES) do sides[#sides + 1] = c_side(in_line) end
  local ns = bench.compare(sides)
  bench.ratio("acquire_c_line_1000_to_10",
    ns.acquire_c_line_1000 / ns.acquire_c_line_10)
  bench.ratio("acquire_c_line_100000_to_10",
    ns.acquire_c_line_100000 / ns.acquire_c_line_10)
end

-- One connection, always good: no time is spent on testing it.
local function pool_of_one()
  local db = bench.postgres_pool {
    max_connections = 1, test_before_acquire = false, max_waiters = 1000000,
    leak_threshold = 0, acquire_slow_threshold = 3600, acquire_timeout = 3600,
  }
  assert(db:one "SELECT 1")
  return db
end

local function borrow(db)
  for _ = 1, BURST do
    local lease = db:try_acquire()
    lease:release()
  end
end

local function uncontended(db, seconds)
  local start, count = os.clock(), 0
  repeat
    borrow(db)
    count = count + BURST
  until os.clock() - start > seconds / 2
  return (os.clock() - start) / count * 1e9
end

-- Counts calls, not seconds: these tasks wait for one another alone, and the loop sees
-- no timer as long as one of them can run.
local function in_line(db, count)
  local done, warm, last = 0, math.max(count, BURST), 2 * math.max(count, BURST)
  local start, taken
  local function work()
    while done < last do
      assert(db:acquire()):release()
      done = done + 1
      if done == warm then start = os.clock() end
      if done == last then taken = os.clock() - start end
    end
  end
  local tasks = {}
  for i = 1, count + 1 do tasks[i] = tide.spawn(work) end
  for _, task in ipairs(tasks) do assert(task:wait()) end
  return taken / (last - warm) * 1e9
end

local function acquire_lua()
  local db = pool_of_one()
  local sides = { { name = "acquire_lua", unit = "ns", run = function(seconds)
    return uncontended(db, seconds)
  end } }
  for _, count in ipairs(LINES) do
    sides[#sides + 1] = { name = "acquire_lua_line_" .. count, unit = "ns",
      run = function() return in_line(db, count) end }
  end
  local ns = bench.compare(sides)
  db:close(1)
  bench.ratio("acquire_lua_line_1000_to_10",
    ns.acquire_lua_line_1000 / ns.acquire_lua_line_10)
  bench.ratio("acquire_lua_line_100000_to_10",
    ns.acquire_lua_line_100000 / ns.acquire_lua_line_10)
end

return {
  { name = "acquire_c", run = acquire_c },
  { name = "acquire_lua", run = acquire_lua },
}
