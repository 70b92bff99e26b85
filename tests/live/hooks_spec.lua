-- db:hooks: what scripts run on connections, of both kinds of pools.

local sandbox = require "tidepool.sandbox"
local standing = require "tidepool.standing"
local support = require "support"
local tide = require "tidepool"

local must, eventually = support.must, support.eventually

local function closes(pool, reason) return pool:stats().closes[reason] end

local function pid(pool) return must(pool:one "SELECT pg_backend_pid() AS pid").pid end

-- Events of pool that are heard until the spec ends.
local function hear(name, pool)
  local heard = {}
  local handler = tide.on(name, function(event)
    if event.pool == pool:name() then heard[#heard + 1] = event end
  end)
  finally(function() handler:close() end)
  return heard
end

describe("after_connect of Postgres", function()
  local db

  before_each(function() db = support.postgres { max_connections = 2 } end)

  local function setting(name)
    return db:with(function(conn)
      return must(conn:one("SELECT current_setting($1) AS value", name)).value
    end)
  end

  it("prepares each connection, and what it set stays", function()
    local runs = 0
    assert.is_true(db:hooks {
      after_connect = function(conn, info)
        runs = runs + 1
        assert(info.age >= 0 and info.idle == 0)
        must(conn:exec "SET work_mem = '7MB'")
        must(conn:exec "CREATE TEMP TABLE mine (n int)")
      end,
    })
    local backend = pid(db)
    assert.are.equal("7MB", must(setting "work_mem"))
    db:with(function(conn) must(conn:exec "INSERT INTO mine VALUES (1)") end)
    assert.are.equal(backend, pid(db))
    assert.are.equal(1, runs)
    assert.are.equal(0, db:stats().counters.resets)
  end)

  it("runs again when the session was cleaned of it", function()
    db:set { max_connections = 1 }
    local runs = 0
    db:hooks {
      after_connect = function(conn)
        runs = runs + 1
        must(conn:exec "SET work_mem = '7MB'")
      end,
    }
    local backend = pid(db)
    db:with(function(conn) must(conn:exec "SET work_mem = '9MB'") end)
    assert.are.equal("7MB", must(setting "work_mem"))
    db:with(function(conn) must(conn:exec "DISCARD ALL") end)
    assert.are.equal("7MB", must(setting "work_mem"))
    assert.are.equal(backend, pid(db))
    assert.are.equal(3, runs)
  end)

  it("that fails fails the connect, which is told and tried again", function()
    local failures = hear("connect_failed", db)
    local is_well = false
    db:hooks {
      after_connect = function(conn)
        if not is_well then return conn:exec "SELECT * FROM nowhere" end
      end,
    }
    local row, err = db:one "SELECT 1 AS n"
    assert.is_nil(row)
    assert.are.equal("refused", err.code)
    assert.matches('after_connect: .*relation "nowhere" does not exist', err.message)
    eventually("it is told", function() return #failures > 0 end)
    assert.matches("nowhere", failures[1].error)
    assert.matches("nowhere", db:stats().last_error)
    is_well = true
    eventually("it recovers", function() return (db:one "SELECT 1 AS n") end)
  end)

  it("that raises, or leaves a transaction open, fails it too", function()
    db:hooks { after_connect = function() error "out of tune" end }
    local _, err = db:one "SELECT 1"
    assert.matches("after_connect: .*hooks_spec.lua:%d+: out of tune", err.message)
    db:hooks { after_connect = function(conn) must(conn:exec "BEGIN") end }
    eventually("it is told", function()
      _, err = db:one "SELECT 1"
      return err.message:find("left its connection in a transaction", 1, true)
    end)
    eventually("it is closed", function() return db:stats().open == 0 end)
  end)

  it("has connect_timeout to end", function()
    db:set { connect_timeout = 0.1 }
    local was_cancelled = false
    db:hooks {
      after_connect = function()
        local ok, err = pcall(tide.sleep, 60)
        was_cancelled = not ok and err.code == "cancelled"
      end,
    }
    eventually("one came as far as the hook in time", function()
      local _, err = db:one "SELECT 1"
      assert.are.equal("refused", err.code)
      return err.message:find "it stood in hook"
    end)
    eventually("it was cancelled", function() return was_cancelled end)
  end)

  it("that is replaced replaces the connections when they are free", function()
    db:hooks { after_connect = function(conn) must(conn:exec "SET work_mem = '7MB'") end }
    local before = pid(db)
    db:with(function(conn)
      db:hooks {}
      assert.are.equal(before, must(conn:one "SELECT pg_backend_pid() AS pid").pid)
    end)
    assert.are_not.equal("7MB", must(setting "work_mem"))
    assert.are_not.equal(before, pid(db))
    assert.is_true(closes(db, "drained") > 0)
  end)

  it("serves lanes as well", function()
    db:set { lanes = 2 }
    db:hooks { after_connect = function(conn) must(conn:exec "SET work_mem = '7MB'") end }
    local values = {}
    for i = 1, 20 do
      values[i] = tide.spawn(function()
        return must(db:one "SELECT current_setting('work_mem') AS value").value
      end)
    end
    for i = 1, 20 do
      local ok, value = values[i]:wait()
      assert.is_true(ok)
      assert.are.equal("7MB", value)
    end
  end)
end)

describe("before_acquire", function()
  local db

  before_each(function() db = support.postgres { max_connections = 2 } end)

  it("is asked for each lease, with the connection's age and idle time", function()
    local infos = {}
    pid(db)
    db:hooks { before_acquire = function(_, info) infos[#infos + 1] = info end }
    for _ = 1, 2 do
      db:with(function(conn) must(conn:exec "SELECT 1") end)
    end
    assert.are.equal(2, #infos)
    assert.is_true(infos[2].age > 0)
    assert.is_true(infos[2].idle >= 0 and infos[2].idle < infos[2].age)
    assert.are.equal(2, db:stats().counters.hooks)
    assert.is_true(db:stats().phases.hook.sum > 0)
  end)

  it("that says false has its connection replaced by another", function()
    local before = pid(db)
    local closed = hear("close", db)
    db:hooks { before_acquire = function(_, info) return info.age < 0.05 end }
    tide.sleep(0.06)
    local after = db:with(function(conn)
      return must(conn:one "SELECT pg_backend_pid() AS pid").pid
    end)
    assert.are_not.equal(before, after)
    assert.is_true(closes(db, "hook_refused") >= 1)
    eventually("it is told", function() return #closed > 0 end)
    assert.are.equal("hook_refused", closed[1].reason)
    assert.matches("before_acquire: it does not want", closed[1].error)
  end)

  it("that refuses all is not asked in a loop", function()
    db:hooks { before_acquire = function() return false, "closed today" end }
    local _, err = db:acquire()
    assert.are.equal("refused", err.code)
    assert.matches("before_acquire: closed today", err.message)
    assert.is_true(db:stats().counters.connects < 5)
  end)

  it("may set what this lease finds, and no later one", function()
    db:set { max_connections = 1 }
    local tenant = "one"
    db:hooks {
      before_acquire = function(conn)
        must(conn:exec(("SET app.tenant = '%s'"):format(tenant)))
      end,
    }
    local function read()
      return db:with(function(conn)
        return must(conn:one "SELECT current_setting('app.tenant', true) AS t").t
      end)
    end
    assert.are.equal("one", must(read()))
    tenant = "two"
    assert.are.equal("two", must(read()))
    db:hooks {}
    assert.is_true(must(read()) == nil or must(read()) == "")
  end)

  it("loses its connection when that is killed", function()
    local own = support.postgres()
    db:hooks {
      before_acquire = function(conn, info)
        if info.idle == 0 then return end
        local backend = must(conn:one "SELECT pg_backend_pid() AS pid").pid
        must(own:one("SELECT pg_terminate_backend($1)", backend))
        return conn:exec "SELECT pg_sleep(60)"
      end,
    }
    local n = 0
    db:with(function() n = n + 1 end)
    db:with(function() n = n + 1 end)
    assert.are.equal(2, n)
    eventually("it is counted", function()
      return closes(db, "lost") + closes(db, "outdated") >= 1
    end)
  end)
end)

describe("after_release", function()
  local db

  before_each(function() db = support.postgres { max_connections = 1 } end)

  it("runs when a lease came back and its session is clean", function()
    local seen = {}
    db:hooks {
      after_release = function(conn)
        seen[#seen + 1] = must(conn:one "SELECT current_setting('work_mem') AS m").m
      end,
    }
    db:with(function(conn) must(conn:exec "SET work_mem = '7MB'") end)
    eventually("it ran", function() return #seen == 1 end)
    assert.are_not.equal("7MB", seen[1])
    db:with(function() end)
    eventually("it ran", function() return #seen == 2 end)
  end)

  it("that says false has the connection closed", function()
    db:hooks { after_release = function() return false end }
    local first = db:with(function(conn)
      return must(conn:one "SELECT pg_backend_pid() AS pid").pid
    end)
    local second = db:with(function(conn)
      return must(conn:one "SELECT pg_backend_pid() AS pid").pid
    end)
    assert.are_not.equal(first, second)
    eventually("it is counted", function() return closes(db, "hook_refused") == 2 end)
  end)

  it("is waited for when the pool closes", function()
    local is_done = false
    db:hooks {
      after_release = function()
        tide.sleep(0.03)
        is_done = true
      end,
    }
    db:with(function() end)
    db:close(5)
    assert.is_true(is_done)
  end)
end)

describe("hooks of Redis", function()
  local cache

  before_each(function() cache = support.redis { max_connections = 1 } end)

  it("prepare connections, and what they set stays", function()
    local runs = 0
    cache:hooks {
      after_connect = function(conn)
        runs = runs + 1
        must(conn:call("SELECT", 3))
        must(conn:call("CLIENT", "SETNAME", "moon"))
      end,
    }
    local function look()
      return cache:with(function(conn)
        return must(conn:call("CLIENT", "GETNAME")), must(conn:call("CLIENT", "ID")),
          must(conn:call("CLIENT", "INFO")):match "db=(%d+)"
      end)
    end
    local name, id, number = look()
    assert.are.same({ "moon", "3" }, { name, number })
    cache:with(function(conn) must(conn:call("SELECT", 5)) end)
    local again, same, other = look()
    assert.are.same({ "moon", id, "3" }, { again, same, other })
    assert.are.equal(2, runs)
  end)

  it("that leave MULTI open fail the connect", function()
    cache:hooks { after_connect = function(conn) must(conn:call "MULTI") end }
    local _, err = cache:get "k"
    assert.are.equal("refused", err.code)
    assert.matches("left its connection in a transaction", err.message)
  end)

  it("run before and after leases", function()
    local order = {}
    cache:with(function() end) -- so that it is no lane
    cache:hooks {
      before_acquire = function(conn) order[#order + 1] = must(conn:call "PING") end,
      after_release = function(conn)
        order[#order + 1] = must(conn:call("ECHO", "bye"))
      end,
    }
    cache:with(function() order[#order + 1] = "lease" end)
    eventually("all ran", function() return #order == 3 end)
    assert.are.same({ "PONG", "lease", "bye" }, order)
  end)
end)

describe("hooks", function()
  it("that ask their pool raise, where a wait would not end", function()
    local db = support.postgres { max_connections = 3 }
    local cache = support.redis { max_connections = 3 }
    local messages = {}
    for name, ask in pairs {
      query = function() return db:query "SELECT 1" end,
      acquire = function() return db:acquire() end,
      try = function() return db:try_acquire() end,
    } do
      db:hooks {
        before_acquire = function()
          local _, message = pcall(function()
            local value = ask()
            return value
          end)
          messages[name] = message
        end,
      }
      db:with(function() end)
    end
    cache:hooks {
      before_acquire = function()
        local _, message = pcall(function()
          local value = cache:get "k"
          return value
        end)
        messages.redis = message
      end,
    }
    cache:with(function() end)
    for _, name in ipairs { "query", "acquire", "try", "redis" } do
      assert.matches("hooks_spec.lua:%d+: a hook of pool \"[^\"]+\" asks the pool",
        messages[name])
    end
  end)

  it("do not give their connection back themselves", function()
    local db = support.postgres { max_connections = 1 }
    local message
    db:hooks {
      before_acquire = function(conn)
        local _, said = pcall(function() conn:release() end)
        message = said
      end,
    }
    db:with(function() end)
    assert.matches("hooks_spec.lua:%d+: the end of a hook gives", message)
  end)

  it("have a connection that is nobody's afterwards", function()
    local db = support.postgres { max_connections = 1 }
    local kept
    db:hooks { before_acquire = function(conn) kept = conn end }
    db:with(function() end)
    local ok, message = pcall(function() return (kept:query "SELECT 1") end)
    assert.is_false(ok)
    assert.matches("was given back", message)
  end)

  it("that are none raise at the script's line", function()
    local db = support.postgres()
    local wrong = {
      { "later", "hooks: table expected, got string" },
      { { on_connect = print }, "unknown hook: on_connect" },
      { { after_connect = 7 }, "after_connect: function expected, got number" },
    }
    for _, case in ipairs(wrong) do
      local ok, message = pcall(function() db:hooks(case[1]) end)
      assert.is_false(ok)
      assert.matches("hooks_spec.lua:%d+: " .. case[2], message)
    end
  end)

  it("of a script end with its next version, unless that has set its own", function()
    local db = support.postgres { max_connections = 1 }
    tide._set_pool("postgres", "of_hooks", db)
    finally(function() tide._set_pool("postgres", "of_hooks", nil) end)
    local function load()
      return must(sandbox.load(support.file("hooks.lua", [[
        local db = require("tidepool").postgres "of_hooks"
        db:hooks { after_release = function() end }
      ]])))
    end
    local function run_hooks()
      local before = db:stats().counters.hooks
      db:with(function() end)
      eventually("it came back", function() return db:stats().idle == 1 end)
      return db:stats().counters.hooks - before
    end
    assert.are.equal(0, run_hooks())
    local first = load()
    assert.are.equal(1, run_hooks())
    local second = load()
    standing.retire(first.env)
    assert.are.equal(1, run_hooks())
    local failing = load()
    standing.finish(failing.env)
    assert.are.equal(1, run_hooks()) -- the second's
    standing.retire(second.env)
    assert.are.equal(0, run_hooks())
  end)
end)
