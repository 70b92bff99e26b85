-- start.lua - prepares a new Lua state: yields through coroutines, iteration of
-- rows, JSON, the methods of pools.

local core = require "tidepool.core"
local cjson = require "cjson"

cjson.encode_sparse_array(true, 1, 64)
core.null = cjson.null
core.json_functions(cjson.encode, cjson.decode)

require "tidepool.coroutine"
require "tidepool.pg"
require "tidepool.redis"

-- LuaJIT's ipairs and pairs take tables only; a result is a userdata.
local raw_ipairs, raw_pairs, is_rows = ipairs, pairs, core.is_rows

local function next_row(rows, i)
  i = i + 1
  local row = rows[i]
  if row ~= nil then return i, row end
end

-- luacheck: push ignore 121
function ipairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  return raw_ipairs(value)
end

function pairs(value)
  if type(value) == "userdata" and is_rows(value) then return next_row, value, 0 end
  return raw_pairs(value)
end
-- luacheck: pop
