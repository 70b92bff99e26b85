-- url_spec.lua - urls as they are shown, and what is said of wrong ones.

local url = require "tidepool.url"

-- As it is written -> as it is shown.
local MASKED = {
  -- without secrets
  ["redis://h:6379"] = "redis://h:6379",
  ["postgres://h:5432/app"] = "postgres://h:5432/app",
  ["postgres://app@h:5432/app"] = "postgres://app@h:5432/app",
  ["postgres:///app?host=/run"] = "postgres:///app?host=/run",
  ["postgres://app@/d?host=/run&port=1&user=b"] =
    "postgres://app@/d?host=/run&port=1&user=b",
  ["host=h dbname=a user=u port=1"] = "host=h dbname=a user=u port=1",
  ["unix:///run/redis.sock?db=2"] = "unix:///run/redis.sock?db=2",
  -- the password of the user
  ["postgres://app:secret@h:5432/app"] = "postgres://app:***@h:5432/app",
  ["postgresql://app:secret@h"] = "postgresql://app:***@h",
  ["postgres://app:se@cr:et@h/app"] = "postgres://app:***@h/app",
  ["postgres://app:se/cr#et@h/app"] = "postgres://app:***@h/app",
  ["postgres://app:se?cret@h/app"] = "postgres://***",
  ["postgres://app@server:secret@h/app"] = "postgres://app@server:***@h/app",
  ["postgres:/app:secret@h/app"] = "postgres:/app:***@h/app",
  ["postgres://:secret@h/app"] = "postgres://:***@h/app",
  ["redis://:secret@h:6379/1"] = "redis://:***@h:6379/1",
  ["redis://secret@h:6379/1"] = "redis://:***@h:6379/1",
  ["redis://app:sec ret@h"] = "redis://app:***@h",
  ["unix://:secret@/run/redis.sock"] = "unix://:***@/run/redis.sock",
  ["mysql://app:secret@h/d"] = "mysql://app:***@h/d",
  -- parameters
  ["postgres://app@h/d?password=secret&port=1"] =
    "postgres://app@h/d?password=***&port=1",
  ["postgres://app@h/d?pasword=secret"] = "postgres://app@h/d?pasword=***",
  ["postgres://h/d?password=sec&ret&port=1"] =
    "postgres://h/d?password=***&***&port=1",
  ["postgres:///app?sslpassword=secret"] = "postgres:///app?sslpassword=***",
  ["postgres://h/d?PASSWORD=secret"] = "postgres://h/d?PASSWORD=***",
  ["postgres://h/d?pass%77ord=secret"] = "postgres://h/d?pass%77ord=***",
  ["postgres://h:1/d?password=sec@ret"] = "postgres://***",
  ["redis://h?password=secret"] = "redis://h?password=***",
  -- the other form of libpq
  ["host=h password=secret dbname=a"] = "host=h password=*** dbname=a",
  ["host=h PASSWORD = 'se cret'"] = "host=h PASSWORD=***",
  ["host=h password='se \\'cret' port=1"] = "host=h password=*** port=1",
  ["host=h password='se cret"] = "host=h password=***",
  ["host=h password=se\\ cret port=1"] = "host=h password=*** port=1",
  ["host=h password=se cret"] = "host=h password=*** ***",
  ["host = 'my host' passwd=secret"] = "host='my host' passwd=***",
  -- neither
  ["secret"] = "***",
  ["app:secret@h/d"] = "***",
  ['"postgres://app:secret@h/d"'] = "***",
  [""] = "***",
}

local ENCODE = " (in a user or password, write %2F for '/', %40 for '@', %3A for ':')"
local PORT = "the port is not a number from 1 to 65535" .. ENCODE
local SCHEME = "expected a url that begins with postgres:// or postgresql://"
local PERCENT = "a '%' is not followed by two hexadecimal digits (write %25 for '%')"
local QUOTES = "the quotes are part of the value here: leave them out"

