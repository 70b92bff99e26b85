-- history_load.lua - hundreds of tasks that read, write and swap at random, and tell a
-- history; with somebody beside them who breaks things.

local backends = require "backends"
local core = require "tidepool.core"
local support = require "support"
local tide = require "tidepool"

local must = support.must
local TASKS, KEYS = 200, 16
local PAUSE_SECONDS = 0.01

local load = { keys = {}, tasks = TASKS }
for i = 1, KEYS do load.keys[i] = "k" .. i end

-- random(n): 1 to n, always the same ones for a seed.
function load.random(seed)
  local state = seed * 2654435 % 2147483648
  return function(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % n + 1
  end
end

-- ---- Postgres

local postgres = {}
load.postgres = postgres

-- By a way that no fault is on.
function postgres.prepare()
  must(backends.postgres.server:psql([[
    DROP TABLE IF EXISTS register, added;
    CREATE TABLE register (k text PRIMARY KEY, v text NOT NULL);
    CREATE TABLE added (id text);
    INSERT INTO register SELECT 'k' || n, 'k' || n || ':first'
      FROM generate_series(1, ]] .. KEYS .. ") AS n"))
end

function postgres.added()
  local counts = {}
  local rows = must(backends.postgres.server:psql
    "SELECT id, count(*) FROM added GROUP BY id")
  for id, count in rows:gmatch "([^\n|]+)|(%d+)" do counts[id] = tonumber(count) end
  return counts
end

function postgres.read(pool, key)
  local row, err = pool:one("SELECT v FROM register WHERE k = $1", key)
  if not row then return nil, err end
  return row.v
end

function postgres.write(pool, key, value)
  local count, err = pool:exec("UPDATE register SET v = $2 WHERE k = $1", key, value)
  if not count then return nil, err end
  return true
end

function postgres.swap(pool, key, value, op)
  return pool:transaction({ isolation = "serializable" }, function(tx)
    local old = must(tx:one("SELECT v FROM register WHERE k = $1", key)).v
    op.old = old -- also when nobody tells how it ended
    must(tx:exec("UPDATE register SET v = $2 WHERE k = $1", key, value))
    return old
  end)
end

function postgres.add(pool, id)
  local count, err = pool:exec("INSERT INTO added VALUES ($1)", id)
  if not count then return nil, err end
  return true
end

function postgres.tag(pool, tag)
  local row, err = pool:one("SELECT $1::text AS t", tag)
  if not row then return nil, err end
  return row.t
end

-- ---- Redis

local redis = {}
load.redis = redis

function redis.prepare()
  local server = backends.redis.server
  must(server:cli("DEL", "added"))
  for _, key in ipairs(load.keys) do must(server:cli("SET", key, key .. ":first")) end
end

function redis.added()
  local counts = {}
  local text = must(backends.redis.server:cli("HGETALL", "added"))
  for id, count in text:gmatch "([^\n]+)\n(%d+)\n" do counts[id] = tonumber(count) end
  return counts
end

function redis.read(pool, key) return pool:get(key) end

function redis.write(pool, key, value)
  local done, err = pool:set(key, value)
  if not done then return nil, err end
  return true
end

function redis.swap(pool, key, value, op)
  local old, err = pool:call("GETSET", key, value)
  if not old then return nil, err end
  op.old = old
  return old
end

function redis.add(pool, id)
  local count, err = pool:call("HINCRBY", "added", id, 1)
  if not count then return nil, err end
  return true
end

function redis.tag(pool, tag) return pool:call("ECHO", tag) end

-- ---- the callers

local function act(history, calls, pool, name, random)
  local key = load.keys[random(KEYS)]
  local choice = random(10)
  if choice <= 3 then
    history:register(key, "read", nil, function() return calls.read(pool, key) end)
  elseif choice <= 5 then
    local value = history:value(key, name)
    history:register(key, "write", value, function()
      return calls.write(pool, key, value)
    end)
  elseif choice == 6 then
    local value = history:value(key, name)
    history:register(key, "swap", value, function(op)
      return calls.swap(pool, key, value, op)
    end)
  elseif choice == 7 then
    local id = history:value("id", name)
    history:add(id, function() return calls.add(pool, id) end)
  else
    local tag = history:value("tag", name)
    local function ask() return calls.tag(pool, tag) end
    history:tag(tag, choice > 8 and ask or function()
      return tide.timeout(0.001 * random(10), ask) -- given up: its answer comes later
    end)
  end
end

-- Runs the callers for so many seconds while disturb(random, is_over) runs beside them.
function load.run(history, kind, pool, seconds, seed, disturb)
  local calls, limit = load[kind], core.now() + seconds
  local function is_over() return core.now() > limit end
  local tasks = {}
  for i = 1, TASKS do
    local random = load.random(seed * 1000 + i)
    tasks[i] = tide.spawn(function()
      while not is_over() do
        act(history, calls, pool, "w" .. i, random)
        tide.sleep(PAUSE_SECONDS * random(10))
      end
    end)
  end
  tasks[#tasks + 1] = tide.spawn(function() disturb(load.random(seed), is_over) end)
  for _, task in ipairs(tasks) do
    local ok, err = task:wait()
    if not ok then error(err, 0) end
  end
end

return load
