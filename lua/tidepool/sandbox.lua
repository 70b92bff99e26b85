-- sandbox.lua - loads a script into an environment of its own, read-only when loaded.

local core = require "tidepool.core"
local standing = require "tidepool.standing"

local require = require -- LuaJIT's own: `tidepool test` replaces the global one
local sandbox = {}

local function directory_of(path)
  return path:match("^(.*)/[^/]*$") or "."
end

-- The environment of a script: what it sets lands in `own`, what it reads comes from
-- there or from the runtime's globals.  Once locked, a write raises at its line.
local function new_env()
  local own = setmetatable({}, { __index = _G })
  local env = {}
  local generation = { own = own, env = env, locked = false, loaded = {} }
  own._G = env
  setmetatable(env, {
    __index = own,
    __newindex = function(_, name, value)
      if generation.locked then
        error("global '" .. tostring(name) .. "' cannot be set: globals are read-only "
          .. "once the script is loaded; use a local, or a table made while loading", 2)
      end
      own[name] = value
    end,
    __metatable = "locked",
  })
  return generation
end

local function load_module(generation, name, path)
  local chunk, err = core.load_script(path, generation.env)
  if not chunk then error(err.message, 0) end
  local value = chunk(name)
  if value == nil then value = generation.loaded[name] end
  generation.loaded[name] = value == nil and true or value
  generation.files[#generation.files + 1] = path
  return generation.loaded[name]
end

-- In Lua, so that a module may wait while it loads; C's require cannot be yielded across.
local function new_require(generation, directory)
  local search = directory .. "/?.lua;" .. directory .. "/?/init.lua;" .. package.path
  local loading = {}
  return function(name)
    if generation.loaded[name] ~= nil then return generation.loaded[name] end
    if package.loaded[name] ~= nil or package.preload[name] then return require(name) end
    local path, tried = package.searchpath(name, search)
    if not path then
      local ok, value = pcall(require, name) -- a module in C
      if ok then return value end
      if not value:find("not found", 1, true) then error(value, 0) end
      error(("module '%s' not found:%s"):format(name, tried), 2)
    end
    if loading[name] then
      error(("module '%s' requires itself in a circle"):format(name), 2)
    end
    loading[name] = true
    local ok, value = pcall(load_module, generation, name, path)
    loading[name] = nil
    if not ok then error(value, 0) end
    return value
  end
end

-- A require for code that runs outside of a script of its own: modules of directory may
-- wait while they load.
function sandbox.require_from(directory)
  return new_require({ own = _G, env = _G, loaded = {}, files = {} }, directory)
end

-- An err with the traceback of where it was raised.
local function describe(failure)
  local fields = { traceback = debug.traceback("", 2) }
  if not core.is_err(failure) then
    return core.err("badarg", tostring(failure), fields)
  end
  for name, value in pairs(failure) do fields[name] = value end
  return core.err(failure.code, failure.message, fields)
end

-- Calls fn(...) of a script.  Gives true and its result; or false and an err with a
-- traceback.
function sandbox.call(fn, ...)
  return xpcall(fn, describe, ...)
end

-- A failure in words that begin with the script's file:line: where it was raised, or
-- else site.
function sandbox.explain(failure, site)
  local text = tostring(failure)
  if text:find "%.lua:%d+: " then return text end
  local traceback = core.is_err(failure) and failure.traceback or ""
  for place in traceback:gmatch "([^%s]+%.lua:%d+): " do
    if not place:find "^lua/tidepool/" then return place .. ": " .. text end
  end
  return site .. ": " .. text
end

-- What sandbox.run() fills: a generation, { env =, files =, value = }.
function sandbox.new(path, ...)
  local generation = new_env()
  generation.path = path
  generation.files = { path }
  generation.own.require = new_require(generation, directory_of(path))
  generation.own.arg = { [0] = path, ... }
  return generation
end

-- Loads the script of a generation and runs it in the calling task with the arguments
-- given.  Gives true; or nil, err with file:line and, where it failed while running, a
-- traceback.  What it began is left to be ended.
function sandbox.run(generation, ...)
  local chunk, err = core.load_script(generation.path, generation.env)
  if not chunk then return nil, err end
  local ok, value = sandbox.call(chunk, ...)
  if not ok then return nil, value end
  generation.value = value
  return true
end

-- Loads the script at path and runs it.  Gives a generation; or nil, err, and nothing
-- of it goes on.
function sandbox.load(path, ...)
  local generation = sandbox.new(path, ...)
  local ok, err = sandbox.run(generation, ...)
  if ok then return generation end
  standing.finish(generation.env)
  return nil, err
end

-- From now on its globals cannot be set.
function sandbox.lock(generation)
  generation.locked = true
end

return sandbox
