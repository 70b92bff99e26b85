-- handlers.lua - functions of a script that a host in C calls by name.

local core = require "tidepool.core"
local reply = require "tidepool.reply"
local standing = require "tidepool.standing"

local handlers = {}

local of_env = {} -- environment -> name -> function

-- What a handler gets.
local Call = {}
Call.__index = Call
handlers.Call = Call

-- What host.call() is told of payloads; none for "raw".
local CODECS = {
  json = { encode = reply.encode, decode = reply.decode },
  msgpack = { encode = reply.msgpack_encode, decode = reply.msgpack_decode },
}

-- The payload as JSON; or nil, err.
function Call:json() return reply.decode(self.payload) end

-- Asked when there is something to say: it takes longer than all else about a handler.
local function site_of(fn)
  local info = debug.getinfo(fn, "S")
  return info.short_src .. ":" .. info.linedefined
end

-- fn(call) answers what a host asks by this name, in the format of its request; where
-- that is none, a string is the reply as it is, nil an empty one, anything else is sent
-- as JSON; nil, err is a failure.
function handlers.add(name, fn)
  if type(name) ~= "string" or name == "" then
    error("a handler's name expected, got " .. (name == "" and "an empty text"
      or type(name)), 2)
  end
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  local own = standing.table_of(of_env, fn)
  if own[name] then
    error(('the handler "%s" is there already, at %s'):format(name,
      site_of(own[name])), 2)
  end
  own[name] = fn
end

jit.off(handlers.add) -- while a script loads

local function names_of(env)
  local names = {}
  for name in pairs(of_env[env] or {}) do names[#names + 1] = '"' .. name .. '"' end
  table.sort(names)
  return #names > 0 and "; there are " .. table.concat(names, ", ") or ""
end

local function describe(failure)
  if core.is_err(failure) then return failure end
  return { message = tostring(failure), traceback = debug.traceback("", 2) }
end

-- The payload that the handler sees.
local function value_of(bytes, format)
  local codec = CODECS[format]
  if not codec then return bytes end
  if bytes == "" then return nil end
  local value, err = codec.decode(bytes)
  if err then error(err, 0) end
  return value
end

-- The reply's bytes and their format.
local function bytes_of(value, format)
  if CODECS[format] then return CODECS[format].encode(value), format end
  if type(value) == "string" then return value, "raw" end
  if value == nil then return "", "raw" end
  return reply.encode(value), "json"
end

local function answer(fn, call, bytes, format)
  call.payload = value_of(bytes, format)
  local value, err = fn(call)
  if value == nil and err ~= nil then error(err, 0) end
  return bytes_of(value, format)
end

-- Calls the handler of the script with this environment.  Gives the reply's bytes and
-- their format; or nil, a code and a sentence.
function handlers.call(env, name, bytes, format)
  local fn = of_env[env] and of_env[env][name]
  if not fn then
    return nil, "badarg", ('the script has no handler "%s"%s'):format(name, names_of(env))
  end
  local ok, value, written = xpcall(answer, describe, fn,
    setmetatable({ name = name }, Call), bytes, format)
  if ok then return value, written end
  if core.is_err(value) then return nil, value.code, value.message end
  core.log("error", "handler failed", { handler = name, at = site_of(fn),
    error = value.message .. value.traceback })
  return nil, "script", value.message
end

return handlers
