-- run.lua - the soak: a mixed load on an instance of two workers for hours, while its
-- servers and itself are killed, stopped and reloaded.  Ends with status 1 when anything
-- that it checks is not well.
--
--   build/tidepool run --trusted tests/soak/run.lua -- HOURS OUT [SEED]
--
-- In the folder OUT: soak.csv with what was seen every few seconds, faults.csv,
-- soak.svg, soak.txt with the verdict, and service.log.

package.path = "tests/soak/?.lua;" .. package.path

local call = require "tidepool.call"
local core = require "tidepool.core"
local faults = require "faults"
local load_request = require "tidepool.command.load_request"
local mix = require "mix"
local picture = require "picture"
local server = require "tidepool.server"
local servers = require "tidepool.servers"
local tide = require "tidepool"
local verdict = require "verdict"
local watch = require "watch"

local START_SECONDS = 30
local QUIET_SECONDS = 30 -- until nothing moves any more
local STEADY_LOOKS = 4
local REMOVE_TIMES = 100
local MOST_MS = 500 -- of the latency in the picture
local ACCOUNTS, BALANCE = 20, 1000

local SCHEMA = ([[
  CREATE TABLE world (id int PRIMARY KEY, n int NOT NULL);
  INSERT INTO world SELECT i, i * 7 FROM generate_series(1, 1000) AS i;
  CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
  INSERT INTO accounts SELECT i, %d FROM generate_series(1, %d) AS i;
  CREATE TABLE notes (id bigserial PRIMARY KEY, worker int NOT NULL);
  CREATE TABLE fences (fence bigint NOT NULL);
  INSERT INTO fences VALUES (0);
  CREATE TABLE jobs_added (id bigint PRIMARY KEY);
  CREATE TABLE jobs_done (id bigint PRIMARY KEY, times int NOT NULL DEFAULT 1);
  CREATE TABLE players (key text PRIMARY KEY, value jsonb NOT NULL,
    version bigint NOT NULL);
]]):format(BALANCE, ACCOUNTS)

local soak = { killed = 0 } -- workers, by us

local function say(text, ...)
  io.stdout:write(text:format(...), "\n")
  io.stdout:flush()
end

-- ---- what is soaked

local function start_servers()
  local root = os.getenv "TMPDIR" or "/tmp"
  soak.directory = assert(core.mkdtemp(root .. "/tidepool-soak-"))
  assert(core.chmod(soak.directory, tonumber("711", 8)))
  soak.postgres = assert(servers.postgres { directory = soak.directory .. "/postgres" })
  soak.redis = assert(servers.redis { directory = soak.directory .. "/redis" })
  assert(soak.postgres:psql(SCHEMA))
  local pool = assert(core.postgres_open {
    name = "schema", url = soak.postgres.url, settings = { max_connections = 1 },
  })
  assert(tide.queue({ db = pool, name = "soak" }):create())
  pool:close()
end

-- The address in the line of the log that says it.
local function wait_address(log, pattern)
  local limit = core.now() + START_SECONDS
  while true do
    local text = "\n" .. (core.read_file(log) or "")
    local url = text:match(pattern)
    if url then return assert(load_request.parse_url(url)) end
    if core.now() > limit then error("it did not start:" .. text, 0) end
    tide.sleep(0.02)
  end
end


-- The binary is a copy, so that a build meanwhile changes nothing.
local function start_service(out)
  local program = soak.directory .. "/tidepool"
  assert(server.run { "cp", core.realpath "/proc/self/exe", program })
  assert(server.run { "cp", "-r", "tests/soak", soak.directory .. "/app" })
  local log = out .. "/service.log"
  os.remove(log)
  soak.process = assert(core.process {
    args = { "setpriv", "--pdeathsig", "TERM", "--", program, "run", "app/app.lua",
      "--workers", "2", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--policy",
      "app/policy.lua", "--set", "policy.rails.max_connections=4..20",
      "--set", "database.pool.max_connections=16", "--set", "log.level=warn",
      "--set", "redis.pool.max_connections=16", "--set", "server.limits.idle_timeout=30",
      "--set", "database.pool.idle_timeout=5", "--set", "redis.pool.idle_timeout=5" },
    log = log, cwd = soak.directory,
    env = { DATABASE_URL = soak.postgres.url, REDIS_URL = soak.redis.url,
            TMPDIR = soak.directory },
  })
  soak.pid = soak.process:pid()
  soak.admin = wait_address(log, "\nadmin listening on (http://%S+)\n")
  soak.target = wait_address(log, "\nlistening on (http://%S+)\n")
  soak.probe = setmetatable({ path = "/probe" }, { __index = soak.target })
  soak.health_page = setmetatable({ path = "/health" }, { __index = soak.admin })
end

function soak.health()
  local status, body = call(soak.health_page, { patience = 10 })
  local health = status and tide.decode(body)
  return type(health) == "table" and health.workers and health or { workers = {} }
end

