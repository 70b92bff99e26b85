-- succession.lua - what scripts give a pool, of which the latest counts: when its script
-- ends, the one before counts again.
--
-- Of one script, which is known by the environment of its functions, there is one.

local core = require "tidepool.core"
local standing = require "tidepool.standing"

local all = {} -- Successions

local Succession = {}
Succession.__index = Succession

-- One value that was given.
local Entry = { stands_still = true }
Entry.__index = Entry

-- Its script has ended.
function Entry:close()
  local succession, pool = self.succession, self.pool
  local later = succession.latest[pool]
  standing.remove(self)
  if later == self then
    succession.rest(self.value)
    succession.latest[pool] = self.before
    succession.resume(pool, self.before and self.before.value)
    return
  end
  while later and later.before ~= self do later = later.before end
  if later then later.before = self.before end
end

-- value counts for pool from here on; fn is a function of its script.
function Succession:add(pool, value, fn)
  local env, before = getfenv(fn), self.latest[pool]
  if before then self.rest(before.value) end
  while before and before.env == env do
    standing.remove(before)
    before = before.before
  end
  local entry = setmetatable({
    succession = self, pool = pool, value = value, env = env, before = before,
  }, Entry)
  self.latest[pool] = entry
  standing.add(entry, fn)
end

-- Nothing counts for pool any more.
function Succession:clear(pool)
  local entry = self.latest[pool]
  if not entry then return end
  self.latest[pool] = nil
  self.rest(entry.value)
  while entry do
    standing.remove(entry)
    entry = entry.before
  end
end

local succession = {}

-- rest(value) is called when it does not count any more, resume(pool, value) when it does
-- again, or without a value when none is left.
function succession.new(rest, resume)
  local new = setmetatable({
    rest = rest, resume = resume, latest = setmetatable({}, { __mode = "k" }),
  }, Succession)
  all[#all + 1] = new
  return new
end

for _, Pool in ipairs { core.postgres, core.redis } do
  local close = Pool.close

  function Pool:close(seconds)
    for _, one in ipairs(all) do one:clear(self) end
    local closed = close(self, seconds)
    return closed
  end
end

return succession
