-- admin_spec.lua - health and metrics: what they say of pools in each condition.

local admin = require "tidepool.admin"
local cjson = require "cjson"
local core = require "tidepool.core"
local metrics = require "tidepool.metrics"

local TASKS = { live = 3, started = 40, errors = 2 }

local function histogram(count, sum)
  local buckets = {
    { le = 2 ^ 14 / 1e9, count = 0 }, { le = 2 ^ 35 / 1e9, count = count },
  }
  return { count = count, sum = sum, max = sum, p50 = 0.0001, p90 = 0.0002, p99 = 0.0004,
           buckets = buckets }
end

-- What pool:stats() gives, with changes.
local function stats(changes)
  local result = {
    kind = "postgres", name = "main", max = 15, min = 5, open = 5, idle = 4, leased = 1,
    shared = 0, opening = 0, testing = 0, resetting = 0, cancelling = 0, closing = 0,
    waiting = 2, down = false, paused = false,
    exhausted = false,
    counters = { acquires = 100, timeouts = 7, connects = 6, connect_failures = 1 },
    closes = { idle_timeout = 3, lost = 1 },
    errors = { timeout = 6, busy = 0 },
    wait = histogram(100, 0.25), create = histogram(6, 0.5), use = histogram(99, 12.5),
    queue = histogram(30, 0.2), service = histogram(29, 0.4),
    phases = { queue = histogram(10, 0.1), tcp = histogram(0, 0) },
  }
  for name, value in pairs(changes or {}) do result[name] = value end
  return result
end

local function handler(all, is_stopping, optional, policy)
  local pools = {}
  for i, entry in ipairs(all) do
    pools[i] = {
      stats = function() return entry end,
      settings = function() return { max_connections = entry.max } end,
    }
  end
  return admin.new {
    pools = pools,
    optional = { [pools[optional or 0] or 0] = true },
    server = function() end,
    is_stopping = function() return is_stopping or false end,
    policy = policy,
  }
end

local function request(path, method)
  method = method or "GET"
  return { path = function() return path end, method = function() return method end }
end

local function get_json(handle, path)
  local status, headers, body = handle(request(path))
  assert.equal("application/json", headers["content-type"])
  return status, cjson.decode(body)
end

local DOWN = { down = true, open = 0, idle = 0, leased = 0, last_error = "no route" }

describe("/health", function()
  it("is ok with each pool's counts", function()
    local status, health = get_json(handler { stats() }, "/health")

    assert.equal(200, status)
    assert.equal("ok", health.status)
    assert.same({
      kind = "postgres", max = 15, min = 5, open = 5, idle = 4, leased = 1, shared = 0,
      opening = 0, waiting = 2, timeouts = 7, wait_p99_ms = 0.4, down = false,
      paused = false, last_error = cjson.null, required = true,
    }, health.pools.main)
  end)

  it("is degraded while a pool is down, with the reason", function()
    local all = { stats(), stats { name = "redis", kind = "redis" } }
    for name, value in pairs(DOWN) do all[2][name] = value end
    local status, health = get_json(handler(all), "/health")

    assert.equal(200, status)
    assert.equal("degraded", health.status)
    assert.equal("no route", health.pools.redis.last_error)
    assert.equal("redis", health.pools.redis.kind)
    assert.equal(cjson.null, health.pools.main.last_error)
  end)

  it("is degraded while a pool is paused", function()
    local _, health = get_json(handler { stats { paused = true } }, "/health")

    assert.equal("degraded", health.status)
  end)

  it("is down, 503, while the service stops", function()
    local status, health = get_json(handler({ stats() }, true), "/health")

    assert.equal(503, status)
    assert.equal("down", health.status)
  end)

  it("has an object of pools when there are none", function()
    local _, _, body = handler {}(request "/health")

    assert(body:find('"pools":{}', 1, true), body)
  end)
end)

