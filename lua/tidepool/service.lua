-- service.lua - runs a script: opens its pools, loads it, serves its app or runs it to
-- its end, stops in order.

local access = require "tidepool.access"
local admin = require "tidepool.admin"
local confine = require "tidepool.confine"
local control = require "tidepool.control"
local core = require "tidepool.core"
local of = require("tidepool.result").of
local policies = require "tidepool.policies"
local pools = require "tidepool.pools"
local recording = require "tidepool.recording"
local reload = require "tidepool.reload"
local sandbox = require "tidepool.sandbox"
local service_manager = require "tidepool.service_manager"
local tide = require "tidepool"
local tls = require "tidepool.tls"
local url = require "tidepool.url"
local writebehind = require "tidepool.writebehind"

local DONE, FAILED, MISCONFIGURED = 0, 1, 2
local GRACE_SECONDS = 5 -- after the drain time, to close what is open

local Service = {}
Service.__index = Service

local function complain(message, ...)
  io.stderr:write("tidepool: ", message:format(...), "\n")
end

local function say(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

local function tell_of_pool(entry, pool)
  tide._set_pool(entry.kind, entry.name, pool)
  core.log("info", "pool", { name = entry.label, kind = entry.kind,
    url = url.mask(entry.url), source = entry.source })
end

-- ---- the script

-- Runs the script in a task, so that a signal can cancel it.
function Service:load()
  local load = self.config.script.trusted and sandbox.load_trusted or sandbox.load
  self.loader = core.spawn(load, self.path, unpack(self.args))
  local ok, generation, err = of(self.loader:wait())
  self.loader = nil
  if ok and generation then return generation end
  if not ok then err = generation end
  if self.stopping then return complain("%s was interrupted", self.path) end
  local message = tostring(err)
  local is_placed = message:find(self.path, 1, true)
  complain("%s%s%s", is_placed and "" or self.path .. ": ", message,
    core.is_err(err) and err.traceback or "")
end

-- ---- serving

-- Of the admin listener; of a worker's private one, which its master has.
function Service:admin_handler(health)
  local change = control.new {
    pools = self.pools,
    reload = function(number)
      return self.reloader:now(self.member and number or nil)
    end,
    policy = self.policy,
  }
  local own = self.member and self.member:handler(self)
  return function(request)
    core.exempt() -- the operator's, however the scripts are
    local status, headers, body = self.access:refuse(request)
    if not status and own then status, headers, body = own(request) end
    if not status then status, headers, body = health(request) end
    if not status then status, headers, body = change(request) end
    if status then return status, headers, body end
    return 404, nil, "no such page\n"
  end
end

-- What answers the main listener and the admin one.  Where there is no admin listener
-- the main one answers health and metrics, too: in a worker those of its instance.
function Service:handlers()
  self.access = access.new(self.member and {} or self.config.server)
  local health = admin.new {
    access = self.access,
    pools = self.pools,
    optional = self.optional,
    server = function() return self.server end,
    certificates = function() return self.tls and self.tls:certificates() or {} end,
    is_stopping = function() return self.stopping end,
    policy = self.policy,
    recording = self.recording,
    script = function() return self.reloader:stats() end,
  }
  self.metrics_page = function() return (select(3, health(admin.METRICS_REQUEST))) end
  self.health_page = function() return (select(3, health(admin.HEALTH_REQUEST))) end
  local function answer(request) return self.app:handle(request) end
  local admin_handler = self:admin_handler(health)
  if self.config.server.admin then return answer, admin_handler end
  local shown = self.member and self.member:instance_handler(health) or health
  return function(request)
    local status, headers, body = shown(request)
    if status then return status, headers, body end
    return answer(request)
  end, admin_handler
end

local function url_of(server, is_tls)
  local address = server:address()
  if address:find "^unix:" then return address end
  return (is_tls and "https://" or "http://") .. address
end

-- Reads the certificates anew.  Gives a function that shows them from the next
-- connection on; or nil and what is wrong with them.
function Service:prepare_certificates()
  if not self.tls then return function() end end
  local context, wrong = self.tls:read()
  if not context then return nil, wrong end
  return function() self.tls:show(context, self.tls_servers) end
end

-- TLS is for the main listener, unless it is a path, and for the admin one where it can
-- be reached from elsewhere.
function Service:context_of(address, is_admin)
  local is_plain = address:find "^unix:" or (is_admin and access.is_local(address))
  return self.tls and not is_plain and self.tls.context or nil
end

function Service:listen_on(options, is_admin)
  options.tls = self:context_of(options.address, is_admin)
  local server, err = core.listen(options)
  if server and options.tls then table.insert(self.tls_servers, server) end
  return server, err, options.tls and true
end

-- What of the main listener's requests is logged, or nil.
function Service:access_log()
  local log = self.config.log
  if log.access then return { sample = log.access_sample, slow = log.access_slow } end
end

function Service:listen_main(handler)
  return self:listen_on {
    access = self:access_log(),
    address = self.config.server.listen,
    sockets = self.member and self.member:own_sockets(),
    handler = handler, limits = self.config.server.limits,
    body_rule = function(method, path) return self.app:body_rule(method, path) end,
  }
end

-- Listens on both addresses; says where when both are there.
function Service:listen()
  local handler, admin_handler = self:handlers()
  local address = self.member and self.member:private_address()
    or self.config.server.admin
  local err, is_tls, is_admin_tls
  self.server, err, is_tls = self:listen_main(handler)
  if self.server and address then
    self.admin, err, is_admin_tls = self:listen_on({ address = address,
      handler = admin_handler }, true)
  end
  if err then
    complain("%s", err.message)
    return false
  end
  if self.member then return self.member:tell_ready(url_of(self.server, is_tls)) end
  say("listening on " .. url_of(self.server, is_tls))
  if self.admin then say("admin listening on " .. url_of(self.admin, is_admin_tls)) end
  return true
end

-- Parks until a signal says to stop.
function Service:wait_for_stop()
  self:wait_for(function()
    while not self.stopping do of(core.sleep(3600)) end
  end)
end

-- A worker that starts late has what was changed in the others.
function Service:catch_up()
  local changes = self.member:changes()
  for _, pool in ipairs(self.pools) do
    local change = changes[pool:name()]
    if change then control.apply(pool, change.settings, change.paused) end
  end
end

-- Waits for fn(...), unless another signal cuts it short.  Gives what it gives.
function Service:wait_for(fn, ...)
  self.gate = core.spawn(fn, ...)
  local ok, result = of(self.gate:wait())
  self.gate = nil
  return ok and result
end

-- Whoever asks for readiness has time to see that there is none, and goes elsewhere.
function Service:give_notice()
  local seconds = self.config.server.drain_delay
  if self.member or seconds == 0 then return end -- the master's to give
  self.server:announce_end()
  core.log("info", "not ready any more", { draining_in = seconds })
  self:wait_for(function() return of(core.sleep(seconds)) end)
end

function Service:drain_requests(seconds)
  core.log("info", "draining", { in_flight = self.server:stats().in_flight,
    seconds = seconds })
  self.reloader:retire_last()
  if self.member then self.member:leave_sockets() end
  if not self:wait_for(function() return of(self.server:drain(seconds)) end) then
    self.is_cut = self.is_hurried and self.server:stats().in_flight > 0
    core.log("warn", "requests were cut off", { in_flight = self.server:stats().in_flight,
      reason = self.is_hurried and "another signal came" or "the drain time is over" })
  end
  self.reloader:finish_last()
  self.is_drained = true
end

-- What scripts have not stored yet, while there are pools.
function Service:store_changes(limit)
  local left = self.is_hurried and 0 or math.max(1, limit - core.now())
  self:wait_for(function() writebehind.finish(left) end)
  writebehind.finish(0)
end

-- Finishes what runs, for as long as the configuration grants.
function Service:drain()
  self:give_notice()
  local limit = core.now() + self.config.server.drain
  self:drain_requests(self.config.server.drain)
  self:store_changes(limit)
  if self.member then self.member:tell_end(self.metrics_page()) end
  self.policy:close()
  self.recording:close()
  self.server:close()
  if self.admin then self.admin:close() end
  pools.close(self.pools, self.is_hurried and 0 or math.max(0, limit - core.now()))
  core.log("info", "stopped")
  return self.is_cut and FAILED or DONE
end

-- The policy is for pools whose size the operator left open, unless it was chosen.
function Service:start_policy()
  local settings, flown, tell = self.config:policy(), {}, nil
  for i, entry in ipairs(self.config:pools()) do
    if settings.source ~= "default" or not self.config:is_sized(entry.section) then
      flown[#flown + 1] = self.pools[i]
    end
  end
  if self.member then
    if self.member.number ~= 1 then flown = {} end -- one for the instance
    tell = function(pool, changed) self.member:tell_settings(pool, changed) end
  end
  local err
  self.policy, err = policies.start(settings, flown, tell)
  if self.policy then return true end
  complain("policy.use (%s): %s", settings.source, err)
end

-- Each worker has a file of its own.
function Service:record_settings()
  local settings = self.config.record
  if not self.member or not settings.file then return settings end
  return setmetatable({ file = settings.file .. "." .. self.member.number },
    { __index = settings })
end

function Service:start_recording()
  local err
  self.recording, err = recording.start(self:record_settings(), self.pools)
  if self.recording then return true end
  complain("record.file: %s", err)
end

-- What scripts may use from here on; to load they may take what it takes.
function Service:limit()
  local _, err = core.limits(self.config.script)
  if err then
    core.log("warn", "scripts have no budget of CPU", { error = err.message })
  end
  if self.member then core.tell_when_stuck() end -- in others QUIT ends it, as it should
  core.on_suspect(function(reason)
    if self.member then return self.member:tell_suspect(reason) end
    core.log("error", "this process should be started anew", { reason = reason })
  end)
end

function Service:begin(generation)
  self.reloader = reload.new(self.path, self.args, generation, {
    drain = self.config.server.drain, number = self.member and self.member.generation,
    prepare = function() return self:prepare_certificates() end,
  }, function(app) self.app = app end)
  local ok, wrong = self.reloader:begin()
  if not ok then return complain("%s", wrong) end
  -- A terminal that closes sends one, too: who develops has gone then.
  if self.watch then
    core.on_signal("HUP", function() self:stop "HUP" end)
  elseif not self.member then
    core.on_signal("HUP", function()
      self.manager:reload(function() self.reloader:ask() end)
    end)
    core.on_signal("USR2", function()
      core.log("warn", "no new binary takes over without --workers")
    end)
  end
  return true
end

function Service:serve(generation)
  self:limit()
  if self.member then self:catch_up() end
  if not self:start_policy() or not self:start_recording() then return MISCONFIGURED end
  if not self:begin(generation) or not self:listen() then return FAILED end
  if not self:confine(confine.sockets, self.member) then return FAILED end
  if self.watch then self.reloader:watch() end
  if not self.stopping then self.manager:ready(self.health_page) end
  self:wait_for_stop()
  return self:drain()
end

-- ---- signals

-- The first one stops in order.  Each that follows cuts short what is waited for:
-- drain_delay, what runs; then it ends at once.  To cut what runs is a failure.
function Service:hurry(name)
  if not self.gate then
    os.exit(self.is_drained and not self.is_cut and DONE or FAILED)
  end
  core.log("warn", "stopping sooner", { signal = name })
  self.is_hurried = true
  self.gate:cancel()
end

function Service:stop(name)
  if self.stopping then return self:hurry(name) end
  self.stopping = true
  self.manager:stop(self.config.server.drain_delay + self.config.server.drain
    + GRACE_SECONDS)
  core.log("info", "stopping", { signal = name })
  if self.loader then self.loader:cancel() end
  if self.gate then self.gate:cancel() end
end

function Service:watch_signals()
  for _, name in ipairs(self.member and { "TERM" } or { "INT", "TERM" }) do
    core.on_signal(name, function() self:stop(name) end)
  end
  -- What goes to all processes, as a terminal's do, is for the master.
  for _, name in ipairs(self.member and { "INT", "HUP", "USR2" } or {}) do
    core.on_signal(name, function() end)
  end
end

-- ---- the module

local service = {}

-- As said by fn of confine.lua, where it is asked for.
function Service:confine(fn, ...)
  if not self.config.server.confine or self.watch then return true end
  local done, why = fn(...)
  if not done then complain("%s", why) end
  return done
end

function Service:run()
  self:watch_signals()
  if not self:confine(confine.begin, self.config, self.path, self.member) then
    return MISCONFIGURED
  end
  local failure = self.member and self.member:join_budget()
  if failure then
    complain("%s", failure)
    return FAILED
  end
  self.tls, failure = tls.new(self.config.server.tls)
  if failure then
    complain("%s", failure)
    return MISCONFIGURED
  end
  local opened, wrong = pools.open(self.config:pools(), function(entry, pool)
    if not entry.required then self.optional[pool] = true end
    tell_of_pool(entry, pool)
  end)
  if not opened then
    complain("%s", wrong)
    return MISCONFIGURED
  end
  self.pools = opened
  local generation = self:load()
  if not generation then return FAILED end
  local value = generation.value
  if tide._is_app(value) then return self:serve(generation) end
  if value == nil then return DONE end
  complain("%s returned a %s; a script returns an app (of tide.app) or nothing",
    self.path, type(value))
  return FAILED
end

-- Runs the script at path with the arguments args.  options: watch (reload it when it is
-- saved), member (of member.of_environment(), for a worker), manager (of service_manager,
-- who is to be told).  Returns the exit status.
function service.run(settings, path, args, options)
  options = options or {}
  local self = setmetatable({
    config = settings, path = path, args = args, watch = options.watch,
    member = options.member, manager = options.manager or service_manager.none(),
    pools = {}, optional = {}, stopping = false, tls_servers = {},
  }, Service)
  if self.member then tide._set_worker(self.member.number, self.member.count) end
  tide._set_request_timeout(settings.server.request_timeout)
  core.trace_sample(settings.server.trace_sample)
  if settings:tells_route() then tide._tell_route() end
  core.log_setup { level = settings.log.level, format = settings.log.format,
    worker = self.member and self.member.number }
  for _, warning in ipairs(settings.warnings) do
    core.log("warn", "configuration", { warning = warning })
  end
  for _, line in ipairs(settings:describe()) do
    core.log("debug", "setting", { is = line })
  end
  local status = self:run()
  writebehind.finish(settings.server.drain)
  pools.close(self.pools, 0)
  if self.member then self.member:leave() end
  return status
end

return service
