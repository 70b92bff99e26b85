-- queue_worker.lua - a consumer of a job queue: takes what is due, runs it in tasks, and
-- says what became of it.

local alarm = require "tidepool.alarm"
local child = require "tidepool.child"
local core = require "tidepool.core"
local of = require("tidepool.result").of
local queue_table = require "tidepool.queue_table"
local reply = require "tidepool.reply"
local standing = require "tidepool.standing"

local POLL = 5 -- seconds, where nobody tells of a job
local BACKOFF_MIN, BACKOFF_MAX = 0.05, 2
local RETRY_MAX = 3600
local ERROR_MAX = 1000 -- bytes of an error that are kept in the table

local Worker = {}
Worker.__index = Worker

local function log(self, level, event, fields)
  fields.queue = self.name
  core.log(level, event, fields)
end

-- ---- one job

-- What cannot be said to the server is not: the job comes again.
local function settle(self, counter, met, err)
  if not met then
    counter = "errors"
    self.last_error = err
  elseif met == 0 then
    counter = "lost"
  end
  self.counts[counter] = self.counts[counter] + 1
end

local function delay_after(self, job)
  local seconds = self.backoff * 2 ^ math.min(job.attempts - 1, 30)
  return math.min(seconds, RETRY_MAX) * (0.75 + math.random() / 4)
end

local function fail(self, job, failure)
  local why = tostring(failure):sub(1, ERROR_MAX)
  log(self, "warn", "a job failed",
    { id = job.id, attempts = job.attempts, error = why })
  self.counts.failed = self.counts.failed + 1
  if job.attempts > self.retries then
    return settle(self, "dead", queue_table.bury(self.db, job, why))
  end
  settle(self, "retried", queue_table.again(self.db, job, why, delay_after(self, job)))
end

local function work(self, job)
  if job.attempts > self.retries + 1 then
    return settle(self, "dead", queue_table.bury(self.db, job,
      ("taken %d times and never settled"):format(job.attempts - 1)))
  end
  local failure = child.failure_of(self.fn, job)
  if failure ~= nil then return fail(self, job, failure) end
  settle(self, "handled", queue_table.done(self.db, job))
end

local function finish(self, job)
  self.running[job.id] = nil
  self.running_count = self.running_count - 1
  self.alarm:ring()
end

local function start(self, row)
  local job = { id = row.id, key = row.key, attempts = row.attempts,
    payload = reply.decode(row.payload) }
  self.running[job.id] = job
  self.running_count = self.running_count + 1
  core.spawn(function()
    core.finally(function() finish(self, job) end)
    work(self, job)
  end)
end

-- ---- the loop

-- What runs longer than visibility is nobody else's yet.
local function keep_running(self)
  if core.now() < self.keep_at or self.running_count == 0 then return true end
  local jobs = {}
  for _, job in pairs(self.running) do jobs[#jobs + 1] = job end
  local done, err = queue_table.keep(self.db, self.name, jobs, self.visibility)
  if not done then return nil, err end
  self.keep_at = core.now() + self.visibility / 3
  return true
end

-- Gives for how long there is nothing to do; or nil, err.
local function step(self)
  local ok, err = keep_running(self)
  if not ok then return nil, err end
  local free = self.tasks - self.running_count
  if free <= 0 or self.is_closed then return self.visibility / 3 end
  local rows
  rows, err = queue_table.take(self.db, self.name, free, self.visibility)
  if not rows then return nil, err end
  if self.running_count == 0 then self.keep_at = core.now() + self.visibility / 3 end
  for _, row in ipairs(rows) do start(self, row) end
  if #rows == free then return self.visibility / 3 end
  local seconds
  seconds, err = queue_table.next_due(self.db, self.name)
  if err then return nil, err end
  return math.min(POLL, seconds or POLL, self.visibility / 3)
end

local function note_error(self, err)
  self.counts.errors = self.counts.errors + 1
  self.last_error = err
  if self.told_of == err.message then return end
  self.told_of = err.message
  log(self, "warn", "a queue's consumer is held up", { error = err.message })
end

local function run(self)
  local pause = BACKOFF_MIN
  while not self.is_closed or self.running_count > 0 do
    local seconds, err = step(self)
    if seconds then
      pause, self.told_of, self.last_error = BACKOFF_MIN, nil, nil
      self.alarm:sleep(math.max(0.001, seconds))
      self.alarm:set()
    else
      note_error(self, err)
      of(core.sleep(pause * (0.5 + math.random() / 2)))
      pause = math.min(pause * 2, BACKOFF_MAX)
    end
  end
end

-- Without it, it polls.
local function hear(self)
  local sub, err = self.db:listen(queue_table.channel(self.name), function()
    self.alarm:ring()
  end)
  if sub and self.is_closed then sub:close() end
  self.sub = sub
  if not sub then log(self, "warn", "a queue is polled", { error = err.message }) end
end

-- ---- for scripts

-- Takes no more; what runs is finished.
function Worker:close()
  if self.is_closed then return false end
  self.is_closed = true
  standing.remove(self)
  if self.sub then self.sub:close() end
  self.alarm:ring()
  return true
end

-- Parks until it has ended: after close().
function Worker:wait()
  of(self.task:wait())
  return true
end

function Worker:stats()
  local stats = { queue = self.name, running = self.running_count,
    last_error = self.last_error }
  for name, value in pairs(self.counts) do stats[name] = value end
  return stats
end

local queue_worker = {}

-- options: tasks, visibility, retries, backoff.
function queue_worker.start(db, name, fn, options)
  local self = setmetatable({
    db = db, name = name, fn = fn, running = {}, running_count = 0, keep_at = 0,
    alarm = alarm.new(),
    tasks = options.tasks, visibility = options.visibility, retries = options.retries,
    backoff = options.backoff,
    counts = { handled = 0, failed = 0, retried = 0, dead = 0, lost = 0, errors = 0 },
  }, Worker)
  self.task = core.spawn(run, self)
  standing.add(self, fn)
  core.spawn(hear, self)
  return self
end

return queue_worker
