-- scenario.lua - runs the game server and its players on a Postgres and a Redis of their
-- own, with the database healthy, slow, gone and back, reloads game.lua in each of these,
-- and checks at the end that nothing was lost or duplicated.
--
--   tidepool run --trusted scenario.lua -- [--players 3000] [--moves 4] [--trades 150]
--     [--seconds 20] [--gone 30] [--seed 1] [--programs FOLDER]
--
-- Slow: each statement that decides a trade or stores states takes 100 ms more.  Gone:
-- kill -9, started again after so many seconds.  Status 1 when a check fails.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local tide = require "tidepool"

local ITEMS, EACH = 3, 10 -- as in game.lua
local START_SECONDS, END_SECONDS = 180, 90
local FOLDER = core.realpath(arg[0]):match "^(.*)/"

core.log_setup { level = "error" }

local options = { players = 3000, moves = 4, trades = 150, seconds = 20, gone = 30,
                  seed = 1, programs = FOLDER }
local words = { ... } -- pairs of --name value
for i = 1, #words, 2 do
  local name = words[i]:match "^%-%-(%a+)$"
  if not name or not options[name] or not words[i + 1] then
    error("unknown option: " .. words[i], 0)
  end
  options[name] = tonumber(words[i + 1]) or words[i + 1]
end

local begun = core.now()
local function say(text, ...)
  io.stdout:write(("%6.1f s  "):format(core.now() - begun), text:format(...), "\n")
  io.stdout:flush()
end

-- ---- programs

local TEMPORARY = os.getenv "TMPDIR" or "/tmp"
local directory = assert(core.mkdtemp(TEMPORARY .. "/tidepool-game-"))
assert(core.chmod(directory, tonumber("711", 8))) -- Postgres runs as another account
local function path(name) return directory .. "/" .. name end

