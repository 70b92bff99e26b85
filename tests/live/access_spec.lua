-- Who may use the admin listener: this machine, and elsewhere who knows the token.

local access = require "tidepool.access"
local cjson = require "cjson"
local config = require "tidepool.config"
local core = require "tidepool.core"
local support = require "support"

local must = support.must
local TOKEN = "a token of some length"
local GOOD = TOKEN:gsub(" ", "-")

after_each(support.run_ends)

-- Asks a listener with these settings.
local function listener(settings)
  local guard = access.new(settings)
  local server = must(core.listen {
    address = "127.0.0.1:0",
    handler = function(request)
      local status, headers, body = guard:refuse(request)
      if status then return status, headers, body end
      return 200, nil, "done"
    end,
  })
  support.at_end(function() server:close() end)
  return function(method, path, token)
    local status, headers, body = support.request(server:address(), method, path, nil,
      { authorization = token })
    return status, body, headers
  end, guard
end

local function load(toml)
  return config.load {
    environment = {},
    read = function(path)
      if path == "tidepool.toml" then return toml end
      return nil, "No such file or directory", 2
    end,
  }
end

describe("The admin listener", function()
  it("is open on this machine, unless there is a token", function()
    local ask = listener { admin = "127.0.0.1:1" }
    assert.are.equal(200, (ask("GET", "/pools")))
    assert.are.equal(200, (ask("PATCH", "/pools/main")))
  end)

  it("asks for the token before anything is changed", function()
    local ask, guard = listener { admin = "localhost:1", admin_token = GOOD }
    assert.are.equal(200, (ask("GET", "/pools")))
    local status, body, headers = ask("PATCH", "/pools/main")
    assert.are.equal(401, status)
    assert.matches("server.admin_token expected", cjson.decode(body).error)
    assert.matches("^Bearer ", headers["www-authenticate"])
    for _, wrong in ipairs { "Bearer x", "Bearer " .. GOOD .. "x", "Basic " .. GOOD, GOOD,
      "Bearer " .. GOOD:sub(1, -2), "Bearer" } do
      assert.are.equal(401, (ask("POST", "/reload", wrong)), wrong)
    end
    assert.are.equal(200, (ask("POST", "/reload", "Bearer " .. GOOD)))
    assert.are.equal(200, (ask("POST", "/reload", "bearer  " .. GOOD)))
    assert.are.equal(7, guard.refused)
  end)

  it("that can be reached from elsewhere tells nothing without it", function()
    local ask = listener { admin = "10.1.2.3:9000", admin_token = GOOD }
    for _, path in ipairs { "/health", "/metrics", "/pools", "/pools/main/events" } do
      assert.are.equal(401, (ask("GET", path)), path)
      assert.are.equal(200, (ask("GET", path, "Bearer " .. GOOD)), path)
    end
    assert.are.equal(200, (ask("GET", "/health/live")))
    assert.are.equal(200, (ask("HEAD", "/health/ready")))
    assert.are.equal(401, (ask("POST", "/health/live")))
  end)

  it("knows which addresses are this machine's", function()
    for _, address in ipairs { "127.0.0.1:0", "127.9.9.9:80", "localhost:1", "[::1]:1",
      "unix:/run/x" } do
      assert.is_true(access.is_local(address), address)
    end
    for _, address in ipairs { "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1",
      "127.evil.org:1", "[fe80::1]:1" } do
      assert.is_false(access.is_local(address), address)
    end
  end)

  it("is not configured to be reached from elsewhere without a token", function()
    local settings, problems = load '[server]\nadmin = "0.0.0.0:9000"\n'
    assert.is_nil(settings)
    assert.matches("tidepool.toml:2: server.admin: 0.0.0.0:9000 can be reached from "
      .. "elsewhere; set server.admin_token", problems[1])
    settings = must(load('[server]\nadmin = "0.0.0.0:9000"\nadmin_token = "' .. GOOD
      .. '"\n'))
    local told = table.concat(settings:describe(), "\n")
    assert.matches("server.admin_token = %*%*%*%*  # tidepool.toml:3", told)
    assert.is_nil(told:find(GOOD, 1, true))
    settings, problems = load '[server]\nadmin_token = "short and spaced"\n'
    assert.is_nil(settings)
    assert.matches("expected 16 characters or more, without spaces, found %*%*%*%*",
      problems[1])
  end)
end)
