-- start.lua - prepares a Lua state of the runtime's own, whose globals are for scripts:
-- yields pass through coroutines, loops take results, texts are bounded.

local core = require "tidepool.core"
local iterate = require "tidepool.iterate"

-- luacheck: push ignore 121 122
for name, fn in pairs(require "tidepool.coroutine") do coroutine[name] = fn end

require "tidepool.prepare"

next, ipairs, pairs = iterate.next, iterate.ipairs, iterate.pairs

-- Texts that one call makes are bounded, as those of the string library in C.  By tail
-- calls, so that what Lua's own raise is at the script's line.
local MANY = 8
local raw_concat, bound_concat = table.concat, core.bound_concat
local raw_format, bound_format = string.format, core.bound_format

function table.concat(list, between, from, to)
  bound_concat(list, between, from, to)
  return raw_concat(list, between, from, to)
end

function string.format(form, ...)
  if select("#", ...) > MANY then bound_format(form, ...) end
  return raw_format(form, ...)
end
-- luacheck: pop
