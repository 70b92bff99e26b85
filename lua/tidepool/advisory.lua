-- advisory.lua - advisory locks on a lease: of its session, or of its transaction.

local core = require "tidepool.core"
local result = require "tidepool.result"

local Lease = core.postgres_lease
local of = result.of
local one, tx_state = Lease.raw_one, Lease.tx

local OPTIONS = { shared = true, timeout_ms = true }

-- Numbers are keys themselves, strings are hashed by the server.
local function key_of(key, level)
  if type(key) == "number" and key % 1 == 0 and math.abs(key) <= 2 ^ 53 then
    return "$1::bigint"
  end
  if type(key) == "string" then return "pg_catalog.hashtextextended($1, 0)" end
  error("lock key: string or whole number expected, got " .. tostring(key), level + 1)
end

local function check_options(opts, level)
  if opts == nil then return {} end
  if type(opts) ~= "table" then
    error("options table expected, got " .. type(opts), level + 1)
  end
  for name in pairs(opts) do
    if not OPTIONS[name] then error("unknown option: " .. tostring(name), level + 1) end
  end
  return opts
end

-- Calls pg_[try_]advisory_[xact_][un]lock[_shared]().
local function call(conn, verb, key, opts)
  opts = check_options(opts, 3)
  local sql = ("SELECT pg_catalog.pg_%s%s(%s) AS done"):format(
    verb, opts.shared and "_shared" or "", key_of(key, 3))
  local row, err = of(one(conn, { sql, timeout_ms = opts.timeout_ms }, key))
  if err then return nil, err end
  return row.done ~= false
end

local function scope(conn)
  return tx_state(conn) == "none" and "advisory_lock" or "advisory_xact_lock"
end

-- Waits for the lock; true, or nil, err.  key: a whole number or a string.  In a
-- transaction it is held until that ends, else until unlock() or the lease's end.
-- opts: shared = true, timeout_ms.
function Lease:lock(key, opts)
  local done, err = call(self, scope(self), key, opts)
  return done, err
end

-- The same without waiting: false when another has it.
function Lease:try_lock(key, opts)
  local done, err = call(self, "try_" .. scope(self), key, opts)
  return done, err
end

-- Gives up a lock that lock() took outside of a transaction; false when there is none.
function Lease:unlock(key, opts)
  if tx_state(self) ~= "none" then
    error("locks taken in a transaction are held until it ends", 2)
  end
  local done, err = call(self, "advisory_unlock", key, opts)
  return done, err
end
