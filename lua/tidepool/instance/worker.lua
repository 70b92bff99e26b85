-- worker.lua - one worker as its master sees it: a process that starts, serves, and ends.

local call = require "tidepool.call"
local core = require "tidepool.core"
local member = require "tidepool.instance.member"
local metrics_sums = require "tidepool.instance.metrics_sums"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"

local PROGRAM = "/proc/self/exe" -- the version of the master, also when there is a newer
local TOLD_PATIENCE = 0.5 -- of probes, which have little themselves
local PULSE_SECONDS = 1
local ASK_SECONDS = 0.5 -- for a stuck one to say where it is: once, and once more

local Worker = {}
Worker.__index = Worker

-- "signal 9 (KILL)", "status 1"
local SIGNALS = { [1] = "HUP", [2] = "INT", [3] = "QUIT", [4] = "ILL", [6] = "ABRT",
                  [7] = "BUS", [8] = "FPE", [9] = "KILL", [11] = "SEGV", [13] = "PIPE",
                  [14] = "ALRM", [15] = "TERM", [24] = "XCPU", [31] = "SYS" }

local function ending_of(status)
  local signal = status > 128 and status - 128
  if not signal then return "status " .. status end
  return SIGNALS[signal] and ("signal %d (%s)"):format(signal, SIGNALS[signal])
    or "signal " .. signal
end

-- Asks it.  Gives the status and the body; or nil and why there is none.
function Worker:ask(path, options)
  return call({ unix_path = self.socket, authority = "localhost", path = path }, options)
end

-- What it is (see overview.instance()); what it was, where it does not say at once; or
-- nil.
function Worker:overview()
  local status, body = self:ask("/health/pools", { patience = TOLD_PATIENCE })
  if status == 200 then self.told = (reply.decode(body)) end
  return self.told
end

function Worker:signal(name)
  self.process:signal(name)
end

-- Its page of metrics; the last that it gave where it gives none now.
function Worker:metrics()
  local status, body = self:ask("/metrics", { patience = TOLD_PATIENCE })
  if status == 200 then self.families = metrics_sums.read(body) end
  return self.families
end

-- It does not answer: where is it, and away with it.
function Worker:replace_stuck(seconds)
  core.log("error", "worker does not answer, it is killed",
    { worker = self.number, pid = self.pid, seconds = seconds })
  self.is_stuck = true
  for _ = 1, 2 do -- see stuck.h
    if not self.is_gone then self:signal "QUIT" end
    of(core.sleep(ASK_SECONDS))
  end
  if not self.is_gone then self:signal "KILL" end
end

-- Asks every now and then whether its loop turns.
function Worker:watch_pulse(limit)
  local heard = core.now()
  while not self.is_gone do
    of(core.sleep(PULSE_SECONDS))
    if self.is_gone or self.is_ending then return end
    if self:ask "/health/live" == 200 then
      heard = core.now()
    elseif core.now() - heard > limit then
      return self:replace_stuck(math.floor(core.now() - heard))
    end
  end
end

-- It serves.  limit: seconds without an answer after which it is stuck.
function Worker:serve(limit)
  self.is_ready = true
  core.log("info", "worker serves", { worker = self.number, pid = self.pid,
    ms = math.floor((core.now() - self.began) * 1e3 + 0.5) })
  core.spawn(self.watch_pulse, self, limit)
end

-- Asks it to finish what it does and end.
function Worker:finish()
  self.is_ending = true
  self:signal "TERM"
end

local worker = {}

-- Starts one.  options: number, count, directory, args, inherit
-- (array of descriptors), fields (what member.environment() gets more); on_end(worker,
-- status, text) is called once when it is gone.  Or nil and a sentence.
function worker.start(options, on_end)
  local fields = { number = options.number, count = options.count,
                   directory = options.directory, parent = core.pid() }
  for name, value in pairs(options.fields) do fields[name] = value end
  local process, err = core.process {
    file = PROGRAM, shares_all = true, inherit = options.inherit,
    args = { ("tidepool: worker %d:"):format(options.number), unpack(options.args) },
    env = member.environment(fields),
  }
  if not process then return nil, err.message end
  local self = setmetatable({
    number = options.number, process = process, pid = process:pid(), began = core.now(),
    socket = ("%s/worker-%d-%d"):format(options.directory, options.number, process:pid()),
    families = {},
  }, Worker)
  core.spawn(function()
    local status = of(process:wait())
    self.is_gone, self.is_ready = true, false
    os.remove(self.socket)
    on_end(self, status, ending_of(status))
  end)
  return self
end

return worker
