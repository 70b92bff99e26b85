-- sandbox_spec.lua - what a script that is not trusted cannot do, and is told; what one
-- that is can.

local core = require "tidepool.core"
local sandbox = require "tidepool.sandbox"
local support = require "support"

local must = support.must
local dump = debug.getregistry()["tidepool.string"].dump

local function load(text, load_script)
  local generation = must((load_script or sandbox.load)(support.file("script.lua", text)))
  sandbox.lock(generation)
  return generation.value
end

local function module(name, text)
  local file = assert(io.open(support.directory .. "/" .. name .. ".lua", "w"))
  file:write(text)
  file:close()
end

-- What a handler tries -> what it is told.
local CLOSED = {
  -- the machine
  { 'io.open "/etc/passwd"', "io.open is closed to this script: no other request" },
  { 'io.popen "id"', "io.popen is closed" },
  { 'io.lines "/etc/passwd"', "io.lines is closed" },
  { 'io.stdout:write "x"', "io.stdout is closed" },
  { 'require "io".open "/etc/passwd"', "io.open is closed" },
  { 'os.execute "id"', "os.execute is closed to this script: it is the whole" },
  { "os.exit(0)", "os.exit is closed" },
  { 'os.getenv "HOME"', "os.getenv is closed" },
  { 'os.remove "x"', "os.remove is closed" },
  { 'os.rename("x", "y")', "os.rename is closed" },
  { "os.tmpname()", "os.tmpname is closed" },
  { 'os.setlocale "C"', "os.setlocale is closed" },
  { 'require "os".execute "id"', "os.execute is closed" },
  -- code that is not Lua
  { 'require "ffi"', 'module "ffi" is closed to this script: a wrong pointer' },
  { 'package.loaded.ffi.cdef ""', "attempt to index" },
  { 'package.loadlib("libc.so.6", "system")', "package.loadlib is closed" },
  { 'package.cpath = "./?.so"', "package.cpath cannot be set" },
  { "return package.cpath", "package.cpath is closed" },
  { "return package.loaders", "package.loaders is closed" },
  { "package.preload.x = nil, package.seeall({})", "package.seeall is closed" },
  { 'require "lfs"', 'module "lfs" is closed to this script: code that is not Lua' },
  { 'require "string.buffer"', 'module "string.buffer" is closed' },
  { 'require "jit.util"', 'module "jit.util" is closed' },
  -- byte code
  { "assert(load(CODE))", "byte code is closed to scripts" },
  { 'assert(load(CODE, "x", "b"))', "byte code is closed to scripts" },
  { 'assert(load(CODE, "x", "bt"))', "byte code is closed to scripts" },
  { 'assert(load("return 1", "x", "b"))', "byte code is closed to scripts" },
  { "assert(loadstring(CODE))", "byte code is closed to scripts" },
  { "assert(loadfile(CODE_PATH))", "byte code is closed to scripts" },
  { "dofile(CODE_PATH)", "byte code is closed to scripts" },
  { "local sent; assert(load(function() if not sent then sent = 1 return CODE end end))",
    "byte code is closed to scripts" },
  { "string.dump(print)", "string.dump is closed" },
  { '("").dump(print)', "string.dump is closed" },
  { "local s = '' s:dump()", "string.dump is closed" },
  -- the inside of the runtime
  { "debug.getregistry()", "debug.getregistry is closed" },
  { "debug.sethook()", "debug.sethook is closed" },
  { "debug.getupvalue(print, 1)", "debug.getupvalue is closed" },
  { 'debug.getmetatable("")', "debug.getmetatable is closed" },
  { 'require "debug".getregistry()', "debug.getregistry is closed" },
  { 'require "tidepool.core"', 'module "tidepool.core" is closed' },
  { 'require "tidepool.servers"', 'module "tidepool.servers" is closed' },
  { "getfenv(0)", "getfenv is closed" },
  { "getfenv(1)", "getfenv is closed" },
  { "setfenv(1, {})", "setfenv is closed" },
  { "newproxy(true)", "newproxy is closed" },
  { 'module "x"', "module is closed" },
  -- what scripts share
  { 'getmetatable("").__index = {}', 'getmetatable("").__index cannot be set' },
  { 'getmetatable("").__add = print', 'getmetatable("").__add cannot be set' },
  { 'getmetatable("").__index.rep = print', "attempt to index" },
  { 'setmetatable("", {})', "table expected" },
  { "string.rep = print", "string.rep cannot be set: scripts share it" },
  { "string.trim = print", "string.trim cannot be set" },
  { "math.huge = 1", "math.huge cannot be set" },
  { "table.insert = print", "table.insert cannot be set" },
  { 'rawset(string, "rep", print)', "string.rep cannot be set" },
  { 'require "string".rep = print', "string.rep cannot be set" },
  { "setmetatable(string, {})", "protected metatable" },
  { "_G.string = {}", "global 'string' cannot be set" },
  { 'rawset(_G, "string", {})', "global 'string' cannot be set" },
  { "setmetatable(_G, {})", "protected metatable" },
  { 'require "tidepool".json = print', "tidepool.json cannot be set" },
  { 'require "lpeg".P = print', "lpeg.P cannot be set" },
  { 'package.path = "/?.lua"', "package.path cannot be set" },
  { "getmetatable(io).__index = {}", "attempt to index" },
  -- the process
  { "jit.off()", "jit.off is closed to this script: it is the whole process'" },
  { "jit.flush()", "jit.flush is closed" },
  { "jit.opt.start('hotloop=1')", "jit.opt is closed" },
  { "collectgarbage()", 'collectgarbage("collect") is closed' },
  { 'collectgarbage "stop"', 'collectgarbage("stop") is closed' },
  { 'collectgarbage("setpause", 1)', 'collectgarbage("setpause") is closed' },
  -- memory
  { '("x"):rep(2e9)', "resulting string too large" },
  { 'string.rep("x", 1e5, ("y"):rep(1e5))', "resulting string too large" },
  { "table.concat(MANY)", "resulting string too large" },
  { "table.concat(FEW, MANY[1])", "resulting string too large" },
  { '("%s"):rep(#MANY):format(unpack(MANY))', "resulting string too large" },
  { 'require "table.new"', 'module "table.new" is closed' },
  -- ours: no values of other types for what only the state calls
  { "return DB.__gc({})", "attempt to call field '__gc'" },
  { "DB.__index.query = print", "attempt to index" },
  { "getmetatable(DB).__gc()", "attempt to index" },
  { "setmetatable(ERR, {})", "protected metatable" },
}

