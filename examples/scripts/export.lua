-- COPY: a table into a file as CSV, and back.  Only trusted scripts open files.
--   tidepool run export.lua --trusted -- out users.csv
--   tidepool run export.lua --trusted -- in users.csv

local tide = require "tidepool"
local db = tide.postgres()

local way, path = ...
if way == "out" then
  local file = assert(io.open(path, "w"))
  local rows = assert(db:copy_out("COPY users TO STDOUT (FORMAT csv, HEADER)", file))
  file:close()
  print(("%d rows into %s"):format(rows, path))
elseif way == "in" then
  local file = assert(io.open(path))
  local rows = assert(db:copy_in("COPY users FROM STDIN (FORMAT csv, HEADER)", file))
  file:close()
  print(("%d rows from %s"):format(rows, path))
else
  error("out or in, and a file, expected", 0)
end
