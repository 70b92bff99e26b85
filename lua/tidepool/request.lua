-- request.lua - tide.request: asks an app without a socket, for tests of handlers.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"

local OPTIONS = { body = true, headers = true, json = true }
local JSON_TYPE = "application/json"

-- What app:handle() asks of a request of core.listen.
local Raw = {}
Raw.__index = Raw

function Raw:method() return self._method end
function Raw:path() return self._path end
function Raw:query() return self._query end
function Raw:headers() return self._headers end
function Raw:body() return self._body end
function Raw:remote() return "test" end
function Raw:cancel_when_gone() end
function Raw:ends_with_server() end
function Raw:is_gone() return false end

function Raw:raw_open(status, headers)
  self.reply = { status = status, headers = headers, parts = {}, is_whole = false }
end

function Raw:raw_write(text)
  local parts = self.reply.parts
  parts[#parts + 1] = text
  return true
end

function Raw:raw_finish(is_whole) self.reply.is_whole = is_whole end

-- ---- what comes back

local Response = {}
Response.__index = Response

-- The body as JSON; or nil, err.
function Response:json() return reply.decode(self.body) end

local function lower(headers)
  local result = {}
  for name, value in pairs(headers or {}) do result[tostring(name):lower()] = value end
  return result
end

local function response(raw, status, headers, body)
  if raw.reply then
    status, headers = raw.reply.status, raw.reply.headers
    body = table.concat(raw.reply.parts)
  end
  if core.is_rows(body) then body = core.encode(body) end
  if raw._method == "HEAD" then body = "" end
  return setmetatable({
    status = status, headers = lower(headers), body = body or "",
    is_whole = not raw.reply or raw.reply.is_whole,
  }, Response)
end

-- ---- asking

local function check(app, method, path, opts)
  if type(app) ~= "table" or type(app.handle) ~= "function" then
    error("an app of tide.app expected, got " .. type(app), 3)
  end
  if type(method) ~= "string" then error("method expected, got " .. type(method), 3) end
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error("path, from / on, expected, got " .. tostring(path), 3)
  end
  for name in pairs(opts) do
    if not OPTIONS[name] then error("unknown option: " .. tostring(name), 3) end
  end
  if opts.body ~= nil and type(opts.body) ~= "string" then
    error("body: string expected, got " .. type(opts.body), 3)
  end
end

local function new_raw(method, target, opts)
  local path, query = target:match "^([^?]*)%??(.*)$"
  local headers, body = lower(opts.headers), opts.body or ""
  if opts.json ~= nil then
    body = reply.encode(opts.json)
    headers["content-type"] = headers["content-type"] or JSON_TYPE
  end
  headers.host = headers.host or "test"
  return setmetatable({
    _method = method:upper(), _path = path, _query = query, _headers = headers,
    _body = body,
  }, Raw)
end

-- Asks app as over HTTP, through its routes and with its error replies, in a task of its
-- own.  opts: body, headers, json (a value, sent as JSON).  Gives a response: status,
-- headers (lower-case names), body, is_whole (false when a streamed reply was cut),
-- json().
return function(app, method, path, opts)
  opts = opts or {}
  check(app, method, path, opts)
  local raw = new_raw(method, path, opts)
  local task = core.spawn(function() return app:handle(raw) end)
  local ok, status, headers, body = of(task:wait())
  if not ok then error(status, 0) end
  return response(raw, status, headers, body)
end
