-- memo.lua - what a function gave by key, kept for a while: one load of a key at a time,
-- for which others wait; old values while a new one is loaded; nil for a while too.

local core = require "tidepool.core"
local line = require "tidepool.line"
local memo_shared = require "tidepool.memo_shared"
local options = require "tidepool.options"

local KNOWN = {
  load = "fn", ttl = "seconds", stale = "seconds", stale_if_error = "seconds",
  negative_ttl = "seconds", max_entries = "count", max_waiting = "count",
  redis = "redis", name = "name", lease = "duration",
}
local DEFAULTS = {
  ttl = 60, stale = 0, stale_if_error = 0, negative_ttl = 0, max_entries = 10000,
  max_waiting = 1000, lease = 10,
}

local JITTER = 0.1 -- values kept at one time do not end at one time
local RETRY_SECONDS = 1 -- between two loads behind a stale value

local Memo = {}
Memo.__index = Memo

-- ---- entries, the one that was asked for last first

local function unlink(self, entry)
  local before, after = entry.before, entry.after
  if before then before.after = after else self.first = after end
  if after then after.before = before else self.last = before end
  entry.before, entry.after = nil, nil
end

local function push_first(self, entry)
  entry.after = self.first
  if self.first then self.first.before = entry else self.last = entry end
  self.first = entry
end

local function drop(self, entry)
  unlink(self, entry)
  self.entries[entry.key] = nil
  self.count = self.count - 1
end

local function touch(self, entry)
  if self.first == entry then return end
  unlink(self, entry)
  push_first(self, entry)
end

-- ttl: as the second level says it, or nil.
local function keep(self, key, value, ttl)
  local old = self.entries[key]
  if old then drop(self, old) end
  local is_nil = value == nil
  local most = is_nil and self.negative_ttl or self.ttl
  local seconds = math.min(ttl or most, most) * (1 - JITTER * math.random())
  if seconds <= 0 then return end
  local fresh_until = core.now() + seconds
  local entry = {
    key = key, value = value, fresh_until = fresh_until, retry_at = 0,
    stale_until = fresh_until + (is_nil and 0 or self.stale),
    error_until = fresh_until + (is_nil and 0 or self.stale_if_error),
  }
  self.entries[key] = entry
  push_first(self, entry)
  self.count = self.count + 1
  if self.count > self.max_entries then
    drop(self, self.last)
    self.evictions = self.evictions + 1
  end
end

-- ---- loading: one flight for a key, in the task of the first who asks

local function end_flight(self, key, flight, outcome)
  if self.flights[key] == flight then self.flights[key] = nil end
  flight.outcome = outcome
  flight:tell()
end

-- What those who asked get when loading failed.
local function after_failure(self, key, err)
  self.errors, self.last_error = self.errors + 1, tostring(err)
  local entry = self.entries[key]
  if entry and core.is_err(err) and core.now() < entry.error_until then
    self.stale_count = self.stale_count + 1
    return { value = entry.value }
  end
  return { err = err }
end

local function outcome_of(self, key, flight, ok, value, err, ttl)
  self.loads = self.loads + 1
  if not ok then value, err = nil, value end
  if value == nil and err ~= nil then
    local outcome = after_failure(self, key, err)
    outcome.is_raised = outcome.err ~= nil and not core.is_err(err)
    return outcome
  end
  if not flight.is_outdated then keep(self, key, value, ttl) end
  return { value = value }
end

local function give(outcome)
  if outcome.is_raised then error(outcome.err, 0) end
  return outcome.value, outcome.err
end

local function is_cancelled(ok, value, err)
  local failure = not ok and value or value == nil and err
  return core.is_err(failure) and failure.code == "cancelled"
end

-- After the loader's end.  One that was cancelled leaves it to the next who waits.
local function land(self, key, flight, call, ok, ...)
  if is_cancelled(ok, ...) then
    call:leave()
    if not ok then error((...), 0) end
    return ...
  end
  local outcome = outcome_of(self, key, flight, ok, ...)
  end_flight(self, key, flight, outcome)
  call:leave()
  return give(outcome)
end

-- The loader's task was ended, as for its budget: it would end those who wait as well.
local function crash(self, key, flight)
  return function(call)
    self.errors = self.errors + 1
    local err = core.err("budget", flight.label .. ": the task that loaded it was ended")
    end_flight(self, key, flight, { err = err })
    call:leave()
  end