function soak.worker_pids()
  local pids = {}
  for i, worker in ipairs(soak.health().workers) do
    pids[i] = worker.pid ~= tide.null and worker.pid or false
  end
  return pids
end

-- ---- quiet

local function descriptors()
  local pids, counts = soak.worker_pids(), {}
  local named = { master = soak.pid, worker1 = pids[1], worker2 = pids[2] }
  for name, pid in pairs(named) do
    local seen = pid and watch.process(pid)
    counts[name] = seen and seen.descriptors
  end
  return counts
end

-- The descriptors of each process when they have not changed for some seconds.
local function quiet()
  local limit, steady, before = core.now() + QUIET_SECONDS, 0, nil
  local last
  tide.sleep(6) -- what is idle is closed after 5
  repeat
    last = descriptors()
    local text = ("%s %s %s"):format(last.master, last.worker1, last.worker2)
    steady = text == before and steady + 1 or 0
    before = text
    tide.sleep(0.5)
  until steady >= STEADY_LOOKS or core.now() > limit
  return last
end

-- ---- the hours

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function faults_csv(list, began)
  local lines = { "seconds,kind,away,answers,starved,whole,last_failure" }
  for _, fault in ipairs(list) do
    lines[#lines + 1] = ('%.1f,%s,%.3f,%.3f,%.3f,%.3f,"%s"'):format(fault.at - began,
      fault.kind, fault.away or 0, fault.answers or math.huge, fault.starved or 0,
      fault.whole or math.huge, fault.why or "")
  end
  return table.concat(lines, "\n") .. "\n"
end

