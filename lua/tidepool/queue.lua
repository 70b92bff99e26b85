-- queue.lua - tide.queue: jobs in Postgres, added in the caller's transaction, worked on
-- at least once.

local core = require "tidepool.core"
local check = require("tidepool.options").check_pairs
local queue_table = require "tidepool.queue_table"
local queue_worker = require "tidepool.queue_worker"

local NAME_MAX = 48 -- bytes: its channel's name has 63

local Queue = {}
Queue.__index = Queue

local function is_text(value) return type(value) == "string" and value ~= "" end

local function is_seconds(value)
  return type(value) == "number" and value > 0 and value < 1e6
end

local function is_delay(value) return value == 0 or is_seconds(value) end

local function is_count(value)
  return type(value) == "number" and value >= 1 and value <= 1000 and value % 1 == 0
end

local function is_postgres(value)
  local ok, kind = pcall(core.postgres.kind, value)
  return ok and kind == "postgres"
end

local SECONDS = { is_seconds, "seconds above 0" }

local NEW = {
  db = { is_postgres, "a Postgres pool" },
  name = { function(value)
    return is_text(value) and #value <= NAME_MAX and not value:find "%z"
  end, "a text of at most " .. NAME_MAX .. " bytes" },
}

local ADD = {
  delay = { is_delay, "seconds from 0 on" }, key = { is_text, "a text" },
}

local CONSUME = {
  tasks = { is_count, "a whole number from 1 to 1000" },
  visibility = SECONDS, backoff = SECONDS,
  retries = { function(value) return value == 0 or is_count(value) end,
    "a whole number from 0 to 1000" },
}

local DEFAULTS = { tasks = 4, visibility = 30, retries = 5, backoff = 1 }

-- Transactions that notify commit one after another in the whole cluster, each with its
-- write to the disk.  So what was added alone is told of afterwards, many at once; who
-- dies before that leaves it to the consumers' looking.
local function tell_later(self)
  self.is_due = true
  if self.is_telling then return end
  self.is_telling = true
  core.spawn(function()
    core.finally(function() self.is_telling = false end)
    while self.is_due do
      self.is_due = false
      self.db:notify(queue_table.channel(self.name))
    end
  end)
end

-- In the transaction: it is told of when that commits.  true; or nil, err.
local function tell(self, tx)
  if tx then return tx:notify(queue_table.channel(self.name)) end
  tell_later(self)
  return true
end

-- Adds a job, in the transaction tx, or alone where tx is nil: its id; or nil, err.
function Queue:add(tx, payload, opts)
  opts = opts or {}
  check(opts, ADD, 2)
  if payload == nil then error("a payload expected, got nil", 2) end
  if tx ~= nil and not pcall(core.postgres_lease.tx, tx) then
    error("a transaction, or nil, expected, got " .. type(tx), 2)
  end
  local text, failure = core.encode(payload)
  if not text then error(failure, 2) end
  local id, err = queue_table.add(tx or self.db, self.name, opts.key, text,
    opts.delay or 0)
  if not id then return nil, err end
  if not opts.delay or opts.delay == 0 then
    local told
    told, err = tell(self, tx)
    if not told then return nil, err end
  end
  return id
end

-- Calls fn(job) for each job, several at the same time; gives a consumer.
function Queue:consume(fn, opts)
  if type(fn) ~= "function" then error("function expected, got " .. type(fn), 2) end
  opts = opts or {}
  check(opts, CONSUME, 2)
  local options = {}
  for name, value in pairs(DEFAULTS) do options[name] = value end
  for name, value in pairs(opts) do options[name] = value end
  local worker = queue_worker.start(self.db, self.name, fn, options)
  return worker
end

-- Makes the table of all queues where there is none: true; or nil, err.
function Queue:create()
  local done, err = queue_table.create(self.db)
  return done, err
end

-- Of the queue, as the server counts; or nil, err.
function Queue:stats()
  local stats, err = queue_table.stats(self.db, self.name)
  return stats, err
end

-- The statements that make the table.
function Queue:schema()
  return queue_table.schema()
end

local queue = {}

function queue.new(opts)
  check(opts, NEW, 2)
  for _, name in ipairs { "db", "name" } do
    if opts[name] == nil then
      error(("%s: %s expected, got nil"):format(name, NEW[name][2]), 2)
    end
  end
  return setmetatable({ db = opts.db, name = opts.name }, Queue)
end

return queue
