-- Parks so many tasks and says what one takes of resident memory.

local core = require "tidepool.core"
local tide = require "tidepool"

local count = tonumber((...))

local function resident_kb()
  collectgarbage()
  collectgarbage()
  return tonumber(core.read_file("/proc/self/status"):match "RssAnon:%s*(%d+)")
end

local function park() tide.sleep(3600) end

local before = resident_kb()
for _ = 1, count do tide.spawn(park) end
tide.sleep(0.5)
io.stdout:write(("kb %.3f\n"):format((resident_kb() - before) / count))
io.stdout:flush()
tide.sleep(60)
