-- ratelimit.lua - token buckets by key: of this process, or of all by Redis, from which
-- each takes tokens some at a time.

local core = require "tidepool.core"
local line = require "tidepool.line"
local options = require "tidepool.options"

local KNOWN = {
  name = "name", rate = "rate", burst = "count", redis = "redis", lease = "count",
  when_away = options.one_of("local", "open", "closed"),
}
local RETRY_SECONDS = 1 -- Redis did not answer: not asked again sooner

-- In whole milliseconds and thousandths of tokens, by the server's clock, so that no two
-- clocks are compared.  Takes what is needed, or more, up to a lease; gives how much that
-- is, or nothing and how many ms to wait for it.
local TAKE = [[
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local needed, lease = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call("HMGET", KEYS[1], "tokens", "at")
local tokens, at = tonumber(state[1]) or burst, tonumber(state[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
local given, wait = 0, 0
if tokens >= needed then
  given = math.min(math.max(needed, lease), math.floor(tokens))
  tokens = tokens - given
else
  wait = math.ceil((needed - tokens) * 1000 / rate)
end
redis.call("HSET", KEYS[1], "tokens", string.format("%.6f", tokens), "at",
  string.format("%.0f", now))
redis.call("PEXPIRE", KEYS[1],
  string.format("%.0f", math.min(1e12, math.ceil(burst * 1000 / rate) + 1000)))
return { given, wait }]]

local Limit = {}
Limit.__index = Limit

-- ---- buckets in memory; one that nobody asked for, for as long as it takes to fill, is
-- full, as a new one is, and is forgotten

local function turn_over(self, now)
  if now - self.turned_at < self.fill_seconds then return end
  local is_long_ago = now - self.turned_at >= 2 * self.fill_seconds
  self.old = is_long_ago and {} or self.young
  self.young, self.turned_at = {}, now
end

local function bucket_of(self, key, now)
  turn_over(self, now)
  local bucket = self.young[key] or self.old[key]
    or { tokens = self.burst, at = now, leased = 0, leased_until = 0, refused_until = 0 }
  self.young[key], self.old[key] = bucket, nil
  return bucket
end

local function take_local(self, bucket, now, count)
  bucket.tokens = math.min(self.burst,
    bucket.tokens + math.max(0, now - bucket.at) * self.rate)
  bucket.at = now
  if bucket.tokens >= count then
    bucket.tokens = bucket.tokens - count
    return true
  end
  return false, (count - bucket.tokens) / self.rate
end

-- ---- tokens of all processes

-- From those that were fetched before; nil when Redis must be asked.
local function take_leased(bucket, now, count)
  if now >= bucket.leased_until then bucket.leased = 0 end
  if bucket.leased >= count then
    bucket.leased = bucket.leased - count
    return true
  end
  if now < bucket.refused_until and count >= bucket.refused_count then
    return false, bucket.refused_until - now
  end
end

local function take_away(self, bucket, count)
  if self.when_away == "open" then return true end
  local now = core.now()
  if self.when_away == "closed" then return false, math.max(0, self.away_until - now) end
  return take_local(self, bucket, now, count)
end

local function heed_failure(self, err)
  if core.now() >= self.away_until then
    core.log("warn", "a rate limit does without Redis", { limit = self.name,
      when_away = self.when_away, error = tostring(err) })
  end
  self.away, self.last_error = self.away + 1, tostring(err)
  self.away_until = core.now() + RETRY_SECONDS
end

local function fetch(self, key, bucket, count)
  self.trips = self.trips + 1
  local held = bucket.leased
  local needed = count - held
  bucket.leased = 0 -- who needs fewer waits, lest these be given twice
  local answer, err = self.script({ "tidepool:ratelimit:{" .. self.name .. "}:" .. key },
    self.rate, self.burst, needed, self.lease)
  bucket.leased = held
  if not answer then
    heed_failure(self, err)
    return take_away(self, bucket, count)
  end
  local now = core.now()
  if answer[1] > 0 then
    bucket.leased = held + answer[1] - count
    bucket.leased_until = now + self.fill_seconds
    return true
  end
  bucket.refused_until, bucket.refused_count = now + answer[2] / 1000, count
  return false, answer[2] / 1000
end

local function leave(call, ok, ...)
  call:leave()
  if not ok then error((...), 0) end
  return ...
end

-- One trip for a key at a time: those who wait for it take of what it brings.
local function take_shared(self, key, bucket, count)
  local is_done, wait = take_leased(bucket, core.now(), count)
  if is_done ~= nil then return is_done, wait end
  if core.now() < self.away_until then return take_away(self, bucket, count) end
  bucket.trip = bucket.trip or line.new("ratelimit " .. self.name)
  local call = bucket.trip:call()
  if not call then error("ratelimit: this call waits, so it needs a task", 3) end
  bucket.trip:enter(call)
  is_done, wait = take_leased(bucket, core.now(), count)
  if is_done == nil and core.now() < self.away_until then
    is_done, wait = take_away(self, bucket, count)
  end
  if is_done ~= nil then return leave(call, true, is_done, wait) end
  return leave(call, pcall(fetch, self, key, bucket, count))
end

-- ---- what scripts call

-- Takes n tokens (1) of key: true; or false, and in how many seconds they will be there.
function Limit:take(key, n)
  options.check_key(key, "ratelimit", 2)
  local count = n or 1
  if type(count) ~= "number" or not (count >= 0 and count <= self.burst) then
    error(("ratelimit: tokens, from 0 to burst (%d), expected, got %s"):format(self.burst,
      tostring(n)), 2)
  end
  if self.redis and count % 1 ~= 0 then
    error("ratelimit: with redis whole tokens are taken, got " .. count, 2)
  end
  local now = core.now()
  local bucket = bucket_of(self, key, now)
  local is_done, wait
  if self.redis and count > 0 then
    is_done, wait = take_shared(self, key, bucket, count)
  else
    is_done, wait = take_local(self, bucket, now, count)
  end
  local name = is_done and "allowed" or "refused"
  self[name] = self[name] + 1
  return is_done, wait
end

function Limit:stats()
  turn_over(self, core.now())
  local keys = 0
  for _ in pairs(self.young) do keys = keys + 1 end
  for _ in pairs(self.old) do keys = keys + 1 end
  return { allowed = self.allowed, refused = self.refused, trips = self.trips,
    away = self.away, keys = keys, last_error = self.last_error }
end

local ratelimit = {}

-- A limit of rate tokens a second for each key, and burst at once.  opts: name, rate,
-- burst, redis, when_away, lease.
function ratelimit.ratelimit(opts)
  local read = options.read(opts, KNOWN, "ratelimit", 2)
  if not read.rate then error("ratelimit: rate, in tokens a second, expected", 2) end
  if read.redis and not read.name then
    error("ratelimit: with redis it needs a name, for its keys", 2)
  end
  if not read.redis and (read.when_away or read.lease) then
    error("ratelimit: when_away and lease are for one with redis", 2)
  end
  read.burst = read.burst or math.max(1, math.ceil(read.rate))
  read.lease = math.min(read.lease or 1, read.burst)
  read.when_away, read.name = read.when_away or "local", read.name or ""
  read.fill_seconds = read.burst / read.rate
  read.script = read.redis and read.redis:script(TAKE)
  read.young, read.old, read.turned_at = {}, {}, core.now()
  read.allowed, read.refused, read.trips, read.away, read.away_until = 0, 0, 0, 0, 0
  return setmetatable(read, Limit)
end

return ratelimit
