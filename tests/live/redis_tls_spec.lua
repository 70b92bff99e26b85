-- rediss:// against a Redis that speaks TLS.

local core = require "tidepool.core"
local server = require "tidepool.server"
local servers = require "tidepool.servers"
local support = require "support"

local must = support.must

describe("rediss://", function()
  local own, dir, port

  -- What the server shows from now on, and whether it asks for a certificate.
  local function show(name, auth_clients)
    must(own:cli("CONFIG", "SET", "tls-cert-file", ("%s/%s.pem"):format(dir, name),
      "tls-key-file", ("%s/%s.key"):format(dir, name),
      "tls-auth-clients", auth_clients or "no"))
  end

  setup(function()
    dir = support.certificates()
    port = server.free_port()
    own = must(servers.redis {
      directory = support.directory .. "/redis-tls", password = "s3cret",
      settings = {
        ["tls-port"] = port, ["tls-cert-file"] = dir .. "/good.pem",
        ["tls-key-file"] = dir .. "/good.key", ["tls-ca-cert-file"] = dir .. "/ca.pem",
        ["tls-auth-clients"] = "no",
      },
    })
  end)

  teardown(function() own:stop() end)

  before_each(function() show "good" end)

  local function url(parameters, host)
    return ("rediss://:s3cret@%s:%d/0?%s"):format(host or "localhost", port,
      parameters or "cacert=" .. dir .. "/ca.pem")
  end

  local function open(parameters, host)
    local settings = { max_connections = 3, connect_timeout = 5, acquire_timeout = 5 }
    return support.redis(settings, { url = url(parameters, host) })
  end

  -- Why a pool of this url cannot serve.
  local function refusal(parameters, host)
    local pool = open(parameters, host)
    local value, err = pool:call "PING"
    assert.is_nil(value)
    assert.are.equal("refused", err.code)
    return err.message
  end

  it("runs commands on lanes and on a lease", function()
    local pool = open()
    must(pool:set("tls", ("long "):rep(40000)))
    assert.are.equal(200000, #must(pool:get "tls"))
    local list = must(pool:pipeline(function(p)
      for i = 1, 500 do p:call("ECHO", tostring(i)) end
    end))
    assert.are.equal("500", list[500])
    must(pool:with(function(conn) return must(conn:call("WATCH", "tls")) end))
    must(pool:call("LPUSH", "tls-list", "one"))
    assert.are.same({ "tls-list", "one" }, must(pool:call("BLPOP", "tls-list", 1)))
    local stats = pool:stats()
    assert.is_true(stats.phases.tls.count > 0)
  end)

  it("hears what is published", function()
    local pool, heard = open(), {}
    local subscription = must(pool:subscribe("tls-news", function(message)
      heard[#heard + 1] = message.payload
    end))
    must(pool:call("PUBLISH", "tls-news", "inside"))
    support.eventually("it is heard", function() return heard[1] == "inside" end)
    subscription:close()
  end)

  it("goes by a number as well", function()
    assert.are.equal("PONG", must(open(nil, "127.0.0.1"):call "PING"))
  end)

  for _, case in ipairs {
    { "expired", "certificate has expired" }, { "self", "self%-signed certificate" },
    { "other", "[Hh]ostname mismatch" },
  } do
    it("refuses a certificate that is " .. case[1], function()
      show(case[1])
      local why = refusal()
      assert.matches("the certificate is not trusted: ", why, 1, true)
      assert.matches(case[2], why)
      assert.is_nil(why:find("s3cret", 1, true))
      assert.are.equal("PONG", must(open "insecure=true":call "PING"))
    end)
  end

  it("trusts the system's roots where no other are named", function()
    assert.matches("self%-signed certificate in certificate chain", refusal "")
  end)

  it("shows its own certificate to a server that asks for one", function()
    show("good", "yes")
    local files = ("cacert=%s/ca.pem&cert=%s/client.pem&key=%s/client.key"):format(dir,
      dir, dir)
    assert.are.equal("PONG", must(open(files):call "PING"))
    local pool = open()
    assert.is_nil((pool:call "PING"))
  end)

  it("names a file that cannot be read", function()
    local pool, err = core.redis_open { name = "bad", url = url "cacert=/none.pem" }
    assert.is_nil(pool)
    assert.are.equal("CA file /none.pem: No such file or directory", err.message)
  end)

  it("against a server without TLS fails with a reason", function()
    local plain = must(servers.redis {
      directory = support.directory .. "/redis-no-tls", tcp = true,
    })
    finally(function() plain:stop() end)
    local pool = support.redis({ acquire_timeout = 5, connect_timeout = 1 }, {
      url = plain.url:gsub("^redis:", "rediss:") .. "?insecure=true",
    })
    local value, err = pool:call "PING"
    assert.is_nil(value)
    assert.matches("stood in tls", err.message)
  end)

  it("recovers when the server comes back", function()
    local pool = open()
    must(pool:call "PING")
    must(own:restart())
    support.eventually("it answers", function() return pool:call "PING" == "PONG" end)
  end)
end)
