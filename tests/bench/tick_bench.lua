-- tick_bench.lua - the ticks of examples/game_server with 5,000 players: how long they
-- take and how late they begin, with the script, the database and Redis, and alone: the
-- same server, where nothing is asked of them.

local bench = require "bench"
local core = require "tidepool.core"
local tide = require "tidepool"

local PLAYERS, MOVES, TRADES = 5000, 4, 100
local SECONDS = 10
local LOGIN_SECONDS = 120
local ROUNDS = 2
local EXAMPLE = "examples/game_server"

local function path_of(name) return core.realpath(EXAMPLE) .. "/" .. name end

local function build()
  bench.output { "make", "-s", "-C", EXAMPLE, "TREE=" .. core.realpath(bench.BUILD),
    "OUT=" .. bench.path "" }
  local schema = assert(core.read_file(path_of "schema.sql"))
  assert(bench.postgres():psql(schema))
end

-- Those since the count-th time that they were asked for.
local function figures(server, log, count)
  server:signal "USR1"
  local text = bench.wait_log(log, ("figures.-"):rep(count) .. "(ticks .-)\n")
  local found = {}
  for name, p50, p99, max in text:gmatch "(%a+)_us (%d+) (%d+) (%d+)" do
    found[name] = { p50 = tonumber(p50), p99 = tonumber(p99), max = tonumber(max) }
  end
  return found
end

local function finish(process)
  process:signal "TERM"
  process:wait()
end

-- One measurement: of tick, cpu and late p50, p99 and max, in µs.
local function measure(name, round, ...)
  local log = bench.path(name .. round .. ".log")
  local crowd = bench.path(name .. round .. ".crowd")
  local server = bench.start({ "sh", "-c", 'cd "$0" && exec ./game_server "$@"',
    bench.path "", "--script", path_of "game.lua", ... }, log,
    { DATABASE_URL = bench.postgres().url, REDIS_URL = bench.redis().url })
  local port = bench.wait_log(log, "listening on (%d+)")
  local players = bench.start({ bench.path "game_players", "--port", port, "--players",
    tostring(PLAYERS), "--moves", tostring(MOVES), "--trades", tostring(TRADES),
    "--seed", tostring(round) }, crowd)
  bench.wait_log(crowd, "all are online", LOGIN_SECONDS)
  figures(server, log, 1)
  tide.sleep(SECONDS)
  local found = figures(server, log, 2)
  finish(players)
  finish(server)
  return found
end

local SIDES = { { name = "alone", words = { "--alone" } }, { name = "with", words = {} } }
local PARTS = { duration = "tick", cpu = "tick_cpu", lateness = "late" }

-- name -> the values of its rounds.
local function collect(values, side, found)
  for part, quantiles in pairs(found) do
    for quantile, value in pairs(quantiles) do
      local name = ("%s_%s_%s"):format(PARTS[part], side, quantile)
      values[name] = values[name] or {}
      table.insert(values[name], value / 1000)
    end
  end
end

local function tick()
  build()
  local values, medians, names = {}, {}, {}
  for round = 1, ROUNDS do
    for _, side in ipairs(SIDES) do
      collect(values, side.name, measure(side.name, round, unpack(side.words)))
    end
  end
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    medians[name] = bench.median(values[name])
    bench.figure(name, medians[name], "ms", values[name])
  end
  bench.ratio("tick_with_to_alone_p99", medians.tick_with_p99 / medians.tick_alone_p99)
  bench.ratio("late_with_to_alone_p99", medians.late_with_p99 / medians.late_alone_p99)
end

return { { name = "tick", run = tick } }
