-- top_figures.lua - what `tidepool top` tells, from two looks at an instance's
-- /health/pools: how things are now, and what happened between the two.

local quantile = require "tidepool.quantile"

local figures = {}

-- ---- times

-- Histograms of waits, and of what was served: leases and statements have their own.
local TIMES = { wait = { "wait", "queue" }, service = { "use", "service" } }

-- Of both histograms: counts up to each bound, and in all, since an earlier look or the
-- start; and the longest time since the start.
local function counts_of(pool, before, names)
  local counts, total, max = {}, 0, 0
  for _, name in ipairs(names) do
    local since = before and before[name]
    for i, bucket in ipairs(pool[name].buckets) do
      local count = bucket.count - (since and since.buckets[i].count or 0)
      counts[i] = { le = bucket.le, count = (counts[i] and counts[i].count or 0) + count }
    end
    total = total + pool[name].count - (since and since.count or 0)
    max = math.max(max, pool[name].max)
  end
  return counts, total, max
end

local function times_of(pool, before, names)
  local counts, total, max = counts_of(pool, before, names)
  if total <= 0 then return { count = 0 } end
  return { count = total, p50 = math.min(max, quantile(counts, total, 0.5)),
           p99 = math.min(max, quantile(counts, total, 0.99)) }
end

-- ---- rates

-- How many a second, or nil without a look before.
local function rate(now, before, seconds)
  return before and math.max(0, now - before) / seconds or nil
end

-- Of each name; those that nothing happened to are left out.
local function rates(now, before, seconds)
  if not before then return nil end
  local result = {}
  for name, count in pairs(now) do
    local value = rate(count, before[name] or 0, seconds)
    if value > 0 then result[name] = value end
  end
  return result
end

local function above_zero(counts)
  local result = {}
  for name, count in pairs(counts) do
    if count > 0 then result[name] = count end
  end
  return result
end

-- ---- the parts

local function state_of(pool)
  return pool.down and "down" or pool.paused and "paused"
    or pool.exhausted and "exhausted" or "ok"
end

local AS_THEY_ARE = {
  "kind", "max", "open", "idle", "leased", "shared", "opening", "waiting", "queued",
  "due", "oldest_wait", "exhausted", "down", "paused", "policy_name", "policy_change",
}

local function pool_of(pool, before, seconds)
  local result = { state = state_of(pool), lanes_max = pool.settings.lanes }
  for _, name in ipairs(AS_THEY_ARE) do result[name] = pool[name] end
  for _, name in ipairs { "arrivals", "completions", "timeouts" } do
    result[name .. "_per_second"] =
      rate(pool.counters[name], before and before.counters[name], seconds)
  end
  for name, names in pairs(TIMES) do result[name] = times_of(pool, before, names) end
  result.errors = above_zero(pool.errors)
  result.errors_per_second = rates(pool.errors, before and before.errors, seconds)
  if type(pool.last_error) == "string" then result.last_error = pool.last_error end
  return result
end

local function http_of(http, before, seconds)
  if not http then return nil end
  return {
    requests_per_second = rate(http.requests, before and before.requests, seconds),
    responses_per_second = rates(http.responses, before and before.responses, seconds),
    in_flight = http.in_flight, open = http.open,
  }
end

local function tasks_of(tasks, before, seconds)
  return {
    live = tasks.live, errors = tasks.errors,
    started_per_second = rate(tasks.started, before and before.started, seconds),
  }
end

-- What both looks have, or nil: the first one is of another process.
local function interval(now, before)
  local seconds = before and before.pid == now.pid and now.uptime - before.uptime or 0
  return seconds > 0 and seconds or nil
end

-- now, before: what the page tells; before may be nil.  Without `seconds`, the interval,
-- there are no rates, and times are those since the start.
function figures.of(now, before)
  local seconds = interval(now, before)
  before = seconds and before or {}
  local result = {
    version = now.version, pid = now.pid, uptime = now.uptime, status = now.status,
    seconds = seconds, http = http_of(now.http, before.http, seconds),
    tasks = tasks_of(now.tasks, before.tasks, seconds), policy = now.policy, pools = {},
  }
  for name, pool in pairs(now.pools) do
    result.pools[name] = pool_of(pool, before.pools and before.pools[name], seconds)
  end
  return result
end

return figures
