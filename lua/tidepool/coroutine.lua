-- coroutine.lua - what lets calls that wait pass through the coroutines of scripts.
--
-- A call of ours that waits yields the value PARK.  Within a script's own coroutine
-- that yield would end at the script's resume, so resume hands it on upwards and
-- brings the answer back down.  The script sees its own yields only.

local core = require "tidepool.core"

local PARK = core.PARK
local raw_create, raw_resume = coroutine.create, coroutine.resume
local raw_yield = coroutine.yield
local is_task_thread = core.is_task_thread

local function pass(co, ok, first, ...)
  if ok and first == PARK then return pass(co, raw_resume(co, raw_yield(PARK))) end
  return ok, first, ...
end

local function resume(co, ...)
  return pass(co, raw_resume(co, ...))
end

local function results(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

local function wrap(fn)
  local co = raw_create(fn)
  return function(...) return results(resume(co, ...)) end
end

local function yield(...)
  if is_task_thread() then
    error("attempt to yield outside a coroutine: a task waits with tide.sleep, "
      .. "tide.all or a query, and a generator needs coroutine.wrap", 2)
  end
  return raw_yield(...)
end

return { resume = resume, wrap = wrap, yield = yield }
