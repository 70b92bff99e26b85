-- whitelist.lua - what a script that is not trusted has of Lua's library, and of ours.
--
-- What is not named here is not there; what Lua has besides raises a sentence where it is
-- asked for.  This protects against mistakes: a script that stops the process, blocks all
-- requests, or changes what others use.  Who must be kept out needs a process of its own.

local cjson = require "cjson"
local core = require "tidepool.core"
local lpeg = require "lpeg"
local tide = require "tidepool"

jit.off(true, true) -- once for each version of a script: compiling it only takes time

local raw_load, raw_rawset = load, rawset

local GLOBALS = { "_VERSION", "assert", "error", "gcinfo", "getmetatable", "ipairs",
  "next", "pairs", "pcall", "print", "rawequal", "rawget", "select", "setmetatable",
  "tonumber", "tostring", "type", "unpack", "xpcall" }

local OF_PROCESS = "it is the whole process', of all scripts"
local BLOCKS = "no other request is served while it waits, and it reaches files of others"
local INSIDE = "it reaches into the runtime and into other scripts"
local MACHINE = "code that is not Lua does as it likes with the process"

-- library -> what is open of it ("all", or names) and why the rest is not.
local LIBRARIES = {
  string = { open = "all", why = "byte code can end the process" },
  table = { open = "all", why = INSIDE },
  math = { open = "all", why = INSIDE },
  bit = { open = "all", why = INSIDE },
  coroutine = { open = "all", why = INSIDE },
  os = { open = { "clock", "date", "difftime", "time" }, why = OF_PROCESS },
  io = { open = {}, why = BLOCKS },
  debug = { open = { "traceback" }, why = INSIDE },
  jit = { open = { "arch", "os", "version", "version_num" }, why = OF_PROCESS },
}

local FUNCTIONS = {
  getfenv = INSIDE, setfenv = INSIDE, newproxy = INSIDE,
  module = "it sets globals of all scripts; return a table instead",
}

local MODULES = {
  ffi = "a wrong pointer ends the process",
  ["string.buffer"] = "it gives pointers into memory",
  ["table.new"] = "it takes any memory in one call",
}

local whitelist = {}

local function closed(what, why)
  return what .. " is closed to this script: " .. why .. "; --trusted opens it"
end

-- ---- views: tables that are read and not written

local views = setmetatable({}, { __mode = "k" })

local function refuse_write(name, key)
  error(("%s.%s cannot be set: scripts share it; use a local, or a table of your own")
    :format(name, tostring(key)), 3)
end

-- Shows what is in open; other names that the library has in real raise.
local function view(name, open, real, why)
  setmetatable(open, { __index = real and function(_, key)
    if real[key] ~= nil then error(closed(name .. "." .. tostring(key), why), 2) end
  end })
  local shown = setmetatable({}, {
    __index = open,
    __newindex = function(_, key) refuse_write(name, key) end,
    __metatable = "locked",
  })
  views[shown] = name
  return shown
end

local function copy(real, names)
  local open = {}
  if names == "all" then
    for key, value in pairs(real) do
      if type(key) == "string" and key:sub(1, 1) ~= "_" then open[key] = value end
    end
    return open
  end
  for _, key in ipairs(names) do open[key] = real[key] end
  return open
end

-- All strings share one metatable: what getmetatable gives of it says nothing.
local function lock_strings()
  local metatable = debug.getmetatable("")
  metatable.__metatable = view('getmetatable("")', {})
  local why = closed("string.dump", LIBRARIES.string.why):gsub("; .*", "")
  function metatable.__index.dump() error(why, 2) end
end

lock_strings()

-- ---- functions that a script has in the place of Lua's

local function new_rawset(generation)
  return function(subject, key, value)
    if subject == generation.env then
      generation.set_global(key, value)
      return subject
    end
    if views[subject] then refuse_write(views[subject], key) end
    return raw_rawset(subject, key, value)
  end
