-- history.lua - what callers asked and were told, and whether that can be true.
--
-- Values say where they belong: "key:writer:number", all different.  Places in the
-- history are numbers of one counter, which is exact, for all callers are tasks of one
-- thread.

local core = require "tidepool.core"
local linear = require "linear"

local History = {}
History.__index = History

local history = {}

function history.new()
  return setmetatable({ place = 0, count = 0, values = 0, registers = {}, added = {},
                        codes = {}, wrong = {} }, History)
end

function History:next_place()
  self.place = self.place + 1
  return self.place
end

-- A value for key that nobody else writes.
function History:value(key, writer)
  self.values = self.values + 1
  return ("%s:%s:%d"):format(key, writer, self.values)
end

-- What an err says of its operation: "no", it has not happened, or "unknown".
local function outcome_of(err)
  return (err.outcome == "unknown" or err.code == "cancelled") and "unknown" or "no"
end

-- Runs call(), which gives a result or nil, err, raises or is cancelled.
local function told(self, call)
  local done, result, err = pcall(call)
  if not done then
    if not core.is_err(result) then error(result, 0) end
    result, err = nil, result
  end
  self.count = self.count + 1
  if result ~= nil then return "ok", result end
  self.codes[err.code] = (self.codes[err.code] or 0) + 1
  return outcome_of(err), err
end

-- One operation on the register key: kind and value as in linear.lua.  call() gives true,
-- the value of a read, or the old value of a swap.
function History:register(key, kind, value, call)
  local op = { kind = kind, value = value, call = self:next_place() }
  local state, result = told(self, function() return call(op) end)
  local back = self:next_place()
  if state == "no" or (kind == "read" and state ~= "ok") then
    op.is_void = true
  elseif state == "ok" then
    op.back = back
    if kind == "read" then op.value = result end
  end
  if op.back and tostring(op.value):match "^[^:]*" ~= key then
    self.wrong[#self.wrong + 1] = ("%s was answered %s"):format(key, tostring(op.value))
  end
  local ops = self.registers[key] or {}
  self.registers[key] = ops
  ops[#ops + 1] = op
end

-- Adds what is to be there once.
function History:add(id, call)
  local state = told(self, call)
  self.added[id] = state
end

-- Asks for what only this caller is to be answered.
function History:tag(tag, call)
  local state, result = told(self, call)
  if state == "ok" and result ~= tag then
    self.wrong[#self.wrong + 1] = ("%s was answered %s"):format(tag, tostring(result))
  end
end

-- ---- can it be true?

-- counts: how often each id is there.  True; or nil and which one is wrong.
function History:check_added(counts)
  for id, state in pairs(self.added) do
    local count = counts[id] or 0
    if state == "ok" and count ~= 1 then
      return nil, ("%s was acknowledged and is there %d times"):format(id, count)
    elseif state == "no" and count ~= 0 then
      return nil, ("%s failed, outcome known, and is there %d times"):format(id, count)
    elseif count > 1 then
      return nil, ("%s is there %d times"):format(id, count)
    end
  end
  for id in pairs(counts) do
    if not self.added[id] then return nil, id .. " is there and nobody added it" end
  end
  return true
end

-- Each register alone: linearizability of all is that of each.
function History:check_registers()
  for key, all in pairs(self.registers) do
    local ops = {}
    for _, op in ipairs(all) do
      if not op.is_void then ops[#ops + 1] = op end
    end
    local ok, why = linear.check(ops, key .. ":first")
    if not ok then return nil, key .. ": " .. why end
  end
  return true
end

function History:check_answers()
  if self.wrong[1] then return nil, self.wrong[1] end
  return true
end

return history
