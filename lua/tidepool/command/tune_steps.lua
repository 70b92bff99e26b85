-- tune_steps.lua - the measuring of `tidepool tune`: callers, each of which runs the
-- statement again when it has the last answer, on a pool whose size grows step by step.

local advice = require "tidepool.command.tune_advice"
local alarm = require "tidepool.alarm"
local core = require "tidepool.core"
local tune_server = require "tidepool.command.tune_server"

local WARM_SHARE, WARM_MOST = 0.25, 0.5 -- of a step; seconds
local CONNECT_MOST = 5                  -- seconds more, while connections are opened
local LOOK_SECONDS = 0.02

-- Failures of a statement.  Any other tells that the server is gone.
local OF_STATEMENT = { server = true, timeout = true, lost = true }

-- ---- latencies, in buckets of which each is 2 % over the one before

local LOG_GROWTH = math.log(1.02)
local MICROSECOND = 1e-6

local function bucket_of(seconds)
  return math.max(0, math.floor(math.log(seconds / MICROSECOND) / LOG_GROWTH))
end

-- The latency that a share of them did not exceed.
local function quantile(buckets, last, count, share)
  local sum = 0
  for index = 0, last do
    sum = sum + (buckets[index] or 0)
    if sum >= count * share then
      return MICROSECOND * math.exp((index + 1) * LOG_GROWTH)
    end
  end
  return 0
end

-- ---- a step

local Step = {}
Step.__index = Step

local function new_step(at)
  return setmetatable({ at = at, buckets = {}, last = 0, answered = 0, errors = 0 }, Step)
end

function Step:count(seconds, err)
  if err ~= nil then
    self.errors = self.errors + 1
    self.error = self.error or err
    return
  end
  local index = bucket_of(seconds)
  self.buckets[index] = (self.buckets[index] or 0) + 1
  self.last = math.max(self.last, index)
  self.answered = self.answered + 1
end

local function call_again(step, call, on_gone)
  while not step.is_over do
    local began = core.now()
    local _, err = call()
    if step.is_counting then step:count(core.now() - began, err) end
    if err ~= nil and not OF_STATEMENT[err.code] then return on_gone(err) end
  end
end

local function result_of(step, seconds)
  return {
    at = step.at, rate = step.answered / seconds, calls = step.answered + step.errors,
    errors = step.errors, error = step.error and tostring(step.error),
    p50 = quantile(step.buckets, step.last, step.answered, 0.5),
    p99 = quantile(step.buckets, step.last, step.answered, 0.99),
  }
end

-- ---- a run of steps

local Run = {}
Run.__index = Run

-- Waits; less when the run is stopped.
function Run:pause(seconds)
  self.alarm:sleep(seconds)
end

-- Ends the run, for this reason.
function Run:stop(why)
  if self.why then return end
  self.why = why
  self.alarm:ring()
  for _, caller in ipairs(self.callers) do caller:cancel() end
end

function Run:warm_up(pool)
  self:pause(math.min(self.words.step * WARM_SHARE, WARM_MOST))
  local limit = core.now() + CONNECT_MOST
  while not self.why and pool:stats().opening > 0 and core.now() < limit do
    self:pause(LOOK_SECONDS)
  end
end

-- What is counted while the callers run; gives the step's result.
function Run:count(pool, step)
  local usage = self.server:usage()
  local sent = pool:stats().counters.shared_statements
  local began, cpu = core.now(), os.clock()
  step.is_counting = true
  self:pause(self.words.step)
  step.is_counting = false
  local seconds = core.now() - began
  local result = result_of(step, seconds)
  local stats = pool:stats()
  result.own_cpu = 100 * (os.clock() - cpu) / seconds
  result.server_cpu = usage and usage:percent()
  result.connections = stats.open
  result.on_lanes = math.min(1, (stats.counters.shared_statements - sent)
    / math.max(1, step.answered))
  return result
end

-- Runs the callers; gives the step's result, or nil when the run was stopped.
function Run:step(pool, at, call)
  local step = new_step(at)
  local function on_gone(err)
    self.is_gone = true
    self:stop(("the server was lost at %d: %s"):format(at, tostring(err)))
  end
  for i = 1, self.words.callers do
    self.callers[i] = core.spawn(call_again, step, call, on_gone)
  end
  self:warm_up(pool)
  local result = self:count(pool, step)
  step.is_over = true
  for _, caller in ipairs(self.callers) do caller:wait() end
  self.callers = {}
  return not self.why and result or nil
end

-- Why a pool of this size cannot be tried now, or nil.
function Run:why_no_room(pool, size)
  local room, err = self.server:room(pool:stats().open)
  if not room then
    self.is_gone = true
    self:stop(("the server was lost: %s"):format(tostring(err)))
    return self.why
  end
  if size > room then return ("the server has room for %d connections"):format(room) end
end

