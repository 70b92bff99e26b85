-- simulate_words.lua - the words of `tidepool simulate`: read and checked.

local core = require "tidepool.core"
local schema = require "tidepool.schema"
local words = require "tidepool.command.words"

local function expected(name, text, value)
  return ('--%s: %s, found "%s"'):format(name, text, value)
end

local function take_load(self, value, name)
  self.phases = {}
  for rate, time in value:gmatch "([%d.]+)x([%w.]+)" do
    local seconds = schema.read({ kind = "time", min = 0.01, max = 1e6 }, time, true)
    if not tonumber(rate) or not seconds then break end
    table.insert(self.phases, { rate = tonumber(rate), seconds = seconds })
  end
  local rest = value:gsub("[%d.]+x[%w.]+", ""):gsub("[%s,]", "")
  if #self.phases == 0 or rest ~= "" then
    return expected(name, 'expected RATExTIME as in "100x20s 800x30s"', value)
  end
end

local function take_outage(self, value, name)
  local from, to = value:match "^([%d.]+)s?%-([%d.]+)s?$"
  from, to = tonumber(from), tonumber(to)
  if not (from and to and from < to) then
    return expected(name, 'expected FROM-TO in seconds as in "20-30"', value)
  end
  table.insert(self.outages, { from = from, to = to })
end

local function split(value)
  local key, rest = value:match "^([%w_]+)=(.+)$"
  if key then return key, rest end
end

-- Reads KEY=VALUE by the configuration's entry of that key in a section.  Returns key,
-- value and entry; or nil and what is wrong.
local function read_setting(name, text, section, what)
  local key, value = split(text)
  local entry = key and schema.entries[section .. key]
  if not entry then return nil, expected(name, "expected " .. what, text) end
  local result, wanted = schema.read(entry, value, true)
  if result == nil then
    return nil, expected(name, ("%s: expected %s"):format(key, wanted), text)
  end
  return key, result, entry
end

local function take_pool(self, value, name)
  local key, result, entry = read_setting(name, value, "database.pool.",
    "KEY=VALUE of a pool's settings")
  if not key then return result end
  self.settings[entry.setting] = result
end

local function take_rail(self, value, name)
  local key, result = read_setting(name, value, "policy.rails.", "SETTING=RAIL")
  if not key then return result end
  self.rails = self.rails or {}
  self.rails[key] = result
end

local function take_option(self, value, name)
  local key, text = split(value)
  if not key then return expected(name, "expected KEY=VALUE", value) end
  self.options = self.options or {}
  self.options[key] = schema.read({ kind = "option" }, text, true)
end

local SPEC = {
  options = {
    hosts = { kind = "count", min = 1, max = 100000 },
    service = { kind = "time", min = 1e-6, max = 3600 },
    connect = { kind = "time", min = 0, max = 3600 },
    cores = { kind = "count", min = 1, max = 10000 },
    ["server-max"] = { kind = "count", min = 1, max = 1e7 },
    seed = { kind = "count", min = 0, max = 2 ^ 53 },
    sample = { kind = "time", min = 0.01, max = 3600 },
    load = take_load, outage = take_outage, pool = take_pool, rail = take_rail,
    option = take_option,
    trace = words.text, ["trace-pool"] = words.text, out = words.text, html = words.text,
  },
}

-- Of a trace: its pool's settings and the cores that its server seems to have stand for
-- what is not said.  Gives what is wrong, or nil.
local function take_trace(self)
  local trace, err = core.trace(self.trace, self.trace_pool)
  if not trace then return ("--trace: %s: %s"):format(self.trace, err.message) end
  self.recorded, self.info = trace, trace:info()
  if self.info.demands == 0 then
    return ("--trace: %s: pool %s has no demands in it"):format(self.trace,
      self.info.pool)
  end
  for name, value in pairs(self.info.settings) do
    if self.settings[name] == nil then self.settings[name] = value end
  end
  self.cores = self.cores or self.info.cores
end

local simulate_words = {}

-- Reads the words.  Returns what they say, or nil and what is wrong.
function simulate_words.read(list)
  local self, wrong = words.read(SPEC, list, {
    outages = {}, settings = {}, hosts = 1, service = 0.01, connect = 0.005,
    server_max = 100, seed = 1, sample = 1,
  })
  if not self or self.wants_help then return self, wrong end
  if #self.operands == 0 then return nil, "a policy is missing" end
  if #self.operands > 2 then return nil, "one policy expected, or two" end
  if self.trace and self.phases then return nil, "--trace or --load, not both" end
  if self.trace_pool and not self.trace then return nil, "--trace-pool needs --trace" end
  wrong = self.trace and take_trace(self)
  if wrong then return nil, wrong end
  self.phases = self.phases or { { rate = 100, seconds = 60 } }
  self.cores = self.cores or 4
  return self
end

return simulate_words
