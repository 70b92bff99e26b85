-- reload.lua - loads a script and its modules anew: when asked, or when one is saved.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local sandbox = require "tidepool.sandbox"
local standing = require "tidepool.standing"
local tide = require "tidepool"

local POLL_SECONDS = 0.3

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

local function load(path, args)
  core.exempt()
  local generation, err = sandbox.load(path, unpack(args))
  if not generation then return nil, tostring(err) end
  if not tide._is_app(generation.value) then
    standing.finish(generation.env)
    return nil, path .. " returned no app"
  end
  sandbox.lock(generation)
  return generation
end

local Reloader = {}
Reloader.__index = Reloader

-- What is looked at from now on.
function Reloader:note(files)
  self.stamps = stamps_of(files)
end

-- A failure may be mended in files that the version before had not.
function Reloader:note_failure(message)
  for name, mark in pairs(stamps_of(files_named(message, self.path))) do
    self.stamps[name] = self.stamps[name] or mark
  end
end

-- Ends what the version before left running: what stands by itself now, what its requests
-- may need yet when they are over, or when the time for that is.
function Reloader:retire(env)
  standing.retire(env)
  local limit = core.now() + self.drain
  local task
  task = core.spawn(function()
    local oldest = core.oldest_request()
    while oldest and oldest < task:id() and core.now() < limit do
      of(core.sleep(POLL_SECONDS))
      oldest = core.oldest_request()
    end
    core.log("info", "the version before has ended",
      { script = self.path, cancelled_tasks = standing.finish(env) })
  end)
end

-- Loads the script aside, in a task of its own: what it begins is no part of the request
-- that asked for it; on_app gets its app.  Gives true; or nil and a sentence when it
-- does not load, which is logged, and the version before goes on; or nil, a sentence and
-- true when one is being loaded.
function Reloader:now()
  if self.is_loading then return nil, "a reload is under way", true end
  self.is_loading = true
  local ok, loaded, message = of(core.spawn(load, self.path, self.args):wait())
  self.is_loading = false
  if not ok then loaded, message = nil, tostring(loaded) end
  if not loaded then
    self:note_failure(message)
    core.log("error", "reload failed, the version before goes on", { error = message })
    return nil, message
  end
  local old = self.env
  self.files, self.env = loaded.files, loaded.env
  self:note(self.files)
  self.on_app(loaded.value)
  core.log("info", "reloaded", { script = self.path })
  self:retire(old)
  return true
end

-- Looks at the files every now and then, and loads what was saved.  Returns the task.
function Reloader:watch()
  return core.spawn(function()
    while true do
      of(core.sleep(POLL_SECONDS))
      if has_changed(self.stamps) then
        self:note(self.files)
        self:now()
      end
    end
  end)
end

-- generation: what runs now; drain: seconds that requests of a version before may take.
function reload.new(path, args, generation, drain, on_app)
  local self = setmetatable({
    path = path, args = args, files = generation.files, env = generation.env,
    drain = drain, on_app = on_app,
  }, Reloader)
  self:note(self.files)
  return self
end

return reload