describe("/health/pools", function()
  it("has all of an instance, with buckets of the times", function()
    local policy = {
      stats = function() return { name = "aimd", ticks = 3 } end,
      name_for = function(_, name) return name == "main" and "aimd" or nil end,
      last_of = function() end, change_of = function() return { ago = 4 } end,
    }
    local all = {
      stats { last_error = "no route", queued = 7, due = 2, oldest_wait = 1.5 },
      stats { name = "redis", kind = "redis" },
    }
    local status, told = get_json(handler(all, false, nil, policy), "/health/pools")

    assert.same({ 200, "ok", core.version, core.pid() },
      { status, told.status, told.version, told.pid })
    assert.is_true(told.uptime >= 0)
    assert.same({ name = "aimd", ticks = 3 }, told.policy)
    assert.is_true(told.tasks.live > 0)
    local main = told.pools.main
    assert.same({ 2, 7, 2, 1.5, "no route", "aimd", 4, 15 },
      { main.waiting, main.queued, main.due, main.oldest_wait, main.last_error,
        main.policy_name, main.policy_change.ago, main.settings.max_connections })
    assert.equal(6, main.errors.timeout)
    assert.same(stats().wait.buckets[2].count, main.wait.buckets[2].count)
    assert.is_nil(told.pools.redis.policy_name)
  end)

  it("tells a service that stops", function()
    local status, told = get_json(handler({ stats() }, true), "/health/pools")

    assert.same({ 200, "down" }, { status, told.status })
  end)
end)

describe("/health/ready and /health/live", function()
  it("are 200 while all is well", function()
    local handle = handler { stats() }

    assert.equal(200, (get_json(handle, "/health/ready")))
    assert.equal(200, (get_json(handle, "/health/live")))
  end)

  it("tell a pool that is down: not ready, but alive", function()
    local handle = handler { stats(DOWN) }
    local status, ready = get_json(handle, "/health/ready")

    assert.equal(503, status)
    assert.same({ status = "degraded" }, ready)
    assert.equal(200, (get_json(handle, "/health/live")))
  end)

  it("are ready without a pool that is optional, though degraded", function()
    local handle = handler({ stats(), stats { name = "reports", down = true } }, false, 2)
    local status, ready = get_json(handle, "/health/ready")
    local _, health = get_json(handle, "/health")

    assert.same({ 200, "degraded" }, { status, ready.status })
    assert.same({ true, false },
      { health.pools.main.required, health.pools.reports.required })
  end)

  it("tell a service that stops: not ready, but alive", function()
    local handle = handler({ stats() }, true)

    assert.equal(503, (get_json(handle, "/health/ready")))
    assert.equal(200, (get_json(handle, "/health/live")))
  end)
end)

