-- load_report.lua - what a load test found, as text, and two of them side by side.

local BAR = 40

local report = {}

-- ---- units

local function ms(seconds)
  local value = seconds * 1000
  local form = value < 10 and "%.3f ms" or value < 1000 and "%.1f ms" or "%.0f ms"
  return form:format(value)
end

local UNITS = { "B", "KiB", "MiB", "GiB", "TiB" }

local function bytes(value)
  local unit = 1
  while value >= 1024 and unit < #UNITS do value, unit = value / 1024, unit + 1 end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(value, UNITS[unit])
end

local function count(value) return ("%.0f"):format(value) end
local function one_digit(value) return ("%.1f"):format(value) end
local function percent(value) return ("%.0f %%"):format(value) end

-- "a 1, b 2" of what is above 0, by name.
local function listed(counts)
  local names, parts = {}, {}
  for name, value in pairs(counts) do
    if value > 0 then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = name .. " " .. count(counts[name]) end
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

-- ---- one test

local Text = {}
Text.__index = Text

function Text:line(name, text, ...)
  self[#self + 1] = ("  %-14s " .. text):format(name, ...)
end

-- Buckets as bars: each line twice the latency of the one before.
function Text:bars(latency)
  local lines, at, limit = {}, 1, 0.000001
  local buckets = latency.buckets
  while at <= #buckets do
    local sum = 0
    while at <= #buckets and buckets[at].le <= limit do
      sum, at = sum + buckets[at].count, at + 1
    end
    if sum > 0 or #lines > 0 then lines[#lines + 1] = { limit = limit, count = sum } end
    limit = limit * 2
  end
  for _, line in ipairs(lines) do
    local share = line.count / latency.count
    local bar = ("#"):rep(math.ceil(share * BAR))
    self[#self + 1] = (("  to %10s %8s %6.2f %% %s"):format(ms(line.limit),
      count(line.count), share * 100, bar))
  end
end

function Text:latencies(result)
  local latency = result.latency
  if latency.count == 0 then return end
  self:line("latency", "average %s, max %s%s", ms(latency.average), ms(latency.max),
    result.rate and ", from when requests were due" or "")
  self:line("", "p50 %s, p90 %s, p95 %s, p99 %s, p99.9 %s", ms(latency.p50),
    ms(latency.p90), ms(latency.p95), ms(latency.p99), ms(latency.p99_9))
  if result.rate then
    self:line("", "p50 %s, p99 %s from when they were sent", ms(result.service.p50),
      ms(result.service.p99))
  end
  self:bars(latency)
end

function Text:counts(result)
  self:line("requests", "%s sent, %s answered, %.1f/s, at most %s at once",
    count(result.sent), count(result.answered), result.requests_per_second,
    count(result.max_concurrent))
  if result.rate then
    self:line("schedule", "%s sent late (over 1 ms), %s due and never sent",
      count(result.late), count(result.unsent))
  end
  self:line("status", "%s", listed(result.status))
  local errors = listed(result.errors)
  if result.last_error then errors = ("%s (%s)"):format(errors, result.last_error) end
  self:line("errors", "%s", errors)
  if result.abandoned > 0 then
    self:line("", "%s had no reply yet when it ended", count(result.abandoned))
  end
  self:line("bytes", "%s in, %s out", bytes(result.bytes_in), bytes(result.bytes_out))
end

function Text:server(result)
  local server = result.server
  if not server then
    self:line("pools", "not readable: %s", result.server_why)
  else
    self:line("pools", "at most %s connections in use, %.1f connection timeouts a minute",
      count(server.peak_in_use), server.timeouts_per_minute)
    local names = {}
    for name in pairs(server.pools) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      local pool = server.pools[name]
      self:line("", "%s: in use %s, waiting %s, timeouts %s, errors: %s", name,
        count(pool.peak_in_use), count(pool.peak_waiting), count(pool.timeouts),
        listed(pool.errors))
    end
  end
  if result.database_cpu then
    self:line("database CPU", "%s (100 %% is one core)", percent(result.database_cpu))
  else
    self:line("database CPU", "not readable: %s", result.database_cpu_why)
  end
end

-- The text of a result.
function report.text(result)
  local self = setmetatable({}, Text)
  self[1] = ("%s %s: %d connections, %.1f s, %s"):format(result.method, result.url,
    result.connections, result.seconds,
    result.rate and ("open loop at %.10g/s"):format(result.rate) or "closed loop")
  self:counts(result)
  self:latencies(result)
  self:server(result)
  return table.concat(self, "\n") .. "\n"
end

-- A line while it runs.
function report.progress(stats, seconds)
  return ("%.0f s of %.10g: %s answered, %.0f/s, p99 %s, errors %s"):format(
    stats.seconds, seconds, count(stats.answered), stats.rate, ms(stats.latency.p99),
    listed(stats.errors))
end

-- ---- two of them

local function sum(counts)
  local total = 0
  for _, value in pairs(counts) do total = total + value end
  return total
end

-- name, how to show it, where it is
local ROWS = {
  { "requests/s", one_digit, function(r) return r.requests_per_second end },
  { "average latency", ms, function(r) return r.latency.average end },
  { "p95 latency", ms, function(r) return r.latency.p95 end },
  { "p99 latency", ms, function(r) return r.latency.p99 end },
  { "max concurrent requests", count, function(r) return r.max_concurrent end },
  { "max connections in use", count, function(r) return r.server and r.server.peak_in_use
  end },
  { "database CPU", percent, function(r) return r.database_cpu end },
  { "connection timeouts/min", one_digit, function(r)
    return r.server and r.server.timeouts_per_minute
  end },
  { "errors", count, function(r) return sum(r.errors) end },
}

local function change(before, after)
  if not before or not after then return "-" end
  if before == after then return "0 %" end
  if before == 0 then return "from 0" end
  return ("%+.0f %%"):format(100 * (after - before) / before)
end

local function shown(row, value) return value and row[2](value) or "not readable" end

-- The table of two results.
function report.compare(before, after)
  local lines = { ("%-24s %14s %14s %10s"):format("", "before", "after", "change") }
  for _, row in ipairs(ROWS) do
    local one, other = row[3](before), row[3](after)
    lines[#lines + 1] = ("%-24s %14s %14s %10s"):format(row[1], shown(row, one),
      shown(row, other), change(one, other))
  end
  return table.concat(lines, "\n") .. "\n"
end

return report
