-- start.lua - prepares a new Lua state: yields through coroutines, iteration of
-- rows, JSON, the methods of pools.

local core = require "tidepool.core"
local cjson = require "cjson"
local result = require "tidepool.result"

core.null = cjson.null
core.decode_with(cjson.decode)

require "tidepool.coroutine"
require "tidepool.pg"
require "tidepool.redis"
require "tidepool.credentials"
require "tidepool.hooks"

-- Methods in C that wait, as scripts call them.
local function of_waiting(methods, name)
  local raw, of = methods[name], result.of
  methods[name] = function(...) return of(raw(...)) end
end

of_waiting(core.task, "wait")
of_waiting(core.http_server, "drain")
of_waiting(core.child, "wait")

-- LuaJIT before April 2022, as Debian 12 has it, compiles next() on x64 to code that may
-- lose half of a pointer (its issue 829): there, loops use one that it cannot compile.
-- Later versions have a number in the place of "beta".
local raw_next = next
local next_pair = jit.arch == "x64" and jit.version:find "beta" and core.next or raw_next

-- LuaJIT's ipairs and pairs take tables only; a result is a userdata.
local raw_ipairs, raw_pairs, is_rows = ipairs, pairs, core.is_rows

local function next_row(rows, i)
  i = i + 1
  local row = rows[i]
  if row ~= nil then return i, row end
end

-- luacheck: push ignore 121 122
function ipairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  return raw_ipairs(value)
end

function pairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  local iterate, subject, first = raw_pairs(value)
  return iterate == raw_next and next_pair or iterate, subject, first
end

next = next_pair

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