-- Why connections are missing, if attempts failed beyond so many; or nil.
local function why_not_connected(pool, failures)
  if pool:stats().counters.connect_failures > failures then
    return ("connections could not be opened: %s"):format(
      pool:stats().last_error or "no reason is known")
  end
end

-- Climbs a ladder: { name, values, last_why }.  settings(at) are the pool's, call(pool)
-- gives the function that callers call.
function Run:climb(ladder, settings, call)
  local pool = assert(tune_server.open_pool(self.words, "tuned", settings(1)))
  local steps, call_once = {}, call(pool)
  ladder.steps, ladder.why = steps, ladder.last_why
  for _, at in ipairs(ladder.values) do
    local why = self:why_no_room(pool, at)
    if not why then
      assert(pool:set(settings(at)))
      self.tell(ladder, at)
      local failures = pool:stats().counters.connect_failures
      steps[#steps + 1] = self:step(pool, at, call_once)
      why = self.why or why_not_connected(pool, failures) or advice.why_enough(steps)
    end
    ladder.why = why or ladder.why
    if why then break end
  end
  pool:close(0)
end

-- ---- the statement, as a lease and shared

local CALLS = { postgres = {}, redis = {} }

function CALLS.postgres.leased(pool, text)
  local statement = { text, share = false }
  return function() return pool:query(statement) end
end

function CALLS.postgres.shared(pool, text)
  return function() return pool:query(text) end
end

local function split(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

function CALLS.redis.leased(pool, text)
  local list = split(text)
  local function call(conn) return conn:call(unpack(list)) end
  return function() return pool:with(call) end
end

function CALLS.redis.shared(pool, text)
  local list = split(text)
  return function() return pool:call(unpack(list)) end
end

-- What a call that raised says, without its line.
local function sentence(failure)
  return (tostring(failure):gsub("^[^:%s]+:%d+: ", ""))
end

-- Runs a call once; gives nil, or the sentence that tells why it failed.
local function try(call)
  local ok, first, err = pcall(call)
  if not ok then return sentence(first) end
  return err and tostring(err)
end

local function writes(pool, text)
  local _, err = pool:transaction({ read_only = true }, function(tx)
    return tx:query(text)
  end)
  return err ~= nil and err.sqlstate == "25006"
end

-- Tries the statement: why it fails or nil, why it cannot be shared or nil.
function Run:try_statement()
  local words, calls = self.words, CALLS[self.words.kind]
  local pool = assert(tune_server.open_pool(words, "tried", { max_connections = 1 }))
  local wrong = try(calls.leased(pool, words.statement))
  local not_shared = not wrong and try(calls.shared(pool, words.statement)) or nil
  if not wrong and words.kind == "postgres" then
    self.is_writer = writes(pool, words.statement)
  end
  pool:close(0)
  return wrong, not_shared
end

-- ---- both ladders

-- The greatest size that may be tried, and why; or nil and why not one.
function Run:limit()
  local words = self.words
  local room, err = self.server:room(0)
  if not room then return nil, tostring(err) end
  if room < 1 then return nil, "it has no connection free" end
  if room < words.max and room < words.callers then
    return room, ("the server has room for %d connections"):format(room)
  elseif words.callers < words.max then
    return words.callers, ("--callers is %d: more connections than callers have no use")
      :format(words.callers)
  end
  return words.max, ("--max is %d"):format(words.max)
end

function Run:sizes(limit, why)
  self.ladders.sizes = {
    name = "leases, max_connections", values = advice.sizes(limit), last_why = why,
  }
  self:climb(self.ladders.sizes, function(at) return { max_connections = at } end,
    function(pool) return CALLS[self.words.kind].leased(pool, self.words.statement) end)
end

function Run:lanes(limit, why)
  self.ladders.lanes = {
    name = "shared, lanes", values = advice.lanes(core.cores(), limit), last_why = why,
  }
  self:climb(self.ladders.lanes, function(at)
    return { max_connections = at, lanes = at }
  end, function(pool)
    return CALLS[self.words.kind].shared(pool, self.words.statement)
  end)
end

local tune_steps = {}

-- A run on a server of tune_server.open().  tell(ladder, at) hears of each step.
function tune_steps.new(words, server, tell)
  return setmetatable({ words = words, server = server, tell = tell, callers = {},
                        alarm = alarm.new(), ladders = {} }, Run)
end

-- Measures.  Afterwards ladders has sizes and perhaps lanes, each with steps and why it
-- ended; not_shared is why lanes were not tried, why is why the run was stopped, is_gone
-- whether that was the server.  Returns true, or nil and a sentence when it cannot begin.
function Run:measure()
  local limit, why = self:limit()
  if not limit then return nil, why end
  local wrong
  wrong, self.not_shared = self:try_statement()
  if wrong then return nil, "the statement failed: " .. wrong end
  self:sizes(limit, why)
  if not self.why and not self.not_shared then self:lanes(limit, why) end
  return true
end

return tune_steps
