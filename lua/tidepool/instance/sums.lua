-- sums.lua - what workers told of themselves (see overview.instance()) as one instance.

local quantile = require "tidepool.quantile"

local sums = {}

-- ---- histograms

local function add_buckets(into, buckets)
  for i, bucket in ipairs(buckets) do
    into[i] = { le = bucket.le, count = (into[i] and into[i].count or 0) + bucket.count }
  end
end

local function add_histogram(into, histogram)
  into = into or { count = 0, max = 0, buckets = {} }
  into.count = into.count + histogram.count
  into.max = math.max(into.max, histogram.max)
  add_buckets(into.buckets, histogram.buckets)
  for name, q in pairs { p50 = 0.5, p90 = 0.9, p99 = 0.99 } do
    into[name] = into.count == 0 and 0
      or math.min(into.max, quantile(into.buckets, into.count, q))
  end
  return into
end

-- ---- all else

-- What is not the sum of what the workers have: the largest.
local LARGEST = { max = true, min = true, oldest_wait = true, uptime = true,
                  exhausted = true, down = true, paused = true, required = true,
                  generation = true }

local function larger(a, b)
  if type(b) == "boolean" then return a or b end
  return math.max(a or b, b)
end

-- Taken from the first that has it.
local FIRST = { settings = true, policy = true, policy_change = true }

local add

local function add_field(into, name, value)
  if FIRST[name] then
    if into[name] == nil then into[name] = value end
  elseif type(value) == "table" then
    into[name] = value.buckets and add_histogram(into[name], value)
      or add(into[name] or {}, value)
  elseif LARGEST[name] then
    into[name] = larger(into[name], value)
  elseif type(value) == "number" then
    into[name] = (into[name] or 0) + value
  elseif into[name] == nil or type(into[name]) == "userdata" then -- null
    into[name] = value
  end
end

function add(into, told)
  for name, value in pairs(told) do add_field(into, name, value) end
  return into
end

-- The instance.  all: array of what overview.instance() gave, in the order of workers.
function sums.instance(all)
  local result = {}
  for _, told in ipairs(all) do add(result, told) end
  for _, pool in pairs(result.pools or {}) do
    pool.wait_p99_ms = math.floor(pool.wait.p99 * 1e6 + 0.5) / 1e3
  end
  return result
end

return sums
