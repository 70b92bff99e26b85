-- channels.lua - the subscriptions of a pool: one connection hears for all of them.
--
-- What is wanted (by subscriptions) is compared with what the server confirmed, and the
-- difference is asked for: at the first subscription, after a lost connection, after a
-- refusal.  A driver gives connect(pool), which parks and gives a connection or nil, err,
-- with
--   want(entry), unwant(entry), ping()  write and do not park: nil, err when it is lost
--   hear(seconds, channels)  parks; true when something came, false when nothing did, or
--                            nil, err; it calls channels:on_message(kind, name, channel,
--                            payload), on_confirmed(entry), on_refused(entry, err),
--                            on_dropped(entry, reason)
--   wake()    ends a hear() of another task
--   is_old()  true when the pool was drained since it was opened
--   close()

local core = require "tidepool.core"
local of = require("tidepool.result").of
local standing = require "tidepool.standing"
local subscription = require "tidepool.subscription"

local BACKOFF_MIN, BACKOFF_MAX = 0.05, 1
local RETRY_SECONDS = 1 -- after the server refused to restore a subscription
local QUIET_MIN = 0.05
local GRACE_SECONDS = 0.01 -- was it we who had no time to read?

local Channels = {}
Channels.__index = Channels

-- ---- what is wanted of one channel

local Entry = {}
Entry.__index = Entry

local function key_of(kind, name)
  return kind .. ":" .. name
end

function Entry:leave(sub)
  for i, other in ipairs(self.subs) do
    if other == sub then
      table.remove(self.subs, i)
      break
    end
  end
  standing.remove(sub)
  if sub.ending then sub.ending:forget() end
  if #self.subs == 0 then self.owner:forget(self) end
end

-- Those who wait in subscribe() go on.
function Entry:open_gate()
  if self.gate then self.gate:cancel() end
  self.gate = nil
end

local function sleep_long()
  while true do of(core.sleep(3600)) end
end

function Entry:wait()
  self.gate = self.gate or core.spawn(sleep_long)
  return of(self.gate:wait())
end

-- ---- the set

function Channels:touch(entry)
  self.dirty[entry] = true
  if self.conn then
    self.conn:wake()
  elseif not self.task then
    self.task = core.spawn(self.run, self)
  end
end

function Channels:forget(entry)
  local key = key_of(entry.kind, entry.name)
  if self.entries[key] == entry then self.entries[key] = nil end
  entry.is_confirmed = false
  entry:open_gate()
  if self.conn then self:touch(entry) end
end

function Channels:entry_of(kind, name)
  local key = key_of(kind, name)
  local entry = self.entries[key]
  if entry then return entry end
  entry = setmetatable({
    owner = self, kind = kind, name = name, label = self.name, subs = {},
    channel = kind ~= "pattern" and name or nil,
    pattern = kind == "pattern" and name or nil,
    is_asked = false, is_confirmed = false,
  }, Entry)
  self.entries[key] = entry
  return entry
end

