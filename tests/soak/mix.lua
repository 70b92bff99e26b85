-- mix.lua - what the soak asks: requests with their rates, in rounds of a few seconds,
-- and the sums of what became of them.

local core = require "tidepool.core"
local load_request = require "tidepool.command.load_request"
local of = require("tidepool.result").of
local quantile = require "tidepool.quantile"

local PATIENCE = 10 -- seconds for a reply
local LONGEST = 60 -- seconds until the last reply of a round

-- rate: requests a second.  timeout: the client goes away then.  calm: the failures that
-- it has when nothing is wrong.  is_quick: its latency counts.
local MIX = {
  { path = "/row", rate = 30, is_quick = true },
  { path = "/list", rate = 6, is_quick = true },
  { path = "/batch", rate = 3, is_quick = true },
  { path = "/transfer", method = "POST", rate = 6, is_quick = true },
  { path = "/note", method = "POST", rate = 8, is_quick = true },
  { path = "/copy", method = "POST", rate = 1 },
  { path = "/slow", rate = 3, calm = { [504] = true } },
  { path = "/hold", rate = 1, timeout = 0.1, calm = { timeout = true } },
  { path = "/cached", rate = 15, is_quick = true },
  { path = "/multi", rate = 6, is_quick = true },
  { path = "/stream", rate = 2 },
  { path = "/large", rate = 1, timeout = 0.2, calm = { timeout = true } },
  { path = "/events", rate = 1 },
  { path = "/events/forever", rate = 1, timeout = 1, calm = { timeout = true } },
  { path = "/publish", method = "POST", rate = 2, is_quick = true },
  { path = "/notify", method = "POST", rate = 2, is_quick = true },
  { path = "/memo", rate = 10, is_quick = true },
  { path = "/memo/local", rate = 6, is_quick = true },
  { path = "/limited", rate = 8, calm = { [429] = true } },
  { path = "/lock/redis", method = "POST", rate = 2 },
  { path = "/lock/postgres", method = "POST", rate = 1 },
  { path = "/serial", rate = 5 },
  { path = "/job", method = "POST", rate = 4, is_quick = true },
  { path = "/put", method = "POST", rate = 10, is_quick = true },
  { path = "/error", rate = 0.5, calm = { [500] = true } },
  { path = "/spawned", rate = 3 },
}

local mix = {}

-- ---- sums

-- What became of requests.  sent, ok; errors: status or kind -> count; wrong: those that
-- there are none of in calm, by "path what"; unaccounted: sent and in no count.
function mix.sum()
  return { sent = 0, ok = 0, errors = {}, wrong = {}, unaccounted = 0, unsent = 0,
           connects = 0 }
end

local function count(into, key, value) into[key] = (into[key] or 0) + value end

-- Adds one sum to another.
function mix.add(into, sum)
  for key, value in pairs(sum) do
    if type(value) == "number" then
      count(into, key, value)
    else
      for name, number in pairs(value) do count(into[key], name, number) end
    end
  end
end

-- An attempt to connect is no request: what it ends with is not of those sent.
local function note_load(sum, entry, stats)
  local ended = stats.abandoned
  for status, number in pairs(stats.by_status) do
    ended = ended + number
    if status < 400 then
      sum.ok = sum.ok + number
    else
      count(sum.errors, status, number)
      if not (entry.calm and entry.calm[status]) then
        count(sum.wrong, entry.path .. " " .. status, number)
      end
    end
  end
  for kind, number in pairs(stats.errors) do
    if number > 0 then
      count(sum.errors, kind, number)
      if kind ~= "connect" then ended = ended + number end
      if not (entry.calm and entry.calm[kind]) then
        count(sum.wrong, entry.path .. " " .. kind, number)
      end
    end
  end
  if stats.abandoned > 0 then count(sum.errors, "abandoned", stats.abandoned) end
  sum.sent, sum.connects = sum.sent + stats.sent, sum.connects + stats.connects
  sum.unsent = sum.unsent + stats.unsent
  sum.unaccounted = sum.unaccounted + math.abs(stats.sent - ended)
end

-- p50 and p99 of the latency of all quick requests, in seconds.
local function latencies(buckets)
  table.sort(buckets, function(a, b) return a.le < b.le end)
  local total = 0
  for i, bucket in ipairs(buckets) do
    total = total + bucket.count
    buckets[i] = { le = bucket.le, count = total }
  end
  if total == 0 then return 0, 0 end
  return quantile(buckets, total, 0.5), quantile(buckets, total, 0.99)
end

-- ---- a round

local function start(target, entry, seconds)
  local page = setmetatable({ path = entry.path }, { __index = target })
  local body = entry.method == "POST" and "" or nil
  return assert(core.load {
    host = target.host, port = target.port, rate = entry.rate, seconds = seconds,
    request = load_request.request(page, entry.method or "GET", {}, body),
    connections = math.max(2, math.ceil(entry.rate / 5)),
    timeout = entry.timeout or PATIENCE,
  })
end

-- Sends for so many seconds, waits for the last replies: { sum, began, done, p50, p99 },
-- and paths: how many of each were sent, and are ok.
function mix.round(target, seconds)
  local loads, sum, buckets = {}, mix.sum(), {}
  local began, paths = core.now(), {}
  for i, entry in ipairs(MIX) do loads[i] = start(target, entry, seconds) end
  for i, entry in ipairs(MIX) do
    local load = loads[i]
    if not of(load:wait(LONGEST)) then load:stop() end
    local stats = load:stats()
    note_load(sum, entry, stats)
    paths[entry.path] = { ok = stats.by_class[2], sent = stats.sent }
    for _, bucket in ipairs(entry.is_quick and stats.latency.buckets or {}) do
      buckets[#buckets + 1] = bucket
    end
  end
  local p50, p99 = latencies(buckets)
  return { sum = sum, began = began, done = core.now(), p50 = p50, p99 = p99,
           paths = paths }
end

-- "200 5, timeout 1", by their names.
function mix.text(counts)
  local parts = {}
  for name, number in pairs(counts) do
    parts[#parts + 1] = ("%s %d"):format(name, number)
  end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

return mix
