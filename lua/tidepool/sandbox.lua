-- sandbox.lua - loads a script into an environment of its own, read-only when loaded.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local standing = require "tidepool.standing"
local whitelist = require "tidepool.whitelist"

jit.off(true, true) -- once for each version of a script: compiling it only takes time

local require = require -- LuaJIT's own: `tidepool test` replaces the global one
local sandbox = {}

local function directory_of(path)
  return path:match("^(.*)/[^/]*$") or "."
end

-- The environment of a script: what it sets lands in `own`, what it reads comes from
-- there, or from what the runtime gives it.  Once locked, a write raises at its line.
local function new_env(path, is_trusted)
  local own, env = {}, {}
  local generation = { own = own, env = env, locked = false, loaded = {},
                       files = { path }, is_trusted = is_trusted }
  own._G = env
  function generation.set_global(name, value)
    if generation.locked then
      error("global '" .. tostring(name) .. "' cannot be set: globals are read-only "
        .. "once the script is loaded; use a local, or a table made while loading", 3)
    end
    own[name] = value
  end
  setmetatable(env, {
    __index = own,
    __newindex = function(_, name, value) generation.set_global(name, value) end,
    __metatable = "locked",
  })
  local globals = is_trusted and _G or whitelist.globals(generation)
  setmetatable(own, { __index = globals })
  generation.modules = is_trusted and {} or whitelist.modules(generation, globals)
  return generation
end

-- Compiles what is in the file, or text; aside while its host's steps are to be short:
-- the task waits.
local function compile(generation, path, text)
  if not generation.compiles_aside then
    return core.load_script(path, generation.env, text)
  end
  return of(core.compile_script(path, generation.env, text))
end

local function load_module(generation, name, path)
  local chunk, err = compile(generation, path)
  if not chunk then error(err.message, 0) end
  local value = chunk(name)
  if value == nil then value = generation.loaded[name] end
  generation.loaded[name] = value == nil and true or value
  generation.files[#generation.files + 1] = path
  return generation.loaded[name]
end

-- A module that the generation has, or the runtime gives it.
local function ready_module(generation, name)
  if generation.loaded[name] ~= nil then return generation.loaded[name] end
  if generation.modules[name] ~= nil then return generation.modules[name] end
  if generation.is_trusted and (package.loaded[name] ~= nil or package.preload[name]) then
    return require(name)
  end
end

-- What no file of Lua is: a module in C; or it is not there.
local function other_module(generation, name, tried)
  if not generation.is_trusted then
    local why = whitelist.why_not(name)
    if why then error(why, 3) end
  else
    local ok, value = pcall(require, name)
    if ok then return value end
    if not value:find("not found", 1, true) then error(value, 0) end
  end
  error(("module '%s' not found:%s"):format(name, tried), 3)
end

-- In Lua, so that a module may wait while it loads; C's require cannot be yielded across.
-- own_path: where modules are sought first.
local function new_require(generation, own_path)
  local loading = {}
  return function(name)
    local value = ready_module(generation, name)
    if value ~= nil then return value end
    local search = generation.package or package
    local path, tried = package.searchpath(name, own_path .. search.path)
    if not path then return other_module(generation, name, tried) end
    if loading[name] then
      error(("module '%s' requires itself in a circle"):format(name), 2)
    end
    loading[name] = true
    local ok
    ok, value = pcall(load_module, generation, name, path)
    loading[name] = nil
    if not ok then error(value, 0) end
    return value
  end
end

local function path_of(directory)
  return directory .. "/?.lua;" .. directory .. "/?/init.lua;"
end

local function outside()
  return { own = _G, env = _G, loaded = {}, files = {}, modules = {}, is_trusted = true }
end

-- A require for code that runs outside of a script of its own: modules of directory may
-- wait while they load.
function sandbox.require_from(directory)
  return new_require(outside(), path_of(directory))
end

-- A require for specs: what they find on own_path is the app's, and has what it would
-- have when it is served, unless it is trusted.
function sandbox.require_of_specs(own_path, is_trusted)
  local require_outside = new_require(outside(), own_path)
  if is_trusted then return require_outside end
  local app = new_env(nil, false)
  app.own.require = new_require(app, own_path)
  return function(name)
    local is_ready = package.loaded[name] ~= nil or package.preload[name]
    local is_own = not is_ready and package.searchpath(name, own_path)
    return (is_own and app.own.require or require_outside)(name)
  end
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

local function new(is_trusted, path, ...)
  local generation = new_env(path, is_trusted)
  generation.path = path
  generation.own.require = new_require(generation, path_of(directory_of(path)))
  generation.own.arg = { [0] = path, ... }
  return generation
end

-- What sandbox.run() fills: a generation, { env =, files =, value = }, whose script has
-- what whitelist.lua gives it.
function sandbox.new(path, ...) return new(false, path, ...) end

-- The same for a script that has all of Lua.
function sandbox.new_trusted(path, ...) return new(true, path, ...) end

-- The first part of run(), for who has something to do between.  Gives true; or nil, err.
function sandbox.compile(generation)
  local err
  generation.chunk, err = compile(generation, generation.path, generation.text)
  if not generation.chunk then return nil, err end
  return true
end

-- Loads the script of a generation and runs it in the calling task with the arguments
-- given.  Gives true; or nil, err with file:line and, where it failed while running, a
-- traceback.  What it began is left to be ended.
function sandbox.run(generation, ...)
  local ok, value = generation.chunk ~= nil, nil
  if not ok then ok, value = sandbox.compile(generation) end
  if not ok then return nil, value end
  ok, value = sandbox.call(generation.chunk, ...)
  if not ok then return nil, value end
  generation.value = value
  return true
end

local function load(generation, ...)
  local ok, err = sandbox.run(generation, ...)
  if ok then return generation end
  standing.finish(generation.env)
  return nil, err
end

-- Loads the script at path and runs it.  Gives a generation; or nil, err, and nothing
-- of it goes on.
function sandbox.load(path, ...) return load(sandbox.new(path, ...), ...) end

function sandbox.load_trusted(path, ...)
  return load(sandbox.new_trusted(path, ...), ...)
end

-- From now on its globals cannot be set.
function sandbox.lock(generation)
  generation.locked = true
end

return sandbox
