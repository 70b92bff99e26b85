-- Each fault at each moment on each backend: what may fail, what may not, and how soon
-- all is as before.  FAULTS=share runs one fault a moment and backend.

local backends = require "backends"
local core = require "tidepool.core"
local matrix = require "matrix"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must
local together = backends.together

local CALLS = 8
local GROUP_READS, GROUP_WRITES = 100, 20
local RECOVERY_SECONDS = 10 * support.slowness -- measured far less; this one is for ever
local MEMORY_KIB = 16 * 1024

local ONLY_SHARE = os.getenv "FAULTS" == "share"

local counts = { cells = 0, calls = 0, failed = 0, recovery = {} }

-- ---- what is there before and after

local function descriptors() return #core.list_dir "/proc/self/fd" end

local function resident_kib()
  collectgarbage()
  return tonumber(core.read_file("/proc/self/status"):match "VmRSS:%s*(%d+)")
end

-- ---- a fault

-- Not those that all bytes meet.
local STRIKES = {
  cut = true, reset = true, ["black hole"] = true, stall = true, duplicate = true,
  corrupt = true,
}

local function strike(backend, fault, moment, scope)
  local once = moment.once and fault[2]:find "^at" and fault[1] ~= "black hole"
    and fault[1] ~= "stall"
  local at = moment.is_auth and backend.auth_place or moment
  local down = moment.is_auth and fault[1] == "stall" and at.after or at.down
  for i = 2, #fault do
    local command = fault[i]:gsub("$(%w+)", {
      up = tostring(at.up), down = tostring(down), scope = scope or moment.scope or "",
    })
    if moment.name == "connect" or (moment.is_cancel and scope == "new") then
      command = command:gsub("^at down", "at up") -- the server says nothing before
    end
    backend.proxy:say("%s", command .. (once and " times 1" or ""))
  end
  return STRIKES[fault[1]]
end

-- ---- moments: each gives the results of its calls

local acts = {}

local function reads(backend, pool)
  return together(CALLS, function(i) return backend.read(pool, i) end)
end

-- Opens connections and leaves two of them idle.
local function warm(backend, pool)
  local lent = 0
  local results = together(2, function()
    return pool:with(function()
      lent = lent + 1
      eventually("both are lent", function() return lent == 2 end)
      return true
    end)
  end)
  for _, result in ipairs(results) do must(result.ok, result.err) end
  for i = 1, 4 do must(backend.read(pool, i)) end
end

local function first(backend, fault, moment)
  strike(backend, fault, moment)
  local pool = backend.open(moment.tls)
  return pool, reads(backend, pool)
end

acts.connect, acts.TLS, acts.auth = first, first, first

function acts.prepare(backend, fault, moment)
  local pool = backend.open(moment.tls)
  warm(backend, pool)
  strike(backend, fault, moment)
  return pool, together(CALLS, function(i) return backend.fresh(pool, i) end)
end

local writes = 0

acts["group in flight"] = function(backend, fault, moment)
  local pool = backend.open(moment.tls)
  warm(backend, pool)
  for i = 1, 20 do
    must(backend.read(pool, i))
    must(backend.write(pool, "warm" .. writes))
    writes = writes + 1
  end
  strike(backend, fault, moment)
  local base = writes
  local results = together(GROUP_READS + GROUP_WRITES, function(i)
    if i <= GROUP_READS then return backend.read(pool, i) end
    return backend.write(pool, "id" .. base + i)
  end)
  writes = writes + GROUP_READS + GROUP_WRITES
  for i = GROUP_READS + 1, #results do results[i].id = "id" .. base + i end
  return pool, results
end

function acts.idle(backend, fault, moment)
  local pool = backend.open(moment.tls)
  pool:set { statement_timeout = 5 * support.slowness } -- a test of a second is in it
  warm(backend, pool)
  if backend.name == "Postgres" then -- a read lane rests a second before it is idle
    eventually("no lane is left", function() return pool:stats().shared == 0 end)
  end
  if fault[1] == "cut" or fault[1] == "reset" then
    backend.proxy:say("drop %s", fault[1])
  else
    strike(backend, fault, moment)
    tide.sleep(0.1) -- longer than test_after: it is what idle means
  end
  return pool, reads(backend, pool)
end

function acts.release(backend, fault, moment)
  local pool = backend.open(moment.tls)
  pool:set { statement_timeout = 5 * support.slowness }
  warm(backend, pool)
  must(backend.leave_dirty(pool, function() strike(backend, fault, moment) end))
  return pool, reads(backend, pool)
end

function acts.cancel(backend, fault, moment)
  local pool = backend.open(moment.tls)
  pool:set { statement_timeout = 5 * support.slowness }
  warm(backend, pool)
  local given_up = backend.give_up(pool, function(scope)
    return strike(backend, fault, moment, scope)
  end)
  for _, result in ipairs(given_up) do
    assert.is_nil(result.ok)
    assert.are.equal("timeout", result.err.code)
  end
  return pool, reads(backend, pool)
end

-- ---- a cell

