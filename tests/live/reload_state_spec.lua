-- reload_state_spec.lua - what a script hands to its next version, and what becomes of a
-- version that does not take it.

local core = require "tidepool.core"
local plain = require "tidepool.plain"
local reload = require "tidepool.reload"
local sandbox = require "tidepool.sandbox"
local support = require "support"
local tide = require "tidepool"

describe("A copy of plain data", function()
  local function refused(value)
    local ok, sentence = plain.copy(value, "state")
    assert.is_false(ok)
    return sentence
  end

  it("is equal, and shares nothing", function()
    local shared = { 1, 2 }
    local value = { a = { b = { true, false, "text" } }, n = 1.5, null = tide.null,
                    [3] = "three", [true] = 0, x = shared, y = shared }
    local ok, copied = plain.copy(value, "state")

    assert.is_true(ok)
    assert.same(value, copied)
    assert.are_not.equal(value.a.b, copied.a.b)
    assert.are_not.equal(copied.x, copied.y)
    assert.same({ true, nil }, { plain.copy(nil, "state") })
    assert.same({ true, "text" }, { plain.copy("text", "state") })
  end)

  it("is refused with the place of what is no plain data", function()
    local circle = { inner = {} }
    circle.inner.outer = circle
    for place, value in pairs {
      ["state is a function: plain data expected"] = print,
      ["state.users[2].fn is a function:"] = { users = { 1, { fn = print } } },
      ['state["a b"] is a thread:'] = { ["a b"] = coroutine.create(print) },
      ["state.file is a userdata:"] = { file = io.stdout },
      ["state.number is a cdata:"] = { number = 1LL },
      ["state.inner.outer holds itself:"] = circle,
      ["state.object is a table with a metatable:"] = { object = setmetatable({}, {}) },
      ["state.by has a key that is a table:"] = { by = { [{}] = 1 } },
    } do
      assert.truthy(refused(value):find(place, 1, true), refused(value))
    end
  end)

  it("has bounds", function()
    local deep = {}
    local at = deep
    for _ = 1, 200 do
      at.down = {}
      at = at.down
    end
    assert.truthy(refused(deep):find("more than 100 tables deep", 1, true))
    local text = ("x"):rep(3 * 2 ^ 20)
    assert.is_true((plain.copy({ text, text }, "state")))
    assert.truthy(refused({ text, text, text }):find(
      "state is too large: at state[3] there are more than 8 MiB", 1, true))
  end)
end)

