-- fuzz_request.lua - requests to an app, without a socket: paths with parameters, query
-- strings, cookies, bodies as JSON.  Every one is answered with a status, and what
-- handlers are given is text.
--
-- Input: lines: method, path with its query, headers "name: value"; an empty one; then
-- the body.

local ask = require "tidepool.request"
local cookie = require "tidepool.cookie"
local core = require "tidepool.core"
local tide = require "tidepool"

local fuzz = fuzz -- luacheck: globals fuzz

local METHODS = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true,
                  HEAD = true, OPTIONS = true }

local function check_texts(values)
  for name, value in pairs(values) do
    assert(type(name) == "string" and type(value) == "string", "no text")
  end
end

local function handle(req, a, b)
  check_texts(req.query)
  check_texts(req.params or {})
  local value, err = req:json()
  local found = cookie.find(req.headers.cookie, "session")
  assert(found == nil or not found:find '[;,%s"]', "more than a value")
  assert(err == nil or err.status == 400)
  fuzz.feature(("%s %s"):format(type(value), tostring(found ~= nil)))
  return { status = 200, body = tostring(a) .. tostring(b) }
end

local app = tide.app()
for _, path in ipairs { "/", "/users/:id", "/users/:id/of/:name", "/files/*rest",
                        "/users/me" } do
  app:get(path, handle)
  app:post(path, handle)
end
app:put("/small", { max_body_bytes = 8 }, handle)

local function request_of(data)
  local head, body = data:match "^(.-)\n\n(.*)$"
  head, body = head or data, body or ""
  local method, path, rest = head:match "^([^\n]*)\n(/[^\n]*)(.*)$"
  if not method then return nil end
  local headers = {}
  for name, value in rest:gmatch "\n([^:\n]*):%s*([^\n]*)" do
    headers[name:lower()] = value
  end
  return method, path, { headers = headers, body = body }
end

return function(data)
  local method, path, opts = request_of(data)
  if not method then return end
  core.spawn(function()
    local ok, result = pcall(ask, app, method, path, opts)
    if not ok then fuzz.fail("raised: " .. tostring(result)) end
    fuzz.feature(result.status .. (METHODS[method] and method or ""))
    if result.status >= 500 then fuzz.fail("status " .. result.status) end
  end)
end