end

local BYTE_CODE = "byte code is closed to scripts: it can end the process; give its text"

local function is_text(mode) return mode == nil or tostring(mode):find("t", 1, true) end

local function text_only(fn, err, ...)
  if fn == nil and type(err) == "string" and err:find("wrong mode", 1, true) then
    return nil, BYTE_CODE
  end
  return fn, err, ...
end

local function new_load(generation)
  return function(chunk, name, mode, env)
    if not is_text(mode) then return nil, BYTE_CODE end
    if env == nil then env = generation.env end
    return text_only(raw_load(chunk, name, "t", env))
  end
end

local function new_loadstring(load)
  return function(text, name)
    if type(text) ~= "string" then
      error("loadstring: a text expected, got " .. type(text), 2)
    end
    return load(text, name)
  end
end

-- Files of scripts, which are watched as modules are.
local function new_loadfile(generation)
  return function(path, mode, env)
    if type(path) ~= "string" then error("a path expected, got " .. type(path), 2) end
    if not is_text(mode) then return nil, BYTE_CODE end
    local chunk, err = core.load_script(path, env or generation.env)
    if not chunk then return text_only(nil, err.message) end
    generation.files[#generation.files + 1] = path
    return chunk
  end
end

local function new_dofile(loadfile)
  return function(path)
    local chunk, err = loadfile(path)
    if not chunk then error(err, 2) end
    return chunk()
  end
end

local raw_collect = collectgarbage

local function collect(what)
  if what == "count" then return raw_collect "count" end
  if what == "step" then return raw_collect("step", 0) end
  error(closed(('collectgarbage("%s")'):format(tostring(what or "collect")),
    "a whole collection stops all requests, the runtime does it in steps"), 2)
end

local function refusal(name, why)
  return function() error(closed(name, why), 2) end
end

-- package: where modules are searched, and those that the script has loaded.
local function new_package(generation)
  local own = { path = package.path, config = package.config, preload = {},
                loaded = generation.loaded }
  generation.package = own
  local shown = view("package", own, package, MACHINE)
  debug.getmetatable(shown).__newindex = function(_, key, value)
    if key ~= "path" or generation.locked then refuse_write("package", key) end
    own.path = value
  end
  return shown
end

-- ---- what a script has

-- The globals of a generation, for which require is to be added.
function whitelist.globals(generation)
  local globals = copy(_G, GLOBALS)
  for name, library in pairs(LIBRARIES) do
    globals[name] = view(name, copy(_G[name], library.open), _G[name], library.why)
  end
  for name, why in pairs(FUNCTIONS) do globals[name] = refusal(name, why) end
  globals.package = new_package(generation)
  globals.rawset = new_rawset(generation)
  globals.collectgarbage = collect
  globals.load = new_load(generation)
  globals.loadstring = new_loadstring(globals.load)
  globals.loadfile = new_loadfile(generation)
  globals.dofile = new_dofile(globals.loadfile)
  return globals
end

-- What require gives a generation of our own and of Lua's modules.
function whitelist.modules(generation, globals)
  local modules = {
    _G = generation.env, package = globals.package,
    tidepool = view("tidepool", copy(tide, "all")),
    cjson = cjson.new(), -- has settings: each its own
    lpeg = view("lpeg", copy(lpeg, "all")),
    ["table.clear"] = require "table.clear",
  }
  for name in pairs(LIBRARIES) do modules[name] = globals[name] end
  return modules
end

-- Why a module, which is not one of these nor a file of Lua, is refused; or nil.
function whitelist.why_not(name)
  local why = MODULES[name]
  if name:find "^jit%." then why = OF_PROCESS end
  if name:find "^tidepool%." then why = INSIDE end
  if not why and package.searchpath(name, package.cpath) then why = MACHINE end
  return why and closed(('module "%s"'):format(name), why)
end

return whitelist
