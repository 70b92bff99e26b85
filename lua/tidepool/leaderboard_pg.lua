-- leaderboard_pg.lua - a leaderboard in Postgres: what is left when Redis lost its data.

local leaderboard_pg = {}

local SCHEMA = [[CREATE TABLE IF NOT EXISTS "$name" (
  season text NOT NULL,
  player text NOT NULL,
  value float8 NOT NULL,
  place bigint NOT NULL,
  PRIMARY KEY (season, player))]]

local LOCK = "SELECT pg_advisory_xact_lock(hashtext('tidepool leaderboard $name'))"

local STATEMENTS = {
  -- Twice the same changes nothing, and what is older changes nothing.
  save = [[INSERT INTO "$name" AS t (season, player, value, place)
    SELECT $1, * FROM unnest($2::text[], $3::float8[], $4::bigint[])
    ON CONFLICT (season, player) DO UPDATE
    SET value = excluded.value, place = excluded.place WHERE t.place < excluded.place]],
  remove = [[DELETE FROM "$name" WHERE season = $1 AND player = ANY ($2::text[])]],
  top_place = [[SELECT coalesce(max(place), 0) AS place FROM "$name" WHERE season = $1]],
  page = [[SELECT player, value, place FROM "$name" WHERE season = $1 AND player > $2
    ORDER BY player LIMIT 500]],
}

local Store = {}
Store.__index = Store

function Store:create()
  local done, err = self.db:batch { { self.sql.lock }, { self.schema }, atomic = true }
  if not done then return nil, err end
  return true
end

-- How many rows changed; or nil, err.
function Store:save(season, players, values, places)
  return self.db:exec(self.sql.save, season, players, values, places)
end

function Store:remove(season, players)
  return self.db:exec(self.sql.remove, season, players)
end

function Store:top_place(season)
  local row, err = self.db:one(self.sql.top_place, season)
  if not row then return nil, err end
  return row.place
end

-- Rows of those after a player; or nil, err.
function Store:page(season, after)
  return self.db:query(self.sql.page, season, after)
end

function leaderboard_pg.new(db, name)
  local function named(text) return (text:gsub("%$name", name)) end
  local sql = { lock = named(LOCK) }
  for verb, statement in pairs(STATEMENTS) do sql[verb] = named(statement) end
  return setmetatable({ db = db, schema = named(SCHEMA), sql = sql }, Store)
end

return leaderboard_pg
