-- iterate.lua - next, ipairs and pairs that take results, too.

local core = require "tidepool.core"

-- LuaJIT before April 2022, as Debian 12 has it, compiles next() on x64 to code that may
-- lose half of a pointer (its bug 829): there, loops use one that it cannot compile.
-- Later versions have a number in the place of "beta".
local raw_next = next
local next_pair = jit.arch == "x64" and jit.version:find "beta" and core.next or raw_next

-- LuaJIT's ipairs and pairs take tables only; a result is a userdata.
local raw_ipairs, raw_pairs, is_rows = ipairs, pairs, core.is_rows

local iterate = { next = next_pair }

local function next_row(rows, i)
  i = i + 1
  local row = rows[i]
  if row ~= nil then return i, row end
end

function iterate.ipairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  return raw_ipairs(value)
end

function iterate.pairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  local iterator, subject, first = raw_pairs(value)
  return iterator == raw_next and next_pair or iterator, subject, first
end

return iterate
