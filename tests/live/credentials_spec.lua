-- db:credentials: passwords that change under a running pool.

local config = require "tidepool.config"
local core = require "tidepool.core"
local credentials = require "tidepool.credentials"
local pools = require "tidepool.pools"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local must, eventually = support.must, support.eventually

describe("credentials of Postgres", function()
  local own, pool

  setup(function()
    own = must(servers.postgres {
      directory = support.directory .. "/credentials", tcp = true, password = "first",
    })
  end)

  teardown(function() own:stop() end)

  before_each(function()
    must(own:psql "ALTER ROLE tide PASSWORD 'first'")
    pool = must(core.postgres_open {
      name = "changing", url = own.url, settings = { max_connections = 1 },
    })
  end)

  after_each(function() pool:close(1) end)

  local function user()
    local row, err = pool:one { "SELECT current_user AS name", share = false }
    return row and row.name, err
  end

  it("that changed let the next connect in, by which the pool recovers", function()
    assert.are.equal("tide", must(user()))
    must(own:psql "ALTER ROLE tide PASSWORD 'second'")
    assert.are.equal("tide", must(user())) -- what is open goes on
    pool:drain()
    local name, err = user()
    assert.is_nil(name)
    assert.are.equal("refused", err.code)
    assert.matches("password authentication failed", err.message)
    assert.is_true(must(pool:credentials { password = "second" }))
    eventually("it is let in", function() return user() == "tide" end)
  end)

  it("of a function are asked for again when a connect has failed", function()
    local password, calls = "first", 0
    must(pool:credentials(function()
      calls = calls + 1
      return { password = password }
    end))
    assert.are.equal(1, calls)
    must(own:psql "ALTER ROLE tide PASSWORD 'fourth'")
    password = "fourth"
    pool:drain()
    eventually("it is let in", function() return user() == "tide" end)
    assert.are.equal(2, calls)
  end)

  it("of a function that fails are nil, err, and nothing changes", function()
    local failure = core.err("refused", "the safe is shut")
    local ok, err = pool:credentials(function() return nil, failure end)
    assert.is_nil(ok)
    assert.are.equal(failure, err)
    pool:drain()
    assert.are.equal("tide", must(user()))
  end)

  it("of a function that gives nothing are nil, err too", function()
    local ok, err = pool:credentials(function() end)
    assert.is_nil(ok)
    assert.are.equal("badarg", err.code)
    assert.matches("gave nothing", err.message)
  end)

  it("of a function that does not end are nil, err, and stop nothing", function()
    local limit = credentials.limit
    credentials.limit = 0.02
    local ok, err = pool:credentials(function() tide.sleep(3600) end)
    credentials.limit = limit
    assert.is_nil(ok)
    assert.are.equal("timeout", err.code)
    must(pool:credentials { password = "first" })
  end)

  it("may name another user", function()
    must(own:psql "CREATE ROLE moon LOGIN PASSWORD 'third'")
    must(pool:credentials { user = "moon", password = "third" })
    pool:drain()
    eventually("it is the other", function() return user() == "moon" end)
  end)

  it("that are no such table raise at the script's line", function()
    local wrong = {
      { { user = "tide" }, "password expected" },
      { { password = 7 }, "password: string expected, got number" },
      { { password = "a\0b" }, "password holds a zero byte" },
      { { password = "x", pass = "y" }, "unknown key of credentials: pass" },
      { "secret", "table with password and user expected, got string" },
    }
    for _, case in ipairs(wrong) do
      local ok, message = pcall(function()
        local set = pool:credentials(case[1])
        return set
      end)
      assert.is_false(ok)
      assert.matches("credentials_spec%.lua:%d+: .*" .. case[2], message)
    end
    assert.are.equal("tide", must(user()))
  end)
end)

