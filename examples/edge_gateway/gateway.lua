-- gateway.lua - what the gateway answers: who asks is checked and counted, items come
-- from a cache in front of Postgres, while that is away from what the cache has left.

local tide = require "tidepool"
local db, cache = tide.postgres(), tide.redis()

local ITEM_SECONDS, ITEM_STALE_SECONDS = 2, 600
local TOKEN_SECONDS, TOKEN_STALE_SECONDS = 10, 600
local UNKNOWN_SECONDS = 5 -- nothing is as good an answer as something, for this long

-- ---- replies, as front.h has them

local STATUS = {
  [200] = "OK", [401] = "Unauthorized", [404] = "Not Found",
  [405] = "Method Not Allowed", [429] = "Too Many Requests",
  [500] = "Internal Server Error", [503] = "Service Unavailable",
}

local function reply(status, value, headers)
  local lines = { status .. " " .. STATUS[status], "content-type: application/json" }
  for name, text in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. text end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. tide.encode(value) .. "\n"
end

local function later(status, reason, seconds)
  return reply(status, { reason = reason },
    { ["retry-after"] = ("%d"):format(math.max(1, math.ceil(seconds))) })
end

-- ---- a breaker in front of a statement: when it had no answer a few times in a row,
-- Postgres is left alone with it for a second, and then one request finds out.  Where no
-- connection can be had the pool knows that itself, and refuses at once.

local FAILURES, REST_SECONDS = 3, 1
local IS_AWAY = { refused = true, timeout = true, lost = true, busy = true }

local breakers = {} -- name -> breaker

local function is_open(breaker) return breaker.failures >= FAILURES end

local function heed(breaker, err)
  if not (err and IS_AWAY[err.code]) then
    breaker.failures = 0
    return
  end
  breaker.failures, breaker.err = breaker.failures + 1, err
  breaker.open_until = tide.now() + REST_SECONDS
end

-- A function that gives the row of sql for its parameters, or nil, err.
local function guarded(name, sql)
  local breaker = { failures = 0, open_until = 0 }
  breakers[name] = breaker
  return function(...)
    if is_open(breaker) then
      if tide.now() < breaker.open_until then return nil, breaker.err end
      breaker.open_until = tide.now() + REST_SECONDS -- others wait for this one
    end
    local row, err = db:one(sql, ...)
    heed(breaker, err)
    return row, err
  end
end

local function unavailable(err)
  if not IS_AWAY[err.code] then
    tide.log("error", "a statement failed", { error = tostring(err) })
    return reply(500, { reason = "a statement failed" })
  end
  local reason = db:stats().down and "postgres cannot be reached"
    or "postgres does not answer"
  return later(503, reason, REST_SECONDS)
end

-- ---- what is cached: in this process, in Redis for all of them, and Postgres behind

-- What is taken back must not be honoured for long: an old answer counts only while
-- there can be no new one.
local tokens = tide.memo({ name = "token", redis = cache, ttl = TOKEN_SECONDS,
  stale_if_error = TOKEN_STALE_SECONDS, negative_ttl = UNKNOWN_SECONDS },
  guarded("token", "SELECT client FROM tokens WHERE digest = $1"))

-- An old price is better than a wait: it is given at once, a new one fetched meanwhile.
local one_item = guarded("item", "SELECT id, name, price FROM items WHERE id = $1")
local items = tide.memo({ name = "item", redis = cache, ttl = ITEM_SECONDS,
  stale = ITEM_STALE_SECONDS, negative_ttl = UNKNOWN_SECONDS },
  function(id)
    local item, err = one_item(id)
    if item then item.fetched_at = os.time() end
    return item, err
  end)

-- ---- limits: of an address before anything is looked up, in this process; of a client
-- for all processes

local addresses = tide.ratelimit { rate = 500, burst = 1000 }
local clients = tide.ratelimit { name = "client", rate = 10, burst = 20, redis = cache,
  when_away = "local" }

-- ---- routes

local function get_item(id)
  if not tonumber(id) or tonumber(id) > 2 ^ 31 - 1 then
    return reply(404, { reason = "no such item" })
  end
  local item, err = items:get(tonumber(id))
  if err then return unavailable(err) end
  if not item then return reply(404, { reason = "no such item" }) end
  return reply(200, { id = item.id, name = item.name, price = item.price },
    { age = ("%d"):format(math.max(0, os.time() - item.fetched_at)) })
end

local function state_of(pool) return pool:stats().down and "away" or "there" end

-- Only counts: errors name servers, which are nobody's business.
local function facts_of(memo, name)
  local stats = memo:stats()
  return { hits = stats.hits, loads = stats.loads, stale = stats.stale,
    errors = stats.errors, breaker = is_open(breakers[name]) and "open" or "closed" }
end

local function health()
  return reply(200, { postgres = state_of(db), redis = state_of(cache),
    tokens = facts_of(tokens, "token"), items = facts_of(items, "item") })
end

local function for_client(digest, fn, ...)
  local token, err
  if digest ~= "-" then token, err = tokens:get(digest) end
  if err then return unavailable(err) end
  if not token then
    return reply(401, { reason = "no such token" }, { ["www-authenticate"] = "Bearer" })
  end
  local is_allowed, seconds = clients:take(token.client)
  if not is_allowed then
    return later(429, "too many requests of this client", seconds)
  end
  return fn(...)
end

tide.handler("request", function(call)
  local method, target, digest, address =
    call.payload:match "^(%S+) (%S+) (%S+) (%S+)$"
  local path = target:match "^[^?]*"
  if path == "/health" then return health() end
  if method ~= "GET" and method ~= "HEAD" then
    return reply(405, { reason = "GET or HEAD" }, { allow = "GET, HEAD" })
  end
  local is_allowed, seconds = addresses:take(address)
  if not is_allowed then
    return later(429, "too many requests of this address", seconds)
  end
  local id = path:match "^/items/(%d+)$"
  if id then return for_client(digest, get_item, id) end
  return reply(404, { reason = "no such path" })
end)