-- Scripts here share the table that `require "probe"` gives.
describe("A script's state", function()
  local probe, path, count, reloader, app

  local function save(text)
    count = count + 1
    local file = assert(io.open(path, "w"))
    file:write("local tide, probe = require 'tidepool', require 'probe'\n",
      "local app = tide.app()\n", text, "\nreturn app\n")
    file:close()
  end

  local function begin(text)
    save(text)
    local ok, generation = core.spawn(sandbox.load_trusted, path):wait()
    assert(ok and generation, tostring(generation))
    reloader = reload.new(path, {}, generation,
      { drain = 10, load_seconds = 0.3, hook_seconds = 0.3 }, function(new) app = new end)
    return reloader:begin()
  end

  local function replace(text)
    save(text)
    return reloader:now()
  end

  -- The version before goes on, and tells its state to the next.
  local function is_kept(generation)
    assert.are.equal(generation, reloader:stats().generation)
    assert(replace [[app:on_load(function(state) probe.state = state end)]])
    return probe.state
  end

  before_each(function()
    probe, count = {}, 0
    package.loaded.probe = probe
    function probe.count(name) probe[name] = (probe[name] or 0) + 1 end
    path = support.file("state.lua", "")
  end)

  after_each(function()
    replace ""
    package.loaded.probe = nil
  end)

  it("is nil at first, and where nothing is handed over", function()
    local text = [[app:on_load(function(...) probe.%s = { n = select('#', ...), ... }
      end)]]
    assert(begin(text:format "first"))
    assert.same({ n = 1 }, probe.first)
    assert(replace(text:format "next"))
    assert.same({ n = 1 }, probe.next)
  end)

  it("is a copy of what on_unload gave", function()
    assert(begin [[
      probe.own = { seen = { 1, 2 } }
      app:on_unload(function() return probe.own end)]])
    assert(replace [[app:on_load(function(state) probe.state = state end)]])
    assert.same({ seen = { 1, 2 } }, probe.state)
    assert.are_not.equal(probe.own.seen, probe.state.seen)
    assert.are.equal(2, reloader:stats().generation)
  end)

  it("has all that happened, where neither function waits", function()
    assert(begin [[
      probe.n = 0
      tide.spawn(function() while true do probe.n = probe.n + 1 tide.sleep(0) end end)
      app:get("/", function() return "old" end)
      app:on_unload(function() return probe.n end)]])
    assert(replace [[
      tide.sleep(0.01)
      app:get("/", function() return "new" end)
      app:on_load(function(n) probe.handed, probe.now = n, probe.n end)]])
    assert.is_true(probe.handed > 0)
    assert.are.equal(probe.handed, probe.now)
  end)

  it("may be waited for, and the old version serves meanwhile", function()
    assert(begin [[
      app:get("/", function() return "old" end)
      app:on_unload(function() tide.sleep(0.005) return { 1 } end)]])
    save [[
      app:get("/", function() return "new" end)
      app:on_load(function(state)
        probe.is_in = true
        while not probe.may_end do tide.sleep(0.001) end
        probe.state = state
      end)]]
    local task = core.spawn(reloader.now, reloader)
    support.eventually("it loads", function() return probe.is_in end)
    assert.are.equal("old", tide.request(app, "GET", "/").body)
    probe.may_end = true
    assert.same({ true, true }, { task:wait() })
    assert.are.equal("new", tide.request(app, "GET", "/").body)
    assert.same({ 1 }, probe.state)
  end)

  local OLD = [[app:on_unload(function() return { n = 7 } end)]]
  local BROKEN = { -- on_load's function -> what is said
    ["error 'boom'"] = "state%.lua:3: boom, in on_load",
    ["local x = state.n.m.o"] = "state%.lua:3: attempt to index .*, in on_load",
    ["error(setmetatable({}, { __tostring = function() return 'odd' end }))"] =
      "state%.lua:3: odd, in on_load",
    ["assert(tide.timeout(0, tide.sleep, 5))"] = "state%.lua:3: .*longer.*, in on_load",
    ["tide.sleep(60)"] = "state%.lua:3: it took longer than 0%.3 s, in on_load",
    ["while true do pcall(tide.sleep, 60) tide.sleep(60) end"] =
      "state%.lua:3: it took longer than 0%.3 s, in on_load",
  }

  it("stays with the old version when on_load fails, of which nothing goes on", function()
    for text, words in pairs(BROKEN) do
      assert(begin(OLD))
      local ok, message = replace("app:on_load(function(state) " .. text .. " end)\n"
        .. "tide.every(0.001, function() probe.count 'ticks' end)")
      assert.is_nil(ok)
      assert.truthy(message:find(words), message)
      local before = probe.ticks
      tide.sleep(0.01)
      assert.are.equal(before, probe.ticks)
      assert.are.equal(message, reloader:stats().last_error)
      assert.same({ n = 7 }, is_kept(1))
      assert.is_nil(reloader:stats().last_error)
    end
  end)

  it("that cannot be handed over keeps the old version", function()
    assert(begin [[
      app:on_unload(function()
        if probe.is_good then return "good" end
        return { list = { { fn = print } } }
      end)]])
    local ok, message = replace ""
    assert.is_nil(ok)
    assert.truthy(message:find(
      "state%.lua:3: state%.list%[1%]%.fn is a function: .*, in on_unload"), message)
    assert.are.equal(1, reloader:stats().failures)
    probe.is_good = true
    assert.are.equal("good", is_kept(1))
  end)

  it("keeps the old version when on_unload fails", function()
    assert(begin [[
      app:on_unload(function()
        if not probe.is_good then error "not now" end
        return "good"
      end)]])
    local ok, message = replace ""
    assert.is_nil(ok)
    assert.truthy(message:find "state%.lua:4: not now, in on_unload", message)
    probe.is_good = true
    assert.are.equal("good", is_kept(1))
  end)

  it("is wanted before the first version serves", function()
    local ok, message = begin [[app:on_load(function() error "no" end)]]
    assert.is_nil(ok)
    assert.truthy(message:find "state%.lua:3: no, in on_load", message)
    assert(begin "")
  end)

  it("has one function for each way", function()
    assert(begin "")
    for _, name in ipairs { "on_load", "on_unload" } do
      local text = ("app:%s(function() end)\napp:%s(print)"):format(name, name)
      local _, twice = replace(text)
      assert.truthy(twice:find("state%.lua:4: " .. name .. " is set already, at .*:3"),
        twice)
      local _, wrong = replace(("app:%s(5)"):format(name))
      assert.truthy(wrong:find("state%.lua:3: " .. name .. ": function expected"), wrong)
    end
  end)

  it("is nil for tide.request, which asks an app that no service serves", function()
    local own = tide.app()
    local loads = {}
    own:on_load(function(...) loads[#loads + 1] = select("#", ...) end)
    own:get("/", function() return tostring(#loads) end)
    assert.are.equal("1", tide.request(own, "GET", "/").body)
    assert.are.equal("1", tide.request(own, "GET", "/").body)
    assert.same({ 1 }, loads)
    assert(begin "")
  end)

  it("waits for a script that does not load only so long", function()
    assert(begin(OLD))
    local ok, message = replace "tide.sleep(60)"
    assert.is_nil(ok)
    assert.truthy(message:find "state%.lua: it did not load within 0%.3 s", message)
    assert.same({ n = 7 }, is_kept(1))
  end)

  it("is loaded once more for who asked while it was being loaded", function()
    assert(begin "")
    save [[
      probe.count "loads"
      while not probe.may_end do tide.sleep(0.001) end]]
    local task = core.spawn(reloader.ask, reloader)
    support.eventually("it loads", function() return probe.loads == 1 end)
    reloader:ask()
    reloader:ask()
    assert.same({ nil, "a reload is under way", true }, { reloader:now() })
    probe.may_end = true
    task:wait()
    support.eventually("it is loaded again", function()
      return reloader:stats().generation == 3
    end)
    tide.sleep(0.01)
    assert.are.equal(2, probe.loads)
  end)

  it("says the number that it was given", function()
    assert(begin "")
    save ""
    assert(reloader:now(9))
    assert.are.equal(9, reloader:stats().generation)
    assert.is_true(reloader:stats().loaded_at >= os.time() - 5)
  end)
end)

describe("Event streams of a script that was replaced", function()
  it("end at once, whole; other replies go on", function()
    local path, app = support.file("streams.lua", [[
      local tide, probe = require 'tidepool', require 'probe'
      local app = tide.app()
      app:get("/events", function()
        return tide.events(function(stream)
          stream:send "hello"
          probe.is_sent = true
          stream:wait()
        end)
      end)
      app:get("/slow", function()
        probe.is_in = true
        while not probe.may_end do tide.sleep(0.001) end
        return "slow"
      end)
      return app]]), nil
    local probe = {}
    package.loaded.probe = probe
    local first = assert(sandbox.load_trusted(path))
    local reloader = reload.new(path, {}, first, { drain = 10 },
      function(new) app = new end)
    assert(reloader:begin())
    local server = assert(core.listen {
      address = "127.0.0.1:0", handler = function(request) return app:handle(request) end,
    })
    local events = core.spawn(support.raw, server:address(),
      "GET /events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    local slow = core.spawn(support.request, server:address(), "GET", "/slow")
    support.eventually("both run", function() return probe.is_sent and probe.is_in end)

    assert(reloader:now())
    local _, bytes = events:wait()
    assert.truthy(bytes:find "data: hello", bytes)
    assert.truthy(bytes:find "\r\n0\r\n\r\n$", bytes)
    assert.are.equal(0, server:stats().replies_cut)
    assert.is_false(slow:done())
    probe.may_end = true
    assert.are.equal("slow", select(4, slow:wait()))
    support.eventually("all has ended", function() return not core.oldest_request() end)
    server:close()
    package.loaded.probe = nil
  end)
end)