describe("the handler", function()
  it("leaves other paths to others", function()
    local handle = handler {}
    for _, path in ipairs { "/", "/healthy", "/health/", "/health/x", "/metrics/x" } do
      assert.is_nil(handle(request(path)))
    end
  end)

  it("only reads", function()
    local handle = handler {}
    for _, path in ipairs { "/health", "/health/ready", "/metrics" } do
      local status, headers = handle(request(path, "POST"))
      assert.same({ 405, "GET, HEAD" }, { status, headers.allow })
      assert.equal(200, (handle(request(path, "HEAD"))))
    end
  end)

  it("gives metrics as Prometheus reads them", function()
    local status, headers, body = handler { stats() }(request "/metrics")

    assert.equal(200, status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", headers["content-type"])
    assert(body:find('db_client_connection_max{pool_name="main"} 15\n', 1, true))
  end)
end)

local HTTP = {
  connections = 10, refused = 0, requests = 20, gone = 1, bad_requests = 2,
  header_timeouts = 0, body_timeouts = 0, write_timeouts = 0, idle_closes = 3, open = 4,
  buffered_bytes = 4096,
  in_flight = 5, status = { 0, 18, 0, 1, 0 }, refusals = { framing = 2, head_time = 0 },
}

describe("metrics", function()
  local redis = stats { name = "redis", down = true }
  local page = metrics.page({ stats(), redis }, HTTP, TASKS)

  local function has(line)
    assert(("\n" .. page):find("\n" .. line .. "\n", 1, true), line)
  end

  it("count connections by pool and state", function()
    has 'db_client_connection_count{pool_name="main",state="idle"} 4'
    has 'db_client_connection_count{pool_name="main",state="leased"} 1'
    has 'db_client_connection_count{pool_name="redis",state="closing"} 0'
    has 'db_client_connection_max{pool_name="main"} 15'
    has 'db_client_connection_idle_min{pool_name="main"} 5'
    has 'db_client_connection_pending_requests{pool_name="main"} 2'
    has 'db_client_connection_timeouts_total{pool_name="main"} 7'
  end)

  it("give times as histograms in seconds", function()
    local name = "db_client_connection_wait_time_seconds"
    has(name .. '_bucket{pool_name="main",le="1.6384e-05"} 0')
    has(name .. '_bucket{pool_name="main",le="34.359738368"} 100')
    has(name .. '_bucket{pool_name="main",le="+Inf"} 100')
    has(name .. '_sum{pool_name="main"} 0.25')
    has(name .. '_count{pool_name="main"} 100')
    has 'db_client_connection_create_time_seconds_count{pool_name="main"} 6'
    has 'db_client_connection_use_time_seconds_sum{pool_name="main"} 12.5'
    has 'tidepool_pool_wait_phase_seconds_sum{pool_name="main",phase="queue"} 0.1'
  end)

  it("tell what else there is of pools, requests and tasks", function()
    has 'tidepool_pool_acquires_total{pool_name="main"} 100'
    has 'tidepool_pool_connect_failures_total{pool_name="main"} 1'
    has 'tidepool_pool_closes_total{pool_name="main",reason="idle_timeout"} 3'
    has 'tidepool_pool_errors_total{pool_name="main",code="timeout"} 6'
    has 'tidepool_pool_down{pool_name="main"} 0'
    has 'tidepool_pool_down{pool_name="redis"} 1'
    has "tidepool_http_requests_total 20"
    has 'tidepool_http_responses_total{class="4xx"} 1'
    has 'tidepool_http_refused_requests_total{reason="framing"} 2'
    has "tidepool_http_open_connections 4"
    has "tidepool_http_requests_in_flight 5"
    has "tidepool_tasks 3"
    has "tidepool_task_errors_total 2"
    assert(page:find "\ntidepool_lua_memory_bytes [1-9]%d+\n")
  end)

  it("have every counter of a pool, with what it counts", function()
    for counter, help in pairs(require "tidepool.core".pool_counters()) do
      local name = counter == "timeouts" and "db_client_connection_timeouts_total"
        or "tidepool_pool_" .. counter .. "_total"
      assert.truthy(page:find(("# HELP %s %s.\n"):format(name,
        help:sub(1, 1):upper() .. help:sub(2)), 1, true), name)
      assert.truthy(page:find("\n" .. name .. '{pool_name="main"} ', 1, true), name)
    end
  end)

  it("escape labels", function()
    local odd = metrics.page({ stats { name = 'a"b\\c\nd' } }, nil, TASKS)

    assert(odd:find('{pool_name="a\\"b\\\\c\\nd"}', 1, true))
  end)

  it("name each family once, with its help and type first", function()
    local seen = {}
    for name in page:gmatch "# TYPE ([%w_]+) " do
      assert.is_nil(seen[name])
      seen[name] = true
      local head = "# HELP " .. name .. " [%u1][^\n]+%.\n# TYPE " .. name .. " %a+\n"
      assert(page:find(head), name)
    end
  end)

  it("pass promtool", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(page)
    file:close()
    local check = io.popen("promtool check metrics < " .. path .. " 2>&1; echo $?")
    local said = check:read "*a"
    check:close()
    os.remove(path)

    assert.equal("0\n", said)
  end)

  it("are there without any pool", function()
    local bare = metrics.page({}, nil, TASKS)

    assert.is_nil(bare:find("db_client", 1, true))
    assert(bare:find("tidepool_build_info", 1, true))
  end)
end)
