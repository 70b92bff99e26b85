-- copy.lua - COPY in and out by chunks, no faster than the script or the server.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local statement_options = require "tidepool.statement_options"

local Pool, Lease = core.postgres, core.postgres_lease
local raw_acquire = Pool.raw_acquire
local raw_copy, release = Lease.raw_copy, Lease.release

local LINE_OF_CALLER = 2 -- of the function that calls raw_acquire
local CHUNK_BYTES = 65536 -- rows are gathered to about this
local STOP_SECONDS = 10 -- for the server to act on a stop

local OPTIONS = { timeout_ms = true }

-- ---- arguments

local function check_sql(sql, level)
  local opts = statement_options(sql, OPTIONS, level + 1)
  local ms = opts.timeout_ms
  if ms ~= nil and (type(ms) ~= "number" or ms <= 0) then
    error("timeout_ms: milliseconds above 0 expected", level + 1)
  end
  return opts
end

local function is_file(value) return io.type(value) == "file" end

-- A function that takes chunks.
local function sink_of(sink, level)
  if type(sink) == "function" then return sink end
  if not is_file(sink) then
    error("a function or an open file expected, got " .. type(sink), level + 1)
  end
  return function(chunk)
    local ok, message = sink:write(chunk)
    if not ok then return nil, core.err("internal", message) end
  end
end

-- A function that gives chunks or rows, and nil at the end.
local function source_of(source, level)
  if type(source) == "function" then return source end
  if is_file(source) then
    return function() return source:read(CHUNK_BYTES) end
  end
  if type(source) == "string" then
    return function()
      local text = source
      source = nil
      return text
    end
  end
  if type(source) == "table" then
    local i = 0
    return function()
      i = i + 1
      return source[i]
    end
  end
  error("a function, a list of rows, a string or an open file expected, got "
    .. type(source), level + 1)
end

-- ---- rows as lines of the text format

