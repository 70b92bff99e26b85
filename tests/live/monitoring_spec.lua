-- examples/monitoring: the alert rules, and a real Prometheus that scrapes the service.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local FOLDER = "examples/monitoring/"

after_each(support.run_ends)

local function file_text(name)
  local file = must(io.open(FOLDER .. name))
  local text = file:read "*a"
  file:close()
  return text
end

-- Asks a server on the loopback; gives status and body.
local function ask(address, path)
  local ok, status, _, body = pcall(support.request, address, "GET", path)
  if ok then return status, body end
end

local function write(path, text)
  local file = must(io.open(path, "w"))
  must(file:write(text))
  file:close()
end

-- A service in a process of its own: the addresses of its app and its admin.
local function serve(script, ...)
  local output = support.file("service.out", "")
  local process = support.start({
    core.realpath "/proc/self/exe", "run", support.file("app.lua", script),
    "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", ...
  }, {
    env = {
      DATABASE_URL = support.servers.postgres.url, REDIS_URL = support.servers.redis.url,
      TIDEPOOL_RECORD__DUMP_DIR = output:match "^(.*)/",
    },
    log = output,
  })
  support.at_end(function()
    process:signal "TERM"
    process:wait()
  end)
  local app, admin
  eventually("it listens", function()
    local text = core.read_file(output)
    app = ("\n" .. text):match "\nlistening on http://(%S+)"
    admin = text:match "admin listening on http://(%S+)"
    return admin
  end)
  return app, admin
end

-- A Prometheus that scrapes target every half second, with the alerts of the example,
-- sooner: its address.
local function prometheus(target)
  local folder = support.directory .. "/prometheus"
  must(core.mkdir(folder))
  write(folder .. "/alerts.yml", (file_text "alerts.yml":gsub("for: %d+[sm]", "for: 1s")))
  write(folder .. "/prometheus.yml", (file_text "prometheus.yml"
    :gsub("interval: 5s", "interval: 500ms"):gsub("127.0.0.1:9400", target)))
  local port
  local probe = must(core.listen { address = "127.0.0.1:0", handler = function() end })
  port = probe:address():match ":(%d+)$"
  probe:close()
  local address = "127.0.0.1:" .. port
  local process = support.start({ "prometheus", "--config.file=" .. folder
    .. "/prometheus.yml", "--storage.tsdb.path=" .. folder .. "/data",
    "--web.listen-address=" .. address }, { log = folder .. "/log" })
  support.at_end(function()
    process:signal "TERM"
    process:wait()
  end)
  eventually("Prometheus is ready", function()
    return ask(address, "/-/ready") == 200
  end, 30)
  return address
end

-- The state of an alert: "firing", "pending" or nil.
local function state_of(address, name)
  local status, body = ask(address, "/api/v1/alerts")
  if status ~= 200 then return nil end
  for _, alert in ipairs(must(tide.decode(body)).data.alerts) do
    if alert.labels.alertname == name then return alert.state end
  end
end

describe("The monitoring example", function()
  it("has alert rules that do what their tests say", function()
    local status, words = support.run({ "promtool", "test", "rules",
      FOLDER .. "alerts_test.yml" })
    assert.are.equal(0, status, words)
  end)

  it("names no metric that the service does not have", function()
    local _, admin = serve [[return require("tidepool").app()]]
    local _, page = ask(admin, "/metrics")
    local known = {}
    for name in page:gmatch "\n# TYPE ([%w_]+)" do
      known[name] = true
      for _, part in ipairs { "_bucket", "_sum", "_count" } do
        known[name .. part] = true
      end
    end
    local count = 0
    for _, name in ipairs { "alerts.yml", "alerts_test.yml", "dashboard.json" } do
      local text = file_text(name):gsub("alerts?_?test%.yml", "")
      for metric in text:gmatch "[%a_]*tidepool_[%l_]+" do
        count = count + 1
        assert.is_true(known[metric] == true, name .. ": " .. metric)
      end
      for metric in text:gmatch "db_client_[%l_]+" do
        count = count + 1
        assert.is_true(known[metric] == true, name .. ": " .. metric)
      end
    end
    assert.is_true(count > 30)
    assert.is_truthy(tide.decode(file_text "dashboard.json").panels[1])
  end)

  it("has its exhaustion alert fire and resolve, in a real Prometheus", function()
    local app, admin = serve([[
      local tide = require "tidepool"
      local db, app = tide.postgres(), tide.app()
      local held
      app:get("/hold", function()
        held = true
        db:with(function() while held do tide.sleep(0.02) end end)
        return "given back"
      end)
      app:get("/ask", function() return (db:with(function() return "served" end)) end)
      app:get("/release", function() held = false return "released" end)
      return app]], "--set", "database.pool.max_connections=1")
    local address = prometheus(admin)
    local holder = tide.spawn(ask, app, "/hold")
    local waiter
    eventually("it is held", function()
      local _, body = ask(admin, "/pools/main")
      return body and must(tide.decode(body)).leased == 1
    end)
    waiter = tide.spawn(ask, app, "/ask")
    eventually("the alert fires", function()
      return state_of(address, "TidepoolPoolExhausted") == "firing"
    end, 30)
    assert.are.equal(200, (ask(app, "/release")))
    holder:wait()
    local _, status, body = waiter:wait()
    assert.are.same({ 200, "served" }, { status, body })
    eventually("the alert resolves", function()
      return state_of(address, "TidepoolPoolExhausted") == nil
    end, 30)
  end)
end)
