-- fuzz_writebehind_log.lua - the log that a process which is gone has left: every line is
-- a group of changes or torn, and a group that is written is read again as the same.
--
-- Input: the file.

local core = require "tidepool.core"
local log = require "tidepool.writebehind_log"

local fuzz = fuzz -- luacheck: globals fuzz

local directory = os.tmpname()
os.remove(directory)
local left = directory .. ".1.1"

local function check(group)
  for _, entry in ipairs(group) do
    assert(type(entry.key) == "string", "a key that is no text")
    assert(type(entry.text) == "string", "a value that is no text")
    assert(type(entry.version) == "number", "a version that is no number")
  end
  return log.line(group)
end

local function read(text)
  local file = assert(io.open(left, "wb"))
  file:write(text)
  file:close()
  local opened = assert(log.open(directory))
  local groups, torn = opened:read()
  opened:forget_orphans()
  opened:close()
  return assert(groups), torn
end

return function(data)
  local groups, torn = read(data)
  fuzz.feature(("%d %d"):format(math.min(#groups, 9), math.min(torn, 9)))
  local lines = {}
  for i, group in ipairs(groups) do lines[i] = check(group) end
  if #lines == 0 then return end
  local again, torn_again = read(table.concat(lines))
  assert(torn_again == 0 and #again == #groups, "it is not read again")
  for i, group in ipairs(again) do
    for j, entry in ipairs(group) do
      local before = groups[i][j]
      assert(entry.version == before.version, "another version")
      if fuzz.is_utf8(data) then
        assert(entry.key == before.key and entry.text == before.text, "another entry")
      end
    end
  end
  core.pid()
end
