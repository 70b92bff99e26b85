-- redis_consumer.lua - a task that works on a stream as one consumer of a group: new
-- entries, what it had before it ended the last time, and what others left.

local child = require "tidepool.child"
local core = require "tidepool.core"
local of = require("tidepool.result").of
local options = require "tidepool.options"
local redis_stream = require "tidepool.redis_stream"
local standing = require "tidepool.standing"
local Task = require "tidepool.task"

local BACKOFF_MIN, BACKOFF_MAX = 0.05, 1

local Consumer = {}
Consumer.__index = Consumer

local function log(self, level, event, fields)
  fields.pool, fields.stream, fields.group = self.pool:name(), self.stream, self.group
  core.log(level, event, fields)
end

-- ---- one entry

local function acknowledge(self, entry)
  local _, err = self.server:ack(entry.id)
  if not err then
    self.done[entry.id] = nil
    return true
  end
  self.done[entry.id] = true -- its work is done: it is not done again
  return nil, err
end

local function give_up(self, entry, cause)
  local failure = child.failure_of(self.on_failure, entry, cause)
  if failure ~= nil then
    log(self, "error", "on_failure failed: the entry stays pending",
      { id = entry.id, error = tostring(failure) })
    return true
  end
  self.counts.given_up = self.counts.given_up + 1
  return acknowledge(self, entry)
end

-- Entries that failed so often that they are not tried again.
local function is_poison(self, deliveries)
  return self.on_failure ~= nil and deliveries >= self.max_deliveries
end

local function work(self, entry)
  if self.done[entry.id] or entry.fields == nil then return acknowledge(self, entry) end
  if is_poison(self, entry.deliveries - 1) then
    return give_up(self, entry, core.err("timeout",
      ("delivered %d times and never acknowledged"):format(entry.deliveries - 1)))
  end
  local failure = child.failure_of(self.fn, entry)
  if failure == nil then
    self.counts.handled = self.counts.handled + 1
    return acknowledge(self, entry)
  end
  self.counts.failed = self.counts.failed + 1
  log(self, "warn", "an entry failed", { id = entry.id,
    deliveries = entry.deliveries, error = tostring(failure) })
  if is_poison(self, entry.deliveries) then return give_up(self, entry, failure) end
  return true
end

local function work_on(self, entries)
  for _, entry in ipairs(entries) do
    if self.is_closed then return true end
    local ok, err = work(self, entry)
    if not ok then return nil, err end
  end
  return true
end

-- ---- the loop

local function work_again(self, entries)
  local ok, err = self.server:count_deliveries(entries)
  if not ok then return nil, err end
  return work_on(self, entries)
end

