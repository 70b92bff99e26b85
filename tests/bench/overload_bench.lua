-- overload_bench.lua - one SELECT a request at a fixed rate: latency at half of what the
-- server can do, and what is left of that when it is asked for a fifth more.

local bench = require "bench"

local CONNECTIONS = 1000
local ROUNDS = 3
local SECONDS = 3
local PATH = "/one"

-- Rate 0: as fast as the connections allow.
local function run(address, rate)
  local output = bench.output { bench.program "open_loop", address, PATH,
    tostring(CONNECTIONS), tostring(math.floor(rate)), tostring(SECONDS) }
  local good, p50, p99, failed, given_up =
    output:match "^good (%d+) p50 (%d+) p99 (%d+) max %d+ failed (%d+) given_up (%d+)"
  if tonumber(good) == 0 then error("no reply in time: " .. output, 0) end
  return { good = tonumber(good), p50 = p50 / 1000, p99 = p99 / 1000,
           failed = tonumber(failed), given_up = given_up / SECONDS }
end

local function column(results, key)
  local values = {}
  for i, result in ipairs(results) do values[i] = result[key] end
  return values
end

local function report(name, results, key, unit)
  local values = column(results, key)
  bench.figure(name, bench.median(values), unit, values)
end

-- The rates of a round are parts of the peak that the same round measured.
local function overload()
  local address = bench.start_app()
  local peak, half, over, kept = {}, {}, {}, {}
  run(address, 0)
  for round = 1, ROUNDS do
    peak[round] = run(address, 0)
    half[round] = run(address, peak[round].good * 0.5)
    over[round] = run(address, peak[round].good * 1.2)
    kept[round] = over[round].good / peak[round].good
  end
  report("http_peak", peak, "good", "1/s")
  report("http_half_good", half, "good", "1/s")
  report("http_half_p50", half, "p50", "ms")
  report("http_half_p99", half, "p99", "ms")
  report("http_over_good", over, "good", "1/s")
  report("http_over_p99", over, "p99", "ms")
  report("http_over_failed", over, "failed", "requests")
  report("http_over_given_up", over, "given_up", "1/s")
  bench.ratio("http_over_good_to_peak", bench.median(kept))
end

return { { name = "overload", run = overload } }
