-- guest.lua - require "tidepool" in a Lua state that is a host's, such as plain luajit's.
--
-- The state's globals stay as they are: what our modules see is an environment of their
-- own, which guest.c has made.  Of the surroundings the environment counts, no file does.

local core = require "tidepool.core"
local iterate = require "tidepool.iterate"
local passing = require "tidepool.coroutine"

-- Of this environment.
-- luacheck: push ignore 121 122
local running = coroutine.running
for name, fn in pairs(passing) do coroutine[name] = fn end
next, ipairs, pairs = iterate.next, iterate.ipairs, iterate.pairs
-- luacheck: pop

require "tidepool.prepare"

local config = require "tidepool.config"
local luv_loop = require "tidepool.luv_loop"
local pools = require "tidepool.pools"
local standing = require "tidepool.standing"
local tide = require "tidepool"
local url = require "tidepool.url"
local writebehind = require "tidepool.writebehind"

local NO_FILE = 2 -- errno
local TURN_MS = 200 -- so often a Ctrl-C of luajit is seen while nothing happens
local STORE_SECONDS = 30 -- for what a write-behind has not stored yet
local END_SECONDS = 2 -- for tasks that are cancelled
local ROOTS = { database = true, redis = true, log = true }
local OPENERS = { postgres = core.postgres_open, redis = core.redis_open }
local OPTIONS = { name = true, application_name = true }

-- ---- configuration

local flags = {} -- path -> { name =, value = }
local settings, is_used

local function read_nothing() return nil, "no such file", NO_FILE end

local function load_settings(own)
  local loaded, problems = config.load { environment = core.environment(), flags = own,
                                         read = read_nothing }
  if not loaded then return nil, table.concat(problems, "; ") end
  local level, source = loaded:get "log.level"
  core.log_setup { level = source == "default" and "warn" or level,
                   format = loaded.log.format }
  return loaded
end

local function flatten(values, prefix, into)
  for key, value in pairs(values) do
    local path = prefix .. tostring(key)
    if prefix == "" and not ROOTS[path:match "^[^.]*"] then
      error(("tide.configure: %s: a module has settings of database, redis and log alone")
        :format(path), 3)
    elseif type(value) == "table" then
      flatten(value, path .. ".", into)
    else
      into[path] = { name = "tide.configure", value = tostring(value) }
    end
  end
  return into
end

-- Settings by their names in the configuration, in tables or with dots, which go before
-- what the environment says.  Before the first pool of the configuration.
function tide.configure(values)
  core.check_here()
  if type(values) ~= "table" then error("table expected, got " .. type(values), 2) end
  if is_used then
    error("tide.configure comes before the first pool of the configuration", 2)
  end
  local new = flatten(values, "", {})
  for path, flag in pairs(flags) do new[path] = new[path] or flag end
  local loaded, wrong = load_settings(new)
  if not loaded then error(wrong, 2) end
  flags, settings = new, loaded
end

-- ---- pools: these give the pool, or nil and a sentence on what is wrong

local function named(kind, name)
  local wrong
  if not settings then
    settings, wrong = load_settings(flags)
    if not settings then return nil, wrong end
  end
  for _, entry in ipairs(settings:pools()) do
    local is_meant = entry.kind == kind and entry.name == (name or "main")
    if is_meant and not tide._pools()[kind][entry.name] then
      is_used = true
      local opened
      opened, wrong = pools.open({ entry }, function(_, pool)
        tide._set_pool(kind, entry.name, pool)
      end)
      if not opened then return nil, wrong end
    end
  end
  return tide._find_pool(kind, name)
end

local function of_url(kind, text, options)
  local given = options or {}
  if type(given) ~= "table" then
    return nil, "table of options expected, got " .. type(given)
  end
  if given.name ~= nil and tide._pools()[kind][given.name] then
    return nil, ('there is a %s pool "%s" already'):format(kind, given.name)
  end
  local own = { url = text, name = kind, settings = {} }
  for key, value in pairs(given) do
    if OPTIONS[key] then own[key] = value else own.settings[key] = value end
  end
  local ok, pool, err = pcall(OPENERS[kind], own)
  if not ok then return nil, pool end
  if not pool then
    return nil, url.mask(text) .. ": " .. url.without_quotes(err.message)
  end
  if given.name ~= nil then tide._set_pool(kind, given.name, pool) end
  return pool
