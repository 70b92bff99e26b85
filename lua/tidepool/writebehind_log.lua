-- writebehind_log.lua - the log of a write-behind: changes on the local disk until the
-- database has them.
--
-- A process has a file of its own beside the path that the script names, PATH.PID.N;
-- one that starts takes over what no process holds any more.  A line is a group of
-- changes that belong together, so a line that a crash has torn is a group that never
-- was: its length, a space, and JSON: [[key, text of the value, version], ...].

local cjson = require "cjson"
local core = require "tidepool.core"
local of = require("tidepool.result").of

local NAMES_MAX = 10000

local Log = {}
Log.__index = Log

local function split(path)
  local folder, name = path:match "^(.*)/([^/]+)$"
  return folder == "" and "/" or folder or ".", name or path
end

-- Those that a process which is gone has left, held from here on; or nil, err.
local function take_orphans(path)
  local folder, name = split(path)
  local names, err = core.list_dir(folder)
  if not names then return nil, err end
  local orphans = {}
  for _, other in ipairs(names) do
    if other:sub(1, #name) == name and other:sub(#name + 1):find "^%.%d+%.%d+$" then
      local file = folder .. "/" .. other
      local journal
      journal, err = core.journal(file)
      if journal then
        orphans[#orphans + 1] = { path = file, journal = journal }
      elseif err.code ~= "busy" and core.stat(file) then
        return nil, err
      end
    end
  end
  return orphans
end

local function new_file(path)
  local journal, err
  for number = 1, NAMES_MAX do
    local file = ("%s.%d.%d"):format(path, core.pid(), number)
    if not core.stat(file) then
      journal, err = core.journal(file, true)
      if journal then return { path = file, journal = journal } end
      if not core.stat(file) then break end
    end
  end
  return nil, err or core.err("badarg", path .. ": there are too many logs")
end

local function remove(file)
  os.remove(file.path)
  file.journal:close()
end

-- What a line has of one change; nil: it is none.
local function entry_of(item)
  if type(item) ~= "table" then return nil end
  local key, text, version = item[1], item[2], item[3]
  if type(key) ~= "string" or type(text) ~= "string" then return nil end
  if type(version) ~= "string" or not version:find "^%d+$" then return nil end
  return { key = key, text = text, version = tonumber(version) }
end

-- The changes of a line; nil: it is torn, or nothing that was written here.
local function group_of(line)
  local length, text = line:match "^(%d+) (.*)$"
  if tonumber(length) ~= (text and #text) then return nil end
  local ok, list = pcall(cjson.decode, text)
  if not ok or type(list) ~= "table" then return nil end
  local group = {}
  for i = 1, #list do
    group[i] = entry_of(list[i])
    if not group[i] then return nil end
  end
  return group
end

-- A list of changes as a line.  Of versions no digit may be lost, so they are texts.
function Log.line(group)
  local list = {}
  for i, entry in ipairs(group) do
    list[i] = { entry.key, entry.text, ("%.0f"):format(entry.version) }
  end
  local text = core.encode(list)
  return ("%d %s\n"):format(#text, text)
end

-- The groups that processes before this one have left, and how many lines were torn;
-- or nil, err.
function Log:read()
  local groups, torn = {}, 0
  for _, file in ipairs(self.orphans) do
    local text, err = core.read_file(file.path)
    if not text then return nil, err end
    for line in text:gmatch "[^\n]+" do
      local group = group_of(line)
      if group then groups[#groups + 1] = group else torn = torn + 1 end
    end
  end
  return groups, torn
end

-- True when the lines are on the disk; or nil, err.
function Log:append(text)
  local done, err = of(self.own.journal:append(text))
  if not done then return nil, err end
  self.size = self.size + #text
  return true
end

-- All of it is in the database: true when it is empty.
function Log:reset()
  if self.size > 0 and self.own.journal:reset() then self.size = 0 end
  return self.size == 0
end

-- What they had is in this one's file, or in the database.
function Log:forget_orphans()
  for _, file in ipairs(self.orphans) do remove(file) end
  self.orphans = {}
end

-- Goes on in a new file, which holds only text: true; or nil, err, and in the old one.
function Log:replace(text)
  local file, err = new_file(self.path)
  if not file then return nil, err end
  local done
  done, err = of(file.journal:append(text))
  if not done then
    remove(file)
    return nil, err
  end
  remove(self.own)
  self.own, self.size = file, #text
  return true
end

-- What is in it is left for the next process.
function Log:close()
  if self.size == 0 then os.remove(self.own.path) end
  self.own.journal:close()
  for _, file in ipairs(self.orphans) do file.journal:close() end
end

local writebehind_log = { line = Log.line }

-- Opens the log at path; or nil, err.
function writebehind_log.open(path)
  local orphans, err = take_orphans(path)
  if not orphans then return nil, err end
  local own
  own, err = new_file(path)
  if not own then return nil, err end
  return setmetatable({ path = path, orphans = orphans, own = own, size = 0 }, Log)
end

return writebehind_log
