-- state_hooks.lua - functions of a script that give the state to its next version, and
-- take that of the one before: an app's, or of a script without one, which is known by
-- their environment.

local standing = require "tidepool.standing"

local state_hooks = {}

local of_env = {} -- environment -> hooks

-- Sets one of hooks, name -> { fn =, site = }; raises at level.
function state_hooks.set(hooks, name, fn, level)
  if type(fn) ~= "function" then
    error(name .. ": function expected, got " .. type(fn), level + 1)
  end
  local info = debug.getinfo(fn, "S")
  local before = hooks[name]
  if before then error(name .. " is set already, at " .. before.site, level + 1) end
  hooks[name] = { fn = fn, site = info.short_src .. ":" .. info.linedefined }
end

local function add(name, fn)
  local is_fn = type(fn) == "function"
  state_hooks.set(is_fn and standing.table_of(of_env, fn) or {}, name, fn, 3)
end

-- As app:on_unload and app:on_load, of a script that has no app.
function state_hooks.on_unload(fn) add("on_unload", fn) end

function state_hooks.on_load(fn) add("on_load", fn) end

-- The hooks of a script that has run; app: what it returned, where that is one.
function state_hooks.of(env, app)
  local own, all = of_env[env] or {}, {}
  for name, hook in pairs(app and app.hooks or {}) do all[name] = hook end
  for name, hook in pairs(own) do
    if all[name] then
      return nil, ("%s: %s is set already, at %s"):format(hook.site, name, all[name].site)
    end
    all[name] = hook
  end
  return all
end

return state_hooks
