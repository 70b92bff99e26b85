-- control_spec.lua - pools and the script, changed over HTTP.

local cjson = require "cjson"
local control = require "tidepool.control"
local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

describe("The admin API", function()
  local db, cache, server, address, reloads, reload

  setup(function()
    db = support.postgres { max_connections = 4 }
    cache = support.redis { max_connections = 2 }
    reload = function() return true end
    local handle = control.new {
      pools = { db, cache },
      reload = function()
        reloads = reloads + 1
        return reload()
      end,
    }
    server = must(core.listen {
      address = "127.0.0.1:0",
      handler = function(request)
        local status, headers, body = handle(request)
        if status then return status, headers, body end
        return 404, nil, "no such page\n"
      end,
    })
    address = server:address()
  end)

  teardown(function() server:close() end)

  before_each(function() reloads = 0 end)

  local function ask(method, path, body, headers)
    local status, reply_headers, text =
      support.request(address, method, path, body, headers)
    local ok, value = pcall(cjson.decode, text)
    return status, ok and value or text, reply_headers
  end

  it("lists the pools with counts, settings and times", function()
    must(db:one "SELECT 1 AS n")
    local status, all, headers = ask("GET", "/pools")
    assert.are.equal(200, status)
    assert.are.equal("application/json", headers["content-type"])
    local pool = all.pools[db:name()]
    assert.are.equal("postgres", pool.kind)
    assert.are.equal(4, pool.max)
    assert.are.equal(4, pool.settings.max_connections)
    assert.is_true(pool.counters.acquires >= 1)
    assert.is_number(pool.closes.lost)
    assert.is_number(pool.wait.p99)
    assert.are.equal("redis", all.pools[cache:name()].kind)
  end)

  it("shows one pool, and names them all when it knows none of that name", function()
    local status, pool = ask("GET", "/pools/" .. db:name())
    assert.are.equal(200, status)
    assert.are.equal(db:name(), pool.name)
    local missing, failure = ask("GET", "/pools/nobody")
    local names = db:name() .. ", " .. cache:name()
    assert.are.equal(404, missing)
    assert.are.equal("no pool nobody; there are: " .. names, failure.error)
  end)

  it("changes settings, with times as the configuration has them", function()
    local status, pool = ask("PATCH", "/pools/" .. db:name(),
      '{"max_connections": 3, "idle_timeout": "90s", "connection_timeout": 1.5}')
    assert.are.equal(200, status)
    assert.are.equal(3, pool.settings.max_connections)
    local settings = db:settings()
    assert.are.equal(3, settings.max_connections)
    assert.are.equal(90, settings.idle_timeout)
    assert.are.equal(1.5, settings.acquire_timeout)
  end)

  it("refuses what is wrong, and then changes nothing", function()
    local before = db:settings()
    local function refused(body, pattern)
      local status, failure = ask("PATCH", "/pools/" .. db:name(), body)
      assert.are.equal(400, status)
      assert.matches(pattern, failure.error)
      assert.are.same(before, db:settings())
    end
    refused('{"max_connections": 9, "idle_timeot": 5}',
      "unknown setting idle_timeot; idle_timeout is one")
    refused('{"max_connections": 0}',
      "max_connections: a whole number from 1 to %d+ expected, got 0")
    refused('{"max_connections": "9"}', 'expected, got "9"')
    refused('{"idle_timeout": "soon"}',
      'idle_timeout: seconds or a text like .*, got "soon"')
    refused('{"test_before_acquire": 1}', "true or false expected, got 1")
    refused('{"min_connections": 9, "max_connections": 5}',
      "min_connections %(9%) must not be over max_connections %(5%)")
    refused('{"acquire_timeout": 1, "connection_timeout": 2}', "under both its names")
    refused('[1]', "a JSON object of settings expected")
    refused('5', "a JSON object of settings expected")
    refused('{"max', "bad JSON")
    refused(nil, "bad JSON")
  end)

  it("pauses and resumes", function()
    local status, pool = ask("POST", ("/pools/%s/pause"):format(db:name()))
    assert.are.same({ 200, true }, { status, pool.paused })
    local task = tide.spawn(function() return must(db:one "SELECT 5 AS n").n end)
    eventually("it waits", function()
      local stats = db:stats()
      return stats.paused and stats.waiting + stats.leased > 0 or task:done()
    end)
    assert.is_false(task:done())
    status, pool = ask("POST", ("/pools/%s/resume"):format(db:name()))
    assert.are.same({ 200, false }, { status, pool.paused })
    local _, n = task:wait()
    assert.are.equal(5, n)
  end)

  it("drains: what is open is replaced", function()
    local pid = db:with(function(conn) return conn:pid() end)
    assert.are.equal(200, (ask("POST", ("/pools/%s/drain"):format(db:name()))))
    eventually("all are closed", function()
      return db:stats().closes.drained > 0
    end)
    assert.are_not.equal(pid, db:with(function(conn) return conn:pid() end))
    local id = must(cache:call("CLIENT", "ID"))
    assert.are.equal(200, (ask("POST", ("/pools/%s/drain"):format(cache:name()))))
    eventually("a new connection serves", function()
      return must(cache:call("CLIENT", "ID")) > id
    end)
  end)

  it("reloads, and says why it could not", function()
    local status, result = ask("POST", "/reload")
    assert.are.same({ 200, "reloaded", 1 }, { status, result.status, reloads })
    reload = function() return nil, "app.lua:3: unexpected symbol" end
    status, result = ask("POST", "/reload")
    assert.are.same({ 500, "app.lua:3: unexpected symbol" }, { status, result.error })
    reload = function() return nil, "a reload is under way", true end
    status = ask("POST", "/reload")
    assert.are.equal(409, status)
  end)

  it("says which methods a page has", function()
    local function allowed(method, path)
      local status, _, headers = ask(method, path)
      assert.are.equal(405, status)
      return headers.allow
    end
    assert.are.equal("GET, HEAD", allowed("POST", "/pools"))
    assert.are.equal("GET, HEAD, PATCH", allowed("DELETE", "/pools/" .. db:name()))
    assert.are.equal("POST", allowed("GET", "/pools/" .. db:name() .. "/drain"))
    assert.are.equal("POST", allowed("GET", "/reload"))
    for _, path in ipairs { "/pools/main/explode", "/pools/a/b/c", "/pool", "/" } do
      assert.are.equal(404, (ask("GET", path)))
    end
  end)

  it("changes nothing for a page of another site", function()
    local function status_of(method, path, body)
      return (ask(method, path, body, { Origin = "http://evil.test" }))
    end
    assert.are.equal(403, status_of("POST", "/reload"))
    assert.are.equal(403, status_of("POST", ("/pools/%s/pause"):format(db:name())))
    assert.are.equal(403, status_of("PATCH", "/pools/" .. db:name(), "{}"))
    assert.are.equal(200, status_of("GET", "/pools"))
    assert.are.equal(0, reloads)
    assert.is_false(db:stats().paused)
  end)
end)
