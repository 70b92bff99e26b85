-- pg_listen.lua - LISTEN and NOTIFY on Postgres pools: the connection that hears for a
-- pool's listeners (see channels.lua), and what scripts call.

local channels = require "tidepool.channels"
local core = require "tidepool.core"
local of = require("tidepool.result").of

local Pool, Lease = core.postgres, core.postgres_lease
local raw_acquire = Pool.raw_acquire
local exec = Lease.raw_exec
local raw_hear = core.postgres_listener.raw_hear

local NAME_MAX = 63 -- of an identifier; the server cuts longer ones

local function quote(name) return '"' .. name:gsub('"', '""') .. '"' end

-- ---- the driver of channels.lua: LISTEN is a statement, so what is wanted is kept until
-- the task that hears runs it.

local Conn = {}
Conn.__index = Conn

function Conn:want(entry)
  self.wanted[#self.wanted + 1] = { "LISTEN ", entry }
  return true
end

function Conn:unwant(entry)
  self.wanted[#self.wanted + 1] = { "UNLISTEN ", entry }
  return true
end

function Conn:ping()
  self.must_ping = true
  return true
end

-- What others asked for while one of these waits comes into a list of its own.
local function run_wanted(self, set)
  local wanted = self.wanted
  self.wanted = {}
  for _, item in ipairs(wanted) do
    local verb, entry = item[1], item[2]
    local done, err = of(exec(self.lease, verb .. quote(entry.name)))
    if not done and err.code ~= "server" then return nil, err end
    if verb == "LISTEN " then
      if done then set:on_confirmed(entry) else set:on_refused(entry, err) end
    end
  end
  return true
end

-- A server that is silent for longer than its pool has patience is taken for dead.
local function ping(self)
  self.must_ping = false
  local ms = self.pool:settings().stall_timeout * 1000
  return of(exec(self.lease, { "SELECT 1", timeout_ms = ms }))
end

function Conn:hear(seconds, set)
  local is_busy = #self.wanted > 0 or self.must_ping
  local ok, err = true, nil
  if #self.wanted > 0 then ok, err = run_wanted(self, set) end
  if ok and self.must_ping then ok, err = ping(self) end
  if not ok then return nil, err end
  local notes
  notes, err = of(raw_hear(self.ear, is_busy and 0 or seconds))
  if not notes then return nil, err end
  for i = 1, #notes, 2 do
    set:on_message("channel", notes[i], notes[i], notes[i + 1])
  end
  return is_busy or #notes > 0
end

function Conn:wake() self.ear:wake() end

function Conn:is_old() return self.ear:is_old() end

function Conn:close()
  self.ear:close()
  self.lease:release()
end

local function connect(pool)
  local lease, err = of(raw_acquire(pool, 1))
  if not lease then return nil, err end
  local ear
  ear, err = lease:raw_listener()
  if not ear then
    lease:release()
    return nil, err
  end
  return setmetatable({ pool = pool, lease = lease, ear = ear, wanted = {} }, Conn)
end

-- ---- what scripts call

local set_of = channels.install(Pool, connect)

local function check_name(name, level)
  if type(name) ~= "string" then return end -- channels.check() says so
  if #name > NAME_MAX or name:find("%z") then
    error(("a channel's name of at most %d bytes, none of them zero, expected"):format(
      NAME_MAX), level + 1)
  end
end

-- Calls fn(message) for each notification of the channel, each in a task, one after
-- another; message: channel, payload; or channel, gap = true, reason when some may have
-- been missed.  opts: queue, of messages that wait for fn.  Gives a subscription with
-- close() and stats(); or nil, err.
function Pool:listen(channel, fn, opts)
  check_name(channel, 2)
  local ok, err = channels.check(self, channel, fn, opts, 2)
  if not ok then return nil, err end
  local sub
  sub, err = set_of(self):subscribe("channel", channel, fn, opts and opts.queue)
  return sub, err
end

-- Sends a notification to all who listen to the channel: true; or nil, err.  In a
-- transaction it is sent at COMMIT.
local function notify(self, channel, payload)
  if type(channel) ~= "string" or channel == "" then
    error("a channel's name expected, got " .. type(channel), 3)
  end
  check_name(channel, 3)
  if payload ~= nil and type(payload) ~= "string" then
    error("payload: string expected, got " .. type(payload), 3)
  end
  local done, err = self:exec("SELECT pg_catalog.pg_notify($1, $2)", channel,
    payload or "")
  if not done then return nil, err end
  return true
end

function Pool:notify(channel, payload)
  local done, err = notify(self, channel, payload)
  return done, err
end

function Lease:notify(channel, payload)
  local done, err = notify(self, channel, payload)
  return done, err
end
