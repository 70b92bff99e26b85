-- fuzz_admin.lua - the admin API, on pools that no server answers: every reply is JSON of
-- a status that it should have, settings stay within their limits, and nothing is changed
-- without the token.
--
-- Input: lines: method, path, headers "name: value"; an empty one; then the body.

local access = require "tidepool.access"
local admin = require "tidepool.admin"
local control = require "tidepool.control"
local core = require "tidepool.core"

local fuzz = fuzz -- luacheck: globals fuzz

local TOKEN = "correct-horse-battery-staple"
local STATUS = { [200] = true, [400] = true, [401] = true, [403] = true, [404] = true,
                 [405] = true, [409] = true, [500] = true, [503] = true }

local pools
local function open_pools()
  pools = {
    assert(core.postgres_open { name = "main", application_name = "fuzz", trace = "off",
      url = "postgres://u:secret77@/d?host=/nonexistent", settings = {} }),
    assert(core.redis_open { name = "cache", url = "unix:///nonexistent/s",
      settings = {} }),
  }
end
open_pools()

local state = {
  optional = {}, server = function() end, is_stopping = function() return false end,
  certificates = function() return {} end,
  reload = function(generation)
    assert(generation == nil or type(generation) == "number")
    return nil, "no %s script"
  end,
}

local function request_of(data)
  local head, body = data:match "^(.-)\n\n(.*)$"
  head, body = head or data, body or ""
  local method, path, rest = head:match "^([^\n]*)\n([^\n]*)(.*)$"
  if not method then return nil end
  local headers = {}
  for name, value in rest:gmatch "\n([^:\n]*):%s*([^\n]*)" do
    headers[name:lower()] = value
  end
  return {
    method = function() return method end, path = function() return path end,
    headers = function() return headers end, body = function() return body end,
    remote = function() return "test" end,
  }
end

local function settings_of(pool) return core.encode(pool:settings()) end

-- A sentence may repeat what was asked for, and the token if it stands there.
local function check_reply(request, status, headers, body)
  local asked = request:method() .. request:path() .. request:body()
  assert(STATUS[status], "status " .. tostring(status))
  assert(asked:find(TOKEN, 1, true) or not body:find(TOKEN, 1, true),
    "the token is shown")
  assert(not body:find("secret77", 1, true), "the password is shown")
  if headers["content-type"] == "application/json" then
    if not fuzz.is_json(body) then error(("%q is not JSON"):format(body)) end
  end
end

local function ask(handlers, request)
  for _, handler in ipairs(handlers) do
    local status, headers, body = handler(request)
    if status then return status, headers, body end
  end
end

local function run(request)
  state.pools = pools
  local door = access.new { admin_token = TOKEN, admin = "0.0.0.0:1" }
  local handlers = { function(of) return door:refuse(of) end, control.new(state),
                     admin.new(state) }
  local before = settings_of(pools[1]) .. settings_of(pools[2])
  local status, headers, body = ask(handlers, request)
  if not status then return end
  check_reply(request, status, headers, body)
  fuzz.feature(status .. request:method() .. request:path())
  if status ~= 200 then
    fuzz.feature((body:gsub("%w+%d", "")))
    assert(before == settings_of(pools[1]) .. settings_of(pools[2]), "it was changed")
  end
  for _, pool in ipairs(pools) do
    local settings = pool:settings()
    assert(settings.min_connections <= settings.max_connections)
  end
end

-- Also without the token: as one who has it asks.
return function(data)
  local request = request_of(data)
  if not request then return end
  run(request)
  if request.headers().authorization == nil then
    request.headers().authorization = "Bearer " .. TOKEN
    run(request)
  end
  if request:path():find "/drain" then
    for _, pool in ipairs(pools) do core.spawn(function() pool:close(0) end) end
    open_pools()
  end
end
