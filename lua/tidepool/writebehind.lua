-- writebehind.lua - tide.writebehind: values that are changed in memory and stored a
-- little later, the latest version of each.
--
-- One name is one engine in this process, which outlasts the script's versions: those
-- that follow each other have handles on the same one, so what the old one has not stored
-- the new one sees.

local core = require "tidepool.core"
local engine = require "tidepool.writebehind_engine"
local reply = require "tidepool.reply"
local sorted_keys = require "tidepool.sorted_keys"
local standing = require "tidepool.standing"
local Task = require "tidepool.task"
local writebehind_table = require "tidepool.writebehind_table"

local engines = {} -- by name

local WriteBehind = { stands_still = true }
WriteBehind.__index = WriteBehind

-- ---- keys and values

local function key_text(key, level)
  if type(key) == "string" then return key end
  if type(key) == "number" and key % 1 == 0 and math.abs(key) < 2 ^ 53 then
    return ("%.0f"):format(key)
  end
  error(("a key is a text or a whole number, got %s"):format(
    type(key) == "number" and tostring(key) or type(key)), level + 1)
end

local function value_text(key, value, level)
  if value == nil then
    error(("no value for key %s: give tide.null where there is none"):format(
      tostring(key)), level + 1)
  end
  local text, failure = core.encode(value)
  if not text then error(failure, level + 1) end
  return text
end

-- Versions are times, so that of two processes the later one wins; and each is above all
-- that this one has seen, also when the clock was set back.
local function next_version(self)
  self.last_version = math.max((self.last_version or 0) + 1, core.wall_us())
  return self.last_version
end

-- ---- reading

-- The text of a key that is not stored yet.
local function pending(self, key)
  local entry = self.dirty.entries[key] or self.flight and self.flight.entries[key]
  return entry and entry.text
end

local function end_load(self, key, record, ok, ...)
  record.count = record.count - 1
  if record.count == 0 then self.loads[key] = nil end
  if not ok then error((...), 0) end
  return ...
end

-- JSON text or nil; or nil, err.  What is put while it loads is newer.
local function load(self, key)
  local record = self.loads[key] or { count = 0 }
  record.count, self.loads[key] = record.count + 1, record
  local text, version, err = end_load(self, key, record, pcall(self.options.load, key))
  if err then return nil, err end
  if version then self:note_version(version) end
  return record.text or text
end

-- The key's value, nil when there is none; or nil, err.  What is not stored yet is given
-- from memory.
function WriteBehind:get(key)
  key = key_text(key, 2)
  local own = self.engine
  local text, err = pending(own, key), nil
  if not text then text, err = load(own, key) end
  if not text then return nil, err end
  return (reply.decode(text))
end

-- ---- writing

local function refuse(self, why)
  self.counts.refused = self.counts.refused + 1
  return nil, core.err("busy", why, { retryable = true })
end

-- True when there is room for these; or nil, err.
local function admit(self, list)
  if self.is_stopped then
    return nil, core.err("closed", "the write-behind is closed")
  end
  local new = 0
  for _, entry in ipairs(list) do
    if not self.dirty.entries[entry.key] then new = new + 1 end
  end
  local options = self.options
  if new > 0 and self:count() + new > options.max_dirty then
    return refuse(self, ("%d keys are not stored yet, of max_dirty %d"):format(
      self:count(), options.max_dirty))
  end
  local age = self.at_risk and core.now() - self.at_risk or 0
  if options.max_age and age > options.max_age then
    return refuse(self, ("the oldest unsaved change is %.1f s old, of max_age %g s")
      :format(age, options.max_age))
  end
  return true
end

local function put(self, list)
  local ok, err = admit(self, list)
  if not ok then return nil, err end
  local now = core.now()
  for _, entry in ipairs(list) do
    entry.version, entry.since, entry.put_at = next_version(self), now, now
    local record = self.loads[entry.key]
    if record then record.text = entry.text end
  end
  self.dirty:put(list)
  self.oldest, self.at_risk = self.oldest or now, self.at_risk or now
  return true
