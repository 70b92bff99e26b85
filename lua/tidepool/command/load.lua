-- load.lua - `tidepool load`: loads an HTTP server, reports, compares two reports.

local console = require "tidepool.command.console"
local core = require "tidepool.core"
local files = require "tidepool.command.files"
local load_request = require "tidepool.command.load_request"
local load_words = require "tidepool.command.load_words"
local report = require "tidepool.command.load_report"
local watch = require "tidepool.command.load_watch"

local complain = console.complain

local DONE, FAILED, MISUSED = 0, 1, 2
local LOOK_SECONDS = 0.25 -- between two looks at the pools
local TELL_SECONDS = 2 -- between two lines of progress
local FORMAT = 1 -- of the JSON

local HELP = [[
usage: tidepool load URL [options]
       tidepool load --compare BEFORE.json AFTER.json

Sends one request to URL again and again and reports latency, rate, status and errors.
URL is http://HOST:PORT/PATH, https:// or unix:/SOCKET:/PATH.  What the pools did comes
from /metrics of the same origin, when it is a tidepool.

  --connections N    connections, kept open (10)
  --duration TIME    how long requests are sent (10s)
  --rate R           open loop: R requests a second are due, whatever the server does,
                     and latency counts from when each was due; without it each
                     connection sends its next request when it has a reply
  --requests N       no more than these
  --timeout TIME     for a connect, and for a reply (10s)
  --method NAME      GET, or POST with --body
  --header LINE      "Name: value"; may stand repeatedly
  --body FILE        what to send
  --out FILE         all figures as JSON; --json FILE is the same
  --admin URL        where /metrics answers, when not at URL's origin
  --cacert FILE      of https, the roots to trust instead of the system's
  --insecure         of https, trusts whoever answers
  --postgres-pid N   the Postgres whose CPU is read; without it, the only one that runs
                     on this machine, when URL is on this machine as well
  --compare          a table of two files of --out: before, after, change

Ctrl-C ends it early, with the report.  Status 1 when nothing was answered with 2xx or
3xx.
]]

-- ---- comparing

local function read_result(path)
  local result, why = files.read_json(path)
  if why then return nil, why end
  if type(result) ~= "table" or result.tidepool_load ~= FORMAT then
    return nil, ("%s: expected what `tidepool load --out` writes"):format(path)
  end
  return result
end

local function compare(paths)
  local results = {}
  for i, path in ipairs(paths) do
    local result, why = read_result(path)
    if not result then
      complain("--compare: %s", why)
      return MISUSED
    end
    results[i] = result
  end
  io.stdout:write(report.compare(results[1], results[2]))
  return DONE
end

-- ---- one test

local function start(words)
  local target = words.target
  return core.load {
    host = target.host, port = target.port, unix_path = target.unix_path,
    tls = target.tls,
    request = load_request.request(target, words.method, words.headers, words.body),
    is_head = words.method == "HEAD", connections = words.connections,
    rate = words.rate, seconds = words.duration, requests = words.requests,
    timeout = words.timeout,
  }
end

-- Looks at the pools, and tells, until the test is over.
local function follow(words, test, seen)
  local is_told = console.is_live()
  local told = core.now()
  while not test:wait(LOOK_SECONDS) do
    if seen.last then seen:look() end
    if is_told and core.now() - told >= TELL_SECONDS then
      told = core.now()
      console.progress(report.progress(test:stats(), words.duration))
    end
  end
  console.end_progress()
end

local function classes(counts)
  local status = {}
  for class = 1, 5 do status[class .. "xx"] = counts[class] end
  return status
end

-- By their text, for JSON has no other keys.
local function each_status(counts)
  local statuses = {}
  for status, count in pairs(counts) do statuses[tostring(status)] = count end
  return statuses
end

local function result_of(words, stats, seen)
  local result = {
    tidepool_load = FORMAT, url = words.url, method = words.method,
    connections = words.connections, rate = words.rate, duration = words.duration,
    seconds = stats.seconds, requests_per_second = stats.rate,
    latency = stats.latency, service = stats.service,
    status = classes(stats.by_class), statuses = each_status(stats.by_status),
    errors = stats.errors,
    max_concurrent = stats.peak_in_flight,
    last_error = stats.why ~= "" and stats.why or nil,
  }
  for _, name in ipairs { "sent", "answered", "bytes_in", "bytes_out", "connects", "late",
                          "unsent", "abandoned" } do
    result[name] = stats[name]
  end
  result.database_cpu, result.database_cpu_why = seen:cpu()
  if seen.last then seen:look() end
  result.server, result.server_why = seen:pools(stats.seconds)
  return result
end

local function run(words)
  local seen = watch.new(words)
  local test, err = start(words)
  if not test then
    complain("%s", tostring(err))
    return FAILED
  end
  for _, name in ipairs { "INT", "TERM" } do
    core.on_signal(name, function() test:stop() end)
  end
  follow(words, test, seen)
  local stats = test:stats()
  local result = result_of(words, stats, seen)
  io.stdout:write(report.text(result))
  io.stdout:flush()
  local ok, why = files.write_asked {
    { "--out", words.out, function() return files.json(result) end },
  }
  if not ok then
    complain("%s", why)
    return FAILED
  end
  local good = stats.by_class[2] + stats.by_class[3]
  if good > 0 then return DONE end
  complain("no request succeeded%s", stats.why ~= "" and ": " .. stats.why or "")
  return FAILED
end

-- read(list): what the words say, or nil and what is wrong.  run(words): the exit status.
return {
  HELP = HELP, read = load_words.read,
  run = function(words)
    if words.compare then return compare(words.operands) end
    return run(words)
  end,
}
