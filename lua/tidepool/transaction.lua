-- transaction.lua - transactions on a pool, transactions and savepoints on a lease.

local core = require "tidepool.core"
local options = require "tidepool.options"
local result = require "tidepool.result"

local Pool, Lease = core.postgres, core.postgres_lease
local of = result.of
local exec, release, tx_state = Lease.raw_exec, Lease.release, Lease.tx
local raw_acquire, raw_name = Pool.raw_acquire, Lease.raw_name

local LINE_OF_CALLER = 2 -- of the function that calls raw_acquire
local RETRIES_MAX = 100
local PAUSE_SECONDS, PAUSE_MAX_SECONDS = 0.01, 1 -- doubled each time, then jittered

-- Another try may succeed: serialization failure, deadlock.
local AGAIN = { ["40001"] = true, ["40P01"] = true }

local ISOLATION = {
  ["read committed"] = " ISOLATION LEVEL READ COMMITTED",
  ["repeatable read"] = " ISOLATION LEVEL REPEATABLE READ",
  serializable = " ISOLATION LEVEL SERIALIZABLE",
}

-- ---- options

local checks = {}

function checks.isolation(value)
  if not ISOLATION[value] then
    return '"read committed", "repeatable read" or "serializable"'
  end
end

function checks.read_only(value)
  if type(value) ~= "boolean" then return "true or false" end
end

checks.deferrable = checks.read_only

function checks.retry(value)
  if type(value) ~= "number" or value < 0 or value > RETRIES_MAX or value % 1 ~= 0 then
    return "a count from 0 to " .. RETRIES_MAX
  end
end

function checks.timeout_ms(value)
  if type(value) ~= "number" or value <= 0 then return "milliseconds above 0" end
end

-- opts and fn of transaction([opts,] fn), checked; level is of the script's line.
local function take_arguments(opts, fn, level)
  if fn == nil then opts, fn = nil, opts end
  if type(fn) ~= "function" then
    error("function expected, got " .. type(fn), level + 1)
  end
  return options.check(opts == nil and {} or opts, checks, level + 1), fn
end

local function begin_of(opts)
  return "BEGIN" .. (ISOLATION[opts.isolation] or "")
    .. (opts.read_only == nil and "" or opts.read_only and " READ ONLY" or " READ WRITE")
    .. (opts.deferrable and " DEFERRABLE" or "")
end

-- ---- ends

local function rolled_back()
  return core.err("server", "the transaction was rolled back: a statement in it "
    .. "failed and the function went on", { sqlstate = "25P02" })
end

-- Whether what fn raised is an err that comes back as nil, err; all else goes on up.
local function is_told(failure)
  return core.is_err(failure) and failure.code ~= "cancelled"
end

-- What a function that went on after a failed statement gave, if that is the failure.
local function failure_in(first, second)
  if first == nil and core.is_err(second) then return second end
end

-- After what fn gave: commits, or rolls back by undo(conn).  What does not commit comes
-- back as nil, err or is raised.
local function finish(conn, undo, ok, ...)
  if not ok then
    local failure = ...
    undo(conn)
    if is_told(failure) then return nil, failure end
    error(failure, 0)
  end
  if tx_state(conn) == "failed" then
    undo(conn)
    return nil, failure_in(...) or rolled_back()
  end
  local done, err = of(exec(conn, "COMMIT"))
  if not done then
    undo(conn)
    return nil, err
  end
  return ...
end

-- ---- on a pool

-- The pool rolls back what comes to it with an open transaction, so to undo is to give
-- the connection back.
local function release_after(conn, ...)
  release(conn)
  return ...
end

local function attempt(conn, opts, fn)
  of(raw_name(conn))
  local begun, err = of(exec(conn, begin_of(opts)))
  if not begun then
    release(conn)
    return nil, err
  end
  return release_after(conn, finish(conn, release, pcall(fn, conn)))
end

local function pause(tries)
  local most = math.min(PAUSE_MAX_SECONDS, PAUSE_SECONDS * 2 ^ tries)
  of(core.sleep(most * math.random()))
end

-- Gives what the attempt gave, unless it may be made again.
local function again(pool, opts, fn, tries, ...)
  local err = failure_in(...)
  if not err or not AGAIN[err.sqlstate] or tries >= (opts.retry or 0) then return ... end
  pause(tries)
  local conn, acquire_err = of(raw_acquire(pool, LINE_OF_CALLER, opts.timeout_ms))
  if not conn then return nil, acquire_err end
  return again(pool, opts, fn, tries + 1, attempt(conn, opts, fn))
end

-- Runs fn(tx) between BEGIN and COMMIT; commits when it returns and gives its results.
-- An err raised in fn rolls back and comes back as nil, err; any other error rolls back
-- and goes on up.  opts: isolation = "read committed", "repeatable read" or
-- "serializable"; read_only, deferrable = true; retry = n, how often fn may be run
-- again when it failed for a conflict with others (40001, 40P01), each time from the
-- start; timeout_ms, of each wait for a connection.
function Pool:transaction(opts, fn)
  opts, fn = take_arguments(opts, fn, 2)
  local conn, err = of(raw_acquire(self, LINE_OF_CALLER, opts.timeout_ms))
  if not conn then return nil, err end
  return again(self, opts, fn, 0, attempt(conn, opts, fn))
end

-- ---- on a lease

local function roll_back(conn) of(exec(conn, "ROLLBACK")) end

local function to_savepoint(conn)
  if of(exec(conn, "ROLLBACK TO SAVEPOINT tidepool")) then
    of(exec(conn, "RELEASE SAVEPOINT tidepool"))
  end
end

local function finish_savepoint(conn, ok, ...)
  if not ok then
    local failure = ...
    if not core.is_err(failure) or failure.code ~= "cancelled" then to_savepoint(conn) end
    if is_told(failure) then return nil, failure end
    error(failure, 0)
  end
  if tx_state(conn) == "failed" then
    to_savepoint(conn)
    return nil, failure_in(...) or rolled_back()
  end
  local done, err = of(exec(conn, "RELEASE SAVEPOINT tidepool"))
  if not done then return nil, err end
  return ...
end

local function whole(conn, opts, fn)
  local begun, err = of(exec(conn, begin_of(opts)))
  if not begun then return nil, err end
  return finish(conn, roll_back, pcall(fn, conn))
end

-- Savepoints of one name nest: the latest is meant.
local function savepoint(conn, fn)
  local begun, err = of(exec(conn, "SAVEPOINT tidepool"))
  if not begun then return nil, err end
  return finish_savepoint(conn, pcall(fn, conn))
end

-- In a transaction: runs fn(tx) as a part of it that is undone alone when it fails; the
-- rest goes on.  Otherwise a transaction on this connection, as Pool:transaction(), but
-- for retry and timeout_ms.
function Lease:transaction(opts, fn)
  opts, fn = take_arguments(opts, fn, 2)
  for _, name in ipairs { "retry", "timeout_ms" } do
    if opts[name] then error("option " .. name .. " is of transactions on a pool", 2) end
  end
  if tx_state(self) == "none" then return whole(self, opts, fn) end
  if next(opts) then error("a transaction inside of another takes no options", 2) end
  return savepoint(self, fn)
end
