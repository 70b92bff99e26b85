-- session_redis.lua - sessions in Redis: a hash for each, and without Postgres a sorted
-- set for each user, by the time at which their sessions end.
--
-- A hash has h, the secret's hash; v, the version; d, the data; u, the user; p, when
-- Postgres was told last how long the session lasts.  One with v and without d is a mark:
-- the copy of that version, and what is older, is not to be believed.

local CLOSED = 2 ^ 53 - 1 -- the version of what was closed: none comes after it

local session_redis = { CLOSED = CLOSED }

local TIME = [[
  local time = redis.call("TIME")
  local now_s = tonumber(time[1])
]]

-- Puts id into the user's set, and takes those out that have ended: a second later, for
-- they end within one.
local INDEX = TIME .. [[
  local function index(prefix, user, id, ttl_ms)
    local key = prefix .. user
    redis.call("ZREMRANGEBYSCORE", key, "-inf", now_s)
    redis.call("ZADD", key, now_s + 1 + math.ceil(ttl_ms / 1000), id)
    redis.call("PEXPIRE", key, ttl_ms)
  end
]]

-- Which session a secret is of: its version; -1 when there is none.
local OWN = [[
  local function own(key, hash)
    local s = redis.call("HMGET", key, "h", "v", "d")
    return s[1] == hash and s[3] and s[2] or nil
  end
]]

local SOURCES = {}

-- KEYS: the session; ARGV: hash, ttl_ms, id, prefix of users or "".  Slides for who has
-- the secret only.  Gives hash, version, data, user, seconds since Postgres was told.
SOURCES.get = INDEX .. [[
  local s = redis.call("HMGET", KEYS[1], "h", "v", "d", "u", "p")
  if s[1] == ARGV[1] and s[3] then
    redis.call("PEXPIRE", KEYS[1], ARGV[2])
    if s[4] and ARGV[4] ~= "" then index(ARGV[4], s[4], ARGV[3], tonumber(ARGV[2])) end
  end
  s[5] = s[5] and now_s - tonumber(s[5])
  return s
]]

-- ARGV: hash, ttl_ms, id, prefix of users, user or "", data.
SOURCES.open = INDEX .. [[
  redis.call("HSET", KEYS[1], "h", ARGV[1], "v", 1, "d", ARGV[6])
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  if ARGV[5] ~= "" then
    redis.call("HSET", KEYS[1], "u", ARGV[5])
    index(ARGV[4], ARGV[5], ARGV[3], tonumber(ARGV[2]))
  end
  return 1
]]

-- ARGV: hash, ttl_ms, version, data, id, prefix of users.  Gives what the version is now,
-- and whether it is this one's doing; nothing when there is no such session.
SOURCES.set = OWN .. INDEX .. [[
  local version = own(KEYS[1], ARGV[1])
  if not version then return false end
  if version ~= ARGV[3] then return { tonumber(version), 0 } end
  redis.call("HSET", KEYS[1], "v", version + 1, "d", ARGV[4])
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  local user = redis.call("HGET", KEYS[1], "u")
  if user then index(ARGV[6], user, ARGV[5], tonumber(ARGV[2])) end
  return { version + 1, 1 }
]]

-- ARGV: hash, id, prefix of users.
SOURCES.close = OWN .. [[
  if not own(KEYS[1], ARGV[1]) then return 0 end
  local user = redis.call("HGET", KEYS[1], "u")
  redis.call("DEL", KEYS[1])
  if user then redis.call("ZREM", ARGV[3] .. user, ARGV[2]) end
  return 1
]]

-- KEYS: the user's set; ARGV: prefix of sessions.
SOURCES.close_all = [[
  local count = 0
  for _, id in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do
    count = count + redis.call("DEL", ARGV[1] .. id)
  end
  redis.call("DEL", KEYS[1])
  return count
]]

