-- lua/README.md against what there is: names of functions, every code, every example.

local core = require "tidepool.core"
local sandbox = require "tidepool.sandbox"
local support = require "support"
local tide = require "tidepool"

local must = support.must

local MANUAL = must(core.read_file "lua/README.md")

-- What the runtime itself calls has a name that begins with _ or raw_, but this.
local INTERNAL = { handle = true } -- of an app: listen() calls it

local function is_public(name, value)
  return type(name) == "string" and not name:find "^_" and not name:find "^raw"
    and not INTERNAL[name] and type(value) == "function"
end

local function methods_of(methods)
  local names = {}
  for name, value in pairs(methods) do
    if is_public(name, value) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function is_mentioned(name)
  return MANUAL:find("[`:.%s]" .. name .. "[`({%s,]") ~= nil
end

local function missing(methods)
  local names = {}
  for _, name in ipairs(methods_of(methods)) do
    if not is_mentioned(name) then names[#names + 1] = name end
  end
  return names
end

describe("The manual", function()
  local db, cache, before

  setup(function()
    db, cache = support.postgres(), support.redis()
    before = { postgres = tide._pools().postgres.main, redis = tide._pools().redis.main }
    tide._set_pool("postgres", "main", db)
    tide._set_pool("redis", "main", cache)
  end)

  teardown(function()
    tide._set_pool("postgres", "main", before.postgres)
    tide._set_pool("redis", "main", before.redis)
  end)

  it("has every function", function()
    for what, methods in pairs {
      tide = tide, ["a Postgres pool"] = core.postgres,
      ["a Postgres lease"] = core.postgres_lease, ["a task"] = core.task,
      ["an app"] = getmetatable(tide.app()), ["a Redis lease"] = core.redis_lease,
    } do
      assert.are.same({}, missing(methods), "of " .. what)
    end
  end)

  it("has no function that is not there", function()
    local app = tide.app()
    local known = {
      tide = tide, app = getmetatable(app), db = core.postgres, tx = core.postgres_lease,
      conn = core.postgres_lease, cache = core.redis, task = core.task,
    }
    local count = 0
    for object, name in MANUAL:gmatch "%f[%w](%l+)[:.]([%l_]+)[({]" do
      if known[object] then
        count = count + 1
        assert.is_truthy(known[object][name], object .. " has no " .. name)
      end
    end
    assert.is_true(count > 60, "it found " .. count)
  end)

  it("has every code of an err, with its sentence's meaning", function()
    local codes = {}
    for code in MANUAL:gmatch "\n| `(%l+)` | [^\n]*" do codes[#codes + 1] = code end
    assert.are.same(core.err_codes(), codes)
  end)

  it("has examples that run", function()
    local parts = {}
    for code in MANUAL:gmatch "```lua\n(.-)```" do parts[#parts + 1] = "do\n" .. code end
    assert.is_true(#parts >= 6)
    parts[1] = parts[1]:gsub("^do\n", "")
    local text = parts[1] .. table.concat(parts, "end\n", 2) .. "end\n"
    must(sandbox.load(support.file("manual.lua", text)))
  end)
end)