end

-- The key has this value from now on, and is stored later: true; or nil, err (busy).
function WriteBehind:put(key, value)
  local own = self.engine
  local entry = { key = key_text(key, 2), text = value_text(key, value, 2) }
  local done, err = put(own, { entry })
  return done, err
end

-- The same of several keys, which are stored in one transaction: all or none.
function WriteBehind:put_all(values)
  if type(values) ~= "table" then
    error("a table of values by key expected, got " .. type(values), 2)
  end
  local list, seen = {}, {}
  for key, value in pairs(values) do
    local text = key_text(key, 2)
    if seen[text] then error("the key " .. text .. " is there twice", 2) end
    seen[text] = true
    list[#list + 1] = { key = text, text = value_text(key, value, 2) }
  end
  if #list == 0 then return true end
  local done, err = put(self.engine, list)
  return done, err
end

-- Parks until what was put, or what was put of this key, is in the database: true; or
-- nil, err when it could not be stored, and it is tried again later.
function WriteBehind:flush(key)
  local own = self.engine
  if key == nil then
    local done, err = own:flush()
    return done, err
  end
  key = key_text(key, 2)
  if not pending(own, key) then return true end
  local called_at = core.now()
  local _, err = own:flush()
  local entry = own.dirty.entries[key]
  if not entry or entry.since > called_at then return true end
  return nil, err or own.last_error
end

local function check_seconds(seconds, level)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < 1e6) then
    error("seconds, from 0 on, expected, got " .. tostring(seconds), level + 1)
  end
end

-- Stores all, trying for so many seconds: true; or nil, err that says how much is left.
function WriteBehind:drain(seconds)
  check_seconds(seconds, 2)
  local done, err = self.engine:drain(seconds)
  return done, err
end

-- Makes the table where there is none: true; or nil, err.
function WriteBehind:create()
  local options = self.engine.options
  if not options.table then error("create is for write-behinds with a table", 2) end
  local done, err = options.table:create(options.db)
  return done, err
end

function WriteBehind:stats()
  return self.engine:stats()
end

