-- reload_spec.lua - a script is loaded anew when it, or a module of it, is saved.

local core = require "tidepool.core"
local reload = require "tidepool.reload"
local sandbox = require "tidepool.sandbox"
local support = require "support"

local APP = [[
local app = require("tidepool").app()
app.word = require("word")
return app
]]

describe("A reloader", function()
  local folder, words, task, count

  local function save(name, text)
    count = count + 1
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text, "\n-- ", count, ("x"):rep(count), "\n") -- a size of its own
    file:close()
  end

  local function eventually_says(word)
    support.eventually("the app says " .. word, function()
      return words[#words] == word
    end)
  end

  before_each(function()
    folder, words, count = support.file("reload", "") .. ".d", {}, 0
    assert(core.mkdir(folder))
    save("app.lua", APP)
    save("word.lua", "return 'one'")
    local path = folder .. "/app.lua"
    local reloader = reload.new(path, {}, assert(sandbox.load(path)), function(app)
      words[#words + 1] = app.word
    end)
    task = reloader:watch()
  end)

  after_each(function() task:cancel() end)

  it("takes what is saved: the script, and its modules", function()
    save("word.lua", "return 'two'")
    eventually_says "two"
    save("app.lua", (APP:gsub("return app", "app.word = app.word .. '!' return app")))
    eventually_says "two!"
  end)

  it("goes on with the version before while the new one is broken", function()
    save("word.lua", "return 'two")
    core.sleep(0.7)
    assert.same({}, words)
    save("word.lua", "return 'three'")
    eventually_says "three"
  end)

  it("sees a module that was missing", function()
    save("app.lua", (APP:gsub('"word"', '"other"')))
    core.sleep(0.7)
    assert.same({}, words)
    save("other.lua", "return 'other'")
    eventually_says "other"
  end)

  it("wants an app", function()
    save("app.lua", "return 5")
    core.sleep(0.7)
    assert.same({}, words)
  end)
end)
