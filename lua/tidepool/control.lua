-- control.lua - what operators change while it runs, over HTTP on the admin listener:
-- the pools, and the script.

local core = require "tidepool.core"
local overview = require "tidepool.overview"
local reply = require "tidepool.reply"
local schema = require "tidepool.schema"

local JSON = { ["content-type"] = "application/json", ["cache-control"] = "no-store" }
local TEXT = { ["content-type"] = "text/plain; charset=utf-8",
               ["cache-control"] = "no-store" }
local SECTIONS = { postgres = "database.pool", redis = "redis.pool" }

local function answer(status, value) return status, JSON, core.encode(value) end

local function refuse(status, message, ...)
  return answer(status, { error = message:format(...) })
end

-- ---- the pools

local function describe(state, pool) return (overview.pool(pool, state.policy)) end

local function find(state, name)
  for _, pool in ipairs(state.pools) do
    if pool:name() == name then return pool end
  end
end

local function names_of(state)
  local names = {}
  for i, pool in ipairs(state.pools) do names[i] = pool:name() end
  return #names > 0 and table.concat(names, ", ") or "none"
end

-- ---- settings

-- The name of a pool's setting and the value in its own unit; or nil and a sentence.
local function read_setting(section, key, value)
  local entry = type(key) == "string" and schema.entries[section .. "." .. key]
  if not entry then
    local near = schema.nearest(tostring(key), schema.sections[section])
    return nil, ("unknown setting %s%s"):format(tostring(key),
      near and "; " .. near .. " is one" or "")
  end
  local result, expected = schema.read(entry, value)
  if result == nil then
    return nil, ("%s: %s expected, got %s"):format(key, expected, core.encode(value))
  end
  return entry.setting, result
end

-- Settings of a pool as JSON and TOML have them, in their own units; or nil and a
-- sentence.
local function read_settings(pool, wanted)
  local settings = {}
  for key, value in pairs(wanted) do
    local name, result = read_setting(SECTIONS[pool:kind()], key, value)
    if not name then return nil, result end
    if settings[name] ~= nil then return nil, key .. " is given under both its names" end
    settings[name] = result
  end
  return settings
end

local function read_body(pool, body)
  local wanted, err = reply.decode(body)
  if err then return nil, err.message end
  if type(wanted) ~= "table" or #wanted > 0 then
    return nil, "a JSON object of settings expected"
  end
  return read_settings(pool, wanted)
end

local function change(state, pool, request)
  local settings, failure = read_body(pool, request:body() or "")
  if not settings then return refuse(400, "%s", failure) end
  local ok, err = pool:set(settings)
  if not ok then return refuse(400, "%s", err.message) end
  core.log("info", "pool changed",
    { pool = pool:name(), settings = core.encode(settings) })
  return answer(200, describe(state, pool))
end

-- ---- pages

local function show(state, pool) return answer(200, describe(state, pool)) end

-- As `tidepool simulate --trace` reads it.
local function tell_events(_, pool) return 200, TEXT, core.dump_text(pool) end

local function action(name)
  return function(state, pool)
    pool[name](pool)
    core.log("info", "pool " .. name, { pool = pool:name() })
    return show(state, pool)
  end
end

-- What follows /pools/NAME -> method -> function(state, pool, request).
local POOL_PAGES = {
  [""] = { GET = show, PATCH = change }, events = { GET = tell_events },
  drain = { POST = action "drain" }, pause = { POST = action "pause" },
  resume = { POST = action "resume" },
}

local function list(state)
  local all = {}
  for _, pool in ipairs(state.pools) do all[pool:name()] = describe(state, pool) end
  return answer(200, { pools = all })
end

-- What a worker's master sends says which generation it is.
local function reload(state, request)
  local told = reply.decode(request:body() or "")
  local ok, message, is_busy =
    state.reload(type(told) == "table" and tonumber(told.generation) or nil)
  if ok then return answer(200, { status = "reloaded" }) end
  return refuse(is_busy and 409 or 500, "%s", message)
end

-- The functions of a pool's page, of any pool: also of one that there is not.
local function methods_of_pool(state, name, page)
  local pool, methods = find(state, name), {}
  for method, fn in pairs(page) do
    methods[method] = function(request)
      if pool then return fn(state, pool, request) end
      return refuse(404, "no pool %s; there are: %s", name, names_of(state))
    end
  end
  return methods
end

-- The functions of a path by method, or nil: no such page.
local function methods_of(state, path)
  if path == "/pools" then return { GET = function() return list(state) end } end
  if path == "/reload" then
    return { POST = function(request) return reload(state, request) end }
  end
  local name, page = path:match "^/pools/([^/]+)()"
  page = name and path:match("^/?([^/]*)$", page)
  if not page or not POOL_PAGES[page] then return nil end
  return methods_of_pool(state, name, POOL_PAGES[page])
end

local function allowed(methods)
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  if methods.GET then names[#names + 1] = "HEAD" end
  table.sort(names)
  return table.concat(names, ", ")
end

local control = {}

-- Does to a pool what was done to it in another process: sets settings, pauses it.
function control.apply(pool, wanted, is_paused)
  local settings, failure = read_settings(pool, wanted)
  if settings then
    local ok, err = pool:set(settings)
    failure = not ok and err.message
  end
  if failure then
    core.log("error", "pool cannot be changed as it was elsewhere",
      { pool = pool:name(), error = failure })
  end
  if is_paused then pool:pause() end
end

-- Gives a function that answers a request of core.listen, or gives nil when the path is
-- not one of these.  state: pools (an array), reload(number), which gives true, or nil,
-- a sentence and whether one is under way; policy, of policies.start.
-- Browsers send Origin with what a page of another site makes them send: not from there.
function control.new(state)
  return function(request)
    local methods = methods_of(state, request:path())
    if not methods then return nil end
    local method = request:method()
    local fn = methods[method] or (method == "HEAD" and methods.GET)
    if not fn then
      local headers = { allow = allowed(methods) }
      for name, value in pairs(JSON) do headers[name] = value end
      return 405, headers, core.encode { error = "method not allowed" }
    end
    if fn ~= methods.GET and request:headers().origin then
      return refuse(403, "this is not for web pages")
    end
    return fn(request)
  end
end

return control
