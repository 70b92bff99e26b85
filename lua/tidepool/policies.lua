-- policies.lua - the policy that tunes the pools: which one, what it is told of the
-- servers, and what is said of what it does.

local core = require "tidepool.core"
local events = require "tidepool.events"
local of = require("tidepool.result").of
local url = require "tidepool.url"

local STOCK = { "aimd", "codel", "fixed", "formula", "gradient", "schedule" }
local ASK_SECONDS = 30 -- between two looks at a server
local ASK_LIMIT_MS = 2000
local LOUD = { applied = true, clamped = true, reverted = true, dry_run = true }

local policies = { stock = STOCK }

-- The text of a policy: of a file where its name ends in .lua, else a stock one.  Or nil
-- and a sentence.
function policies.read(use)
  if use:find "%.lua$" then
    local file, err = io.open(use, "rb")
    if not file then return nil, err end
    local text = file:read "*a"
    file:close()
    return text
  end
  local text = use:find "^%l+$" and core.module_text("tidepool.policy." .. use)
  if text then return text end
  return nil, ("there is no policy %s: a file that ends in .lua, or one of %s")
    :format(url.mask_inside(use), table.concat(STOCK, ", "))
end

-- ---- what the servers say

local POSTGRES = [[SELECT current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int AS max_connections,
  pg_is_in_recovery() AS is_replica, count(*) AS connections,
  count(*) FILTER (WHERE state = 'active') AS active,
  count(*) FILTER (WHERE state = 'idle') AS idle,
  count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction
  FROM pg_stat_activity WHERE backend_type = 'client backend']]

local function took(fn)
  local began = core.now()
  local ok, err = fn()
  if ok then return core.now() - began end
  return nil, err
end

local ask = {}

function ask.postgres(pool)
  local facts, err = pool:one { POSTGRES, share = false, timeout_ms = ASK_LIMIT_MS }
  if not facts then return nil, err end
  facts.is_replica = facts.is_replica and 1 or 0
  facts.latency, err = took(function()
    return pool:one { "SELECT 1 AS one", timeout_ms = ASK_LIMIT_MS }
  end)
  if not facts.latency then return nil, err end
  return facts
end

function ask.redis(pool)
  local info, err = pool:call "INFO"
  if not info then return nil, err end
  local function field(name) return tonumber(info:match("\n" .. name .. ":(%d+)")) end
  local facts = {
    max_connections = field "maxclients", connections = field "connected_clients",
    used_memory = field "used_memory", max_memory = field "maxmemory",
    is_replica = info:find("\nrole:slave", 1, true) and 1 or 0,
  }
  facts.latency, err = took(function() return pool:call "PING" end)
  if not facts.latency then return nil, err end
  return facts
end

-- ---- one at work

local Pilot = {}
Pilot.__index = Pilot

-- Asks the servers of all pools, again and again.
function Pilot:watch()
  while not self.is_closed do
    for _, pool in ipairs(self.pools) do
      local ok, facts = pcall(ask[pool:kind()], pool)
      if ok and facts and not self.is_closed then self.raw:raw_set_server(pool, facts) end
    end
    of(core.sleep(ASK_SECONDS))
  end
end

local function words(value) return value and ("%.6g"):format(value) end

-- Tells of a change, or of a failure of the policy.
function Pilot:tell(event)
  event.event = "policy_changed"
  if event.error then
    core.log("error", "the policy failed: what it set last stays",
      { policy = event.policy, pool = event.pool, error = event.error })
    return
  end
  local counts = self.counts[event.pool] or {}
  self.counts[event.pool] = counts
  counts[event.outcome] = (counts[event.outcome] or 0) + 1
  local is_loud = LOUD[event.outcome] and event.from ~= event.to
  core.log(is_loud and "info" or "debug", "policy " .. event.outcome, {
    policy = event.policy, pool = event.pool, setting = event.setting,
    from = words(event.from), to = words(event.to), reason = event.reason,
  })
  self.last[event.pool] = event
  if is_loud then self.changes[event.pool] = { event = event, at = core.now() } end
  if not is_loud or event.outcome == "dry_run" then return end
  events.tell(event)
  if self.on_change then self.on_change(event.pool, { [event.setting] = event.to }) end
end

function Pilot:close()
  if self.is_closed then return end
  self.is_closed = true
  self.raw:raw_close()
  if self.watcher then self.watcher:cancel() end
end

-- The policy's counts: ticks, failures; changes: pool -> outcome -> count.
function Pilot:stats()
  if self.is_closed then return nil end
  local stats = self.raw:raw_stats()
  return { name = self.name, dry_run = self.dry_run, ticks = stats.ticks,
           failures = stats.failures, changes = self.counts }
end

local function told_of(event)
  return { policy = event.policy, outcome = event.outcome, setting = event.setting,
           from = event.from, to = event.to, reason = event.reason }
end

-- What it wanted last of a pool of this name, or nil.
function Pilot:last_of(name)
  local event = self.last[name]
  return event and told_of(event)
end

-- What it changed last, or would have, and how many seconds ago; or nil.
function Pilot:change_of(name)
  local change = self.changes[name]
  if not change then return nil end
  local told = told_of(change.event)
  told.ago = core.now() - change.at
  return told
end

-- The policy's name if it tunes a pool of this name, or nil.
function Pilot:name_for(name)
  return self.tunes[name] and self.name
end

-- Begins the policy of settings (Config:policy()) on these pools; or nil and a sentence.
-- on_change(name of the pool, settings), or nil, is told of what it has set.
function policies.start(settings, pools, on_change)
  local text, err = policies.read(settings.use)
  if not text then return nil, err end
  local self = setmetatable({
    name = settings.use, dry_run = settings.dry_run, pools = pools,
    counts = {}, last = {}, changes = {}, tunes = {}, on_change = on_change,
  }, Pilot)
  self.raw, err = core.pilot {
    name = settings.use, text = text, cores = core.cores(), options = settings.options,
    rails = settings.rails, dry_run = settings.dry_run, revert = settings.revert,
    on_event = function(event) self:tell(event) end,
  }
  if not self.raw then return nil, err.message end
  for _, pool in ipairs(pools) do
    self.raw:raw_add(pool)
    self.tunes[pool:name()] = true
  end
  if #pools > 0 then self.watcher = core.spawn(function() self:watch() end) end
  return self
end

return policies
