-- pg.lua - what scripts call on Postgres pools and leases.

local core = require "tidepool.core"
local lease = require "tidepool.lease"
local result = require "tidepool.result"
local Task = require "tidepool.task"

local Pool, Lease = core.postgres, core.postgres_lease
local of = result.of
local pool_query, pool_one, pool_exec = Pool.raw_query, Pool.raw_one, Pool.raw_exec
local lease_query, lease_one, lease_exec = Lease.raw_query, Lease.raw_one, Lease.raw_exec
local raw_acquire = Pool.raw_acquire
local release, tx_state = Lease.release, Lease.tx

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

local LINE_OF_CALLER = 2 -- of the function that calls raw_acquire

-- The pool rolls back what comes to it with an open transaction: so all ends but a
-- commit are a release.
local function end_transaction(conn, ok, ...)
  if not ok then
    local failure = ...
    release(conn)
    if core.is_err(failure) and failure.code ~= "cancelled" then return nil, failure end
    error(failure, 0)
  end
  if tx_state(conn) == "failed" then
    release(conn)
    local _, failure = ...
    if core.is_err(failure) then return nil, failure end
    return nil, core.err("server", "the transaction was rolled back: a statement in it "
      .. "failed and the function went on", { sqlstate = "25P02" })
  end
  local done, err = of(lease_exec(conn, "COMMIT"))
  release(conn)
  if not done then return nil, err end
  return ...
end

-- Runs fn(tx) between BEGIN and COMMIT; commits when it returns and gives its results.
-- An err raised in fn rolls back and comes back as nil, err; any other error rolls back
-- and goes on up.  opts: timeout_ms, of the wait for a connection.
function Pool:transaction(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  local timeout_ms = lease.timeout_of(opts)
  local conn, err = of(raw_acquire(self, LINE_OF_CALLER, timeout_ms))
  if not conn then return nil, err end
  local begun, begin_err = of(lease_exec(conn, "BEGIN"))
  if not begun then
    release(conn)
    return nil, begin_err
  end
  return end_transaction(conn, pcall(fn, conn))
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
