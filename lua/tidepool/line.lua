-- line.lua - a line of tasks for something that one of them holds at a time, first come
-- first served; and no task waits for one that waits for it.
--
-- Who holds it may hand it down: a child of the holder, for which that one waits, enters
-- at once, and other children of it wait until this one leaves.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local waits_of = {} -- task id -> calls in which it waits, or children of it do

local Line = {}
Line.__index = Line

-- One task's place in a line, or what it holds.  ids: its own, its parent's and so on.
local Call = {}
Call.__index = Call

-- ---- the queue, a list so that whoever gives up leaves from the middle

local function append(self, call)
  call.before = self.last
  if self.last then self.last.after = call else self.first = call end
  self.last, self.count = call, self.count + 1
  for _, id in ipairs(call.ids) do
    local calls = waits_of[id] or {}
    waits_of[id] = calls
    calls[call] = true
  end
end

local function remove(self, call)
  local before, after = call.before, call.after
  if before then before.after = after else self.first = after end
  if after then after.before = before else self.last = before end
  call.before, call.after, self.count = nil, nil, self.count - 1
  for _, id in ipairs(call.ids) do
    waits_of[id][call] = nil
    if next(waits_of[id]) == nil then waits_of[id] = nil end
  end
end

-- ---- holding

local function is_of(call, id)
  for _, own in ipairs(call.ids) do
    if own == id then return true end
  end
  return false
end

local function may_enter(self, call)
  local newest = self.holders[#self.holders]
  return newest == nil or is_of(call, newest.ids[1])
end

local function hold(self, call)
  self.holders[#self.holders + 1] = call
  call.is_holding = true
end

-- Those who may enter now do.
local function serve(self)
  local call = self.first
  while call and not may_enter(self, call) do call = call.after end
  if call then
    remove(self, call)
    hold(self, call)
    call.waiter:wake()
  elseif #self.holders == 0 and self.on_empty then
    self.on_empty(self)
  end
end

-- Gives it to the next in line; once, whoever says so.
function Call:leave()
  if not self.is_holding then return end
  self.is_holding = false
  if self.ending then self.ending:forget() end
  local holders = self.line.holders
  for i = #holders, 1, -1 do
    if holders[i] == self then table.remove(holders, i) end
  end
  serve(self.line)
end

-- ---- waiting

-- The line that mine holds and for which, in the end, the holders of call's line wait;
-- or nil.  What a child waits for its parent waits for too.
local function circle(call, mine, seen)
  if seen[call] then return nil end
  seen[call] = true
  for _, holder in ipairs(call.line.holders) do
    local id = holder.ids[1]
    if not is_of(call, id) then
      if is_of(mine, id) then return call.line end
      for waiting in pairs(waits_of[id] or {}) do
        local found = circle(waiting, mine, seen)
        if found then return found end
      end
    end
  end
end

local function park(waiter, seconds) return of(waiter:park(seconds)) end

-- Waits in line; true, or nil, err.  What raises is that the task was cancelled.
local function wait(self, call, seconds)
  call.waiter = core.waiter()
  append(self, call)
  local ok, failure = pcall(park, call.waiter, seconds)
  if ok and (call.is_holding or call.is_told) then return true end
  if call.is_holding then
    call:leave()
  elseif not call.is_told then
    remove(self, call)
  end
  if not ok then error(failure, 0) end
  return nil, core.err("timeout", ("%s: %g s in line were not enough"):format(
    self.label, seconds), { retryable = true })
end

-- The running task's call, which holds nothing yet; nil where no task runs.
function Line:call()
  local ids = { core.task_ids() }
  return ids[1] and setmetatable({ line = self, ids = ids }, Call)
end

-- Whether the running task holds it, itself or through one it is a child of.
function Line:is_held_by(call)
  for _, holder in ipairs(self.holders) do
    if is_of(call, holder.ids[1]) then return true end
  end
  return false
end

-- Holds the line for the running task, from its place in line on; until call:leave(), or
-- on_end(call), which is called in its place when the task ends without.  Gives true; or
-- nil, err: timeout, or busy for a circle.  After tell() it may be true while call
-- .is_holding is not.
function Line:enter(call, seconds, on_end)
  if may_enter(self, call) then
    hold(self, call)
  else
    local held = circle(call, call, {})
    if held then
      return nil, core.err("busy", ("%s: dead-lock: whoever holds it waits for %s, "
        .. "which this task holds"):format(self.label, held.label), { retryable = true })
    end
    local ok, err = wait(self, call, seconds)
    if not ok then return nil, err end
  end
  if call.is_holding then
    call.ending = core.at_task_end(function()
      call.ending = nil
      (on_end or call.leave)(call)
    end)
  end
  return true
end

-- All who wait go on without holding it.
function Line:tell()
  local call = self.first
  while call do
    local after = call.after
    remove(self, call)
    call.is_told = true
    call.waiter:wake()
    call = after
  end
end

local line = {}

-- label: its name in messages.  on_empty(line) is called when nobody holds it, nor waits.
function line.new(label, on_empty)
  return setmetatable({ label = label, on_empty = on_empty, holders = {}, count = 0 },
    Line)
end

return line