-- Postgres urls -> what is wrong; false for those that are right.
local JUDGED = {
  ["postgres://h/d"] = false,
  ["postgresql://h"] = false,
  ["postgres://"] = false,
  ["postgres:///d?host=/run&port=5433"] = false,
  ["postgres://a:b@h:5432/d"] = false,
  ["postgres://a:b%2Fc%40@h:5432/d"] = false,
  ["postgres://a:b@h1:1,h2:65535,h3/d"] = false,
  ["postgres://a:b@[::1]:5432/d"] = false,
  ["postgres://a:b@[::1]/d"] = false,
  ["postgres://a@h:/d"] = false,
  ["postgres://a:p?w@h/d"] = false,
  ["postgres://h/d@e"] = false,
  ["postgres://h/d?application_name=a@b"] = false,
  ["host=h password=a%z"] = false,
  ["dbname=d"] = false,
  ["d"] = SCHEME,
  ["a:b@h/d"] = SCHEME,
  ["mysql://a:b@h/d"] = SCHEME,
  ["redis://h?x=1"] = SCHEME,
  ["postgres:/h/d?x=1"] = SCHEME,
  ["POSTGRES://h/d"] = SCHEME,
  ["$DATABASE_URL"] = "a variable stands in a file as ${NAME}",
  ['"postgres://h/d"'] = QUOTES,
  ["'host=h'"] = QUOTES,
  ["postgres://a:b%zz@h/d"] = PERCENT,
  ["postgres://a:b%@h/d"] = PERCENT,
  ["postgres://a:100%2@h/d"] = PERCENT,
  ["postgres://h:0/d"] = PORT,
  ["postgres://h:65536/d"] = PORT,
  ["postgres://h:x/d"] = PORT,
  ["postgres://h1:1,h2:y/d"] = PORT,
  ["postgres://[::1]x/d"] = PORT,
  ["postgres://a:b/c@h/d"] = PORT,
  ["postgres://a@b:c@h/d"] = PORT,
  ["postgres://a:b@c@h/d"] = "there are two '@'" .. ENCODE,
}

describe("url.mask", function()
  for written, shown in pairs(MASKED) do
    it("shows " .. shown .. " for " .. written, function()
      assert.equal(shown, url.mask(written))
    end)
  end
end)

describe("url.mask_inside", function()
  it("masks what looks like a url in any text", function()
    assert.equal("127.0.0.1:80", url.mask_inside "127.0.0.1:80")
    assert.equal("x: postgres://a:***@h/d", url.mask_inside "x: postgres://a:pw@h/d")
    assert.equal("host=h password=***", url.mask_inside "host=h password=pw port=1")
  end)
end)

describe("url.wrong_postgres", function()
  for text, wrong in pairs(JUDGED) do
    it(wrong and "refuses " .. text or "takes " .. text, function()
      assert.equal(wrong, url.wrong_postgres(text) or false)
    end)
  end
end)

describe("url.without_quotes", function()
  it("leaves out what libpq quotes of a url, but not a parameter's name", function()
    local cut = url.without_quotes
    assert.equal('missing "=" in connection info string',
      cut 'missing "=" after "s3cret" in connection info string')
    assert.equal('invalid URI query parameter: "sslmod"',
      cut 'invalid URI query parameter: "sslmod"')
    assert.equal('missing key/value separator "=" in URI query parameter',
      cut 'missing key/value separator "=" in URI query parameter: "s3cret"')
    assert.equal("invalid percent-encoded token",
      cut 'invalid percent-encoded token: "a"')
    assert.equal('unexpected character "x" in position 2 in URI (expected ":" or "/")',
      cut 'unexpected character "x" in position 2 in URI (expected ":" or "/"): "s"t"')
  end)
end)

-- A url of a server -> the TCP ports that it names.
local PORTS = {
  ["postgres://h/d"] = { 5432 },
  ["postgres://app:pw@h:5433/d"] = { 5433, 5432 },
  ["postgres://a,b:6000,[::1]:6001/d"] = { 6000, 6001, 5432 },
  ["postgres://h/d?port=6002"] = { 6002 },
  ["host=h port=6003 dbname=d"] = { 6003 },
  ["host=a,b port=6004,6005"] = { 6004, 6005 },
  ["postgres:///d?host=/run/postgresql&port=1"] = {},
  ["postgres:///d?host=%2Frun%2Fpostgresql"] = {},
  ["host=/run/postgresql dbname=d"] = {},
  ["host='/run/a' dbname=d"] = {},
  ["redis://:se@cret@h:6380/1"] = { 6380, 6379 },
  ["rediss://h?cacert=/a.pem"] = { 6379 },
  ["unix:///run/redis.sock?db=2"] = {},
}

describe("url.ports", function()
  for text, ports in pairs(PORTS) do
    it("finds those of " .. text, function()
      local kind = text:find "^redis" and "redis" or "postgres"
      assert.are.same(ports, url.ports(kind, text))
    end)
  end
end)

describe("url.parameter", function()
  it("gives the value of one, or nil", function()
    local of_url = "postgres://a:b@h/d?sslmode=require&sslrootcert=%2Fa%2Bb.pem"
    assert.are.equal("/a+b.pem", url.parameter(of_url, "sslrootcert"))
    assert.are.equal("require", url.parameter(of_url, "sslmode"))
    assert.is_nil(url.parameter(of_url, "sslkey"))
    assert.are.equal("/a b", url.parameter("host=h sslkey = '/a b' port=1", "sslkey"))
    assert.is_nil(url.parameter("host=h", "sslkey"))
  end)
end)
