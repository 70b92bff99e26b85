-- admin.lua - health and metrics over HTTP, read only.

local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local overview = require "tidepool.overview"

local JSON = { ["content-type"] = "application/json", ["cache-control"] = "no-store" }
local METRICS = { ["content-type"] = metrics.TYPE, ["cache-control"] = "no-store" }
local NOT_ALLOWED = { ["content-type"] = "text/plain", allow = "GET, HEAD" }

-- Degraded: a pool cannot serve, the service itself can.  Down: it is stopping.
-- Ready: it is not, and every pool that is required can serve.
local function health_of(state)
  local pools, status, is_ready = {}, "ok", true
  for _, pool in ipairs(state.pools) do
    local stats = pool:stats()
    local health = overview.health(stats)
    health.required = not state.optional[pool]
    pools[stats.name] = health
    if stats.down or stats.paused then
      status = "degraded"
      is_ready = is_ready and not health.required
    end
  end
  if state.is_stopping() then status, is_ready = "down", false end
  return { status = status, version = core.version, pools = pools,
           script = state.script and overview.script(state.script()) }, is_ready
end

-- path -> function(state, began), which gives status, headers, body.
local PAGES = {}

PAGES["/health"] = function(state)
  local health = health_of(state)
  return health.status == "down" and 503 or 200, JSON, core.encode(health)
end

PAGES["/health/live"] = function()
  return 200, JSON, '{"status":"ok"}'
end

PAGES["/health/ready"] = function(state)
  local health, is_ready = health_of(state)
  return is_ready and 200 or 503, JSON, core.encode { status = health.status }
end

PAGES["/health/pools"] = function(state, began)
  local status = health_of(state).status
  return 200, JSON, core.encode(overview.instance(state, status, began))
end

PAGES["/metrics"] = function(state)
  local pools = {}
  for i, pool in ipairs(state.pools) do pools[i] = pool:stats() end
  local server = state.server()
  local http = server and server:stats()
  if http then http.certificates = state.certificates() end
  return 200, METRICS, metrics.page(pools, http, core.task_counts(),
    state.policy and state.policy:stats(), state.recording and state.recording:stats(),
    state.access and state.access.refused, state.script and state.script())
end

local admin = {}

-- Stands for a request of the page at path, for who asks within this process.
local function request_for(path)
  return { path = function() return path end, method = function() return "GET" end }
end

admin.METRICS_REQUEST = request_for "/metrics"
admin.HEALTH_REQUEST = request_for "/health"

-- Gives a function that answers a request as core.listen's handler does, or gives nil
-- when the path is not one of these.  state: pools (an array), optional (those that
-- readiness does not need, as keys), server() (the main one, or nil before it listens),
-- certificates() (of tls.lua), is_stopping(), policy (of policies.start, or nil),
-- recording (of recording.start, or nil), access (of access.new, or nil), script(), which
-- gives Reloader:stats(), or nil.
function admin.new(state)
  local began = core.now()
  return function(request)
    local page = PAGES[request:path()]
    if not page then return nil end
    local method = request:method()
    if method ~= "GET" and method ~= "HEAD" then
      return 405, NOT_ALLOWED, "method not allowed\n"
    end
    return page(state, began)
  end
end

return admin
