-- embed_bench.lua - a runtime in a host in C: posts, memory, start.

local bench = require "bench"
local servers = require "tidepool.servers"

local CONNECTIONS = 100
local STARTS = 100
local SECONDS = 2
local PARTS = { "p50", "p99", "p999", "max" }
local PROCESSES = 5

local function run(...)
  return bench.output { bench.program "embed", ... }
end

local function report(prefix, output, name)
  local i = 0
  for value in output:match(name .. "([ %d.]+)"):gmatch "%S+" do
    i = i + 1
    bench.figure(prefix .. "_" .. PARTS[i], tonumber(value), "us")
  end
end

local function posts()
  for _, threads in ipairs { 1, 4 } do
    for _, outstanding in ipairs { threads, 1000 } do
      local output = run("post", tostring(threads), tostring(outstanding),
        tostring(SECONDS))
      local prefix = ("post_%d_threads_%d_out"):format(threads, outstanding)
      bench.figure(prefix, tonumber(output:match "rate (%d+)"), "1/s")
      report(prefix, output, "latency")
    end
  end
end

-- The first one of a process has to load and link, too.
local function start()
  local firsts, cpu_firsts = {}, {}
  for i = 1, PROCESSES do
    local output = run("start", tostring(STARTS))
    local wall, cpu = output:match "first ([%d.]+) ([%d.]+)"
    firsts[i], cpu_firsts[i] = tonumber(wall), tonumber(cpu)
    if i == PROCESSES then
      report("embed_start", output, "wall")
      report("embed_start_cpu", output, "cpu")
    end
  end
  bench.figure("embed_start_first", bench.median(firsts), "us", firsts)
  bench.figure("embed_start_cpu_first", bench.median(cpu_firsts), "us", cpu_firsts)
end

local function memory_of(kind, url)
  local output = run("memory", kind, url, tostring(CONNECTIONS))
  for _, name in ipairs { "opened", "loaded", "connected" } do
    bench.figure(("embed_memory_%s_%s"):format(kind, name),
      tonumber(output:match(name .. " (%d+)")), "KB")
  end
end

local function memory()
  local postgres = assert(servers.postgres {
    directory = bench.path "postgres_of_many",
    settings = { max_connections = 2 * CONNECTIONS },
  })
  local ok, err = pcall(memory_of, "postgres", postgres.url)
  postgres:stop()
  if not ok then error(err, 0) end
  memory_of("redis", bench.redis().url)
end

return {
  { name = "post", run = posts },
  { name = "embed", run = function()
    start()
    memory()
  end },
}
