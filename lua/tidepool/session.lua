-- session.lua - sessions of users: in Redis, with Postgres as the copy that lasts.
--
-- A token is an id and a secret.  The stores have the id and the secret's hash, so who
-- reads them has no token.  With Postgres a session is what its row is: writes go there
-- first, then to Redis.  What Redis was not told is marked in Postgres, and who saw Redis
-- fail reads Postgres until Redis has been told.

local cjson = require "cjson"
local cookie = require "tidepool.cookie"
local core = require "tidepool.core"
local options = require "tidepool.options"
local plain = require "tidepool.plain"
local result = require "tidepool.result"
local session_pg = require "tidepool.session_pg"
local session_redis = require "tidepool.session_redis"

local TTL_SECONDS, BYTES_MAX = 24 * 3600, 16 * 1024
local USER_BYTES_MAX = 200
local RETRY_SECONDS = 1
local SLACK = 0.1 -- of its ttl a row lasts longer, and is touched after

local of = result.of
local Sessions = {}
Sessions.__index = Sessions

-- ---- tokens

local function new_token()
  local id, secret = core.random_hex(16), core.random_hex(16)
  return id .. secret, { id = id, hash = core.sha256(secret) }
end

-- The id and the secret's hash of a token that somebody sent; nil when it is none.
local function parts_of(token, level)
  if type(token) ~= "string" then
    error("token expected, got " .. type(token), level + 1)
  end
  if #token ~= 64 or token:find "[^0-9a-f]" then return nil end
  return { id = token:sub(1, 32), hash = core.sha256(token:sub(33)) }
end

-- ---- what scripts give

local function user_of(user, level)
  if user == nil then return nil end
  if type(user) == "number" then user = core.number_text(user) end
  if type(user) ~= "string" or user == "" or #user > USER_BYTES_MAX
    or not options.is_text(user) then
    local got = type(user) == "string" and ("%q"):format(user) or type(user)
    error(("user: UTF-8 of 1 to %d bytes without controls, or a number, expected, got ")
      :format(USER_BYTES_MAX) .. got, level + 1)
  end
  return user
end

