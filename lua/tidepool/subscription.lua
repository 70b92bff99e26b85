-- subscription.lua - one subscription's queue: messages to its handler, in order, each
-- in a task of its own, and what did not fit told as a gap.

local core = require "tidepool.core"

local QUEUE_MAX = 1000

local Subscription = {}
Subscription.__index = Subscription

local subscription = { QUEUE_MAX = QUEUE_MAX }

-- entry: what channels.lua knows of its channel; counts: those of all together.
function subscription.new(entry, fn, queue_max, counts)
  return setmetatable({
    entry = entry, fn = fn, counts = counts, queue_max = queue_max or QUEUE_MAX,
    first = 1, last = 0, is_running = false, is_closed = false,
    received = 0, dropped = 0, gaps = 0, failures = 0, last_gap = nil,
  }, Subscription)
end

local function take(self)
  local message = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  return message
end

local function describe(self)
  return self.entry.label .. " " .. self.entry.name
end

local deliver

-- What is next, once the task of a message has ended, however it did.
local function go_on(self)
  if self.first <= self.last and not self.is_closed then
    core.spawn(deliver, self)
  else
    self.is_running = false
  end
end

-- Hands over one message; the next one has the next task, so that whatever this one
-- holds is given back first.
function deliver(self)
  if self.is_closed then return end
  core.finally(function() go_on(self) end)
  local ok, failure = xpcall(self.fn, debug.traceback, take(self))
  if not ok then
    self.failures = self.failures + 1
    self.counts.failures = self.counts.failures + 1
    core.log("error", "a subscription's handler failed",
      { subscription = describe(self), error = tostring(failure) })
  end
end

local function append(self, message)
  self.last = self.last + 1
  self[self.last] = message
  if self.is_running then return end
  self.is_running = true
  core.spawn(deliver, self)
end

local function overflow(self)
  self.dropped = self.dropped + 1
  self.counts.dropped = self.counts.dropped + 1
  local newest = self[self.last]
  if newest and newest.dropped then
    newest.dropped = newest.dropped + 1
    return
  end
  core.log("warn", "messages are dropped: a subscription's handler is too slow",
    { subscription = describe(self), queue = self.queue_max })
  self:gap(("the handler was too slow: its queue of %d was full"):format(self.queue_max),
    1)
end

-- Tells the handler, in its place among the messages, that some may be missing.
function Subscription:gap(reason, dropped)
  if self.is_closed then return end
  self.gaps = self.gaps + 1
  self.counts.gaps = self.counts.gaps + 1
  self.last_gap = reason
  append(self, {
    channel = self.entry.channel, pattern = self.entry.pattern,
    gap = true, reason = reason, dropped = dropped,
  })
end

-- The gap stands where the first message was dropped; what comes later is dropped too
-- as long as the queue is full.
function Subscription:push(channel, payload)
  if self.is_closed then return end
  self.received = self.received + 1
  if self.last - self.first + 1 >= self.queue_max then return overflow(self) end
  append(self, { channel = channel, payload = payload, pattern = self.entry.pattern })
end

-- Nothing more is handed over; a handler that runs goes on to its end.
function Subscription:close()
  if self.is_closed then return false end
  self.is_closed = true
  self.dropped = self.dropped + self.last - self.first + 1
  for i = self.first, self.last do self[i] = nil end
  self.first, self.last = 1, 0
  self.entry:leave(self)
  return true
end

-- received, dropped, gaps, failures: counts; queued: waiting for the handler; last_gap:
-- a reason; live: the server has confirmed it; error: what the server refused it with.
function Subscription:stats()
  return {
    received = self.received, dropped = self.dropped, gaps = self.gaps,
    failures = self.failures, queued = self.last - self.first + 1,
    last_gap = self.last_gap, live = self.entry.is_confirmed and not self.is_closed,
    error = self.entry.refusal,
  }
end

return subscription
