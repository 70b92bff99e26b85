-- verdict.lua - what a soak found, as text, and whether that is well.

local fit = require "fit"
local mix = require "mix"

local WARM_SHARE = 0.2 -- of a life
local WARM_SECONDS = 600 -- and no longer than this
local SHORT_SECONDS = 1200 -- a slope of less says nothing
local GROWTH = 8 -- MiB an hour
local RECOVERY_SECONDS = 1
local MORE_DESCRIPTORS = 2
local SLOWNESS = tonumber(os.getenv "TEST_SLOWNESS") or 1

local Verdict = {}
Verdict.__index = Verdict

function Verdict:say(text, ...) self[#self + 1] = text:format(...) end

function Verdict:check(is_well, text, ...)
  self:say((is_well and "ok      " or "FAILED  ") .. text, ...)
  self.is_well = self.is_well and is_well
end

-- ---- memory

-- The lives of a process: { pid, first, last, points = { { hours, MiB } } }.
local function lives(samples, name)
  local list, last = {}, nil
  for _, sample in ipairs(samples) do
    local seen = sample[name]
    if seen then
      if not last or last.pid ~= seen.pid then
        last = { pid = seen.pid, first = sample.seconds, points = {} }
        list[#list + 1] = last
      end
      last.last, last.rss = sample.seconds, seen.rss
      last.points[#last.points + 1] = { sample.seconds / 3600, seen.rss }
    end
  end
  return list
end

local function longest(list)
  table.sort(list, function(a, b) return a.last - a.first > b.last - b.first end)
  return list[1]
end

local function warm_points(life)
  local warm = math.min(WARM_SECONDS, (life.last - life.first) * WARM_SHARE)
  local from, list = (life.first + warm) / 3600, {}
  for _, point in ipairs(life.points) do
    if point[1] >= from then list[#list + 1] = point end
  end
  return list
end

function Verdict:memory(samples)
  for _, name in ipairs { "master", "worker1", "worker2" } do
    local all = lives(samples, name)
    local life = longest(all)
    local points = warm_points(life)
    local slope, err = fit.line(points)
    if slope then
      local seconds = life.last - life.first
      local text = ("memory of %s, the longest of %d lives, %.0f s: %.1f MiB after "
        .. "warm-up, %.1f in the end, slope %+.2f +- %.2f MiB/hour"):format(name, #all,
        seconds, points[1][2], life.rss, slope, err)
      if seconds < SHORT_SECONDS then
        self:say("        %s (too short to tell)", text)
      else
        self:check(slope - 2 * err < GROWTH, "%s", text)
      end
    end
  end
end

-- ---- descriptors

function Verdict:descriptors(before, after)
  for name, count in pairs(before) do
    local now = after[name] or math.huge
    self:check(now <= count + MORE_DESCRIPTORS,
      "descriptors of %s in quiet: %d at the start, %g in the end", name, count, now)
  end
end

-- Those of killed workers are not counted any more.
function Verdict:connections(sample)
  for _, pool in ipairs { "postgres", "redis" } do
    local count = sample[pool .. "_connections"] or math.huge
    self:check(count <= sample[pool .. "_max"],
      "connections of %s in quiet, by the metrics: %g, of %g", pool, count,
      sample[pool .. "_max"])
  end
end

-- ---- latency

local function third(rounds, which, field)
  local values = {}
  for i = 1, #rounds do
    if math.ceil(i * 3 / #rounds) == which then
      values[#values + 1] = rounds[i][field] * 1000
    end
  end
  return fit.quantile(values, 0.5)
end

-- Not judged: it is the machine's other work as well.
function Verdict:latency(rounds, what)
  if #rounds < 3 then return end
  for _, field in ipairs { "p50", "p99" } do
    local first, last = third(rounds, 1, field), third(rounds, 3, field)
    self:say("        latency %s, median of %d rounds %s: %.2f ms in the first third, "
      .. "%.2f ms in the last, %+.0f %%", field, #rounds, what, first, last,
      (last / first - 1) * 100)
  end
end

-- ---- faults

local function by_kind(list)
  local kinds, names = {}, {}
  for _, fault in ipairs(list) do
    if not kinds[fault.kind] then
      kinds[fault.kind] = { answers = {}, own = {}, whole = {}, lost = 0 }
      names[#names + 1] = fault.kind
    end
    local kind = kinds[fault.kind]
    if fault.answers then
      table.insert(kind.answers, fault.answers)
      table.insert(kind.own, math.max(0, fault.answers - fault.starved))
      table.insert(kind.whole, fault.whole)
    else
      kind.lost = kind.lost + 1
    end
  end
  table.sort(names)
  return kinds, names
end

-- Judged is the time without that in which a worker waited for the CPU.
function Verdict:faults(list)
  local kinds, names = by_kind(list)
  for _, name in ipairs(names) do
    local kind = kinds[name]
    local most = fit.quantile(kind.own, 1)
    local is_well = kind.lost == 0 and most <= RECOVERY_SECONDS * SLOWNESS
    self:check(is_well, "%-16s %3d times, answers after %.3f s (median), %.3f s (most; "
      .. "%.3f s without waits for the CPU), all workers after %.3f s (most)%s", name,
      #kind.answers + kind.lost, fit.quantile(kind.answers, 0.5),
      fit.quantile(kind.answers, 1), most, fit.quantile(kind.whole, 1),
      kind.lost > 0 and (", %d never"):format(kind.lost) or "")
  end
end

-- ---- requests

local function failed(sum)
  local count = 0
  for _, number in pairs(sum.errors) do count = count + number end
  return count
end

function Verdict:requests(total, calm, calm_rounds)
  local errors = failed(total)
  local connects = total.errors.connect or 0
  self:check(total.unaccounted == 0 and total.sent == total.ok + errors - connects,
    "requests: %d sent = %d ok + %d failed; %d attempts to connect failed", total.sent,
    total.ok, errors - connects, connects)
  self:say("        failed, by status or kind: %s", mix.text(total.errors))
  self:say("        not sent in time, for no connection was free: %d", total.unsent)
  self:check(next(calm.wrong) == nil, "of %d requests in the %d rounds without a fault, "
    .. "these should not have failed: %s", calm.sent, calm_rounds, mix.text(calm.wrong))
end

local verdict = {}

function verdict.new() return setmetatable({ is_well = true }, Verdict) end

-- Whether a fault's time or what comes after it touches the round.
function verdict.is_calm(round, list)
  for _, fault in ipairs(list) do
    local is_fault = fault.kind ~= "reload" or not fault.answers
    if is_fault and fault.at < round.done + 0.1 and fault.ended + 2 > round.began then
      return false
    end
  end
  return true
end

return verdict
