-- Cache-aside: reads come from Redis, writes go to Postgres and drop what was cached.
-- While Redis is away everything still works, from Postgres.

local tide = require "tidepool"
local db, cache = tide.postgres(), tide.redis()
local app = tide.app()

local SECONDS = 300

app:get("/items/:id", function(req)
  local key = "item:" .. req.params.id
  local hit = cache:get(key)
  if hit then return tide.json_raw(hit) end
  local item, err = db:one("SELECT id, name FROM items WHERE id = $1", req.params.id)
  if err then return tide.fail(err) end
  if not item then return { status = 404, body = "no such item\n" } end
  local text = tide.encode(item)
  cache:set(key, text, "EX", SECONDS)
  return tide.json_raw(text)
end)

app:put("/items/:id", function(req)
  local item = assert(req:json())
  local n, err = db:exec("UPDATE items SET name = $1 WHERE id = $2", item.name,
    req.params.id)
  if err then return tide.fail(err) end
  if n == 0 then return { status = 404, body = "no such item\n" } end
  cache:del("item:" .. req.params.id)
  return { status = 204 }
end)

return app
