-- scores.lua - points of players: each change is a row in Postgres, the totals are a
-- sorted set in Redis.

local tide = require "tidepool"
local db, cache = tide.postgres(), tide.redis()

assert(db:exec "DROP TABLE IF EXISTS scores")
assert(db:exec [[CREATE TABLE scores (
  player text NOT NULL, points int NOT NULL CHECK (points > 0))]])
assert(cache:del "scores")

tide.handler("score", function(call)
  local score = assert(call:json())
  local done, err = db:exec("INSERT INTO scores VALUES ($1, $2)", score.player,
    score.points)
  if not done then return nil, err end
  return { total = tonumber(cache:zincrby("scores", score.points, score.player)) }
end)

tide.handler("top", function(call)
  local list = {}
  local flat = assert(cache:zrevrange("scores", 0, assert(call:json()) - 1, "WITHSCORES"))
  for i = 1, #flat, 2 do
    list[#list + 1] = { player = flat[i], points = tonumber(flat[i + 1]) }
  end
  return list
end)

tide.handler("total", function()
  return assert(db:one "SELECT count(*) AS rows, sum(points) AS points FROM scores")
end)

tide.handler("sleep", function() tide.sleep(60) end)
