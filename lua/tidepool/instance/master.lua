-- master.lua - the process that keeps the workers of an instance: starts them, starts
-- those again that end, answers for all of them, and ends when they have.  It runs no
-- script, so nothing that a script does can end it.

local core = require "tidepool.core"
local handover = require "tidepool.instance.handover"
local of = require("tidepool.result").of
local pages = require "tidepool.instance.pages"
local worker = require "tidepool.instance.worker"

local DONE, FAILED = 0, 1

-- A worker that ends is started again at once; one that ended soon after its start waits,
-- longer each time.
local STEADY_SECONDS = 10
local FIRST_DELAY, LAST_DELAY = 0.1, 10

local GRACE_SECONDS = 5 -- after the drain time, until what is left is killed

local Master = {}
Master.__index = Master

local function complain(message, ...)
  io.stderr:write("tidepool: ", message:format(...), "\n")
end

local function say(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

-- ---- workers

-- All processes, in the order of their numbers.
function Master:each()
  local all = {}
  for number = 1, self.count do
    for _, one in ipairs(self.slots[number].workers) do all[#all + 1] = one end
  end
  return all
end

-- Those that serve: one of each number.
function Master:serving()
  local all = {}
  for number = 1, self.count do
    local current = self.slots[number].current
    if current and current.is_ready then all[#all + 1] = current end
  end
  return all
end

function Master:find(number, pid)
  for _, one in ipairs(self.slots[number] and self.slots[number].workers or {}) do
    if one.pid == pid then return one end
  end
end

function Master:spawn(number)
  local slot = self.slots[number]
  local sockets = self.sockets:fds()
  local inherit, fds = {}, {}
  for i = 1, #sockets do
    inherit[i] = sockets[i]
    fds[i] = 2 + i
  end
  inherit[#inherit + 1] = self.budget:fd()
  local one, err = worker.start({
    number = number, count = self.count, directory = self.directory,
    args = self.words, inherit = inherit,
    fields = { sockets = fds, budget = 2 + #inherit, generation = self.generation },
  }, function(...) self:on_end(...) end)
  if not one then
    core.log("error", "worker cannot be started", { worker = number, error = err })
    return self:respawn(number)
  end
  table.insert(slot.workers, one)
  core.log("info", "worker started", { worker = number, pid = one.pid })
end

-- After a delay that grows with each end soon after a start.
function Master:respawn(number)
  local slot = self.slots[number]
  local delay = slot.failures <= 1 and 0
    or math.min(LAST_DELAY, FIRST_DELAY * 2 ^ (slot.failures - 2))
  slot.restarts = slot.restarts + 1
  core.spawn(function()
    if delay > 0 then
      core.log("warn", "worker waits before it is started again",
        { worker = number, seconds = delay, failures = slot.failures })
      of(core.sleep(delay))
    end
    if not self.stopping then self:spawn(number) end
  end)
end

-- Somebody else takes the connections that come to the socket of a worker that is away.
function Master:lend_socket(number)
  local helper = self:serving()[1]
  if not helper or #self.sockets:fds() < number then return end
  local body = core.encode { socket = number }
  if helper:ask("/accept", { method = "POST", body = body }) == 200 then
    self.slots[number].helper = helper
  end
end

function Master:return_socket(number)
  local helper = self.slots[number].helper
  self.slots[number].helper = nil
  if not helper or helper.is_gone then return end
  helper:ask("/release", { method = "POST", body = core.encode { socket = number } })
end

local function remove(list, value)
  for i, one in ipairs(list) do
    if one == value then return table.remove(list, i) end
  end
end

-- What only a master that stays has to do for a worker that ended by itself.
function Master:replace(one, text)
  local slot = self.slots[one.number]
  local is_steady = one.is_served and core.now() - one.began > STEADY_SECONDS
  slot.failures = is_steady and 0 or slot.failures + 1
  slot.crashes = slot.crashes + 1
  slot.last_end = text
  core.log("error", "worker ended", { worker = one.number, pid = one.pid, by = text,
    stuck = one.is_stuck or nil,
    seconds = math.floor((core.now() - one.began) * 10) / 10 })
  self:respawn(one.number)
  self:lend_socket(one.number)
end

function Master:on_end(one, status, text)
  local slot = self.slots[one.number]
  local was_current = slot.current == one or slot.current == nil
  remove(slot.workers, one)
  self.budget:dead(one.pid)
  self.pages:keep(one)
  if slot.current == one then slot.current = nil end
  if self.is_starting and not one.is_served then
    self.first_status = self.first_status or status
    if self.gate then self.gate:cancel() end
  elseif was_current and not self.stopping and not one.is_ending then
    self:replace(one, text)
  else
    if slot.current and not one.is_served then slot.current.is_suspect = false end
    core.log(status == 0 and "info" or "warn", "worker ended",
      { worker = one.number, pid = one.pid, by = text })
  end
  if self.stopping and #self:each() == 0 and self.gate then self.gate:cancel() end
end

-- A worker serves: what served under its number before may go.
function Master:on_ready(one, address)
  local slot = self.slots[one.number]
  local before = slot.current
  slot.current = one
  one.is_served = true
  self.address = self.address or address
  one:serve(self.settings.server.worker_timeout)
  if self.stopping then return one:finish() end
  if before and before ~= one then before:finish() end
  self:return_socket(one.number)
  if self.gate and self.is_starting then self.gate:cancel() end
end

-- A worker says that it should be replaced: it serves until the new one does.
function Master:on_suspect(one, reason)
  local slot = self.slots[one.number]
  if self.stopping or slot.current ~= one or one.is_suspect then return end
  one.is_suspect = true
  slot.restarts = slot.restarts + 1
  slot.last_end = reason
  core.log("warn", "worker is replaced", { worker = one.number, pid = one.pid,
    reason = reason })
  self:spawn(one.number)
end

-- ---- waiting

-- Parks until the gate is cancelled: something has happened.
function Master:wait(is_over)
  while not is_over() do
    self.gate = core.spawn(function() of(core.sleep(3600)) end)
    of(self.gate:wait())
    self.gate = nil
  end
end

-- ---- signals

-- As Service:hurry() has it.
function Master:hurry(name)
  core.log("warn", "stopping sooner", { signal = name })
  if self.notice then return self.notice:cancel() end
  for _, one in ipairs(self:each()) do
    if self.is_hurried then one:signal "KILL" else one:signal "TERM" end
  end
  self.is_hurried = true
end

-- As Service:give_notice(): for all workers, none of which is ready from here on.  Each
-- lets go of the others' sockets, which would listen on otherwise where nobody accepts.
function Master:give_notice()
  local seconds = self.settings.server.drain_delay
  local serving = self:serving()
  if self.is_retired or #serving == 0 then return end
  self.pages:tell_all("/ending", { method = "POST", body = "{}", patience = 0.5 })
  if seconds == 0 then return end
  core.log("info", "not ready any more", { draining_in = seconds })
  self.notice = core.spawn(function() return of(core.sleep(seconds)) end)
  of(self.notice:wait())
  self.notice = nil
end

function Master:stop(name)
  if self.stopping then return self:hurry(name) end
  self.stopping = true
  local seconds = self.settings.server.drain + GRACE_SECONDS
  self.manager:stop(self.settings.server.drain_delay + seconds + GRACE_SECONDS)
  core.log("info", "stopping", { signal = name, workers = #self:each(),
    heir = self.is_retired and self.heir:pid() or nil })
  -- One that is not in our place yet: nobody else would end it.
  if self.heir and not self.is_retired then self.heir:signal "TERM" end
  self:give_notice()
  if self.is_retired then self.sockets:leave() end
  self.sockets:close() -- the workers have them, until they accept no more
  for _, one in ipairs(self:each()) do one:finish() end
  core.spawn(function()
    of(core.sleep(seconds))
    for _, one in ipairs(self:each()) do
      core.log("error", "worker does not end, it is killed",
        { worker = one.number, pid = one.pid, seconds = seconds })
      one:signal "KILL"
    end
  end)
  if self.gate then self.gate:cancel() end
end

function Master:watch_signals()
  for _, name in ipairs { "INT", "TERM" } do
    core.on_signal(name, function() self:stop(name) end)
  end
  core.on_signal("HUP", function()
    self.manager:reload(function() self.pages:ask_reload() end)
  end)
  core.on_signal("USR2", function() self:upgrade() end)
end

-- ---- the life of an instance

function Master:open()
  local settings = self.settings.server
  local parent = os.getenv "TMPDIR" or "/tmp"
  local err
  self.directory, err = core.mkdtemp(parent .. "/tidepool-instance-")
  if not self.directory then return err.message end
  local before = self.before
  self.budget, err = self:open_budget()
  if not self.budget then return err end
  self.sockets, err = core.sockets { address = settings.listen, count = self.count,
    fds = before and before:fds "main" }
  if not self.sockets then return err.message end
  if settings.admin then
    self.admin_sockets, err = core.sockets { address = settings.admin,
      fds = before and before:fds "admin" }
    if not self.admin_sockets then return err.message end
  end
  self.pages = pages.new(self)
  self.control, err = core.listen { address = "unix:" .. self.directory .. "/master",
    handler = self.pages:control_handler() }
  if not self.control then return err.message end
end

-- The budget of connections: that of the master before where there is one, so that its
-- workers and ours keep to it together.
function Master:open_budget()
  local fds = self.before and self.before:fds "budget"
  local budget, err
  if fds then budget, err = core.budget_attach(fds[1]) end
  if err then core.log("warn", "the budget of the version before is not ours", {
    error = err.message, consequence = "both may have max_connections for a moment" })
  end
  if not budget then budget, err = core.budget_new() end
  return budget, err and err.message
end

function Master:listen_admin()
  local err
  if not self.admin_sockets then return end
  self.admin, err = core.listen { sockets = self.admin_sockets:fds(),
    handler = self.pages:admin_handler() }
  return err and err.message
end

-- The first worker alone: it may find that the script is no app, or wrong.  Then the
-- others.  Gives the status to end with, or nil when all serve.
function Master:start()
  self.is_starting = true
  self:spawn(1)
  self:wait(function()
    return self.first_status or #self:serving() == 1 or self.stopping
  end)
  if self.first_status or self.stopping then return self.first_status end
  for number = 2, self.count do self:spawn(number) end
  self:wait(function()
    return self.first_status or #self:serving() == self.count or self.stopping
  end)
  self.is_starting = false
  return self.first_status
end

-- ---- a new binary

-- Starts the program at its path as the next master of this instance.
function Master:upgrade()
  if self.heir or self.stopping then
    return core.log("warn", "no upgrade now", { pid = self.heir and self.heir:pid(),
      why = self.heir and "one is under way" or "the instance stops" })
  end
  local groups = { main = self.sockets:fds(), budget = { self.budget:fd() },
    admin = self.admin_sockets and self.admin_sockets:fds() }
  local err
  self.heir, err = handover.start(self.program, self.words, self.directory, groups,
    self.manager:environment(), function(status)
      self.heir = nil
      if not self.is_retired and not self.stopping then
        core.log("error", "upgrade failed, this version goes on", { status = status })
      end
    end)
  if not self.heir then
    return core.log("error", "upgrade failed, this version goes on", { error = err })
  end
  core.log("info", "upgrade begins", { program = self.program, pid = self.heir:pid() })
end

-- The next master serves: this one ends, and leaves it what both have.
function Master:retire()
  if self.stopping then return end
  self.is_retired = true
  self.manager:hand_over(self.heir:pid())
  core.log("info", "the next master serves, this one ends", { next = self.heir:pid() })
  if self.admin then
    self.admin:close()
    self.admin = nil
    self.admin_sockets:leave()
  end
  self:stop()
end

function Master:announce()
  say("listening on " .. self.address)
  if self.admin then
    local address = self.admin:address()
    say("admin listening on " .. (address:find "^unix:" and address
      or "http://" .. address))
  end
end

function Master:end_all(status)
  if not self.stopping then self:stop() end
  self:wait(function() return #self:each() == 0 end)
  core.log("info", "stopped", { status = status })
  return status
end

function Master:close()
  if self.sockets then self.sockets:close() end
  if self.control then self.control:close() end
  if self.budget then self.budget:close() end
  if self.admin then self.admin:close() end
  if self.admin_sockets then self.admin_sockets:close() end
  if self.directory then core.remove_tree(self.directory) end
end

function Master:run()
  local wrong = self:open() or self:listen_admin()
  if wrong then
    complain("%s", wrong)
    return FAILED
  end
  self:watch_signals()
  local status = self:start()
  if status then return self:end_all(status) end
  if not self.stopping then
    self:announce()
    if self.before then self.before:finish() end
    self.manager:ready(function() return self.pages:health_page() end)
  end
  self:wait(function() return self.stopping and #self:each() == 0 end)
  core.log("info", "stopped")
  return DONE
end

local master = {}

-- Runs workers with these words of the command line, which are read anew by each.
-- settings: a Config; manager: of service_manager.  Returns the exit status.
function master.run(settings, words, manager)
  local count = settings.server.workers
  local self = setmetatable({
    settings = settings, words = words, manager = manager, count = count, slots = {},
    stopping = false,
    program = core.realpath "/proc/self/exe", before = handover.of_environment(),
    began = core.now(), changes = {}, generation = 1,
  }, Master)
  for number = 1, count do
    self.slots[number] = { number = number, workers = {}, failures = 0, crashes = 0,
                           restarts = 0 }
  end
  core.log_setup(settings.log)
  -- Pages of metrics have other keys each time: compiled code of them is used seldom,
  -- and fills the heap.
  jit.off()
  local status = self:run()
  self:close()
  return status
end

return master
