-- The quickstart: a list, a read cached in Redis, and a write in a transaction.
-- `tidepool dev examples/quickstart/app.lua` serves it on servers of its own, and
-- says where; then: curl $URL/users; curl $URL/users/1;
-- curl -d '{"from":1,"to":2,"amount":30}' $URL/transfer

local tide = require "tidepool"

local db = tide.postgres()
local cache = tide.redis()
local app = tide.app()

local CACHE_SECONDS = 60
local CHECK_VIOLATION = "23514"

app:get("/users", function()
  local users, err = db:query("SELECT id, name, balance FROM users ORDER BY id")
  if not users then return tide.fail(err) end
  return tide.json(users)
end)

app:get("/users/:id", function(req)
  local id = req.params.id:match("^%d+$")
  if not id then return { status = 404, body = "no such user\n" } end
  local hit = cache:get("user:" .. id)
  if hit then return tide.json_raw(hit) end
  local user, err = db:one("SELECT id, name, balance FROM users WHERE id = $1", id)
  if err then return tide.fail(err) end
  if not user then return { status = 404, body = "no such user\n" } end
  cache:set("user:" .. id, tide.encode(user), "EX", CACHE_SECONDS)
  return tide.json(user)
end)

app:post("/transfer", function(req)
  local order = assert(req:json())
  if type(order.amount) ~= "number" or order.amount <= 0 then
    return { status = 400, body = "amount must be over 0\n" }
  end
  local moved, err = db:transaction(function(tx)
    -- Locked in one order, so that two transfers cannot wait for each other.
    local found = assert(tx:query([[SELECT id FROM users WHERE id IN ($1, $2)
      ORDER BY id FOR UPDATE]], order.from, order.to))
    if #found < 2 then return false end
    local move = "UPDATE users SET balance = balance + $1 WHERE id = $2"
    assert(tx:exec(move, -order.amount, order.from))
    assert(tx:exec(move, order.amount, order.to))
    return true
  end)
  if err and err.sqlstate == CHECK_VIOLATION then
    return { status = 409, body = "not enough money\n" }
  end
  if err then return tide.fail(err) end
  if not moved then return { status = 404, body = "no such user\n" } end
  cache:del("user:" .. order.from, "user:" .. order.to)
  return tide.json { moved = order.amount }
end)

return app
