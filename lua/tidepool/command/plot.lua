-- plot.lua - line charts as SVG, and the HTML page around them: one file, no scripts, no
-- fonts or styles from elsewhere.

local WIDTH, HEIGHT = 760, 240
local LEFT, RIGHT, TOP, BOTTOM = 64, 14, 30, 40
local TICKS = 5
-- Okabe and Ito's colours, which most eyes tell apart.
local COLOURS = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9" }

local plot = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

-- A text as it stands in HTML.
function plot.escape(text) return (tostring(text):gsub('[&<>"]', ESCAPES)) end

-- ---- scales

-- The least of 1, 2 and 5 times a power of ten that is not below value.
local function round_up(value)
  if value <= 0 then return 1 end
  local power = 10 ^ math.floor(math.log10(value))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if factor * power >= value * (1 - 1e-9) then return factor * power end
  end
end

-- Distance between ticks and the last of them, for values from 0 to most.
local function scale(most)
  local step = round_up(most / TICKS)
  return step, step * math.max(1, math.ceil(most / step - 1e-9))
end

local function number(value) return ("%.6g"):format(value) end

local function extent(series, at)
  local least, most = math.huge, -math.huge
  for _, line in ipairs(series) do
    for _, point in ipairs(line.points) do
      least, most = math.min(least, point[at]), math.max(most, point[at])
    end
  end
  if least > most then return 0, 0 end
  return least, most
end

-- ---- a chart

local Chart = {}
Chart.__index = Chart

function Chart:put(text, ...) self[#self + 1] = text:format(...) end

function Chart:x(value)
  local share = (value - self.x_least) / (self.x_most - self.x_least)
  return LEFT + share * (WIDTH - LEFT - RIGHT)
end

function Chart:y(value)
  return HEIGHT - BOTTOM - value / self.y_most * (HEIGHT - TOP - BOTTOM)
end

function Chart:put_axes(spec)
  for value = 0, self.y_most + self.y_step / 2, self.y_step do
    local y = self:y(value)
    self:put('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>', LEFT,
      WIDTH - RIGHT, y, y)
    self:put('<text x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT - 6, y + 4,
      number(value))
  end
  local step = round_up((self.x_most - self.x_least) / TICKS)
  local first = math.ceil(self.x_least / step - 1e-9) * step
  for value = first, self.x_most + step * 1e-6, step do
    self:put('<text x="%.1f" y="%d" text-anchor="middle">%s</text>', self:x(value),
      HEIGHT - BOTTOM + 16, number(value))
  end
  self:put('<text x="%d" y="%d" text-anchor="middle">%s</text>',
    (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, plot.escape(spec.x_label or ""))
end

function Chart:put_series(index, line)
  local colour, points = COLOURS[(index - 1) % #COLOURS + 1], {}
  for i, point in ipairs(line.points) do
    points[i] = ("%.1f,%.1f"):format(self:x(point[1]), self:y(point[2]))
  end
  self:put('<polyline data-name="%s" data-points="%d" fill="none" stroke="%s" '
    .. 'stroke-width="1.6" points="%s"/>', plot.escape(line.name), #points, colour,
    table.concat(points, " "))
  if #points <= 40 then
    for _, point in ipairs(line.points) do
      self:put('<circle cx="%.1f" cy="%.1f" r="2.6" fill="%s"><title>%s: %s, %s</title>'
        .. "</circle>", self:x(point[1]), self:y(point[2]), colour,
        plot.escape(line.name), number(point[1]), number(point[2]))
    end
  end
end

function Chart:put_legend(series)
  local x = WIDTH - RIGHT
  for index = #series, 1, -1 do
    local name = series[index].name
    local colour = COLOURS[(index - 1) % #COLOURS + 1]
    x = x - 7 * #name
    self:put('<text x="%d" y="18" fill="%s" style="fill:%s">%s</text>', x, colour,
      colour, plot.escape(name))
    x = x - 18
    self:put('<line x1="%d" x2="%d" y1="14" y2="14" stroke="%s" stroke-width="2.4"/>', x,
      x + 13, colour)
    x = x - 14
  end
end

-- What happened, as dashed lines that tell their text when pointed at.
function Chart:put_marks(marks)
  for _, mark in ipairs(marks) do
    local x = self:x(mark.x)
    self:put('<g class="mark"><title>%s</title><line x1="%.1f" x2="%.1f" y1="%d" '
      .. 'y2="%d"/><circle cx="%.1f" cy="%d" r="3.4"/></g>', plot.escape(mark.text), x, x,
      TOP, HEIGHT - BOTTOM, x, TOP)
  end
end

-- A line chart as SVG.  spec: title, x_label; series = { { name, points = { { x, y } } }
-- }; marks = { { x, text } }, what happened when; y_most: where the axis must reach, so
-- that two charts are alike.  y begins at 0.
function plot.lines(spec)
  local least, most = extent(spec.series, 1)
  local _, y_most = extent(spec.series, 2)
  local self = setmetatable({ x_least = least, x_most = math.max(most, least + 1e-9) },
    Chart)
  self.y_step, self.y_most = scale(math.max(y_most, spec.y_most or 0))
  self:put('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">', WIDTH, HEIGHT,
    plot.escape(spec.title))
  self:put('<text class="title" x="%d" y="18">%s</text>', LEFT, plot.escape(spec.title))
  self:put_axes(spec)
  self:put_marks(spec.marks or {})
  for index, line in ipairs(spec.series) do self:put_series(index, line) end
  if #spec.series > 1 then self:put_legend(spec.series) end
  self[#self + 1] = "</svg>"
  return table.concat(self, "\n")
end

-- ---- the page

local STYLE = [[
:root { color-scheme: light dark; --ink: #1c2126; --soft: #69727c; --line: #d9dee3;
  --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #98a2ad; --line: #343b43; --paper: #15191d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 1560px; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.charts { max-width: 900px; }
@media (min-width: 900px) { .side { display: grid; grid-template-columns: 1fr 1fr;
  gap: 0 2rem; max-width: none; } }
svg { width: 100%; height: auto; margin: .6rem 0; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg text.title { fill: var(--ink); font-weight: 600; font-size: 13px; }
svg .grid { stroke: var(--line); } svg .mark line { stroke: var(--soft);
  stroke-dasharray: 3 3; } svg .mark circle { fill: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid
  var(--line); } th { color: var(--soft); font-weight: 500; }
td.text, th.text { text-align: left; } p.note { color: var(--soft); }
]]

-- rows: the first is the head; columns of left are texts.  A cell is escaped here.
function plot.table(rows, left)
  local out = { "<table>" }
  for i, row in ipairs(rows) do
    local cells, tag = {}, i == 1 and "th" or "td"
    for column, cell in ipairs(row) do
      cells[column] = ("<%s%s>%s</%s>"):format(tag,
        left and left[column] and ' class="text"' or "", plot.escape(cell), tag)
    end
    out[#out + 1] = "<tr>" .. table.concat(cells) .. "</tr>"
  end
  out[#out + 1] = "</table>"
  return table.concat(out, "\n")
end

-- A whole page; body is HTML.
function plot.page(title, body)
  local name = plot.escape(title)
  return ([[
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>]] .. name .. [[</title>
<style>
]] .. STYLE .. [[
</style></head>
<body>
<h1>]] .. name .. "</h1>\n" .. body .. "\n</body></html>\n")
end

return plot
