-- memo_shared.lua - a memo's second level: values in Redis, as JSON, and a lease of who
-- loads, so that of all processes one does.
--
-- Without Redis each process loads for itself.

local core = require "tidepool.core"
local reply = require "tidepool.reply"
local of = require("tidepool.result").of

local FIRST_PAUSE, LAST_PAUSE = 0.005, 0.1 -- seconds between two looks at another's load

-- The value and its time left; or the number of a lease, for who is to load it; or false,
-- while another does.
local LOOK = [[
local value = redis.call("GET", KEYS[1])
if value then return { value, redis.call("PTTL", KEYS[1]) } end
if redis.call("EXISTS", KEYS[2]) == 1 then return false end
local lease = redis.call("INCR", KEYS[3])
redis.call("SET", KEYS[2], lease, "PX", ARGV[1])
return lease]]

-- Ends a lease, with a value or, when loading failed, without.  0 when it had ended, as
-- by forget(): then the value is not kept.
local STORE = [[
if redis.call("GET", KEYS[2]) ~= ARGV[1] then return 0 end
redis.call("DEL", KEYS[2])
if ARGV[3] ~= "0" then redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3]) end
return 1]]

local Shared = {}
Shared.__index = Shared

local function keys_of(self, key)
  local prefix = "tidepool:memo:{" .. self.name .. "}:"
  return { prefix .. "value:" .. key, prefix .. "lease:" .. key, prefix .. "leases" }
end

local function ms(seconds) return ("%d"):format(math.max(1, seconds * 1000)) end

local function decode(text)
  local box, err = reply.decode(text)
  if not box then return nil, err end
  return box.v
end

-- Of a value, as others will see it.
local function encode(key, value)
  local text, failure = core.encode { v = value }
  if not text then
    error(("memo: the value of %s cannot be shared: %s"):format(key, failure), 0)
  end
  return text
end

local function store(self, keys, lease, text, seconds)
  local kept, err = self.store(keys, lease, text, seconds > 0 and ms(seconds) or "0")
  if err then self.away = self.away + 1 end
  return kept == 1 or err ~= nil
end

-- Loads under a lease.  Gives value, err, and for how long to keep it.
local function stored(self, key, keys, lease, ok, value, err)
  if not ok or err ~= nil and value == nil then
    core.spawn(store, self, keys, lease, "", 0) -- this task may be cancelled
    if not ok then error(value, 0) end
    return nil, err
  end
  local text = encode(key, value)
  local seconds = value == nil and self.opts.negative_ttl or self.opts.ttl
  if not store(self, keys, lease, text, seconds) then seconds = 0 end
  return decode(text), nil, seconds
end

local function pass(value, err) return value, err end

-- Looks until there is a value, a lease, or no answer.
local function look(self, keys)
  local limit, pause = core.now() + 2 * self.opts.lease, FIRST_PAUSE
  while true do
    local found, err = self.look(keys, ms(self.opts.lease))
    if err then
      self.away = self.away + 1
      return nil
    end
    if found or core.now() > limit then return found end
    of(core.sleep(pause * (0.5 + math.random() / 2)))
    pause = math.min(2 * pause, LAST_PAUSE)
  end
end

-- What fn(key, ...) of the memo gives, from Redis where it is there.
function Shared:load(key, ...)
  local keys = keys_of(self, key)
  local found = look(self, keys)
  if type(found) == "number" then
    return stored(self, key, keys, found, pcall(self.opts.fn, key, ...))
  end
  if not found then return pass(self.opts.fn(key, ...)) end
  self.hits = self.hits + 1
  local value, err = decode(found[1])
  -- 0 would be a value that is not to be kept, and this is one to fall back on.
  return value, err, math.max(1, found[2]) / 1000
end

function Shared:forget(key)
  local keys = keys_of(self, key)
  local count, err = self.cache:del(keys[1], keys[2])
  if not count then return nil, err end
  return true
end

local memo_shared = {}

-- opts: fn, ttl, negative_ttl, lease.
function memo_shared.new(cache, name, opts)
  return setmetatable({ cache = cache, name = name, opts = opts, hits = 0, away = 0,
    look = cache:script(LOOK), store = cache:script(STORE) }, Shared)
end

return memo_shared
