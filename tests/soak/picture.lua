-- picture.lua - a soak as one SVG: memory, descriptors, connections, latency, failures.

local plot = require "tidepool.command.plot"

local WIDTH, HEIGHT = 760, 240 -- of a chart of plot.lua
local MOST_POINTS = 240 -- of a line

local STYLE = [[
svg { background: #fff; } text { fill: #69727c; font: 12px sans-serif; }
text.title { fill: #1c2126; font-weight: 600; font-size: 13px; }
.grid { stroke: #d9dee3; } .mark line { stroke: #b9c0c7; stroke-dasharray: 2 4; }
.mark circle { fill: #b9c0c7; }
]]

local picture = {}

-- The points of a field over minutes; of some that stand together the last one.
local function points(samples, field, scale)
  local list, step = {}, math.max(1, math.ceil(#samples / MOST_POINTS))
  for i = step, #samples, step do
    local value = samples[i][field]
    if value then list[#list + 1] = { samples[i].seconds / 60, value * (scale or 1) } end
  end
  return list
end

local function chart(samples, title, fields, marks)
  local series = {}
  for i, field in ipairs(fields) do
    series[i] = { name = field[1], points = points(samples, field[2], field[3]) }
  end
  return plot.lines { title = title, x_label = "minutes", series = series, marks = marks }
end

-- Latency that an outage made is beyond what the others fill.
local function clipped(samples, most)
  local list = {}
  for i, sample in ipairs(samples) do
    list[i] = setmetatable({
      p50_ms = sample.p50_ms, p99_ms = sample.p99_ms and math.min(sample.p99_ms, most),
      failed = sample.sent and (sample.sent - sample.ok) / math.max(1, sample.sent) * 100,
    }, { __index = sample })
  end
  return list
end

-- samples: of watch.lua; kills: seconds at which a worker was killed.
function picture.svg(samples, kills, most_ms)
  local marks, rows = {}, clipped(samples, most_ms)
  for i, at in ipairs(kills) do marks[i] = { x = at / 60, text = "worker 2 killed" } end
  local charts = {
    chart(rows, "Resident memory, MiB; dashed: worker 2 killed", {
      { "worker 1", "worker1_rss" }, { "worker 2", "worker2_rss" },
      { "master", "master_rss" } }, marks),
    chart(rows, "Lua heap, MiB", { { "worker 1", "worker1_heap" },
      { "worker 2", "worker2_heap" } }),
    chart(rows, "Descriptors", { { "worker 1", "worker1_descriptors" },
      { "worker 2", "worker2_descriptors" }, { "master", "master_descriptors" } }),
    chart(rows, "Connections to Postgres", { { "open", "postgres_connections" },
      { "most", "postgres_max" } }),
    chart(rows, ("Latency of a round, ms; above %d cut off"):format(most_ms),
      { { "p99", "p99_ms" }, { "p50", "p50_ms" } }),
    chart(rows, "Requests of a round that were not answered with 2xx, %",
      { { "failed", "failed" } }),
  }
  for i, svg in ipairs(charts) do
    charts[i] = svg:gsub("^<svg ", ('<svg y="%d" width="%d" height="%d" '):format(
      (i - 1) * HEIGHT, WIDTH, HEIGHT))
  end
  return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d">\n'
    .. "<style>\n%s</style>\n%s\n</svg>\n"):format(WIDTH, HEIGHT * #charts, WIDTH, STYLE,
    table.concat(charts, "\n"))
end

return picture
