-- run.lua - runs the benches, each side by side with what it is compared with.
--
--   build/tidepool run --trusted tests/bench/run.lua -- [names]
--
-- Prints a line `bench NAME VALUE UNIT` for each figure, `ratio NAME VALUE` for each
-- comparison, `skip NAME WHY` for what cannot run here; the same goes to bench.json in
-- the build directory.  Ends with status 1 when a bench failed.

package.path = "tests/bench/?.lua;" .. package.path

local bench = require "bench"
local core = require "tidepool.core"

local MODULES = { "acquire_bench", "postgres_bench", "redis_bench", "http_bench",
  "overload_bench", "load_bench", "beside_bench", "memory_bench", "step_bench",
  "embed_bench", "tick_bench" }

core.log_setup { level = "error" }

-- All benches in order, or those that are named.
local function choose(names)
  local wanted, known, chosen = {}, {}, {}
  for _, name in ipairs(names) do wanted[name] = true end
  for _, module in ipairs(MODULES) do
    for _, entry in ipairs(require(module)) do
      known[#known + 1] = entry.name
      if #names == 0 or wanted[entry.name] then chosen[#chosen + 1] = entry end
      wanted[entry.name] = nil
    end
  end
  local unknown = next(wanted)
  if unknown then
    error(("no bench %s; there are: %s"):format(unknown, table.concat(known, " ")), 0)
  end
  return chosen
end

local function run(entry)
  local start = core.now()
  io.stdout:write("# ", entry.name, "\n")
  local ok, err = xpcall(entry.run, function(err)
    return core.is_err(err) and tostring(err) or debug.traceback(tostring(err), 2)
  end)
  bench.end_processes()
  if not ok then bench.failure(entry.name, err) end
  io.stdout:write(("# %s took %.0f s\n"):format(entry.name, core.now() - start))
  io.stdout:flush()
  return ok
end

-- What else the machine does.
local function say_load()
  local load = (core.read_file "/proc/loadavg" or ""):match "%S+" or "unknown"
  io.stdout:write(("# load average %s before, %d cores\n"):format(load, core.cores()))
end

local function main(...)
  local chosen = choose { ... }
  say_load()
  local failed = 0
  local ok, err = pcall(function()
    for _, entry in ipairs(chosen) do
      if not run(entry) then failed = failed + 1 end
    end
  end)
  bench.finish()
  if not ok then error(err, 0) end
  if failed > 0 then error(failed .. " of the benches failed", 0) end
end

main(...)
