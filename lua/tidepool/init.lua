-- init.lua - require "tidepool": what scripts use.

local core = require "tidepool.core"
local app = require "tidepool.app"
local events = require "tidepool.events"
local queue = require "tidepool.queue"
local handlers = require "tidepool.handlers"
local lock = require "tidepool.lock"
local memo = require "tidepool.memo"
local ratelimit = require "tidepool.ratelimit"
local leaderboard = require "tidepool.leaderboard"
local reply = require "tidepool.reply"
local request = require "tidepool.request"
local serial = require "tidepool.serial"
local session = require "tidepool.session"
local state_hooks = require "tidepool.state_hooks"
local stream = require "tidepool.stream"
local task = require "tidepool.task"
local writebehind = require "tidepool.writebehind"

local tide = {
  version = core.version,
  null = core.null,

  app = app.new,
  handler = handlers.add,
  on_unload = state_hooks.on_unload,
  on_load = state_hooks.on_load,

  spawn = task.spawn,
  sleep = task.sleep,
  all = task.all,
  race = task.race,
  timeout = task.timeout,
  every = task.every,
  serial = serial.serial,
  memo = memo.memo,
  ratelimit = ratelimit.ratelimit,
  lock = lock.lock,
  on = events.on,
  class = core.class,
  writebehind = writebehind.open,
  queue = queue.new,

  json = reply.json,
  json_raw = reply.json_raw,
  text = reply.text,
  html = reply.html,
  fail = reply.fail,
  request = request,
  stream = stream.stream,
  events = stream.events,
  array = core.array,
  bytes = core.bytes,
  json_param = core.json_param,

  session = session.new,
  leaderboard = leaderboard.new,

  encode = reply.encode,
  decode = reply.decode,
  msgpack_encode = reply.msgpack_encode,
  msgpack_decode = reply.msgpack_decode,

  now = core.now,
  log = core.log, -- (level, event [, fields]): "debug", "info", "warn" or "error"
  is_err = core.is_err,
}

local pools = { postgres = {}, redis = {} }
local KEYS = {
  postgres = { main = "database.postgres_url (or DATABASE_URL)",
               named = "database.%s.postgres_url" },
  redis = { main = "redis.url (or REDIS_URL)", named = "redis.%s.url" },
}

local function names_of(kind)
  local names = {}
  for name in pairs(pools[kind]) do names[#names + 1] = '"' .. name .. '"' end
  table.sort(names)
  return #names > 0 and "; there are " .. table.concat(names, ", ") or ""
end

-- The pool; or nil and a sentence.
local function find_pool(kind, name)
  if name ~= nil and type(name) ~= "string" then
    return nil, "a pool's name expected, got " .. type(name)
  end
  local pool = pools[kind][name or "main"]
  if pool then return pool end
  local key = (name and name ~= "main") and KEYS[kind].named:format(name)
    or KEYS[kind].main
  return nil, ("there is no %s pool \"%s\": set %s%s"):format(kind, name or "main", key,
    names_of(kind))
end

local function pool_of(kind, name)
  local pool, wrong = find_pool(kind, name)
  if not pool then error(wrong, 3) end
  return pool
end

-- The Postgres pool of this name, "main" without one.
function tide.postgres(name)
  local pool = pool_of("postgres", name)
  return pool
end

-- The Redis pool of this name, "main" without one.
function tide.redis(name)
  local pool = pool_of("redis", name)
  return pool
end

local worker, workers = 1, 1

-- Which of the instance's workers this process is, and how many there are.
function tide.worker() return worker, workers end

-- ---- for the service and its tests

function tide._set_worker(number, count) worker, workers = number, count end

function tide._set_pool(kind, name, pool) pools[kind][name] = pool end

function tide._pools() return pools end

tide._find_pool = find_pool

tide._is_app = app.is
tide._set_request_timeout = app.set_timeout
tide._tell_route = app.tell_route

return tide
