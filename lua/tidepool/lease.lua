-- lease.lua - leases of both kinds of pools: with, acquire, try_acquire.

local core = require "tidepool.core"
local result = require "tidepool.result"

local of = result.of
local raw_acquire = core.postgres.raw_acquire
local raw_try_acquire = core.postgres.raw_try_acquire
local LINE_OF_CALLER = 2 -- of the function that calls raw_acquire

-- Options of acquire; anything else raises at the script's line.
local function timeout_of(opts)
  if opts == nil then return nil end
  if type(opts) ~= "table" then error("options table expected, got " .. type(opts), 3) end
  for name in pairs(opts) do
    if name ~= "timeout_ms" then error("unknown option: " .. tostring(name), 3) end
  end
  return opts.timeout_ms
end

local function give_back(conn, ok, ...)
  conn:release()
  if not ok then error((...), 0) end
  return ...
end

-- The methods of pools whose leases begin by begin(conn).
local function methods_of(begin)
  local methods = {}

  -- A lease to give back with conn:release(), at the latest the task's end does; or
  -- nil, err.  opts: timeout_ms, of the wait.
  function methods:acquire(opts)
    local timeout_ms = timeout_of(opts)
    local conn, err = of(raw_acquire(self, LINE_OF_CALLER, timeout_ms))
    if conn then of(begin(conn)) end
    return conn, err
  end

  -- A lease when one is free at once, otherwise nil.
  function methods:try_acquire()
    return (raw_try_acquire(self, LINE_OF_CALLER))
  end

  local function run(conn, fn)
    of(begin(conn))
    return fn(conn)
  end

  -- Runs fn(conn) on a lease and gives it back, also when fn raises.  Gives what fn
  -- returns; or nil, err when no connection came.
  function methods:with(fn)
    if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
    local conn, err = of(raw_acquire(self, LINE_OF_CALLER))
    if not conn then return nil, err end
    return give_back(conn, pcall(run, conn, fn))
  end

  return methods
end

local function add(Pool, begin)
  for name, method in pairs(methods_of(begin)) do Pool[name] = method end
end

add(core.postgres, core.postgres_lease.raw_name)
add(core.redis, function() end)
