-- memory_bench.lua - resident memory of what waits: connections and tasks.  The kernel's
-- part of a socket is not in it.

local bench = require "bench"
local core = require "tidepool.core"

local COUNT = 10000
local SPARE = 500 -- descriptors
local RATE = 5000
local SECONDS = math.ceil(COUNT / RATE) + 1
local HOLD_SECONDS = "60"
local ROUNDS = 2

-- Opens connections that have had a request or more each, and keeps them.
local function hold(address, count, rate, seconds, log)
  local process = bench.start({ bench.program "open_loop", address, "/plain",
    tostring(count), tostring(rate), tostring(seconds), HOLD_SECONDS }, log)
  bench.wait_log(log, "good %d+")
  return process
end

local function connections(round)
  local address, app = bench.start_app()
  hold(address, 100, 1000, 1, bench.path("hold_few" .. round .. ".log"))
  local before = bench.memory_kb(app:pid())
  hold(address, COUNT, RATE, SECONDS, bench.path("hold" .. round .. ".log"))
  local kb = (bench.memory_kb(app:pid()) - before) / COUNT
  bench.end_processes()
  return kb
end

local function tasks(round)
  local log = bench.path("parked" .. round .. ".log")
  local process = bench.start({ core.realpath "/proc/self/exe", "run",
    "tests/bench/parked.lua", "--", tostring(COUNT) }, log)
  local kb = tonumber(bench.wait_log(log, "kb ([%d.]+)"))
  process:signal "TERM"
  return kb
end

local function values_of(fn)
  local values = {}
  for round = 1, ROUNDS do values[round] = fn(round) end
  return values
end

local function report(name, fn)
  local values = values_of(fn)
  bench.figure(name, bench.median(values), "KB", values)
end

local function memory_connections()
  local descriptors = tonumber(bench.output { "sh", "-c", "ulimit -Hn" })
  if descriptors and descriptors < COUNT + SPARE then
    return bench.skip("idle_connection_kb", "ulimit -Hn is below " .. COUNT + SPARE)
  end
  report("idle_connection_kb", connections)
end

return {
  { name = "memory_connections", run = memory_connections },
  { name = "memory_tasks", run = function() report("parked_task_kb", tasks) end },
}
