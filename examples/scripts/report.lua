-- A result of any size, row by row: sums up a table of which only a megabyte is in memory
-- at a time.
--   tidepool run report.lua

local tide = require "tidepool"
local db = tide.postgres()

local sums, names = {}, {}

local function add(sale)
  if not sums[sale.name] then names[#names + 1] = sale.name end
  sums[sale.name] = (sums[sale.name] or 0) + sale.amount
end

local rows = assert(db:each("SELECT name, amount::float8 AS amount FROM sales", add))

table.sort(names)
for _, name in ipairs(names) do print(("%-10s %12.2f"):format(name, sums[name])) end
print(("%d sales"):format(rows))
