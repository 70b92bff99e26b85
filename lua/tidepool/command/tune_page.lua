-- tune_page.lua - what `tidepool tune` measured, as an HTML page with plots.

local plot = require "tidepool.command.plot"
local tune_table = require "tidepool.command.tune_table"

-- title, { name, the value of a step }...
local CHARTS = {
  { "throughput, statements/s", { "throughput", function(step) return step.rate end } },
  { "latency, ms", { "p50", function(step) return step.p50 * 1000 end },
    { "p99", function(step) return step.p99 * 1000 end } },
}

local function series_of(steps, chart)
  local series = {}
  for i = 2, #chart do
    local points = {}
    for at, step in ipairs(steps) do points[at] = { step.at, chart[i][2](step) } end
    series[i - 1] = { name = chart[i][1], points = points }
  end
  return series
end

local function put_ladder(out, found, entry)
  local name, title, what = unpack(entry)
  local ladder, chosen = found.ladders[name], tune_table.chosen(found, name)
  if not ladder or #ladder.steps == 0 then return end
  out[#out + 1] = ("<h2>%s</h2>"):format(plot.escape(title))
  out[#out + 1] = '<div class="charts side">'
  for _, chart in ipairs(CHARTS) do
    out[#out + 1] = plot.lines {
      title = chart[1], x_label = what, series = series_of(ladder.steps, chart),
      marks = chosen and { { x = chosen, text = ("chosen: %d"):format(chosen) } },
    }
  end
  out[#out + 1] = "</div>"
  out[#out + 1] = plot.table(tune_table.rows(ladder.steps, what))
  out[#out + 1] = ('<p class="note">ended: %s</p>'):format(plot.escape(ladder.why))
end

local function put_notes(out, lines)
  for _, line in ipairs(lines) do
    out[#out + 1] = ('<p class="note">%s</p>'):format(plot.escape(line))
  end
end

local tune_page = {}

function tune_page.make(found)
  local out = {}
  put_notes(out, tune_table.said(found))
  out[#out + 1] = ("<h2>%s</h2>"):format(plot.escape(tune_table.headline(found)))
  put_notes(out, tune_table.recommended(found))
  for _, entry in ipairs(tune_table.LADDERS) do put_ladder(out, found, entry) end
  return plot.page("tidepool tune: " .. found.version, table.concat(out, "\n"))
end

return tune_page