-- It ends with us.
local function start(name, env, ...)
  local log, args = path(name .. ".log"), { "setpriv", "--pdeathsig", "KILL", "--",
    options.programs .. "/" .. name }
  for _, word in ipairs { ... } do args[#args + 1] = tostring(word) end
  local process = assert(core.process { args = args, log = log, env = env,
                                        cwd = directory })
  return { process = process, log = log, name = name }
end

-- What pattern captures in its log, from the count-th match on.
local function wait_log(program, pattern, count)
  local limit = core.now() + START_SECONDS
  repeat
    local seen = 0
    for found in (core.read_file(program.log) or ""):gmatch(pattern) do
      seen = seen + 1
      if seen == (count or 1) then return found end
    end
    tide.sleep(0.02)
  until core.now() > limit
  error(("%q did not come up:\n%s"):format(pattern, core.read_file(program.log) or ""), 0)
end

local function finish(program)
  program.process:signal "TERM"
  local status = tide.timeout(END_SECONDS, function() return (program.process:wait()) end)
  if not status then program.process:signal "KILL" end
  return status
end

-- ---- phases

local phases = {}

-- Whole or not at all: the server may look at any moment.
local function copy_script()
  local file = assert(io.open(path "game.lua.new", "w"))
  file:write(assert(core.read_file(FOLDER .. "/game.lua")))
  file:close()
  assert(os.rename(path "game.lua.new", path "game.lua"))
end

-- The figures from the last call on; the server prints them with newline and all.
local function figures(server)
  server.seen = (server.seen or 0) + 1
  server.process:signal "USR1"
  return wait_log(server, "figures (.-)\n", server.seen)
end

-- Runs for so long, with a new version of the script in the middle.
local function phase(server, name, seconds)
  say("the database is %s", name)
  tide.sleep(seconds / 2)
  copy_script()
  wait_log(server, "(reloaded)\n", #phases + 1)
  tide.sleep(seconds / 2)
  phases[#phases + 1] = { name = name, text = figures(server) }
end

local SLOW = [[
  CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END';
  CREATE TRIGGER slow BEFORE INSERT ON trades EXECUTE FUNCTION be_slow();
  CREATE TRIGGER slow BEFORE INSERT ON states EXECUTE FUNCTION be_slow();
]]
local QUICK = "DROP FUNCTION be_slow CASCADE"

local function run_phases(server, postgres)
  figures(server) -- those of the logins
  phase(server, "healthy", options.seconds)
  assert(postgres:psql(SLOW))
  phase(server, "slow", options.seconds)
  assert(postgres:psql(QUICK))
  postgres:kill()
  phase(server, "gone", options.gone)
  assert(postgres:restart())
  phase(server, "back", options.seconds)
end

-- ---- what is shown

local function triple(text, name)
  local list = {}
  for value in text:match(name .. " (%d+ %d+ %d+)"):gmatch "%d+" do
    list[#list + 1] = ("%7.2f"):format(value / 1000)
  end
  return table.concat(list) .. " |"
end

local TIMES = { "duration_us", "cpu_us", "lateness_us" }
local COUNTS = { "missed", "moves", "done", "refused", "failed", "busy", "loss_max_ms",
                 "reloads" }
local HEADINGS = {
  "               tick, ms              own CPU, ms          starts late, ms"
    .. "                 trades                       lost by a",
  "database ticks" .. ("    p50    p99    max |"):rep(3)
    .. " missed    moves   done refused failed   busy kill, ms reloads",
}
local ROW = "%-8s%6s%s%7s%9s%7s%8s%7s%7s%9s%8s"

local function print_table()
  print(table.concat(HEADINGS, "\n"))
  for _, one in ipairs(phases) do
    local times, counts = {}, {}
    for i, name in ipairs(TIMES) do times[i] = triple(one.text, name) end
    for i, name in ipairs(COUNTS) do counts[i] = one.text:match(name .. " (%d+)") end
    print(ROW:format(one.name, one.text:match "ticks (%d+)", table.concat(times),
      unpack(counts)))
  end
end

-- ---- what is checked

local failures = 0

local function check(is_right, what, ...)
  if not is_right then failures = failures + 1 end
  say((is_right and "ok      " or "NOT OK  ") .. what, ...)
end

-- A state that goes back is noted.
local AUDIT = [[
  CREATE TABLE older (player int, before bigint, after bigint);
  CREATE FUNCTION note_older() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.version <= OLD.version
      OR (NEW.value->>'n')::bigint < (OLD.value->>'n')::bigint
    THEN INSERT INTO older VALUES (NEW.player, OLD.version, NEW.version);
    END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER no_older BEFORE UPDATE ON states
    FOR EACH ROW EXECUTE FUNCTION note_older();
]]

local SUMS = [[SELECT count(*) FROM (SELECT sum(count) AS n FROM inventory GROUP BY item)
  AS s WHERE n = %d * (SELECT count(*) FROM players)]]

-- What each player must have by the trades that were done.
local WRONG = [[
  WITH changes (player, item, change) AS (
    SELECT giver, give, -count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT taker, give, count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT taker, take, -count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT giver, take, count FROM trades WHERE outcome = 'done'),
  due AS (SELECT player, item, sum(change) AS change FROM changes GROUP BY 1, 2)
  SELECT count(*) FROM inventory LEFT JOIN due USING (player, item)
    WHERE count <> %d + coalesce(change, 0)]]

local function number(postgres, sql) return tonumber((assert(postgres:psql(sql)))) end

local function pairs_of(text, pattern)
  local found, count = {}, 0
  for key, value in text:gmatch(pattern) do
    found[key] = value
    count = count + 1
  end
  return found, count
end

-- How many of those in want are not the same in have.
local function differing(want, have)
  local count = 0
  for key, value in pairs(want) do
    if have[key] ~= value then count = count + 1 end
  end
  return count
end

local function check_trades(postgres)
  local told, told_count = pairs_of(core.read_file(path "answers"), "(%d+) (%a+)\n")
  local rows, count = pairs_of(assert(postgres:psql "SELECT id, outcome FROM trades"),
    "(%d+)|(%a+)\n")
  check(number(postgres, SUMS:format(EACH)) == ITEMS,
    "the sum of each of %d items is right", ITEMS)
  check(number(postgres, WRONG:format(EACH)) == 0, "each player has what the trades say")
  check(told_count > 0 and differing(told, rows) == 0,
    "%d trades were answered: each is there, once, as it was answered", told_count)
  check(count == told_count, "no other trade is there")
end

local function check_states(postgres)
  local last, count = pairs_of(core.read_file(path "final") or "", "(%d+) (%d+)\n")
  local rows = pairs_of(assert(postgres:psql "SELECT player, value->>'n' FROM states"),
    "(%d+)|(%d+)\n")
  check(count == options.players and differing(last, rows) == 0,
    "the last state of each of %d players is stored", count)
  check(number(postgres, "SELECT count(*) FROM older") == 0,
    "no state was stored over a newer one")
end

-- ---- the whole

local function main(postgres, redis)
  copy_script()
  local server = start("game_server", { DATABASE_URL = postgres.url,
    REDIS_URL = redis.url }, "--final", path "final")
  local port = wait_log(server, "listening on (%d+)")
  assert(postgres:psql(AUDIT))
  local players = start("game_players", nil, "--port", port,
    "--players", options.players, "--moves", options.moves, "--trades", options.trades,
    "--seed", options.seed, "--answers", path "answers")
  wait_log(players, "all are online")
  say("%d players are online", options.players)
  run_phases(server, postgres)
  check(finish(players) == 0, "the players have an answer to each trade")
  check(finish(server) == 0, "the server saved all and ended")
  check_trades(postgres)
  check_states(postgres)
  print(wait_log(players, "(players %d+ .-)\n"))
  print_table()
end

local postgres, redis
local ok, err = pcall(function()
  redis = assert(servers.redis { directory = path "redis" })
  postgres = assert(servers.postgres { directory = path "postgres",
    schema = FOLDER .. "/schema.sql" })
  main(postgres, redis)
end)
if postgres then postgres:stop() end
if redis then redis:stop() end
if os.getenv "KEEP" then print(directory) else core.remove_tree(directory) end
if not ok then error(err, 0) end
if failures > 0 then error(failures .. " checks failed", 0) end
