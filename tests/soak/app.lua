-- app.lua - the service of the soak: a bit of all that an application does.  The rows of
-- its tables tell in the end what was done, and how often.

local tide = require "tidepool"

local db, cache, app = tide.postgres(), tide.redis(), tide.app()

local ROWS = 1000
local ACCOUNTS = 20
local WORKER = tide.worker()
local CHANNEL = "soak:news"

local function answer(value, err)
  if err then return tide.fail(err) end
  return tide.json(value or tide.null)
end

local function some_row() return math.random(ROWS) end

-- ---- whether all of it answers, and who; before others that wait

app:get("/probe", function()
  tide.class "critical"
  assert(db:query { "SELECT 1", share = false, timeout_ms = 500 })
  assert(cache:ping())
  return tostring(WORKER)
end)

-- ---- Postgres

local ONE = "SELECT id, n FROM world WHERE id = $1"

app:get("/row", function() return answer(db:one(ONE, some_row())) end)

app:get("/list", function()
  return answer(db:query({ "SELECT id, n FROM world WHERE id > $1 ORDER BY id LIMIT 20",
    share = false }, some_row()))
end)

app:get("/batch", function()
  return answer(db:batch {
    { ONE, some_row() }, { ONE, some_row() }, { "SELECT count(*) AS n FROM accounts" },
  })
end)

-- The sum of all balances stays what it is.
app:post("/transfer", function()
  local from, to = math.random(ACCOUNTS), math.random(ACCOUNTS)
  return answer(db:transaction({ retry = 3 }, function(tx)
    assert(tx:query([[SELECT id FROM accounts WHERE id IN ($1, $2) ORDER BY id
      FOR UPDATE]], from, to))
    local move = "UPDATE accounts SET balance = balance + $1 WHERE id = $2"
    assert(tx:exec(move, -1, from))
    assert(tx:exec(move, 1, to))
    return true
  end))
end)

-- As many rows as answers with 200, and those of which the client was not told.
app:post("/note", function()
  return answer(db:exec("INSERT INTO notes (worker) VALUES ($1)", WORKER))
end)

app:post("/copy", function()
  local rows = {}
  for i = 1, 100 do rows[i] = { i, "a row of a copy" } end
  return answer(db:transaction(function(tx)
    assert(tx:exec "CREATE TEMPORARY TABLE copied (n int, text text) ON COMMIT DROP")
    return assert(tx:copy_in("COPY copied FROM STDIN", rows))
  end))
end)

-- Slow ones, of which a part comes to its deadline.
app:get("/slow", function()
  return answer(db:one({ "SELECT pg_sleep($1::float8)", timeout_ms = 150, share = false },
    math.random() * 0.2))
end)

app:get("/hold", function()
  return answer(db:one({ "SELECT pg_sleep(0.5)", share = false }))
end)

-- ---- Redis

app:get("/cached", function()
  local key = "soak:row:" .. math.random(50)
  local hit = cache:get(key)
  if hit then return tide.json_raw(hit) end
  local row, err = db:one(ONE, some_row())
  if err then return tide.fail(err) end
  local text = tide.encode(row)
  cache:set(key, text, "EX", 2)
  return tide.json_raw(text)
end)

app:get("/multi", function()
  local key = "soak:count:" .. math.random(50)
  return answer(cache:multi(function(m)
    m:incr(key)
    m:expire(key, 60)
  end))
end)

-- ---- streams

app:get("/stream", function()
  return tide.stream(function(reply)
    assert(db:each("SELECT id, n FROM world", function(row)
      assert(reply:write(row.id .. "," .. row.n .. "\n"))
    end))
  end)
end)

app:get("/large", function()
  return tide.stream(function(reply)
    local piece = ("x"):rep(65536)
    for _ = 1, 64 do
      assert(reply:write(piece))
      tide.sleep(0.01)
    end
  end)
end)

