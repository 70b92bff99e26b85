-- writebehind_engine.lua - the task of a write-behind: logs what is dirty, stores it,
-- waits while the database is away, ends when nobody has it and all is stored.
--
-- What is put while it stores is logged by a second task, which lives as long as that
-- takes: a slow database makes no loss window larger.

local alarm = require "tidepool.alarm"
local core = require "tidepool.core"
local dirty = require "tidepool.writebehind_dirty"
local of = require("tidepool.result").of
local Task = require "tidepool.task"
local writebehind_log = require "tidepool.writebehind_log"

local BATCH = 500 -- rows of a statement; a group is never split
local BACKOFF_MIN, BACKOFF_MAX = 0.1, 5
local STOP_SECONDS = 1
local LOG_SLACK = 2 ^ 20 -- bytes over four times what it needs: it is made anew

local Engine = {}
Engine.__index = Engine

local function log(self, level, event, fields)
  fields.writebehind = self.name
  core.log(level, event, fields)
end

-- ---- the figures

-- What a crash of this process would take: since when; nil: nothing.
local function measure(self)
  local since, put_at = self.dirty:oldest()
  if self.flight then
    local flying, flying_put = self.flight:oldest()
    since, put_at = dirty.earlier(since, flying), dirty.earlier(put_at, flying_put)
  end
  self.oldest, self.at_risk = since, put_at
end

-- What is put from now on has a later one.
function Engine:note_version(version)
  self.last_version = math.max(self.last_version or 0, version)
end

function Engine:count()
  return self.dirty.count + (self.flight and self.flight.count or 0)
end

function Engine:stats()
  measure(self)
  local now = core.now()
  local stats = {
    name = self.name, dirty = self:count(),
    in_flight = self.flight and self.flight.count or 0,
    oldest_dirty = self.oldest and now - self.oldest or 0,
    loss_window = self.at_risk and now - self.at_risk or 0,
    log_bytes = self.log and self.log.size, last_error = self.last_error,
  }
  for name, value in pairs(self.counts) do stats[name] = value end
  return stats
end

-- ---- the log

local function lines_of(parts)
  local lines = {}
  for i, part in ipairs(parts) do lines[i] = writebehind_log.line(part) end
  return table.concat(lines)
end

local function is_unlogged(entry) return not entry.is_logged end

