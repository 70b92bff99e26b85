-- redis_stream.lua - what a consumer says to the server: entries of a stream, new ones,
-- those that it has from before, and those that others left.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local Stream = {}
Stream.__index = Stream

local function is_error(err, pattern)
  return err ~= nil and err.code == "server" and err.message:find(pattern) ~= nil
end

local function to_ms(seconds)
  return math.max(1, math.floor(seconds * 1000))
end

-- One that was deleted meanwhile has no fields: it comes as nil.
local function entry_of(self, item)
  if item == core.null then return nil end
  local list = item[2]
  if list == nil or list == core.null then return { id = item[1] } end
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return { id = item[1], stream = self.stream, fields = fields, list = list,
    deliveries = 1 }
end

local function entries_of(self, items)
  local entries = {}
  for _, item in ipairs(items) do entries[#entries + 1] = entry_of(self, item) end
  return entries
end

-- The group, and the stream with it, made where there is none.
function Stream:ensure()
  local ok, err = of(self.pool:raw_call(true, "XGROUP", "CREATE", self.stream, self.group,
    self.start, "MKSTREAM")) -- true: BUSYGROUP is no failure
  if ok or is_error(err, "^BUSYGROUP") then return true end
  return nil, err
end

-- Those of this consumer from id on ("0": what it was given before, ">": new ones, for
-- which it waits so long).
function Stream:read(id, seconds)
  local words = { "GROUP", self.group, self.consumer, "COUNT", self.count }
  if seconds then
    words[#words + 1] = "BLOCK"
    words[#words + 1] = to_ms(seconds)
  end
  words[#words + 1] = "STREAMS"
  words[#words + 1] = self.stream
  words[#words + 1] = id
  local reply, err = self.pool:call("XREADGROUP", unpack(words))
  if err then return nil, err end
  if not reply then return {} end
  local items = reply[self.stream] or reply[1][2] -- a map in RESP3
  return entries_of(self, items)
end

-- How often each was delivered, this time included.
function Stream:count_deliveries(entries)
  local replies, err = self.pool:pipeline(function(p)
    for _, entry in ipairs(entries) do
      p:xpending(self.stream, self.group, entry.id, entry.id, 1)
    end
  end)
  if not replies then return nil, err end
  for i, reply in ipairs(replies) do
    if core.is_err(reply) then return nil, reply end
    local pending = reply[1]
    entries[i].deliveries = pending and pending[4] or 1
  end
  return true
end

function Stream:ack(id)
  return self.pool:call("XACK", self.stream, self.group, id)
end

-- ---- what others left

local function claim_page(self, cursor)
  local reply, err = self.pool:call("XAUTOCLAIM", self.stream, self.group, self.consumer,
    to_ms(self.min_idle), cursor, "COUNT", self.count)
  if not reply then return nil, err end
  local next_cursor = reply[1]
  return entries_of(self, reply[2]), next_cursor ~= "0-0" and next_cursor or nil
end

-- The least id above this one.
local function id_after(id)
  local ms, number = id:match "^(%d+)-(%d+)$"
  return ("%s-%d"):format(ms, tonumber(number) + 1)
end

-- Those that were deleted stay pending on a server before version 7: they are given up.
local function drop_deleted(self, ids, entries)
  local found = {}
  for _, entry in ipairs(entries) do found[entry.id] = true end
  for _, id in ipairs(ids) do
    if not found[id] then
      local range, err = self.pool:call("XRANGE", self.stream, id, id)
      if not range then return nil, err end
      if #range == 0 then self:ack(id) end
    end
  end
  return true
end

-- The same for servers before version 6.2.
local function claim_listed(self, cursor)
  local pending, err = self.pool:call("XPENDING", self.stream, self.group,
    cursor == "0-0" and "-" or cursor, "+", self.count)
  if not pending then return nil, err end
  local ids, last = {}, pending[#pending]
  for _, item in ipairs(pending) do
    if item[3] >= to_ms(self.min_idle) then ids[#ids + 1] = item[1] end
  end
  local next_cursor = #pending == self.count and id_after(last[1]) or nil
  if #ids == 0 then return {}, next_cursor end
  local items
  items, err = self.pool:call("XCLAIM", self.stream, self.group, self.consumer,
    to_ms(self.min_idle), unpack(ids))
  if not items then return nil, err end
  local entries = entries_of(self, items)
  local ok
  ok, err = drop_deleted(self, ids, entries)
  if not ok then return nil, err end
  return entries, next_cursor
end

-- Takes over entries that nobody acknowledged for min_idle: a page of them, and the
-- cursor of the next page or nil; or nil, err.
function Stream:claim(cursor)
  if not self.has_no_autoclaim then
    local entries, more = claim_page(self, cursor)
    if entries or not is_error(more, "^ERR unknown command") then return entries, more end
    self.has_no_autoclaim = true
  end
  return claim_listed(self, cursor)
end

local redis_stream = {}

-- options: pool, stream, group, consumer, start, count, min_idle.
function redis_stream.new(options)
  return setmetatable(options, Stream)
end

return redis_stream
