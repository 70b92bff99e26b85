-- game.lua - the handlers of the game server; it loads them anew when this file changes.

local tide = require "tidepool"

local db, cache = tide.postgres(), tide.redis()
local saves = tide.postgres "saves" -- so that they do not wait behind trades

local ITEMS, EACH = 3, 10 -- what a new player has
local LOCK_SECONDS = 2

local sessions = tide.session { redis = cache, db = db, name = "game", ttl = 3600 }
local logins = tide.ratelimit { rate = 2, burst = 10 }
local board = tide.leaderboard { redis = cache, db = saves, name = "scores",
                                 mode = "last", flush = 0.05, snapshot = 5 }
-- In the directory that the server runs in is its log: what a kill leaves there, the next
-- one stores.
local states = assert(tide.writebehind { db = saves, table = "states", key = "player",
  flush = 0.5, max_dirty = 20000, log = "states.log" })

-- Once, before the first tick.
tide.handler("setup", function()
  assert(sessions:create())
  assert(board:create())
end)

-- ---- login

local NEW_PLAYER = ([[
  WITH new AS (INSERT INTO players VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)
  INSERT INTO inventory SELECT id, item, %d FROM new, generate_series(0, %d) AS item
]]):format(EACH, ITEMS - 1)

-- The token is worth something when it is of a session of this player.
local function find_session(token, player)
  if token == "" then return nil end
  local session, err = sessions:get(token)
  if err then error(err, 0) end
  return session and session.user == player
end

tide.handler("login", function(call)
  local player, token = call.payload:match "^(%d+) (%x*)$"
  if not logins:take(player) then error "too many logins" end
  local state, err = states:get(player)
  if err then return nil, err end
  if not state then
    assert(db:exec(NEW_PLAYER, player))
    state = { n = 0, x = 0, y = 0, score = 0 }
  end
  if not find_session(token, player) then token = assert(sessions:open({}, player)) end
  return ("%s %d %d %d %d"):format(token, state.n, state.x, state.y, state.score)
end)

-- ---- trade

local LOCK = "SELECT id FROM players WHERE id IN ($1, $2) ORDER BY id FOR UPDATE"
local DECIDED = "SELECT outcome FROM trades WHERE id = $1"
local ENOUGH = [[SELECT count(*) AS n FROM inventory WHERE count >= $5
  AND (player = $1 AND item = $3 OR player = $2 AND item = $4)]]
local MOVE = [[UPDATE inventory AS i SET count = i.count + m.change
  FROM (VALUES ($1::int, $3::int, -$5::int), ($2, $3, $5), ($2, $4, -$5), ($1, $4, $5))
    AS m (player, item, change) WHERE i.player = m.player AND i.item = m.item]]
local DECIDE = "INSERT INTO trades VALUES ($1, $2, $3, $4, $5, $6, $7)"

-- A trade has an id, which decides it once.  When the connection is lost at COMMIT nobody
-- knows whether it was done: then it is asked for again, and either its row is there or
-- nothing of it was done.  One that is still on its way at the server holds the locks.
tide.handler("trade", function(call)
  local id, a, b, give, take, count =
    call.payload:match "^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$"
  if a == b or give == take then return "refused" end
  local outcome, err = db:transaction({ retry = 3, timeout_ms = LOCK_SECONDS * 1000 },
    function(tx)
      -- Locked in one order, so that two trades cannot wait for each other.
      if #assert(tx:query(LOCK, a, b)) < 2 then error "no such player" end
      local row, failure = tx:one(DECIDED, id)
      if failure then error(failure, 0) end
      if row then return row.outcome end
      local is_possible = assert(tx:one(ENOUGH, a, b, give, take, count)).n == 2
      if is_possible then assert(tx:exec(MOVE, a, b, give, take, count)) end
      local decided = is_possible and "done" or "refused"
      assert(tx:exec(DECIDE, id, a, b, give, take, count, decided))
      return decided
    end)
  return outcome, err
end)

-- ---- saves and scores

-- A line for each player: number, ticks, x, y, score.
tide.handler("save", function(call)
  for player, n, x, y, score in
    call.payload:gmatch "(%d+) (%d+) (%-?%d+) (%-?%d+) (%d+)\n" do
    local ok, err = states:put(player, { n = tonumber(n), x = tonumber(x),
      y = tonumber(y), score = tonumber(score) })
    if not ok then return nil, err end -- the server gives them again
  end
end)

tide.handler("scores", function(call)
  local all = {}
  for player, score in call.payload:gmatch "(%d+) %d+ %S+ %S+ (%d+)\n" do
    all[#all + 1] = function() return board:score(player, tonumber(score)) end
  end
  local done, err = tide.all(all)
  if not done then return nil, err end
end)

tide.handler("top", function()
  local top, err = board:top(10)
  if not top then return nil, err end
  return ("%d %d"):format(#top, top[1] and top[1].value or 0)
end)

tide.handler("stats", function()
  local stats = states:stats()
  return ("%d %d"):format(stats.dirty, stats.loss_window * 1000)
end)

-- At the end, after the last save.  The states are stored by tide_drain().
tide.handler("finish", function() assert(board:snapshot()) end)
