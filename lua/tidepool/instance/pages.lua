-- pages.lua - what an instance answers over HTTP for all its workers: to the admin
-- listener, to its workers (which pass health and metrics on), and what workers tell.

local access = require "tidepool.access"
local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local metrics_sums = require "tidepool.instance.metrics_sums"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"
local sums = require "tidepool.instance.sums"

local JSON = { ["content-type"] = "application/json", ["cache-control"] = "no-store" }
local TEXT = { ["content-type"] = "text/plain; charset=utf-8",
               ["cache-control"] = "no-store" }
local METRICS = { ["content-type"] = metrics.TYPE, ["cache-control"] = "no-store" }
local CHANGE_SECONDS = 60 -- for a worker to load a script, say: more than it takes itself

local Pages = {}
Pages.__index = Pages

local function answer(status, value) return status, JSON, core.encode(value) end

-- What fn gives of each worker, all asked at the same time, in their order.
local function of_each(workers, fn)
  local tasks, results = {}, {}
  for i, one in ipairs(workers) do tasks[i] = core.spawn(fn, one) end
  for i, task in ipairs(tasks) do
    local _, value = of(task:wait())
    results[i] = value
  end
  return results
end

-- ---- what all workers are together

-- The sum of all that serve, and how many do.
function Pages:gather()
  local told = {}
  local serving = self.master:serving()
  for i, one in ipairs(of_each(serving, function(one) return one:overview() or {} end)) do
    if serving[i].told then told[#told + 1] = one end
  end
  local result = sums.instance(told)
  result.pid, result.uptime = core.pid(), core.now() - self.master.began
  result.version, result.pools = core.version, result.pools or {}
  return result, #told
end

function Pages:describe_workers()
  local list = {}
  for number = 1, self.master.count do
    local slot = self.master.slots[number]
    local current = slot.current
    list[number] = {
      number = number, pid = current and current.pid or core.null,
      serves = current ~= nil and current.is_ready or false, crashes = slot.crashes,
      restarts = slot.restarts, last_end = slot.last_end or core.null,
      uptime = current and core.now() - current.began or 0,
      generation = current and current.told and current.told.script
        and current.told.script.generation or core.null,
    }
  end
  return list
end

-- As admin.lua has it for one process: degraded is also an instance of which a worker is
-- away; ready one of which any worker is.
function Pages:health()
  local instance, count = self:gather()
  local status, is_ready = "ok", count > 0
  for _, pool in pairs(instance.pools) do
    if pool.down or pool.paused then
      status = "degraded"
      is_ready = is_ready and not pool.required
    end
  end
  if count < self.master.count then status = "degraded" end
  if self.master.stopping or count == 0 then status, is_ready = "down", false end
  instance.status, instance.workers = status, self:describe_workers()
  return instance, is_ready
end

-- What /health says of a pool, of what /health/pools does.
local HEALTH = { "kind", "max", "min", "open", "idle", "leased", "shared", "opening",
                 "waiting", "timeouts", "wait_p99_ms", "down", "paused", "last_error",
                 "required" }

local function short(pool)
  local result = {}
  for _, name in ipairs(HEALTH) do result[name] = pool[name] end
  return result
end

local function without_buckets(pool)
  for _, value in pairs(pool) do
    if type(value) == "table" then value.buckets = nil end
  end
  return pool
end

local VIEWS = {}

VIEWS["/health"] = function(self)
  local instance = self:health()
  local pools = {}
  for name, pool in pairs(instance.pools) do pools[name] = short(pool) end
  return answer(instance.status == "down" and 503 or 200, { status = instance.status,
    version = instance.version, pools = pools, workers = instance.workers,
    script = instance.script })
end

-- For who asks within this process.
function Pages:health_page() return (select(3, VIEWS["/health"](self))) end

VIEWS["/health/live"] = function() return answer(200, { status = "ok" }) end

VIEWS["/health/ready"] = function(self)
  local instance, is_ready = self:health()
  return answer(is_ready and 200 or 503, { status = instance.status })
end

VIEWS["/health/pools"] = function(self) return answer(200, (self:health())) end

VIEWS["/pools"] = function(self)
  local instance = self:gather()
  for _, pool in pairs(instance.pools) do without_buckets(pool) end
  return answer(200, { pools = instance.pools })
end

-- ---- metrics

local function labelled(number) return { "worker", tostring(number) } end

local PER_WORKER = {
  { "tidepool_worker_requests_total", "counter", "Requests of each worker.",
    "tidepool_http_requests_total" },
  { "tidepool_worker_connections_total", "counter", "Connections of each worker.",
    "tidepool_http_connections_total" },
  { "tidepool_worker_lua_memory_bytes", "gauge", "Lua heap of each worker.",
    "tidepool_lua_memory_bytes" },
}

local PER_SLOT = {
  { "tidepool_worker_up", "gauge", "1 while the worker serves.",
    function(slot) return slot.current and slot.current.is_ready and 1 or 0 end },
  { "tidepool_worker_crashes_total", "counter", "Times that it ended by itself.",
    function(slot) return slot.crashes end },
  { "tidepool_worker_restarts_total", "counter", "Times that it was started again.",
    function(slot) return slot.restarts end },
}

-- What only the master knows, and what is worth to be known of each worker.
function Pages:own_metrics(serving)
  local out = metrics.writer()
  for _, entry in ipairs(PER_SLOT) do
    out:family(entry[1], entry[2], entry[3])
    for number, slot in ipairs(self.master.slots) do
      out:sample(entry[1], labelled(number), entry[4](slot))
    end
  end
  for _, entry in ipairs(PER_WORKER) do
    out:family(entry[1], entry[2], entry[3])
    for _, one in ipairs(serving) do
      local value = metrics_sums.value(one.families, entry[4])
      if value then out:sample(entry[1], labelled(one.number), value) end
    end
  end
  if self.access then
    out:family("tidepool_admin_refused_total", "counter",
      "Requests to the admin listener without its token.")
    out:sample("tidepool_admin_refused_total", {}, self.access.refused)
  end
  return table.concat(out)
end

VIEWS["/metrics"] = function(self)
  local serving = self.master:serving()
  local pages = of_each(serving, function(one) return one:metrics() end)
  table.insert(pages, self.ended)
  table.insert(pages, metrics_sums.read(self:own_metrics(serving)))
  return 200, METRICS, metrics_sums.write(metrics_sums.sum(pages))
end

-- A worker has ended: what it counted stays.
function Pages:keep(one)
  self.ended = metrics_sums.sum { self.ended, metrics_sums.lasting(one.families) }
end

-- ---- what is passed on

local function options_of(request)
  local headers = { { "Content-Type", "application/json" } }
  local origin = request:headers().origin
  if origin then headers[2] = { "Origin", origin } end
  return { method = request:method(), headers = headers, body = request:body(),
           patience = CHANGE_SECONDS }
end

local function passed(status, body)
  if not status then
    return answer(503, { error = "a worker does not answer: " .. body })
  end
  local is_json = body:find "^[%[{]" ~= nil
  return status, is_json and JSON or TEXT, body
end

-- To one worker, and where that has done it to the others: what one refuses none does.
-- Gives what the first said; and of the last of the others that did not do it what it is
-- and said, or nil.
function Pages:pass_on(path, options)
  local workers = self.master:serving()
  if #workers == 0 then return 503, '{"error":"no worker serves"}' end
  local status, body = workers[1]:ask(path, options)
  if not status or status >= 300 then return status, body end
  table.remove(workers, 1)
  local odd
  for i, answered in ipairs(of_each(workers, function(one)
    return { one:ask(path, options) }
  end)) do
    if answered[1] ~= status then
      odd = { number = workers[i].number, status = answered[1], body = answered[2] }
      core.log("error", "a worker did not do as the others did", { path = path,
        worker = odd.number, status = odd.status, error = odd.body })
    end
  end
  return status, body, odd
end

-- To all at the same time, whatever they answer.
function Pages:tell_all(path, options)
  of_each(self.master:serving(), function(one) one:ask(path, options) end)
end

-- ---- reload

local function load_in_all(self, options)
  options.body = core.encode { generation = self.master.generation + 1 }
  local status, body, odd = self:pass_on("/reload", options)
  if status ~= 200 then return passed(status, body) end
  self.master.generation = self.master.generation + 1
  if not odd then return passed(status, body) end
  return answer(500, { error = ("worker %d did not load it, the first did: %s")
    :format(odd.number, odd.body) })
end

-- Loads the script anew in all workers.
function Pages:reload(options)
  if self.is_reloading then return answer(409, { error = "a reload is under way" }) end
  self.is_reloading = true
  local done, status, headers, body = pcall(load_in_all, self, options)
  self.is_reloading = false
  if not done then error(status, 0) end
  if self.is_due then core.spawn(self.ask_reload, self) end
  return status, headers, body
end

-- The same for who waits for no answer: while one is under way it comes after that,
-- which may have read the files too soon.
function Pages:ask_reload()
  self.is_due = self.is_reloading
  if not self.is_due then
    self:reload { method = "POST", patience = CHANGE_SECONDS }
  end
end

local KEPT = { pause = true, resume = false }

-- What workers that start later have to know: settings of a pool, whether it is paused.
function Pages:remember(name, page, body)
  local change = self.master.changes[name] or { settings = {} }
  self.master.changes[name] = change
  if page == "" then
    for key, value in pairs(reply.decode(body) or {}) do change.settings[key] = value end
  elseif KEPT[page] ~= nil then
    change.paused = KEPT[page]
  end
end

-- Those of /pools/NAME: what changes goes to all workers, and the answer is of the sum.
function Pages:pool_page(request, name, page)
  local method = request:method()
  if method == "GET" or method == "HEAD" then
    if page == "" then
      local pool = self:gather().pools[name]
      if pool then return answer(200, without_buckets(pool)) end
    elseif page == "events" then
      return self:events(request:path())
    end
  end
  local status, body = self:pass_on(request:path(), options_of(request))
  if status ~= 200 then return passed(status, body) end
  self:remember(name, page, request:body())
  local pool = self:gather().pools[name]
  if not pool then return passed(status, body) end
  return answer(200, without_buckets(pool))
end

-- One text behind the other, which is how traces are read.
function Pages:events(path)
  local texts, failed = {}, nil
  for _, answered in ipairs(of_each(self.master:serving(), function(one)
    return { one:ask(path) }
  end)) do
    if answered[1] == 200 then
      texts[#texts + 1] = answered[2]
    else
      failed = answered
    end
  end
  if #texts == 0 and failed then return passed(failed[1], failed[2]) end
  return 200, TEXT, table.concat(texts)
end

-- ---- what workers tell

local TOLD = {}

function TOLD.ready(self, one, told) self.master:on_ready(one, told.address) end
function TOLD.suspect(self, one, told) self.master:on_suspect(one, told.reason) end

TOLD["end"] = function(_, one, told)
  one.families = metrics_sums.read(told.metrics)
end

-- The policy of one worker has changed what is the instance's.
function TOLD.settings(self, one, told)
  local body = core.encode(told.settings)
  self:remember(told.pool, "", body)
  of_each(self.master:serving(), function(other)
    if other == one then return end
    other:ask("/pools/" .. told.pool, { method = "PATCH", body = body })
  end)
end

local function hear(self, number, what, request)
  local told = reply.decode(request:body() or "")
  local one = told and self.master:find(number, told.pid) or self.master.slots[number]
    and self.master.slots[number].current
  local fn = TOLD[what]
  if not one or not fn then return answer(404, { error = "no such worker" }) end
  fn(self, one, told)
  return answer(200, { status = "ok" })
end

-- ---- handlers

local function view(self, request)
  local path = request:path()
  local fn, method = VIEWS[path], request:method()
  if fn then
    if method == "GET" or method == "HEAD" then return fn(self) end
    return 405, { allow = "GET, HEAD" }, "method not allowed\n"
  end
  local name, page = path:match "^/pools/([^/]+)/?([^/]*)$"
  if name then return self:pool_page(request, name, page) end
  if path == "/reload" and method == "POST" then
    return self:reload(options_of(request))
  end
  local status, body = self:pass_on(path, options_of(request))
  return passed(status, body)
end

-- Of the admin listener.
function Pages:admin_handler()
  self.access = access.new(self.master.settings.server)
  return function(request)
    local status, headers, body = self.access:refuse(request)
    if status then return status, headers, body end
    return view(self, request)
  end
end

-- Of the socket in the instance's directory, which only its processes reach.
function Pages:control_handler()
  return function(request)
    local number, what = request:path():match "^/workers/(%d+)/(%l+)$"
    if number then return hear(self, tonumber(number), what, request) end
    if request:path() == "/retire" then
      self.master:retire() -- before it is answered: then the other one is the main one
      return answer(200, { status = "ok" })
    end
    if request:path() == "/changes" then return answer(200, self.master.changes) end
    return view(self, request)
  end
end

local pages = {}

function pages.new(master)
  return setmetatable({ master = master, ended = {} }, Pages)
end

return pages
