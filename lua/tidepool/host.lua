-- host.lua - what a host in C asks for through tidepool.h: settings, a script, its next
-- version, calls of its handlers.
--
-- Nothing of the surroundings counts: no file of configuration is read, nor .env, nor the
-- environment.

local config = require "tidepool.config"
local core = require "tidepool.core"
local handlers = require "tidepool.handlers"
local layers = require "tidepool.layers"
local pools = require "tidepool.pools"
local sandbox = require "tidepool.sandbox"
local standing = require "tidepool.standing"
local state = require "tidepool.state"
local state_hooks = require "tidepool.state_hooks"
local task = require "tidepool.task"
local tide = require "tidepool"
local writebehind = require "tidepool.writebehind"

local LOAD_SECONDS = 30
local HOOK_SECONDS = 10 -- for on_unload and on_load together
local NO_FILE = 2 -- errno
local ROOTS = { database = true, redis = true, script = true, log = true }

local host = {}
local flags = {} -- path -> { name =, value = }
local settings, opened, is_limited
local is_reloading
local current -- the generation whose handlers are called
local running = {} -- environment -> how many calls
local over = {} -- environments of versions that have not ended yet, as keys

local function read_nothing() return nil, "no such file", NO_FILE end

-- Gives nil, or what is wrong with it in a sentence.
function host.set(key, value)
  if settings then return "settings are given before tide_load()" end
  if key:find "%." and not ROOTS[key:match "^[^.]*"] then
    return ("tide_set: %s: an embedded runtime has settings of database, redis, script "
      .. "and log alone"):format(key)
  end
  local one = { name = "tide_set", value = value }
  local loader = layers.read { environment = {}, flags = { [key] = one },
                               read = read_nothing }
  if loader.problems[1] then return loader.problems[1] end
  flags[key] = one
end

-- ---- the script

-- Budgets of CPU need SIGPROF: they are for hosts that ask for one.
local function limit()
  if is_limited then return end
  for path in pairs(flags) do
    if path:find "^script%." and path ~= "script.trusted" then
      local ok, err = core.limits(settings.script)
      is_limited = ok
      return not ok and path .. ": " .. err.message or nil
    end
  end
end

local function open_pools()
  local problems, wrong
  settings, problems = config.load { environment = {}, flags = flags,
                                     read = read_nothing }
  if not settings then return table.concat(problems, "; ") end
  core.log_setup { level = settings.log.level, format = settings.log.format }
  wrong = limit()
  if wrong then return wrong end
  opened, wrong = pools.open(settings:pools(), function(entry, pool)
    tide._set_pool(entry.kind, entry.name, pool)
  end)
  return not opened and wrong or nil
end

-- Lets a step of the host's end here.  A sleep would not: its clock may stand still.
local function pause() core.spawn(function() end):wait() end

-- In parts, with a pause between.  Modules that it needs later are wanted at once, maybe
-- by several calls: these are compiled where they are needed.
local function run_in_parts(generation)
  generation.compiles_aside = current ~= nil -- the first one's host waits for it
  pause()
  local ok, err = sandbox.compile(generation)
  if not ok then return nil, err end
  pause()
  ok, err = sandbox.run(generation)
  generation.compiles_aside = false
  return ok, err
end

-- Hands over to a generation the state of the current one, whose place it takes.  Gives
-- what went wrong, or nil.
local function hand_over(generation)
  local is_app = tide._is_app(generation.value)
  local hooks, wrong = state_hooks.of(generation.env, is_app and generation.value)
  if not hooks then return wrong end
  local step = { old = current and current.hooks, new = hooks, enter = function()
    sandbox.lock(generation)
    generation.hooks = hooks
    current = generation
  end }
  local _, err = task.timeout(HOOK_SECONDS, state.pass, step)
  return state.outcome(step, err, HOOK_SECONDS, { script = generation.path })
end

-- Loads what becomes the current generation.  Gives true; or nil and what went wrong.
local function load(path, text)
  local new = settings.script.trusted and sandbox.new_trusted or sandbox.new
  local generation = new(path)
  generation.text = text
  local ok, err = task.timeout(LOAD_SECONDS, run_in_parts, generation)
  local wrong = ok and hand_over(generation)
  if ok and not wrong then return true end
  standing.finish(generation.env)
  if wrong then return nil, wrong end
  if core.is_err(err) and err.code == "timeout" then
    return nil, ("%s: it did not load within %g s"):format(path, LOAD_SECONDS)
  end
  return nil, sandbox.explain(err, path)
end

-- Opens the pools and loads the script: text, or what is in the file at path without
-- one.  Gives nil, or what went wrong.
function host.load(path, text)
  if current then
    return "a script is loaded; tide_reload() loads its next version"
  end
  local wrong = not opened and open_pools()
  if wrong then
    settings = nil
    return wrong
  end
  return (select(2, load(path, text)))
end

local function finish_if_idle(env)
  if over[env] and not running[env] then
    over[env] = nil
    standing.finish(env)
  end
end

-- As load(); the version before goes on when the next one fails, else it finishes the
-- calls that run.
function host.reload(text)
  if not current then return "no script is loaded" end
  if is_reloading then return "a reload is under way" end
  is_reloading = true
  core.finally(function() is_reloading = false end)
  local before = current
  local ok, wrong = load(before.path, text)
  if not ok then return wrong end
  standing.retire(before.env)
  over[before.env] = true
  finish_if_idle(before.env)
end

-- The same as a call: what is "text", or "file" for what is in the file.
function host.begin_reload(what, text)
  local wrong = host.reload(what == "text" and text or nil)
  if wrong == nil then return "", "raw" end
  return nil, "script", core.is_err(wrong) and wrong.message or wrong
end

-- Gives the reply's bytes and the name of their format; or nil, a code and a sentence.
function host.call(name, payload, format)
  local env = current.env
  running[env] = (running[env] or 0) + 1
  core.finally(function()
    running[env] = running[env] > 1 and running[env] - 1 or nil
    finish_if_idle(env)
  end)
  return handlers.call(env, name, payload, format)
end

-- What scripts have put into write-behinds, in so many milliseconds; then these take no
-- more.  Gives nil, or what is not stored.
function host.store_changes(milliseconds)
  local count = writebehind.finish(tonumber(milliseconds) / 1000)
  return count > 0 and ("%d changes of write-behinds are not stored"):format(count) or nil
end

return host
