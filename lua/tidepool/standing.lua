-- standing.lua - what scripts leave running: subscriptions and consumers, which end when
-- their script is replaced by its next version.

local standing = {}
local functions = {} -- thing -> the script's function that it calls

-- thing has close().
function standing.add(thing, fn)
  functions[thing] = fn
end

function standing.remove(thing)
  functions[thing] = nil
end

-- Ends what calls functions that were loaded in this environment.
function standing.retire(env)
  local old = {}
  for thing, fn in pairs(functions) do
    if getfenv(fn) == env then old[#old + 1] = thing end
  end
  for _, thing in ipairs(old) do thing:close() end
  return #old
end

return standing