-- A fault that could not be made counts as one from which nothing recovered.
local function spawn_faults(plan, list, began, path)
  local next_fault = faults.schedule(plan.seed, plan.gap)
  return tide.spawn(function()
    while true do
      local kind, wait, away = next_fault()
      if core.now() + wait > began + plan.seconds then return end
      tide.sleep(wait)
      local fault = { kind = kind, at = core.now(), ended = math.huge }
      list[#list + 1] = fault
      local ok, result = pcall(faults.run, soak, kind, away)
      if not ok then result = { why = tostring(result), ended = core.now() } end
      for name, value in pairs(result) do fault[name] = value end
      write(path, faults_csv(list, began))
    end
  end)
end

local function spawn_looks(plan, looks, state)
  return tide.spawn(function()
    while not state.is_over do
      local pids = soak.worker_pids()
      looks:look(soak.admin, { soak.pid, pids[1], pids[2] }, state.round, state.errors)
      state.round, state.errors = nil, nil
      tide.sleep(plan.look)
    end
  end)
end

local function note_round(round, rounds, total, state)
  rounds[#rounds + 1] = round
  mix.add(total, round.sum)
  for path, counts in pairs(round.paths) do
    local into = state.paths[path] or { ok = 0, sent = 0 }
    state.paths[path] = { ok = into.ok + counts.ok, sent = into.sent + counts.sent }
  end
  state.round, state.errors = round, mix.text(round.sum.errors)
end

-- One round begins when the time of the one before is over, which may still wait for
-- replies.
local function send_rounds(plan, ends, rounds, total, state)
  local tasks = {}
  while core.now() < ends do
    local task = tide.spawn(function()
      note_round(mix.round(soak.target, plan.round), rounds, total, state)
    end)
    tasks[#tasks + 1] = task
    tide.sleep(plan.round)
    collectgarbage() -- the loads of rounds before
  end
  for _, task in ipairs(tasks) do
    local ok, err = task:wait()
    if not ok then state.broken = state.broken or tostring(err) end
  end
end

local function progress(plan, began, rounds, list, state)
  return tide.every(plan.told, function()
    local round = rounds[#rounds]
    say("%5.0f s: %d rounds, %d faults, last p50 %.1f ms, p99 %.1f ms, failed: %s",
      core.now() - began, #rounds, #list, round and round.p50 * 1000 or 0,
      round and round.p99 * 1000 or 0, state.errors or "")
  end)
end

-- ---- what must be so in the end

local function number(sql) return tonumber((assert(soak.postgres:psql(sql)))) end

local function eventually_zero(sql)
  local limit, found = core.now() + QUIET_SECONDS, number(sql)
  while found > 0 and core.now() < limit do
    tide.sleep(0.1)
    found = number(sql)
  end
  return found
end

local function check_data(text, paths)
  local balance = number "SELECT sum(balance) FROM accounts"
  text:check(balance == ACCOUNTS * BALANCE, "money: %d, of %d", balance,
    ACCOUNTS * BALANCE)
  local notes, note = number "SELECT count(*) FROM notes", paths["/note"]
  text:check(notes >= note.ok and notes <= note.sent,
    "writes: %d rows, %d acknowledged, %d sent", notes, note.ok, note.sent)
  local open = eventually_zero [[SELECT count(*) FROM jobs_added AS a WHERE NOT EXISTS
    (SELECT 1 FROM jobs_done AS d WHERE d.id = a.id)]]
  text:check(open == 0, "jobs: %d added, %d done more than once, %d not done",
    number "SELECT count(*) FROM jobs_added",
    number "SELECT count(*) FROM jobs_done WHERE times > 1", open)
  local dead = number "SELECT count(*) FROM tidepool_jobs WHERE queue = 'soak'"
  text:check(dead == 0, "jobs: %d left in the queue", dead)
  local gold = number "SELECT coalesce(sum((value->>'gold')::int), 0) FROM players"
  text:say("        written behind: %d stored, %d acknowledged; a killed worker loses "
    .. "half a second", gold, paths["/put"].ok)
end

local function kills(list, began)
  local at = {}
  for _, fault in ipairs(list) do
    if fault.kind == "worker_kill" then at[#at + 1] = fault.at - began end
  end
  return at
end

-- ---- main

local function plan_of(hours, seed)
  local seconds = hours * 3600
  return { seconds = seconds, seed = seed,
           gap = math.max(1.5, math.min(15, seconds / 12)),
           round = math.max(2, math.min(5, seconds / 20)),
           look = math.max(0.5, math.min(5, seconds / 60)),
           told = math.max(5, math.min(60, seconds / 10)) }
end

local function judge(text, found)
  local calm, calm_rounds = mix.sum(), {}
  for _, round in ipairs(found.rounds) do
    if verdict.is_calm(round, found.faults) then
      mix.add(calm, round.sum)
      calm_rounds[#calm_rounds + 1] = round
    end
  end
  text:check(not found.broken, "the soak itself went on to its end%s",
    found.broken and ": " .. found.broken or "")
  text:requests(found.total, calm, #calm_rounds)
  text:faults(found.faults)
  text:memory(found.samples)
  text:descriptors(found.before, found.after)
  text:connections(found.last)
  text:check(found.last.crashes == soak.killed,
    "workers that ended: %g, of which %d were killed", found.last.crashes or math.huge,
    soak.killed)
  text:latency(found.rounds, "of all")
  text:latency(calm_rounds, "without a fault")
end

local function soak_for(plan, out)
  local looks, state = watch.open(out .. "/soak.csv"), { paths = {} }
  local list, rounds, total = {}, {}, mix.sum()
  for _ = 1, 20 do call(soak.probe) end
  local before = quiet()
  local began = core.now()
  looks.began = began
  local tasks = { spawn_faults(plan, list, began, out .. "/faults.csv"),
                  spawn_looks(plan, looks, state) }
  local told = progress(plan, began, rounds, list, state)
  send_rounds(plan, began + plan.seconds, rounds, total, state)
  state.is_over = true
  told:cancel()
  for _, task in ipairs(tasks) do
    local ok, err = task:wait()
    if not ok then state.broken = state.broken or tostring(err) end
  end
  write(out .. "/soak.svg", picture.svg(looks.samples, kills(list, began), MOST_MS))
  local after = quiet()
  return { before = before, after = after, faults = list, rounds = rounds,
           last = looks:look(soak.admin, {}), total = total, samples = looks.samples,
           paths = state.paths, broken = state.broken }
end

local function end_service(text)
  soak.process:signal "TERM"
  local status = soak.process:wait()
  soak.process = nil
  text:check(status == 0, "the instance ended with status %d", status)
end

local function load_average() return (core.read_file "/proc/loadavg"):match "%S+" end

local function run(hours, out, seed)
  local plan, text = plan_of(hours, seed), verdict.new()
  assert(core.mkdir(out, tonumber("755", 8)))
  start_servers()
  start_service(out)
  text:say("soak of %g hours, seed %d, %d cores, load average %s at the start", hours,
    seed, core.cores(), load_average())
  say("%s", text[1])
  local found = soak_for(plan, out)
  judge(text, found)
  check_data(text, found.paths)
  end_service(text)
  text:say("load average %s in the end", load_average())
  text:say(text.is_well and "all is well" or "not all is well")
  write(out .. "/soak.txt", table.concat(text, "\n") .. "\n")
  say("%s", table.concat(text, "\n"))
  return text.is_well
end

-- After Ctrl-C nothing can wait, and a server that ends may still write there.
local function remove(path)
  for _ = 1, REMOVE_TIMES do
    core.remove_tree(path)
    if not core.stat(path) then return end
    os.execute "sleep 0.1"
  end
end

local function finish()
  if soak.process then pcall(soak.process.signal, soak.process, "TERM") end
  for _, name in ipairs { "postgres", "redis" } do
    if soak[name] then pcall(soak[name].stop, soak[name]) end
  end
  if soak.directory then remove(soak.directory) end
end

local function main(hours, out, seed)
  hours = tonumber(hours)
  if not hours or hours <= 0 or not out then
    error("usage: run.lua -- HOURS OUT [SEED]", 0)
  end
  local ok, is_well = xpcall(run, function(err)
    return core.is_err(err) and tostring(err) or debug.traceback(tostring(err), 2)
  end, hours, out, tonumber(seed) or 1)
  finish()
  if not ok then error(is_well, 0) end
  if not is_well then error("the soak failed", 0) end
end

main(...)
