-- writebehind_table.lua - the table of a write-behind: how its rows are read and written.
--
-- A row is written only over one whose version is lower, so neither a snapshot that comes
-- late nor a log that is replayed takes anything back.

local core = require "tidepool.core"

local TIMEOUT_MS = 30000 -- of a statement

local Table = {}
Table.__index = Table

local function quote(name) return '"' .. name:gsub('"', '""') .. '"' end

-- "game.players" as "game"."players".
local function quote_path(name)
  return (name:gsub("[^.]+", quote))
end

local READ = [[SELECT t.value::text AS text, t.version::text AS version
  FROM %s AS t WHERE t.%s = $1::text::%s]]

local UPSERT = [[INSERT INTO %s AS t (%s, value, version)
  SELECT u.k::%s, u.v::jsonb, u.n::bigint
    FROM unnest($1::text[], $2::text[], $3::text[]) AS u (k, v, n)
  ON CONFLICT (%s) DO UPDATE SET value = excluded.value, version = excluded.version
    WHERE excluded.version > t.version
  RETURNING t.%s::text AS key]]

local VERSIONS = [[SELECT t.%s::text AS key, t.version::text AS version
  FROM %s AS t WHERE t.%s = ANY ($1::text[]::%s[])]]

local CREATE = [[CREATE TABLE IF NOT EXISTS %s (
  %s text PRIMARY KEY, value jsonb NOT NULL, version bigint NOT NULL)]]

local KEY_TYPE = [[SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute
  WHERE attrelid = $1::regclass AND attname = $2 AND attnum > 0 AND NOT attisdropped]]

-- The statements, which need the type of the key; conn: a pool or a transaction.
local function prepare(self, conn)
  if self.upsert then return true end
  local row, err = conn:one(KEY_TYPE, self.path, self.key)
  if err then return nil, err end
  if not row then
    return nil, core.err("badarg", ("table %s has no column %s"):format(self.name,
      self.key))
  end
  local path, key, kind = self.path, quote(self.key), row.type
  self.read = READ:format(path, key, kind)
  self.versions = VERSIONS:format(key, path, key, kind)
  self.upsert = UPSERT:format(path, key, kind, key, key)
  return true
end

-- JSON text and version of the key's row, nothing when there is none; or nil, nil, err.
function Table:load(db, key)
  local ok, err = prepare(self, db)
  if not ok then return nil, nil, err end
  local row
  row, err = db:one(self.read, key)
  if not row then return nil, nil, err end
  return row.text, tonumber(row.version)
end

local function columns_of(list)
  local keys, texts, versions = {}, {}, {}
  for i, entry in ipairs(list) do
    keys[i], texts[i] = entry.key, entry.text
    versions[i] = ("%.0f"):format(entry.version)
  end
  return keys, texts, versions
end

-- Of those that were not written: in the table there may be the same version, stored by
-- a statement whose answer was lost; all else is superseded.
local function find_superseded(self, tx, missing)
  local keys, by_key = {}, {}
  for i, entry in ipairs(missing) do keys[i] = entry.key end
  for _, row in ipairs(assert(tx:query({ self.versions, timeout_ms = TIMEOUT_MS },
    keys))) do
    by_key[row.key] = row.version
  end
  local superseded = {}
  for _, entry in ipairs(missing) do
    if by_key[entry.key] ~= ("%.0f"):format(entry.version) then
      superseded[#superseded + 1] = entry
    end
  end
  return superseded
end

-- Stores the entries, in the transaction tx.  Gives those that were written, by key, and
-- a list of those for which a newer version is in the table; raises an err.
function Table:store(tx, list)
  assert(prepare(self, tx))
  local written, missing = {}, {}
  local keys, texts, versions = columns_of(list)
  for _, row in ipairs(assert(tx:query({ self.upsert, timeout_ms = TIMEOUT_MS },
    keys, texts, versions))) do
    written[row.key] = true
  end
  for _, entry in ipairs(list) do
    if not written[entry.key] then missing[#missing + 1] = entry end
  end
  return written, #missing > 0 and find_superseded(self, tx, missing) or missing
end

-- Makes the table where there is none: true; or nil, err.
function Table:create(db)
  local done, err = db:exec(CREATE:format(self.path, quote(self.key)))
  if not done then return nil, err end
  return true
end

local writebehind_table = {}

function writebehind_table.new(name, key)
  return setmetatable({ name = name, path = quote_path(name), key = key }, Table)
end

return writebehind_table
