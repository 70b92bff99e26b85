-- prepare.lua - completes what C has made for a Lua state: JSON, the methods of pools.

local core = require "tidepool.core"
local cjson = require "cjson"
local result = require "tidepool.result"

core.null = cjson.null
core.decode_with(cjson.decode)

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