-- The parts that the database does not have; is_due(entry): of which are given.  Those
-- under way come first: of a key that is in them and in a later group the log has both.
local function unsaved(self, is_due)
  local parts = self.flight and self.flight:parts(is_due) or {}
  for _, part in ipairs(self.dirty:parts(is_due)) do parts[#parts + 1] = part end
  return parts
end

local function is_logged(entry) return entry.is_logged end

-- Empties the log when nothing in it has to be there any more; false: something has.
local function empty_log(self)
  if #unsaved(self, is_logged) > 0 or not self.log:reset() then return false end
  self.log_live, self.is_log_stale = 0, false
  self.log:forget_orphans()
  return true
end

-- Goes on in a log of only this text.  What lands while it is written makes it stale.
local function replace_log(self, text)
  self.is_log_stale = false
  local done, err = self.log:replace(text)
  if not done then
    self.is_log_stale = true
    return nil, err
  end
  self.log_live = #text
  return true
end

-- In a stale log there is what the database has; behind that nothing is appended, lest it
-- come back together with what follows.
local function write_log(self)
  local is_anew = self.is_log_stale and not empty_log(self)
    or self.log.size > LOG_SLACK + 4 * self.log_live
  local parts = unsaved(self, not is_anew and is_unlogged or nil)
  if #parts == 0 then
    self.log:forget_orphans()
    return true
  end
  local text = lines_of(parts)
  local done, err
  if is_anew then
    done, err = replace_log(self, text)
  else
    done, err = self.log:append(text)
  end
  if not done then return nil, err end
  for _, part in ipairs(parts) do
    for _, entry in ipairs(part) do entry.is_logged = true end
  end
  self.log:forget_orphans()
  return true
end

local function append_log(self)
  local done, err = write_log(self)
  measure(self)
  if done then
    self.log_error = nil
  elseif self.log_error ~= err.message then
    self.log_error = err.message
    self.counts.log_failures = self.counts.log_failures + 1
    log(self, "error", "the log cannot be written", { error = err.message })
  end
end

-- What processes before this one had not stored is dirty again.
local function replay(self)
  local groups, torn = self.log:read()
  if not groups then return nil, torn end
  local now = core.now()
  for _, group in ipairs(groups) do
    for _, entry in ipairs(group) do
      local before = self.dirty.entries[entry.key]
      if before and before.version > entry.version then
        entry.text, entry.version = before.text, before.version
      end
      entry.since, entry.put_at = now, now
      self:note_version(entry.version)
    end
    self.dirty:put(group)
    self.counts.replayed = self.counts.replayed + #group
  end
  if #groups + torn == 0 then return true end
  log(self, "info", "a log is replayed", { groups = #groups, torn = torn,
    keys = self.dirty.count })
  return true
end

-- ---- storing

-- A group of which one part was written and another is superseded: none of it may be.
local function find_mixed(parts, written, superseded)
  local is_superseded, mixed = {}, {}
  for _, entry in ipairs(superseded) do is_superseded[entry] = true end
  for i, part in ipairs(parts) do
    local has_written, has_superseded = false, false
    for _, entry in ipairs(part) do
      has_written = has_written or written[entry.key]
      has_superseded = has_superseded or is_superseded[entry]
    end
    if has_written and has_superseded then mixed[#mixed + 1] = i end
  end
  return mixed
end

local function give_up(self, entries)
  for _, entry in ipairs(entries) do
    self.counts.superseded = self.counts.superseded + 1
    log(self, "warn", "a change is dropped: in the table is a newer version",
      { key = entry.key, version = ("%.0f"):format(entry.version) })
  end
end

local function flatten(parts)
  local list = {}
  for _, part in ipairs(parts) do
    for _, entry in ipairs(part) do list[#list + 1] = entry end
  end
  return list
end

-- In a transaction.  Gives the parts that are mixed, and what is superseded; with mixed
-- ones the transaction must not commit.
local function store_in(self, tx, parts)
  local written, superseded = self.options.store(tx, flatten(parts))
  local mixed = find_mixed(parts, written, superseded)
  if #mixed > 0 then
    error(core.err("busy", "a group is superseded", { mixed = mixed }), 0)
  end
  return { superseded = superseded }
end

-- True; or nil, err, and nothing of it was stored.
local function store_once(self, parts)
  local results, err = Task.all { function()
    local ok, result, failure = pcall(function()
      return self.options.db:transaction(function(tx)
        return store_in(self, tx, parts)
      end)
    end)
    if not ok then
      failure = core.is_err(result) and result
        or core.err("badarg", "store: " .. tostring(result))
    end
    return { ok and result or nil, failure }
  end }
  if not results then return nil, err end
  return results[1][1], results[1][2]
end

local function store(self, parts)
  while #parts > 0 do
    local result, err = store_once(self, parts)
    if result then
      give_up(self, result.superseded)
      self.counts.stored = self.counts.stored + #flatten(parts) - #result.superseded
      return true
    end
    if not err.mixed then return nil, err end
    for i = #err.mixed, 1, -1 do
      give_up(self, table.remove(parts, err.mixed[i]))
    end
  end
  return true
end

-- The server, or the script, refuses what is to be stored: each alone may go through.
local function is_of_data(err)
  if err.code == "badarg" then return true end
  local class = err.code == "server" and (err.sqlstate or ""):sub(1, 2)
  return class == "22" or class == "23" or class == "P0"
end

local function land(self, parts, err)
  for _, entry in ipairs(flatten(parts)) do self.flight:remove(entry) end
  if err then
    self.dirty:give_back(flatten(parts))
  else
    self.is_log_stale = true
  end
end

local function slice(list, from, to)
  local part = {}
  for i = from, to do part[#part + 1] = list[i] end
  return part
end

-- True when all that can be stored is; or nil: there is no use in trying more.
local function store_parts(self, parts)
  local done, err = store(self, { unpack(parts) })
  if done then
    land(self, parts)
    return true
  end
  self.failure = err
  if is_of_data(err) and #parts > 1 then
    local middle = math.floor(#parts / 2)
    local rest = slice(parts, middle + 1, #parts)
    if store_parts(self, slice(parts, 1, middle)) then return store_parts(self, rest) end
    for _, part in ipairs(rest) do land(self, { part }, err) end
    return nil
  end
  for _, part in ipairs(parts) do land(self, { part }, err) end
  return is_of_data(err) or nil
end

-- Of parts, how many from the one at first on make up a statement.
local function end_of_batch(parts, first)
  local count, last = #parts[first], first
  while parts[last + 1] and count + #parts[last + 1] <= BATCH do
    last = last + 1
    count = count + #parts[last]
  end
  return last
end

local function store_all(self)
  self.failure, self.flight = nil, self.dirty:take()
  local parts = self.flight:parts()
  local first, goes_on = 1, true
  while first <= #parts and goes_on do
    local last = end_of_batch(parts, first)
    goes_on = store_parts(self, slice(parts, first, last))
    first = last + 1
  end
  for i = first, #parts do land(self, { parts[i] }, self.failure) end
  self.flight = nil
  measure(self)
end

local function note_end(self)
  local err = self.failure
  self.last_error = err
  if not err then
    self.counts.flushes = self.counts.flushes + 1
    self.pause, self.retry_at, self.told_of = BACKOFF_MIN, 0, nil
    if self.log and self.is_log_stale then empty_log(self) end
    return
  end
  self.counts.failures = self.counts.failures + 1
  self.retry_at = core.now() + self.pause * (0.5 + math.random() / 2)
  self.pause = math.min(self.pause * 2, BACKOFF_MAX)
  if self.told_of ~= err.message then
    self.told_of = err.message
    log(self, "warn", "changes cannot be stored", { error = err.message,
      dirty = self.dirty.count })
  end
end

-- ---- those who wait for a flush

local function sleep_long()
  while true do of(core.sleep(3600)) end
end

-- Parks until what is dirty now was tried to be stored.  Gives true; or nil, err.
function Engine:flush()
  if self:count() == 0 then return true end
  if self.is_stopped then return nil, core.err("closed", "the write-behind is closed") end
  local round = self.next_round or { gate = core.spawn(sleep_long) }
  self.next_round = round
  self:wake()
  of(round.gate:wait())
  if round.err then return nil, round.err end
  return true
end

local function end_round(round, err)
  if not round then return end
  round.err = err
  round.gate:cancel()
end

-- ---- the loop

function Engine:wake()
  self.alarm:ring()
end

-- Logs what is put until the alarm is rung.
local function log_meanwhile(self, landing)
  core.exempt()
  repeat
    landing:sleep(self.options.flush)
    if not landing.is_rung then append_log(self) end
  until landing.is_rung
end

local function store_and_log(self)
  local landing = alarm.new()
  local logger = self.log and core.spawn(log_meanwhile, self, landing)
  local ok, failure = pcall(store_all, self)
  landing:ring()
  if logger then of(logger:wait()) end
  if not ok then error(failure, 0) end
end

local function step(self)
  local round = self.next_round
  self.next_round = nil
  if self.log then append_log(self) end
  if self.dirty.count > 0 and (round or core.now() >= self.retry_at) then
    store_and_log(self)
    note_end(self)
  end
  end_round(round, self.last_error)
end

-- After an error that nobody foresaw: what was under way is dirty again.
local function recover(self, failure)
  local flight = self.flight
  if flight then
    for _, part in ipairs(flight:parts()) do land(self, { part }, failure) end
  end
  self.flight = nil
  self.failure = core.is_err(failure) and failure
    or core.err("internal", tostring(failure))
  note_end(self)
  end_round(self.next_round, self.failure)
  self.next_round = nil
end

local function is_over(self)
  return self.is_stopped or (#self.handles == 0 and self.dirty.count == 0)
end

local function run(self)
  core.exempt() -- the script's own functions run in children
  while not is_over(self) do
    self.alarm:sleep(self.options.flush)
    self.alarm:set()
    local ok, failure = pcall(step, self)
    if not ok then recover(self, failure) end
  end
  self.is_stopped = true
  end_round(self.next_round, core.err("closed", "the write-behind is closed"))
  if self.log then self.log:close() end
  self.on_end(self)
end

-- Tries until all is stored, for so many seconds at most: true; or nil, err.
function Engine:drain(seconds)
  local limit = core.now() + seconds
  while self:count() > 0 and not self.is_stopped do
    local left = limit - core.now()
    if left <= 0 then break end
    local done = Task.timeout(left, self.flush, self)
    if not done then
      of(core.sleep(math.min(BACKOFF_MIN, math.max(0, limit - core.now()))))
    end
  end
  local count = self:count()
  if count == 0 then return true end
  local why = self.last_error and ": " .. self.last_error.message or ""
  return nil, core.err("timeout", ("%d changes are not stored%s"):format(count, why),
    { retryable = true })
end

-- Ends it, whatever is dirty: that is in the log, or lost.
function Engine:stop()
  local count = self:count()
  if count > 0 then
    log(self, "error", self.log and "changes are left in the log" or "changes are lost",
      { count = count })
  end
  self.is_stopped = true
  self:wake()
  if not Task.timeout(STOP_SECONDS, function() return of(self.task:wait()) end) then
    self.task:cancel()
    of(self.task:wait())
  end
end

local engine = {}

-- options: see writebehind.lua.  on_end(engine) is told when it has ended.  Gives it; or
-- nil, err when the log cannot be used.
function engine.new(name, options, on_end)
  local self = setmetatable({
    name = name, options = options, on_end = on_end, handles = {}, dirty = dirty.new(),
    loads = {}, alarm = alarm.new(), pause = BACKOFF_MIN, retry_at = 0, log_live = 0,
    counts = { flushes = 0, stored = 0, failures = 0, superseded = 0, replayed = 0,
      refused = 0, log_failures = 0 },
  }, Engine)
  if options.log then
    local err, ok
    self.log, err = writebehind_log.open(options.log)
    if not self.log then return nil, err end
    ok, err = replay(self)
    if not ok then
      self.log:close()
      return nil, err
    end
  end
  measure(self)
  return self
end

function Engine:start()
  self.task = core.spawn(run, self)
end

return engine