local CASE = [[
CODE, CODE_PATH, DB, ERR = ...
MANY, FEW = {}, {}
local large = ("x"):rep(2 ^ 20)
for i = 1, 2000 do MANY[i], FEW[i] = large, "x" end
return function()
  %s
end
]]

-- A statement that is an expression is made one.
local function body(text)
  if text:find "^[%w_.]+%b()$" or text:find "^%(" then return "local _ = " .. text end
  return text
end

describe("A script that is not trusted", function()
  local code, code_path, db, failure

  setup(function()
    local _
    db = support.postgres()
    _, failure = db:one "SELEC"
    code = dump(function() return 1 end)
    code_path = support.file("code.ljbc", code)
  end)

  for _, row in ipairs(CLOSED) do
    it("is refused " .. row[1], function()
      local path = support.file("script.lua", CASE:format(body(row[1])))
      local generation = must(sandbox.load(path, code, code_path, db, failure))
      sandbox.lock(generation)
      local ok, err = pcall(generation.value)
      assert.is_false(ok, "it was let through")
      assert.is_truthy(tostring(err):find(row[2], 1, true), tostring(err))
    end)
  end

  it("is told the line, and what opens it", function()
    local run = load "return function()\n  local file = io.open 'x'\n  return file end"
    local _, err = pcall(run)
    assert.matches("script%.lua:2: io%.open is closed .*; %-%-trusted opens it$", err)
  end)

  it("changes nothing for others", function()
    load [[
      pcall(function() string.rep = nil end)
      pcall(rawset, string, "rep", nil)
      table.insert(string, "x")
      pcall(function() getmetatable("").__index = {} end)
      local json = require "cjson"
      json.encode_max_depth(1)
      string, math = nil, nil
    ]]
    assert.are.equal("xx", ("x"):rep(2))
    local again = load [[return { ("x"):rep(2), string.rep("x", 2), string[1], math.huge,
      (require "cjson".encode { { { 1 } } }) }]]
    assert.are.same({ "xx", "xx", nil, math.huge, "[[[1]]]" }, again)
  end)

  it("has what it needs", function()
    local has = load [[
      local tide, cjson = require "tidepool", require "cjson"
      local t = setmetatable({}, { __index = { a = 1 } })
      local made = loadstring "return 1 + 1"
      value = 5
      rawset(_G, "other", 6)
      return {
        t.a, rawget(t, "a"), made(), load("return value")(), select("#", 1, 2),
        load("return x", "c", "t", { x = 3 })(), value, other, os.time() > 0,
        type(os.clock()), os.date("!%Y", 0), bit.band(6, 3), math.floor(2.5),
        ("%d"):format(7), table.concat({ 1, 2 }, "-"), tide.null == cjson.null,
        require "lpeg".match(require "lpeg".P "a", "a"), type(debug.traceback()),
        coroutine.wrap(function() coroutine.yield(9) end)(), jit.arch ~= nil,
        require "string" == string, require "_G" == _G, collectgarbage "count" > 0,
        type(collectgarbage "step"), getmetatable("").__call == nil,
        pcall(error, "x"), package.loaded.tidepool == nil, _VERSION,
      }
    ]]
    assert.are.same({ 1, nil, 2, 5, 2, 3, 5, 6, true, "number", "1970", 2, 2, "7", "1-2",
      true, 2, "string", 9, true, true, true, true, "boolean", true, false, true,
      "Lua 5.1" }, has)
  end)

  it("requires its own modules, which have no more than it has", function()
    module("inner", "local _, err = pcall(function() local x = io.open 'x' end)\n"
      .. "return { err = err, loaded = ... }")
    module("by_name", "package.loaded[...] = { named = true }")
    local has = load [[
      package.path = "/nowhere/?.lua;" .. package.path
      return { require "inner", require "inner" == require "inner",
        require "by_name".named, select(2, pcall(require, "not_there")) }]]
    assert.matches("inner%.lua:1: io%.open is closed", has[1].err)
    assert.are.equal("inner", has[1].loaded)
    assert.is_true(has[2] and has[3])
    assert.matches("'not_there' not found:.*/nowhere/not_there%.lua", has[4])
  end)

  it("loads other files of Lua, which are watched", function()
    local other = support.file("other.lua", "return (...) or 'other'")
    local path = support.file("script.lua", ([[
      return { dofile %q, assert(loadfile %q)(1), (loadfile "not there") == nil }
    ]]):format(other, other))
    local generation = must(sandbox.load(path))
    assert.are.same({ "other", 1, true }, generation.value)
    assert.are.same({ path, other, other }, generation.files)
  end)
end)

