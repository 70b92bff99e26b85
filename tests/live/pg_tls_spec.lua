-- TLS to Postgres, which is libpq's: sslmode, sslrootcert, sslcert.

local server = require "tidepool.server"
local servers = require "tidepool.servers"
local support = require "support"

local must = support.must

describe("Postgres over TLS", function()
  local own, dir

  local function put(name)
    for _, kind in ipairs { ".pem", ".key" } do
      must(server.run_as_account { "cp", dir .. "/" .. name .. kind,
        dir .. "/shown" .. kind })
    end
  end

  setup(function()
    dir = support.certificates()
    put "good"
    own = must(servers.postgres {
      directory = support.directory .. "/pg-tls", tcp = true,
      settings = { ssl = "on", ssl_cert_file = dir .. "/shown.pem",
                   ssl_key_file = dir .. "/shown.key", ssl_ca_file = dir .. "/ca.pem" },
    })
  end)

  teardown(function() own:stop() end)

  -- What the server shows from now on.
  local function show(name)
    put(name)
    local before = must(own:psql "SELECT pg_conf_load_time()")
    must(own:psql "SELECT pg_reload_conf()")
    support.eventually("it is read", function()
      return must(own:psql "SELECT pg_conf_load_time()") ~= before
    end)
  end

  before_each(function() show "good" end)

  local function open(parameters, host)
    local url = own.url:gsub("127%.0%.0%.1", host or "localhost")
    return support.postgres({ max_connections = 2, acquire_timeout = 5,
      connect_timeout = 5 }, { url = url .. "?" .. parameters, raw_url = true })
  end

  local function trusting(mode)
    return ("sslmode=%s&sslrootcert=%s/ca.pem"):format(mode, dir)
  end

  local SECURE = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

  local function refusal(parameters)
    local row, err = open(parameters):one { SECURE, share = false }
    assert.is_nil(row)
    assert.are.equal("refused", err.code)
    return err.message
  end

  it("runs statements on lanes and on a lease", function()
    local pool = open(trusting "verify-full")
    local row = must(pool:one { SECURE, share = false })
    assert.is_true(row.ssl)
    assert.matches("^TLSv1%.[23]$", row.version)
    support.teach(pool, "SELECT $1::int + 1 AS n", 1)
    assert.are.equal(42, must(pool:one("SELECT $1::int + 1 AS n", 41)).n)
    local long = must(pool:one("SELECT repeat('x', 3000000) AS text")).text
    assert.are.equal(3000000, #long)
    assert.is_true(pool:stats().phases.tls.count > 0)
  end)

  it("notices a server that ends", function()
    local pool = open(trusting "verify-full")
    local pid = must(pool:one { "SELECT pg_backend_pid() AS pid", share = false }).pid
    must(own:psql("SELECT pg_terminate_backend(" .. pid .. ")"))
    support.eventually("it is closed", function() return pool:stats().open == 0 end)
    assert.is_true(must(pool:one { SECURE, share = false }).ssl)
  end)

  it("cancels a statement that is late", function()
    local pool = open(trusting "verify-full")
    local row, err = pool:one { "SELECT pg_sleep(20)", timeout_ms = 200 }
    assert.is_nil(row)
    assert.are.equal("timeout", err.code)
    support.given_back(pool)
    assert.is_true(must(pool:one { SECURE, share = false }).ssl)
  end)

  for _, case in ipairs {
    { "expired", "verify-full", "certificate verify failed" },
    { "self", "verify-full", "certificate verify failed" },
    -- The host's name is cut off where localhost has two addresses.
    { "other", "verify-full", "does not match h" },
    { "expired", "verify-ca", "certificate verify failed" },
  } do
    it(("refuses a certificate that is %s, with %s"):format(case[1], case[2]), function()
      show(case[1])
      assert.matches(case[3], refusal(trusting(case[2])), 1, true)
      assert.is_true(must(open "sslmode=require":one { SECURE, share = false }).ssl)
    end)
  end

  it("shows its own certificate", function()
    local subject = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    local own_pair = ("&sslcert=%s/client.pem&sslkey=%s/client.key"):format(dir, dir)
    local pool = open(trusting "verify-full" .. own_pair)
    assert.are.equal("/CN=client", must(pool:one { subject, share = false }).client_dn)
  end)

  it("against a server without TLS fails with a reason", function()
    local plain = must(servers.postgres {
      directory = support.directory .. "/pg-no-tls", tcp = true,
    })
    finally(function() plain:stop() end)
    local pool = support.postgres({ acquire_timeout = 5 },
      { url = plain.url .. "?sslmode=require", raw_url = true })
    local row, err = pool:one "SELECT 1 AS one"
    assert.is_nil(row)
    assert.matches("server does not support SSL", err.message)
  end)
end)
