-- Server-sent events from NOTIFY: every browser that has /events open sees each order as
-- it is made, on whichever instance.
--   curl -N $URL/events &  curl -d '{"item":"tea"}' $URL/orders

local tide = require "tidepool"
local db = tide.postgres()
local app = tide.app()

app:get("/events", function()
  return tide.events(function(stream)
    stream:own(assert(db:listen("orders", function(message)
      if message.gap then return stream:send { event = "gap", data = message.reason } end
      stream:send { event = "order", data = message.payload }
    end)))
    stream:wait()
  end)
end)

app:post("/orders", function(req)
  local order = assert(req:json())
  local made, err = db:transaction(function(tx)
    local row = assert(tx:one("INSERT INTO orders (item) VALUES ($1) RETURNING id, item",
      order.item))
    assert(tx:notify("orders", tide.encode(row))) -- sent at COMMIT
    return row
  end)
  if err then return tide.fail(err) end
  return tide.json(made, 201)
end)

return app