-- What it was given before and did not acknowledge: before a crash, before a lost reply.
local function recover(self)
  local id = "0"
  while not self.is_closed do
    local entries, err = self.server:read(id)
    if not entries then return nil, err end
    if #entries == 0 then return true end
    self.counts.recovered = self.counts.recovered + #entries
    id = entries[#entries].id
    local ok
    ok, err = work_again(self, entries)
    if not ok then return nil, err end
  end
  return true
end

local function claim(self)
  local cursor = "0-0"
  while cursor and not self.is_closed do
    local entries, more = self.server:claim(cursor)
    if not entries then return nil, more end
    self.counts.claimed = self.counts.claimed + #entries
    local ok, err = work_again(self, entries)
    if not ok then return nil, err end
    cursor = more
  end
  self.claim_at = core.now() + self.min_idle / 2
  return true
end

local function read_new(self)
  local seconds = math.max(0.001, math.min(self.block, self.claim_at - core.now()))
  self.is_waiting = true
  local entries, err = self.server:read(">", seconds)
  self.is_waiting = false
  if not entries then return nil, err end
  return work_on(self, entries)
end

local function step(self)
  if not self.is_ready then
    local ok, err = self.server:ensure()
    if ok then ok, err = recover(self) end
    if not ok then return nil, err end
    self.is_ready, self.last_error = true, nil
  end
  if core.now() >= self.claim_at then
    local ok, err = claim(self)
    if not ok then return nil, err end
  end
  if self.is_closed then return true end
  return read_new(self)
end

local function note_error(self, err)
  self.is_ready = false
  self.counts.errors = self.counts.errors + 1
  self.last_error = err
  if self.told_of == err.message then return end
  self.told_of = err.message
  log(self, "warn", "a consumer is held up", { error = err.message })
end

local function run(self)
  local pause = BACKOFF_MIN
  while not self.is_closed do
    local ok, err = step(self)
    if ok then
      pause, self.told_of = BACKOFF_MIN, nil
    else
      note_error(self, err)
      self.is_waiting = true
      of(core.sleep(pause * (0.5 + math.random() / 2)))
      self.is_waiting = false
      pause = math.min(pause * 2, BACKOFF_MAX)
    end
  end
end

-- ---- for scripts

-- Ends it: the entry that runs is finished, those fetched with it stay pending.
function Consumer:close()
  if self.is_closed then return false end
  self.is_closed = true
  standing.remove(self)
  self.on_end(self)
  if self.is_waiting then self.task:cancel() end
  return true
end

-- Parks until it has ended: after close().
function Consumer:wait()
  of(self.task:wait())
  return true
end

-- Counts: handled, failed, given_up (to on_failure), recovered, claimed, errors (of the
-- server); last_error while it is held up.
function Consumer:stats()
  local stats = { stream = self.stream, group = self.group, consumer = self.consumer,
    last_error = self.last_error }
  for name, value in pairs(self.counts) do stats[name] = value end
  return stats
end

-- Ends it, within so many seconds at the latest.
function Consumer:stop(seconds)
  self:close()
  Task.timeout(math.max(0.001, seconds), self.wait, self)
  self.task:cancel()
  self:wait()
end

-- ---- options

local function hostname()
  local file = io.open "/proc/sys/kernel/hostname"
  local name = file and file:read "*l" or "host"
  if file then file:close() end
  return name
end

local last_number = 0

-- Of nobody else's: a consumer takes up what its name was given before.
local function own_name()
  last_number = last_number + 1
  return ("%s-%d-%d"):format(hostname(), core.pid(), last_number)
end

local function is_text(value) return type(value) == "string" and value ~= "" end

local function is_seconds(value)
  return type(value) == "number" and value > 0 and value < 1e6
end

local function is_count(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0
end

local function is_function(value) return type(value) == "function" end

local TEXT, SECONDS = { is_text, "a string" }, { is_seconds, "seconds above 0" }
local COUNT = { is_count, "a whole number from 1 on" }

local OPTIONS = {
  stream = TEXT, group = TEXT, consumer = TEXT, start = TEXT, count = COUNT,
  block = SECONDS, min_idle = SECONDS, max_deliveries = COUNT,
  on_failure = { is_function, "a function" },
}

local DEFAULTS = { count = 10, block = 5, min_idle = 60, max_deliveries = 5, start = "0" }

local function check_options(opts, level)
  options.check_pairs(opts, OPTIONS, level + 1)
  for _, name in ipairs { "stream", "group" } do
    if opts[name] == nil then error(name .. ": a string expected, got nil", level + 1) end
  end
  if opts.max_deliveries and not opts.on_failure then
    error("max_deliveries needs on_failure, which gets what failed so often", level + 1)
  end
end

local redis_consumer = {}

-- For pool:consume(opts, fn); on_end(consumer) is told of close().  level: of its caller.
function redis_consumer.start(pool, opts, fn, on_end, level)
  check_options(opts, level + 1)
  if not is_function(fn) then error("function expected, got " .. type(fn), level + 1) end
  if pool:settings().max_connections == 1 then
    return pool:raw_fail("badarg", ("a consumer waits on a connection of its own, and "
      .. "max_connections of pool %s is 1: set 2 or more"):format(pool:name()))
  end
  local self = setmetatable({
    pool = pool, fn = fn, on_end = on_end, done = {}, claim_at = 0,
    counts = { handled = 0, failed = 0, given_up = 0, recovered = 0, claimed = 0,
      errors = 0 },
  }, Consumer)
  for name, value in pairs(DEFAULTS) do self[name] = value end
  for name, value in pairs(opts) do self[name] = value end
  self.consumer = self.consumer or own_name()
  self.server = redis_stream.new {
    pool = pool, stream = self.stream, group = self.group, consumer = self.consumer,
    start = self.start, count = self.count, min_idle = self.min_idle,
  }
  self.task = core.spawn(run, self)
  standing.add(self, fn)
  return self
end

return redis_consumer
