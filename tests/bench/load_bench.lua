-- load_bench.lua - `tidepool load`: as much load as wrk makes, and with it the table of
-- guides to pools: a connection for each request against a pool and against lanes.

local bench = require "bench"
local core = require "tidepool.core"
local report = require "tidepool.command.load_report"
local tide = require "tidepool"

local CONNECTIONS = 64
local SECONDS = 4
local PROGRAM = core.realpath "/proc/self/exe"

local function load_test(url, seconds, ...)
  local path = bench.path "load.json"
  bench.output { PROGRAM, "load", url, "--connections", tostring(CONNECTIONS),
    "--duration", tostring(seconds), "--out", path, ... }
  local result = assert(tide.decode(assert(core.read_file(path))))
  for kind, count in pairs(result.errors) do
    if count > 0 then error(("%s: %d errors: %s"):format(url, count, kind), 0) end
  end
  if result.status["5xx"] > 0 then error(url .. ": replies of 5xx", 0) end
  return result
end

-- ---- against wrk

local function beside_wrk()
  local wrk = bench.find "wrk"
  if not wrk then return bench.skip("load", "no wrk") end
  local url = ("http://%s/plain"):format((bench.start_app()))
  local medians = bench.compare {
    { name = "load_tidepool", unit = "1/s", run = function(seconds)
      return load_test(url, seconds).requests_per_second
    end },
    { name = "load_wrk", unit = "1/s", run = function(seconds)
      local output = bench.output { wrk, "-t", "1", "-c", tostring(CONNECTIONS), "-d",
        seconds .. "s", url }
      return tonumber(output:match "Requests/sec:%s*([%d.]+)")
    end },
  }
  bench.ratio("load_tidepool_to_wrk", medians.load_tidepool / medians.load_wrk)
end

-- ---- before and after

local SIDES = { "connect", "pooled", "lanes" }

local function start_app()
  local log = bench.path "before_after.log"
  bench.start({
    PROGRAM, "run", "tests/bench/before_after_app.lua", "--trusted", "--listen",
    "127.0.0.1:0",
    "--log-level", "error", "--set", "database.pool.max_connections=15",
  }, log, { DATABASE_URL = bench.postgres().url })
  return bench.wait_log(log, "listening on http://(%S+)")
end

local function postmaster()
  local text = assert(core.read_file(bench.postgres().data .. "/postmaster.pid"))
  return text:match "^%d+"
end

-- The server's own count, for the first side has no pool that lasts: the most clients
-- that it had while fn() ran, without us.
local function most_clients(fn)
  local pool, most, is_over = bench.postgres_pool { max_connections = 1 }, 0, false
  local task = tide.spawn(function()
    while not is_over do
      local row = assert(pool:one({ "SELECT count(*)::int AS n FROM pg_stat_activity "
        .. "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        share = false }))
      most = math.max(most, row.n)
      tide.sleep(0.05)
    end
  end)
  local result = fn()
  is_over = true
  assert(task:wait())
  pool:close()
  return most, result
end

local function figures(side, result, clients)
  local name = "before_after_" .. side
  bench.figure(name .. "_rate", result.requests_per_second, "1/s")
  bench.figure(name .. "_average", result.latency.average * 1000, "ms")
  bench.figure(name .. "_p95", result.latency.p95 * 1000, "ms")
  bench.figure(name .. "_p99", result.latency.p99 * 1000, "ms")
  bench.figure(name .. "_connections", clients, "connections")
  bench.figure(name .. "_database_cpu", result.database_cpu, "%")
  -- What the database does for one request.
  bench.figure(name .. "_database_cpu_each",
    result.database_cpu / 100 / result.requests_per_second * 1e6, "us")
  bench.figure(name .. "_timeouts", result.server.timeouts_per_minute, "1/min")
end

local function say_table(before, after, name)
  io.stdout:write("# connect against ", name, "\n")
  io.stdout:write((report.compare(before, after):gsub("([^\n]*\n)", "# %1")))
end

local function before_after()
  local address, pid = start_app(), postmaster()
  local results = {}
  for _, side in ipairs(SIDES) do
    local url = ("http://%s/%s"):format(address, side)
    load_test(url, bench.SECONDS)
    local clients, result = most_clients(function()
      return load_test(url, SECONDS, "--postgres-pid", pid)
    end)
    figures(side, result, clients)
    -- Those of the first side are in no pool that the service knows of.
    result.server.peak_in_use = side == "connect" and clients or result.server.peak_in_use
    results[side] = result
  end
  for i = 2, #SIDES do
    local side = SIDES[i]
    say_table(results.connect, results[side], side)
    bench.ratio("before_after_" .. side .. "_to_connect",
      results[side].requests_per_second / results.connect.requests_per_second)
  end
end

return {
  { name = "load", run = beside_wrk },
  { name = "before_after", run = before_after },
}
