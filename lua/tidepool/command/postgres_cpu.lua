-- postgres_cpu.lua - the CPU that a Postgres on this machine uses, by /proc.

local core = require "tidepool.core"

local TICKS = 100 -- of /proc/PID/stat, a second

local function stat_of(pid)
  local text = core.read_file("/proc/" .. pid .. "/stat")
  local name, rest = (text or ""):match "^%d+ %((.*)%) %a (.*)$"
  if not name then return nil end
  local fields = {}
  for field in rest:gmatch "%S+" do fields[#fields + 1] = tonumber(field) end
  -- ppid is the first here; utime, stime, cutime, cstime are 14 to 17 of all
  return { name = name, parent = fields[1], own = fields[11] + fields[12],
           ended = fields[13] + fields[14] }
end

local function processes()
  local all = {}
  for _, name in ipairs(core.list_dir "/proc" or {}) do
    local pid = tonumber(name)
    local stat = pid and stat_of(pid)
    if stat then all[pid] = stat end
  end
  return all
end

local function is_postgres(stat)
  return stat and (stat.name == "postgres" or stat.name == "postmaster")
end

-- Seconds that it has used: its own, its children's, and what those used that have
-- ended, which it waits for.
local function seconds_of(postmaster)
  local all = processes()
  local main = all[postmaster]
  if not is_postgres(main) then return nil end
  local ticks = main.own + main.ended
  for _, stat in pairs(all) do
    if stat.parent == postmaster then ticks = ticks + stat.own + stat.ended end
  end
  return ticks / TICKS
end

local Usage = {}
Usage.__index = Usage

-- In percent of one core since the beginning; or nil and why it is not known.
function Usage:percent()
  local now = seconds_of(self.postmaster)
  if now then return 100 * (now - self.start) / (core.now() - self.at) end
  return nil, "Postgres ended"
end

local postgres_cpu = {}

-- The one Postgres server of this machine, or nil and why not.
function postgres_cpu.find_postmaster()
  local all, found = processes(), {}
  for pid, stat in pairs(all) do
    if is_postgres(stat) and not is_postgres(all[stat.parent]) then
      found[#found + 1] = pid
    end
  end
  if #found == 1 then return found[1] end
  if #found == 0 then return nil, "no Postgres runs on this machine" end
  return nil, ("%d Postgres servers run on this machine; --postgres-pid says which")
    :format(#found)
end

-- The server of a session with this pid, or nil when no such one is on this machine.
function postgres_cpu.postmaster_of(session)
  local stat = stat_of(session)
  return is_postgres(stat) and stat.parent or nil
end

-- Begins to count; or nil and why not.
function postgres_cpu.begin(postmaster)
  local self = setmetatable({ postmaster = postmaster, at = core.now() }, Usage)
  self.start = seconds_of(postmaster)
  if self.start then return self end
  return nil, ("process %d is no Postgres"):format(postmaster)
end

return postgres_cpu
