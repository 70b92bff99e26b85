-- leaderboard_redis.lua - a leaderboard in Redis: a sorted set of members, a hash from
-- players to places, and a counter of places.
--
-- A place is a number that grows with each change of a value: who was first has the
-- smaller one.  A member is 15 digits and the player's name; members of one score are in
-- the order of their bytes.  The digits are the place, or what is left of it up to 10^15
-- - 1 where the highest score is first: there the larger member is.

local core = require "tidepool.core"

local leaderboard_redis = {}

-- KEYS of all: the sorted set, the hash, the counter, the mark that says that Redis has
-- what Postgres has.  ARGV of all begin with order, mode, "1" where the mark is wanted.
local HEAD = [[
  local zset, hash, counter, mark = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  local order, mode = ARGV[1], ARGV[2]
  if ARGV[3] == "1" and redis.call("EXISTS", mark) == 0 then return "LOST" end
  local call = redis.call
  local function member_of(player, place)
    place = tonumber(place)
    if order == "desc" then place = 999999999999999 - place end
    return string.format("%015.0f:%s", place, player)
  end
  local function player_of(member) return string.sub(member, 17) end
  local function range(from, to)
    local verb = order == "desc" and "ZREVRANGE" or "ZRANGE"
    local list = call(verb, zset, from, to, "WITHSCORES")
    for i = 1, #list, 2 do list[i] = player_of(list[i]) end
    return list
  end
  local function rank_of(player)
    local place = call("HGET", hash, player)
    if not place then return nil end
    local member = member_of(player, place)
    local rank = call(order == "desc" and "ZREVRANK" or "ZRANK", zset, member)
    if not rank then return nil end
    return rank, call("ZSCORE", zset, member)
  end
  local function is_better(a, b)
    if order == "desc" then return a > b end
    return a < b
  end
]]

local SOURCES, READ_ONLY = {}, { rank = true, top = true, around = true, page = true,
                                 those_gone = true }

-- Lists are one word, as JSON.

-- ARGV: player, value, player, value.  Gives the values that they have now.
SOURCES.score = [[
  local values, list = {}, cjson.decode(ARGV[4])
  for i = 1, #list, 2 do
    local player, text = list[i], list[i + 1]
    local place = call("HGET", hash, player)
    local before = place and call("ZSCORE", zset, member_of(player, place))
    local now = tonumber(text)
    if before and mode == "sum" then now = now + tonumber(before) end
    if before and mode == "best" and not is_better(now, tonumber(before)) then
      now = tonumber(before)
    end
    if before and now == tonumber(before) then
      text = before
    elseif now ~= now or now == 1 / 0 or now == -1 / 0 then
      text = "inf"
    else
      text = string.format("%.17g", now)
      if before then call("ZREM", zset, member_of(player, place)) end
      place = string.format("%.0f", call("INCR", counter))
      call("HSET", hash, player, place)
      call("ZADD", zset, text, member_of(player, place))
    end
    values[#values + 1] = text
  end
  return values
]]

SOURCES.rank = [[
  local rank, score = rank_of(ARGV[4])
  return rank and { rank + 1, score }
]]

-- ARGV: the first and the last, from 0 on.
SOURCES.top = "return range(ARGV[4], ARGV[5])"

SOURCES.around = [[
  local rank = rank_of(ARGV[4])
  if not rank then return false end
  local first = math.max(0, rank - tonumber(ARGV[5]))
  return { first + 1, range(first, rank + tonumber(ARGV[5])) }
]]

SOURCES.remove = [[
  local place = call("HGET", hash, ARGV[4])
  if not place then return 0 end
  call("HDEL", hash, ARGV[4])
  return call("ZREM", zset, member_of(ARGV[4], place))
]]

-- ARGV: a cursor.  Gives the next one, and player, value, place, player ...
SOURCES.page = [[
  local step = call("HSCAN", hash, ARGV[4], "COUNT", 500)
  local out = { step[1] }
  for i = 1, #step[2], 2 do
    local player, place = step[2][i], step[2][i + 1]
    local score = call("ZSCORE", zset, member_of(player, place))
    if score then
      out[#out + 1], out[#out + 2], out[#out + 3] = player, score, place
    end
  end
  return out
]]

-- ARGV: players.  Gives those that are not there.
SOURCES.those_gone = [[
  local gone = {}
  for _, player in ipairs(cjson.decode(ARGV[4])) do
    if call("HEXISTS", hash, player) == 0 then gone[#gone + 1] = player end
  end
  return gone
]]

-- What Postgres has.  ARGV: the largest place there, then player, value, place.  Of two
-- values of a player the better one counts, or the later one where there is no better.
SOURCES.merge = [[
  local top = tonumber(call("GET", counter) or "0")
  if tonumber(ARGV[4]) > top then call("SET", counter, ARGV[4]) end
  local list = cjson.decode(ARGV[5])
  for i = 1, #list, 3 do
    local player, text, place = list[i], list[i + 1], list[i + 2]
    local own = call("HGET", hash, player)
    local score = own and call("ZSCORE", zset, member_of(player, own))
    local is_older = not score or tonumber(own) < tonumber(place)
    local is_best = score and mode == "best"
    local stays = is_best and is_better(tonumber(score), tonumber(text))
    if is_older or (is_best and is_better(tonumber(text), tonumber(score))) then
      if score then call("ZREM", zset, member_of(player, own)) end
      if stays then
        text, place = score, string.format("%.0f", call("INCR", counter))
      end
      call("HSET", hash, player, place)
      call("ZADD", zset, text, member_of(player, place))
    end
  end
  return 1
]]

local Store = {}
Store.__index = Store

-- Runs a script: its reply; "LOST" when Redis has lost the board; or nil, err.
function Store:run(verb, ...)
  local reply, err = self.scripts[verb](self.keys, self.order, self.mode, self.needs_mark,
    ...)
  return reply, err
end

-- The same where the mark may be missing.
function Store:run_unmarked(verb, ...)
  local reply, err = self.scripts[verb](self.keys, self.order, self.mode, "0", ...)
  return reply, err
end

-- Which run of the server the mark is of; nil when there is none; or nil, err.
function Store:marked_run()
  local run, err = self.redis:get(self.keys[4])
  return run, err
end

function Store:set_mark(run)
  local done, err = self.redis:call("SET", self.keys[4], run)
  return done, err
end

-- True for one process in so many seconds; false for the others; or nil, err.
function Store:claim(seconds)
  local done, err = self.redis:call("SET", self.claim_key, core.pid(), "NX", "PX",
    math.ceil(seconds * 1000))
  if err then return nil, err end
  return done == "OK"
end

-- Which run of a server this is: it is another one after each of its starts.
function Store:server_run()
  local text, err = self.redis:call("INFO", "server")
  if not text then return nil, err end
  return text:match "run_id:(%w+)" or "unknown"
end

-- A board with this prefix of keys; of several boards the scripts are the same.
function leaderboard_redis.new(redis, scripts, prefix, opts)
  local keys = {}
  for i, part in ipairs { "z", "h", "n", "r" } do keys[i] = prefix .. ":" .. part end
  return setmetatable({
    redis = redis, scripts = scripts, keys = keys, claim_key = prefix .. ":t",
    order = opts.order, mode = opts.mode, needs_mark = opts.has_db and "1" or "0",
  }, Store)
end

function leaderboard_redis.scripts(redis)
  local scripts = {}
  for verb, source in pairs(SOURCES) do
    scripts[verb] = redis:script(HEAD .. source, { read_only = READ_ONLY[verb] or false })
  end
  return scripts
end

return leaderboard_redis
