-- alarm.lua - a sleep of one task that others can end.
--
-- Rung while nobody sleeps it rings at once in the next one, until it is set again.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local Alarm = {}
Alarm.__index = Alarm

-- Parks until it is rung, or for so many seconds.
function Alarm:sleep(seconds)
  if self.is_rung then return end
  self.sleeper = core.spawn(function() of(core.sleep(seconds)) end)
  of(self.sleeper:wait())
  self.sleeper = nil
end

function Alarm:ring()
  self.is_rung = true
  if self.sleeper then self.sleeper:cancel() end
end

-- What was rung before does not count.
function Alarm:set()
  self.is_rung = false
end

local alarm = {}

function alarm.new()
  return setmetatable({ is_rung = false }, Alarm)
end

return alarm
