-- simulate.lua - `tidepool simulate`: what policies would do, tried on the real pool code
-- with a virtual clock and a model of the server.

local core = require "tidepool.core"
local policies = require "tidepool.policies"
local reply = require "tidepool.reply"
local schema = require "tidepool.schema"

local DONE, FAILED, MISUSED = 0, 1, 2
local ROWS = 24      -- of the table
local CHANGES = 20   -- that are told, of each policy

local HELP = [[
usage: tidepool simulate POLICY [POLICY] [OPTIONS]

Runs the pool's own code on a virtual clock against a model of its server, with the
load that you name, and tells what the policy did: a stock policy, a file that ends in
.lua, or "none". With two of them both are shown.

  --load SPEC         RATExTIME, one after another: "100x20s 800x30s 100x20s"
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
  --sample TIME       between two rows of --out (1s)
  --out FILE          all samples and changes, as JSON

The model: services are distributed exponentially; with more of them at once than cores
each takes as many times longer.  It knows no locks, caches or networks: it compares
policies, it does not promise figures.
]]

local function complain(text, ...)
  io.stderr:write("tidepool: ", text:format(...), "\n")
end

-- ---- words

local VALUES = {
  hosts = { kind = "count", min = 1, max = 100000 },
  service = { kind = "time", min = 1e-6, max = 3600 },
  connect = { kind = "time", min = 0, max = 3600 },
  cores = { kind = "count", min = 1, max = 10000 },
  ["server-max"] = { kind = "count", min = 1, max = 1e7 },
  seed = { kind = "count", min = 0, max = 2 ^ 53 },
  sample = { kind = "time", min = 0.01, max = 3600 },
}

