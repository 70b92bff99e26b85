-- redis_pubsub.lua - the connection that hears for a Redis pool's subscriptions; see
-- channels.lua.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local raw_acquire = core.redis.raw_acquire
local raw_pubsub, raw_hear = core.redis_lease.raw_pubsub, core.redis_pubsub.raw_hear

local VERBS = {
  channel = { "SUBSCRIBE", "UNSUBSCRIBE" },
  pattern = { "PSUBSCRIBE", "PUNSUBSCRIBE" },
  shard = { "SSUBSCRIBE", "SUNSUBSCRIBE" },
}

local MESSAGES = { message = "channel", smessage = "shard" }
local CONFIRMS = { subscribe = true, psubscribe = true, ssubscribe = true }
local ENDS = { unsubscribe = true, punsubscribe = true, sunsubscribe = true }

local Conn = {}
Conn.__index = Conn

-- The server answers what was said in its order, messages in between.
local function say(self, entry, is_wanted, ...)
  self.last = self.last + 1
  self.said[self.last] = { entry = entry, is_wanted = is_wanted }
  return self.ear:say(...)
end

function Conn:want(entry)
  return say(self, entry, true, VERBS[entry.kind][1], entry.name)
end

function Conn:unwant(entry)
  return say(self, entry, false, VERBS[entry.kind][2], entry.name)
end

function Conn:ping() return say(self, nil, false, "PING") end

local function take_said(self)
  local said = self.said[self.first]
  if not said then return {} end
  self.said[self.first] = nil
  self.first = self.first + 1
  return said
end

-- A server of a cluster ends sharded subscriptions when their slot moves.
local function take_end(self, name, channels)
  local said = self.said[self.first]
  if said and said.entry and not said.is_wanted and said.entry.name == name then
    take_said(self)
    return
  end
  local entry = channels.entries["shard:" .. name]
  if entry then channels:on_dropped(entry, "the server ended it: its slot moved") end
end

local function take(self, reply, channels)
  if core.is_err(reply) then
    local said = take_said(self)
    if said.is_wanted then channels:on_refused(said.entry, reply) end
  elseif type(reply) ~= "table" or reply[1] == "pong" then
    take_said(self) -- PING's answer
  elseif MESSAGES[reply[1]] then
    channels:on_message(MESSAGES[reply[1]], reply[2], reply[2], reply[3])
  elseif reply[1] == "pmessage" then
    channels:on_message("pattern", reply[2], reply[3], reply[4])
  elseif CONFIRMS[reply[1]] then
    local said = take_said(self)
    if said.is_wanted then channels:on_confirmed(said.entry) end
  elseif ENDS[reply[1]] then
    take_end(self, reply[2], channels)
  end
end

function Conn:hear(seconds, channels)
  local replies, err = of(raw_hear(self.ear, seconds))
  if not replies then return nil, err end
  for _, reply in ipairs(replies) do take(self, reply, channels) end
  return #replies > 0
end

function Conn:wake() self.ear:wake() end

function Conn:is_old() return self.ear:is_old() end

function Conn:close() self.ear:close() end

local redis_pubsub = {}

-- Leases a connection for listening; or nil, err.
function redis_pubsub.connect(pool)
  local lease, err = of(raw_acquire(pool, 1))
  if not lease then return nil, err end
  local ear
  ear, err = raw_pubsub(lease)
  if not ear then return nil, err end
  return setmetatable({ ear = ear, said = {}, first = 1, last = 0 }, Conn)
end

return redis_pubsub
