-- redis.lua - what scripts call on Redis pools.

local channels = require "tidepool.channels"
local core = require "tidepool.core"
local redis_consumer = require "tidepool.redis_consumer"
local redis_pubsub = require "tidepool.redis_pubsub"
local redis_scan = require "tidepool.redis_scan"
local redis_script = require "tidepool.redis_script"
local result = require "tidepool.result"
local Task = require "tidepool.task"

local of = result.of

-- A recorder: every method is a command, which is kept until the end.
local Recorder = {}

function Recorder.call(recorder, ...)
  recorder[#recorder + 1] = { ... }
end

function Recorder.__index(_, name)
  if name == "call" then return Recorder.call end
  local command = string.upper(name)
  return function(recorder, ...) recorder[#recorder + 1] = { command, ... } end
end

local function is_recorder(value)
  return getmetatable(value) == Recorder
end

local function record(fn, level)
  if type(fn) ~= "function" then
    error("function expected, got " .. type(fn), level + 1)
  end
  local recorder = setmetatable({}, Recorder)
  fn(recorder)
  return setmetatable(recorder, nil)
end

-- What pools and leases have in common.
local function add_methods(Redis, raw_call, raw_run)
  -- The reply of any command: a string, a number, a list (nil in it is tide.null), nil;
  -- or nil, err.
  function Redis:call(command, ...) return of(raw_call(self, nil, command, ...)) end

  -- Sends what fn(p) records with p:get(key) or p:call("GET", key) in one go.  Gives
  -- the list of replies, tide.null for nil and an err where a command failed; or nil,
  -- err.
  function Redis:pipeline(fn)
    local commands = record(fn, 2)
    if #commands == 0 then return {} end
    return of(raw_run(self, nil, false, commands))
  end

  -- The same between MULTI and EXEC: all or nothing, nothing else in between.
  function Redis:multi(fn)
    local commands = record(fn, 2)
    if #commands == 0 then return {} end
    return of(raw_run(self, nil, true, commands))
  end

  -- for key in cache:scan{ match =, count =, type = } do ... end, each key at least once;
  -- a failure is raised.  With a cursor it is the command.
  function Redis:scan(opts, ...)
    if opts ~= nil and type(opts) ~= "table" then
      return of(raw_call(self, nil, "SCAN", opts, ...))
    end
    local items = redis_scan.iterate(self, "SCAN", nil, opts)
    return items
  end

  -- The same in one key: hscan gives field, value; sscan member; zscan member, score.
  for _, command in ipairs { "HSCAN", "SSCAN", "ZSCAN" } do
    Redis[command:lower()] = function(self, key, opts, ...)
      if opts ~= nil and type(opts) ~= "table" then
        return of(raw_call(self, nil, command, key, opts, ...))
      end
      local items = redis_scan.iterate(self, command, key, opts)
      return items
    end
  end

  -- cache:get(key) is cache:call("GET", key), for any command.  These are kept apart from
  -- the methods, which the manual lists one by one.
  local commands = setmetatable({}, {
    __index = function(commands, name)
      if type(name) ~= "string" then return nil end
      local command = string.upper(name)
      local function method(self, ...) return of(raw_call(self, nil, command, ...)) end
      commands[name] = method
      return method
    end,
  })
  setmetatable(Redis, { __index = commands })
end

local Pool, Lease = core.redis, core.redis_lease
local set_settings, call_on_pool = Pool.set, Pool.raw_call
add_methods(Pool, call_on_pool, Pool.raw_run)
add_methods(Lease, Lease.raw_call, Lease.raw_run)

-- cache:set(key, value, ...) is the command; cache:set{ max_waiters = n } changes the
-- pool's settings.
function Pool:set(first, ...)
  if type(first) == "table" then return set_settings(self, first) end
  return of(call_on_pool(self, nil, "SET", first, ...))
end

-- A function for Lua that runs on the server: script(keys, args...) gives its reply, or
-- nil, err; script:on(conn, keys, args...) runs it on a lease, or in a pipeline or multi.
-- opts: read_only = true, for one that writes nothing and may be sent twice.
function Pool:script(source, opts)
  local script = redis_script.new(self, source, opts, is_recorder)
  return script
end

-- ---- what lasts: subscriptions

local set_of = channels.install(Pool, redis_pubsub.connect)

local function subscribe(pool, kind, name, fn, opts)
  local ok, err = channels.check(pool, name, fn, opts, 3)
  if not ok then return nil, err end
  return set_of(pool):subscribe(kind, name, fn, opts and opts.queue)
end

-- Calls fn(message) for what is published on the channel, each in a task, one after
-- another; message: channel, payload; or channel, gap = true, reason when some may have
-- been missed.  opts: queue, of messages that wait for fn.  Gives a subscription with
-- close() and stats(); or nil, err.
function Pool:subscribe(channel, fn, opts)
  local sub, err = subscribe(self, "channel", channel, fn, opts)
  return sub, err
end

-- The same for all channels that match a pattern, "news.*"; message has pattern too.
function Pool:psubscribe(pattern, fn, opts)
  local sub, err = subscribe(self, "pattern", pattern, fn, opts)
  return sub, err
end

-- The same for a sharded channel, of servers from version 7 on.
function Pool:ssubscribe(channel, fn, opts)
  local sub, err = subscribe(self, "shard", channel, fn, opts)
  return sub, err
end

-- ---- and consumers of streams

local consumers_of = setmetatable({}, { __mode = "k" }) -- pool -> set

local function forget_consumer(consumer)
  consumers_of[consumer.pool][consumer] = nil
end

-- Works on a stream as one consumer of a group, in a task of its own: fn(entry) with id,
-- fields, list, stream, deliveries, one after another; an entry is acknowledged when fn
-- returns, and comes again after min_idle when it raises or returns nil, err.  opts:
-- stream, group, consumer, start, count, block, min_idle, max_deliveries, on_failure.
-- Gives a consumer with close(), wait() and stats(); or nil, err.
function Pool:consume(opts, fn)
  local consumer, err = redis_consumer.start(self, opts, fn, forget_consumer, 2)
  if not consumer then return nil, err end
  consumers_of[self] = consumers_of[self] or {}
  consumers_of[self][consumer] = true
  return consumer
end

local function stop_consumers(pool, seconds)
  local stops = {}
  for consumer in pairs(consumers_of[pool] or {}) do
    stops[#stops + 1] = function() consumer:stop(seconds) return true end
  end
  if #stops > 0 then Task.all(stops) end
end

local close_pool, pool_stats = Pool.close, Pool.stats

-- Ends what lasts, then closes: consumers' entries and leases have so many seconds.
function Pool:close(seconds)
  local limit = core.now() + (seconds or 0)
  stop_consumers(self, seconds or 0)
  return close_pool(self, math.max(0, limit - core.now()))
end

local function consumer_stats(pool)
  local list = {}
  for consumer in pairs(consumers_of[pool] or {}) do
    list[#list + 1] = consumer:stats()
  end
  return #list > 0 and list or nil
end

-- Counts, waits and, where there are some, subscriptions and consumers.
function Pool:stats()
  local stats = pool_stats(self)
  stats.consumers = consumer_stats(self)
  return stats
end
