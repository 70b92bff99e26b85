-- tide.writebehind: what is stored, when, and what becomes of it when something fails.

local core = require "tidepool.core"
local metrics = require "tidepool.metrics"
local sandbox = require "tidepool.sandbox"
local servers = require "tidepool.servers"
local standing = require "tidepool.standing"
local support = require "support"
local tide = require "tidepool"
local writebehind = require "tidepool.writebehind"

local at_end, eventually, must = support.at_end, support.eventually, support.must

local LONG = 1000 -- seconds: only what asks for it is stored

describe("A write-behind", function()
  local db
  local number = 0

  setup(function() db = support.postgres { max_connections = 4 } end)
  after_each(support.run_ends)

  local function new_table()
    number = number + 1
    return "kept" .. number
  end

  -- One that ends with the test.
  local function open(opts)
    opts.db = opts.db or db
    if not opts.store then opts.table = opts.table or new_table() end
    opts.flush = opts.flush or LONG
    local wb = must(tide.writebehind(opts))
    if opts.table then must(wb:create()) end
    at_end(function() wb:close() end)
    return wb, opts.table
  end

  local function row(name, key)
    return must(db:query("SELECT value::text AS value, version::text AS version FROM "
      .. name .. " WHERE key = $1", key))[1]
  end

  local function directory()
    number = number + 1
    local path = support.directory .. "/writebehind" .. number
    must(core.mkdir(path))
    return path
  end

  it("gives what was put at once, and stores it a little later", function()
    local wb, name = open { flush = 0.02 }
    assert.is_nil(wb:get "a")
    assert.is_true(wb:put("a", { gold = 1, items = { "x" } }))
    assert.same({ gold = 1, items = { "x" } }, wb:get "a")
    assert.are.equal(1, wb:stats().dirty)
    eventually("it is stored", function() return row(name, "a") end)
    eventually("nothing is dirty", function() return wb:stats().dirty == 0 end)
    assert.same({ gold = 1, items = { "x" } }, wb:get "a")
    assert.are.equal(0, wb:stats().oldest_dirty)
  end)

  it("stores the latest of a key's versions, in one statement with others", function()
    local wb, name = open {}
    for i = 1, 50 do
      for key = 1, 20 do must(wb:put(key, { n = i })) end
    end
    assert.are.equal(20, wb:stats().dirty)
    assert.is_true(wb:flush())
    assert.are.equal(20, wb:stats().stored)
    assert.are.equal('{"n": 50}', row(name, "7").value)
  end)

  it("keeps what was put, not what the table becomes", function()
    local wb, name = open {}
    local value = { n = 1 }
    must(wb:put("a", value))
    value.n = 2
    assert.are.equal(1, wb:get("a").n)
    must(wb:flush "a")
    assert.are.equal('{"n": 1}', row(name, "a").value)
  end)

  it("never stores over a newer version, and says so", function()
    local wb, name = open {}
    must(wb:put("a", "mine"))
    must(db:exec("INSERT INTO " .. name
      .. " VALUES ('a', '\"newer\"', 9007199254740991)"))
    assert.is_true(wb:flush())
    assert.are.equal('"newer"', row(name, "a").value)
    assert.are.equal(1, wb:stats().superseded)
    assert.are.equal("newer", wb:get "a")
  end)

  it("stores what is put after a load above what was loaded", function()
    local wb, name = open {}
    must(db:exec("INSERT INTO " .. name .. " VALUES ('a', '1', 9000000000000000)"))
    assert.are.equal(1, wb:get "a")
    must(wb:put("a", 2))
    must(wb:flush())
    assert.same({ value = "2", version = "9000000000000001" }, row(name, "a"))
  end)

  it("gives what is put while it loads", function()
    local wb, name = open {}
    must(db:exec("INSERT INTO " .. name .. " VALUES ('a', '1', 1)"))
    wb:get "b"
    local release = support.hold_lock(db, name)
    local task = tide.spawn(function() return wb:get "a" end)
    eventually("it waits", function()
      return support.running(db, "%t.value::text%") == 1
    end)
    must(wb:put("a", 2))
    release()
    assert.same({ true, 2 }, { task:wait() })
  end)

  it("stores a group in one transaction, or none of it", function()
    local wb, name = open {}
    must(wb:put_all { a = 1, b = 1 })
    must(db:exec("INSERT INTO " .. name .. " VALUES ('b', '9', 9007199254740991)"))
    must(wb:put("c", 1))
    must(wb:flush())
    assert.is_nil(row(name, "a"))
    assert.are.equal("9", row(name, "b").value)
    assert.are.equal("1", row(name, "c").value)
    assert.are.equal(2, wb:stats().superseded)
  end)

  it("splits no group where there are more rows than a statement has", function()
    local wb, name = open {}
    for i = 1, 600 do must(wb:put_all { ["a" .. i] = i, ["z" .. i] = i }) end
    must(wb:put_all { z1 = 0, a2 = 0 })
    must(wb:flush())
    local counted = must(db:one(([[SELECT count(*)::int AS pairs,
        count(DISTINCT a.xmin::text)::int AS transactions,
        count(*) FILTER (WHERE a.xmin <> z.xmin)::int AS split
      FROM %s AS a JOIN %s AS z ON z.key = 'z' || substr(a.key, 2)
      WHERE a.key LIKE 'a%%']]):format(name, name)))
    assert.are.equal(600, counted.pairs)
    assert.is_true(counted.transactions > 1)
    assert.are.equal(0, counted.split)
  end)

  it("stores what others' data hinder not, and keeps the rest", function()
    local wb, name = open {}
    must(db:exec("ALTER TABLE " .. name .. " ADD CHECK (value <> '13')"))
    for key = 1, 20 do must(wb:put(key, key)) end
    must(wb:put_all { [13] = 13, [5] = 55 })
    local done, err = wb:flush()
    assert.is_nil(done)
    assert.are.equal("23514", err.sqlstate)
    assert.are.equal(2, wb:stats().dirty)
    assert.are.equal("20", row(name, "20").value)
    assert.is_nil(row(name, "5"))
    assert.is_true(wb:flush(20))
    assert.is_nil((wb:flush(5)))
    must(wb:put(13, 14))
    assert.is_true(wb:flush())
    assert.are.equal("55", row(name, "5").value)
  end)

  it("is bounded: max_dirty, max_age", function()
    local wb = open { max_dirty = 2, max_age = 0.05 }
    must(wb:put("a", 1))
    must(wb:put("b", 1))
    local done, err = wb:put("c", 1)
    assert.is_nil(done)
    assert.are.equal("busy", err.code)
    assert.is_true(err.retryable)
    assert.is_nil((wb:put_all { a = 2, c = 2 }))
    assert.are.equal(1, wb:get "a")
    assert.is_true(wb:put("a", 3))
    tide.sleep(0.1)
    done, err = wb:put("a", 4)
    assert.is_nil(done)
    assert.truthy(tostring(err):find("of max_age 0.05 s", 1, true))
    assert.is_true(wb:stats().loss_window >= 0.05)
    assert.are.equal(3, wb:stats().refused)
    must(wb:flush())
    assert.is_true(wb:put("a", 4))
  end)

  it("stores by the script's own functions", function()
    local stored, is_broken = {}, true
    local wb = open {
      name = "own",
      store = function(tx, changes)
        assert(tx:exec "SELECT 1")
        if is_broken then error "not yet" end
        for _, change in ipairs(changes) do stored[change.key] = change end
      end,
      load = function(key)
        if key == "bad" then return nil, core.err("server", "no such thing") end
        if stored[key] then return stored[key].value, stored[key].version end
      end,
    }
    assert.is_nil(wb:get "a")
    assert.are.equal("no such thing", select(2, wb:get "bad").message)
    must(wb:put("a", { 1 }))
    local done, err = wb:flush()
    assert.is_nil(done)
    assert.truthy(err.message:find("not yet", 1, true))
    is_broken = false
    must(wb:flush())
    assert.same({ 1 }, stored.a.value)
    assert.same({ 1 }, wb:get "a")
  end)

  it("waits while the server is away, and has lost nothing when it is back", function()
    local own = must(servers.postgres { directory = support.directory .. "/wb-away" })
    at_end(function() own:stop() end)
    local pool = support.postgres({ acquire_timeout = 1 },
      { url = own.url, raw_url = true })
    local wb = open { db = pool, flush = 0.02 }
    must(wb:put("a", 1))
    must(wb:flush())
    own:kill()
    must(wb:put_all { a = 2, b = 2 })
    eventually("it fails", function() return wb:stats().failures > 1 end)
    local done, err = wb:drain(0.05)
    assert.is_nil(done)
    assert.truthy(err.message:find("2 changes are not stored", 1, true))
    assert.are.equal(2, wb:get "a")
    assert.is_true(wb:stats().oldest_dirty > 0)
    must(own:restart())
    assert.is_true(wb:drain(30))
    assert.is_nil(wb:stats().last_error)
    assert.are.equal(2, must(pool:one("SELECT count(*)::int AS n FROM kept" .. number
      .. " WHERE value = '2'")).n)
    wb:close()
    pool:close(1)
  end)

  describe("with a log", function()
    -- As a process that ended suddenly has left them.
    local function leave(path, text)
      local file = must(io.open(path .. ".1.1", "w"))
      file:write(text)
      file:close()
    end

    it("has what is put there soon, and nothing once it is stored", function()
      local path = directory()
      local wb = open { log = path .. "/log", flush = 0.02 }
      must(db:exec("DROP TABLE kept" .. number))
      must(wb:put("a", 1))
      eventually("it is logged", function() return wb:stats().log_bytes > 0 end)
      eventually("nothing is at risk", function() return wb:stats().loss_window == 0 end)
      assert.is_true(wb:stats().oldest_dirty > 0)
      must(wb:create())
      eventually("it is stored", function() return wb:stats().dirty == 0 end)
      assert.are.equal(0, wb:stats().log_bytes)
      wb:close()
      eventually("it is gone", function() return #must(core.list_dir(path)) == 0 end)
    end)

    -- What fn gives that runs while nothing can be stored.
    local function while_locked(name, fn)
      return must(db:transaction(function(tx)
        must(tx:exec("LOCK TABLE " .. name .. " IN EXCLUSIVE MODE"))
        return fn() or true
      end))
    end

    it("has what is put while others are being stored", function()
      local wb, name = open { log = directory() .. "/log", flush = 0.02 }
      while_locked(name, function()
        must(wb:put("a", 1))
        eventually("it is under way", function() return wb:stats().in_flight == 1 end)
        for i = 1, 3 do
          must(wb:put("b", i))
          eventually("it is logged", function() return wb:stats().loss_window == 0 end)
        end
        assert.are.equal(2, wb:stats().dirty)
        assert.are.equal(1, wb:stats().in_flight)
      end)
      eventually("all is stored", function() return wb:stats().dirty == 0 end)
      assert.are.equal(0, wb:stats().log_bytes)
    end)

    -- A crash now: what the log would bring back.
    local function logged(folder)
      local names = must(core.list_dir(folder))
      assert.are.equal(1, #names)
      return must(core.read_file(folder .. "/" .. names[1]))
    end

    it("has nothing any more of what was stored, before others come behind it", function()
      local path = directory()
      local wb, name = open { log = path .. "/log", flush = 0.02 }
      local waiting = "SELECT count(*)::int AS n FROM pg_locks WHERE relation = '" .. name
        .. "'::regclass AND NOT granted"
      local text, second
      while_locked(name, function()
        must(wb:put_all { a = 1, b = 1 })
        eventually("they wait", function() return must(db:one(waiting)).n == 1 end)
        must(wb:put_all { a = 2, c = 2 })
        eventually("all is logged", function() return wb:stats().loss_window == 0 end)
        second = tide.spawn(while_locked, name, function()
          eventually("the first are stored", function() return wb:stats().stored == 2 end)
          eventually("the second wait", function()
            return must(db:one(waiting)).n == 1
          end)
          text = logged(path)
        end)
        eventually("it is next", function() return must(db:one(waiting)).n == 2 end)
      end)
      assert.is_true(second:wait())
      assert.is_nil(text:find('"b"', 1, true))
      assert.truthy(text:find('"c"', 1, true))
      eventually("all is stored", function() return wb:stats().dirty == 0 end)
    end)

    it("replays what others left and is whole, over older rows only", function()
      local path, name = directory(), new_table()
      local first = '[["a","1","100"],["b","2","100"]]'
      local second = '[["c","3","5"]]'
      local text = ""
      for _, line in ipairs { first, "[1,2]", "null", '[["a","7","nan"]]', second } do
        text = text .. ("%d %s\n"):format(#line, line)
      end
      leave(path .. "/log", text .. '60 [["a"')
      must(db:exec("CREATE TABLE " .. name
        .. " (key text PRIMARY KEY, value jsonb, version bigint)"))
      must(db:exec("INSERT INTO " .. name .. " VALUES ('c', '9', 7)"))
      local wb = open { log = path .. "/log", table = name }
      assert.are.equal(3, wb:stats().replayed)
      assert.are.equal(1, wb:get "a")
      assert.is_true(wb:flush())
      assert.same({ value = "1", version = "100" }, row(name, "a"))
      assert.are.equal("9", row(name, "c").value)
      wb:close()
      eventually("it is gone", function() return #must(core.list_dir(path)) == 0 end)
    end)

    it("gives what is put after it a later version, whatever the clock says", function()
      local path, name = directory(), new_table()
      local late = ("%.0f"):format(core.wall_us() + 3600 * 1e6)
      local line = ('[["a","1","%s"]]'):format(late)
      leave(path .. "/log", ("%d %s\n"):format(#line, line))
      local wb = open { log = path .. "/log", table = name }
      must(wb:flush())
      assert.same({ value = "1", version = late }, row(name, "a"))
      must(wb:put("a", 2))
      must(wb:flush())
      assert.are.equal("2", row(name, "a").value)
      assert.are.equal(0, wb:stats().superseded)
    end)

    it("is nobody else's while its process has it", function()
      local path = directory()
      local held = must(core.journal(path .. "/log.1.1", true))
      local wb = open { log = path .. "/log" }
      assert.are.equal(0, wb:stats().replayed)
      assert.is_truthy(core.stat(path .. "/log.1.1"))
      held:close()
    end)

    it("that cannot be made is an err", function()
      local wb, err = tide.writebehind { db = db, table = "t", log = "/nowhere/log" }
      assert.is_nil(wb)
      assert.truthy(err.message:find("/nowhere", 1, true))
    end)

    it("is made anew when it has become too large", function()
      local path = directory()
      local wb = open { log = path .. "/log", flush = 0.002 }
      must(db:exec("DROP TABLE kept" .. number))
      local text, largest = ("x"):rep(200000), 0
      for i = 1, 12 do
        must(wb:put("a", text .. i))
        eventually("it is logged", function() return wb:stats().loss_window == 0 end)
        largest = math.max(largest, wb:stats().log_bytes)
      end
      assert.is_true(largest < 2 ^ 21, largest)
      must(wb:create())
      must(wb:drain(10))
    end)
  end)

  it("outlasts its script: the next version has what is dirty", function()
    local name = new_table()
    local path = support.directory .. "/wb.lua"
    local function load(value)
      local file = must(io.open(path, "w"))
      file:write(([[
        local tide = require "tidepool"
        wb = assert(tide.writebehind {
          db = tide.postgres "wb", table = "%s", flush = 1000 })
        assert(wb:create())
        before = wb:get "a"
        assert(wb:put("a", %s))
      ]]):format(name, value))
      file:close()
      local generation = must(sandbox.load_trusted(path))
      return generation
    end
    tide._set_pool("postgres", "wb", db)
    local first = load(1)
    standing.retire(first.env)
    assert.is_true(first.own.wb:put("a", 5))
    local second = load(2)
    assert.are.equal(5, second.own.before)
    standing.finish(first.env)
    assert.is_true(first.own.wb.is_closed)
    assert.are.equal(2, second.own.wb:get "a")
    standing.finish(second.env)
    eventually("it is stored at the last's end", function()
      local last = row(name, "a")
      return last and last.value == "2"
    end)
    eventually("it has ended", function() return #writebehind.stats() == 0 end)
  end)

  it("is stored when the process ends", function()
    local wb, name = open {}
    must(wb:put("a", 1))
    writebehind.finish(10)
    assert.are.equal("1", row(name, "a").value)
    local done, err = wb:put("a", 2)
    assert.is_nil(done)
    assert.are.equal("closed", err.code)
  end)

  it("is told of in metrics", function()
    local wb, name = open {}
    must(wb:put("a", 1))
    local page = metrics.page({}, nil, core.task_counts())
    for _, line in ipairs {
      'tidepool_writebehind_dirty{name="%s"} 1\n',
      'tidepool_writebehind_stored_total{name="%s"} 0\n',
    } do
      assert.truthy(page:find(line:format(name), 1, true), page)
    end
    assert.truthy(page:find('writebehind_oldest_dirty_seconds{name="' .. name, 1, true))
    must(wb:flush())
  end)

  it("raises for what is no key, value or option", function()
    local wb = open { table = "kept_raises" }
    local function raises(message, fn, ...)
      local ok, failure = pcall(fn, ...)
      assert.is_false(ok)
      assert.truthy(tostring(failure):find(message, 1, true), tostring(failure))
    end
    raises("a key is a text or a whole number, got 1.5", wb.put, wb, 1.5, 1)
    raises("no value for key a", wb.put, wb, "a", nil)
    raises("the key 1 is there twice", wb.put_all, wb, { [1] = 1, ["1"] = 2 })
    raises("db: a Postgres pool expected", tide.writebehind, { table = "t" })
    raises("unknown option: flsh", tide.writebehind, { db = db, table = "t", flsh = 1 })
    raises("flush: seconds above 0 expected", tide.writebehind,
      { db = db, table = "t", flush = 0 })
    raises("table expected; or store, load and name", tide.writebehind, { db = db })
    raises("is open with table kept_raises, not t", tide.writebehind,
      { db = db, table = "t", name = "kept_raises" })
  end)
end)