local NAMES = { "--load", "--outage", "--pool", "--rail", "--option", "--out", "--help" }
for name in pairs(VALUES) do NAMES[#NAMES + 1] = "--" .. name end

-- What stands for each option that takes a value; gives what is wrong, or nil.
local TAKE = {}

function TAKE.load(words, value)
  words.phases = {}
  for rate, time in value:gmatch "([%d.]+)x([%w.]+)" do
    local seconds = schema.read({ kind = "time", min = 0.01, max = 1e6 }, time, true)
    if not tonumber(rate) or not seconds then break end
    table.insert(words.phases, { rate = tonumber(rate), seconds = seconds })
  end
  local rest = value:gsub("[%d.]+x[%w.]+", ""):gsub("[%s,]", "")
  if #words.phases == 0 or rest ~= "" then
    return 'expected RATExTIME as in "100x20s 800x30s"'
  end
end

function TAKE.outage(words, value)
  local from, to = value:match "^([%d.]+)s?%-([%d.]+)s?$"
  from, to = tonumber(from), tonumber(to)
  if not (from and to and from < to) then
    return 'expected FROM-TO in seconds as in "20-30"'
  end
  table.insert(words.outages, { from = from, to = to })
end

local function split(value)
  local key, rest = value:match "^([%w_]+)=(.+)$"
  if key then return key, rest end
end

function TAKE.pool(words, value)
  local key, text = split(value)
  local entry = key and schema.entries["database.pool." .. key]
  if not entry then return "expected KEY=VALUE of a pool's settings" end
  local result, expected = schema.read(entry, text, true)
  if result == nil then return key .. ": expected " .. expected end
  words.settings[entry.setting] = result
end

function TAKE.rail(words, value)
  local key, text = split(value)
  local entry = key and schema.entries["policy.rails." .. key]
  if not entry then return "expected SETTING=RAIL" end
  local result, expected = schema.read(entry, text, true)
  if result == nil then return key .. ": expected " .. expected end
  words.rails = words.rails or {}
  words.rails[key] = result
end

function TAKE.option(words, value)
  local key, text = split(value)
  if not key then return "expected KEY=VALUE" end
  words.options = words.options or {}
  words.options[key] = schema.read({ kind = "option" }, text, true)
end

function TAKE.out(words, value) words.out = value end

for name, entry in pairs(VALUES) do
  TAKE[name] = function(words, value)
    local result, expected = schema.read(entry, value, true)
    if result == nil then return "expected " .. expected end
    words[name:gsub("-", "_")] = result
  end
end

local function unknown(word)
  local near = schema.nearest(word, NAMES)
  return ("unknown option %s%s"):format(word,
    near and "; did you mean " .. near .. "?" or "")
end

-- The words as a table; or nil and what is wrong.
local function read(arguments)
  local words = {
    uses = {}, phases = { { rate = 100, seconds = 60 } }, outages = {}, settings = {},
    hosts = 1, service = 0.01, connect = 0.005, cores = 4, server_max = 100, seed = 1,
    sample = 1,
  }
  local at = 1
  while at <= #arguments do
    local word = arguments[at]
    local name, value = word:match "^%-%-([%w-]+)=?(.*)$"
    if word == "--help" then
      words.wants_help = true
    elseif name then
      if not TAKE[name] then return nil, unknown("--" .. name) end
      if not word:find("=", 1, true) then
        at = at + 1
        value = arguments[at]
      end
      if not value or value == "" then
        return nil, ("--%s: a value is missing"):format(name)
      end
      local wrong = TAKE[name](words, value)
      if wrong then return nil, ('--%s: %s, found "%s"'):format(name, wrong, value) end
    else
      words.uses[#words.uses + 1] = word
    end
    at = at + 1
  end
  if words.wants_help then return words end
  if #words.uses == 0 then return nil, "a policy is missing" end
  if #words.uses > 2 then return nil, "one policy expected, or two" end
  return words
end

-- ---- a run

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
    phases = words.phases,
    outages = words.outages, service = words.service, connect = words.connect,
    cores = words.cores, server_max = words.server_max, sample = words.sample,
  }
  if not report then return nil, err.message end
  report.policy = use
  return report, core.now() - began
end

-- ---- the table

local function ms(seconds) return ("%.1f"):format(seconds * 1000) end

local function row_of(sample, interval)
  local function per_second(count) return ("%.0f"):format(count / interval) end
  local function count(number) return ("%d"):format(number) end
  return { ("%.0f"):format(sample.at), per_second(sample.arrivals),
    per_second(sample.done), per_second(sample.shed),
    per_second(sample.timeouts + sample.refused), count(sample.max),
    count(sample.in_use), count(sample.waiting), ms(sample.wait_p50),
    ms(sample.wait_p99), ms(sample.service_p50) }
end

local HEAD = { "s", "asked/s", "done/s", "shed/s", "failed/s", "max", "in use", "waiting",
  "wait p50", "p99 ms", "service" }

-- Several samples as one: counts added, the others as they were last, times at worst.
local function merge(samples, from, to)
  local merged = {}
  for name, value in pairs(samples[to]) do merged[name] = value end
  for _, name in ipairs { "arrivals", "done", "shed", "timeouts", "refused" } do
    merged[name] = 0
    for i = from, to do merged[name] = merged[name] + samples[i][name] end
  end
  for _, name in ipairs { "wait_p50", "wait_p99" } do
    for i = from, to do merged[name] = math.max(merged[name], samples[i][name]) end
  end
  return merged
end

local function put_table(out, rows)
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = ("%9s"):format(cell) end
    out[#out + 1] = table.concat(cells, " ")
  end
end

local function put_samples(out, report, words)
  local samples, rows = report.samples, { HEAD }
  local step = math.max(1, math.ceil(#samples / ROWS))
  for from = 1, #samples, step do
    local to = math.min(from + step - 1, #samples)
    rows[#rows + 1] = row_of(merge(samples, from, to), (to - from + 1) * words.sample)
  end
  put_table(out, rows)
end

local function put_changes(out, report)
  local told = 0
  for _, change in ipairs(report.changes) do
    if told == CHANGES then
      out[#out + 1] = ("  and %d more")
        :format(#report.changes - told + report.changes_lost)
      break
    end
    told = told + 1
    local what = change.outcome == "failed" and "failed"
      or ("%s %s %.6g -> %.6g"):format(change.outcome, change.setting, change.from,
        change.to)
    out[#out + 1] = ("  %6.1f s  host %d  %s: %s"):format(change.at, change.host + 1,
      what, change.reason)
  end
  if told == 0 then out[#out + 1] = "  it changed nothing" end
end

local function put_report(out, report, words)
  local total = report.total
  out[#out + 1] = ("policy %s: %d host%s, %.0f s, seed %d"):format(report.policy,
    words.hosts, words.hosts > 1 and "s" or "", total.at, words.seed)
  put_samples(out, report, words)
  out[#out + 1] = ("in all %d asked, %d done, %d shed, %d timed out, %d refused; "
    .. "wait p50 %s ms, p99 %s ms"):format(total.arrivals, total.done, total.shed,
      total.timeouts, total.refused, ms(total.wait_p50), ms(total.wait_p99))
  put_changes(out, report)
  out[#out + 1] = ""
end

local function put_comparison(out, one, other)
  local function line(name, value)
    return { name, value(one.total), value(other.total) }
  end
  local rows = {
    { "", one.policy:sub(-9), other.policy:sub(-9) },
    line("done", function(t) return ("%d"):format(t.done) end),
    line("shed", function(t) return ("%d"):format(t.shed) end),
    line("failed", function(t) return ("%d"):format(t.timeouts + t.refused) end),
    line("wait p50", function(t) return ms(t.wait_p50) end),
    line("wait p99", function(t) return ms(t.wait_p99) end),
    line("max, last", function(t) return ("%d"):format(t.max) end),
  }
  put_table(out, rows)
end

local function write_out(path, reports)
  local file, err = io.open(path, "w")
  if not file then return nil, err end
  file:write(reply.encode(reports), "\n")
  file:close()
  return true
end

local simulate_command = { HELP = HELP }

-- Runs the command with its words; returns the exit status.
function simulate_command.main(arguments)
  local words, wrong = read(arguments)
  if not words then
    complain("%s", wrong)
    io.stderr:write "see: tidepool simulate --help\n"
    return MISUSED
  end
  if words.wants_help then
    io.stdout:write(HELP)
    return DONE
  end
  local out, reports = {}, {}
  for i, use in ipairs(words.uses) do
    local report, took = simulate(words, use)
    if not report then
      complain("%s", took)
      return MISUSED
    end
    reports[i] = report
    put_report(out, report, words)
    io.stderr:write(("%s: %.0f s simulated in %.2f s, %.0f events\n"):format(use,
      report.total.at, took, report.events))
  end
  if reports[2] then put_comparison(out, reports[1], reports[2]) end
  io.stdout:write(table.concat(out, "\n"), "\n")
  if not words.out then return DONE end
  local ok, err = write_out(words.out, reports)
  if ok then return DONE end
  complain("--out: %s", err)
  return FAILED
end

return simulate_command
