-- What the HTTP benches ask: text, one row, twenty rows, a cached value and a row.

local tide = require "tidepool"

local db = tide.postgres()
local cache = tide.redis()
local app = tide.app()

local ONE = "SELECT id, randomnumber FROM world WHERE id = $1"
local ROWS = 10000

app:get("/plain", function() return tide.text "Hello, World!" end)

app:get("/one", function()
  local row, err = db:one(ONE, math.random(ROWS))
  if err then return tide.fail(err) end
  return tide.json(row)
end)

local function one_of_them() return db:one(ONE, math.random(ROWS)) end

local twenty = {}
for i = 1, 20 do twenty[i] = one_of_them end

app:get("/twenty", function()
  local rows, err = tide.all(twenty)
  if err then return tide.fail(err) end
  return tide.json(rows)
end)

app:get("/mixed", function()
  local id = math.random(ROWS)
  local hit, err = cache:get(("key:%012d"):format(id))
  if err then return tide.fail(err) end
  local row, row_err = db:one(ONE, id)
  if row_err then return tide.fail(row_err) end
  return tide.json { cached = hit, row = row }
end)

return app
