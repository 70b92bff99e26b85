-- HTTPS: what a listener with certificates says, and to whom.

local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local must = support.must

describe("an HTTPS listener", function()
  local dir, server, address, context

  local function pair(name)
    return { certificate = ("%s/%s.pem"):format(dir, name),
             key = ("%s/%s.key"):format(dir, name) }
  end

  local function serve(limits)
    local app = tide.app()
    app:get("/", function() return "hello\n" end)
    app:post("/echo", function(req) return tide.json { size = #req.body } end)
    app:get("/long", function() return ("0123456789"):rep(100000) end)
    server = must(core.listen {
      address = "127.0.0.1:0", tls = context, limits = limits,
      handler = function(req) return app:handle(req) end,
    })
    address = server:address()
  end

  setup(function() dir = support.certificates() end)

  before_each(function()
    context = must(core.tls_server { pair "good", pair "other" })
    serve()
  end)

  after_each(function()
    server:close()
    support.run_ends()
  end)

  local function port() return address:match ":(%d+)$" end

  -- curl's exit status and output; words: more of its own.
  local function curl(path, words, host)
    local args = { "curl", "-sS", "--max-time", "20", "--cacert", dir .. "/ca.pem",
      "--resolve", "*:" .. port() .. ":127.0.0.1" }
    for _, word in ipairs(words or {}) do args[#args + 1] = word end
    args[#args + 1] = ("https://%s:%s%s"):format(host or "localhost", port(), path)
    return support.run(args)
  end

  -- What OpenSSL's own client tells of a handshake.
  local function handshake(...)
    local status, output = support.run({ "openssl", "s_client", "-connect", address,
      ... }, { input = "/dev/null" })
    return output, status
  end

  it("answers requests, small and large, several on one connection", function()
    local status, output = curl "/"
    assert.are.same({ 0, "hello\n" }, { status, output })
    status, output = curl "/long"
    assert.are.equal(0, status)
    assert.are.equal(1000000, #output)
    local body = support.file("body", ("b"):rep(900000))
    status, output = curl("/echo", { "--data-binary", "@" .. body })
    assert.are.same({ 0, '{"size":900000}' }, { status, output })
    local before = server:stats().connections
    status, output = curl("/", { ("https://localhost:%s/"):format(port()) })
    assert.are.same({ 0, "hello\nhello\n" }, { status, output })
    assert.are.equal(before + 1, server:stats().connections)
    assert.are.equal(0, server:stats().tls_failures)
  end)

  it("is not trusted by who does not know its CA", function()
    local status, output = support.run { "curl", "-sS",
      ("https://localhost:%s/"):format(port()) }
    assert.are.equal(60, status)
    assert.matches("certificate", output)
    support.eventually("it is counted", function()
      return server:stats().tls_failures == 1
    end)
    assert.matches("alert", server:stats().tls_failure)
  end)

  it("shows the certificate of the name that is asked for", function()
    assert.are.equal(0, (curl("/", nil, "other.example")))
    assert.are.equal(0, (curl("/", nil, "a.wild.example")))
    assert.are.equal(60, (curl("/", nil, "nobody.example")))
    assert.matches("subject=CN ?= ?good", (handshake "-noservername"))
  end)

  it("speaks TLS 1.2 and 1.3 only, with forward secrecy", function()
    local weak = "ALL:@SECLEVEL=0"
    for _, version in ipairs { "-tls1", "-tls1_1" } do
      local output = handshake(version, "-cipher", weak)
      assert.matches("alert protocol version", output)
    end
    for version, name in pairs { ["-tls1_2"] = "TLSv1.2", ["-tls1_3"] = "TLSv1.3" } do
      assert.matches("New, " .. name, (handshake(version)), 1, true)
    end
    for _, cipher in ipairs { "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA",
                              "DHE-RSA-AES128-GCM-SHA256", "NULL-SHA256" } do
      local output = handshake("-tls1_2", "-cipher", cipher .. ":@SECLEVEL=0")
      assert.matches("New, (NONE)", output, 1, true)
    end
    assert.matches("Compression: NONE", (handshake "-tls1_2"), 1, true)
    assert.matches("Secure Renegotiation IS supported", (handshake "-tls1_2"), 1, true)
  end)

  it("agrees on http/1.1, or on nothing where none is offered", function()
    local both = handshake("-alpn", "h2,http/1.1")
    assert.matches("ALPN protocol: http/1.1", both, 1, true)
    assert.matches("No ALPN negotiated", (handshake()), 1, true)
    assert.matches("alert no application protocol", (handshake("-alpn", "h2")))
  end)

  it("closes whoever speaks without TLS, and counts it", function()
    assert.are.equal("", support.raw(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"):match
      "HTTP" or "")
    assert.are.equal(1, server:stats().tls_failures)
    assert.matches("http request", server:stats().tls_failure)
  end)

  it("closes whoever is slow to shake hands", function()
    server:close()
    serve { header_timeout = 0.05 }
    local client = support.start({ "bash", "-c",
      "exec 3<>/dev/tcp/${0%:*}/${0##*:} && exec cat <&3", address })
    assert.are.equal(0, (client:wait()))
    assert.are.equal(1, server:stats().tls_failures)
    assert.matches("no handshake in time", server:stats().tls_failure)
  end)

  it("shows other certificates from the next connection on", function()
    assert.are.equal(0, (curl "/"))
    server:set_tls(must(core.tls_server { pair "expired" }))
    local status, output = curl "/"
    assert.are.equal(60, status)
    assert.matches("expired", output)
    server:set_tls(context)
    assert.are.equal(0, (curl "/"))
  end)

  it("drains with a last word", function()
    local drained = tide.spawn(function() return server:drain(5) end)
    local ok, is_drained = drained:wait()
    assert.is_true(ok and is_drained)
  end)
end)
