-- child.lua - a function of the script's that is run as a child task, so that whatever it
-- holds is given back at its end: of a job, or of an entry.

local core = require "tidepool.core"
local Task = require "tidepool.task"

local child = {}

local function keep_err(failure)
  if core.is_err(failure) then return failure end
  return debug.traceback(tostring(failure), 2)
end

-- Runs fn(a, b): nil; or why it failed, an err or a text: what it raised, or what it gave
-- behind a nil.
function child.failure_of(fn, a, b)
  local results, failure = Task.all { function()
    local ok, first, err = xpcall(fn, keep_err, a, b)
    if not ok then return { failure = first } end
    return { failure = first == nil and err or nil }
  end }
  if not results then return failure end
  return results[1].failure
end

return child
