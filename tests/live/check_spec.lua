-- check_spec.lua - `tidepool check` against real servers: what it reports, what it warns
-- of, and what it never shows.  That a pooler is in front: see pg_pooler_spec.lua.

local check_module = require "tidepool.command.check"
local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"

local must = support.must

local PASSWORD = "s3cret"
local MAX, RESERVED = 20, 3

describe("tidepool.command.check", function()
  local own, cache, app

  setup(function()
    own = must(servers.postgres {
      directory = support.directory .. "/checked", tcp = true, password = PASSWORD,
      settings = { max_connections = MAX, superuser_reserved_connections = RESERVED,
                   idle_in_transaction_session_timeout = "60s" },
    })
    cache = must(servers.redis {
      directory = support.directory .. "/checked_redis", tcp = true, password = PASSWORD,
      settings = { maxclients = 50 },
    })
    must(own:psql "CREATE ROLE guest LOGIN PASSWORD 's3cret'")
    app = support.file("app.lua", "return require('tidepool').app()\n")
  end)

  teardown(function()
    own:stop()
    cache:stop()
  end)

  -- Runs it with such a configuration; its status and what it says, which is no secret.
  local function check(toml, words, env)
    local args = { core.realpath "/proc/self/exe", "check", app,
                   "--config", support.file("checked.toml", toml) }
    for _, word in ipairs(words or {}) do args[#args + 1] = word end
    local status, output = support.run(args, { env = env or {} })
    assert.is_nil(output:find(PASSWORD, 1, true), output)
    assert.is_nil(output:find("traceback", 1, true), output)
    return status, output
  end

  local function database(url, settings)
    return ('[database]\npostgres_url = "%s"\n[database.pool]\n%s\n'):format(
      url or own.url, settings or "")
  end

  local function as(user, password)
    return (own.url:gsub("//[^@]*@", ("//%s:%s@"):format(user, password)))
  end

  -- A pool that uses the server beside what is checked.
  local function open(url)
    return must(core.postgres_open { name = "other", url = url, settings = {} })
  end

  local function count(text, words)
    return select(2, text:gsub(words:gsub("%p", "%%%0"), ""))
  end

  it("reports servers that fit, with no warning", function()
    local status, output = check(database(nil, "max_connections = 5")
      .. ('[redis]\nurl = "%s"\n'):format(cache.url))

    assert.equal(0, status)
    assert.matches("main: Postgres %d+.*, postgres://tide:%*%*%*@127%.0%.0%.1:%d+/",
      output)
    assert.matches("  connections +the server has 20, 3 of them reserved, 1 in use\n",
      output)
    assert.matches("  activity +tide: 1 active\n", output)
    assert.matches(("  sizing +max_connections 5; cores x 2 %%+ 1 disk is %d on this")
      :format(core.cores() * 2 + 1), output)
    assert.matches("redis: Redis [%d.]+, redis://default:%*%*%*@127%.0%.0%.1:%d+", output)
    assert.matches("  connections +the server has %d+, %d+ in use", output)
    assert.matches("  role +master", output)
    assert.equal(0, count(output, "warning:"))
  end)

  it("counts the sessions of other databases by state", function()
    local other = open(own.url)
    must(own:psql "CREATE DATABASE second")
    local second = open((own.url:gsub("/tide$", "/second")))
    local leases = {
      must(other:acquire()), must(other:acquire()), must(second:acquire()),
    }
    for _, lease in ipairs(leases) do must(lease:query "SELECT 1") end
    must(leases[1]:query "BEGIN")
    local _, output = check(database())

    assert.matches("  activity +second: 1 idle, tide: 1 active, 1 idle, 1 idle in "
      .. "transaction\n", output)
    for _, lease in ipairs(leases) do lease:release() end
    other:close(1)
    second:close(1)
  end)

  it("tells a role that may not see them of the sessions of others", function()
    local other = open(own.url)
    local lease = must(other:acquire())
    local status, output = check(database(as("guest", PASSWORD)))

    assert.equal(0, status)
    assert.matches("  activity +tide: 1 active, 1 not shown to us\n", output)
    lease:release()
    other:close(1)
  end)

  it("warns of more connections than the server has", function()
    local status, output = check(database(nil, "max_connections = 18"))

    assert.equal(0, status)
    assert.equal(1, count(output, "warning:"))
    assert.matches("warning: main: max_connections is 18, the server has 17 for all "
      .. "clients", output)
    status, output = check('[redis]\nurl = "' .. cache.url
      .. '"\n[redis.pool]\nmax_connections = 51\n')
    assert.equal(0, status)
    assert.matches("warning: redis: max_connections is 51, the server has 50 for all",
      output)
  end)

  it("warns of more connections than others leave", function()
    local other = open(own.url)
    local lease = must(other:acquire())
    local _, output = check(database(nil, "max_connections = 17"))

    assert.matches("warning: main: max_connections is 17, of the server's 17 others use "
      .. "1 now", output)
    lease:release()
    other:close(1)
  end)

  it("warns of pools that are together more than their server has", function()
    local named = ('[database.reports]\npostgres_url = "%s"\n'
      .. "pool.max_connections = 9\n"):format(own.url)
    local _, output = check(database(nil, "max_connections = 9") .. named)

    assert.equal(1, count(output, "warning:"))
    assert.matches("warning: main and reports: max_connections is 18 together, their "
      .. "server has 17", output)
    _, output = check(database(nil, "max_connections = 8") .. named)
    assert.equal(0, count(output, "warning:"))
  end)

  it("warns of timeouts that are none", function()
    local _, output = check(database(nil, "max_connections = 5\nacquire_timeout = '2h'\n"
      .. "statement_timeout = '11m'"))

    assert.equal(2, count(output, "warning:"))
    assert.matches("warning: main: acquire_timeout is 7200 s: callers wait", output)
    assert.matches("warning: main: statement_timeout is 660 s: one statement may", output)
    must(own:psql "ALTER ROLE tide SET idle_in_transaction_session_timeout = 0")
    _, output = check(database(nil, "max_connections = 5"))
    must(own:psql "ALTER ROLE tide RESET idle_in_transaction_session_timeout")
    assert.equal(1, count(output, "warning:"))
    assert.matches("warning: main: the server's idle_in_transaction_session_timeout is "
      .. "off", output)
  end)

  it("warns of a secret that everybody may read", function()
    local path = support.file("url", own.url .. "\n")
    must(core.process { args = { "chmod", "644", path } }):wait()
    local text = ('[database]\npostgres_url = { file = "%s" }\n'):format(path)
    local status, output = check(text, { "--offline", "--print" })

    assert.equal(0, status)
    assert.matches("warning: configuration: .*checked%.toml:2: everybody may read .*_url"
      .. ", which holds database%.postgres_url", output)
    assert.matches('database%.postgres_url = "postgres://tide:%*%*%*@127.*"  # .*:2 from',
      output)
    must(core.process { args = { "chmod", "600", path } }):wait()
    local _, quiet = check(text, { "--offline" })
    assert.equal(0, count(quiet, "warning:"))
  end)

  it("shows the settings of every pool, each with its source", function()
    local _, output = check(database(nil, "max_connections = 7"),
      { "--print", "--offline" })

    assert.matches("database%.pool%.max_connections = 7  # .*checked%.toml:4\n", output)
    assert.matches("database%.pool%.statement_timeout = 30  # default\n", output)
    assert.is_nil(output:find("redis.pool", 1, true))
  end)

  local function assert_one_line(output, words)
    assert.equal(1, count(output, "\n"), output)
    assert.matches(words, output)
  end

  it("says in one sentence that the password is wrong", function()
    local status, output = check(database(as("tide", "not-" .. PASSWORD .. "-at-all")))

    assert.equal(1, status)
    assert_one_line(output, "main %(postgres://tide:%*%*%*@.*password authentication "
      .. 'failed for user "tide"')
    status, output = check(('[redis]\nurl = "%s"\n'):format(
      (cache.url:gsub(PASSWORD, "not-" .. PASSWORD))))
    assert.equal(1, status)
    assert_one_line(output, "redis %(redis://default:%*%*%*@.*WRONGPASS")
  end)

  it("says in one sentence that there is no such database, or role", function()
    local status, output = check(database((own.url:gsub("/tide$", "/nowhere"))))
    assert.equal(1, status)
    assert_one_line(output, 'database "nowhere" does not exist')
    status, output = check(database(as("nobody", PASSWORD)))
    assert.equal(1, status)
    assert_one_line(output, 'main .*for user "nobody"')
  end)

  it("says in one sentence that a server cannot be reached", function()
    for words, url in pairs {
      ["127%.0%.0%.1.*[Cc]onnection refused"] = "postgres://tide:s3cret@127.0.0.1:1/d",
      ["cannot resolve no%.such%.host%.invalid"] =
        "postgres://tide:s3cret@no.such.host.invalid/d",
      ["%): cannot connect to 127%.0%.0%.1:1 and 127%.0%.0%.1:2: Connection refused\n$"] =
        "postgres://tide:s3cret@127.0.0.1:1,127.0.0.1:2/d",
      ["/nowhere/%.s%.PGSQL"] = "postgres://tide:s3cret@/d?host=/nowhere",
    } do
      local status, output = check(database(url))
      assert.equal(1, status)
      assert_one_line(output, words)
    end
    for words, url in pairs {
      ["connection refused"] = "redis://:s3cret@127.0.0.1:1",
      ["cannot resolve no%.such%.host%.invalid"] = "redis://:s3cret@no.such.host.invalid",
    } do
      local status, output = check(('[redis]\nurl = "%s"\n'):format(url))
      assert.equal(1, status)
      assert_one_line(output, words)
    end
  end)

  it("asks every server, also when one is away", function()
    local status, output = check(database "postgres://tide@127.0.0.1:1/d"
      .. ('[redis]\nurl = "%s"\n'):format(cache.url))

    assert.equal(1, status)
    assert.matches("tidepool: main %(", output)
    assert.matches("redis: Redis", output)
  end)

  it("shows no part of a url that cannot be read", function()
    for _, url in ipairs {
      "s3cret", "tide:s3cret@h/d", "mysql://tide:s3cret@h/d", "'postgres://t:s3cret@h/d'",
      "postgres://tide:a/s3cret@h/d", "postgres://tide:a@s3cret@h/d",
      "postgres://me@there:s3cret@h/d", "postgres://tide:s3cret%zz@h/d",
      "postgres://tide:s3cret@h:x/d", "postgres://tide@h/d?pasword=s3cret",
      "postgres://tide@h/d?password=s3cret&s3cret", "host=h password='s3cret",
      "host=h password=s3cret s3cret",
    } do
      assert.equal(2, (check(database(url))))
      assert.equal(2, (check("", {}, { DATABASE_URL = url })))
    end
    assert.equal(1, (check("", {},
      { DATABASE_URL = "host=127.0.0.1 port=1 password=a\\ s3cret" })))
    for _, url in ipairs {
      "s3cret", ":s3cret@h", "http://:s3cret@h", "redis://:a/s3cret@h",
      "redis://:s3cret%zz@h", "redis://:s3cret@h:x", "redis://h?password=s3cret",
    } do
      assert.equal(2, (check("", {}, { REDIS_URL = url })))
    end
  end)
end)

describe("tidepool.command.check", function()
  it("tells whose connection others can read", function()
    local function row(is_secret, client, host)
      return { is_secret = is_secret, client = client, host = host }
    end
    assert.is_true(check_module.is_exposed(row(false, "10.0.0.7", "10.0.0.8")))
    assert.is_true(check_module.is_exposed(row(false, "2001:db8::1", "2001:db8::2")))
    for _, safe in ipairs {
      row(true, "10.0.0.7", "10.0.0.8"), row(false, "", ""),
      row(false, "127.0.0.1", "127.0.0.1"), row(false, "127.0.1.1", "127.0.0.1"),
      row(false, "::1", "::1"), row(false, "10.0.0.7", "10.0.0.7"),
    } do
      assert.is_false(check_module.is_exposed(safe), safe.client)
    end
  end)

  it("says each reason that libpq gives once", function()
    local at = "connection to server at "
    for text, words in pairs {
      [at .. '"a" (10.0.0.1), port 5432 failed: timeout expired; ' .. at
        .. '"b", port 1 failed: Connection refused; ' .. at
        .. '"::1", port 2 failed: timeout expired'] =
        "cannot connect to a:5432 and [::1]:2: timeout expired; "
        .. "cannot connect to b:1: Connection refused",
      [at .. '"a", port 1 failed: FATAL:  too many; wait'] =
        "cannot connect to a:1: too many; wait",
      ['connection to server on socket "/s" failed: Permission denied'] =
        "cannot connect to /s: Permission denied",
      ["cannot resolve b: unknown"] = "cannot resolve b: unknown",
      [at .. '"a", port 1 was odd'] = at .. '"a", port 1 was odd',
    } do
      assert.are.equal(words, check_module.shorten(text))
    end
  end)
end)
