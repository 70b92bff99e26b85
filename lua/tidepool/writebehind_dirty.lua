-- writebehind_dirty.lua - what of a write-behind is not stored: the latest version of
-- each key, and which keys must be stored together.
--
-- A put never changes an entry, it takes its place; so one that is being written
-- elsewhere is what it was.  A group is a list of keys, of which all are dirty.

local Dirty = {}
Dirty.__index = Dirty

local function earlier(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

-- An entry takes the place of the key's former one, which waits no more.
local function set(self, entry)
  local before = self.entries[entry.key]
  if before then
    entry.since = earlier(entry.since, before.since)
    if not before.is_logged then entry.put_at = earlier(entry.put_at, before.put_at) end
    entry.group = before.group
  else
    self.count = self.count + 1
  end
  self.entries[entry.key] = entry
end

-- The groups of all these keys become one: the smaller are moved.
local function link(self, keys)
  local largest = { keys[1] }
  for _, key in ipairs(keys) do
    local group = self.entries[key].group
    if group and #group > #largest then largest = group end
  end
  for _, key in ipairs(keys) do
    local group = self.entries[key].group
    if group ~= largest then
      for _, other in ipairs(group or { key }) do
        if largest[1] ~= other then largest[#largest + 1] = other end
        self.entries[other].group = largest
      end
    end
  end
end

-- Changes that are stored together; each: key, text, version, since (when the oldest
-- change was made that is not stored), put_at (the same of what is not logged).
function Dirty:put(list)
  local keys = {}
  for i, entry in ipairs(list) do
    set(self, entry)
    keys[i] = entry.key
  end
  if #keys > 1 then link(self, keys) end
end

-- All that is dirty, as another set; from here on nothing is.
function Dirty:take()
  local taken = setmetatable({ entries = self.entries, count = self.count }, Dirty)
  self.entries, self.count = {}, 0
  return taken
end

-- It is stored.
function Dirty:remove(entry)
  if self.entries[entry.key] ~= entry then return end
  self.entries[entry.key] = nil
  self.count = self.count - 1
end

-- A part of a set that was taken could not be stored: what was put since stays.
function Dirty:give_back(part)
  for _, entry in ipairs(part) do
    entry.group = nil
    local newer = self.entries[entry.key]
    if not newer then
      set(self, entry)
    else
      newer.since = earlier(newer.since, entry.since)
      if not entry.is_logged and not newer.is_logged then
        newer.put_at = earlier(newer.put_at, entry.put_at)
      end
    end
  end
  local keys = {}
  for i, entry in ipairs(part) do keys[i] = entry.key end
  if #keys > 1 then link(self, keys) end
end

-- The parts that are stored together, each a list of entries in the order of their keys,
-- so that two processes never lock rows crosswise.  is_due(entry): of which are given.
function Dirty:parts(is_due)
  local parts, of_group = {}, {}
  for _, entry in pairs(self.entries) do
    if not is_due or is_due(entry) then
      local part = entry.group and of_group[entry.group]
      if not part then
        part = {}
        parts[#parts + 1] = part
        if entry.group then of_group[entry.group] = part end
      end
      part[#part + 1] = entry
    end
  end
  for _, part in ipairs(parts) do
    table.sort(part, function(a, b) return a.key < b.key end)
  end
  table.sort(parts, function(a, b) return a[1].key < b[1].key end)
  return parts
end

-- When the oldest change was made that is not stored; the same of what is not logged
-- either.  nil: there is none.
function Dirty:oldest()
  local since, put_at
  for _, entry in pairs(self.entries) do
    since = earlier(since, entry.since)
    if not entry.is_logged then put_at = earlier(put_at, entry.put_at) end
  end
  return since, put_at
end

local dirty = { earlier = earlier }

function dirty.new()
  return setmetatable({ entries = {}, count = 0 }, Dirty)
end

return dirty