-- The script needs it no more.  What is dirty is stored.
function WriteBehind:close()
  if self.is_closed then return false end
  self.is_closed = true
  standing.remove(self)
  local handles = self.engine.handles
  for i = #handles, 1, -1 do
    if handles[i] == self then table.remove(handles, i) end
  end
  if #handles > 0 then
    self.engine.options = handles[#handles].options
  else
    self.engine:wake()
  end
  return true
end

-- ---- options

local function is_text(value) return type(value) == "string" and value ~= "" end

local function is_function(value) return type(value) == "function" end

local function is_seconds(value)
  return type(value) == "number" and value > 0 and value < 1e6
end

local function is_count(value)
  return type(value) == "number" and value >= 1 and value % 1 == 0
end

local function is_postgres(value)
  local ok, kind = pcall(core.postgres.kind, value)
  return ok and kind == "postgres"
end

local TEXT, FUNCTION = { is_text, "a text" }, { is_function, "a function" }
local SECONDS = { is_seconds, "seconds above 0" }

local OPTIONS = {
  db = { is_postgres, "a Postgres pool" }, name = TEXT, table = TEXT, key = TEXT,
  store = FUNCTION, load = FUNCTION, flush = SECONDS, max_age = SECONDS, log = TEXT,
  max_dirty = { is_count, "a whole number from 1 on" },
}

local function check_together(opts, level)
  if opts.db == nil then error("db: a Postgres pool expected, got nil", level + 1) end
  if opts.table and (opts.store or opts.load) then
    error("give table, or store and load, not both", level + 1)
  elseif opts.table then
    return
  elseif not (opts.store and opts.load and opts.name) then
    error("table expected; or store, load and name", level + 1)
  elseif opts.key then
    error("key is a column of table, and there is none", level + 1)
  end
end

local function check_options(opts, level)
  if type(opts) ~= "table" then
    error("options table expected, got " .. type(opts), level + 1)
  end
  for _, name in ipairs(sorted_keys(opts)) do
    local option = OPTIONS[name]
    if not option then error("unknown option: " .. tostring(name), level + 1) end
    if not option[1](opts[name]) then
      error(("%s: %s expected, got %s"):format(name, option[2], tostring(opts[name])),
        level + 1)
    end
  end
  check_together(opts, level + 1)
end

-- ---- how values are stored: by a table, or by the script's functions

local function use_table(options, opts)
  local rows = writebehind_table.new(opts.table, opts.key or "key")
  options.table = rows
  function options.store(tx, list) return rows:store(tx, list) end
  function options.load(key) return rows:load(opts.db, key) end
end

local function use_functions(options, opts)
  function options.store(tx, list)
    core.exempt(false)
    local changes, written = {}, {}
    for i, entry in ipairs(list) do
      changes[i] = { key = entry.key, value = reply.decode(entry.text),
        version = entry.version }
      written[entry.key] = true
    end
    local _, err = opts.store(tx, changes)
    if err ~= nil then error(err, 0) end
    return written, {}
  end

  function options.load(key)
    local value, version = opts.load(key)
    if value == nil then return nil, nil, version end
    return core.encode(value), tonumber(version)
  end
end

local function new_options(opts)
  local options = {
    db = opts.db, flush = opts.flush or 1, max_dirty = opts.max_dirty or 10000,
    max_age = opts.max_age, log = opts.log,
    same = { table = opts.table, key = opts.key, log = opts.log, db = opts.db:name() },
  }
  if opts.table then use_table(options, opts) else use_functions(options, opts) end
  return options
end

-- One that is open may have other functions and figures, but stores in the same place.
local function check_same(name, open, options, level)
  for _, key in ipairs { "db", "table", "key", "log" } do
    local before, now = open.options.same[key], options.same[key]
    if before ~= now then
      error(("write-behind %s is open with %s %s, not %s: give another name"):format(
        name, key, tostring(before), tostring(now)), level + 1)
    end
  end
end

-- ---- the module

local writebehind = {}

-- See the manual.
function writebehind.open(opts)
  check_options(opts, 2)
  local name, options = opts.name or opts.table, new_options(opts)
  local own = engines[name]
  if own and not own.is_stopped then
    check_same(name, own, options, 2)
    own.options = options
  else
    local err
    own, err = engine.new(name, options, function(ended)
      if engines[name] == ended then engines[name] = nil end
    end)
    if not own then return nil, err end
    engines[name] = own
  end
  local handle = setmetatable({ engine = own, options = options, serves_requests = true },
    WriteBehind)
  table.insert(own.handles, handle)
  if not own.task then own:start() end
  standing.add(handle, opts.store or print)
  return handle
end

-- At the end of the process, while the pools are open: stores all, trying for so many
-- seconds, and ends all.  Gives how many changes are not stored.
function writebehind.finish(seconds)
  local open, left = {}, 0
  for _, own in pairs(engines) do
    open[#open + 1] = function()
      own:drain(seconds)
      left = left + own:count()
      own:stop()
      return true
    end
  end
  Task.all(open)
  return left
end

-- Whether there is anything that store() stores.
function writebehind.is_dirty()
  for _, own in pairs(engines) do
    if own:count() > 0 then return true end
  end
  return false
end

-- Stores what is dirty, trying for so many seconds; all go on.
function writebehind.store(seconds)
  local open = {}
  for _, own in pairs(engines) do
    open[#open + 1] = function()
      own:drain(seconds)
      return true
    end
  end
  Task.all(open)
end

-- Of all, in the order of their names.
function writebehind.stats()
  local all = {}
  for i, name in ipairs(sorted_keys(engines)) do all[i] = engines[name]:stats() end
  return all
end

return writebehind
