-- bench.lua - what the benches share: figures and ratios, sides that take turns, tasks
-- in numbers, the private servers, programs that are ended by their pid.

local core = require "tidepool.core"
local server = require "tidepool.server"
local servers = require "tidepool.servers"
local tide = require "tidepool"

local WARM_UP_SECONDS = 1
local SECONDS = 1 -- of one measurement
local ROUNDS = 4
local START_SECONDS = 20
local ROWS = 10000
local REMOVE_TIMES = 50
local BUILD = os.getenv "BUILD" or "build"

local bench = { SECONDS = SECONDS, ROWS = ROWS, BUILD = BUILD }

-- ---- what is reported

local report = {}

local function say(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

local function rounded(value)
  if math.abs(value) >= 1000 then return ("%.0f"):format(value) end
  return (("%.4g"):format(value))
end

-- One figure; rounds: the values it is the median of.
function bench.figure(name, value, unit, rounds)
  say(("bench %s %s %s"):format(name, rounded(value), unit))
  report[#report + 1] = { kind = "bench", name = name, value = value, unit = unit,
                          rounds = rounds }
end

-- A comparison of two figures of the same run.
function bench.ratio(name, value)
  say(("ratio %s %s"):format(name, ("%.3g"):format(value)))
  report[#report + 1] = { kind = "ratio", name = name, value = value }
end

-- What cannot be measured here, and why.
function bench.skip(name, why)
  say(("skip %s %s"):format(name, why))
  report[#report + 1] = { kind = "skip", name = name, why = why }
end

function bench.failure(name, err)
  say(("failed %s %s"):format(name, err))
  report[#report + 1] = { kind = "failed", name = name, why = tostring(err) }
end

local function write_report()
  local file = assert(io.open(BUILD .. "/bench.json", "w"))
  file:write(#report > 0 and tide.encode(report) or "[]", "\n")
  file:close()
end

-- ---- sides that take turns

function bench.median(values)
  local sorted = { unpack(values) }
  table.sort(sorted)
  local middle = math.floor((#sorted + 1) / 2)
  if #sorted % 2 == 1 then return sorted[middle] end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

-- Measures sides, each { name =, unit =, run = }, in turns: run(seconds) gives a value.
-- A side without run is left out.  The first turn, a shorter one, is warm-up.  Reports
-- the medians and gives them by name.
function bench.compare(sides, rounds)
  local values, medians = {}, {}
  for _, side in ipairs(sides) do
    values[side.name] = {}
    side.run(WARM_UP_SECONDS)
  end
  for round = 1, rounds or ROUNDS do
    for _, side in ipairs(sides) do values[side.name][round] = side.run(SECONDS) end
  end
  for _, side in ipairs(sides) do
    medians[side.name] = bench.median(values[side.name])
    bench.figure(side.name, medians[side.name], side.unit, values[side.name])
  end
  return medians
end

-- ---- tasks

local function wait_for(tasks)
  local failure
  for _, task in ipairs(tasks) do
    local ok, err = task:wait()
    if not ok then failure = failure or err end
  end
  if failure then error(failure, 0) end
end

-- Runs count tasks that call once() again and again; gives calls a second.  around, if
-- any, is given a function to run, for what a task does before and after.
function bench.tasks(count, seconds, once, around)
  local done, is_over = 0, false
  local function work(...)
    while not is_over do
      once(...)
      done = done + 1
    end
  end
  local tasks = {}
  for i = 1, count do
    tasks[i] = around and tide.spawn(around, work) or tide.spawn(work)
  end
  tide.sleep(seconds / 10) -- all of them are at it
  local start, before = core.now(), done
  tide.sleep(seconds)
  local rate = (done - before) / (core.now() - start)
  is_over = true
  wait_for(tasks)
  return rate
end

-- ---- programs

local running = {}
local directory -- private, removed at the end

local function private_directory()
  if directory then return directory end
  directory = assert(core.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tidepool-bench-"))
  assert(core.chmod(directory, tonumber("711", 8))) -- servers run as another account
  return directory
end

-- A name in the private directory.
function bench.path(name) return private_directory() .. "/" .. name end

function bench.write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

-- The program's path, or nil.
function bench.find(name)
  local folder = server.find({ name }, { "/usr/sbin", "/sbin" })
  return folder and folder .. "/" .. name
end

-- A C program of tests/bench.
function bench.program(name) return BUILD .. "/tests/bench/" .. name end

-- Runs a program to its end and gives what it wrote; raises when it failed.
function bench.output(words, env)
  return assert(server.run(words, { env = env }))
end

-- Starts a program that ends with us, with all the descriptors it may have, its output
-- in the file log; gives the process.
function bench.start(words, log, env)
  local args = { "setpriv", "--pdeathsig", "TERM", "--", "sh", "-c",
    'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh" }
  for _, word in ipairs(words) do args[#args + 1] = word end
  os.remove(log) -- an earlier one's
  local process = assert(core.process { args = args, log = log, env = env })
  running[#running + 1] = process
  return process
end

-- Waits until the log matches the pattern, seconds at most; gives what it captures.
function bench.wait_log(log, pattern, seconds)
  local limit = core.now() + (seconds or START_SECONDS)
  while core.now() < limit do
    local found = (core.read_file(log) or ""):match(pattern)
    if found then return found end
    tide.sleep(0.01)
  end
  error(("%q did not come up in %s:\n%s"):format(pattern, log, core.read_file(log) or ""),
    0)
end

-- Ends what start() started.
function bench.end_processes()
  local ending = running
  running = {}
  for _, process in ipairs(ending) do process:signal "TERM" end
  for _, process in ipairs(ending) do process:wait() end
end

-- ---- servers

local started = {}

local WORLD = ([[
  CREATE TABLE world (id int PRIMARY KEY, randomnumber int NOT NULL);
  INSERT INTO world SELECT i, 1 + i * 7919 %% %d FROM generate_series(1, %d) AS i;
  -- Takes this long and may be grouped, which a volatile function may not.
  CREATE FUNCTION nap(seconds float) RETURNS int LANGUAGE plpgsql STABLE AS
    'BEGIN PERFORM pg_sleep(seconds); RETURN 1; END';
]]):format(ROWS, ROWS)

-- The private Postgres, with the table world: id 1 to ROWS, randomnumber.
function bench.postgres()
  if not started.postgres then
    local postgres = assert(servers.postgres {
      directory = bench.path "postgres", settings = { max_wal_size = "4GB" },
    })
    started.postgres = postgres
    assert(postgres:psql(WORLD))
    assert(postgres:psql "VACUUM ANALYZE world")
    assert(postgres:psql "CHECKPOINT")
  end
  return started.postgres
end

-- The private Redis.
function bench.redis()
  started.redis = started.redis or assert(servers.redis {
    directory = bench.path "redis",
  })
  return started.redis
end

local opened = 0

local function merged(settings, more)
  for name, value in pairs(more or {}) do settings[name] = value end
  return settings
end

-- A pool of 15 connections on the private Postgres, or on url.
function bench.postgres_pool(settings, url)
  opened = opened + 1
  return assert(core.postgres_open {
    name = "bench" .. opened, url = url or bench.postgres().url,
    settings = merged({ max_connections = 15 }, settings),
  })
end

function bench.redis_pool()
  opened = opened + 1
  return assert(core.redis_open {
    name = "bench" .. opened, url = bench.redis().url, settings = {},
  })
end

-- Starts tests/bench/app.lua; gives its HOST:PORT and the process.
function bench.start_app(words)
  opened = opened + 1
  local log = bench.path("app" .. opened .. ".log")
  local args = {
    core.realpath "/proc/self/exe", "run", "tests/bench/app.lua",
    "--listen", "127.0.0.1:0", "--log-level", "error",
    "--set", "database.pool.max_connections=15",
    "--set", "server.limits.max_connections=20000",
  }
  for _, word in ipairs(words or {}) do args[#args + 1] = word end
  local process = bench.start(args, log, { DATABASE_URL = bench.postgres().url,
    REDIS_URL = bench.redis().url })
  return bench.wait_log(log, "listening on https?://(%S+)"), process
end

-- Resident memory of a process in KB, without what it shares with files.
function bench.memory_kb(pid)
  local text = assert(core.read_file("/proc/" .. pid .. "/status"))
  return tonumber(text:match "RssAnon:%s*(%d+)")
end

-- A server that is ending may still write there.
local function remove(path)
  for _ = 1, REMOVE_TIMES do
    core.remove_tree(path)
    if not core.stat(path) then return end
    os.execute "sleep 0.1" -- tide.sleep would raise after Ctrl-C
  end
end

-- Ends all, removes all, writes bench.json.  After Ctrl-C nothing can wait: all are told
-- to end, and what waits raises.
function bench.finish()
  pcall(bench.end_processes)
  for _, one in pairs(started) do pcall(one.stop, one) end
  if directory then remove(directory) end
  write_report()
end

return bench
