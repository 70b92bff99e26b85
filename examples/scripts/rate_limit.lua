-- A rate limit in Redis: each address may ask 10 times in 60 seconds, whichever instance
-- of this service it comes to.  The script runs in Redis, so it counts and sets the end
-- of the window in one step.

local tide = require "tidepool"
local cache = tide.redis()
local app = tide.app()

local LIMIT, WINDOW_SECONDS = 10, 60

local count = cache:script [[
  local n = redis.call("INCR", KEYS[1])
  if n == 1 then redis.call("EXPIRE", KEYS[1], ARGV[1]) end
  return { n, redis.call("TTL", KEYS[1]) }
]]

app:get("/", function(req)
  local address = req.headers["x-forwarded-for"] or req.remote:match "^(.*):%d+$"
  local answer, err = count({ "rate:" .. (address or req.remote) }, WINDOW_SECONDS)
  if not answer then return tide.fail(err) end
  local used, left_seconds = answer[1], answer[2]
  if used > LIMIT then
    return { status = 429, headers = { ["Retry-After"] = tostring(left_seconds) },
             body = "too many requests\n" }
  end
  return ("%d of %d\n"):format(used, LIMIT)
end)

return app
