-- hooks.lua - functions of the script that run on the connections of a pool: after it
-- has connected, before it is lent, after it came back.

local core = require "tidepool.core"
local standing = require "tidepool.standing"

local NAMES = { after_connect = true, before_acquire = true, after_release = true }

local current = setmetatable({}, { __mode = "k" }) -- pool to its Set

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

-- The hooks that a script gave a pool.
local Set = {}
Set.__index = Set

-- Its script has ended: the pool goes back to the hooks of the script before, if that
-- goes on, or to none.
function Set:close()
  local pool, other = self.pool, current[self.pool]
  standing.remove(self)
  if other == self then
    current[pool] = self.before
    apply(pool, self.before and self.before.fns or {})
    return
  end
  while other and other.before ~= self do other = other.before end
  if other then other.before = self.before end
end

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

-- Those that the same script gave before are replaced.
local function before_of(pool, env)
  local before = current[pool]
  while before and before.env == env do
    standing.remove(before)
    before = before.before
  end
  return before
end

-- Sets the functions that run on the pool's connections, in place of all that were set
-- before; none with {}.  Each is called with (conn, info): a lease, which ends with the
-- function, and its age and idle time in seconds.  Gives true.
local function hooks(self, fns)
  check(fns)
  local _, owner = next(fns)
  if not owner then owner = debug.getinfo(2, "f").func end
  local set = setmetatable({ pool = self, fns = {}, env = getfenv(owner) }, Set)
  for name, fn in pairs(fns) do set.fns[name] = fn end
  apply(self, set.fns)
  set.before = before_of(self, set.env)
  standing.add(set, owner)
  current[self] = set
  return true
end

local function forget(pool)
  local set = current[pool]
  current[pool] = nil
  while set do
    standing.remove(set)
    set = set.before
  end
end

for _, Pool in ipairs { core.postgres, core.redis } do
  local close = Pool.close
  Pool.hooks = hooks

  function Pool:close(seconds)
    forget(self)
    local closed = close(self, seconds)
    return closed
  end
end
