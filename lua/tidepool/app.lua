-- app.lua - an application: routes and handlers, requests and replies.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"
local router = require "tidepool.router"
local state_hooks = require "tidepool.state_hooks"
local stream = require "tidepool.stream"
local task = require "tidepool.task"

local App = {}
App.__index = App

local METHODS = { "get", "post", "put", "patch", "delete", "head", "options" }
local TEXT = { ["content-type"] = "text/plain; charset=utf-8" }
local PIECE_BYTES = 65536 -- the largest piece of a body
local OVER = "the service was loaded anew, and this took longer than it waits for\n"
local BUSY = { ["content-type"] = TEXT["content-type"], ["retry-after"] = "1" }

-- ---- requests

local Request = {}

local function decode_form(text)
  return router.decode((text:gsub("+", " ")))
end

-- "a=1&b=2" as a table; of a name that stands twice the last one counts.
local function parse_query(text)
  local query = {}
  for part in text:gmatch("[^&]+") do
    local name, value = part:match("^([^=]*)=?(.*)$")
    query[decode_form(name)] = decode_form(value)
  end
  return query
end

local LAZY = {
  headers = function(request) return request.raw:headers() end,
  body = function(request) return request.raw:body() end,
  query = function(request) return parse_query(request.raw:query()) end,
  remote = function(request) return request.raw:remote() end,
  id = function(request) return request.raw:id() end,
  trace = function(request) return request.raw:trace() end,
}

-- Of its task, which C reads when it asks a pool for something; never kept.
local function set_class(request, name, value)
  if name == "class" then core.class(value) else rawset(request, name, value) end
end

-- Looked at first, then kept.
function Request.__index(request, name)
  if name == "class" then return core.class() end
  local make = LAZY[name]
  if not make then return Request[name] end
  local value = make(request)
  rawset(request, name, value)
  return value
end

Request.__newindex = set_class

-- The body as JSON; or nil, err with status 400.
function Request:json()
  return reply.decode(self.body)
end

