-- lua/README.md against the runtime, in both directions: functions, fields, codes,
-- events; its examples; and the types that are made of it.

local core = require "tidepool.core"
local events = require "tidepool.events"
local handlers = require "tidepool.handlers"
local sandbox = require "tidepool.sandbox"
local support = require "support"
local tide = require "tidepool"

local tool = sandbox.require_from "lua/manual"
local parse, write = tool "parse", tool "stubs"
local must = support.must

local PATH, STUBS = "lua/README.md", "lua/types/tidepool.lua"
local TEXT = must(core.read_file(PATH))
local MANUAL = parse(TEXT, PATH)

-- What the runtime itself calls has a name that begins with _ or raw_, but these.
local INTERNAL = {
  App = { body_rule = true, handle = true },
  Consumer = { stop = true }, ReplyStream = { open = true },
  Script = { use_verbs = true }, Subscription = { gap = true, push = true },
}

-- Types in C that no script gets: their methods.
local INTERNAL_TYPES = {
  "forget", -- of core.at_end
  "certificates", -- of core.tls_server
  "listen", -- of core.events
  "body stats stop wait", -- of core.load
  "add close stats", -- of core.recorder
  "info", -- of core.trace
  "park wake", -- of core.waiter
  "close", -- of core.terminal_open
  "claim close dead fd pools", -- of core.budget_new
  "address close fds leave", -- of core.sockets
  "append close reset", -- of core.journal
  "body cancel_when_gone ends_with_server headers id is_gone method path query remote "
    .. "trace",
}

