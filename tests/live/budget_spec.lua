-- budget_spec.lua - processes that share one max_connections: what one needs and another
-- does not use, what the dead leave behind.

local cjson = require "cjson"
local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local MAX = 4

-- A worker: holds as many leases as it is told to.
local WORKER = [[
local core = require "tidepool.core"
local tide = require "tidepool"
assert(assert(core.budget_attach(3)):claim())
local db = assert(core.postgres_open { name = "main", url = os.getenv "BUDGET_URL",
  application_name = "budgeted", settings = { max_connections = ]] .. MAX .. [[ } })
local app, wanted, held = tide.app(), 0, 0

local function hold(number)
  tide.spawn(function()
    db:with(function()
      held = held + 1
      while number <= wanted do tide.sleep(0.001) end
      held = held - 1
    end)
  end)
end

app:get("/hold/:count", function(req)
  local before, began = wanted, tide.now()
  wanted = tonumber(req.params.count)
  for number = before + 1, wanted do hold(number) end
  while held ~= wanted do tide.sleep(0.0005) end
  return tide.json { ms = (tide.now() - began) * 1000 }
end)

app:get("/busy/:seconds", function(req)
  for _ = 1, wanted do
    tide.spawn(function()
      db:one({ "SELECT pg_sleep($1::float8)", share = false }, req.params.seconds)
    end)
  end
  return "started\n"
end)

app:get("/why", function()
  local lease, err = db:acquire { timeout_ms = 20 }
  if lease then lease:release() end
  return err and err.message or "there is one"
end)

app:get("/stats", function() return tide.json(db:stats()) end)
return app
]]

describe("Workers with one budget", function()
  local db, budget

  setup(function() db = support.postgres { max_connections = 2 } end)

  before_each(function()
    budget = must(core.budget_new())
    support.at_end(function() budget:close() end)
  end)

  after_each(support.run_ends)

  local function count()
    return must(db:one [[SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE application_name = 'budgeted']]).n
  end

  local function start()
    local log = support.file("worker.log", "")
    local process = must(core.process {
      args = { core.realpath("/proc/self/exe"), "run", "--trusted",
        support.file("app.lua", WORKER),
        "--listen", "127.0.0.1:0" },
      env = { BUDGET_URL = support.servers.postgres.url }, log = log,
      inherit = { budget:fd() },
    })
    local worker = { process = process }
    function worker.ask(path)
      local status, _, body = support.request(worker.address, "GET", path)
      assert.are.equal(200, status, body)
      return body:sub(1, 1) == "{" and cjson.decode(body) or body
    end
    function worker.kill(signal)
      process:signal(signal)
      process:wait()
      return budget:dead(process:pid())
    end
    support.at_end(function() worker.kill "KILL" end)
    eventually("it serves", function()
      worker.address = core.read_file(log):match "listening on http://(%S+)"
      return worker.address
    end)
    return worker
  end

  -- Looks at the server without rest until the function that it gives is called.
  local function watch()
    local most, goes_on = 0, true
    local task = tide.spawn(function()
      while goes_on do most = math.max(most, count()) end
    end)
    return function()
      goes_on = false
      task:wait()
      return most
    end
  end

  it("lets one have what another does not use, at once", function()
    local one, other = start(), start()
    one.ask("/hold/" .. MAX - 1)
    other.ask "/hold/1"
    other.ask "/hold/0"
    local waits = {}
    for _ = 1, 4 do
      one.ask "/hold/0"
      tide.sleep(1.01) -- it does not count as in use from then on
      waits[#waits + 1] = other.ask("/hold/" .. MAX).ms
      one, other = other, one
    end
    core.log("info", "idle connections of another", { ms = table.concat(waits, " ") })
    -- Four connects, two at a time, are most of it; not what is idle for idle_timeout.
    for _, ms in ipairs(waits) do
      assert.is_true(ms < 2000 * support.slowness, table.concat(waits, " "))
    end
    one.ask "/hold/0"
    assert.is_true(one.ask("/stats").counters.yields > 0)
  end)

  it("says whose the connections are that it waits for", function()
    local one, other = start(), start()
    other.ask "/hold/0"
    one.ask("/hold/" .. MAX - 1)
    other.ask "/hold/1"
    assert.is_truthy(one.ask("/why"):find("1 of 4 are other workers'", 1, true))
    assert.are.equal(1, one.ask("/stats").elsewhere)
    assert.are.equal(MAX, one.ask("/stats").max)
  end)

  it("has a killed one's connections when the server is done with them", function()
    local one, other = start(), start()
    other.ask "/hold/1"
    other.ask "/hold/0"
    one.ask("/hold/" .. MAX - 1)
    one.ask "/hold/0"
    local seen = watch()
    one.ask "/hold/3"
    assert.are.equal(3, one.kill "KILL")
    local began = core.now()
    local ms = other.ask("/hold/" .. MAX).ms
    core.log("info", "connections of the dead", { ms = ms })
    assert.is_true(core.now() - began < 1.5 * support.slowness)
    assert.is_true(seen() <= MAX)
    eventually("no ghosts are left", function()
      return other.ask("/stats").ghosts == 0
    end)
  end)

  it("counts what a killed one still runs at the server", function()
    local one, other = start(), start()
    other.ask "/hold/1"
    other.ask "/hold/0"
    one.ask "/hold/2"
    one.ask "/busy/0.6" -- in the line until the leases are back
    one.ask "/hold/0"
    eventually("it runs", function()
      return support.running(db, "SELECT pg_sleep%") == 2
    end)
    local seen, began = watch(), core.now()
    assert.is_true(one.kill "KILL" >= 2)
    other.ask("/hold/" .. MAX) -- nobody is idle then, and could ask: one more does
    assert.is_true(core.now() - began > 0.3)
    assert.is_true(core.now() - began < 3 * support.slowness)
    assert.is_true(seen() <= MAX)
  end)
end)
