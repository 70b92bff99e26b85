-- serial.lua - per-entity order: calls with the same key run one after another.

local core = require "tidepool.core"
local line = require "tidepool.line"
local options = require "tidepool.options"

local lines = {} -- key -> its line, while somebody holds it or waits

local KNOWN = { timeout = "seconds" }

-- The key, and for how long to wait.
local function read_key(key, level)
  local seconds
  if type(key) == "table" then
    local rest = {}
    for name, value in pairs(key) do
      if name ~= 1 then rest[name] = value end
    end
    seconds = options.read(rest, KNOWN, "serial", level + 1).timeout
    key = key[1]
  end
  options.check_key(key, "serial", level + 1)
  return key, seconds
end

local function line_of(key)
  local found = lines[key]
  if not found then
    found = line.new(options.label("serial", key), function() lines[key] = nil end)
    lines[key] = found
  end
  return found
end

local function leave(call, ok, ...)
  call:leave()
  if not ok then error((...), 0) end
  return ...
end

local Serial = {}

-- Runs fn(...) in this task when no other call with this key of the process runs: they
-- take turns, first come first served; within fn the same key is free.  key: a string or
-- a number; or { key, timeout = seconds }.  Gives what fn gives; or nil, err.
function Serial.serial(key, fn, ...)
  local name, seconds = read_key(key, 2)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  if not core.task_ids() then
    error("serial: this call waits, so it needs a task", 2)
  end
  local call = line_of(name):call()
  local ok, err = call.line:enter(call, seconds)
  if not ok then return nil, err end
  return leave(call, pcall(fn, ...))
end

-- How many keys are held: for tests.
function Serial.count()
  local count = 0
  for _ in pairs(lines) do count = count + 1 end
  return count
end

return Serial
