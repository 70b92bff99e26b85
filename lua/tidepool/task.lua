-- task.lua - tasks that run at the same time and end together.

local core = require "tidepool.core"
local result = require "tidepool.result"
local standing = require "tidepool.standing"

local of = result.of
local spawn_children, next_child = core.spawn_children, core.next_child
local await_children, take_children = core.await_children, core.take_children
local stop_children = core.stop_children
local Task = {}

local function check_seconds(seconds, level)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < 1e9) then
    error("seconds, from 0 on, expected, got " .. tostring(seconds), level + 1)
  end
end

-- Parks the task for so many seconds.
function Task.sleep(seconds)
  check_seconds(seconds, 2)
  return of(core.sleep(seconds))
end

-- Starts fn(...) as a task of its own, which nobody waits for: its error is logged.
-- Gives a handle: task:wait() gives true and its results or false and its error,
-- task:cancel(), task:done(); or nil, err (busy) when there are too many.
function Task.spawn(fn, ...)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  local why = core.refusal()
  if why then return nil, core.err("busy", why, { retryable = true }) end
  return core.spawn(standing.own(fn), ...)
end

local function functions_of(first, ...)
  if type(first) == "table" then return first end
  return { first, ... }
end

local function start(fns)
  for i = 1, #fns do
    if type(fns[i]) ~= "function" then
      error("function " .. i .. " expected, got " .. type(fns[i]), 3)
    end
  end
  return spawn_children(fns)
end

local function pack_child(index, ok, ...)
  return index, ok, select("#", ...), ...
end

local function end_of_one(index, ok, count, ...)
  return index, ok, count, { ... }
end

local function await_child(seconds)
  return end_of_one(pack_child(of(next_child(seconds))))
end

-- Runs the functions at the same time.  Gives the first result of each, in their order,
-- as values or, for a list of functions, as a list; or nil, err of the first failure,
-- after cancelling the rest.  An error that is no err is raised again.
function Task.all(...)
  local fns = functions_of(...)
  local count = start(fns)
  of(await_children())
  local results = {}
  local failure, is_raised = take_children(results)
  if is_raised ~= nil then
    of(stop_children())
    if is_raised and not core.is_err(failure) then error(failure, 0) end
    return nil, failure
  end
  if type((...)) == "table" then return results end
  return unpack(results, 1, count)
end

-- Runs the functions at the same time; gives the results of the first that ends, be
-- they nil, err, and cancels the rest.
function Task.race(...)
  if start(functions_of(...)) == 0 then error("a race needs a function", 2) end
  local _, ok, count, values = await_child()
  of(stop_children())
  if not ok and not core.is_err(values[1]) then error(values[1], 0) end
  if not ok then return nil, values[1] end
  return unpack(values, 1, count)
end

-- Runs fn(...) for at most so many seconds; gives its results, or nil, err with code
-- "timeout" after cancelling it.
function Task.timeout(seconds, fn, ...)
  check_seconds(seconds, 2)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  core.spawn_child(fn, ...)
  local index, ok, count, values = await_child(seconds)
  if index == nil then
    of(stop_children())
    return nil, core.err("timeout", ("the call took longer than %g s"):format(seconds),
      { retryable = true })
  end
  if not ok and not core.is_err(values[1]) then error(values[1], 0) end
  if not ok then return nil, values[1] end
  return unpack(values, 1, count)
end

local Ticker = {}
Ticker.__index = Ticker

-- In a child, so that one that is ended for its budget does not end all.
local function call_once(fn)
  local ok, failure = xpcall(fn, debug.traceback)
  if not ok then error(failure, 0) end
  return true
end

local function is_cancelled(failure)
  return core.is_err(failure) and failure.code == "cancelled"
end

function Ticker:run()
  local once = { function() return call_once(self.fn) end }
  local due = core.now() + self.seconds
  while not self.is_closed do
    self.is_waiting = true
    of(core.sleep(math.max(0, due - core.now())))
    self.is_waiting = false
    local ok, done, err = pcall(Task.all, once)
    local failure = ok and err or done
    if not (ok and done) and not is_cancelled(failure) then
      core.log("error", "tide.every failed", { error = tostring(failure) })
    end
    due = math.max(due + self.seconds, core.now())
  end
end

function Ticker:start()
  local ok, failure = pcall(self.run, self)
  standing.remove(self)
  if not ok then error(failure, 0) end
end

-- For good; a run goes on to its end.
function Ticker:close()
  self.is_closed = true
  standing.remove(self)
  if self.is_waiting then self.task:cancel() end
end

-- Runs fn() every so many seconds, the first time after that time, never twice at once;
-- an error is logged and does not end it.  Gives a task: task:cancel() ends it.
function Task.every(seconds, fn)
  check_seconds(seconds, 2)
  if seconds == 0 then error("seconds above 0 expected", 2) end
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  local ticker = setmetatable({ seconds = seconds, fn = fn }, Ticker)
  ticker.task = core.spawn(Ticker.start, ticker)
  standing.add(ticker, fn)
  return ticker.task
end

return Task
