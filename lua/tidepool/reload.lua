-- reload.lua - loads a script and its modules anew: when asked, or when one is saved.
--
-- The next version (a generation) is loaded aside, is given the state of the one before,
-- and takes its place in one step.  Until then nothing has changed for the one before.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local sandbox = require "tidepool.sandbox"
local standing = require "tidepool.standing"
local state = require "tidepool.state"
local state_hooks = require "tidepool.state_hooks"
local task = require "tidepool.task"
local tide = require "tidepool"

local POLL_SECONDS = 0.3
local LOAD_SECONDS = 30 -- for the next version to load
local HOOK_SECONDS = 10 -- for on_unload and on_load together

local reload = {}

local function stamp(path)
  local info = core.stat(path)
  return info and ("%.6f %d"):format(info.mtime, info.size)
end

-- The files to watch by path, with their present stamps.
local function stamps_of(files)
  local stamps = {}
  for _, path in ipairs(files) do stamps[path] = stamp(path) or "" end
  return stamps
end

-- A file that is away for a moment, as some editors save, has not changed yet.
local function has_changed(stamps)
  for path, before in pairs(stamps) do
    local now = stamp(path)
    if now and now ~= before then return true end
  end
  return false
end

-- What else may mend a failure: the file that it names, the module that it misses.
local function files_named(message, script)
  local files = { message:match("^([^\n:]+%.lua):%d+:") }
  local folder = script:match("^.*/") or "./"
  for name in message:gmatch("module '([^']+)' not found") do
    local path = folder .. name:gsub("%.", "/")
    files[#files + 1] = path .. ".lua"
    files[#files + 1] = path .. "/init.lua"
  end
  return files
end

local Reloader = {}
Reloader.__index = Reloader

-- What is looked at from now on; stamps: those of before they were read, where known.
function Reloader:note(files, stamps)
  self.stamps = stamps_of(files)
  for path in pairs(self.stamps) do
    self.stamps[path] = stamps and stamps[path] or self.stamps[path]
  end
end

-- A failure may be mended in files that the version before had not.
function Reloader:note_failure(message)
  for name, mark in pairs(stamps_of(files_named(message, self.path))) do
    self.stamps[name] = self.stamps[name] or mark
  end
end

-- ---- from one version to the next

-- Runs fn(...) of the script in a task of its own, which is no part of the request that
-- asks, for so many seconds at most, and within the budgets of scripts.
local function attempt(seconds, fn, ...)
  local ok, result, err = of(core.spawn(function(...)
    core.exempt(false)
    return task.timeout(seconds, fn, ...)
  end, ...):wait())
  if ok then return result, err end
  return nil, result
end

-- Gives what went wrong in words, or nil.
function Reloader:load(generation)
  local ok, err = attempt(self.load_seconds, sandbox.run, generation, unpack(self.args))
  if ok and tide._is_app(generation.value) then return nil end
  if ok then return self.path .. " returned no app" end
  if core.is_err(err) and err.code == "timeout" then
    return ("%s: it did not load within %g s"):format(self.path, self.load_seconds)
  end
  return sandbox.explain(err, self.path)
end

-- Hands the state of the version with these hooks, or nil, over to a generation, which
-- serves then.  Gives what went wrong in words, or nil.
function Reloader:hand_over(old, generation)
  local hooks, wrong = state_hooks.of(generation.env, generation.value)
  if not hooks then return wrong end
  local step = { old = old, new = hooks, enter = function()
    generation.value.is_loaded = true
    self.hooks = hooks
    self:enter(generation)
  end }
  local _, err = attempt(self.hook_seconds, state.pass, step)
  return state.outcome(step, err, self.hook_seconds,
    { script = self.path, generation = self.number })
end

-- A generation takes the place of the one before.
function Reloader:enter(generation)
  sandbox.lock(generation)
  self.app, self.env, self.files = generation.value, generation.env, generation.files
  self.number, self.loaded_at = generation.number, os.time()
  self.on_app(self.app)
end

-- Before the first version serves: gives true; or nil and a sentence.
function Reloader:begin()
  local wrong = self:hand_over(nil, self.first)
  self.first = nil
  if wrong then return nil, wrong end
  return true
end

-- ---- the version before

function Reloader:count_cancelled(kind, count)
  self.cancelled[kind] = self.cancelled[kind] + count
  return count
end

-- Ends what the version before left running: what stands by itself now, event streams,
-- whose clients come again; what its requests may need yet when they are over, or when
-- the time for that is, and then these too.
function Reloader:retire(app, env, number)
  standing.retire(env)
  self.over[env] = true
  local limit = core.now() + self.drain
  local own
  own = core.spawn(function()
    core.exempt()
    core.cancel_requests(own:id(), true)
    local oldest = core.oldest_request()
    while oldest and oldest < own:id() and core.now() < limit do
      of(core.sleep(POLL_SECONDS))
      oldest = core.oldest_request()
    end
    app.is_over = true
    self.over[env] = nil
    jit.flush() -- code compiled for loops of ours may hold functions of the old version
    core.log("info", "the version before has ended", {
      script = self.path, generation = number,
      cancelled_requests =
        self:count_cancelled("request", core.cancel_requests(own:id(), false)),
      cancelled_tasks = self:count_cancelled("task", standing.finish(env)),
    })
  end)
end

-- The service ends.  Like the reload of a last version, which never comes: first ...
function Reloader:retire_last()
  standing.retire(self.env)
end

-- ... and when all requests are over.
function Reloader:finish_last()
  self.over[self.env] = true
  for env in pairs(self.over) do standing.finish(env) end
end

-- ---- asking for it

function Reloader:fail(generation, message)
  standing.finish(generation.env)
  self.failures, self.last_error = self.failures + 1, message
  self:note_failure(message)
  core.log("error", "reload failed, the version before goes on",
    { error = message, generation = self.number })
  return nil, message
end

function Reloader:replace(number)
  local began, stamps = core.now(), stamps_of(self.files)
  local new = self.is_trusted and sandbox.new_trusted or sandbox.new
  local generation = new(self.path, unpack(self.args))
  generation.number = number or self.number + 1
  local app, env, before = self.app, self.env, self.number
  local take, wrong = self.prepare()
  wrong = wrong or self:load(generation) or self:hand_over(self.hooks, generation)
  if wrong then return self:fail(generation, wrong) end
  take()
  self:note(self.files, stamps)
  self.successes, self.last_error = self.successes + 1, nil
  core.log("info", "reloaded", { script = self.path, generation = self.number,
    ms = math.floor((core.now() - began) * 1e4 + 0.5) / 10 })
  self:retire(app, env, before)
  return true
end

-- Loads the script aside, and lets it serve; on_app gets its app.  number: of the
-- generation, the next one without.  Gives true; or nil and a sentence when it does not
-- load, which is logged, and the version before goes on; or nil, a sentence and true
-- when one is being loaded.
function Reloader:now(number)
  if self.is_loading then return nil, "a reload is under way", true end
  self.is_loading = true
  local done, ok, message = pcall(self.replace, self, number)
  self.is_loading = false
  if not done then error(ok, 0) end
  if self.is_due then
    self.is_due = false
    core.spawn(self.now, self)
  end
  return ok, message
end

-- As now(), for those who wait for no answer: while one is being loaded it comes after
-- that, which may have read the files too soon.
function Reloader:ask()
  if self.is_loading then
    self.is_due = true
  else
    self:now()
  end
end

-- Looks at the files every now and then, and loads what was saved.  Returns the task.
function Reloader:watch()
  return core.spawn(function()
    while true do
      of(core.sleep(POLL_SECONDS))
      if has_changed(self.stamps) then
        self:note(self.files)
        self:ask()
      end
    end
  end)
end

-- For health and metrics.
function Reloader:stats()
  return {
    generation = self.number, loaded_at = self.loaded_at, last_error = self.last_error,
    successes = self.successes, failures = self.failures, cancelled = self.cancelled,
  }
end

-- generation: what was loaded, and serves from begin() on.  options: drain, seconds that
-- requests of a version before may take; number, of this generation (1); prepare(), which
-- reads what is loaded anew beside the script, and gives a function that takes it, or nil
-- and what is wrong: then all stays as it was; load_seconds and hook_seconds, for tests.
function reload.new(path, args, generation, options, on_app)
  generation.number = options.number or 1
  local self = setmetatable({
    path = path, args = args, first = generation, files = generation.files,
    is_trusted = generation.is_trusted,
    drain = options.drain, on_app = on_app, number = generation.number,
    prepare = options.prepare or function() return function() end end,
    over = {}, -- environments of versions that have not ended yet, as keys
    load_seconds = options.load_seconds or LOAD_SECONDS,
    hook_seconds = options.hook_seconds or HOOK_SECONDS,
    successes = 0, failures = 0, cancelled = { request = 0, task = 0 },
  }, Reloader)
  self:note(self.files)
  return self
end

return reload
