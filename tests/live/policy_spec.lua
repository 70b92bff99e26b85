-- Policies at work on real pools: the stock ones and users' own, within their rails.

local config = require "tidepool.config"
local core = require "tidepool.core"
local policies = require "tidepool.policies"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

after_each(support.run_ends)

-- Settings as [policy] of a configuration gives them.
local function settings_of(toml)
  local settings = must(config.load {
    environment = {},
    read = function(path)
      if path == "tidepool.toml" then return toml end
      return nil, "No such file or directory", 2
    end,
  })
  return settings:policy()
end

-- Begins a policy with this text on pools, until the spec ends.
local function fly(text, toml, pools)
  local path = support.file("policy.lua", text)
  local settings = settings_of(('[policy]\nuse = "%s"\n%s'):format(path, toml or ""))
  local pilot = must(policies.start(settings, pools))
  support.at_end(function() pilot:close() end)
  return pilot
end

local function hear(event_name)
  local heard = {}
  local handler = tide.on(event_name, function(event) heard[#heard + 1] = event end)
  support.at_end(function() handler:close() end)
  return heard
end

local GROWS = [[return { every = 0.05, decide = function(pool)
  local size = pool.settings.max_connections
  if pool.waiting > 0 then
    return { max_connections = size + 2 }, pool.waiting .. " wait"
  end
  if pool.use_ratio < 0.3 and size > 2 then
    return { max_connections = size - 2 }, "calm"
  end
end }]]

describe("A policy", function()
  it("raises max_connections under a step load, and lowers it later", function()
    local db = support.postgres { max_connections = 2 }
    local heard = hear "policy_changed"
    fly(GROWS, [[revert = false
      [policy.rails]
      max_connections = "2..8, every 0s"]], { db })
    local load = support.load(8, function()
      return db:one { "SELECT pg_sleep(0.02)", share = false }
    end)
    eventually("it is raised", function() return db:settings().max_connections == 8 end)
    load.stop()
    eventually("it is lowered", function() return db:settings().max_connections == 2 end)
    assert.are.equal("applied", heard[1].outcome)
    assert.are.same({ "max_connections", 2, 4, db:name() },
      { heard[1].setting, heard[1].from, heard[1].to, heard[1].pool })
    assert.matches("^%d+ wait$", heard[1].reason)
    assert.are.same({}, load.errors)
  end)

  it("that only would is told of, and changes nothing", function()
    local db = support.postgres { max_connections = 2 }
    local pilot = fly([[return { every = 0.05, decide = function()
      return { max_connections = 1 }, "because" end }]], "dry_run = true", { db })
    eventually("it is counted", function()
      local counts = pilot:stats().changes[db:name()]
      return counts and counts.dry_run
    end)
    assert.are.equal(2, db:settings().max_connections)
    assert.are.equal("dry_run", pilot:last_of(db:name()).outcome)
    local change = pilot:change_of(db:name())
    assert.are.same({ "dry_run", 2, 1, "because" },
      { change.outcome, change.from, change.to, change.reason })
    assert.is_true(change.ago >= 0)
    assert.is_string(pilot:name_for(db:name()))
    assert.is_nil(pilot:name_for "another")
  end)

  it("that errs, loops, allocates or gives nonsense changes nothing", function()
    for _, body in ipairs {
      "error 'mine'", "while true do end", "while true do pcall(error) end",
      "local t = {} for i = 1, 1e9 do t[i] = { i } end",
      "return { max_connections = 'x' }, 'x'",
      "return { max_connections = 0/0 }, 'x'", "return { size = 1 }, 'x'", "return 7",
    } do
      local db = support.postgres { max_connections = 3 }
      local text = ("return { every = 0.05, decide = function() %s end }"):format(body)
      local pilot = fly(text, nil, { db })
      eventually("it is counted", function() return pilot:stats().failures > 0 end)
      assert.are.equal(3, db:settings().max_connections, body)
      assert.are.equal(1, must(db:one "SELECT 1 AS n").n)
      pilot:close()
    end
  end)

  it("does not leave its rails", function()
    local db = support.postgres { max_connections = 4 }
    local pilot = fly([[return { every = 0.05, decide = function()
      return { max_connections = 100, lanes = 9 }, "more" end }]], nil, { db })
    eventually("both are told", function()
      local counts = pilot:stats().changes[db:name()]
      return counts and counts.clamped and counts.closed
    end)
    assert.are.equal(4, db:settings().max_connections)
    assert.is_nil(pilot:change_of(db:name()))
  end)

  it("sees what Postgres and Redis say of themselves", function()
    local db, cache = support.postgres(), support.redis()
    local pilot = fly([[return { every = 0.05, decide = function(pool)
      local s = pool.server
      if not s.max_connections then return end
      assert(s.connections >= 1 and s.latency > 0 and s.age >= 0)
      assert(s.is_replica == false)
      if pool.kind == "postgres" then assert(s.active >= 1 and s.idle >= 0)
      else assert(s.used_memory > 100000 and s.max_memory == 0) end
      return { max_connections = 1 }, "seen"
    end }]], "dry_run = true", { db, cache })
    for _, pool in ipairs { db, cache } do
      eventually("it has seen " .. pool:name(), function()
        return pilot:last_of(pool:name())
      end)
    end
    assert.are.equal(0, pilot:stats().failures)
  end)

  it("goes on without a pool that is closed", function()
    local db, other = support.postgres(), support.postgres { max_connections = 3 }
    local pilot = fly([[return { every = 0.05, decide = function(pool)
      return { max_connections = 2 }, "x" end }]], nil, { db, other })
    db:close(1)
    eventually("the other is flown", function()
      return other:settings().max_connections == 2
    end)
    assert.are.equal(0, pilot:stats().failures)
  end)

  it("that is none is refused with what is wrong", function()
    local wrong = {
      { '[policy]\nuse = "nix"', "there is no policy nix: a file .* one of aimd, codel" },
      { '[policy]\nuse = "nowhere.lua"', "nowhere.lua: No such file" },
      { '[policy]\nuse = "aimd"\n[policy.options]\nslo = 3', "aimd has no option slo" },
    }
    for _, case in ipairs(wrong) do
      local pilot, err = policies.start(settings_of(case[1]), {})
      assert.is_nil(pilot)
      assert.matches(case[2], err)
    end
  end)
end)

describe("The stock policy", function()
  for _, name in ipairs(policies.stock) do
    it(name .. " works on real pools", function()
      local db, cache = support.postgres { max_connections = 3 }, support.redis()
      local text = core.module_text("tidepool.policy." .. name)
      local pilot = fly((text:gsub("every = [%d.]+", "every = 0.05")), nil, { db, cache })
      local load = support.load(4, function()
        local row, err = db:one "SELECT 1 AS n"
        local is_shed = err and err.message:find "^shed, " -- on a machine that is late
        return row or is_shed, err
      end)
      eventually("it has seen some", function() return pilot:stats().ticks > 5 end)
      load.stop()
      assert.are.equal(0, pilot:stats().failures)
      assert.are.same({}, load.errors)
    end)
  end
end)

describe("codel", function()
  it("sheds what waits too long for a lease, and for a lane", function()
    local db = support.postgres { max_connections = 1 }
    local release = support.hold(db) -- its own wait, of a connect, is not shed
    assert.is_true(db:set { codel_target = 0.005, codel_interval = 0.02 })
    for _, share in ipairs { false, true } do
      for _ = 1, 3 do db:one "SELECT 1 AS n" end
      local row, err = db:one { "SELECT 1 AS n", share = share }
      assert.is_nil(row)
      assert.are.equal("busy", err.code)
      assert.matches("^shed, for waits stay over codel_target", err.message)
    end
    assert.is_true(db:stats().counters.shed >= 2)
    release()
    eventually("it serves again", function() return (db:one "SELECT 1 AS n") end)
  end)
end)