local function budget_of(kind, results)
  local limits = { none = 0, one = 1, writes = GROUP_WRITES + 1 }
  return limits[kind] or #results -- idle: all calls may be on the two lanes
end

-- libpq tells of a byte that begins no message as of an error without a SQLSTATE.
local function is_expected(err)
  return matrix.codes[err.code] or (err.code == "server" and err.sqlstate == nil)
end

local function check_results(backend, results, kind)
  local failed, failed_reads, last = 0, 0, nil
  for _, result in ipairs(results) do
    if not result.ok then
      failed, last = failed + 1, result.err
      assert.is_true(core.is_err(result.err), tostring(result.err))
      assert.is_true(is_expected(result.err), tostring(result.err))
      if not result.id then failed_reads = failed_reads + 1 end
      assert.is_true(kind ~= "writes" or failed_reads <= 1,
        "reads failed: " .. tostring(result.err))
    end
    if result.id then
      local count = backend.count(result.id)
      if result.ok or count > 1 then assert.are.equal(1, count) end
      if not result.ok and count == 1 then
        assert.are.equal("unknown", result.err.outcome, tostring(result.err))
      end
    end
  end
  assert.is_true(failed <= budget_of(kind, results),
    ("%d of %d failed, the last: %s"):format(failed, #results, tostring(last)))
  return failed
end

-- Seconds until the first read is answered.
local function recover(backend, pool)
  local began = core.now()
  eventually("it answers again", function() return backend.read(pool, 1) end,
    RECOVERY_SECONDS)
  return core.now() - began
end

local function check_rest(backend, pool, before)
  for _, result in ipairs(together(20, function(i) return backend.read(pool, i) end)) do
    assert.is_true(result.ok, tostring(result.err))
  end
  support.given_back(pool)
  local stats = pool:stats()
  assert.is_true(stats.open <= stats.max)
  pool:close(1)
  backend.tidy()
  eventually("the proxy has no connection", function()
    return backend.proxy:status().open == 0
  end)
  eventually("the server has no connection of ours", function()
    return backend.sessions() <= before.sessions
  end)
  eventually("all descriptors are back", function()
    return descriptors() <= before.descriptors
  end)
end

local function run_cell(backend, fault, moment, kind)
  local before = { descriptors = descriptors(), sessions = backend.sessions() }
  local hits = backend.proxy:status().hits
  local pool, results = acts[moment.name](backend, fault, moment)
  hits = backend.proxy:say("clear").hits - hits
  assert.is_true(hits > 0 or not STRIKES[fault[1]], "it has not struck")
  local seconds = recover(backend, pool)
  local failed = check_results(backend, results, kind)
  check_rest(backend, pool, before)
  counts.cells = counts.cells + 1
  counts.calls = counts.calls + #results
  counts.failed = counts.failed + failed
  counts.recovery[#counts.recovery + 1] = seconds
  print(("# cell %-8s %-15s %-10s %3d calls %3d failed (%s) recovered in %.3f s"):format(
    backend.name, moment.name, fault[1], #results, failed, kind, seconds))
end

-- Where the bytes of logging in are, for a connection of the matrix.
local function find_auth(backend)
  local before = backend.proxy:status()
  local pool = backend.open()
  eventually("one is open", function() return pool:stats().idle > 0 end)
  local after = backend.proxy:status()
  assert.are.equal(1, after.accepted - before.accepted)
  pool:close(1)
  local is_pg = backend.name == "Postgres"
  backend.auth_place = {
    up = is_pg and 100 or 0, down = is_pg and 40 or 0, after = after.down - before.down,
  }
end

for _, backend in ipairs { backends.postgres, backends.redis } do
  describe(backend.name .. ": a fault", function()
    local memory

    setup(function()
      backend.start()
      find_auth(backend)
    end)

    teardown(backends.stop)

    after_each(function()
      backend.proxy:say "clear"
      support.end_file() -- closes the pool of a cell that failed
    end)

    for _, moment in ipairs(matrix.moments) do
      for _, fault in ipairs(matrix.faults) do
        local kind = moment.budgets[fault[1]]
        local is_shared = matrix.share[backend.name][moment.name] == fault[1]
        if kind and (is_shared or not ONLY_SHARE) then
          it(("%s at %s: fails %s"):format(fault[1], moment.name, kind), function()
            run_cell(backend, fault, moment, kind)
            memory = memory or resident_kib() -- with what the first cell made for good
          end)
        end
      end
    end

    it("leaves memory as it was", function()
      local now = resident_kib()
      assert.is_true(now - memory < MEMORY_KIB, ("%d KiB, then %d"):format(memory, now))
    end)
  end)
end

describe("The matrix", function()
  it("has recovered each time", function()
    table.sort(counts.recovery)
    local list = counts.recovery
    print(("# %d cells, %d calls, %d failed; recovery: median %.3f s, longest %.3f s")
      :format(counts.cells, counts.calls, counts.failed,
        list[math.ceil(#list / 2)] or 0, list[#list] or 0))
    assert.are.equal(counts.cells, #list)
  end)
end)
