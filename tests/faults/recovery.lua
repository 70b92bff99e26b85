-- recovery.lua - how soon a service answers again, and what callers saw meanwhile.

local core = require "tidepool.core"
local server = require "tidepool.server"
local support = require "support"

local recovery = {}

-- Measured far less on a machine that is not busy; see tests/README.md.
local LIMIT_SECONDS = 10 * support.slowness

-- Waits until read() is answered, prints after how many seconds, and returns them.
function recovery.measure(what, read)
  local began = core.now()
  support.eventually(what .. ": it answers again", read, LIMIT_SECONDS)
  local seconds = core.now() - began
  print(("# recovery %s: %.3f s"):format(what, seconds))
  return seconds
end

-- Sends STOP or CONT to a server and to its processes.
function recovery.signal(own, name)
  local words = { "kill", "-" .. name, tostring(own.pid) }
  local children = core.read_file(("/proc/%d/task/%d/children"):format(own.pid, own.pid))
  for pid in (children or ""):gmatch "%d+" do words[#words + 1] = pid end
  server.run(words) -- one that has ended meanwhile is no failure
end

-- Writes numbers one by one by each of count callers, write(id), until stop(): { ok =
-- list of ids, unknown =, no = }; what raises is the test's.
function recovery.writers(count, write)
  local told, n = { ok = {}, unknown = {}, no = {}, codes = {} }, 0
  local load = support.load(count, function()
    n = n + 1
    local id = n
    local ok, err = write(id)
    local list = ok and "ok" or err.outcome == "unknown" and "unknown" or "no"
    table.insert(told[list], id)
    if err then told.codes[err.code] = (told.codes[err.code] or 0) + 1 end
    return ok, err
  end)
  told.load = load
  return told
end

-- is_there: id -> true.  Each ok is there, each err is not or said "unknown".
function recovery.check_writes(told, is_there, what)
  for _, id in ipairs(told.ok) do
    if not is_there[id] then error(id .. " was acknowledged and is not there", 2) end
  end
  for _, id in ipairs(told.no) do
    if is_there[id] then error(id .. " failed, outcome known, and is there", 2) end
  end
  local codes = {}
  for code, count in pairs(told.codes) do codes[#codes + 1] = code .. " " .. count end
  table.sort(codes)
  print(("# writes %s: %d acknowledged, %d failed, %d unknown (%s)"):format(what,
    #told.ok, #told.no, #told.unknown, table.concat(codes, ", ")))
end

return recovery
