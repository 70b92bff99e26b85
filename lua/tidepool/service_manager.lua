-- service_manager.lua - tells the service manager that started this process, systemd or
-- one like it, how it does: sd_notify(3), a datagram of lines to $NOTIFY_SOCKET.
--
-- Only the main process of a service speaks, so the manager can be told to listen to
-- nobody else: not its workers, nor what scripts start, to which the variables do not
-- come; and of two masters the one that serves.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"
local sorted_keys = require "tidepool.sorted_keys"

local SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
local RETRY_SECONDS = 0.05 -- while the manager reads nothing, as when it reloads itself
local STATUS_SECONDS = 5
local STATUS_LONGEST = 500

local Manager = {}
Manager.__index = Manager

-- Sends what is to be sent, in order.
function Manager:flush()
  while self.unsent[1] do
    local _, err = core.send_datagram(self.address, self.unsent[1])
    if err and err.code == "busy" then
      return core.spawn(function()
        of(core.sleep(RETRY_SECONDS))
        self:flush()
      end)
    end
    if err and not self.is_deaf then
      core.log("warn", "the service manager does not hear", { error = err.message })
    end
    self.is_deaf = err ~= nil
    table.remove(self.unsent, 1)
  end
end

function Manager:tell(...)
  if not self.address or self.is_silent then return end
  table.insert(self.unsent, table.concat({ ... }, "\n"))
  if #self.unsent == 1 then self:flush() end
end

-- What STATUS= says of a page /health.
local function status_of(page)
  local health = reply.decode(page)
  local parts = { health.status }
  for _, name in ipairs(sorted_keys(health.pools)) do
    local pool = health.pools[name]
    if pool.down then
      local why = type(pool.last_error) == "string" and " (" .. pool.last_error .. ")"
      parts[#parts + 1] = ("pool %s is down%s"):format(name, why or "")
    elseif pool.paused then
      parts[#parts + 1] = ("pool %s is paused"):format(name)
    end
  end
  if health.workers then
    local count = 0
    for _, one in ipairs(health.workers) do count = count + (one.serves and 1 or 0) end
    parts[#parts + 1] = ("%d of %d workers serve"):format(count, #health.workers)
  end
  return (table.concat(parts, "; "):gsub("%c", " "):sub(1, STATUS_LONGEST))
end

-- Says what has changed of its health, again and again.
function Manager:watch_health(health)
  while not self.is_stopping do
    of(core.sleep(STATUS_SECONDS))
    local status = "STATUS=" .. status_of(health())
    if status ~= self.status and not self.is_stopping then self:tell(status) end
    self.status = status
  end
end

-- The loop turns; a master answers for its workers, whose stuck ones it replaces.
function Manager:watch_pulse()
  while true do
    if #self.unsent == 0 then self:tell "WATCHDOG=1" end
    of(core.sleep(self.watchdog / 2))
  end
end

-- It serves.  health() gives the page /health.
function Manager:ready(health)
  if not self.address then return end
  self.is_ready = true
  self.status = "STATUS=" .. status_of(health())
  self:tell("READY=1", self.status)
  core.spawn(self.watch_health, self, health)
  if self.watchdog then core.spawn(self.watch_pulse, self) end
end

-- Runs fn, which loads the app anew, with the manager waiting for its end.
function Manager:reload(fn)
  if not self.is_ready or self.is_stopping then return fn() end
  self:tell("RELOADING=1", ("MONOTONIC_USEC=%.0f"):format(core.monotonic_us()))
  local ok, err = pcall(fn)
  self:tell("READY=1", self.status)
  if not ok then error(err, 0) end
end

-- It ends, after so many seconds at the latest.
function Manager:stop(seconds)
  self.is_stopping = true
  self:tell("STOPPING=1", "STATUS=finishes what runs",
    ("EXTEND_TIMEOUT_USEC=%.0f"):format(seconds * 1e6))
end

-- Another process is the service from here on, and speaks.
function Manager:hand_over(pid)
  self:tell("MAINPID=" .. pid)
  self.is_silent = true
end

-- The variables by which a process that may follow this one finds the manager.
function Manager:environment()
  return { [SOCKET] = self.address,
           [WATCHDOG] = self.watchdog and ("%.0f"):format(self.watchdog * 1e6) }
end

local service_manager = {}

-- Nobody is to be told.
function service_manager.none()
  return setmetatable({ unsent = {} }, Manager)
end

-- The one that the environment names, which has these variables no more.
function service_manager.of_environment()
  local self = service_manager.none()
  local address = core.take_env(SOCKET)
  local watchdog, pid = tonumber(core.take_env(WATCHDOG)), core.take_env(WATCHDOG_PID)
  self.address = address ~= "" and address or nil
  if watchdog and watchdog > 0 and (not pid or tonumber(pid) == core.pid()) then
    self.watchdog = watchdog / 1e6
  end
  return self
end

return service_manager
