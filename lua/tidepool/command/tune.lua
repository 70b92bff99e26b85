-- tune.lua - `tidepool tune`: loads a server with pools of many sizes and recommends one.

local check = require "tidepool.command.check"
local console = require "tidepool.command.console"
local core = require "tidepool.core"
local files = require "tidepool.command.files"
local tune_advice = require "tidepool.command.tune_advice"
local tune_page = require "tidepool.command.tune_page"
local tune_server = require "tidepool.command.tune_server"
local tune_steps = require "tidepool.command.tune_steps"
local tune_table = require "tidepool.command.tune_table"
local tune_words = require "tidepool.command.tune_words"
local url = require "tidepool.url"

local complain = console.complain

local DONE, FAILED, MISUSED = 0, 1, 2

local HELP = [[
usage: tidepool tune URL [options]

Runs a statement on a server with pools of more and more connections, and recommends
max_connections and lanes with the throughput and latency that it measured.  URL is
postgres://... or redis://...

Two ladders are climbed: leases, each statement on a connection that it has for itself,
by max_connections; and statements that share lanes, by lanes.  A ladder ends when
throughput has fallen for two steps, at --max, at --callers, and where the server has
no more connections: a tenth of them is left free.
Recommended is ]]
  .. tune_advice.RULE:gsub(" whose", "\nwhose", 1) .. [[.

  --statement SQL    what to run, without parameters; for Redis a command, its words
                     parted by spaces (SELECT 1, PING).  Give one of your own: the
                     default tells of the machine, not of your load.  It is run many
                     thousand times, also when it writes
  --step TIME        how long each step is measured, after a short warm up (2s)
  --callers N        so many tasks run it, each again when it has its answer (64)
  --max N            the largest size to try (64)
  --hosts N          so many instances will share the server: each gets its part (1)
  --out FILE         the recommendation as TOML, for tidepool.toml
  --html FILE        a report with plots

Callers run in this process, on one core: it should not be the server's.  Ctrl-C ends it
early, with what was measured.  Status 1 when nothing can be recommended, or the server
was lost.
]]

-- Tells of each step.
local function tell(ladder, at)
  local last = ladder.steps[#ladder.steps]
  console.progress(("%s %d ... %s"):format(ladder.name, at, last
    and ("%d: %.0f/s, p99 %.2f ms"):format(last.at, last.rate, last.p99 * 1000) or ""))
end

-- Says so when this machine had other work as we began.
local function note_load(notes, load)
  if load > core.cores() then
    table.insert(notes, ("this machine was busy when it began: load average %.1f on %d "
      .. "cores"):format(load, core.cores()))
  end
end

-- What was measured, with the advice of it.
local function found_of(words, server, run)
  local found = { words = words, version = server.version, ladders = run.ladders }
  local notes
  found.advice, notes = tune_advice.recommend({
    sizes = run.ladders.sizes, lanes = run.ladders.lanes, is_writer = run.is_writer,
  }, words.hosts)
  found.notes = found.advice and found.advice.notes or notes
  if run.not_shared then
    table.insert(found.notes, "lanes were not tried: " .. run.not_shared)
  end
  note_load(found.notes, run.load)
  if run.why then table.insert(found.notes, "ended early: " .. run.why) end
  return found
end

-- Writes the files that were asked for.
local function save(words, found)
  return files.write_asked {
    { "--out", found.advice and words.out, function()
      return tune_table.toml(found, os.date "!%Y-%m-%d %H:%M:%S UTC")
    end },
    { "--html", words.html, function() return tune_page.make(found) end },
  }
end

local function report(words, server, run)
  local found = found_of(words, server, run)
  io.stdout:write(tune_table.text(found))
  io.stdout:flush()
  if run.is_gone then complain("%s", run.why) end
  local is_saved, why = save(words, found)
  if not is_saved then complain("%s", why) end
  return found.advice and is_saved and not run.is_gone and DONE or FAILED
end

local function measure(words, server)
  local run = tune_steps.new(words, server, tell)
  for _, name in ipairs { "INT", "TERM" } do
    core.on_signal(name, function() run:stop(name .. " was sent") end)
  end
  run.load = tonumber((core.read_file "/proc/loadavg"):match "^%S+")
  local ok, why = run:measure()
  console.end_progress()
  if ok then return report(words, server, run) end
  complain("%s: %s", url.mask(words.url), why)
  return FAILED
end

local function run(words)
  core.log_setup { level = "error" }
  local server, err, last_error = tune_server.open(words)
  if not server then
    complain("%s: %s", url.mask(words.url),
      url.without_quotes(check.reason_of(err, last_error, tune_server.PATIENCE)))
    return err.code == "badarg" and MISUSED or FAILED
  end
  local status = measure(words, server)
  server:close()
  return status
end

-- read(list): what the words say, or nil and what is wrong.  run(words): the exit status.
return { HELP = HELP, read = tune_words.read, run = run }
