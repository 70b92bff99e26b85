-- lock.lua - one function at a time among processes: a lease in Redis, or an advisory
-- lock of Postgres, with a number that grows from one holder to the next.
--
-- A child of the caller's task keeps the lock while another one runs the function.  The
-- keeper ends first when the lock is lost, and that cancels the function.

local core = require "tidepool.core"
local line = require "tidepool.line"
local options = require "tidepool.options"
local of = require("tidepool.result").of
local Task = require "tidepool.task"

local KNOWN = { redis = "redis", postgres = "postgres", ttl = "duration",
                timeout = "seconds" }
local TTL = 10
local FIRST_PAUSE, LAST_PAUSE = 0.005, 0.25 -- seconds between two tries
local FOREVER_MS = 1e11
local PROBE_SECONDS = 2 -- whether the session with a Postgres lock is still there

-- The number; or less than 0: after so many ms at most another's lease has ended.
local ACQUIRE = [[
if redis.call("EXISTS", KEYS[1]) == 1 then
  return math.min(-1, -redis.call("PTTL", KEYS[1]))
end
local fence = redis.call("INCR", KEYS[2])
redis.call("SET", KEYS[1], fence, "PX", ARGV[1])
return fence]]
local RENEW = [[
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])]]
local RELEASE = [[
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("DEL", KEYS[1])]]

local scripts_of = setmetatable({}, { __mode = "k" }) -- pool -> its scripts
-- pool -> name -> those of this process, of whom one at a time asks the server
local lines_of = setmetatable({}, { __mode = "k" })

local function scripts(redis)
  local found = scripts_of[redis]
  if not found then
    found = { acquire = redis:script(ACQUIRE), renew = redis:script(RENEW),
              release = redis:script(RELEASE) }
    scripts_of[redis] = found
  end
  return found
end

local function lost(name, why)
  return core.err("lost", ("lock %q was lost: %s"):format(name, why))
end

local function late(self)
  return nil, core.err("timeout", ("lock %q: %g s of waiting were not enough"):format(
    self.name, self.timeout), { retryable = true })
end

local function seconds_left(self)
  return self.limit and self.limit - core.now() or math.huge
end

-- ---- a lease in Redis

local function ask(self)
  local sent = core.now()
  local fence, err = self.scripts.acquire(self.keys, ("%d"):format(self.ttl * 1000))
  if not fence then return nil, err end
  if fence > 0 then self.fence, self.lease_end = fence, sent + self.ttl end
  return fence
end

-- In a task of its own, which nobody cancels: what it gets is known, to be given back.
local function try_acquire(self)
  self.attempt = core.spawn(ask, self)
  local ok, fence, err = self.attempt:wait()
  if not ok then error(fence, 0) end
  return fence, err
end

local function acquire(self)
  local pause = FIRST_PAUSE
  while true do
    local fence, err = try_acquire(self)
    if not fence then return nil, err end
    if fence > 0 then return fence end
    local left = seconds_left(self)
    if left <= 0 then return late(self) end
    of(core.sleep(math.min(pause * (0.5 + math.random() / 2), left,
      math.max(0.001, -fence / 1000))))
    pause = math.min(2 * pause, LAST_PAUSE)
  end
end

local function ask_to_renew(self)
  return self.scripts.renew({ self.keys[1] }, self.fence, ("%d"):format(self.ttl * 1000))
end

local function renew_once(self)
  local sent = core.now()
  local done, err = Task.timeout(math.max(0, self.lease_end - sent), ask_to_renew, self)
  if done == 0 then return nil, lost(self.name, "another has it, or its lease ended") end
  if done then
    self.lease_end = sent + self.ttl
  elseif core.now() >= self.lease_end then
    return nil, lost(self.name, "its lease could not be renewed: " .. tostring(err))
  end
  return true
end

