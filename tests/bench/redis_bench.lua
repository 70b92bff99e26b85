-- redis_bench.lua - GET by many tasks, against redis-benchmark.

local bench = require "bench"

local TASKS = 256
local KEY = "key:%012d" -- as redis-benchmark's __rand_int__ makes them
local FIRST_COUNT = 50000

local function fill(cache)
  assert(cache:pipeline(function(p)
    for i = 0, bench.ROWS do p:set(KEY:format(i), "value of " .. i) end
  end))
end

local function keys()
  local all = {}
  for i = 1, bench.ROWS do all[i] = KEY:format(i) end
  return all
end

-- It counts requests, not seconds: the rate of one run sizes the next.
local function redis_benchmark(program, pipeline)
  local rate
  local function run(count)
    local output = bench.output { program, "-s", bench.redis().socket, "-c", "50",
      "-P", tostring(pipeline), "-n", tostring(count), "-r", tostring(bench.ROWS),
      "--csv", "GET", "key:__rand_int__" }
    return tonumber(output:match '\n"[^\n"]*","([%d.]+)"')
  end
  return function(seconds)
    rate = rate or run(FIRST_COUNT)
    rate = run(math.floor(rate * seconds))
    return rate
  end
end

local function get()
  local cache = bench.redis_pool()
  fill(cache)
  local names = keys()
  local program = bench.find "redis-benchmark"
  local sides = { { name = "redis_get_256", unit = "1/s", run = function(seconds)
    return bench.tasks(TASKS, seconds, function()
      assert(cache:get(names[math.random(bench.ROWS)]))
    end)
  end } }
  if program then
    sides[2] = { name = "redis_benchmark_50", unit = "1/s",
                 run = redis_benchmark(program, 1) }
    sides[3] = { name = "redis_benchmark_50_P16", unit = "1/s",
                 run = redis_benchmark(program, 16) }
  end
  local rate = bench.compare(sides)
  cache:close(1)
  if not program then
    return bench.skip("redis_get_to_benchmark", "no redis-benchmark")
  end
  bench.ratio("redis_get_256_to_benchmark", rate.redis_get_256 / rate.redis_benchmark_50)
  bench.ratio("redis_get_256_to_benchmark_P16",
    rate.redis_get_256 / rate.redis_benchmark_50_P16)
end

return { { name = "redis", run = get } }
