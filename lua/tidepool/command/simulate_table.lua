-- simulate_table.lua - what simulations did, as text.

local ROWS = 24      -- of the table
local CHANGES = 20   -- that are told, of each policy

local simulate_table = {}

local function ms(seconds) return ("%.1f"):format(seconds * 1000) end

local function row_of(sample, interval)
  local function per_second(count) return ("%.0f"):format(count / interval) end
  local function count(number) return ("%d"):format(number) end
  return { ("%.0f"):format(sample.at), per_second(sample.arrivals),
    per_second(sample.done), per_second(sample.shed),
    per_second(sample.timeouts + sample.refused), count(sample.max),
    count(sample.in_use), count(sample.waiting), ms(sample.wait_p50),
    ms(sample.wait_p99), ms(sample.service_p50) }
end

local HEAD = { "s", "asked/s", "done/s", "shed/s", "failed/s", "max", "in use", "waiting",
  "wait p50", "p99 ms", "service" }

-- Several samples as one: counts added, the others as they were last, times at worst.
local function merge(samples, from, to)
  local merged = {}
  for name, value in pairs(samples[to]) do merged[name] = value end
  for _, name in ipairs { "arrivals", "done", "shed", "timeouts", "refused" } do
    merged[name] = 0
    for i = from, to do merged[name] = merged[name] + samples[i][name] end
  end
  for _, name in ipairs { "wait_p50", "wait_p99" } do
    for i = from, to do merged[name] = math.max(merged[name], samples[i][name]) end
  end
  return merged
end

local function put_table(out, rows, width)
  local form = ("%%%ds"):format(width)
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = form:format(cell) end
    out[#out + 1] = table.concat(cells, " ")
  end
end

local function put_samples(out, report, words)
  local samples, rows = report.samples, { HEAD }
  local step = math.max(1, math.ceil(#samples / ROWS))
  for from = 1, #samples, step do
    local to = math.min(from + step - 1, #samples)
    rows[#rows + 1] = row_of(merge(samples, from, to), (to - from + 1) * words.sample)
  end
  put_table(out, rows, 9)
end

-- What a change did to which setting.
function simulate_table.what(change)
  if change.outcome == "failed" then return "failed" end
  return ("%s %s %.6g -> %.6g"):format(change.outcome, change.setting, change.from,
    change.to)
end

-- The same, and why.
function simulate_table.change(change)
  return ("%.1f s  host %d  %s: %s"):format(change.at, change.host + 1,
    simulate_table.what(change), change.reason)
end

local function put_changes(out, report)
  for i, change in ipairs(report.changes) do
    if i > CHANGES then
      out[#out + 1] = ("  and %d more"):format(
        #report.changes - CHANGES + report.changes_lost)
      break
    end
    out[#out + 1] = "  " .. simulate_table.change(change)
  end
  if #report.changes == 0 then out[#out + 1] = "  it changed nothing" end
end

-- Adds a report's lines to out.
function simulate_table.put(out, report, words)
  local total = report.total
  out[#out + 1] = ("policy %s: %d host%s, %.0f s, seed %d"):format(report.policy,
    words.hosts, words.hosts > 1 and "s" or "", total.at, words.seed)
  put_samples(out, report, words)
  out[#out + 1] = ("in all %d asked, %d done, %d shed, %d timed out, %d refused; "
    .. "wait p50 %s ms, p99 %s ms"):format(total.arrivals, total.done, total.shed,
      total.timeouts, total.refused, ms(total.wait_p50), ms(total.wait_p99))
  put_changes(out, report)
  out[#out + 1] = ""
end

-- name, of a report's total
local TOTALS = {
  { "asked", function(t) return ("%d"):format(t.arrivals) end },
  { "done", function(t) return ("%d"):format(t.done) end },
  { "shed", function(t) return ("%d"):format(t.shed) end },
  { "failed", function(t) return ("%d"):format(t.timeouts + t.refused) end },
  { "wait p50 ms", function(t) return ms(t.wait_p50) end },
  { "wait p99 ms", function(t) return ms(t.wait_p99) end },
  { "max, last", function(t) return ("%d"):format(t.max) end },
}

-- The totals of reports, a column for each.  Rows, the first their head.
function simulate_table.totals(reports)
  local rows = { { "" } }
  for i, report in ipairs(reports) do rows[1][i + 1] = report.policy:sub(-12) end
  for _, entry in ipairs(TOTALS) do
    local row = { entry[1] }
    for i, report in ipairs(reports) do row[i + 1] = entry[2](report.total) end
    rows[#rows + 1] = row
  end
  return rows
end

-- Adds reports side by side.
function simulate_table.put_comparison(out, reports)
  put_table(out, simulate_table.totals(reports), 12)
end

-- What a trace says, in a line.
function simulate_table.recorded(words)
  local info = words.info
  return ("recorded: pool %s, %.0f s, %d asked, %d served, wait p50 %s ms, p99 %s ms; "
    .. "%d cores"):format(info.pool, info.seconds, info.demands, info.served,
      ms(info.wait_p50), ms(info.wait_p99), words.cores)
end

-- What was asked for, in a line.
function simulate_table.said(words)
  if words.info then return simulate_table.recorded(words) end
  local load = {}
  for i, phase in ipairs(words.phases) do
    load[i] = ("%.6gx%.6gs"):format(phase.rate, phase.seconds)
  end
  return ("load %s, %d host%s, service %s ms, connect %s ms, %d cores, %d connections "
    .. "at most, seed %d"):format(table.concat(load, " "), words.hosts,
    words.hosts > 1 and "s" or "", ms(words.service), ms(words.connect), words.cores,
    words.server_max, words.seed)
end

return simulate_table
