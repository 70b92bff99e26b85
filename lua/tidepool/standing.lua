-- standing.lua - what scripts leave running: subscriptions, consumers, tide.every,
-- tide.on, functions for credentials and spawned tasks, which end when their script is
-- replaced by its next version.
--
-- Whose they are is known by the environment of their function; of one that is no
-- script's own, as print, by that of who gave it.

local core = require "tidepool.core"

local standing = {}
local entries = {} -- thing -> { env =, is_of_request = }

local function nothing() end

local function is_in_request()
  local ending = core.at_end(nothing)
  if ending then ending:forget() end
  return ending ~= nil
end

-- The environment of the script that fn is of, or that calls here; _G without one.
local function env_of(fn)
  local env = getfenv(fn)
  local level = 3
  while env == _G do
    local info = debug.getinfo(level, "f")
    if not info then return env end
    env, level = getfenv(info.func), level + 1
  end
  return env
end

-- thing calls fn of the script; it has close(), and maybe ending: then it ends with its
-- request by itself; or serves_requests: then they need it until they are over.
function standing.add(thing, fn)
  entries[thing] = { env = env_of(fn), is_of_request = is_in_request() }
end

-- ---- what it gave

local Own = {}
Own.__index = Own

function Own:close()
  standing.remove(self)
  self.tables[self.env] = nil
end

-- The table among tables, by environment, of the script that fn is of, or that calls the
-- function that calls this one.  It goes when the script has ended: by itself it would
-- not, for functions in it hold their environment.
function standing.table_of(tables, fn)
  local env = env_of(fn)
  if not tables[env] then
    local own = setmetatable({ tables = tables, env = env, serves_requests = true }, Own)
    tables[env] = {}
    entries[own] = { env = env }
  end
  return tables[env]
end

-- ---- ending

local function pass(...) return ... end

-- fn, as a function by which the task that begins with it is known as the script's.
function standing.own(fn)
  if getfenv(fn) ~= _G then return fn end
  return setfenv(function(...) return pass(fn(...)) end, env_of(fn))
end

function standing.remove(thing)
  entries[thing] = nil
end

local function close_of(env, is_all)
  local old = {}
  for thing, entry in pairs(entries) do
    local is_late = entry.is_of_request or thing.serves_requests
    local is_due = not thing.ending and (is_all or not is_late)
    if is_due and entry.env == env then old[#old + 1] = thing end
  end
  for _, thing in ipairs(old) do thing:close() end
end

-- Ends what the script with this environment began while it loaded, or in tasks that it
-- spawned; what its requests began they may need yet, and the tasks themselves.
function standing.retire(env)
  close_of(env, false)
end

-- Its requests are over: ends all that is left.
function standing.finish(env)
  close_of(env, true)
  return core.cancel_spawned(env)
end

local function is_running(thing) return not thing.stands_still and not thing.ending end

-- Whether finish_all() has things to close.
function standing.has_running()
  for thing in pairs(entries) do if is_running(thing) then return true end end
  return false
end

-- Ends what was left running, whoever began it: subscriptions, consumers, tide.every.
-- What stands_still holds nothing meanwhile, and goes on when the loop is turned again.
function standing.finish_all()
  local running = {}
  for thing in pairs(entries) do
    if is_running(thing) then running[#running + 1] = thing end
  end
  for _, thing in ipairs(running) do thing:close() end
end

return standing
