-- each.lua - results of any size, row by row: a cursor, fetched in batches.

local core = require "tidepool.core"
local result = require "tidepool.result"
local statement_options = require "tidepool.statement_options"

local Pool, Lease = core.postgres, core.postgres_lease
local of = result.of
local exec, query = Lease.raw_exec, Lease.raw_query

local BATCH_FIRST, BATCH_MAX = 100, 10000
local BATCH_BYTES = 2 ^ 20 -- what a batch should come to

local OPTIONS = { timeout_ms = true, int8 = true, null = true }
local count = 0 -- of cursors, for their names

-- The SQL, its options and parameters, and fn, which is the last argument.
local function take_arguments(level, sql, ...)
  local n = select("#", ...)
  local fn = n > 0 and select(n, ...) or nil
  if type(fn) ~= "function" then
    error("each: a function expected as the last argument, got " .. type(fn), level + 1)
  end
  return statement_options(sql, OPTIONS, level + 1), fn, { n = n - 1, ... }
end

-- The next batch's size, by what the rows of this one took.
local function next_size(rows)
  local bytes = core.rows_bytes(rows) / #rows
  return math.max(1, math.min(BATCH_MAX, math.floor(BATCH_BYTES / bytes)))
end

-- Calls fn(row) for each row of the batch; false when it asked to stop.
local function walk(rows, fn)
  for i = 1, #rows do
    if fn(rows[i]) == false then return i, true end
  end
  return #rows, false
end

local function fetch(conn, opts, name, size)
  return of(query(conn, {
    ("FETCH FORWARD %d FROM %s"):format(size, name), timeout_ms = opts.timeout_ms,
    int8 = opts.int8, null = opts.null,
  }))
end

-- Cursors are planned for their first rows unless they are told that all are wanted.
local function open(conn, opts, name, args)
  local ok, err = of(exec(conn, "SET LOCAL cursor_tuple_fraction = 1"))
  if not ok then return nil, err end
  return of(exec(conn, {
    ("DECLARE %s NO SCROLL CURSOR FOR %s"):format(name, opts[1]),
    timeout_ms = opts.timeout_ms,
  }, unpack(args, 1, args.n)))
end

local function run(conn, opts, fn, args)
  count = count + 1
  local name, size, seen = "tidepool_each_" .. count, BATCH_FIRST, 0
  local opened, err = open(conn, opts, name, args)
  if not opened then return nil, err end
  while true do
    local rows
    rows, err = fetch(conn, opts, name, size)
    if not rows then return nil, err end
    if #rows == 0 then break end
    local n, is_over = walk(rows, fn)
    seen = seen + n
    if is_over then break end
    size = next_size(rows)
  end
  local closed
  closed, err = of(exec(conn, "CLOSE " .. name))
  if not closed then return nil, err end
  return seen
end

-- Calls fn(row) for each row that the query gives, in batches of about 1 MiB, so that a
-- result of any size takes little memory; ends early when fn returns false.  The last
-- argument is fn, parameters come before it: db:each(sql, a, b, fn).  sql may be
-- { sql, timeout_ms = n }, of each batch.  Gives the number of rows; or nil, err.
function Lease:each(sql, ...)
  local opts, fn, args = take_arguments(2, sql, ...)
  if self:tx() ~= "none" then
    local seen, err = run(self, opts, fn, args)
    return seen, err
  end
  return self:transaction(function(tx) return run(tx, opts, fn, args) end)
end

function Pool:each(sql, ...)
  local opts, fn, args = take_arguments(2, sql, ...)
  return self:transaction(function(tx) return run(tx, opts, fn, args) end)
end