-- Parks until the server has confirmed it, and gives a subscription, which ends with the
-- request that it was made in, if it was in one; or nil, err when the server refused.
-- While the server is away that is not waited for: the subscription begins when it is
-- back, with a gap.
function Channels:subscribe(kind, name, fn, queue_max)
  local entry = self:entry_of(kind, name)
  local sub = subscription.new(entry, fn, queue_max, self.counts)
  entry.subs[#entry.subs + 1] = sub
  standing.add(sub, fn)
  sub.ending = core.at_end(function() sub:close() end)
  if entry.is_confirmed then return sub end
  self:touch(entry)
  local ok, failure = pcall(entry.wait, entry)
  if not ok then
    sub:close()
    error(failure, 0)
  end
  if sub.is_closed then
    if entry.refusal then return nil, entry.refusal end
    return self.pool:raw_fail("closed", "the subscription was closed")
  end
  return sub
end

-- ---- what the connection tells

function Channels:on_message(kind, name, channel, payload)
  local entry = self.entries[key_of(kind, name)]
  if not entry or not entry.is_confirmed then return end
  self.counts.messages = self.counts.messages + 1
  for i = #entry.subs, 1, -1 do entry.subs[i]:push(channel, payload) end
end

function Channels:on_confirmed(entry)
  if #entry.subs == 0 or not entry.is_asked then return end
  entry.is_confirmed, entry.refusal = true, nil
  self.backoff = BACKOFF_MIN
  for _, sub in ipairs(entry.subs) do
    if sub.missed then sub:gap(sub.missed) end
    sub.missed = nil
    sub.was_live = true
  end
  entry:open_gate()
end

-- A new subscription ends with it; one that was confirmed before is tried again.
function Channels:on_refused(entry, err)
  local is_news = not entry.refusal or entry.refusal.message ~= err.message
  entry.refusal = err
  entry.is_asked, entry.is_confirmed = false, false
  self.retry_at = self.retry_at or core.now() + RETRY_SECONDS
  if is_news then
    core.log("error", "a subscription was refused",
      { pool = self.name, channel = entry.name, error = err.message })
  end
  for i = #entry.subs, 1, -1 do
    local sub = entry.subs[i]
    if not sub.was_live then
      sub:close()
    else
      if is_news then sub:gap("refused: " .. err.message) end
      sub.missed = "it was refused meanwhile: " .. err.message
    end
  end
  entry:open_gate()
end

-- The server ended it by itself.
function Channels:on_dropped(entry, reason)
  if not entry.is_asked then return end
  entry.is_asked, entry.is_confirmed = false, false
  for _, sub in ipairs(entry.subs) do sub.missed = reason end
  self.dirty[entry] = true
end

-- ---- the connection

local function miss(self, reason)
  for _, entry in pairs(self.entries) do
    entry.is_asked, entry.is_confirmed = false, false
    for _, sub in ipairs(entry.subs) do sub.missed = sub.missed or reason end
    entry:open_gate()
  end
end

-- What is given up goes first: the same channel may be wanted anew.
local function unwant_all(dirty, conn)
  for entry in pairs(dirty) do
    if #entry.subs == 0 then
      dirty[entry] = nil
      if entry.is_asked then
        entry.is_asked = false
        local ok, err = conn:unwant(entry)
        if not ok then return err end
      end
    end
  end
end

local function reconcile(self, conn)
  local dirty = self.dirty
  if not next(dirty) then return nil end
  self.dirty = {}
  local failure = unwant_all(dirty, conn)
  for entry in pairs(dirty) do
    if failure then return failure end
    if not entry.is_asked then
      entry.is_asked = true
      local ok, err = conn:want(entry)
      if not ok then failure = err end
    end
  end
  return failure
end

-- Asks again for what was refused, when that is due; gives how long to listen till then.
local function retry_refused(self, seconds)
  if not self.retry_at then return seconds end
  local wait = self.retry_at - core.now()
  if wait > 0 then return math.min(seconds, wait) end
  self.retry_at = nil
  for _, entry in pairs(self.entries) do
    if not entry.is_asked then self.dirty[entry] = true end
  end
  return seconds
end

-- Is the connection alive?  Says how long to listen, or why it is not.
local Pulse = {}
Pulse.__index = Pulse

function Pulse:limits()
  local settings = self.pool:settings()
  self.quiet = math.max(settings.test_after, QUIET_MIN)
  self.patience = settings.stall_timeout
end

function Pulse:heard()
  self.heard_at, self.pinged_at, self.is_suspect = core.now(), nil, false
  return self.quiet
end

function Pulse:silent(conn)
  local now = core.now()
  self:limits()
  if not self.pinged_at then
    if now < self.heard_at + self.quiet then return self.heard_at + self.quiet - now end
    self.pinged_at = now
    local ok, err = conn:ping()
    if not ok then return nil, err.message end
    return self.patience
  end
  if now < self.pinged_at + self.patience then
    return self.pinged_at + self.patience - now
  end
  if not self.is_suspect then
    self.is_suspect = true
    return GRACE_SECONDS
  end
  return nil, ("no answer to a ping within %g s"):format(self.patience)
end

-- Until the connection is lost, with the reason; or nothing is wanted any more.
local function serve(self, conn)
  local pulse = setmetatable({ pool = self.pool }, Pulse)
  local reason
  pulse:limits()
  local seconds = pulse:heard()
  for _, entry in pairs(self.entries) do self.dirty[entry] = true end
  while true do
    seconds = retry_refused(self, seconds)
    local err = reconcile(self, conn)
    if err then return err.message end
    if not next(self.entries) then return nil end
    local has_heard
    has_heard, err = conn:hear(seconds, self)
    if err then return err.message end
    if has_heard then
      seconds = pulse:heard()
    else
      seconds, reason = pulse:silent(conn)
      if reason then return reason end
    end
    if conn:is_old() then return "the pool was drained, or its server changed" end
  end
end

local function pause(self)
  of(core.sleep(self.backoff * (0.5 + math.random() / 2)))
  self.backoff = math.min(self.backoff * 2, BACKOFF_MAX)
end

function Channels:run()
  while next(self.entries) do
    local conn, err = self.connect(self.pool)
    if conn then
      self.conn = conn
      local reason = serve(self, conn)
      self.conn, self.dirty = nil, {}
      conn:close()
      if reason then
        self.counts.losses = self.counts.losses + 1
        core.log("warn", "subscriptions lost their connection",
          { pool = self.name, error = reason })
        miss(self, "the connection was lost: " .. reason)
        pause(self)
      end
    else
      miss(self, "it could not be subscribed at once: " .. err.message)
      pause(self)
    end
  end
  self.task = nil
end

-- Ends all subscriptions and waits until the connection is given back.
function Channels:stop()
  for _, entry in pairs(self.entries) do
    for i = #entry.subs, 1, -1 do entry.subs[i]:close() end
  end
  local task = self.task
  if not task then return end
  task:cancel()
  of(task:wait())
  self.conn, self.task = nil, nil
end

function Channels:stats()
  local stats = { subscriptions = 0, channels = 0, connected = self.conn ~= nil }
  for name, value in pairs(self.counts) do stats[name] = value end
  for _, entry in pairs(self.entries) do
    stats.channels = stats.channels + 1
    stats.subscriptions = stats.subscriptions + #entry.subs
  end
  return stats
end

local channels = {}

function channels.new(pool, connect)
  return setmetatable({
    pool = pool, name = pool:name(), connect = connect, entries = {}, dirty = {},
    backoff = BACKOFF_MIN,
    counts = { messages = 0, dropped = 0, gaps = 0, failures = 0, losses = 0 },
  }, Channels)
end

-- Gives pools of this kind subscriptions: gives a function from a pool to its set.
-- close() of a pool ends them first, stats() counts them under `subscriber`.
function channels.install(Pool, connect)
  local sets = setmetatable({}, { __mode = "k" })
  local raw_close, raw_stats = Pool.close, Pool.stats

  function Pool:close(seconds)
    if sets[self] then sets[self]:stop() end
    sets[self] = nil
    return of(raw_close(self, seconds))
  end

  function Pool:stats()
    local stats = raw_stats(self)
    if sets[self] then stats.subscriber = sets[self]:stats() end
    return stats
  end

  return function(pool)
    sets[pool] = sets[pool] or channels.new(pool, connect)
    return sets[pool]
  end
end

-- Checks what a script gave to subscribe or listen; level is that of its caller.
function channels.check(pool, name, fn, opts, level)
  if type(name) ~= "string" or name == "" then
    error("a channel's name expected, got " .. type(name), level + 1)
  end
  if type(fn) ~= "function" then
    error("function expected, got " .. type(fn), level + 1)
  end
  for key, value in pairs(opts or {}) do
    if key ~= "queue" then error("unknown option: " .. tostring(key), level + 1) end
    if type(value) ~= "number" or value < 1 or value % 1 ~= 0 then
      error("queue: a whole number from 1 on expected, got " .. tostring(value),
        level + 1)
    end
  end
  local max = pool:settings().max_connections
  if max > 1 then return true end
  return pool:raw_fail("badarg", ("subscriptions have a connection of their own, and "
    .. "max_connections of pool %s is 1: set 2 or more"):format(pool:name()))
end

return channels
