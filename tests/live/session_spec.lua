-- Sessions: in Redis alone, and with Postgres as the copy that lasts.

local core = require "tidepool.core"
local servers = require "tidepool.servers"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

after_each(support.run_ends)

local function raised(fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(message)
end

local function code_of(value, err)
  assert.is_nil(value)
  return tostring(err.code) .. ": " .. err.message
end

-- What is true with and without Postgres.
local function common(make)
  local cache, sessions

  before_each(function() cache, sessions = make() end)

  it("is opened, read, changed and closed by its token", function()
    local token, opened = sessions:open({ cart = { "tea", 2 }, is_new = true }, 7)
    must(token, opened)
    assert.are.equal(1, opened.version)
    local read = must(sessions:get(token))
    assert.are.same({ token = token, id = token:sub(1, 32), user = "7", version = 1,
      data = { cart = { "tea", 2 }, is_new = true } }, read)
    assert.are.equal(2, must(sessions:set(token, { n = 1 / 3 }, read.version)))
    read = must(sessions:get(token))
    assert.are.same({ 2, { n = 1 / 3 } }, { read.version, read.data })
    assert.is_true(sessions:close(token))
    assert.are.same({}, { sessions:get(token) })
    assert.is_false(sessions:close(token))
    assert.matches("^closed: the session has ended", code_of(
      sessions:set(token, {}, 2)))
  end)

  it("is changed by the first of two that read the same version", function()
    local token = must(sessions:open { n = 0 })
    local one, two = must(sessions:get(token)), must(sessions:get(token))
    assert.are.equal(2, sessions:set(token, { n = 1 }, one.version))
    local done, err = sessions:set(token, { n = 2 }, two.version)
    assert.are.equal("conflict: the session was changed in between: it is at version 2, "
      .. "version 1 was expected", code_of(done, err))
    assert.are.equal(409, tide.fail(err).status)
    assert.are.same({ n = 1 }, sessions:get(token).data)
    assert.are.equal(1, sessions:stats().conflicts)
  end)

  it("loses no change of many at once", function()
    local token, jobs = must(sessions:open { n = 0 }), {}
    for i = 1, 10 do
      jobs[i] = function()
        while true do
          local session = must(sessions:get(token))
          session.data.n = session.data.n + 1
          local done, err = sessions:set(token, session.data, session.version)
          if done then return true end
          if err.code ~= "conflict" then return nil, err end
        end
      end
    end
    must(tide.all(jobs))
    local session = must(sessions:get(token))
    assert.are.same({ 10, 11 }, { session.data.n, session.version })
  end)

  it("is not read by who has its id and another secret", function()
    local token = must(sessions:open { n = 0 })
    local wrong = token:sub(1, 32) .. ("0"):rep(32)
    assert.are.same({}, { sessions:get(wrong) })
    assert.matches("^closed", code_of(sessions:set(wrong, {}, 1)))
    assert.matches("^closed", code_of(sessions:rotate(wrong)))
    assert.is_false(sessions:close(wrong))
    for _, text in ipairs { "", "x", token .. "0", "G" .. token:sub(2) } do
      assert.are.same({}, { sessions:get(text) })
    end
    assert.is_table(sessions:get(token))
  end)

  it("has another token after its rotation, and what it had", function()
    local token = must(sessions:open { cart = 1 })
    must(sessions:set(token, { cart = 2 }, 1))
    local fresh = must(sessions:rotate(token, "ada"))
    assert.are_not.equal(token:sub(1, 32), fresh:sub(1, 32))
    assert.are.same({}, { sessions:get(token) })
    local session = must(sessions:get(fresh))
    assert.are.same({ "ada", 2, { cart = 2 } },
      { session.user, session.version, session.data })
    assert.matches("^closed", code_of(sessions:rotate(token)))
    assert.are.equal(1, must(sessions:close_all "ada"))
    assert.are.same({}, { sessions:get(fresh) })
  end)

  it("ends with all others of its user", function()
    local one, two = must(sessions:open({}, "ada")), must(sessions:open({}, "ada"))
    local third = must(sessions:open({}, "bob"))
    sessions:close(must(sessions:open({}, "ada")))
    assert.are.equal(2, must(sessions:close_all "ada"))
    assert.are.same({}, { sessions:get(one) })
    assert.are.same({}, { sessions:get(two) })
    assert.is_table(sessions:get(third))
    assert.are.equal(0, must(sessions:close_all "ada"))
  end)

  it("takes plain data only, and not too much of it", function()
    assert.matches("session_spec.lua:%d+: data.f is a function", raised(function()
      sessions:open { f = print }
    end))
    assert.matches("session_spec.lua:%d+: data: a table expected, got nil",
      raised(function() sessions:open() end))
    local token = must(sessions:open {})
    local text = ("x"):rep(16 * 1024)
    assert.matches("^badarg: the session's data has 16392 bytes, max_bytes is 16384",
      code_of(sessions:set(token, { t = text }, 1)))
    assert.matches("^badarg", code_of(sessions:open { text = text }))
    assert.matches("session_spec.lua:%d+: version: that of the session expected, got nil",
      raised(function() sessions:set(token, {}) end))
    assert.matches("session_spec.lua:%d+: token expected, got nil", raised(function()
      sessions:get()
    end))
    assert.matches("session_spec.lua:%d+: user: UTF%-8 of 1 to 200 bytes",
      raised(function() sessions:open({}, "") end))
    for _, user in ipairs { "a\0b", "\255", "\237\160\128", true, ("x"):rep(201) } do
      assert.matches("user: UTF", raised(function() sessions:open({}, user) end))
    end
    assert.are.equal("Zo\195\171", select(2, must(sessions:open({}, "Zo\195\171"))).user)
  end)

  it("has no token and no secret in Redis", function()
    local token = must(sessions:open({ n = 1 }, "ada"))
    must(sessions:get(token))
    local key = "session:s:" .. token:sub(1, 32)
    local dump = table.concat(must(cache:hgetall(key)), " ")
    assert.is_nil(dump:find(token:sub(33), 1, true))
    assert.is_truthy(dump:find(core.sha256(token:sub(33)), 1, true))
  end)
end

describe("A session in Redis", function()
  local cache, sessions

  common(function()
    cache = support.redis { max_connections = 4 }
    sessions = tide.session { redis = cache }
    return cache, sessions
  end)

  it("lasts its ttl from each look at it on, and no longer", function()
    sessions = tide.session { redis = cache, ttl = 60 }
    local token = must(sessions:open({}, "ada"))
    local key = "session:s:" .. token:sub(1, 32)
    must(cache:pexpire(key, 1000))
    must(sessions:get(token:sub(1, 32) .. ("0"):rep(32)) == nil)
    assert.is_true(cache:pttl(key) <= 1000)
    must(sessions:get(token))
    assert.is_true(cache:pttl(key) > 50000)
    must(cache:pexpire(key, 1))
    eventually("it has ended", function() return cache:exists(key) == 0 end)
    assert.are.same({}, { sessions:get(token) })
    assert.are.equal(0, must(sessions:close_all "ada"))
  end)

  it("is known as its user's for as long as it lasts", function()
    sessions = tide.session { redis = cache, ttl = 60 }
    local token = must(sessions:open({}, "ada"))
    local id = token:sub(1, 32)
    must(cache:pexpire("session:u:ada", 1000))
    must(sessions:set(token, { n = 1 }, 1))
    assert.is_true(cache:pttl "session:u:ada" > 50000)
    local time = must(cache:call "TIME")
    local ends = time[1] + time[2] / 1e6 + cache:pttl("session:s:" .. id) / 1000
    local known_until = must(cache:call("ZSCORE", "session:u:ada", id))
    assert.is_true(tonumber(known_until) >= ends)
  end)

  it("is nil, err while Redis is away", function()
    local own = must(servers.redis { directory = support.directory .. "/session-r" })
    support.at_end(function() own:stop() end)
    local pool = support.redis({ max_connections = 2, connect_timeout = 1 },
      { url = own.url })
    sessions = tide.session { redis = pool }
    local token = must(sessions:open {})
    own:kill()
    eventually("it is noticed", function()
      local session, err = sessions:get(token)
      return session == nil and err ~= nil
    end)
    assert.is_table(select(2, sessions:open {}))
    assert.is_table(select(2, sessions:set(token, {}, 1)))
    assert.is_table(select(2, sessions:close(token)))
    assert.is_table(select(2, sessions:close_all "ada"))
    pool:close(1)
  end)

  it("has options that are checked", function()
    local function refused(opts) return raised(function() tide.session(opts) end) end
    assert.matches("session_spec.lua:%d+: unknown option: tll", refused { tll = 1 })
    assert.matches("option redis: a pool of tide.redis%(%) expected", refused {})
    assert.matches("option redis: a pool of tide.redis%(%) expected, got 5",
      refused { redis = 5 })
    assert.matches("option ttl: seconds above 0 expected, got 0",
      refused { redis = cache, ttl = 0 })
    assert.matches("option name: a name of up to 40", refused { redis = cache,
      name = "A" })
    assert.matches("these sessions have no db", raised(function() sessions:create() end))
  end)
end)

describe("A session in Redis and Postgres", function()
  local db, cache, sessions

  setup(function()
    db = support.postgres { max_connections = 4 }
    cache = support.redis { max_connections = 4 }
    must(tide.session({ redis = cache, db = db }):create())
  end)

  -- After the first look, by which a process catches up.
  local function caught_up(made)
    made:get(("0"):rep(64))
    eventually("Redis is told", function() return not made:stats().is_behind end)
    return made
  end

  common(function()
    must(cache:call "FLUSHALL")
    must(db:exec "TRUNCATE session")
    sessions = caught_up(tide.session { redis = cache, db = db })
    return cache, sessions
  end)

  it("is read from Redis, and from Postgres when Redis lost it", function()
    local token = must(sessions:open({ n = 1 }, "ada"))
    must(sessions:get(token))
    assert.are.same({ 1, 0 },
      { sessions:stats().from_redis, sessions:stats().from_postgres })
    must(cache:call "FLUSHALL")
    assert.are.same({ "ada", { n = 1 } },
      { sessions:get(token).user, sessions:get(token).data })
    assert.are.same({ 2, 1 },
      { sessions:stats().from_redis, sessions:stats().from_postgres })
  end)

  it("that was closed is not brought back by a copy that comes late", function()
    local token = must(sessions:open { n = 1 })
    local key = "session:s:" .. token:sub(1, 32)
    local before = must(cache:dump(key))
    must(sessions:close(token))
    local late = must(require("tidepool.session_redis").new(cache, "session", 60, false))
    assert.are.equal(0, late:put(token:sub(1, 32), core.sha256(token:sub(33)),
      { version = 9, data = "{}" }, 0))
    assert.are.same({}, { sessions:get(token) })
    assert.is_string(before)
    assert.are.equal(0, must(db:one "SELECT count(*) AS n FROM session").n)
  end)

  it("tells Postgres of its use once in a tenth of its ttl", function()
    local token = must(sessions:open {})
    local id = token:sub(1, 32)
    must(db:exec("UPDATE session SET expires = now() + interval '1 hour'"))
    must(sessions:get(token))
    local left = "SELECT extract(epoch FROM expires - now())::float8 AS s FROM session"
    assert.is_true(must(db:one(left)).s < 3700)
    must(cache:hincrby("session:s:" .. id, "p", -10000))
    must(sessions:get(token))
    assert.is_true(must(db:one(left)).s > 24 * 3600)
    assert.is_true(tonumber(cache:hget("session:s:" .. id, "p")) > os.time() - 100)
  end)

  it("that has ended is swept away by those that open", function()
    for _ = 1, 3 do must(sessions:open {}) end
    must(db:exec "UPDATE session SET expires = now() - interval '1 second'")
    must(cache:call "FLUSHALL")
    must(sessions:open {})
    assert.are.equal(1, must(db:one "SELECT count(*) AS n FROM session").n)
  end)

  it("is made again by several at once", function()
    must(db:exec "DROP TABLE session")
    local jobs = {}
    for i = 1, 4 do jobs[i] = function() return sessions:create() end end
    must(tide.all(jobs))
    assert.matches('CREATE TABLE IF NOT EXISTS "session"', sessions.schema)
    must(sessions:open {})
  end)
end)

describe("Redis that was away", function()
  local db, own, cache, sessions

  setup(function()
    db = support.postgres { max_connections = 4 }
    must(db:exec "DROP TABLE IF EXISTS session")
    own = must(servers.redis { directory = support.directory .. "/session-a" })
    cache = support.redis({ max_connections = 3, connect_timeout = 1 }, { url = own.url })
    sessions = tide.session { redis = cache, db = db }
    must(sessions:create())
  end)

  teardown(function()
    cache:close(1)
    own:stop()
  end)

  local function is_told()
    eventually("Redis is told", function() return not sessions:stats().is_behind end)
  end


  it("costs no session, and shows no old one when it is back", function()
    local kept, changed = must(sessions:open { n = 1 }), must(sessions:open { n = 1 })
    local closed = must(sessions:open { n = 1 })
    must(sessions:get(kept))
    is_told()
    for _, token in ipairs { kept, changed, closed } do must(sessions:get(token)) end
    must(cache:save())
    own:kill()

    eventually("Postgres is read", function()
      return must(sessions:get(kept)) and sessions:stats().is_behind
    end)
    assert.are.equal(2, must(sessions:set(changed, { n = 2 }, 1)))
    assert.is_true(must(sessions:close(closed)))
    local opened = must(sessions:open { n = 3 })
    assert.are.same({ n = 2 }, must(sessions:get(changed)).data)
    assert.are.same({}, { sessions:get(closed) })
    assert.are.same({ n = 3 }, must(sessions:get(opened)).data)
    assert.matches("conflict", code_of(sessions:set(changed, {}, 1)))

    must(own:restart())
    local old = eventually("Redis answers", function()
      return cache:hget("session:s:" .. changed:sub(1, 32), "v")
    end)
    is_told()
    assert.is_true(old == "1" or old == "2", "what it saved")
    assert.are.same({ n = 2 }, must(sessions:get(changed)).data)
    assert.are.same({}, { sessions:get(closed) })
    local from_redis = sessions:stats().from_redis
    assert.are.same({ n = 2 }, must(sessions:get(changed)).data)
    assert.are.equal(from_redis + 1, sessions:stats().from_redis)
    assert.are.equal(0, must(db:one "SELECT count(*) AS n FROM session WHERE behind").n)
    assert.is_true(sessions:stats().caught_up >= 2)
  end)

  it("is told by another process, when the first ended", function()
    local token = must(sessions:open { n = 1 })
    must(sessions:get(token))
    is_told()
    must(db:exec [[UPDATE session SET version = 5, data = '{"n":5}', behind = true]])
    sessions = tide.session { redis = cache, db = db }
    assert.are.same({ n = 5 }, must(sessions:get(token)).data)
    is_told()
    assert.are.same({ n = 5 }, must(sessions:get(token)).data)
  end)
end)

describe("A session's cookie", function()
  local sessions

  setup(function()
    sessions = tide.session { redis = support.redis(), name = "sid", ttl = 90 }
  end)

  it("is for no script, no plain HTTP and no other site", function()
    local token = must(sessions:open {})
    assert.are.equal("sid=" .. token .. "; Path=/; Max-Age=90; HttpOnly; SameSite=Lax; "
      .. "Secure", sessions:cookie(token))
    assert.are.equal("sid=" .. token .. "; Path=/a; Max-Age=90; HttpOnly; "
      .. "SameSite=Strict; Domain=example.org", sessions:cookie(token,
      { same_site = "Strict", secure = false, path = "/a", domain = "example.org" }))
    assert.are.equal("sid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
      sessions:cookie())
    for _, opts in ipairs { { sekure = true }, { path = "a;b" }, { same_site = "lax" },
      { same_site = "None", secure = false } } do
      assert.matches("session_spec.lua:%d+: ", raised(function()
        sessions:cookie(token, opts)
      end))
    end
  end)

  it("gives a request its session", function()
    local app = tide.app()
    app:get("/", function(req)
      local session = assert(sessions:of_request(req) or { data = { n = "none" } })
      return tostring(session.data.n)
    end)
    local token = must(sessions:open { n = 8 })
    local function ask(cookie)
      return tide.request(app, "GET", "/", { headers = { cookie = cookie } }).body
    end
    assert.are.equal("8", ask("sid=" .. token))
    assert.are.equal("8", ask("a=b; xsid=1;sid=\"" .. token .. "\"; c=d"))
    assert.are.equal("8", ask("a=b, sid=" .. token))
    assert.are.equal("none", ask "sid=x")
    assert.are.equal("none", ask "xsid=1")
    assert.are.equal("none", tide.request(app, "GET", "/").body)
  end)
end)
