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
    local reloader = reload.new(path, {}, assert(sandbox.load(path)), { drain = 1 },
      function(app) words[#words + 1] = app.word end)
    assert(reloader:begin())
    words[1] = nil
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

-- Scripts here share the table that `require "probe"` gives, for which they are trusted.
describe("What a replaced script left running", function()
  local probe, path, count, reloader, app, server, address

  local function save(text)
    count = count + 1
    local file = assert(io.open(path, "w"))
    file:write("local tide, probe = require 'tidepool', require 'probe'\n",
      "local app = tide.app()\n", text, "\nreturn app\n")
    file:close()
  end

  local function begin(text, drain)
    save(text)
    local ok, generation = core.spawn(sandbox.load_trusted, path):wait()
    assert(ok and generation, tostring(generation))
    app = generation.value
    reloader = reload.new(path, {}, generation, { drain = drain or 10 },
      function(new) app = new end)
    assert(reloader:begin())
  end

  local function replace(text)
    save(text)
    return reloader:now()
  end

  local function grows(name, by)
    local from = probe[name] or 0
    support.eventually(name .. " goes on", function()
      return (probe[name] or 0) >= from + (by or 2)
    end)
  end

  -- It stood still while others went on.
  local function stands(name, other)
    local before = probe[name]
    grows(other, 5)
    assert.are.equal(before, probe[name], name .. " goes on beside the new script")
  end

  before_each(function()
    probe, count = {}, 0
    package.loaded.probe = probe
    probe.tick = setfenv(function() probe.count "ticks" end, getfenv(print))
    function probe.count(name) probe[name] = (probe[name] or 0) + 1 end
    path = support.file("standing.lua", "")
    server = assert(core.listen {
      address = "127.0.0.1:0", handler = function(request) return app:handle(request) end,
    })
    address = server:address()
  end)

  after_each(function()
    replace ""
    support.eventually("all has ended", function()
      return core.oldest_request() == nil
    end)
    server:close()
    package.loaded.probe = nil
  end)

  it("ends: tide.every, whose run goes on to its end", function()
    begin [[
      tide.every(0.002, function() probe.count "one" end)
      tide.every(0.002, function()
        probe.begun = true
        while not probe.may_end do tide.sleep(0.001) end
        probe.ended = true
      end)]]
    grows "one"
    support.eventually("the other runs", function() return probe.begun end)
    assert(replace [[tide.every(0.002, function() probe.count "two" end)]])
    grows "two"
    stands("one", "two")
    probe.may_end = true
    support.eventually("its run ends", function() return probe.ended end)
  end)

  it("ends: spawned tasks, asleep or before their start", function()
    begin [[
      tide.spawn(function()
        while true do
          tide.sleep(0.002)
          probe.count "one"
        end
      end)]]
    grows "one"
    assert(replace [[tide.every(0.002, function() probe.count "two" end)]])
    grows "two"
    stands("one", "two")
  end)

  it("ends: what calls functions that are not its own", function()
    begin [[
      probe.tasks = {
        tide.every(0.002, probe.tick), tide.spawn(tide.sleep, 3600),
        tide.spawn(pcall, tide.sleep, 3600),
      }
      tide.on("connect", probe.tick)]]
    grows "ticks"
    assert(replace [[tide.every(0.002, function() probe.count "two" end)]])
    grows "two"
    stands("ticks", "two")
    for i, task in ipairs(probe.tasks) do
      support.eventually("task " .. i .. " ends", function() return task:done() end)
    end
  end)

  it("ends: functions of tide.on", function()
    local db = support.postgres { max_connections = 2 }
    begin [[tide.on("connect", function() probe.count "one" end)]]
    assert(replace [[tide.on("connect", function() probe.count "two" end)]])
    db:drain()
    assert(db:one "SELECT 1")
    support.eventually("the new one heard", function() return probe.two end)
    assert.is_nil(probe.one)
    db:close()
  end)

  it("ends: subscriptions", function()
    probe.db = support.postgres { max_connections = 3 }
    begin [[assert(probe.db:listen("reloaded", function() probe.count "one" end))]]
    assert(replace [[
      assert(probe.db:listen("reloaded", function() probe.count "two" end))]])
    assert(probe.db:notify "reloaded")
    support.eventually("the new one heard", function() return probe.two end)
    assert.is_nil(probe.one)
    replace ""
    probe.db:close(1)
  end)

  it("ends: functions for credentials, and those of the configuration count", function()
    local db = support.postgres { max_connections = 1 }
    probe.db = db
    assert(db:exec "DROP ROLE IF EXISTS reload_one")
    assert(db:exec "CREATE ROLE reload_one LOGIN")
    local configured = assert(db:one "SELECT current_user AS name").name
    local function user()
      db:drain()
      return assert(db:one { "SELECT current_user AS name", share = false }).name
    end
    begin [[assert(probe.db:credentials(function()
      return { user = "reload_one", password = "x" }
    end))]]
    assert.are.equal("reload_one", user())
    assert.is_nil(replace [[
      assert(probe.db:credentials(function()
        return { user = "nobody at all", password = "x" }
      end))
      error "it does not load"]])
    assert.are.equal("reload_one", user())
    assert(replace [[assert(probe.db:credentials(function()
      return { user = "reload_one", password = "y" }
    end))]])
    assert.are.equal("reload_one", user())
    assert(replace "")
    assert.are.equal(configured, user())
    assert(db:exec "DROP ROLE reload_one")
    db:close()
  end)

  it("waits for the requests of its script, and what these need", function()
    begin [[
      local work = tide.spawn(function()
        while not probe.may_end do tide.sleep(0.002) end
        return "it ended well"
      end)
      app:get("/", function()
        tide.every(0.002, function() probe.count "one" end)
        probe.is_in = true
        local ok, value = work:wait()
        return tostring(ok) .. ": " .. tostring(value)
      end)]]
    local request = core.spawn(support.request, address, "GET", "/")
    support.eventually("the request is there", function() return probe.is_in end)
    assert(replace [[tide.every(0.002, function() probe.count "two" end)]])
    grows "two"
    grows "one"
    probe.may_end = true
    assert.are.equal("true: it ended well", select(4, request:wait()))
    support.eventually("what the request began ends", function()
      local before = probe.one
      grows("two", 5)
      return probe.one == before
    end)
  end)

  it("waits no longer than drain", function()
    begin([[
      tide.spawn(function()
        while true do
          tide.sleep(0.002)
          probe.count "one"
        end
      end)
      app:get("/", function()
        probe.is_in = true
        while true do tide.sleep(0.002) end
      end)]], 0.05)
    local request = core.spawn(support.request, address, "GET", "/")
    support.eventually("the request is there", function() return probe.is_in end)
    assert(replace [[tide.every(0.002, function() probe.count "two" end)]])
    support.eventually("its task ends", function()
      local before = probe.one
      grows("two", 5)
      return probe.one == before
    end)
    local _, status, _, body = request:wait()
    assert.are.equal(503, status)
    assert.truthy(body:find "loaded anew", body)
    assert.are.equal(1, reloader:stats().cancelled.request)
    assert.are.equal(1, reloader:stats().cancelled.task)
  end)

  it("goes on when the new one does not load, of which nothing stays", function()
    begin [[
      tide.every(0.002, function() probe.count "one" end)
      tide.spawn(function()
        while true do
          tide.sleep(0.002)
          probe.count "spawned"
        end
      end)]]
    local text = [[
      tide.every(0.002, function() probe.count "two" end)
      tide.spawn(function()
        while true do
          probe.count "two"
          tide.sleep(0.002)
        end
      end)
      tide.sleep(0.02)
      ]]
    assert.is_nil(replace(text .. "error 'it does not load'"))
    stands("two", "one")
    grows "spawned"
    assert.is_nil(replace(text .. "do return 'no app' end"))
    stands("two", "spawned")
    grows "one"
  end)

  it("is no part of the request that asked for a reload", function()
    probe.db = support.postgres { max_connections = 3 }
    begin ""
    save [[assert(probe.db:listen("asked", function() probe.count "heard" end))]]
    local old = app
    old:post("/reload", function() return tostring(reloader:now()) end)
    assert.are.equal("true", select(3, support.request(address, "POST", "/reload")))
    assert(probe.db:notify "asked")
    support.eventually("it hears", function() return probe.heard end)
    replace ""
    probe.db:close(1)
  end)
end)
