-- before_after_app.lua - one SELECT a request in three ways: on a connection of its own,
-- on one lent by the pool, and shared with others.

local core = require "tidepool.core"
local tide = require "tidepool"

local db = tide.postgres()
local app = tide.app()

local ONE = "SELECT id, randomnumber FROM world WHERE id = $1"
local ROWS = 10000

local function answer(row, err)
  if err then return tide.fail(err) end
  return tide.json(row)
end

-- A pool of one, for one request: connects, asks, closes.
app:get("/connect", function()
  local one, err = core.postgres_open {
    name = "once", url = os.getenv "DATABASE_URL", settings = { max_connections = 1 },
  }
  if not one then return tide.fail(err) end
  local row
  row, err = one:one({ ONE, share = false }, math.random(ROWS))
  one:close()
  return answer(row, err)
end)

app:get("/pooled", function()
  return answer(db:one({ ONE, share = false }, math.random(ROWS)))
end)

app:get("/lanes", function() return answer(db:one(ONE, math.random(ROWS))) end)

return app
