-- top_view.lua - what `tidepool top` shows: figures in, lines that fit a terminal out.

local sorted_keys = require "tidepool.sorted_keys"

local view = {}

-- ---- texts

local function time(seconds)
  if not seconds then return "-" end
  if seconds == 0 then return "0" end
  if seconds < 0.0009995 then return ("%.0fus"):format(seconds * 1e6) end
  if seconds < 0.00995 then return ("%.1fms"):format(seconds * 1e3) end
  if seconds < 0.9995 then return ("%.0fms"):format(seconds * 1e3) end
  if seconds < 9.95 then return ("%.1fs"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return whole .. "s" end
  if whole < 3600 then return ("%dm%02ds"):format(whole / 60, whole % 60) end
  if whole < 86400 then return ("%dh%02dm"):format(whole / 3600, whole % 3600 / 60) end
  return ("%dd%02dh"):format(whole / 86400, whole % 86400 / 3600)
end

local function number(value)
  if not value then return "-" end
  if value == 0 then return "0" end
  if value < 9.95 then return ("%.1f"):format(value) end
  if value < 99999.5 then return ("%.0f"):format(value) end
  if value < 999500 then return ("%.0fk"):format(value / 1e3) end
  return ("%.1fM"):format(value / 1e6)
end

local function count(value) return ("%.0f"):format(value or 0) end

-- Without what moves a terminal's cursor: names and errors are others' words.
local function clean(text)
  return (tostring(text):gsub("[%c\127]+", " "):gsub("\194[\128-\159]", " "))
end

local CHARACTER = "[^\128-\191][\128-\191]*"

local function length(text)
  local _, n = text:gsub(CHARACTER, "")
  return n
end

local function cut(text, width)
  if #text <= width then return text end
  local parts = {}
  for character in text:gmatch(CHARACTER) do
    if #parts == width then break end
    parts[#parts + 1] = character
  end
  return table.concat(parts)
end

local function pad(text, width, is_left)
  local space = (" "):rep(width - length(text))
  return is_left and text .. space or space .. text
end

-- "lost 1, timeout 3", or nil where there is nothing.
local function listed(values, show)
  local parts = {}
  for i, key in ipairs(sorted_keys(values)) do
    parts[i] = key .. " " .. show(values[key])
  end
  return #parts > 0 and table.concat(parts, ", ") or nil
end

-- ---- the table of pools

local COLUMNS = {
  { "POOL", function(pool) return pool.name end, is_left = true },
  { "KIND", function(pool) return pool.kind end, is_left = true, width = 8 },
  { "STATE", function(pool) return pool.state end, is_left = true, width = 9 },
  { "MAX", function(pool) return count(pool.max) end },
  { "OPEN", function(pool) return count(pool.open) end },
  { "IDLE", function(pool) return count(pool.idle) end },
  { "LEASED", function(pool) return count(pool.leased) end },
  { "SHARED", function(pool) return count(pool.shared) end },
  { "OPENING", function(pool) return count(pool.opening) end },
  { "WAITING", function(pool) return count(pool.waiting) end },
  { "OLDEST", function(pool) return time(pool.oldest_wait) end },
  { "ARR/S", function(pool) return number(pool.arrivals_per_second) end, width = 6 },
  { "DONE/S", function(pool) return number(pool.completions_per_second) end },
  { "TIMEOUT/S", function(pool) return number(pool.timeouts_per_second) end },
  { "WAIT50", function(pool) return time(pool.wait.p50) end },
  { "WAIT99", function(pool) return time(pool.wait.p99) end },
  { "SERV50", function(pool) return time(pool.service.p50) end },
  { "SERV99", function(pool) return time(pool.service.p99) end },
  { "LANES", function(pool)
    return ("%s/%s"):format(count(pool.shared), count(pool.lanes_max))
  end },
  { "QUEUED", function(pool) return count(pool.queued) end },
  { "DUE", function(pool) return count(pool.due) end, width = 4 },
}

local TROUBLE = { down = 1, exhausted = 2, paused = 3, ok = 4 }
local STYLES = { down = "bad", exhausted = "warn", paused = "warn" }

-- Those in trouble first, for not all may fit.
local function sorted_pools(pools)
  local list = {}
  for name, pool in pairs(pools) do
    list[#list + 1] = setmetatable({ name = clean(name) }, { __index = pool })
  end
  table.sort(list, function(a, b)
    if TROUBLE[a.state] ~= TROUBLE[b.state] then
      return TROUBLE[a.state] < TROUBLE[b.state]
    end
    return a.name < b.name
  end)
  return list
end

local function column_of(entry, pools)
  local column = { title = entry[1], is_left = entry.is_left, cells = {} }
  column.width = math.max(entry.width or 0, #column.title)
  for i, pool in ipairs(pools) do
    column.cells[i] = entry[2](pool)
    column.width = math.max(column.width, length(column.cells[i]))
  end
  return column
end

-- Columns in bands, each of which fits the width; a pool has a line in each band.
local function bands_of(pools, width)
  local bands, used = { {} }, -1
  for _, entry in ipairs(COLUMNS) do
    local column = column_of(entry, pools)
    if used + 1 + column.width > width then
      bands[#bands + 1] = {}
      used = 1 -- indented
    end
    used = used + 1 + column.width
    table.insert(bands[#bands], column)
  end
  return bands
end

-- The line of a band; i: of which pool, or nil for the titles.
local function band_line(bands, at, i)
  local parts = {}
  for n, column in ipairs(bands[at]) do
    parts[n] = pad(i and column.cells[i] or column.title, column.width, column.is_left)
  end
  return (at > 1 and "  " or "") .. table.concat(parts, " ")
end

-- ---- what does not fit into the table

local function errors_of(pool)
  local total = listed(pool.errors, count)
  if not total then return nil end
  local recent = listed(pool.errors_per_second or {}, function(value)
    return number(value) .. "/s"
  end)
  return ("errors: %ssince the start %s"):format(recent and recent .. "; " or "", total),
    recent and "warn"
end

local function value_of(value) return ("%.6g"):format(value) end

local function policy_of(pool)
  if not pool.policy_name then return nil end
  local change = pool.policy_change
  local name = "policy " .. clean(pool.policy_name)
  if not change then return name .. ": has changed nothing" end
  local what = change.setting and change.from and change.to
    and ("%s %s -> %s"):format(change.setting, value_of(change.from), value_of(change.to))
    or "settings"
  return ("%s: %s, %s %s ago: %s"):format(name, what, change.outcome, time(change.ago),
    clean(change.reason or "no reason given"))
end

-- ---- the whole

local Lines = {}
Lines.__index = Lines

function Lines:put(text, style)
  if text then self[#self + 1] = { text = cut(text, self.width), style = style } end
end

local function since(report)
  local seconds = report.figures.seconds
  if not seconds then return "times since the start, no rates yet" end
  return ("rates and times of the last %.1f s%s"):format(seconds,
    report.lost and " that it answered" or "")
end

local function instance_line(report)
  local figures = report.figures
  if not figures then return ("tidepool %s  %s"):format(report.url, report.clock) end
  return ("tidepool %s  %s  %s  up %s  %s"):format(figures.version, report.url,
    report.lost and "away" or figures.status, time(figures.uptime), report.clock)
end

local function http_line(http)
  if not http then return nil end
  local replies = listed(http.responses_per_second or {}, function(value)
    return number(value) .. "/s"
  end)
  return ("requests %s/s%s, %s running, %s connected"):format(
    number(http.requests_per_second), replies and " (" .. replies .. ")" or "",
    count(http.in_flight), count(http.open))
end

local function runtime_line(figures)
  local policy = figures.policy
  local text = ("tasks %s, %s/s, %s failed"):format(count(figures.tasks.live),
    number(figures.tasks.started_per_second), count(figures.tasks.errors))
  if not policy then return text end
  return ("%s  policy %s%s: looked %s times, failed %s"):format(text,
    clean(policy.name), policy.dry_run and " (dry run)" or "", count(policy.ticks),
    count(policy.failures))
end

local function put_lost(lines, lost)
  if not lost then return end
  lines:put(("no answer for %s, since %s"):format(time(lost.seconds), lost.clock), "bad")
  lines:put("  " .. clean(lost.why), "bad")
end

local function put_notes(lines, pool)
  for _, note in ipairs {
    { policy_of(pool) },
    { errors_of(pool) },
    { pool.last_error and "last error: " .. clean(pool.last_error), "bad" },
  } do
    if note[1] then lines:put("  " .. note[1], note[2]) end
  end
end

local function put_pools(lines, pools)
  local list = sorted_pools(pools)
  local bands = bands_of(list, lines.width)
  for at in ipairs(bands) do lines:put(band_line(bands, at), "title") end
  for i, pool in ipairs(list) do
    for at in ipairs(bands) do lines:put(band_line(bands, at, i), STYLES[pool.state]) end
    put_notes(lines, pool)
  end
  if #list == 0 then lines:put "it has no pools" end
end

-- Leaves as many as there is room for, the last of which counts the others.
local function fit(lines, height)
  if #lines <= height then return end
  local hidden = #lines - height + 1
  for i = #lines, height, -1 do lines[i] = nil end
  lines:put(("and %d lines for which there is no room"):format(hidden), "warn")
end

-- The lines of a report, each { text =, style = }.  report: url; clock, the time of day;
-- figures, of top_figures.of(), or nil before there are some; lost, when the instance
-- does not answer: seconds, clock, why; keys, what they do, or nil.  Without a width and
-- a height there is no limit.
function view.lines(report, width, height)
  local lines = setmetatable({ width = width or math.huge }, Lines)
  lines:put(instance_line(report), "head")
  put_lost(lines, report.lost)
  if report.figures then
    lines:put(http_line(report.figures.http))
    lines:put(runtime_line(report.figures))
    lines:put(since(report) .. (report.keys and "; " .. report.keys or ""))
    put_pools(lines, report.figures.pools)
  elseif not report.lost then
    lines:put "no answer yet"
  end
  fit(lines, height or math.huge)
  return lines
end

-- ---- output

local ESCAPES = { head = "\27[1m", title = "\27[7m", bad = "\27[31m", warn = "\27[33m" }

function view.text(lines)
  local parts = {}
  for i, line in ipairs(lines) do parts[i] = line.text:gsub(" +$", "") .. "\n" end
  return table.concat(parts)
end

-- What draws the lines over whatever the terminal shows.
function view.frame(lines)
  local parts = {}
  for i, line in ipairs(lines) do
    local escape = ESCAPES[line.style]
    parts[i] = escape and escape .. line.text .. "\27[0m\27[K" or line.text .. "\27[K"
  end
  return "\27[H" .. table.concat(parts, "\r\n") .. "\27[J"
end

return view
