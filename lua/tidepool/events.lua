-- events.lua - tide.on: functions of scripts that are told what pools do.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local standing = require "tidepool.standing"

local QUEUE_MAX = 1000
local LONG = 3600 -- seconds; the wait begins anew

local names = core.event_names()
names[#names + 1] = "policy_changed"
table.sort(names)
local handlers = {} -- event to a list of Handlers
for _, name in ipairs(names) do handlers[name] = {} end

local counts = { delivered = 0, dropped = 0, failures = 0 }
local ear -- core.events(), from the first tide.on
local hearer -- the task that hears
local open_count = 0

local Handler = { stands_still = true }
Handler.__index = Handler

local deliver

-- What is next, once the task of an event has ended, however it did.
local function go_on(self)
  if self.first <= self.last and not self.is_closed then
    core.spawn(deliver, self)
  else
    self.is_running = false
  end
end

-- One event, in a task of its own; the next one has the next task.
function deliver(self)
  if self.is_closed then return end
  core.finally(function() go_on(self) end)
  local event = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.delivered, counts.delivered = self.delivered + 1, counts.delivered + 1
  local ok, failure = xpcall(self.fn, debug.traceback, event)
  if not ok then
    self.failures, counts.failures = self.failures + 1, counts.failures + 1
    core.log("error", "a function of tide.on failed",
      { event = self.event, error = tostring(failure) })
  end
end

local function push(self, event)
  if self.last - self.first + 1 >= QUEUE_MAX then
    self.dropped, counts.dropped = self.dropped + 1, counts.dropped + 1
    return
  end
  local own = {}
  for key, value in pairs(event) do own[key] = value end
  self.last = self.last + 1
  self[self.last] = own
  if self.is_running then return end
  self.is_running = true
  core.spawn(deliver, self)
end

-- Tells what happened, until nobody wants to hear any more.
local function hear()
  while open_count > 0 do
    local events, dropped = of(ear:raw_hear(LONG))
    if dropped > 0 then
      counts.dropped = counts.dropped + dropped
      core.log("warn", "events are dropped: too many at once", { dropped = dropped })
    end
    for _, event in ipairs(events) do
      for _, handler in ipairs(handlers[event.event]) do push(handler, event) end
    end
  end
end

local function begin()
  open_count = open_count + 1
  ear = ear or core.events()
  ear:listen(true)
  if not hearer or hearer:done() then hearer = core.spawn(hear) end
end

-- The function is not called again; one that runs goes on to its end.
function Handler:close()
  if self.is_closed then return false end
  self.is_closed = true
  local list = handlers[self.event]
  for i = #list, 1, -1 do
    if list[i] == self then table.remove(list, i) end
  end
  open_count = open_count - 1
  if open_count == 0 then ear:listen(false) end
  standing.remove(self)
  return true
end

-- delivered, dropped, failures: counts; queued: waiting for the function.
function Handler:stats()
  return {
    delivered = self.delivered, dropped = self.dropped, failures = self.failures,
    queued = self.is_closed and 0 or self.last - self.first + 1,
  }
end

local events = {}

-- Calls fn(event) for each such event of any pool, in order; gives what close() ends.
function events.on(name, fn)
  local list = handlers[name]
  if not list then
    error(("unknown event: %s; there are %s"):format(tostring(name),
      table.concat(names, ", ")), 2)
  end
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  local handler = setmetatable({
    event = name, fn = fn, first = 1, last = 0, is_running = false, is_closed = false,
    delivered = 0, dropped = 0, failures = 0,
  }, Handler)
  begin()
  list[#list + 1] = handler
  standing.add(handler, fn)
  return handler
end

-- What there is to be told of.
function events.names() return { unpack(names) } end

-- Tells an event that is none of the pools' own.
function events.tell(event)
  for _, handler in ipairs(handlers[event.event]) do push(handler, event) end
end

-- Of all functions together.
function events.counts() return counts end

return events