describe("password_command", function()
  local KILLED = 128 + 9
  local own, warnings

  after_each(support.run_ends)

  setup(function()
    own = must(servers.postgres {
      directory = support.directory .. "/password_command", tcp = true,
      password = "first",
    })
  end)

  teardown(function() own:stop() end)

  -- The pool of a configuration with this command; its url has no password.
  local function open(command)
    local toml = ([[
      [database]
      postgres_url = "%s"
      password_command = %q
      [database.pool]
      max_connections = 1
    ]]):format(own.url:gsub(":first@", "@"), command)
    local settings = must(config.load {
      environment = {},
      read = function(path)
        if path == "tidepool.toml" then return toml end
        return nil, "No such file or directory", 2
      end,
    })
    local log = core.log
    warnings = {}
    function core.log(level, event, fields) -- luacheck: ignore 122
      warnings[#warnings + 1] = ("%s: %s"):format(event, fields.error)
      return log(level, event, fields)
    end
    local opened = must(pools.open(settings:pools(), function() end))
    support.at_end(function()
      core.log = log -- luacheck: ignore 122
      pools.close(opened, 1)
    end)
    return opened[1]
  end

  it("prints the password, and is run anew when a connect has failed", function()
    local path = support.file("password", "first\n")
    local pool = open("cat " .. path)
    assert.are.equal(1, must(pool:one "SELECT 1 AS n").n)
    must(own:psql "ALTER ROLE tide PASSWORD 'second'")
    local file = must(io.open(path, "w"))
    file:write "second"
    file:close()
    pool:drain()
    eventually("it is let in", function() return (pool:one "SELECT 1 AS n") end)
    must(own:psql "ALTER ROLE tide PASSWORD 'first'")
    assert.are.same({}, warnings)
  end)

  it("that fails is told of, and the pool goes on without", function()
    for command, message in pairs {
      ["exit 3"] = "password_command ended with status 3",
      ["true"] = "a password on one line expected, got nothing",
      ["printf 'a\\nb\\n'"] = "a password on one line expected, got other output",
    } do
      local pool = open(command)
      local row, err = pool:one "SELECT 1"
      assert.is_nil(row)
      assert.are.equal("refused", err.code)
      assert.matches(message, table.concat(warnings, "\n")) -- those before warn again
    end
  end)

  -- The list of the processes that start until the test ends.
  local function watch_processes()
    local processes, start = {}, core.process
    function core.process(options) -- luacheck: ignore 122
      local process, err = start(options)
      processes[#processes + 1] = process
      return process, err
    end
    support.at_end(function()
      core.process = start -- luacheck: ignore 122
      for _, process in ipairs(processes) do process:signal "KILL" end
    end)
    return processes
  end

  local function set_limit(seconds)
    local limit = credentials.limit
    credentials.limit = seconds
    support.at_end(function() credentials.limit = limit end)
  end

  -- Prints a wrong password, for which it is asked again; then it does not end.
  local function open_hanging()
    local marker = support.directory .. "/asked"
    os.remove(marker)
    return open(("test -e %s && exec sleep 60; touch %s; echo wrong"):format(marker,
      marker))
  end

  it("that does not end in time is killed, and the pool goes on without", function()
    local processes = watch_processes()
    set_limit(0.02)
    open "exec sleep 60"
    assert.are.equal(KILLED, (processes[1]:wait()))
    assert.matches("took longer than 0.02 s", warnings[1])
  end)

  it("is killed with all that it started", function()
    local processes = watch_processes()
    local path = support.directory .. "/started"
    set_limit(2)
    open(("sleep 60 & echo $! >%s; wait"):format(path))
    assert.are.equal(KILLED, (processes[1]:wait()))
    local pid = core.read_file(path):match "%d+"
    eventually("it is gone", function() return not core.stat("/proc/" .. pid) end)
  end)

  it("that does not end in time is killed when it is run anew, too", function()
    local processes = watch_processes()
    open_hanging()
    set_limit(0.02)
    eventually("it is run anew", function() return processes[2] end)
    assert.are.equal(KILLED, (processes[2]:wait()))
    eventually("it is told of", function() return warnings[1] end)
    assert.matches("took longer than 0.02 s", warnings[1])
  end)

  it("that runs when its pool is closed is killed", function()
    local processes = watch_processes()
    local pool = open_hanging()
    set_limit(3600)
    eventually("it is run anew", function() return processes[2] end)
    pool:close()
    assert.are.equal(KILLED, (processes[2]:wait()))
    assert.are.same({}, warnings)
  end)
end)

describe("credentials of Redis", function()
  for _, protocol in ipairs { "AUTH", "nothing before" } do
    it("that changed let the next connect in, with " .. protocol, function()
      local own = must(servers.redis {
        directory = support.directory .. "/credentials-" .. #protocol,
      })
      finally(function() own:stop() end)
      local has_login = protocol == "AUTH"
      if has_login then
        must(own:cli("ACL", "SETUSER", "moon", "on", ">first", "~*", "&*", "+@all"))
      end
      local pool = must(core.redis_open {
        name = "changing", settings = { max_connections = 1 },
        url = has_login and own.url:gsub("^unix://", "unix://moon:first@") or own.url,
      })
      finally(function() pool:close(1) own:stop() end)
      assert.are.equal(has_login and "moon" or "default",
        must(pool:call("ACL", "WHOAMI")))
      must(own:cli("ACL", "SETUSER", "moon", "on", "resetpass", ">second", "~*", "&*",
        "+@all"))
      must(pool:credentials {
        user = not has_login and "moon" or nil, password = "second",
      })
      pool:drain()
      eventually("it is let in", function()
        return (pool:call("ACL", "WHOAMI")) == "moon"
      end)
    end)
  end
end)
