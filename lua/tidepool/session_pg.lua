-- session_pg.lua - sessions in Postgres: a row for each.
--
-- closed: it has ended, and the row is kept until Redis knows.  behind: Redis may have an
-- older copy than this row.

local core = require "tidepool.core"

local session_pg = {}

local SCHEMA = {
  [[CREATE TABLE IF NOT EXISTS "$name" (
  id text PRIMARY KEY,
  hash text NOT NULL,
  owner text,
  version bigint NOT NULL,
  data text NOT NULL,
  expires timestamptz NOT NULL,
  closed boolean NOT NULL DEFAULT false,
  behind boolean NOT NULL DEFAULT false)]],
  [[CREATE INDEX IF NOT EXISTS "$name_owner" ON "$name" (owner)]],
  [[CREATE INDEX IF NOT EXISTS "$name_expires" ON "$name" (expires)]],
  [[CREATE INDEX IF NOT EXISTS "$name_behind" ON "$name" (id) WHERE behind]],
}

-- Workers that start at the same time make it one after the other.
local LOCK = "SELECT pg_advisory_xact_lock(hashtext('tidepool session $name'))"

local UNTIL = "now() + $%d::float8 * interval '1 second'"
local LIVE = "id = $1 AND hash = $2 AND NOT closed AND expires > now()"

local STATEMENTS = {
  -- Each that opens sweeps away a few that have ended.
  open = [[WITH old AS (DELETE FROM "$name" WHERE id IN (SELECT id FROM "$name"
      WHERE expires <= now() LIMIT 4 FOR UPDATE SKIP LOCKED))
    INSERT INTO "$name" (id, hash, owner, data, version, expires)
    VALUES ($1, $2, $3, $4, 1, ]] .. UNTIL:format(5) .. ")",
  get = [[SELECT hash, owner, version, data,
      extract(epoch FROM expires - now())::float8 AS seconds
    FROM "$name" WHERE id = $1 AND NOT closed AND expires > now()]],
  touch = [[UPDATE "$name" SET expires = ]] .. UNTIL:format(3) .. " WHERE " .. LIVE,
  set = [[WITH found AS (SELECT version FROM "$name" WHERE ]] .. LIVE .. [[),
    done AS (UPDATE "$name" SET version = version + 1, data = $4, behind = behind OR $6,
        expires = ]] .. UNTIL:format(5) .. [[
      WHERE ]] .. LIVE .. [[ AND version = $3 RETURNING version, owner)
    SELECT (SELECT version FROM found) AS found, (SELECT version FROM done) AS version,
      (SELECT owner FROM done) AS owner]],
  close = [[UPDATE "$name" SET closed = true, behind = true, data = ''
    WHERE ]] .. LIVE .. " RETURNING id",
  close_all = [[UPDATE "$name" SET closed = true, behind = true, data = ''
    WHERE owner = $1 AND NOT closed AND expires > now() RETURNING id]],
  rotate = [[WITH old AS (UPDATE "$name" SET closed = true, behind = true
      WHERE ]] .. LIVE .. [[ RETURNING owner, version, data)
    INSERT INTO "$name" (id, hash, owner, version, data, expires)
    SELECT $3, $4, coalesce($5, owner), version, data, ]] .. UNTIL:format(6) .. [[
    FROM old RETURNING owner, version, data]],
  forget = [[DELETE FROM "$name" WHERE id = ANY ($1::text[]) AND closed]],
  behind = [[UPDATE "$name" SET behind = true WHERE id = $1]],
  those_behind = [[SELECT id, version, closed FROM "$name" WHERE behind LIMIT 500]],
  caught_up = [[UPDATE "$name" SET behind = false
    WHERE id = $1 AND version = $2 AND closed = $3]],
}

local Store = {}
Store.__index = Store

function Store:create()
  local list = { { self.lock }, atomic = true }
  for i, statement in ipairs(self.schema) do list[i + 1] = { statement } end
  local done, err = self.db:batch(list)
  if not done then return nil, err end
  return true
end

-- How long a row lasts: more than what it is of, so that Postgres need not hear of each
-- look at it.
function Store:seconds() return self.ttl + self.slack end

-- Each of these as its statement above, with what it gives; or nil, err.

function Store:open(id, hash, user, data)
  return self.db:exec(self.sql.open, id, hash, user or core.null, data, self:seconds())
end

function Store:get(id) return self.db:one(self.sql.get, id) end

function Store:touch(id, hash)
  return self.db:exec(self.sql.touch, id, hash, self:seconds())
end

function Store:set(id, hash, version, data, is_behind)
  return self.db:one(self.sql.set, id, hash, version, data, self:seconds(), is_behind)
end

function Store:close(id, hash) return self.db:query(self.sql.close, id, hash) end

function Store:close_all(user) return self.db:query(self.sql.close_all, user) end

function Store:rotate(old, new, user)
  return self.db:one(self.sql.rotate, old.id, old.hash, new.id, new.hash,
    user or core.null, self:seconds())
end

function Store:forget(ids) return self.db:exec(self.sql.forget, ids) end

function Store:behind(id) return self.db:exec(self.sql.behind, id) end

function Store:those_behind() return self.db:query(self.sql.those_behind) end

function Store:caught_up(row)
  return self.db:exec(self.sql.caught_up, row.id, row.version, row.closed)
end

local function named(text, name) return (text:gsub("%$name", name)) end

-- slack: seconds that a row lasts longer than its session.
function session_pg.new(db, name, ttl, slack)
  local schema, sql = {}, {}
  for i, statement in ipairs(SCHEMA) do schema[i] = named(statement, name) end
  for verb, statement in pairs(STATEMENTS) do sql[verb] = named(statement, name) end
  return setmetatable({
    db = db, ttl = ttl, slack = slack, schema = schema, sql = sql,
    lock = named(LOCK, name),
  }, Store)
end

return session_pg
