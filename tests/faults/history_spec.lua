-- Hundreds of tasks under faults: whatever they were told, can it be true?  Each write
-- that was acknowledged is there once, nobody was given another's answer, and each
-- register (a row, a key) is linearizable.  SEED= repeats a run's choices.

local backends = require "backends"
local history = require "history"
local load = require "history_load"
local recovery = require "recovery"
local support = require "support"
local tide = require "tidepool"

local must = support.must
local IS_SHARE = os.getenv "FAULTS" == "share"
local SECONDS = IS_SHARE and 1 or 12
local SEED = tonumber(os.getenv "SEED") or 1

-- ---- who breaks things: each is called again and again, and mends what it broke

local function hold(seconds) tide.sleep(seconds) end

local NETWORK = {
  "at down %d cut", "at down %d reset", "at up %d cut", "at up %d reset",
  "at both %d stall", "at down %d stall", "latency both 30 20", "drop reset",
}

local function bad_network(backend, random)
  backend.proxy:say("%s", (NETWORK[random(#NETWORK)]:gsub("%%d", tostring(random(3000)))))
  hold(0.05 + 0.01 * random(20))
  backend.proxy:say "clear"
  hold(0.01 * random(20))
end

local function bad_bytes(backend, random)
  local action = random(2) == 1 and "corrupt" or "duplicate"
  local direction = random(2) == 1 and "up" or "down"
  backend.proxy:say("at %s %d %s", direction, random(3000), action)
  hold(0.01 * random(10))
  backend.proxy:say "clear"
end

local function killed(backend, random)
  backend.server:kill()
  hold(0.01 * random(10))
  must(backend.server:start())
  hold(1 + 0.01 * random(50))
end

local function terminated(backend, random)
  must(backend.server:psql [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()]])
  hold(0.01 * random(30))
end

local function stopped(backend, random)
  recovery.signal(backend.server, "STOP")
  hold(0.1 + 0.01 * random(30))
  recovery.signal(backend.server, "CONT")
  hold(0.01 * random(30))
end

local function client_killed(backend, random)
  must(backend.server:cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
  hold(0.01 * random(30))
end

local RUNS = {
  { "postgres", "a bad network", bad_network, share = true },
  { "postgres", "bytes that change", bad_bytes, tls = true },
  { "postgres", "kill -9 and restarts", killed },
  { "postgres", "storms of pg_terminate_backend", terminated },
  { "postgres", "SIGSTOP", stopped },
  { "redis", "a bad network", bad_network, share = true },
  { "redis", "bytes that change", bad_bytes, tls = true },
  { "redis", "kill -9 and restarts", killed },
  { "redis", "CLIENT KILL", client_killed },
  { "redis", "SIGSTOP", stopped },
}

-- ----

local function told(told_history)
  local codes = {}
  for code, count in pairs(told_history.codes) do
    codes[#codes + 1] = code .. " " .. count
  end
  table.sort(codes)
  local unknown = 0
  for _, state in pairs(told_history.added) do
    if state == "unknown" then unknown = unknown + 1 end
  end
  return ("%d operations, %d additions of unknown outcome, failed: %s"):format(
    told_history.count, unknown, table.concat(codes, ", "))
end

local function check(recorded, kind)
  must(recorded:check_answers())
  must(recorded:check_added(load[kind].added()))
  must(recorded:check_registers())
end

local function run(case)
  local kind, backend = case[1], backends[case[1]]
  local recorded = history.new()
  load[kind].prepare()
  local pool = backend.open(case.tls)
  load.run(recorded, kind, pool, SECONDS, SEED, function(random, is_over)
    while not is_over() do case[3](backend, random) end
  end)
  support.eventually("it answers again", function()
    return load[kind].tag(pool, "x") == "x"
  end)
  print(("# history %s, %s, seed %d: %s"):format(backend.name, case[2], SEED,
    told(recorded)))
  check(recorded, kind)
  support.given_back(pool)
  return recorded
end

for _, kind in ipairs { "postgres", "redis" } do
  describe("The history of " .. kind .. " under", function()
    setup(function() backends[kind].start() end)
    teardown(backends.stop)
    after_each(function()
      backends[kind].proxy:say "clear"
      support.end_file()
    end)

    for _, case in ipairs(RUNS) do
      if case[1] == kind and (case.share or not IS_SHARE) then
        it(case[2] .. " can be true", function() run(case) end)
      end
    end
  end)
end

-- A client with a fault of its own, by which the checks must not be deceived.
describe("The history check", function()
  local calls = load.redis

  setup(function() backends.redis.start() end)
  teardown(backends.stop)
  after_each(support.end_file)

  local function quiet(disturbed)
    local recorded = history.new()
    calls.prepare()
    load.broken = setmetatable(disturbed, { __index = calls })
    local pool = backends.redis.open()
    must(calls.tag(pool, "x"))
    load.run(recorded, "broken", pool, 1, SEED, function() end)
    return recorded
  end

  it("finds two callers' answers that were swapped", function()
    local count, kept = 0, nil
    local recorded = quiet {
      tag = function(pool, tag)
        local answer, err = calls.tag(pool, tag)
        count = count + 1
        if count % 20 == 10 then kept = answer end
        if count % 20 == 11 and kept then answer, kept = kept, nil end
        return answer, err
      end,
    }
    local ok, why = recorded:check_answers()
    assert.is_nil(ok)
    assert.matches("was answered", why)
  end)

  it("finds a write that was acknowledged and not done, and one done twice", function()
    for _, times in ipairs { 0, 2 } do
      local count = 0
      local recorded = quiet {
        add = function(pool, id)
          count = count + 1
          for _ = 1, count == 5 and times or 1 do must(calls.add(pool, id)) end
          return true
        end,
      }
      local ok, why = recorded:check_added(calls.added())
      assert.is_nil(ok)
      assert.matches("is there " .. times .. " times", why)
    end
  end)

  it("finds reads from a cache that nobody tells of writes", function()
    local cache, count = {}, 0
    local recorded = quiet {
      read = function(pool, key)
        local value, err = calls.read(pool, key)
        count = count + 1
        if count % 10 == 0 and cache[key] then return cache[key] end
        cache[key] = cache[key] or value
        return value, err
      end,
    }
    assert.is_true(recorded:check_answers())
    assert.is_nil((recorded:check_registers()))
  end)
end)
