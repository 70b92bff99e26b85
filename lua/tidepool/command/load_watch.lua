-- load_watch.lua - what a load test sees of the other side: the pools, by the instance's
-- /metrics, and the CPU of a Postgres on this machine.

local fetch = require "tidepool.command.fetch"
local postgres_cpu = require "tidepool.command.postgres_cpu"
local url = require "tidepool.url"

-- ---- pools

local Watch = {}
Watch.__index = Watch

local function label(labels, name) return labels:match(name .. '="([^"]*)"') end

local function pool_of(pools, labels)
  local name = label(labels, "pool_name")
  if not name then return {} end
  pools[name] = pools[name] or { in_use = 0, waiting = 0, timeouts = 0, errors = {} }
  return pools[name]
end

local FAMILIES = {
  db_client_connection_count = function(pool, value, labels)
    local state = label(labels, "state")
    if state == "leased" or state == "shared" then pool.in_use = pool.in_use + value end
  end,
  db_client_connection_pending_requests = function(pool, value) pool.waiting = value end,
  db_client_connection_timeouts_total = function(pool, value) pool.timeouts = value end,
  tidepool_pool_errors_total = function(pool, value, labels)
    pool.errors[label(labels, "code") or "?"] = value
  end,
}

-- Each pool that a page of metrics tells of.
local function pools_of(page)
  local pools = {}
  for name, labels, value in page:gmatch "([%w_]+){([^}\n]*)} ([^%s]+)" do
    local take = FAMILIES[name]
    if take then take(pool_of(pools, labels), tonumber(value) or 0, labels) end
  end
  return pools
end

local function keep_peaks(self, pools)
  local sum = 0
  for name, pool in pairs(pools) do
    local peak = self.peaks[name] or { in_use = 0, waiting = 0 }
    self.peaks[name] = peak
    peak.in_use = math.max(peak.in_use, pool.in_use)
    peak.waiting = math.max(peak.waiting, pool.waiting)
    sum = sum + pool.in_use
  end
  self.peak_in_use = math.max(self.peak_in_use, sum)
end

-- Looks once; gives false when there is nothing to see.
function Watch:look()
  local page, why = fetch(self.target, "/metrics")
  if not page then
    self.why = self.why or why
    return false
  end
  self.last = pools_of(page)
  self.first = self.first or self.last
  keep_peaks(self, self.last)
  return true
end

local function errors_between(first, last)
  local errors = {}
  for code, count in pairs(last.errors) do
    local more = count - (first and first.errors[code] or 0)
    if more > 0 then errors[code] = more end
  end
  return errors
end

-- What the pools did in so many seconds; or nil and why it is not known.
function Watch:pools(seconds)
  if not self.last or not next(self.last) then
    return nil, self.why or "the page tells of no pools"
  end
  local sum, found = 0, {}
  for name, last in pairs(self.last) do
    local first = self.first[name]
    local timeouts = math.max(0, last.timeouts - (first and first.timeouts or 0))
    sum = sum + timeouts
    found[name] = {
      peak_in_use = self.peaks[name].in_use, peak_waiting = self.peaks[name].waiting,
      timeouts = timeouts, errors = errors_between(first, last),
    }
  end
  return { pools = found, peak_in_use = self.peak_in_use, timeouts = sum,
           timeouts_per_minute = seconds > 0 and sum * 60 / seconds or 0 }
end

-- ---- the database's CPU

local function is_here(target)
  return target.unix_path or url.is_loopback(target.host)
end

function Watch:begin_cpu(target, postmaster)
  if not postmaster then
    if not is_here(target) then
      self.cpu_why = "the server is not on this machine"
      return
    end
    postmaster, self.cpu_why = postgres_cpu.find_postmaster()
  end
  if postmaster then self.usage, self.cpu_why = postgres_cpu.begin(postmaster) end
end

-- In percent of one core since the beginning; or nil and why it is not known.
function Watch:cpu()
  if not self.usage then return nil, self.cpu_why end
  return self.usage:percent()
end

local watch = { _pools_of = pools_of }

-- Begins to watch what words, of load_words.read(), name.
function watch.new(words)
  local target = words.admin or words.target
  local self = setmetatable({ target = target, peaks = {}, peak_in_use = 0 }, Watch)
  self:look()
  self:begin_cpu(words.target, words.postgres_pid)
  return self
end

return watch