local function sorted_keys(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return names
end

local function public_names(methods, internal)
  local names = {}
  for name, value in pairs(methods) do
    if type(name) == "string" and type(value) == "function" and not name:find "^_"
      and not name:find "^raw_" and not (internal and internal[name]) then
      names[name] = true
    end
  end
  return sorted_keys(names)
end

local function class_named(name)
  local class = MANUAL.by_name[name]
  if not class then error("the manual has no type " .. name, 2) end
  return class
end

local function documented_names(class)
  local names = {}
  for _, fn in ipairs(class.functions) do
    if fn.name then names[fn.name] = true end
  end
  return sorted_keys(names)
end

-- ---- one of each that scripts can meet

local function ask(fn)
  local app = tide.app()
  app:get("/a/:b", fn)
  return tide.request(app, "GET", "/a/1?c=2", { headers = { a = "b" } })
end

-- What a handler's function is given.
local function streamed(make)
  local writer
  ask(function()
    return make(function(given)
      writer = given
    end)
  end)
  return writer
end

local function index_of(value)
  local metatable = debug.getmetatable(value)
  return metatable[1] or type(metatable.__index) == "table" and metatable.__index
    or metatable
end

-- Of each type of the manual that has functions: the table of its methods.
local function live_types(db, cache)
  local request
  local response = ask(function(req)
    request = req
    return ""
  end)
  local consumer = must(cache:consume({ stream = "s", group = "g" }, print))
  local sub, handler = must(cache:subscribe("c", print)), tide.on("leak_suspected", print)
  local wb = must(tide.writebehind { db = db, table = "manual_live" })
  local queue = tide.queue { db = db, name = "manual_live" }
  local worker = queue:consume(print)
  local recorder -- has no metatable any more when it is done
  cache:pipeline(function(p) recorder = debug.getmetatable(p) end)
  local live = {
    Tide = tide, Postgres = core.postgres, PostgresLease = core.postgres_lease,
    Redis = core.redis, RedisLease = core.redis_lease, Task = core.task,
    Rows = index_of(must(db:query "SELECT 1")), Script = index_of(
      cache:script "return 1"), Subscription = index_of(sub),
    Consumer = index_of(consumer), EventHandler = index_of(handler),
    App = index_of(tide.app()), Request = index_of(request),
    Response = index_of(response), ReplyStream = index_of(streamed(tide.stream)),
    EventStream = index_of(streamed(tide.events)),
    Pipeline = recorder, Memo = index_of(tide.memo({}, print)),
    RateLimit = index_of(tide.ratelimit { rate = 1 }),
    Sessions = index_of(tide.session { redis = cache }),
    Leaderboard = index_of(tide.leaderboard { redis = cache, name = "b" }),
    WriteBehind = index_of(wb),
    Queue = index_of(queue), QueueConsumer = index_of(worker),
    HandlerCall = handlers.Call,
  }
  consumer:close()
  consumer:wait()
  sub:close()
  handler:close()
  wb:close()
  worker:close()
  worker:wait()
  return live
end

-- ---- running the examples

-- The manual as a program: examples at their lines, a block each but for the first.
local function program()
  local lines, opened = {}, 0
  local is_first, inside = true, false
  for line in TEXT:gmatch "(.-)\n" do
    if inside and line == "```" then
      lines[#lines + 1] = is_first and "" or "end"
      is_first, inside = false, false
    elseif line == "```lua" then
      inside, opened = true, opened + 1
      lines[#lines + 1] = is_first and "" or "do"
    else
      lines[#lines + 1] = inside and line or ""
    end
  end
  return table.concat(lines, "\n") .. "\n", opened
end

-- Notes in called what is called until the function that this gives is.
local function watch_calls(live, called)
  local undo = {}
  for type_name, methods in pairs(live) do
    for name, fn in pairs(methods) do
      local key = type_name .. "." .. tostring(name)
      local is_ours = name == "__call" or not tostring(name):find "^_"
      if is_ours and type(fn) == "function" then
        undo[#undo + 1] = { methods, name, fn }
        rawset(methods, name, function(...)
          called[key] = true
          return fn(...)
        end)
      end
    end
  end
  return function()
    for _, entry in ipairs(undo) do rawset(entry[1], entry[2], entry[3]) end
  end
end

local function set_pools(kinds)
  for kind, pools in pairs(kinds) do
    for name, pool in pairs(pools) do tide._set_pool(kind, name, pool) end
  end
end

local function pools_now()
  local kinds = {}
  for kind, pools in pairs(tide._pools()) do
    kinds[kind] = {}
    for name, pool in pairs(pools) do kinds[kind][name] = pool end
  end
  return kinds
end

describe("The manual", function()
  local db, cache, live, before, called

  setup(function()
    db, cache = support.postgres(), support.redis()
    cache:get "any command: one may have been called before"
    live, before, called = live_types(db, cache), pools_now(), {}
  end)

  teardown(function()
    for _, pools in pairs(tide._pools()) do
      for name in pairs(pools) do pools[name] = nil end
    end
    set_pools(before)
    support.given_back(cache)
  end)

  it("has every function, and none that is not there", function()
    for name, methods in pairs(live) do
      assert.are.same(public_names(methods, INTERNAL[name]),
        documented_names(class_named(name)), "functions of " .. name)
    end
    for _, class in ipairs(MANUAL.classes) do
      assert.is_true(#class.functions == 0 or live[class.name] ~= nil,
        "this test looks at no " .. class.name)
    end
  end)

  it("has every type in C that scripts can meet", function()
    local known = { [core.postgres_copy] = true, [core.postgres_listener] = true,
      [core.redis_pubsub] = true, [core.http_server] = true, [core.child] = true,
      [debug.getmetatable(io.stdout)] = true }
    for _, methods in pairs(live) do known[methods] = true end
    local unknown = {}
    for _, value in pairs(debug.getregistry()) do
      local methods = type(value) == "table" and rawget(value, "__metatable") == false
        and value[1]
      if methods and not known[methods] and #public_names(methods) > 0 then
        unknown[table.concat(public_names(methods), " ")] = true
      end
    end
    table.sort(INTERNAL_TYPES)
    assert.are.same(INTERNAL_TYPES, sorted_keys(unknown))
  end)

  it("has a list, and a text where there is something to say, for each", function()
    for _, chapter in ipairs(MANUAL.chapters) do
      for _, fn in ipairs(chapter.functions) do
        assert.is_true(fn.text ~= "" or #fn.returns > 0,
          ("%s:%d says not what it is for"):format(PATH, fn.line))
      end
    end
  end)

  it("has a table of contents with each function in its chapter", function()
    local contents = {}
    for title, names in TEXT:match "\n%* %[.-\n\n":gsub("\n  ", " ")
      :gmatch "%* %[([^%]]+)%]%([^)]*%):? ?([^\n]*)" do
      contents[title] = names
    end
    for _, chapter in ipairs(MANUAL.chapters) do
      local wanted, listed = {}, {}
      for _, fn in ipairs(chapter.functions) do
        if fn.name then wanted[fn.name] = true end
      end
      for name in (contents[chapter.title] or ""):gmatch "`([%w_]+)`" do
        listed[name] = true
      end
      assert.are.same(sorted_keys(wanted), sorted_keys(listed), chapter.title)
    end
  end)

  it("has no link that leads nowhere", function()
    local anchors = {}
    for _, chapter in ipairs(MANUAL.chapters) do
      local anchor = chapter.title:lower():gsub("[^%w ]", ""):gsub(" ", "-")
      anchors[anchor] = true
      assert.is_truthy(TEXT:find("](#" .. anchor .. ")", 1, true), "nothing leads to it")
    end
    local count = 0
    for anchor in TEXT:gmatch "%]%(#([^)]*)%)" do
      count = count + 1
      assert.is_true(anchors[anchor], "no part is #" .. anchor)
    end
    assert.is_true(count > #MANUAL.chapters)
  end)

  it("has examples that run, and call every function", function()
    set_pools {
      postgres = { main = db, reports = support.postgres({}, { name = "reports" }) },
      redis = { main = cache, sessions = support.redis({}, { name = "sessions" }) },
    }
    local text, count = program()
    assert.are.equal(#MANUAL.examples, count)
    local restore = watch_calls(live, called)
    local generation, err = sandbox.load(support.file("manual.lua", text))
    must(generation, err)
    -- As a host does, which the examples are not.
    assert.are.equal('{"total":6}', must(handlers.call(generation.env, "total",
      '{"price":2,"count":3}')))
    restore()
    local examples = {}
    for i, example in ipairs(MANUAL.examples) do examples[i] = example.text end
    local written = table.concat(examples)
    local by_line, missing = {}, {} -- the functions of a heading share their example
    for _, class in ipairs(MANUAL.classes) do
      for _, fn in ipairs(class.functions) do
        local key = ("%d: %s"):format(fn.line, fn.name or "the call")
        local is_called = called[class.name .. "." .. (fn.name or "__call")]
          and (not fn.name or written:find("[.:]" .. fn.name .. "%s*[({\"'%[]"))
        by_line[key] = by_line[key] or is_called ~= nil and is_called ~= false
      end
    end
    for key, is_called in pairs(by_line) do
      if not is_called then missing[key] = true end
    end
    assert.are.same({}, sorted_keys(missing))
  end)
end)

-- ---- fields

-- What value has and the type has not, or must have and the value has not.
local function differences(class, value, path, out)
  local known, list = {}, nil
  for _, field in ipairs(class.fields) do
    known[field.name] = field
    if field.name == "[integer]" then list = true end
    local must_be = not field.is_optional and not field.name:find "%["
    if must_be and value[field.name] == nil then
      out[path .. "." .. field.name .. " is not there"] = true
    end
  end
  for name, inner in pairs(value) do
    local field = known[name]
    if not field and not list then
      out[path .. "." .. tostring(name) .. " is not in the manual"] = true
    elseif field and type(inner) == "table" then
      local item = MANUAL.by_name[field.type:match "^(%u%w*)" or ""]
      if item and field.type:find "%[%]$" then
        if inner[1] then differences(item, inner[1], path .. "." .. name, out) end
      elseif item and item.fields then
        differences(item, inner, path .. "." .. name, out)
      end
    end
  end
  return out
end

local function assert_fields(name, value)
  assert.are.same({}, sorted_keys(differences(class_named(name), value, name, {})))
end

describe("The manual's fields", function()
  local db, cache

  setup(function() db, cache = support.postgres(), support.redis() end)

  after_each(function() support.given_back(cache) end)

  it("are those of settings", function()
    local settings = {}
    for _, setting in ipairs((core.pool_settings())) do settings[setting.name] = true end
    local documented = {}
    for _, field in ipairs(class_named "PoolSettings".fields) do
      documented[field.name] = true
    end
    assert.are.same(settings, documented)
    assert_fields("PoolSettings", db:settings())
  end)

  it("are those of stats", function()
    local sub = must(db:listen("c", print))
    local consumer = must(cache:consume({ stream = "s", group = "g" }, print))
    assert_fields("PoolStats", db:stats())
    assert_fields("PoolStats", cache:stats())
    local board = tide.leaderboard { redis = cache, name = "b" }
    assert_fields("LeaderboardStats", board:stats())
    must(board:score("ada", 1))
    assert_fields("Ranked", must(board:top())[1])
    local sessions = tide.session { redis = cache }
    assert_fields("SessionStats", sessions:stats())
    assert_fields("Session", select(2, must(sessions:open({}, "ada"))))
    assert_fields("SubscriptionStats", sub:stats())
    assert_fields("ConsumerStats", consumer:stats())
    local handler = tide.on("leak_suspected", print)
    assert_fields("EventHandlerStats", handler:stats())
    local memo = tide.memo({ redis = cache, name = "m" }, function() return 1 end)
    memo:get "a"
    assert_fields("MemoStats", memo:stats())
    assert_fields("RateLimitStats", tide.ratelimit({ rate = 1 }):stats())
    handler:close()
    consumer:close()
    consumer:wait()
    sub:close()
  end)

  it("are those of errs", function()
    local _, err = db:query "SELECT nothing"
    assert_fields("Err", err)
    local full = support.redis { max_connections = 1 }
    local let_go = support.hold(full)
    local _, late = full:acquire { timeout_ms = 1 }
    let_go()
    assert_fields("Err", late)
    assert.is_table(late.waited)
    local codes = {}
    for i, value in ipairs(class_named "ErrCode".values) do codes[i] = value.value end
    assert.are.same(core.err_codes(), codes)
    local app = tide.app()
    app:get("/:code", function(req) error(core.err(req.params.code, "a test's")) end)
    for _, code in ipairs(codes) do
      assert.are.equal(tonumber(TEXT:match("\n| `" .. code .. "` |[^\n]*: (%d+) |")),
        tide.request(app, "GET", "/" .. code).status, code)
    end
    for _, class in ipairs(MANUAL.classes) do
      for _, fn in ipairs(class.functions) do
        for _, code in ipairs(fn.errors or {}) do
          assert.is_true(TEXT:find("| `" .. code .. "` |", 1, true) ~= nil,
            ("%s:%d: no err has code %s"):format(PATH, fn.line, code))
        end
      end
    end
  end)

  it("are those of events", function()
    local names, wanted = {}, events.names()
    for i, value in ipairs(class_named "EventName".values) do names[i] = value.value end
    table.sort(names)
    table.sort(wanted)
    assert.are.same(wanted, names)
    local event
    local handler = tide.on("close", function(given) event = given end)
    must(db:one "SELECT 1")
    db:drain()
    support.eventually("it is told", function() return event end)
    handler:close()
    assert_fields("PoolEvent", event)
  end)

  it("are those of requests and responses", function()
    local request
    local response = ask(function(req)
      request = req
      return req.id and req.trace and ""
    end)
    for _, field in ipairs(class_named "Request".fields) do
      assert.is_not_nil(request[field.name], field.name)
    end
    request.raw = nil
    assert_fields("Request", request)
    assert_fields("Response", response)
  end)

  it("are those of what servers say", function()
    assert_fields("PostgresServer", must(db:server()))
    assert_fields("Tide", { version = tide.version, null = tide.null })
    local message, entry
    local sub = must(cache:psubscribe("c*", function(given) message = given end))
    local consumer = must(cache:consume({ stream = "s", group = "h" }, function(given)
      entry = given
    end))
    must(cache:publish("c1", "x"))
    must(cache:xadd("s", "*", "a", "b"))
    support.eventually("both came", function() return message and entry end)
    sub:close()
    consumer:close()
    consumer:wait()
    assert_fields("Message", message)
    assert_fields("Entry", entry)
  end)

  it("are commands that Redis has", function()
    local names = {}
    for _, command in ipairs(class_named "RedisCommands".commands) do
      names[#names + 1] = command.name
    end
    local told = must(cache:call("COMMAND", "INFO", unpack(names)))
    for i, name in ipairs(names) do
      assert.are.equal(name, told[i] ~= tide.null and told[i][1] or "none")
    end
    assert.is_true(#names > 30)
  end)
end)

describe("The types", function()
  local stubs = must(core.read_file(STUBS))

  it("are those that the manual gives now: make types", function()
    assert.is_true(stubs == write(MANUAL, "Tide"), STUBS .. " is old: make types")
  end)

  it("are Lua, and have every function that the manual has, and no other", function()
    local owners = {}
    for _, class in ipairs(MANUAL.classes) do
      if #class.functions > 0 then owners[#owners + 1] = class.name end
    end
    local list = {}
    for i, name in ipairs(owners) do list[i] = name .. " = " .. name end
    local text, count = stubs:gsub("\nreturn Tide\n$",
      "\nreturn { " .. table.concat(list, ", ") .. " }\n")
    assert.are.equal(1, count)
    local types = must(loadstring(text))()
    for _, name in ipairs(owners) do
      assert.are.same(documented_names(class_named(name)), public_names(types[name]),
        "functions of " .. name)
    end
    assert.is_function(must(loadstring(stubs))().sleep)
  end)

  it("name no type that they have not", function()
    local known = {}
    for name in stubs:gmatch "%-%-%-@class tidepool%.(%w+)" do known[name] = true end
    for name in stubs:gmatch "%-%-%-@alias tidepool%.(%w+)" do known[name] = true end
    local count = 0
    for name in stubs:gmatch "tidepool%.(%u%w*)" do
      count = count + 1
      assert.is_true(known[name], "there is no " .. name)
    end
    assert.is_true(count > 300)
  end)
end)

describe("The manual's form", function()
  local function refused(text, ...)
    local ok, message = pcall(parse, text:format(...), "m")
    assert.is_false(ok)
    return message
  end

  it("is checked: what is wrong is told with its line", function()
    local head = "## A\n### `db: Pool`\n### `db:f(a [, b])`\n\n* `a: any`\n"
    assert.is_table(parse(head .. "* `b?: any` - b\n", "m").by_name.Pool)
    assert.are.equal("m:3: parameter b is not described", refused(head))
    assert.are.equal("m:6: the heading has no parameter c", refused(head .. "* `c: any`"))
    assert.are.equal("m:6: b: brackets in the heading and ? here go together",
      refused(head .. "* `b: any`"))
    assert.are.equal("m:2: x: no type above has this name, as in ### `x: Type`",
      refused "## A\n### `x:f()`")
    assert.are.equal("m:3: a list of arguments and results expected below this",
      refused "## A\n### `x: X`\n### `x:f()`\n\nText.\n")
    assert.matches("^m:2: type Err is described twice",
      refused "### `e: Err`\n### `f: Err`")
    local manual = parse("## A\n### `x: X`\n\n* `a: Y` - b\n", "m")
    local ok, message = pcall(write, manual, "X")
    assert.is_false(ok)
    assert.are.equal("m:4: there is no type Y", message)
  end)
end)
