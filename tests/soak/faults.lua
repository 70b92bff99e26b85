-- faults.lua - what goes wrong during a soak: when and what by a seed, and how long after
-- it the service answers again.

local call = require "tidepool.call"
local core = require "tidepool.core"
local server = require "tidepool.server"
local tide = require "tidepool"
local watch = require "watch"

local AWAY_SECONDS = 3 -- that a server is, at most
local LONGEST = 60 -- that a recovery is waited for
local ANSWERS = 8 -- one after the other, by all workers: it has recovered
local WORKERS = 2

-- The connections of the service, without its walsenders and the like.
local OURS = "FROM pg_stat_activity WHERE application_name = 'tidepool'"

local faults = {}

-- ---- what goes wrong; each gives when the service could answer again

local KINDS = {}

local function kill(signal, pid)
  return server.run { "kill", "-" .. signal, tostring(pid) }
end

-- The last one always, so that the others live as long as the soak.
function KINDS.worker_kill(soak)
  local pid = soak.worker_pids()[WORKERS]
  if pid and kill("KILL", pid) then soak.killed = soak.killed + 1 end
  return core.now()
end

local function take_away(one, how, seconds)
  how(one)
  tide.sleep(seconds)
  assert(one:start())
  return core.now()
end

function KINDS.postgres_kill(soak, away)
  return take_away(soak.postgres, soak.postgres.kill, away)
end

function KINDS.postgres_restart(soak, away)
  return take_away(soak.postgres, soak.postgres.halt, away)
end

function KINDS.redis_kill(soak, away)
  return take_away(soak.redis, soak.redis.kill, away)
end

function KINDS.redis_restart(soak, away)
  return take_away(soak.redis, soak.redis.halt, away)
end

function KINDS.redis_stall(soak, away)
  soak.redis:kill "STOP"
  tide.sleep(away)
  soak.redis:kill "CONT"
  return core.now()
end

function KINDS.redis_clients(soak)
  assert(soak.redis:cli("CLIENT", "KILL", "TYPE", "pubsub"))
  assert(soak.redis:cli("CLIENT", "KILL", "TYPE", "normal"))
  return core.now()
end

function KINDS.terminate_all(soak)
  assert(soak.postgres:psql("SELECT count(pg_terminate_backend(pid)) " .. OURS))
  return core.now()
end

function KINDS.terminate_one(soak)
  assert(soak.postgres:psql("SELECT pg_terminate_backend(pid) " .. OURS
    .. " ORDER BY random() LIMIT 1"))
  return core.now()
end

-- For which the server ends all others, and recovers.
function KINDS.backend_kill(soak)
  local pid = assert(soak.postgres:psql("SELECT pid " .. OURS .. " LIMIT 1")):match "%d+"
  if not pid then return core.now() end
  kill("KILL", pid)
  local limit = core.now() + LONGEST
  while core.stat("/proc/" .. pid) and core.now() < limit do tide.sleep(0.01) end
  while not soak.postgres:psql "SELECT 1" and core.now() < limit do tide.sleep(0.01) end
  return core.now()
end

local function generation(soak)
  local least = math.huge
  for _, worker in ipairs(soak.health().workers) do
    least = math.min(least, tonumber(worker.generation) or 0)
  end
  return least
end

function KINDS.reload(soak)
  local before = generation(soak)
  kill("HUP", soak.pid)
  local limit = core.now() + LONGEST
  while generation(soak) <= before and core.now() < limit do tide.sleep(0.02) end
  return core.now()
end

-- ---- the schedule

-- A generator of its own, so that nobody else's draws change the schedule.
local function generator(seed)
  local state = seed % 2147483647
  if state == 0 then state = 1 end
  return function()
    state = state * 16807 % 2147483647
    return state / 2147483647
  end
end

-- Gives a function that tells the next fault: its kind, seconds to wait before it, and
-- how long a server is away.  Each kind comes once in as many faults as there are kinds.
function faults.schedule(seed, gap)
  local random, deck = generator(seed), {}
  return function()
    if #deck == 0 then
      for name in pairs(KINDS) do deck[#deck + 1] = name end
      table.sort(deck)
    end
    local name = table.remove(deck, 1 + math.floor(random() * #deck))
    return name, gap * (0.5 + random()), random() * math.min(AWAY_SECONDS, gap / 2)
  end
end

-- ---- one of them

-- The most that one of the workers has waited for the CPU, of those that were there.
local function waits(pids, before)
  local most, now = 0, {}
  for _, pid in ipairs(pids) do
    if pid then
      local _, waited = watch.cpu(pid)
      now[pid] = waited
      most = math.max(most, waited - (before and before[pid] or waited))
    end
  end
  return now, most
end

-- answers, whole: seconds from since on until the service answers again, and until all
-- workers do; new connections all.  nil: it does not.  starved: seconds until it answers
-- in which a worker waited for the CPU.  why: the last answer that was none.
local function recovery(soak, since, pids)
  local first, answers, seen, count = nil, 0, {}, 0
  local before, why, starved = waits(pids), nil, nil
  while core.now() < since + LONGEST do
    local status, body = call(soak.probe, { patience = LONGEST })
    if status == 200 then
      if not first then
        first = core.now()
        starved = select(2, waits(pids, before))
      end
      answers = answers + 1
      count = count + (seen[body] and 0 or 1)
      seen[body] = true
      if answers >= ANSWERS and count == WORKERS then
        return { answers = first - since, whole = core.now() - since,
                 starved = starved, why = why }
      end
    else
      why = tostring(body):gsub("[%c\"]", " ")
      first, answers, seen, count = nil, 0, {}, 0
      tide.sleep(0.01)
    end
  end
  return { why = why }
end

-- Does it, and waits until the service is well.  Gives what recovery() does, and kind,
-- at, away, ended.
function faults.run(soak, kind, away)
  local pids, at = soak.worker_pids(), core.now()
  local ready = KINDS[kind](soak, away)
  local result = recovery(soak, ready, pids)
  result.kind, result.at, result.away, result.ended = kind, at, ready - at, core.now()
  return result
end

return faults
