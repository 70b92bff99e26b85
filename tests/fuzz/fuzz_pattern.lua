-- fuzz_pattern.lua - string.find, match, gmatch and gsub against LuaJIT's own.
--
-- Input: a line, the pattern; a line, what it is replaced by; then the subject.

local fuzz, own = fuzz, fuzz.string -- luacheck: globals fuzz

local function same(ours, theirs, count)
  for i = 1, count do
    if ours[i] ~= theirs[i] then return false end
  end
  return true
end

local function pack(...) return { n = select("#", ...), ... } end

-- Both, unless ours takes too many steps: then theirs would take for ever.
local function compare(name, ...)
  local ours = pack(pcall(string[name], ...))
  if not ours[1] then
    if tostring(ours[2]):find("too many steps", 1, true) then return false end
    fuzz.feature(ours[2])
  end
  local theirs = pack(pcall(own[name], ...))
  if ours[1] ~= theirs[1] then
    error(("%s: ours %s, theirs %s"):format(name, tostring(ours[2]),
      tostring(theirs[2])))
  end
  if ours[1] and (ours.n ~= theirs.n or not same(ours, theirs, ours.n)) then
    error(("%s: ours %s, theirs %s"):format(name, tostring(ours[2]),
      tostring(theirs[2])))
  end
  return ours[1]
end

local function all_of(gmatch, subject, pattern)
  local found = {}
  for a, b in gmatch(subject, pattern) do
    found[#found + 1] = tostring(a) .. "\0" .. tostring(b)
    if #found == 100 then break end
  end
  return table.concat(found, "\1")
end

return function(data)
  local pattern, replacement, subject = data:match "^([^\n]*)\n([^\n]*)\n(.*)$"
  if not pattern then return end
  if not compare("find", subject, pattern) then return end
  if not compare("match", subject, pattern, 2) then return end
  compare("find", subject, pattern, -3)
  if not compare("gsub", subject, pattern, replacement) then return end
  compare("gsub", subject, pattern, "<%0>", 2)
  local is_good, ours = pcall(all_of, string.gmatch, subject, pattern)
  if not is_good then return end
  local _, theirs = pcall(all_of, own.gmatch, subject, pattern)
  if ours ~= theirs then error("gmatch differs") end
end