-- The data as text; or nil, err when it is too large.
local function text_of(self, data, level)
  if type(data) ~= "table" then
    error("data: a table expected, got " .. type(data), level + 1)
  end
  local is_plain, copy = plain.copy(data, "data")
  if not is_plain then error(copy, level + 1) end
  local text, failure = core.encode(copy)
  if not text then error("data: " .. failure, level + 1) end
  if #text <= self.max_bytes then return text end
  return nil, core.err("badarg", ("the session's data has %d bytes, max_bytes is %d")
    :format(#text, self.max_bytes))
end

local function version_of(version, level)
  if type(version) ~= "number" or version < 1 or version >= session_redis.CLOSED
    or version % 1 ~= 0 then
    error("version: that of the session expected, got " .. tostring(version), level + 1)
  end
  return version
end

local function ended()
  return core.err("closed", "the session has ended", { status = 401 })
end

local function conflict(expected, found)
  return core.err("conflict", ("the session was changed in between: it is at version "
    .. "%d, version %d was expected"):format(found, expected))
end

-- ---- what Redis does not know

local function catch_up(self)
  while true do
    local rows, err = self.pg:those_behind()
    if not rows then return nil, err end
    if #rows == 0 then return true end
    local entries = {}
    for i, row in ipairs(rows) do
      entries[i] = { id = row.id, version = row.closed and session_redis.CLOSED
        or row.version }
    end
    local done, why = self.redis:mark(entries)
    if not done then return nil, why end
    for _, row in ipairs(rows) do
      done, why = self.pg:caught_up(row)
      if not done then return nil, why end
      self.counts.caught_up = self.counts.caught_up + 1
    end
  end
end

local function failed_to_catch_up(self, err, is_first)
  self.last_error = err
  if not is_first then return end
  core.log("warn", "sessions are read from Postgres until Redis is told",
    { name = self.name, error = tostring(err) })
end

local function catch_up_until_done(self)
  local done
  local tries = 0
  repeat
    self.is_asked = false
    local err
    done, err = catch_up(self)
    tries = tries + 1
    if done then
      self.last_error = nil
    else
      failed_to_catch_up(self, err, tries == 1)
      of(core.sleep(RETRY_SECONDS))
    end
  until done and not self.is_asked
  self.is_behind = false
end

-- What is raised: the task was cancelled, or a pool closed.
local function run_catch_up(self)
  local ok, failure = pcall(catch_up_until_done, self)
  self.is_catching_up = false
  if not ok then error(failure, 0) end
end

-- Redis may have older copies: Postgres is read until it has been told.
local function fall_behind(self)
  self.is_behind, self.is_asked = true, true
  if self.is_catching_up then return end
  self.is_catching_up = true
  core.spawn(run_catch_up, self)
end

local function redis_failed(self, err)
  self.counts.redis_failures = self.counts.redis_failures + 1
  self.last_error = err
  fall_behind(self)
end

-- Tells Redis of a row that was written.
local function tell(self, parts, session, was_behind)
  if was_behind then return fall_behind(self) end
  local done, err = self.redis:put(parts.id, parts.hash, session, 0)
  if done then return end
  local noted, why = self.pg:behind(parts.id)
  if not noted then
    core.log("warn", "a session's older copy stays in Redis",
      { name = self.name, error = tostring(why) })
  end
  redis_failed(self, err)
end

-- Tells Redis of rows that were closed.
local function tell_closed(self, rows)
  local ids, entries = {}, {}
  for i, row in ipairs(rows) do
    ids[i], entries[i] = row.id, { id = row.id, version = session_redis.CLOSED }
  end
  if #ids == 0 then return end
  if self.is_behind then return fall_behind(self) end
  local done, err = self.redis:mark(entries)
  if not done then return redis_failed(self, err) end
  self.pg:forget(ids) -- those that stay are closed all the same
end

-- ---- reading

-- As scripts get it.
local function shown(token, parts, user, version, text)
  return { token = token, id = parts.id, user = user, version = version,
           data = cjson.decode(text) }
end

-- Postgres hears of a session that is in use once in a tenth of its ttl.
local function touch(self, parts)
  local done, err = self.pg:touch(parts.id, parts.hash)
  if done then done, err = self.redis:told(parts.id) end
  if not done then self.last_error = err end
end

local function get_from_pg(self, token, parts)
  local row, err = self.pg:get(parts.id)
  if err then return nil, err end
  if not row or not core.same_secret(parts.hash, row.hash) then return nil end
  self.counts.from_postgres = self.counts.from_postgres + 1
  local age = math.max(0, self.pg:seconds() - row.seconds)
  if age > self.pg.slack and self.pg:touch(parts.id, parts.hash) then age = 0 end
  local session = { version = row.version, data = row.data, user = row.owner }
  if not self.is_behind then
    local done, why = self.redis:put(parts.id, parts.hash, session, age)
    if not done then redis_failed(self, why) end
  end
  return shown(token, parts, row.owner, row.version, row.data)
end

local function given(value)
  if value ~= core.null then return value end
end

-- What Redis has: a session; nil, and whether that is certain; or nil, nil, err.
local function get_from_redis(self, token, parts)
  local reply, err = self.redis:get(parts.id, parts.hash)
  if not reply then return nil, nil, err end
  local hash, version, text, user = given(reply[1]), given(reply[2]), given(reply[3]),
    given(reply[4])
  if not hash or not text then
    return nil, not self.pg or tonumber(version) == session_redis.CLOSED
  end
  if not core.same_secret(parts.hash, hash) then return nil, true end
  self.counts.from_redis = self.counts.from_redis + 1
  if self.pg and (tonumber(given(reply[5])) or 0) > self.pg.slack then
    touch(self, parts)
  end
  return shown(token, parts, user, tonumber(version), text)
end

local function find(self, token, parts)
  if self.pg and not self.has_begun then
    self.has_begun = true
    fall_behind(self) -- a process before this one may have left something
  end
  if self.is_behind then return get_from_pg(self, token, parts) end
  local session, is_certain, err = get_from_redis(self, token, parts)
  if session or is_certain then return session end
  if err and not self.pg then return nil, err end
  if err then redis_failed(self, err) end
  return get_from_pg(self, token, parts)
end

-- The session of a token: token, id, user, version, data; nil when there is none; or
-- nil, err.  It lasts its ttl from now on.
function Sessions:get(token)
  local parts = parts_of(token, 2)
  if not parts then return nil end
  local session, err = find(self, token, parts)
  if not session and not err then self.counts.unknown = self.counts.unknown + 1 end
  return session, err
end

-- ---- writing

-- A new session, of a user or of nobody yet: its token, and the session; or nil, err.
function Sessions:open(data, user)
  user = user_of(user, 2)
  local text, why = text_of(self, data, 2)
  if not text then return nil, why end
  local token, parts = new_token()
  local store = self.pg or self.redis
  local done, err = store:open(parts.id, parts.hash, user, text)
  if not done then return nil, err end
  local session = { version = 1, data = text, user = user }
  if self.pg and not self.is_behind then
    done, err = self.redis:put(parts.id, parts.hash, session, 0)
    if not done then redis_failed(self, err) end
  end
  self.counts.opened = self.counts.opened + 1
  return token, shown(token, parts, user, 1, text)
end

local function set_in_redis(self, parts, version, text)
  local reply, err = self.redis:set(parts.id, parts.hash, version, text)
  if err then return nil, err end
  if not reply then return nil, ended() end
  if reply[2] == 0 then return nil, conflict(version, reply[1]) end
  return reply[1]
end

local function set_in_pg(self, parts, version, text)
  local was_behind = self.is_behind
  local row, err = self.pg:set(parts.id, parts.hash, version, text, was_behind)
  if not row then return nil, err end
  if not row.found then return nil, ended() end
  if not row.version then return nil, conflict(version, row.found) end
  tell(self, parts, { version = row.version, data = text, user = row.owner }, was_behind)
  return row.version
end

-- Changes the data of a session that is still at this version: the new version; or nil,
-- err, with code "conflict" when somebody else was first, "closed" when it has ended.
function Sessions:set(token, data, version)
  local parts = parts_of(token, 2)
  version = version_of(version, 2)
  local text, why = text_of(self, data, 2)
  if not text then return nil, why end
  if not parts then return nil, ended() end
  local set = self.pg and set_in_pg or set_in_redis
  local now, err = set(self, parts, version, text)
  if not now then
    local is_conflict = err.code == "conflict"
    self.counts.conflicts = self.counts.conflicts + (is_conflict and 1 or 0)
    return nil, err
  end
  return now
end

-- A new token for the session, whose old one is worth nothing from here on; as its user,
-- when one is given.  Gives the token; or nil, err.
function Sessions:rotate(token, user)
  local old = parts_of(token, 2)
  user = user_of(user, 2)
  if not old then return nil, ended() end
  local fresh, new = new_token()
  local done, err = (self.pg or self.redis):rotate(old, new, user)
  if err then return nil, err end
  if not done or done == 0 then return nil, ended() end
  if self.pg then tell_closed(self, { { id = old.id } }) end
  self.counts.rotated = self.counts.rotated + 1
  return fresh
end

-- Ends a session: true, or false when there was none; or nil, err.
function Sessions:close(token)
  local parts = parts_of(token, 2)
  if not parts then return false end
  local done, err = (self.pg or self.redis):close(parts.id, parts.hash)
  if not done then return nil, err end
  if self.pg then tell_closed(self, done) end
  local count = self.pg and #done or done
  self.counts.closed = self.counts.closed + count
  return count > 0
end

-- Ends all sessions of a user: how many there were; or nil, err.
function Sessions:close_all(user)
  if user == nil then error("user expected", 2) end
  user = user_of(user, 2)
  local done, err = (self.pg or self.redis):close_all(user)
  if not done then return nil, err end
  if self.pg then tell_closed(self, done) end
  local count = self.pg and #done or done
  self.counts.closed = self.counts.closed + count
  return count
end

-- ---- cookies

-- The value of Set-Cookie by which a browser keeps the token; without one, forgets it.
function Sessions:cookie(token, opts)
  if token ~= nil then parts_of(token, 2) end
  local value = cookie.of(self.name, token or "", token and self.ttl or 0, opts, 2)
  return value
end

-- The session of a request's cookie, as get().
function Sessions:of_request(req)
  if type(req) ~= "table" or type(req.headers) ~= "table" then
    error("a request expected, got " .. type(req), 2)
  end
  local token = cookie.find(req.headers.cookie, self.name)
  if not token then return nil end
  local session, err = self:get(token)
  return session, err
end

-- ---- the rest

-- Makes the table where there is none: true; or nil, err.
function Sessions:create()
  if not self.pg then error("these sessions have no db", 2) end
  local done, err = self.pg:create()
  return done, err
end

function Sessions:stats()
  local stats = { name = self.name, is_behind = self.is_behind,
                  last_error = self.last_error }
  for name, count in pairs(self.counts) do stats[name] = count end
  return stats
end

local CHECKS = {
  redis = options.pool "redis", db = options.pool "postgres", name = options.name,
  ttl = options.seconds, max_bytes = options.whole(1, 2 ^ 20),
}

local session = {}

-- opts: redis, db, ttl in seconds, name, of keys, table and cookie, max_bytes.
function session.new(opts)
  options.check(opts, CHECKS, 2)
  if not opts.redis then error("option redis: a pool of tide.redis() expected", 2) end
  local self = setmetatable({
    name = opts.name or "session", ttl = opts.ttl or TTL_SECONDS,
    max_bytes = opts.max_bytes or BYTES_MAX, is_behind = false,
    counts = { opened = 0, closed = 0, rotated = 0, conflicts = 0, unknown = 0,
      from_redis = 0, from_postgres = 0, redis_failures = 0, caught_up = 0 },
  }, Sessions)
  self.redis = session_redis.new(opts.redis, self.name, self.ttl, opts.db == nil)
  if opts.db then
    self.pg = session_pg.new(opts.db, self.name, self.ttl, self.ttl * SLACK)
    self.schema = table.concat(self.pg.schema, ";\n") .. ";\n"
  end
  return self
end

return session
