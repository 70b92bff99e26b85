-- hooks.lua - functions of the script that run on the connections of a pool: after it
-- has connected, before it is lent, after it came back.

local core = require "tidepool.core"
local succession = require "tidepool.succession"

local NAMES = { after_connect = true, before_acquire = true, after_release = true }

-- What a hook's end says of its connection, and why.
local function verdict_of(ok, first, second)
  if not ok then return "failed", tostring(first) end
  if first == false then
    return "refused", second and tostring(second) or "it does not want this connection"
  end
  if first == nil and second ~= nil then return "failed", tostring(second) end
  return "passed"
end

-- What the pool calls.
local function runner(name, fn)
  return function(conn, age, idle)
    local verdict, why = verdict_of(pcall(fn, conn, { age = age, idle = idle }))
    conn:raw_hook_done(verdict, why and name .. ": " .. why)
  end
end

local function apply(pool, fns)
  local runners = {}
  for name, fn in pairs(fns) do runners[name] = runner(name, fn) end
  pool:raw_hooks(runners)
end

local given = succession.new(function() end, function(pool, fns)
  apply(pool, fns or {})
end)

local function check(hooks)
  if type(hooks) ~= "table" then
    error("hooks: table expected, got " .. type(hooks), 3)
  end
  for name, fn in pairs(hooks) do
    if not NAMES[name] then
      error(("unknown hook: %s; there are after_connect, before_acquire and "
        .. "after_release"):format(tostring(name)), 3)
    end
    if type(fn) ~= "function" then
      error(("%s: function expected, got %s"):format(name, type(fn)), 3)
    end
  end
end

-- Sets the functions that run on the pool's connections, in place of all that were set
-- before; none with {}.  Each is called with (conn, info): a lease, which ends with the
-- function, and its age and idle time in seconds.  Gives true.
local function hooks(self, fns)
  check(fns)
  local _, owner = next(fns)
  if not owner then owner = debug.getinfo(2, "f").func end
  local copy = {}
  for name, fn in pairs(fns) do copy[name] = fn end
  apply(self, copy)
  given:add(self, copy, owner)
  return true
end

core.postgres.hooks = hooks
core.redis.hooks = hooks