end

-- The pool of this name, "main" without one; or of a url, a new one: options are its
-- settings by name, application_name, and name, by which it is found again.
for _, kind in ipairs { "postgres", "redis" } do
  tide[kind] = function(what, options)
    core.check_here()
    local is_url = type(what) == "string" and what:find("://", 1, true)
    local pool, wrong = (is_url and of_url or named)(kind, what, options)
    if not pool then error(wrong, 2) end
    luv_loop.arm()
    return pool
  end
end

-- ---- tasks

local raw_spawn = core.spawn

-- Whatever is spawned keeps luv's loop running.
function core.spawn(...)
  core.check_here()
  local task = raw_spawn(...)
  luv_loop.arm()
  return task
end

-- Turns the loop until task has ended, for so many seconds at most.
local function turn_until_done(task, seconds)
  local due = seconds and core.now() + seconds
  while not task:done() and not (due and core.now() > due) do
    if luv_loop.is_there() then luv_loop.turn() else core.turn(TURN_MS) end
  end
end

local function results(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

local function start(fn, ...)
  local task = core.spawn(fn, ...)
  core.keep_error(task)
  return task
end

local function has_left_something()
  return standing.has_running() or writebehind.is_dirty() or core.strangers(_G) > 0
end

-- What was left running would stand still from here on, with what it holds.
local function finish(store)
  store(STORE_SECONDS)
  local due = core.now() + END_SECONDS
  standing.finish_all()
  while core.strangers(_G, true) > 0 and core.now() < due do
    tide.sleep(0.001)
  end
end

-- Turns the loop until what runs in a task is over.  When that is cut short, by a Ctrl-C,
-- the task is cancelled.
local function run_task(fn, ...)
  local task = start(fn, ...)
  local ok, failure = pcall(turn_until_done, task)
  if ok then return task end
  task:cancel()
  pcall(turn_until_done, task, END_SECONDS)
  error(failure, 0)
end

-- Runs fn(...) in a task and turns the loop until it returns; gives its results, or
-- raises its error.  Where luv does not go on turning the loop, what it left running ends
-- as with a program's end: a write-behind stores its changes, tasks are cancelled.
function tide.run(fn, ...)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  core.check_outside "tide.run"
  if luv_loop.attach() and luv_loop.is_turning() then
    error("tide.run inside of a callback of uv.run(), which turns the loop: use "
      .. "tide.spawn", 2)
  end
  local ok, task = pcall(run_task, fn, ...)
  if not luv_loop.is_there() and has_left_something() then
    run_task(finish, writebehind.store)
  end
  if not ok then error(task, 0) end
  return results(core.outcome(task))
end

-- Ends all, in order, as the end of the Lua state does, but stores what write-behinds
-- have first.  For good.
function tide.close()
  core.check_outside "tide.close"
  run_task(finish, writebehind.finish)
  luv_loop.detach()
  core.wind_up()
end

-- ---- what differs from a runtime's own states

local may_wait = core.passing -- coroutines, as keys

-- Calls that wait pass through these; not through the host's own.
tide.coroutine = { create = coroutine.create, yield = passing.yield,
                   status = coroutine.status, running = running }

function tide.coroutine.resume(co, ...)
  may_wait[co] = core.is_task_thread() or may_wait[running()] or nil
  return passing.resume(co, ...)
end

function tide.coroutine.wrap(fn)
  local co = coroutine.create(fn)
  return function(...) return results(tide.coroutine.resume(co, ...)) end
end

local function refuse(name, why)
  tide[name] = function()
    error(("tide.%s is for scripts that %s"):format(name, why), 2)
  end
end

refuse("app", "`tidepool run` serves")
for _, name in ipairs { "handler", "on_load", "on_unload" } do
  refuse(name, "a host in C has loaded by tide_load()")
end

return tide
