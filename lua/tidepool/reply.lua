-- reply.lua - what handlers return: replies and the functions that make them.

local core = require "tidepool.core"
local cjson = require "cjson"

local reply = {}

local JSON = { ["content-type"] = "application/json" }
local TEXT = { ["content-type"] = "text/plain; charset=utf-8" }
local HTML = { ["content-type"] = "text/html; charset=utf-8" }

-- The JSON text of a value; a function or a cycle in it raises.
function reply.encode(value)
  local text, failure = core.encode(value)
  if not text then error(failure, 2) end
  return text
end

-- The value of a JSON text; or nil, err.
function reply.decode(text)
  if type(text) ~= "string" then error("string expected, got " .. type(text), 2) end
  local ok, value = pcall(cjson.decode, text)
  if ok then return value end
  return nil, core.err("badarg", "bad JSON: " .. tostring(value), { status = 400 })
end

-- The same as MessagePack.
function reply.msgpack_encode(value)
  local bytes, failure = core.msgpack_encode(value)
  if not bytes then error(failure, 2) end
  return bytes
end

function reply.msgpack_decode(bytes)
  if type(bytes) ~= "string" then error("string expected, got " .. type(bytes), 2) end
  local value, failure = core.msgpack_decode(bytes)
  if failure then
    return nil, core.err("badarg", "bad MessagePack: " .. failure, { status = 400 })
  end
  return value
end

-- Replies with a value as JSON; rows that nobody looked at go to
-- the output without becoming Lua values.
function reply.json(value, status)
  if core.is_untouched(value) then
    return { status = status or 200, headers = JSON, body = value }
  end
  local text, failure = core.encode(value)
  if not text then error(failure, 2) end
  return { status = status or 200, headers = JSON, body = text }
end

-- Replies with text that is JSON already.
function reply.json_raw(text, status)
  if type(text) ~= "string" then error("string expected, got " .. type(text), 2) end
  return { status = status or 200, headers = JSON, body = text }
end

function reply.text(text, status)
  return { status = status or 200, headers = TEXT, body = tostring(text) }
end

function reply.html(text, status)
  return { status = status or 200, headers = HTML, body = tostring(text) }
end

local STATUS = { busy = 503, closed = 503, refused = 503, lost = 503, timeout = 504,
                 conflict = 409 }

-- The status that an err stands for.
function reply.status_of(err)
  local status = err.status
  if type(status) == "number" and status >= 400 and status <= 599 then return status end
  return STATUS[err.code] or 500
end

-- Logs a failure, with the request's id as every line of it, and gives a reply that
-- tells the id only.
function reply.internal(event, fields)
  core.log("error", event, fields)
  local id = core.request_id()
  return { status = 500, headers = TEXT,
    body = id and "internal error " .. id .. "\n" or "internal error\n" }
end

-- Replies with what an err stands for: 503 for busy, closed, refused and lost, 504 for
-- timeout, 409 for conflict, err.status where it is set, and 500, with the details only
-- in the log, for the rest.
function reply.fail(err)
  if not core.is_err(err) then error("err expected, got " .. type(err), 2) end
  local status = reply.status_of(err)
  if status == 500 then
    return reply.internal("request failed", { error = tostring(err), code = err.code })
  end
  local body = core.encode { error = err.code, message = err.message }
  return { status = status, headers = JSON, body = body .. "\n" }
end

return reply
