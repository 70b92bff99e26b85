-- overview.lua - what the pools, and the instance that has them, are at the moment: as
-- tables for JSON.  Times are seconds, as in the settings.

local core = require "tidepool.core"

local HISTOGRAMS = { "wait", "create", "use", "queue", "service" }

local overview = {}

local function milliseconds(seconds)
  return math.floor(seconds * 1e6 + 0.5) / 1e3
end

-- What /health says of a pool, from its stats().
function overview.health(stats)
  return {
    kind = stats.kind, max = stats.max, min = stats.min, open = stats.open,
    idle = stats.idle, leased = stats.leased, shared = stats.shared,
    opening = stats.opening, waiting = stats.waiting,
    timeouts = stats.counters.timeouts, wait_p99_ms = milliseconds(stats.wait.p99),
    down = stats.down, paused = stats.paused, last_error = stats.last_error or core.null,
  }
end

local function times_of(histogram)
  return { count = histogram.count, p50 = histogram.p50, p90 = histogram.p90,
           p99 = histogram.p99, max = histogram.max }
end

-- What the policy does with a pool: its name where it tunes this one, what it wanted
-- last, and what it changed last.
local function put_policy(result, policy, name)
  if not policy then return end
  result.policy_name = policy:name_for(name)
  result.policy = policy:last_of(name)
  result.policy_change = policy:change_of(name)
end

-- policy: of policies.start(), or nil.
function overview.pool(pool, policy)
  local stats = pool:stats()
  local result = overview.health(stats)
  for _, name in ipairs { "name", "exhausted", "queued", "due", "oldest_wait", "counters",
                          "closes", "errors" } do
    result[name] = stats[name]
  end
  result.settings = pool:settings()
  for _, name in ipairs(HISTOGRAMS) do result[name] = times_of(stats[name]) end
  put_policy(result, policy, stats.name)
  return result, stats
end

-- What /health says of the script; stats: Reloader:stats().
function overview.script(stats)
  return { generation = stats.generation, last_error = stats.last_error or core.null,
           loaded_at = os.date("!%Y-%m-%dT%H:%M:%SZ", stats.loaded_at) }
end

local function http_of(server)
  if not server then return nil end
  local stats = server:stats()
  local responses = {}
  for class = 1, 5 do responses[class .. "xx"] = stats.status[class] end
  return { requests = stats.requests, in_flight = stats.in_flight, open = stats.open,
           responses = responses, tls_failures = stats.tls_failures,
           tls_failure = stats.tls_failure ~= "" and stats.tls_failure or nil }
end

-- All of an instance, with the buckets of the histograms, so that what happened between
-- two looks can be told.  state: as admin.new() has it; status: of /health; began: when
-- it did, by core.now().
function overview.instance(state, status, began)
  local pools = {}
  for _, pool in ipairs(state.pools) do
    local result, stats = overview.pool(pool, state.policy)
    result.required = not state.optional[pool]
    for _, name in ipairs(HISTOGRAMS) do result[name].buckets = stats[name].buckets end
    pools[stats.name] = result
  end
  return {
    version = core.version, pid = core.pid(), uptime = core.now() - began,
    status = status, tasks = core.task_counts(), http = http_of(state.server()),
    policy = state.policy and state.policy:stats(), pools = pools,
    script = state.script and overview.script(state.script()),
  }
end

return overview
