-- watch.lua - looks at the processes of a soak and at its metrics every few seconds, and
-- writes what it saw to a CSV.

local call = require "tidepool.call"
local core = require "tidepool.core"

local watch = {}

local MIB = 1024 * 1024

-- ---- a process

-- Seconds that a process had of the CPU, and seconds that it had to wait for it.
function watch.cpu(pid)
  local text = core.read_file("/proc/" .. pid .. "/schedstat") or ""
  local had, waited = text:match "^(%d+) (%d+)"
  return (tonumber(had) or 0) / 1e9, (tonumber(waited) or 0) / 1e9
end

-- Resident memory in MiB, all and what is not of files, descriptors, and seconds of CPU;
-- or nil when the process is gone.
function watch.process(pid)
  local status = core.read_file("/proc/" .. pid .. "/status")
  local rss = status and status:match "VmRSS:%s*(%d+)"
  local files = core.list_dir("/proc/" .. pid .. "/fd")
  if not rss or not files then return nil end
  local cpu, starved = watch.cpu(pid)
  local anonymous = status:match "RssAnon:%s*(%d+)"
  return { pid = pid, rss = rss / 1024, anonymous = anonymous / 1024,
           descriptors = #files, cpu = cpu, starved = starved }
end

-- ---- metrics

-- The page as a function: the sum of all series of this name, with this label if any.
local function metrics(target)
  local page = setmetatable({ path = "/metrics" }, { __index = target })
  local status, body = call(page)
  if status ~= 200 then return nil end
  return function(name, label)
    local sum = 0
    for series, value in body:gmatch "([^\n#][^\n]*) (%S+)\n" do
      local matches = series:match "^[%w_]+" == name
      if matches and (not label or series:find(label, 1, true)) then
        sum = sum + tonumber(value)
      end
    end
    return sum
  end
end

local POSTGRES, REDIS = 'pool_name="main"', 'pool_name="redis"'

-- name of the column, family, label
local COLUMNS = {
  { "requests", "tidepool_http_requests_total" },
  { "in_flight", "tidepool_http_requests_in_flight" },
  { "clients", "tidepool_http_open_connections" },
  { "tasks", "tidepool_tasks" },
  { "task_errors", "tidepool_task_errors_total" },
  { "postgres_max", "db_client_connection_max", POSTGRES },
  { "postgres_connections", "db_client_connection_count", POSTGRES },
  { "postgres_waiting", "db_client_connection_pending_requests", POSTGRES },
  { "redis_max", "db_client_connection_max", REDIS },
  { "redis_connections", "db_client_connection_count", REDIS },
  { "redis_waiting", "db_client_connection_pending_requests", REDIS },
  { "pool_errors", "tidepool_pool_errors_total" },
  { "pool_closes", "tidepool_pool_closes_total" },
  { "policy_changes", "tidepool_policy_changes_total" },
  { "dirty", "tidepool_writebehind_dirty" },
  { "crashes", "tidepool_worker_crashes_total" },
}

-- ---- the file

local PROCESSES = { "master", "worker1", "worker2" }
local OF_PROCESS = { "pid", "rss", "anonymous", "descriptors", "cpu", "starved" }
local OF_ROUND = { "p50_ms", "p99_ms", "sent", "ok" }

local function header()
  local names = { "seconds" }
  for _, process in ipairs(PROCESSES) do
    for _, what in ipairs(OF_PROCESS) do names[#names + 1] = process .. "_" .. what end
  end
  names[#names + 1], names[#names + 2] = "worker1_heap", "worker2_heap"
  for _, column in ipairs(COLUMNS) do names[#names + 1] = column[1] end
  for _, name in ipairs(OF_ROUND) do names[#names + 1] = name end
  names[#names + 1] = "errors"
  return names
end

local HEADER = header()

-- A watch that writes to path.
function watch.open(path)
  local self = { file = assert(io.open(path, "w")), samples = {}, began = core.now() }
  self.file:write(table.concat(HEADER, ","), "\n")
  return setmetatable(self, { __index = watch })
end

local function look_at_processes(sample, pids)
  for i, name in ipairs(PROCESSES) do
    local seen = pids[i] and watch.process(pids[i])
    sample[name] = seen
    for _, what in ipairs(seen and OF_PROCESS or {}) do
      sample[name .. "_" .. what] = seen[what]
    end
  end
end

local function look_at_metrics(sample, target)
  local value = metrics(target)
  if not value then return end
  for _, column in ipairs(COLUMNS) do sample[column[1]] = value(column[2], column[3]) end
  for i = 1, 2 do
    sample["worker" .. i .. "_heap"] =
      value("tidepool_worker_lua_memory_bytes", ('worker="%d"'):format(i)) / MIB
  end
end

local function cell(value)
  if type(value) == "number" then return (("%.3f"):format(value):gsub("%.?0+$", "")) end
  return value or ""
end

-- Looks once.  pids: of the master and its workers; round: what mix.round() gave last.
function watch:look(target, pids, round, errors)
  local sample = { seconds = core.now() - self.began }
  look_at_processes(sample, pids)
  look_at_metrics(sample, target)
  if round then
    sample.p50_ms, sample.p99_ms = round.p50 * 1000, round.p99 * 1000
    sample.sent, sample.ok = round.sum.sent, round.sum.ok
    sample.errors = '"' .. errors .. '"'
  end
  local cells = {}
  for i, name in ipairs(HEADER) do cells[i] = cell(sample[name]) end
  self.file:write(table.concat(cells, ","), "\n")
  self.file:flush()
  self.samples[#self.samples + 1] = sample
  return sample
end

return watch