-- Until the lease is lost: gives nil, err.  A third of its time goes by between two, so
-- that one may fail.
local function renew(self)
  while true do
    local pause = math.min(self.ttl / 3, self.lease_end - core.now())
    of(core.sleep(math.max(0.001, pause)))
    local ok, err = renew_once(self)
    if not ok then return nil, err end
  end
end

local function release(self)
  if self.attempt then self.attempt:wait() end
  if not self.fence then return end
  self.scripts.release({ self.keys[1] }, self.fence)
  self.fence = nil
end

-- In a child, until it is cancelled since the function has ended.
local function keep_redis(self, on_held)
  local fence, err = acquire(self)
  if not fence then return nil, err end
  on_held(fence)
  return renew(self)
end

-- ---- an advisory lock of Postgres

-- A transaction's number is larger than those of all that began to write before.
local FENCE = "SELECT pg_catalog.txid_current()::text AS fence"

local function keep_on(conn, self, on_held)
  local left = seconds_left(self)
  local done, err = conn:lock("tidepool:lock:" .. self.name,
    { timeout_ms = math.min(math.max(1, left * 1000), FOREVER_MS) })
  if not done then
    if err.code == "timeout" then return late(self) end
    return nil, err
  end
  local row
  row, err = conn:one(FENCE)
  if not row then return nil, err end
  on_held(tonumber(row.fence))
  while true do
    of(core.sleep(PROBE_SECONDS))
    row, err = conn:one "SELECT 1"
    if not row then return nil, lost(self.name, tostring(err)) end
  end
end

local function keep_postgres(self, on_held)
  return self.postgres:with(function(conn) return keep_on(conn, self, on_held) end)
end

-- ---- both

local function race(self, fn)
  local waiter, fence = core.waiter(), nil
  local keep = self.redis and keep_redis or keep_postgres
  return Task.race(function()
    return keep(self, function(number)
      fence = number
      waiter:wake()
    end)
  end, function()
    of(waiter:park())
    return fn(fence)
  end)
end

-- A task that was cancelled cannot wait for the server: another one does.
local function let_go(self)
  if self.redis and not pcall(release, self) then core.spawn(release, self) end
end

local function line_of(self)
  local pool, name = self.redis or self.postgres, self.name
  local lines = lines_of[pool] or {}
  lines_of[pool] = lines
  local found = lines[name]
  if not found then
    found = line.new(("lock %q"):format(name), function() lines[name] = nil end)
    lines[name] = found
  end
  return found
end

local function leave(self, call, ok, ...)
  let_go(self)
  call:leave()
  if not ok then error((...), 0) end
  return ...
end

local function check(name, opts, fn)
  if type(name) ~= "string" or name == "" then
    error("lock: a name expected, got " .. tostring(name), 3)
  end
  local self = options.read(opts, KNOWN, "lock", 3)
  if (self.redis == nil) == (self.postgres == nil) then
    error("lock: one of redis and postgres expected", 3)
  end
  if self.postgres and self.ttl then
    error("lock: ttl is for one with redis; Postgres' lasts as its session does", 3)
  end
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 3) end
  return self
end

local lock = {}

-- Runs fn(fence) while no other process holds the lock of this name.  fence: a number
-- that is larger than that of all who held it before.  opts: redis or postgres, ttl,
-- timeout.  Gives what fn gives; or nil, err: "lost" after cancelling fn.
function lock.lock(name, opts, fn)
  local self = check(name, opts, fn)
  self.name, self.ttl = name, self.ttl or TTL
  self.limit = self.timeout and core.now() + self.timeout
  if self.redis then
    local prefix = "tidepool:lock:{" .. name .. "}"
    self.scripts, self.keys = scripts(self.redis), { prefix, prefix .. ":fence" }
  end
  local own = line_of(self)
  local call = own:call()
  if not call then error("lock: this call waits, so it needs a task", 2) end
  if own:is_held_by(call) then
    error(("lock %q: this task holds it already"):format(name), 2)
  end
  local ok, err = own:enter(call, self.timeout)
  if not ok then return nil, err end
  return leave(self, call, pcall(race, self, fn))
end

return lock
