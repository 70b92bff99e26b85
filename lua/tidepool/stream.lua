-- stream.lua - replies that are sent piece by piece, and server-sent events.

local core = require "tidepool.core"
local reply = require "tidepool.reply"
local of = require("tidepool.result").of

local HEARTBEAT_SECONDS = 15

local stream = {}

-- ---- what a handler's function writes to

local Reply = {}
Reply.__index = Reply

-- Sends a piece, and waits while the client is slow; true, or nil, err (closed) when the
-- client has gone.
function Reply:write(text)
  if type(text) ~= "string" then error("string expected, got " .. type(text), 2) end
  self:open()
  return of(self.raw:raw_write(text))
end

-- The head goes out with the first piece: what fails before it gets a reply of its own.
function Reply:open()
  if self.is_open then return end
  self.is_open = true
  self.raw:raw_open(self.value.status or 200, self.value.headers)
end

-- Ends thing, by its close() or cancel(), when the reply ends, however it does; gives
-- it.
function Reply:own(thing)
  self.owned[#self.owned + 1] = thing
  return thing
end

local function end_owned(self)
  for i = #self.owned, 1, -1 do
    local thing = self.owned[i]
    local close = thing.close or thing.cancel
    local ok, failure = pcall(close, thing)
    if not ok then
      core.log("error", "what a reply owned did not end", { error = tostring(failure) })
    end
  end
end

-- ---- events

local Events = setmetatable({}, { __index = Reply })
Events.__index = Events

local function check_line(name, value)
  value = tostring(value)
  if value:find "[\r\n%z]" then
    error(name .. " of an event: one line expected, got more", 4)
  end
  return name .. ": " .. value .. "\n"
end

local function data_lines(data)
  if type(data) == "table" then data = reply.encode(data) end
  local text = tostring(data):gsub("\r\n?", "\n")
  return "data: " .. text:gsub("\n", "\ndata: ") .. "\n"
end

local FIELDS = { event = true, data = true, id = true, retry = true }

local function format(event)
  if type(event) ~= "table" or core.is_rows(event) then
    return data_lines(event) .. "\n"
  end
  for name in pairs(event) do
    if not FIELDS[name] then
      error("unknown field of an event: " .. tostring(name), 3)
    end
  end
  local lines = {}
  if event.event then lines[1] = check_line("event", event.event) end
  if event.id then lines[#lines + 1] = check_line("id", event.id) end
  if event.retry then
    if type(event.retry) ~= "number" then error("retry: milliseconds expected", 3) end
    lines[#lines + 1] = ("retry: %d\n"):format(event.retry)
  end
  if event.data ~= nil then lines[#lines + 1] = data_lines(event.data) end
  return table.concat(lines) .. "\n"
end

-- Sends an event: a text, or { event =, data =, id =, retry = ms }; data that is a table
-- goes as JSON.  true, or nil, err (closed) when the client has gone.
function Events:send(event)
  local text = format(event)
  return of(self.raw:raw_write(text))
end

-- Parks until the client goes away or the server drains; then it raises `cancelled`.
function Events:wait()
  while true do of(core.sleep(3600)) end
end

-- Lines that mean nothing, so that a client that went away silently is seen, and
-- proxies do not take the connection for idle.
local function beat(raw, seconds)
  while true do
    of(core.sleep(seconds))
    if not of(raw:raw_write(":\n\n")) then return end
  end
end

-- ---- running one

local function begin(writer, value)
  local raw = writer.raw
  if not value.is_events then return end
  writer:open()
  raw:cancel_when_gone(true)
  raw:ends_with_server()
  writer.last_id = raw:headers()["last-event-id"]
  writer:own(core.spawn(beat, raw, value.heartbeat))
end

-- After its function failed: cuts the reply, unless it ends so.  Gives true when that was
-- nobody's mistake.
local function cut(writer, value, err)
  local raw = writer.raw
  local is_end = err and err.code == "cancelled"
  local is_gone = err and err.code == "closed" and raw:is_gone()
  raw:raw_finish(is_end and (value.is_events and "whole" or "late") or "cut")
  return is_end or is_gone
end

-- Sends the reply of a handler, in its task.  describe: of errors, for xpcall.  Gives the
-- failure when nothing was sent yet; on_failure is told of one in the middle.
function stream.send(raw, value, describe, on_failure)
  local writer = setmetatable({ raw = raw, value = value, owned = {} },
    value.is_events and Events or Reply)
  if raw:method() == "HEAD" then
    writer:open()
    return raw:raw_finish "whole"
  end
  begin(writer, value)
  local ok, failure = xpcall(value.stream, describe, writer)
  end_owned(writer)
  if ok then
    writer:open()
    return raw:raw_finish "whole"
  end
  if not writer.is_open then return failure end
  if not cut(writer, value, failure.err) then on_failure(failure) end
end

-- ---- replies

-- Replies with what fn(reply) writes by reply:write(text): sent piece by piece, no faster
-- than the client reads.  opts: status, headers.  When fn raises, the connection is cut,
-- so that the client sees that the reply is not whole.
function stream.stream(fn, opts)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  opts = opts or {}
  for name in pairs(opts) do
    if name ~= "status" and name ~= "headers" then
      error("unknown option: " .. tostring(name), 2)
    end
  end
  return { status = opts.status, headers = opts.headers, stream = fn }
end

-- Replies with server-sent events: fn(stream) sends them by stream:send(event) and ends
-- the reply by returning.  opts: heartbeat, seconds between signs of life (15), headers.
function stream.events(fn, opts)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  opts = opts or {}
  local headers = {
    ["content-type"] = "text/event-stream", ["cache-control"] = "no-store",
  }
  for name, value in pairs(opts) do
    if name == "headers" then
      for header, text in pairs(value) do headers[header:lower()] = text end
    elseif name ~= "heartbeat" or type(value) ~= "number" or value <= 0 then
      error("unknown or wrong option: " .. tostring(name), 2)
    end
  end
  return {
    headers = headers, stream = fn, is_events = true,
    heartbeat = opts.heartbeat or HEARTBEAT_SECONDS,
  }
end

return stream