-- KEYS: the old and the new one; ARGV: the old hash and id, the new hash and id, ttl_ms,
-- prefix of users, user or "".
SOURCES.rotate = OWN .. INDEX .. [[
  if not own(KEYS[1], ARGV[1]) then return 0 end
  local user = redis.call("HGET", KEYS[1], "u")
  if user then redis.call("ZREM", ARGV[6] .. user, ARGV[2]) end
  redis.call("RENAME", KEYS[1], KEYS[2])
  redis.call("HSET", KEYS[2], "h", ARGV[3])
  redis.call("PEXPIRE", KEYS[2], ARGV[5])
  if ARGV[7] ~= "" then
    user = ARGV[7]
    redis.call("HSET", KEYS[2], "u", user)
  end
  if user then index(ARGV[6], user, ARGV[4], tonumber(ARGV[5])) end
  return 1
]]

-- A copy of what Postgres has, unless there is a newer one.  ARGV: hash, ttl_ms, version,
-- data, user or "", seconds since Postgres was told.
SOURCES.put = TIME .. [[
  local version = redis.call("HGET", KEYS[1], "v")
  if version and tonumber(version) > tonumber(ARGV[3]) then return 0 end
  redis.call("HSET", KEYS[1], "h", ARGV[1], "v", ARGV[3], "d", ARGV[4],
    "p", now_s - tonumber(ARGV[6]))
  if ARGV[5] ~= "" then redis.call("HSET", KEYS[1], "u", ARGV[5]) end
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return 1
]]

-- ARGV: version, ttl_ms.
SOURCES.mark = [[
  local version = redis.call("HGET", KEYS[1], "v")
  if version and tonumber(version) > tonumber(ARGV[1]) then return 0 end
  redis.call("HSET", KEYS[1], "v", ARGV[1])
  redis.call("HDEL", KEYS[1], "d", "h", "u", "p")
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return 1
]]

-- Postgres was told now.
SOURCES.told = TIME .. [[
  if redis.call("HEXISTS", KEYS[1], "d") == 1 then
    redis.call("HSET", KEYS[1], "p", now_s)
  end
  return 1
]]

-- A whole number as digits: Lua's own text of one of 2^53 is not exact.
local function digits(number) return ("%.0f"):format(number) end

local Store = {}
Store.__index = Store

function Store:key(id) return self.sessions .. id end

-- hash, version, data, user, age; all nil when there is none; or nil, err.
function Store:get(id, hash)
  local reply, err = self.run.get({ self:key(id) }, hash, self.ttl_ms, id, self.users)
  return reply, err
end

function Store:open(id, hash, user, data)
  return self.run.open({ self:key(id) }, hash, self.ttl_ms, id, self.users, user or "",
    data)
end

function Store:set(id, hash, version, data)
  return self.run.set({ self:key(id) }, hash, self.ttl_ms, digits(version), data, id,
    self.users)
end

function Store:close(id, hash)
  return self.run.close({ self:key(id) }, hash, id, self.users)
end

function Store:close_all(user)
  return self.run.close_all({ self.users .. user }, self.sessions)
end

function Store:rotate(old, new, user)
  return self.run.rotate({ self:key(old.id), self:key(new.id) }, old.hash, old.id,
    new.hash, new.id, self.ttl_ms, self.users, user or "")
end

function Store:put(id, hash, session, age)
  return self.run.put({ self:key(id) }, hash, self.ttl_ms, digits(session.version),
    session.data, session.user or "", digits(age))
end

function Store:told(id) return self.run.told { self:key(id) } end

-- entries: { id =, version = }, of which a copy may be old.  True; or nil, err.
function Store:mark(entries)
  local replies, err = self.redis:pipeline(function(p)
    for _, entry in ipairs(entries) do
      self.run.mark:on(p, { self:key(entry.id) }, digits(entry.version),
        2 * self.ttl_ms)
    end
  end)
  if not replies then return nil, err end
  for _, reply in ipairs(replies) do
    if type(reply) ~= "number" then return nil, reply end
  end
  return true
end

-- Sessions of this name; has_index: whether Redis knows which are a user's.
function session_redis.new(redis, name, ttl, has_index)
  local run = {}
  for verb, source in pairs(SOURCES) do run[verb] = redis:script(source) end
  return setmetatable({
    redis = redis, run = run, ttl_ms = math.ceil(ttl * 1000),
    sessions = name .. ":s:", users = has_index and name .. ":u:" or "",
  }, Store)
end

return session_redis
