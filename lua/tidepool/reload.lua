-- reload.lua - watches a script and its modules, and loads them anew when one is saved.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local sandbox = require "tidepool.sandbox"
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
  local generation, err = sandbox.load(path, unpack(args))
  if not generation then return nil, tostring(err) end
  if not tide._is_app(generation.value) then
    return nil, path .. " returned no app"
  end
  sandbox.lock(generation)
  return generation
end

-- Looks at the files every now and then; on_app gets the app of each version that loads.
-- One that does not is logged, and the one before goes on.  Returns the task.
function reload.start(path, args, generation, on_app)
  local files = generation.files
  local stamps = stamps_of(files)
  return core.spawn(function()
    while true do
      of(core.sleep(POLL_SECONDS))
      if has_changed(stamps) then
        stamps = stamps_of(files)
        local loaded, message = load(path, args)
        if loaded then
          files = loaded.files
          stamps = stamps_of(files)
          on_app(loaded.value)
          core.log("info", "reloaded", { script = path })
        else
          for name, mark in pairs(stamps_of(files_named(message, path))) do
            stamps[name] = stamps[name] or mark
          end
          core.log("error", "reload failed, the version before goes on",
            { error = message })
        end
      end
    end
  end)
end

return reload
