-- shop.lua - sales: the stock is in Postgres, today's count of sales in Redis.

local tide = require "tidepool"
local db, cache = tide.postgres(), tide.redis()

assert(db:exec "DROP TABLE IF EXISTS shop_stock")
assert(db:exec [[CREATE TABLE shop_stock (
  item text PRIMARY KEY, count int NOT NULL CHECK (count >= 0))]])
assert(db:exec "INSERT INTO shop_stock VALUES ('lamp', 10)")
assert(cache:del "shop:sales")

tide.handler("sell", function(call)
  local order = assert(call:json())
  local left, err = db:one([[UPDATE shop_stock SET count = count - $2
    WHERE item = $1 RETURNING count]], order.item, order.count)
  if err then return nil, err end -- the check of the table, when there are too few
  assert(cache:incrby("shop:sales", order.count))
  return left
end)

tide.handler("sales", function()
  local left = assert(db:one "SELECT count FROM shop_stock WHERE item = 'lamp'")
  return ("%s in all, %d left"):format(assert(cache:get "shop:sales"), left.count)
end)