local function is_count(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0
end

local function check_size(size, level)
  if size == nil then return PIECE_BYTES end
  if not is_count(size) then
    error("bytes: a count from 1 on expected, got " .. tostring(size), level + 1)
  end
  return math.min(size, PIECE_BYTES)
end

-- The next piece of the body, whatever of it is there, at most so many bytes; nil at its
-- end; or nil, err.  Of a route that does not take it as a stream, too.
function Request:read(size)
  return of(self.raw:raw_read(check_size(size, 2)))
end

-- Iterates over the pieces; raises the err where read() would give one.
function Request:chunks(size)
  local raw, most = self.raw, check_size(size, 2)
  return function()
    local piece, err = of(raw:raw_read(most))
    if err then error(err, 0) end
    return piece
  end
end

-- One of a route that takes the body as a stream.
local StreamedRequest = { __newindex = set_class }

local function refuse_whole_body(level)
  error("this route takes its body as a stream: read it by req:read() or req:chunks()",
    level + 1)
end

function StreamedRequest.__index(request, name)
  if name == "body" then refuse_whole_body(2) end
  if name == "json" then return function() refuse_whole_body(2) end end
  return Request.__index(request, name)
end

-- ---- replies

local function bad_reply(route, what)
  return reply.internal("handler gave no reply", {
    at = route.site,
    error = "expected a string or { status, headers, body }, got " .. what,
  })
end

-- What the server can send: nil, a string, or rows that nobody looked at; nil and what
-- is wrong otherwise.
local function body_of(value)
  if value == nil or type(value) == "string" or core.is_untouched(value) then
    return value
  end
  if core.is_rows(value) then return core.encode(value) end
  return nil, "a body that is a " .. type(value)
end

local function parts(value)
  if type(value) ~= "table" then return nil, type(value) end
  local status = value.status or 200
  if type(status) ~= "number" or status < 200 or status > 599 then
    return nil, "status " .. tostring(status)
  end
  local body, wrong = body_of(value.body)
  if wrong then return nil, wrong end
  return status, value.headers or (body and TEXT) or nil, body
end

local function normalize(route, value)
  if type(value) == "string" then return 200, TEXT, value end
  local status, headers, body = parts(value)
  if not status then return parts(bad_reply(route, headers)) end
  return status, headers, body
end

-- An err that a handler raised stands for a status; anything else is a mistake.
local function failed(route, failure)
  local err = failure.err
  if err and err.code == "cancelled" then
    if route.app.is_over then return 503, BUSY, OVER end
    return 499
  end
  if err and reply.status_of(err) ~= 500 then return normalize(route, reply.fail(err)) end
  return normalize(route, reply.internal("handler failed",
    { at = route.site, error = failure.message, traceback = failure.traceback }))
end

local function describe(value)
  if core.is_err(value) then
    return { err = value, message = tostring(value), traceback = debug.traceback("", 2) }
  end
  return { message = tostring(value), traceback = debug.traceback("", 2) }
end

-- A streamed reply is sent here, in the handler's task, or until due in one of its own:
-- nothing is left to be sent.
local function send_stream(route, raw, value, due)
  local function send()
    return stream.send(raw, value, describe, function(failure)
      reply.internal("handler failed in the middle of its reply",
        { at = route.site, error = failure.message, traceback = failure.traceback })
    end)
  end
  if not due then
    local failure = send()
    if failure then return failed(route, failure) end
    return nil
  end
  local failure, late = task.timeout(math.max(due - core.now(), 0), send)
  if failure and not late then return failed(route, failure) end
  if not late then return nil end
  if not raw:raw_is_open() then
    return failed(route, { err = late, message = late.message })
  end
  core.log("warn", "a reply was cut at its route's deadline",
    { at = route.site, timeout_ms = route.timeout_ms })
end

-- due: when the route's time is up, or nil.
local function finish(route, raw, due, ok, value)
  if not ok then return failed(route, value) end
  if type(value) == "table" and value.stream then
    return send_stream(route, raw, value, due)
  end
  return normalize(route, value)
end

-- ---- the limits of a route

-- The handler in a task of its own that is cancelled at the deadline, and with it every
-- acquire and statement under it.
local function call_in_time(route, request)
  local ok, value = task.timeout(route.timeout_ms / 1000, xpcall, route.fn, describe,
    request)
  if ok == nil then return false, { err = value, message = tostring(value) } end
  return ok, value
end

local function call(route, request)
  if route.timeout_ms then return call_in_time(route, request) end
  return xpcall(route.fn, describe, request)
end

-- What a route refuses by itself: status, headers, body; or nil.
local function refusal(route)
  if route.max_concurrent and route.running >= route.max_concurrent then
    return 503, BUSY, "too many at the same time\n"
  end
end

-- ---- routing

local function allowed_methods(routes)
  local names = {}
  for method in pairs(routes) do names[#names + 1] = method end
  if routes.GET and not routes.HEAD then names[#names + 1] = "HEAD" end
  table.sort(names)
  return table.concat(names, ", ")
end

local function params_of(route, values)
  local params = {}
  for i, name in ipairs(route.names or {}) do params[name] = values[i] end
  return params
end

local function find(app, method, path)
  local routes, values = app.router:match(path)
  if not routes then return nil end
  return routes[method] or (method == "HEAD" and routes.GET) or nil, values, routes
end

-- Whether a request is handled before its body is there, and how large that may be, or
-- nil.  What no route takes is answered without reading it.
function App:body_rule(method, path)
  local route = find(self, method, path)
  if not route then return true end
  return route.streams, route.max_body_bytes
end

local tells_route = false -- somebody wants to know which one a request took

-- Handles one request of core.listen: gives status, headers and body.
function App:handle(raw)
  local method, path = raw:method(), raw:path()
  local route, values, routes = find(self, method, path)
  if not routes then return 404, TEXT, "no such page\n" end
  if not route then
    local headers = { allow = allowed_methods(routes) }
    headers["content-type"] = TEXT["content-type"]
    return 405, headers, "method not allowed\n"
  end
  if tells_route then core.request_route(route.pattern) end
  if route.on_disconnect then raw:cancel_when_gone(route.on_disconnect == "cancel") end
  local request = setmetatable({
    raw = raw,
    method = method,
    path = path,
    params = params_of(route, values),
  }, route.streams and StreamedRequest or Request)
  if not route.is_limited then
    return finish(route, raw, nil, xpcall(route.fn, describe, request))
  end
  local status, headers, body = refusal(route)
  if status then return status, headers, body end
  route.running = route.running + 1
  core.finally(function() route.running = route.running - 1 end)
  local due = route.timeout_ms and core.now() + route.timeout_ms / 1000
  return finish(route, raw, due, call(route, request))
end

-- option -> { what it must be, in words and as a check }
local ROUTE_OPTIONS = {
  on_disconnect = { '"cancel" or "finish"',
    function(value) return value == "cancel" or value == "finish" end },
  timeout_ms = { "milliseconds above 0",
    function(value) return type(value) == "number" and value > 0 end },
  body = { '"stream"', function(value) return value == "stream" end },
  max_body_bytes = { "a count from 1 on", is_count },
  max_concurrent = { "a count from 1 on", is_count },
}

local function check_options(opts)
  for name, value in pairs(opts) do
    local option = ROUTE_OPTIONS[name]
    if not option then error("unknown route option: " .. tostring(name), 4) end
    if not option[2](value) then
      error(("%s: %s expected, got %s"):format(name, option[1], tostring(value)), 4)
    end
  end
end

local default_timeout_ms -- of routes that do not say; nil: none

local function add_route(app, method, path, fn, opts)
  if type(fn) == "table" then fn, opts = opts, fn end
  if type(fn) ~= "function" then
    error("handler function expected, got " .. type(fn), 3)
  end
  opts = opts or {}
  check_options(opts)
  local timeout_ms = opts.timeout_ms or default_timeout_ms
  if timeout_ms == math.huge then timeout_ms = nil end
  local info = debug.getinfo(fn, "S")
  app.router:add(method, path, {
    app = app, fn = fn,
    on_disconnect = opts.on_disconnect,
    timeout_ms = timeout_ms, max_body_bytes = opts.max_body_bytes,
    max_concurrent = opts.max_concurrent, running = 0, pattern = path,
    streams = opts.body == "stream",
    is_limited = (timeout_ms or opts.max_concurrent) ~= nil,
    site = info.short_src .. ":" .. info.linedefined,
  })
  return app
end

-- Adds a handler for a method and a path: fixed parts, :param and *rest.  opts:
-- on_disconnect = "cancel" or "finish", what becomes of it when the client goes away
-- (GET and HEAD are cancelled, the others finish); timeout_ms, of the handler, and of all
-- that it waits for: 504 (math.huge: none, whatever server.request_timeout says);
-- max_body_bytes, instead of the server's: 413; max_concurrent,
-- handlers of this route at the same time: 503; body = "stream": the handler runs before
-- the body is there, and reads it by req:read() and req:chunks().
function App:route(method, path, fn, opts)
  if type(method) ~= "string" then error("method expected, got " .. type(method), 2) end
  return (add_route(self, method:upper(), path, fn, opts))
end

for _, name in ipairs(METHODS) do
  local method = name:upper()
  App[name] = function(self, path, fn, opts)
    return (add_route(self, method, path, fn, opts))
  end
end

-- ---- from one version to the next

local function set_hook(self, name, fn)
  state_hooks.set(self.hooks, name, fn, 3)
  return self
end

-- Calls fn() when the next version of the script has loaded: what it returns, plain
-- data, is handed over.  This version may have to go on after it.
function App:on_unload(fn) return (set_hook(self, "on_unload", fn)) end

-- Calls fn(state) before this version serves, with what the version before handed over;
-- nil: it is the first, or that one hands nothing over.
function App:on_load(fn) return (set_hook(self, "on_load", fn)) end

local app = {}

function app.new()
  return setmetatable({ router = router.new(), hooks = {}, is_loaded = false }, App)
end

-- For routes that are added from here on: seconds, 0 for none.
function app.set_timeout(seconds)
  default_timeout_ms = seconds > 0 and seconds * 1000 or nil
end

-- The access log and comments of statements name it.
function app.tell_route() tells_route = true end

function app.is(value) return getmetatable(value) == App end

return app