describe("What specs require", function()
  it("has of the app what it has when it is served, unless it is trusted", function()
    module("of_the_app", "return { (pcall(function() return io.open end)), "
      .. "require 'tidepool', require 'within' }")
    module("within", "return (pcall(function() return io.open end))")
    local here = support.directory .. "/?.lua;"
    local require = sandbox.require_of_specs(here, false)
    local app = require "of_the_app"
    assert.is_false(app[1])
    assert.is_false(app[3])
    assert.are.equal(app, require "of_the_app")
    assert.are.equal(require "tidepool", package.loaded.tidepool)
    assert.is_true(sandbox.require_of_specs(here, true) "within")
  end)
end)

describe("A script that is trusted", function()
  it("has all of Lua", function()
    local has = load([[
      string.of_a_trusted_script = 1
      local seen = ("").of_a_trusted_script
      string.of_a_trusted_script = nil
      return { io.open ~= nil, os.getenv "PATH" ~= nil, require "ffi".new("int", 3) == 3,
        debug.getregistry() ~= nil, package.loadlib ~= nil, jit.off ~= nil,
        require "tidepool.core" ~= nil, collectgarbage() == 0, getfenv(1) == _G, seen }
    ]], sandbox.load_trusted)
    for i = 1, 9 do assert.is_true(has[i], "the one at " .. i) end
    assert.are.equal(1, has[10])
  end)

  it("finds its globals read-only once it is loaded, and byte code refused", function()
    local write = load("return function() x = 1 end", sandbox.load_trusted)
    assert.has_error(write)
    local path = support.file("code.lua", dump(function() return {} end))
    local generation, err = sandbox.load_trusted(path)
    assert.is_nil(generation)
    assert.is_true(core.is_err(err))
  end)
end)
