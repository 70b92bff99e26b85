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

-- The next piece of what the body's function gave, or of its text.
local function next_piece(raw)
  while raw._source and raw._rest == "" do
    local piece = raw._source()
    if piece == nil then
      raw._source = nil
    elseif type(piece) ~= "string" then
      error("body: its function gave a " .. type(piece) .. ", string or nil expected", 0)
    else
      raw._rest = piece
    end
  end
  return raw._rest
end

local function too_large()
  return core.err("badarg", "the body is too large", { status = 413 })
end

function Raw:raw_read(most)
  if self.is_answered then
    return nil, core.err("closed", "the request was answered: what was left of its body "
      .. "cannot be read any more")
  end
  local rest = next_piece(self)
  if rest == "" then return nil end
  local piece = rest:sub(1, most)
  self._rest = rest:sub(#piece + 1)
  self.read_bytes = self.read_bytes + #piece
  if self.max_bytes and self.read_bytes > self.max_bytes then return nil, too_large() end
  return piece
end
function Raw:remote() return "test" end
function Raw:id() return core.request_id() end
function Raw:trace() return core.request_trace() end
function Raw:cancel_when_gone() end
function Raw:ends_with_server() end
function Raw:is_gone() return false end
function Raw:raw_is_open() return self.reply ~= nil end

function Raw:raw_open(status, headers)
  self.reply = { status = status, headers = headers, parts = {}, is_whole = false }
end

function Raw:raw_write(text)
  local parts = self.reply.parts
  parts[#parts + 1] = text
  return true
end

function Raw:raw_finish(how) self.reply.is_whole = how == "whole" end

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
  headers = lower(headers)
  headers["x-request-id"] = headers["x-request-id"] or raw.told_id
  return setmetatable({
    status = status, headers = headers, body = body or "",
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
  local kind = type(opts.body)
  if opts.body ~= nil and kind ~= "string" and kind ~= "function" then
    error("body: string, or a function that gives pieces, expected, got " .. kind, 3)
  end
  if opts.body ~= nil and opts.json ~= nil then
    error("body and json are given: a request has one of them", 3)
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
    _rest = type(body) == "string" and body or "",
    _source = type(body) == "function" and body or nil,
    read_bytes = 0,
  }, Raw)
end

-- As the server does before it hands a request out: gives the status to refuse it with.
local function take_body(raw, app)
  local streams, max_bytes = app:body_rule(raw._method, raw._path)
  raw.max_bytes = max_bytes
  if streams then return nil end
  local parts = {}
  for piece in function() return raw:raw_read(2 ^ 30) end do
    parts[#parts + 1] = piece
  end
  if max_bytes and raw.read_bytes > max_bytes then return 413 end
  raw._body = table.concat(parts)
  raw._rest, raw.read_bytes = raw._body, 0
end

-- What the service does before it serves: the app's on_load(nil), once.
local function load(app)
  if app.is_loaded then return end
  app.is_loaded = true
  if app.hooks.on_load then app.hooks.on_load.fn(nil) end
end

local function handle(app, raw)
  load(app)
  core.request_begin(raw._headers)
  if raw._headers["x-request-id"] then raw.told_id = core.request_id() end
  local status = take_body(raw, app)
  if status then return status, nil, "the body is too large\n" end
  return app:handle(raw)
end

-- Asks app as over HTTP, through its routes and with its error replies, in a task of its
-- own.  opts: body (a text, or a function that gives pieces and nil at the end), headers,
-- json (a value, sent as JSON).  Gives a response: status, headers (lower-case names),
-- body, is_whole (false when a streamed reply was cut), json().
return function(app, method, path, opts)
  opts = opts or {}
  check(app, method, path, opts)
  local raw = new_raw(method, path, opts)
  local task = core.spawn(handle, app, raw)
  local ok, status, headers, body = of(task:wait())
  raw.is_answered = true
  if not ok then error(status, 0) end
  return response(raw, status, headers, body)
end
