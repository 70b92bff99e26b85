-- simulate.lua - `tidepool simulate`: what policies would do, tried on the real pool code
-- with a virtual clock and a model of the server.

local console = require "tidepool.command.console"
local core = require "tidepool.core"
local files = require "tidepool.command.files"
local policies = require "tidepool.policies"
local simulate_page = require "tidepool.command.simulate_page"
local simulate_table = require "tidepool.command.simulate_table"
local simulate_words = require "tidepool.command.simulate_words"

local complain = console.complain

local DONE, FAILED, MISUSED = 0, 1, 2

local HELP = [[
usage: tidepool simulate POLICY [POLICY] [OPTIONS]

Runs the pool's own code on a virtual clock against a model of its server, with the
load that you name, and tells what the policy did: a stock policy, a file that ends in
.lua, or "none". With two of them both are shown.

  --load SPEC         RATExTIME, one after another: "100x20s 800x30s 100x20s"
  --trace FILE        what came, of a recording (tidepool run --record), of a flight
                      recorder's dump, or of /pools/NAME/events; its pool's settings
                      and the cores that its server seems to have are the defaults
  --trace-pool NAME   which of its pools, when it has several
  --hosts N           so many instances on one server, each with a policy (1)
  --service TIME      of a statement, on average (10ms)
  --connect TIME      of a connect, on average (5ms)
  --cores N           of the server: more statements at once slow one another (4)
  --server-max N      connections that the server takes (100)
  --outage FROM-TO    the server is away, seconds from the start; may stand repeatedly
  --pool KEY=VALUE    a setting of the pool; may stand repeatedly
  --rail KEY=RAIL     what the policy may do: --rail "max_connections=2..50, step 4"
  --option KEY=VALUE  of the policy; may stand repeatedly
  --seed N            of all that is random (1): the same seed gives the same output
  --sample TIME       between two points of the plots and rows of --out (1s)
  --html FILE         a report with plots: waits, sizes, line and refusals over time, each
                      change of the policy marked with its reason
  --out FILE          all samples and changes, as JSON

The model: services are distributed exponentially; with more of them at once than cores
each takes as many times longer.  It knows no locks, caches or networks: it compares
policies, it does not promise figures.
]]

-- ---- a run

local BAR = 30      -- characters
local TELL_EVERY = 0.1 -- seconds

-- Draws a bar over itself; nil where nobody sees it.
local function progress(use)
  if not console.is_live() then return nil end
  local told = 0
  return function(at, last)
    if core.now() - told < TELL_EVERY then return end
    told = core.now()
    local full = math.floor(at / last * BAR)
    console.progress(("%s [%s%s] %.0f of %.0f s"):format(use, ("#"):rep(full),
      ("."):rep(BAR - full), at, last))
  end
end

local function simulate(words, use)
  local policy
  if use ~= "none" then
    local text, err = policies.read(use)
    if not text then return nil, err end
    policy = { use, text }
  end
  local began = core.now()
  local report, err = core.simulate {
    seed = words.seed, hosts = words.hosts, settings = words.settings,
    rails = words.rails, revert = true, policy = policy, options = words.options,
    phases = words.phases, trace = words.recorded,
    outages = words.outages, service = words.service, connect = words.connect,
    cores = words.cores, server_max = words.server_max, sample = words.sample,
    progress = progress(use),
  }
  console.end_progress()
  if not report then return nil, err.message end
  report.policy = use
  return report, core.now() - began
end

-- ---- the command

local function tell(words, reports)
  local out = {}
  if words.info then out[1] = simulate_table.recorded(words) .. "\n" end
  for _, report in ipairs(reports) do simulate_table.put(out, report, words) end
  if reports[2] then simulate_table.put_comparison(out, reports) end
  io.stdout:write(table.concat(out, "\n"), "\n")
end

-- Writes the files that were asked for.
local function save(words, reports)
  local ok, why = files.write_asked {
    { "--out", words.out, function() return files.json(reports) end },
    { "--html", words.html, function() return simulate_page.make(reports, words) end },
  }
  if ok then return DONE end
  complain("%s", why)
  return FAILED
end

local function run(words)
  local reports = {}
  for i, use in ipairs(words.operands) do
    local report, took = simulate(words, use)
    if not report then
      complain("%s", took)
      return MISUSED
    end
    reports[i] = report
    io.stderr:write(("%s: %.0f s simulated in %.2f s, %.0f events\n"):format(use,
      report.total.at, took, report.events))
  end
  tell(words, reports)
  return save(words, reports)
end

-- read(list): what the words say, or nil and what is wrong.  run(words): the exit status.
return { HELP = HELP, read = simulate_words.read, run = run }
