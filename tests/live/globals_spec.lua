-- Globals of a script: free while it loads, read-only afterwards.

local core = require "tidepool.core"
local sandbox = require "tidepool.sandbox"
local support = require "support"

local must = support.must
local dump = debug.getregistry()["tidepool.string"].dump

local function load(text)
  local generation = must(sandbox.load(support.file("script.lua", text)))
  sandbox.lock(generation)
  return generation.value, generation
end

describe("globals", function()
  it("may be set while the script loads, and read afterwards", function()
    local script = load [[
      limit = 10
      return { read = function() return limit end }
    ]]
    assert.are.equal(10, script.read())
  end)

  it("cannot be set afterwards: the error names variable and line", function()
    local script = load [[
      return { write = function() counter = 1 end }
    ]]
    local ok, err = pcall(script.write)
    assert.is_false(ok)
    assert.matches("counter", tostring(err))
    assert.matches("script%.lua:1", tostring(err))
  end)

  it("cannot be changed afterwards either", function()
    local script = load [[
      limit = 10
      return { write = function() limit = 11 end, read = function() return limit end }
    ]]
    assert.has_error(script.write)
    assert.are.equal(10, script.read())
  end)

  it("that do not exist read as nil", function()
    local script = load "return { read = function() return no_such_thing end }"
    assert.is_nil(script.read())
  end)

  it("of one script are not seen by another", function()
    load "shared = 'by accident' return {}"
    local other = load "return { read = function() return shared end }"
    assert.is_nil(other.read())
    assert.is_nil(rawget(_G, "shared"))
  end)

  it("locals of the script stay free", function()
    local script = load [[
      local counter = 0
      return { count = function() counter = counter + 1 return counter end }
    ]]
    script.count()
    assert.are.equal(2, script.count())
  end)

  it("a syntax error is given with file and line", function()
    local path = support.file("broken.lua", "local a =\nreturn )")
    local generation, err = sandbox.load(path)
    assert.is_nil(generation)
    assert.matches("broken%.lua:2", tostring(err))
  end)

  it("an error while loading is given with file and line", function()
    local generation, err = sandbox.load(support.file("raises.lua", "\nerror 'at load'"))
    assert.is_nil(generation)
    assert.matches("raises%.lua:2: at load", tostring(err))
  end)

  it("a file that is not there is named", function()
    local generation, err = sandbox.load(support.directory .. "/nowhere.lua")
    assert.is_nil(generation)
    assert.matches("nowhere%.lua", tostring(err))
  end)

  it("byte code is refused", function()
    local path = support.file("code.lua", dump(function() return {} end))
    local generation, err = sandbox.load(path)
    assert.is_nil(generation)
    assert.is_truthy(core.is_err(err))
  end)
end)

describe("pairs and next", function()
  it("are not compiled where LuaJIT compiles them wrongly", function()
    local iterate = pairs {}
    assert.are.equal(next, iterate)
    if jit.arch == "x64" and jit.version:find "beta" then
      assert.are.equal(core.next, next)
    end
  end)

  it("do as Lua's own", function()
    local seen, list = {}, { 10, 20, x = 30 }
    for key, value in pairs(list) do
      seen[key] = value
      list[key] = nil -- allowed while it goes on
    end
    assert.are.same({ 10, 20, x = 30 }, seen)
    assert.is_nil(next(list))
    assert.are.same({ 1, "a" }, { next { "a" } })
    assert.is_nil(next({ "a" }, 1))
    assert.are.equal(1, select("#", next {}))
    assert.has_error(function() next({}, "no key") end)
    assert.has_error(function() next "no table" end)
    assert.has_error(function() pairs(nil) end)
  end)
end)
