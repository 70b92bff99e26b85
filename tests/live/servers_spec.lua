-- servers_spec.lua - private servers: where they live, how they start, end and come back.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"

local function directory(name)
  return support.directory .. "/servers-" .. name
end

local function alive(pid)
  return core.stat("/proc/" .. pid) ~= nil
end

describe("servers.postgres", function()
  local pg

  setup(function()
    pg = assert(servers.postgres {
      directory = directory "pg", tcp = true, password = "s3cret",
      settings = { fsync = "off", work_mem = "5MB" },
    })
  end)

  teardown(function() pg:stop() end)

  it("takes settings", function()
    assert.equal("5MB\n", pg:psql "SHOW work_mem")
    assert.equal("off\n", pg:psql "SHOW fsync")
  end)

  it("tells what is wrong with SQL", function()
    local output, err = pg:psql "SELCT 1"

    assert.is_nil(output)
    assert.matches("syntax error", err.message)
  end)

  it("asks for the password on TCP", function()
    local function login(url)
      local pool = support.postgres({ max_connections = 1, acquire_timeout = 5 },
        { url = url, raw_url = true })
      return pool:one "SELECT 1 AS n"
    end

    assert.equal(1, login(pg.url).n)
    local row, err = login((pg.url:gsub("s3cret", "wrong")))
    assert.is_nil(row)
    assert.matches("password authentication failed", tostring(err))
  end)

  it("comes back with its data after a kill, at the same address", function()
    assert(pg:psql "CREATE TABLE kept AS SELECT 7 AS n")
    local pid = pg.pid
    pg:kill()
    assert.is_false(alive(pid))

    assert(pg:restart())
    assert.is_true(alive(pg.pid))
    assert.equal("7\n", pg:psql "SELECT n FROM kept")
  end)

  it("starts where a pid file names a process that is another's", function()
    pg:halt()
    local file = assert(io.open(pg.data .. "/postmaster.pid", "w"))
    file:write(core.pid(), "\n", pg.data, "\n")
    file:close()

    assert(pg:restart())
    assert.equal("1\n", pg:psql "SELECT 1")
  end)

  it("gives the end of the log when it does not start", function()
    local broken, err = servers.postgres {
      directory = directory "broken", settings = { shared_buffers = "nonsense" },
    }

    assert.is_nil(broken)
    assert.matches("postgres ended with status", err.message)
    assert.matches("shared_buffers", err.message)
  end)

  it("runs the schema once, and not when it is wrong", function()
    local good = support.file("good.sql", "CREATE TABLE once (n int);\n")
    local bad = support.file("bad.sql", "CREATE TABLE once (n int);\nCREATE TABEL x;\n")
    local place = directory "schema"

    local refused, err = servers.postgres { directory = place, schema = bad, keep = true }
    assert.is_nil(refused)
    assert.matches("bad%.sql:2: ERROR", err.message)
    for run = 1, 2 do
      local own = assert(servers.postgres {
        directory = place, schema = good, keep = true,
      })
      assert.equal(run == 1 or nil, own.is_new)
      assert.equal("0\n", own:psql "SELECT count(*) FROM once")
      own.keep = run == 1
      own:stop()
    end
  end)

  it("has a short socket path in a deep directory, and leaves nothing", function()
    local own = assert(servers.postgres { directory = directory(("deep"):rep(30)) })
    assert.is_true(#own.socket_directory < 90)
    assert.equal("1\n", own:psql "SELECT 1")
    own:stop()

    assert.is_nil(core.stat(own.socket_directory))
    assert.is_nil(core.stat(own.directory))
  end)
end)

describe("servers.redis", function()
  it("asks for the password, takes settings, comes back after a kill", function()
    local redis = assert(servers.redis {
      directory = directory "redis", password = "s3cret", tcp = true,
      settings = { maxmemory = "7mb" },
    })
    finally(function() redis:stop() end)

    assert.matches("7340032", redis:cli("CONFIG", "GET", "maxmemory"))
    local pool = support.redis({ max_connections = 1 }, { url = redis.url })
    assert.equal("PONG", pool:call "PING")
    local output, err = redis:cli "NONSENSE"
    assert.is_nil(output)
    assert.matches("unknown command", err.message)

    redis:kill()
    assert(redis:restart())
    assert.equal("PONG\n", redis:cli "PING")
  end)

  it("ends when it is told to, though its directory is gone", function()
    local place = directory "gone"
    local redis = assert(servers.redis { directory = place, keep = true })
    assert(redis:cli("SET", "k", "v"))
    local pid = redis.pid
    core.remove_tree(place)
    redis:kill "INT" -- what the end of its starter sends
    support.eventually("it ended", function() return not alive(pid) end)
    redis:stop()
  end)

  it("keeps its data where it is told to", function()
    local place = directory "kept"
    for _, keep in ipairs { true, false } do
      local redis = assert(servers.redis { directory = place, keep = true })
      if keep then assert(redis:cli("SET", "k", "v")) end
      assert.equal("v\n", redis:cli("GET", "k"))
      redis.keep = keep
      redis:stop()
      assert.equal(keep, core.stat(redis.directory) ~= nil)
    end
  end)

  it("raises what its caller did wrong", function()
    assert.has_error(function() servers.redis { directory = "x", tls = true } end)
    assert.has_error(function() servers.postgres {} end)
  end)
end)
