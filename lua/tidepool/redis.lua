-- redis.lua - what scripts call on Redis pools.

local core = require "tidepool.core"
local result = require "tidepool.result"

local of = result.of

-- A recorder: every method is a command, which is kept until the end.
local Recorder = {}

function Recorder.call(recorder, ...)
  recorder[#recorder + 1] = { ... }
end

function Recorder.__index(_, name)
  if name == "call" then return Recorder.call end
  local command = string.upper(name)
  return function(recorder, ...) recorder[#recorder + 1] = { command, ... } end
end

local function record(fn, level)
  if type(fn) ~= "function" then
    error("function expected, got " .. type(fn), level + 1)
  end
  local recorder = setmetatable({}, Recorder)
  fn(recorder)
  return setmetatable(recorder, nil)
end

-- Redis runs nothing when it refused one of the commands: that is the failure.
local function unless_aborted(replies, err)
  if not replies then return nil, err end
  local aborted, cause = false, nil
  for _, reply in ipairs(replies) do
    if not core.is_err(reply) then return replies end
    if reply.message:find("^EXECABORT") then
      aborted = true
    else
      cause = cause or reply
    end
  end
  if aborted then return nil, cause or replies[1] end
  return replies
end

-- What pools and leases have in common.
local function add_methods(Redis, raw_call, raw_run)
  -- The reply of any command: a string, a number, a list (nil in it is tide.null), nil;
  -- or nil, err.
  function Redis:call(command, ...) return of(raw_call(self, nil, command, ...)) end

  -- Sends what fn(p) records with p:get(key) or p:call("GET", key) in one go.  Gives
  -- the list of replies, tide.null for nil and an err where a command failed; or nil,
  -- err.
  function Redis:pipeline(fn)
    local commands = record(fn, 2)
    if #commands == 0 then return {} end
    return of(raw_run(self, nil, false, commands))
  end

  -- The same between MULTI and EXEC: all or nothing, nothing else in between.
  function Redis:multi(fn)
    local commands = record(fn, 2)
    if #commands == 0 then return {} end
    return unless_aborted(of(raw_run(self, nil, true, commands)))
  end

  -- cache:get(key) is cache:call("GET", key), for any command.
  setmetatable(Redis, {
    __index = function(methods, name)
      if type(name) ~= "string" then return nil end
      local command = string.upper(name)
      local function method(self, ...) return of(raw_call(self, nil, command, ...)) end
      methods[name] = method
      return method
    end,
  })
end

local Pool, Lease = core.redis, core.redis_lease
local set_settings, call_on_pool = Pool.set, Pool.raw_call
add_methods(Pool, call_on_pool, Pool.raw_run)
add_methods(Lease, Lease.raw_call, Lease.raw_run)

-- cache:set(key, value, ...) is the command; cache:set{ max_waiters = n } changes the
-- pool's settings.
function Pool:set(first, ...)
  if type(first) == "table" then return set_settings(self, first) end
  return of(call_on_pool(self, nil, "SET", first, ...))
end