local ESCAPES = { ["\\"] = "\\\\", ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r" }

local function field_text(value)
  if value == nil or value == core.null then return "\\N" end
  local kind = type(value)
  if kind == "string" then return (value:gsub("[\\\t\n\r]", ESCAPES)) end
  if kind == "number" then return core.number_text(value) end
  if kind == "boolean" then return value and "t" or "f" end
  if kind == "table" then
    local text, failure = core.encode(value)
    if text then return (text:gsub("[\\\t\n\r]", ESCAPES)) end
    error("a row of COPY: " .. failure, 0)
  end
  error("a row of COPY: a " .. kind .. " cannot be sent to Postgres", 0)
end

-- Whether the statement surely takes the text format.  Postgres says only whether a COPY
-- is binary, so rows for another format would be stored wrong without an error: options,
-- which stand behind STDIN, are not interpreted here, and with any rows are refused.
local function takes_rows(sql)
  if sql:find("--", 1, true) or sql:find("/*", 1, true) then return false end
  local plain = sql:gsub("'[^']*'", "''"):gsub('"[^"]*"', '""'):lower()
  local rest = plain:match "from%s+stdin%f[%W](.*)$"
  if not rest then return false end
  return rest:find "^[%s;]*$" ~= nil or rest:find "^%s*where%f[%W]" ~= nil
end

local function line_of(row)
  local fields = {}
  for i = 1, row.n or table.maxn(row) do fields[i] = field_text(row[i]) end
  return table.concat(fields, "\t") .. "\n"
end

-- ---- running one

local function seconds_of(conn, opts)
  return opts.timeout_ms and opts.timeout_ms / 1000 or conn:raw_statement_timeout()
end

-- Gives the copy once the server has begun it; or nil and what it ended with.
local function begin(conn, opts, direction)
  local seconds = seconds_of(conn, opts)
  local copy, err = raw_copy(conn, opts[1])
  if not copy then return nil, err end
  local way, _
  way, err = of(copy:raw_begin(seconds))
  if way == direction then return copy, seconds end
  if way == "in" then
    of(copy:raw_finish(STOP_SECONDS, "the script reads"))
  elseif way == "out" then
    of(copy:raw_stop(STOP_SECONDS))
  elseif way then
    _, err = of(copy:raw_finish(STOP_SECONDS))
  end
  copy:close()
  if err then return nil, err end
  return conn:raw_fail("badarg", direction == "in"
    and "the statement is a COPY TO STDOUT, FROM STDIN expected"
    or "the statement is a COPY FROM STDIN, TO STDOUT expected")
end

-- Ends the copy for a failure of the script's.
local function give_up(copy, direction, failure)
  if direction == "in" then
    of(copy:raw_finish(STOP_SECONDS, tostring(failure):sub(1, 200)))
  else
    of(copy:raw_stop(STOP_SECONDS))
  end
end

-- After fn has run to its end, or raised: raised errs of the world come back as nil, err.
local function finish(copy, direction, ok, result, err)
  if ok and (result ~= nil or err == nil) then
    copy:close()
    return result
  end
  local failure = err
  if not ok then failure = result end
  local is_told = core.is_err(failure)
  if not (is_told and failure.code == "cancelled") then
    give_up(copy, direction, failure)
  end
  copy:close()
  if ok or (is_told and failure.code ~= "cancelled") then return nil, failure end
  error(failure, 0)
end

local function pump_out(copy, seconds, sink)
  while true do
    local chunk, err = of(copy:raw_read(seconds))
    if type(chunk) ~= "string" then return chunk, err end
    local _, failure = sink(chunk)
    if failure ~= nil then return nil, failure end
  end
end

local function text_of(item, may_be_row)
  if type(item) == "string" then return item end
  if type(item) ~= "table" then
    error("the source of a COPY gave a " .. type(item)
      .. "; a string or a row, which is a list, expected", 0)
  end
  if not may_be_row then
    error("rows are for a COPY ... FROM STDIN without options, which is in the text "
      .. "format; for others give strings, in the format that the statement says", 0)
  end
  return line_of(item)
end

-- The source's next chunk, rows gathered into one; nil at the end, or nil, err.
local function next_chunk(source, may_be_row)
  local lines, bytes = {}, 0
  repeat
    local item, err = source()
    if item == nil then
      if err ~= nil then return nil, err end
      break
    end
    local text = text_of(item, may_be_row)
    lines[#lines + 1] = text
    bytes = bytes + #text
  until bytes >= CHUNK_BYTES
  if #lines > 0 then return table.concat(lines) end
end

local function pump_in(copy, seconds, source, sql)
  local may_be_row = takes_rows(sql)
  while true do
    local chunk, err = next_chunk(source, may_be_row)
    if err ~= nil then return nil, err end
    if not chunk then break end
    local ok
    ok, err = of(copy:raw_write(seconds, chunk))
    if ok ~= true then return ok, err end
  end
  return of(copy:raw_finish(seconds))
end

local PUMPS = { ["in"] = pump_in, out = pump_out }

local function run(conn, opts, direction, other_end)
  local copy, seconds = begin(conn, opts, direction)
  if not copy then return nil, seconds end
  return finish(copy, direction, pcall(PUMPS[direction], copy, seconds, other_end,
    opts[1]))
end

local function release_after(conn, ok, ...)
  release(conn)
  if not ok then error((...), 0) end
  return ...
end

local function run_on_pool(pool, opts, direction, other_end)
  local conn, err = of(raw_acquire(pool, LINE_OF_CALLER + 1))
  if not conn then return nil, err end
  return release_after(conn, pcall(run, conn, opts, direction, other_end))
end

-- ---- what scripts call

-- Sends what source gives to a COPY ... FROM STDIN.  source: a function that gives the
-- next chunk, or nil at the end, or nil, err, and then nothing is kept; a list of rows;
-- a string; an open file.  A chunk is text as the statement's format has it; or a row, a
-- list of values, where the statement has no options, since rows go in the text format:
-- for others a row raises, and nothing is kept.  sql may be { sql, timeout_ms = n }, of
-- each wait for the server.  Gives the number of rows; or nil, err.
function Pool:copy_in(sql, source)
  local opts, from = check_sql(sql, 2), source_of(source, 2)
  local rows, err = run_on_pool(self, opts, "in", from)
  return rows, err
end

-- Gives what a COPY ... TO STDOUT sends to sink(chunk): whole rows of up to 256 KiB and a
-- row more; or to an open file.  It ends early when sink gives nil, err, or raises.
-- Gives the number of rows; or nil, err.
function Pool:copy_out(sql, sink)
  local opts, to = check_sql(sql, 2), sink_of(sink, 2)
  local rows, err = run_on_pool(self, opts, "out", to)
  return rows, err
end

function Lease:copy_in(sql, source)
  local opts, from = check_sql(sql, 2), source_of(source, 2)
  local rows, err = run(self, opts, "in", from)
  return rows, err
end

function Lease:copy_out(sql, sink)
  local opts, to = check_sql(sql, 2), sink_of(sink, 2)
  local rows, err = run(self, opts, "out", to)
  return rows, err
end
