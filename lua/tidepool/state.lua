-- state.lua - hands the state of one version of a script over to the next.

local core = require "tidepool.core"
local plain = require "tidepool.plain"
local sandbox = require "tidepool.sandbox"

local state = {}

-- step.hook is the one that runs.
local function call_hook(step, hooks, name, ...)
  local hook = hooks[name]
  if not hook then return nil end
  step.hook = { name = name, site = hook.site }
  local ok, value = sandbox.call(hook.fn, ...)
  if not ok then error(value, 0) end
  return value
end

local function pass(step)
  local given
  if step.old then
    given = call_hook(step, step.old, "on_unload")
    local ok, copied = plain.copy(given, "state")
    if not ok then error(copied, 0) end
    given = copied
  end
  call_hook(step, step.new, "on_load", given)
  step.is_lost = given ~= nil and not step.new.on_load
  core.exempt() -- what follows is not the script's
  step.enter()
  step.is_done = true
end

-- Hands the state of the version whose hooks are step.old, nil for none, to that whose
-- hooks are step.new, and calls step.enter(), by which it takes the other's place.  Where
-- the functions of the scripts do not wait, nothing happens between the first look at the
-- old version's state and the new one's first request.  Gives true; or nil, err.
function state.pass(step)
  local ok, err = pcall(pass, step)
  if not ok then return nil, err end
  return true
end

-- What came of a step that failed with err, or had no more than so many seconds: what
-- went wrong in words, or nil.  fields: of the log.
function state.outcome(step, err, seconds, fields)
  if step.is_done then
    if step.is_lost then
      core.log("warn", "state of the version before is dropped: there is no on_load",
        fields)
    end
    return nil
  end
  if core.is_err(err) and err.code == "timeout" then
    err = ("it took longer than %g s"):format(seconds)
  end
  return ("%s, in %s"):format(sandbox.explain(err, step.hook.site), step.hook.name)
end

return state
