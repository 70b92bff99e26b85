-- pg.lua - what scripts call on Postgres pools and leases.

local core = require "tidepool.core"
local result = require "tidepool.result"
local Task = require "tidepool.task"

local Pool, Lease = core.postgres, core.postgres_lease
local of = result.of
local pool_query, pool_one, pool_exec = Pool.raw_query, Pool.raw_one, Pool.raw_exec
local lease_query, lease_one, lease_exec = Lease.raw_query, Lease.raw_one, Lease.raw_exec

require "tidepool.lease"
require "tidepool.transaction"
require "tidepool.advisory"
require "tidepool.copy"
require "tidepool.each"
require "tidepool.pg_listen"

-- Rows of the statement; or nil, err.  sql may be { sql, timeout_ms = n, share = b };
-- share = false: on a connection that no other statement uses meanwhile.
function Pool:query(sql, ...) return of(pool_query(self, sql, ...)) end

-- The first row as a table, nil when there is none; or nil, err.
function Pool:one(sql, ...) return of(pool_one(self, sql, ...)) end

-- How many rows were affected; or nil, err.
function Pool:exec(sql, ...) return of(pool_exec(self, sql, ...)) end

function Lease:query(sql, ...) return of(lease_query(self, sql, ...)) end

function Lease:one(sql, ...) return of(lease_one(self, sql, ...)) end

function Lease:exec(sql, ...) return of(lease_exec(self, sql, ...)) end

-- What the server says of itself: version (150004), and the settings that it reports,
-- such as server_version, TimeZone, in_hot_standby; or nil, err.
function Pool:server()
  local server, err = self:with(function(conn) return conn:server() end)
  return server, err
end

-- What batch was given, checked: a list of { sql, ... }, and whether it is atomic.
local function check_batch(list, level)
  if type(list) ~= "table" then
    error("list of { sql, ... } expected, got " .. type(list), level + 1)
  end
  for key, entry in pairs(list) do
    if type(key) == "number" then
      if type(entry) ~= "table" then
        error(("statement %s: { sql, ... } expected, got %s"):format(key, type(entry)),
          level + 1)
      end
    elseif key ~= "atomic" then
      error("unknown option: " .. tostring(key), level + 1)
    end
  end
end

local function run_in_order(conn, list)
  local results = {}
  for i, entry in ipairs(list) do
    results[i] = assert(conn:query(unpack(entry, 1, table.maxn(entry))))
  end
  return results
end

-- Runs statements, each { sql, ... }, and gives the rows of each, in their order; or
-- nil, err of the first that failed.  They run at the same time, on connections that
-- others share; with atomic = true one after another in one transaction.
function Pool:batch(list)
  check_batch(list, 2)
  if list.atomic then
    return self:transaction(function(tx) return run_in_order(tx, list) end)
  end
  local calls = {}
  for i, entry in ipairs(list) do
    calls[i] = function() return self:query(unpack(entry, 1, table.maxn(entry))) end
  end
  return Task.all(calls)
end

-- The same on a lease, always one after another; the first that fails is the last.
function Lease:batch(list)
  check_batch(list, 2)
  if list.atomic then
    return self:transaction(function(tx) return run_in_order(tx, list) end)
  end
  local results = {}
  for i, entry in ipairs(list) do
    local rows, err = self:query(unpack(entry, 1, table.maxn(entry)))
    if not rows then return nil, err end
    results[i] = rows
  end
  return results
end
