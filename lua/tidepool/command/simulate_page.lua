-- simulate_page.lua - what simulations did, as an HTML page with plots.

local plot = require "tidepool.command.plot"
local simulate_table = require "tidepool.command.simulate_table"

local ROOM = 400 -- points of a line; of more samples the worst of each few is shown

-- title, unit of the samples' values, { name, value(sample, seconds of a sample) }...
local CHARTS = {
  { "wait, ms", { "p50", function(s) return s.wait_p50 * 1000 end },
    { "p99", function(s) return s.wait_p99 * 1000 end } },
  { "connections", { "max", function(s) return s.max end },
    { "open", function(s) return s.open end },
    { "in use", function(s) return s.in_use end } },
  { "requests in line", { "waiting", function(s) return s.waiting end } },
  { "requests a second", { "asked", function(s, each) return s.arrivals / each end },
    { "done", function(s, each) return s.done / each end } },
  { "refused a second", { "shed", function(s, each) return s.shed / each end },
    { "timed out, busy or down",
      function(s, each) return (s.timeouts + s.refused) / each end } },
  { "service, ms", { "p50", function(s) return s.service_p50 * 1000 end } },
}

local function points_of(samples, value, each)
  local points, step = {}, math.max(1, math.ceil(#samples / ROOM))
  for from = 1, #samples, step do
    local most = 0
    for i = from, math.min(from + step - 1, #samples) do
      most = math.max(most, value(samples[i], each))
    end
    points[#points + 1] = { samples[from].at, most }
  end
  return points
end

local function marks_of(report)
  local marks = {}
  for i, change in ipairs(report.changes) do
    marks[i] = { x = change.at, text = simulate_table.change(change) }
  end
  return marks
end

local function series_of(report, chart, each)
  local series = {}
  for i = 2, #chart do
    series[i - 1] = { name = chart[i][1],
                      points = points_of(report.samples, chart[i][2], each) }
  end
  return series
end

local function most_of(all)
  local most = 0
  for _, series in ipairs(all) do
    for _, line in ipairs(series) do
      for _, point in ipairs(line.points) do most = math.max(most, point[2]) end
    end
  end
  return most
end

local function put_charts(out, reports, each)
  for _, chart in ipairs(CHARTS) do
    local all = {}
    for i, report in ipairs(reports) do all[i] = series_of(report, chart, each) end
    local y_most = most_of(all)
    for i, report in ipairs(reports) do
      out[#out + 1] = plot.lines {
        title = ("%s: %s"):format(report.policy, chart[1]), x_label = "seconds",
        series = all[i], marks = marks_of(report), y_most = y_most,
      }
    end
  end
end

local function put_changes(out, report)
  out[#out + 1] = ("<h2>What %s changed</h2>"):format(plot.escape(report.policy))
  local rows = { { "s", "host", "change", "reason" } }
  for _, change in ipairs(report.changes) do
    rows[#rows + 1] = { ("%.1f"):format(change.at), change.host + 1,
                        simulate_table.what(change), change.reason }
  end
  if #rows == 1 then
    out[#out + 1] = '<p class="note">Nothing.</p>'
    return
  end
  out[#out + 1] = plot.table(rows, { false, false, true, true })
  if report.changes_lost > 0 then
    out[#out + 1] = ('<p class="note">and %d more</p>'):format(report.changes_lost)
  end
end

local simulate_page = {}

-- The page of one report, or of two side by side.
function simulate_page.make(reports, words)
  local names, out = {}, {}
  for i, report in ipairs(reports) do names[i] = report.policy end
  out[1] = ('<p class="note">%s</p>'):format(plot.escape(simulate_table.said(words)))
  out[#out + 1] = plot.table(simulate_table.totals(reports), { true })
  out[#out + 1] = reports[2] and '<div class="charts side">' or '<div class="charts">'
  put_charts(out, reports, words.sample)
  out[#out + 1] = "</div>"
  for _, report in ipairs(reports) do put_changes(out, report) end
  return plot.page("tidepool simulate: " .. table.concat(names, " and "),
    table.concat(out, "\n"))
end

return simulate_page
