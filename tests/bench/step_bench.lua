-- step_bench.lua - how long a host's tide_step() takes while something is wrong.

local bench = require "bench"
local tide = require "tidepool"

local SCENARIOS = { "healthy", "black_hole", "dns", "tls", "login", "reload", "rows",
  "posts", "dies" }
local BUDGETS_US = { 500, 1000, 2000 }
local SECONDS = 2
local PARTS = { "p50", "p99", "p999", "max" }

local function words_of(line)
  local words = {}
  for word in line:gmatch "%S+" do words[#words + 1] = word end
  return words
end

-- Wall time, then processor time.
local function report(prefix, words)
  for i, part in ipairs(PARTS) do
    local name, cpu_name = prefix .. "_" .. part, prefix .. "_cpu_" .. part
    bench.figure(name, tonumber(words[2 + i]), "us")
    bench.figure(cpu_name, tonumber(words[2 + #PARTS + i]), "us")
  end
end

-- Kills both servers and starts them again, until the task is cancelled.
local function kill_servers()
  while true do
    tide.sleep(0.3)
    for _, server in ipairs { bench.postgres(), bench.redis() } do
      server:kill()
      assert(server:start())
    end
  end
end

local function measure(scenario, budget_us)
  local killer = scenario == "dies" and tide.spawn(kill_servers)
  local output = bench.output({ bench.program "step", scenario, tostring(budget_us),
    tostring(SECONDS) }, { POSTGRES_URL = bench.postgres().url,
    REDIS_URL = bench.redis().url })
  if killer then killer:cancel() end
  local prefix = ("step_%s_%d"):format(scenario, budget_us)
  for line in output:gmatch "[^\n]+" do
    local words = words_of(line)
    if words[1] == "skip" then return bench.skip(prefix, line:match "skip (.*)") end
    if words[1] == "step" then report(prefix, words) end
    if words[1] == "over" then
      bench.figure(prefix .. "_cpu_over", tonumber(words[2]), "steps")
      bench.figure(prefix .. "_machine_over", tonumber(words[3]), "loops")
    end
    if words[1] == "late" then
      bench.figure(prefix .. "_late", tonumber(words[2]), "steps")
      bench.figure(prefix .. "_taken", tonumber(words[3]), "of them")
    end
    io.stdout:write(("# %s: %s\n"):format(prefix, line))
  end
end

local function step()
  for _, scenario in ipairs(SCENARIOS) do
    for _, budget_us in ipairs(BUDGETS_US) do measure(scenario, budget_us) end
  end
end

return { { name = "step", run = step } }