-- What is published for a second, or for as long as the client stays.
local function news(seconds)
  return tide.events(function(stream)
    stream:own(assert(cache:subscribe(CHANNEL, function(message)
      stream:send { event = "news", data = message.payload }
    end)))
    stream:send "hello"
    tide.timeout(seconds, stream.wait, stream)
  end, { heartbeat = 1 })
end

app:get("/events", function() return news(1) end)
app:get("/events/forever", function() return news(3600) end)

local function publish()
  return cache:publish(CHANNEL, tide.encode { worker = WORKER, now = tide.now() })
end

app:post("/publish", function() return answer(publish()) end)

local heard = 0
local function count() heard = heard + 1 end

app:post("/notify", function() return answer(db:notify("soak", "from " .. WORKER)) end)

-- ---- blocks

local rows = tide.memo({ name = "soak", redis = cache, ttl = 1, stale = 1, lease = 2 },
  function(id) return db:one(ONE, id) end)
app:get("/memo", function() return answer(rows:get(math.random(50))) end)

local scores = tide.memo({ name = "local", ttl = 0.5, max_entries = 100 },
  function(id) return db:one("SELECT n * 2 AS n FROM world WHERE id = $1", id) end)
app:get("/memo/local", function() return answer(scores:get(some_row())) end)

local limit = tide.ratelimit { name = "soak", rate = 5, burst = 10, redis = cache }
app:get("/limited", function(req)
  return limit:take(req.remote) and "welcome\n" or tide.text("too many\n", 429)
end)

app:post("/lock/redis", function()
  return answer(tide.lock("soak", { redis = cache, ttl = 2, timeout = 5 }, function(fence)
    tide.sleep(0.002)
    return { fence = fence }
  end))
end)

-- A fence that is not above the one before is answered with 409.
app:post("/lock/postgres", function()
  local ok, err = tide.lock("soak", { postgres = db, timeout = 5 }, function(fence)
    local done, failed = db:exec("UPDATE fences SET fence = $1 WHERE fence < $1", fence)
    if failed then return nil, failed end
    return done
  end)
  if err then return tide.fail(err) end
  return ok == 1 and "held\n" or tide.text("stale\n", 409)
end)

app:get("/serial", function()
  return tide.serial("player:" .. math.random(3), function()
    tide.sleep(0.001)
    return "turn\n"
  end)
end)

local jobs = tide.queue { db = db, name = "soak" }

-- Each job that was added comes to be done, once or more.
app:post("/job", function()
  return answer(db:transaction(function(tx)
    local id = assert(jobs:add(tx, { worker = WORKER }, { key = "k" .. math.random(5) }))
    assert(tx:exec("INSERT INTO jobs_added VALUES ($1)", id))
    return id
  end))
end)

local function work(job)
  local done, err = db:exec([[INSERT INTO jobs_done VALUES ($1)
    ON CONFLICT (id) DO UPDATE SET times = jobs_done.times + 1]], job.id)
  return done, err
end

local players = assert(tide.writebehind { db = db, table = "players", flush = 0.5,
  log = "players.log" })
app:post("/put", function()
  local key = ("%d:%d"):format(WORKER, math.random(50))
  local player, err = players:get(key)
  if err then return tide.fail(err) end
  player = player or { gold = 0 }
  player.gold = player.gold + 1
  return answer(players:put(key, player))
end)

-- ---- what must not be

app:get("/error", function() error "it is wrong on purpose" end)
app:get("/spawned", function()
  tide.spawn(function() return db:one({ "SELECT pg_sleep(0.05)", share = false }) end)
  return tide.all(function() return "a" end, function() tide.sleep(0.001) return "b" end)
end)

-- ---- what goes on beside requests

app:on_load(function(state) heard = state and state.heard or 0 end)
app:on_unload(function() return { heard = heard } end)

jobs:consume(work, { tasks = 2, visibility = 5, retries = 20, backoff = 0.2 })
assert(cache:subscribe(CHANNEL, count))
assert(db:listen("soak", count))
tide.on("close", count)
tide.every(0.5, publish)
app:get("/heard", function() return tostring(heard) end)

return app