end

local function flight_of(self, key)
  local flight = self.flights[key]
  if flight then return flight end
  flight = line.new(options.label(self.label, key), function(empty)
    if self.flights[key] == empty then self.flights[key] = nil end
  end)
  self.flights[key] = flight
  return flight
end

local function busy(flight)
  return core.err("busy", ("%s: %d wait for it already"):format(flight.label,
    flight.count), { retryable = true })
end

local function load(self, key, ...)
  local flight = flight_of(self, key)
  local call = flight:call()
  if flight:is_held_by(call) then
    error(flight.label .. ": its loader asks for itself", 3)
  end
  if flight.count >= self.max_waiting then
    self.refused = self.refused + 1
    return nil, busy(flight)
  end
  local ok, err = flight:enter(call, nil, crash(self, key, flight))
  if not ok then return nil, err end
  if not call.is_holding then return give(flight.outcome) end
  return land(self, key, flight, call, pcall(self.load, key, ...))
end

-- Loads anew, behind a value that is old; in a task that is the script's.
local function refresh(self, key, entry, now, ...)
  if now < entry.retry_at or self.flights[key] or core.refusal() then return end
  entry.retry_at = now + RETRY_SECONDS
  core.spawn(setfenv(function(...)
    local value, err = load(self, key, ...)
    return value, err
  end, getfenv(self.fn)), ...)
end

-- ---- what scripts call

-- The value of key; what is not there fn(key, ...) loads.  nil, err when that failed.
function Memo:get(key, ...)
  options.check_key(key, self.label, 2)
  local entry, now = self.entries[key], core.now()
  if entry and now < entry.fresh_until then
    self.hits = self.hits + 1
    touch(self, entry)
    return entry.value
  end
  if entry and now < entry.stale_until then
    self.stale_count = self.stale_count + 1
    touch(self, entry)
    refresh(self, key, entry, now, ...)
    return entry.value
  end
  if not core.task_ids() then
    error(self.label .. ": this call waits, so it needs a task", 2)
  end
  self.misses = self.misses + 1
  local value, err = load(self, key, ...)
  return value, err
end

-- Forgets what is kept of key, in Redis too; what is being loaded for it is not kept.
-- Gives true; or nil, err when Redis did not answer.
function Memo:forget(key)
  options.check_key(key, self.label, 2)
  local entry, flight = self.entries[key], self.flights[key]
  if entry then drop(self, entry) end
  if flight then
    flight.is_outdated = true
    self.flights[key] = nil
  end
  if not self.shared then return true end
  local done, err = self.shared:forget(key)
  return done, err
end

local function waiting(self)
  local count = 0
  for _, flight in pairs(self.flights) do count = count + flight.count end
  return count
end

function Memo:stats()
  local shared = self.shared or {}
  return {
    hits = self.hits, misses = self.misses, loads = self.loads,
    stale = self.stale_count, errors = self.errors, refused = self.refused,
    evictions = self.evictions, entries = self.count, waiting = waiting(self),
    shared_hits = shared.hits, away = shared.away, last_error = self.last_error,
  }
end

-- ---- making one

local function new(opts, fn, level)
  opts = options.read(opts, KNOWN, "memo", level + 1)
  fn = fn or opts.load
  if type(fn) ~= "function" then
    error("memo: a function that loads expected, got " .. type(fn), level + 1)
  end
  if opts.redis and not opts.name then
    error("memo: with redis it needs a name, for its keys", level + 1)
  end
  local self = { entries = {}, flights = {}, count = 0, hits = 0, misses = 0, loads = 0,
    stale_count = 0, errors = 0, refused = 0, evictions = 0, fn = fn, load = fn,
    label = opts.name and "memo " .. opts.name or "memo" }
  for name, value in pairs(DEFAULTS) do
    self[name] = opts[name] == nil and value or opts[name]
  end
  if opts.redis then
    self.shared = memo_shared.new(opts.redis, opts.name, self)
    self.load = function(key, ...) return self.shared:load(key, ...) end
  end
  return setmetatable(self, Memo)
end

local memo = {}

-- memo{ load = fn, ... } or memo(opts, fn): fn(key, ...) by key, kept for ttl seconds.
function memo.memo(opts, fn)
  local made = new(opts, fn, 2)
  return made
end

return memo
