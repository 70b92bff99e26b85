-- tune_table.lua - what `tidepool tune` measured, as tables, bars, sentences and TOML.

local advice_of = require "tidepool.command.tune_advice"
local url = require "tidepool.url"

local RATE_BAR, P99_BAR = 32, 20 -- characters
local LADDERS = {
  { "sizes", "Leases: each statement on a connection that it has for itself", "size" },
  { "lanes", "Shared: statements on lanes, in a pool of as many connections", "lanes" },
}

local function rate(value) return ("%.0f"):format(value) end

local function ms(seconds)
  local value = seconds * 1000
  return (value < 10 and "%.2f" or value < 1000 and "%.1f" or "%.0f"):format(value)
end

local function percent(value) return value and ("%.0f %%"):format(value) or "-" end

local tune_table = { LADDERS = LADDERS }

-- ---- what was measured, and of what

-- Sentences: server, load, statement.
function tune_table.said(found)
  local words = found.words
  return {
    ("%s, %s"):format(url.mask(words.url), found.version),
    ("%d callers, %g s a step"):format(words.callers, words.step),
    ("statement: %s%s"):format(words.statement:gsub("%s+", " "),
      words.is_default and " (the default: give your own with --statement)" or ""),
  }
end

local HEAD = { "/s", "p50 ms", "p99 ms", "errors", "open", "server CPU", "own CPU" }

-- A ladder's steps as rows of texts, the first of which is the head.
function tune_table.rows(steps, what)
  local rows = { { what, unpack(HEAD) } }
  for i, step in ipairs(steps) do
    rows[i + 1] = { ("%d"):format(step.at), rate(step.rate), ms(step.p50), ms(step.p99),
      ("%d"):format(step.errors), ("%d"):format(step.connections),
      percent(step.server_cpu), percent(step.own_cpu) }
  end
  return rows
end

-- ---- as text

local function put(out, text, ...) out[#out + 1] = text:format(...) end

local function put_table(out, rows, chosen)
  for i, row in ipairs(rows) do
    local cells = {}
    for column, cell in ipairs(row) do cells[column] = ("%11s"):format(cell) end
    local mark = i > 1 and tonumber(row[1]) == chosen and " <" or ""
    put(out, "%s%s", table.concat(cells), mark)
  end
end

local function most_of(steps, field)
  local most = 0
  for _, step in ipairs(steps) do most = math.max(most, step[field]) end
  return most
end

local function bar(value, most, width)
  if most == 0 then return "" end
  return ("#"):rep(math.floor(value / most * width + 0.5))
end

local function put_bars(out, steps, what)
  local most_rate, most_p99 = most_of(steps, "rate"), most_of(steps, "p99")
  put(out, "%11s  %-" .. RATE_BAR .. "s  %s", what, "throughput", "p99")
  for _, step in ipairs(steps) do
    put(out, "%11d  %-" .. RATE_BAR .. "s  %s", step.at,
      bar(step.rate, most_rate, RATE_BAR), bar(step.p99, most_p99, P99_BAR))
  end
end

local function put_ladder(out, ladder, title, what, chosen)
  put(out, "")
  put(out, "%s", title)
  if #ladder.steps > 0 then
    put_table(out, tune_table.rows(ladder.steps, what), chosen)
    put(out, "")
    put_bars(out, ladder.steps, what)
  end
  put(out, "  ended: %s", ladder.why)
end

-- "8: 12345/s, p99 4.1 ms; the best was 12600/s at 16".
local function measured(judged)
  local chosen, best = judged.chosen, judged.best
  local text = ("%d: %s/s, p99 %s ms"):format(chosen.at, rate(chosen.rate),
    ms(chosen.p99))
  if chosen == best then return text .. "; the best" end
  return ("%s; the best was %s/s, p99 %s ms, at %d"):format(text, rate(best.rate),
    ms(best.p99), best.at)
end

-- What is recommended, as sentences: measured steps, what they come to, notes.
function tune_table.recommended(found)
  local advice, lines = found.advice, {}
  if advice then
    put(lines, "leases, max_connections %s", measured(advice.size))
    if advice.lane then put(lines, "shared, lanes %s", measured(advice.lane)) end
    put(lines, "each: %s", advice_of.RULE)
    if advice.lane and advice.lane.chosen.at > advice.size.chosen.at then
      put(lines, "max_connections has room for the lanes")
    end
  end
  for _, note in ipairs(found.notes) do put(lines, "%s", note) end
  return lines
end

-- The settings, "max_connections = 8", for each instance.
function tune_table.settings(advice)
  local lines = { ("max_connections = %d"):format(advice.max_connections) }
  if advice.lanes then put(lines, "lanes = %d", advice.lanes) end
  return lines
end

-- The advice in one line.
function tune_table.headline(found)
  local advice, hosts = found.advice, found.words.hosts
  if not advice then return "Nothing is recommended" end
  local whom = hosts > 1 and (" for each of %d instances"):format(hosts) or ""
  return ("Recommended%s: %s"):format(whom,
    table.concat(tune_table.settings(advice), ", "))
end

-- The chosen step's size or lanes of a ladder, or nil.
function tune_table.chosen(found, name)
  local judged = found.advice and found.advice[name == "sizes" and "size" or "lane"]
  return judged and judged.chosen.at
end

-- All of it as text.
function tune_table.text(found)
  local out = tune_table.said(found)
  for _, entry in ipairs(LADDERS) do
    local ladder = found.ladders[entry[1]]
    if ladder then
      put_ladder(out, ladder, entry[2], entry[3], tune_table.chosen(found, entry[1]))
    end
  end
  put(out, "")
  put(out, "%s", tune_table.headline(found))
  for _, line in ipairs(tune_table.recommended(found)) do put(out, "  %s", line) end
  return table.concat(out, "\n") .. "\n"
end

-- ---- as TOML

local SECTIONS = { postgres = "database.pool", redis = "redis.pool" }

-- A section of the configuration; date is a text.
function tune_table.toml(found, date)
  local out = {}
  put(out, "# tidepool tune, %s", date)
  for _, line in ipairs(tune_table.said(found)) do put(out, "# %s", line) end
  for _, line in ipairs(tune_table.recommended(found)) do put(out, "# %s", line) end
  put(out, "[%s]", SECTIONS[found.words.kind])
  for _, line in ipairs(tune_table.settings(found.advice)) do put(out, "%s", line) end
  for i, line in ipairs(out) do out[i] = line:gsub("%c", " ") end
  return table.concat(out, "\n") .. "\n"
end

return tune_table
