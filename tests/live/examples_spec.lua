-- The scripts of examples/scripts, each run as it is on real servers.

local core = require "tidepool.core"
local sandbox = require "tidepool.sandbox"
local support = require "support"
local tide = require "tidepool"

local eventually, must = support.eventually, support.must

local globals = package.loaded._G -- the examples', not this file's own
local print_before = globals.print

describe("The example", function()
  local db, cache, before, printed

  setup(function()
    db, cache = support.postgres { max_connections = 5 }, support.redis()
    before = { postgres = tide._pools().postgres.main, redis = tide._pools().redis.main }
    tide._set_pool("postgres", "main", db)
    tide._set_pool("redis", "main", cache)
  end)

  teardown(function()
    tide._set_pool("postgres", "main", before.postgres)
    tide._set_pool("redis", "main", before.redis)
  end)

  before_each(function()
    printed = {}
    must(cache:call "FLUSHALL")
    globals.print = function(...) printed[#printed + 1] = table.concat({ ... }, "\t") end
  end)

  after_each(function() globals.print = print_before end)

  -- Runs a script; gives what it returns.
  local function load(name, ...)
    local path = "examples/scripts/" .. name .. ".lua"
    local load_script = sandbox[name == "export" and "load_trusted" or "load"]
    local generation, err = load_script(path, ...)
    return must(generation, err).value
  end

  local ask = tide.request

  it("job deletes in batches", function()
    must(db:exec "CREATE TABLE sessions (id serial, used_at timestamptz)")
    must(db:exec [[INSERT INTO sessions (used_at)
      SELECT now() - make_interval(days => i % 60, hours => 12)
      FROM generate_series(1, 3000) AS i]])
    load("job", "29")
    assert.are.same({ "deleted 1550 sessions" }, printed)
    load("job")
    assert.are.equal("deleted 0 sessions", printed[2])
  end)

  it("export writes a table and reads it back", function()
    must(db:exec "CREATE TABLE users (id int, name text)")
    must(db:exec "INSERT INTO users VALUES (1, 'Ada'), (2, 'a, \"b\"')")
    local path = support.file("users", "")
    load("export", "out", path)
    assert.are.equal('id,name\n1,Ada\n2,"a, ""b"""\n', core.read_file(path))
    must(db:exec "TRUNCATE users")
    load("export", "in", path)
    assert.are.equal(2, #must(db:query "SELECT 1 FROM users"))
    assert.are.equal("2 rows from " .. path, printed[2])
    local app = load "download"
    local response = ask(app, "GET", "/users.csv")
    assert.are.equal('id,name\n1,Ada\n2,"a, ""b"""\n', response.body)
    assert.is_true(response.is_whole)
    assert.are.equal("text/csv", response.headers["content-type"])
  end)

  it("upload takes a file into a table", function()
    must(db:exec "DROP TABLE IF EXISTS users")
    must(db:exec "CREATE TABLE users (id int PRIMARY KEY, name text)")
    local app = load "upload"
    local pieces = { "id,name\n1,Ada\n2,\"a, ", "\"\"b\"\"\"\n" }
    local response = ask(app, "PUT", "/users.csv", {
      body = function() return table.remove(pieces, 1) end,
    })
    assert.are.same({ 200, '{"rows":2}' }, { response.status, response.body })
    assert.are.equal('a, "b"', must(db:one "SELECT name FROM users WHERE id = 2").name)
    response = ask(app, "PUT", "/users.csv", { body = "id,name\n3,Eve\nx,y\n" })
    assert.are.equal(400, response.status)
    assert.are.equal(2, #must(db:query "SELECT 1 FROM users"))
  end)

  it("report sums up row by row", function()
    must(db:exec "CREATE TABLE sales (name text, amount numeric)")
    must(db:exec [[INSERT INTO sales SELECT 'shop ' || i % 2, 1.5
      FROM generate_series(1, 2000) AS i]])
    load "report"
    assert.are.same({ "shop 0          1500.00", "shop 1          1500.00",
      "2000 sales" }, printed)
  end)

  it("rate_limit lets ten through", function()
    local app = load "rate_limit"
    for i = 1, 10 do assert.are.equal(i .. " of 10\n", ask(app, "GET", "/").body) end
    local response = ask(app, "GET", "/")
    assert.are.equal(429, response.status)
    local left = tonumber(response.headers["retry-after"])
    assert.is_true(left > 0 and left <= 60)
    assert.are.equal("1 of 10\n", ask(app, "GET", "/",
      { headers = { ["X-Forwarded-For"] = "10.0.0.7" } }).body)
  end)

  it("cache_aside reads from Redis what it has read before", function()
    must(db:exec "CREATE TABLE items (id int PRIMARY KEY, name text)")
    must(db:exec "INSERT INTO items VALUES (1, 'tea')")
    local app = load "cache_aside"
    assert.are.equal("tea", ask(app, "GET", "/items/1"):json().name)
    must(db:exec "UPDATE items SET name = 'coffee'") -- past the app: not seen
    assert.are.equal("tea", ask(app, "GET", "/items/1"):json().name)
    local put = ask(app, "PUT", "/items/1", { json = { name = "milk" } })
    assert.are.equal(204, put.status)
    assert.are.equal("milk", ask(app, "GET", "/items/1"):json().name)
    assert.are.equal(404, ask(app, "GET", "/items/2").status)
  end)

  it("events sends each order to who listens", function()
    must(db:exec "CREATE TABLE orders (id serial, item text)")
    local app = load "events"
    local server, address = support.serve(app)
    local client = support.start_raw(address,
      "GET /events HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    eventually("it listens", function()
      local subscriber = db:stats().subscriber
      return subscriber ~= nil and subscriber.subscriptions == 1
    end)
    local response = ask(app, "POST", "/orders", { json = { item = "tea" } })
    assert.are.equal(201, response.status)
    eventually("it was sent", function()
      return db:stats().subscriber.messages == 1
    end)
    server:drain(10)
    local _, output = client:wait()
    assert.matches('event: order\ndata: {[^\n]*"item":"tea"[^\n]*}\n\n', output)
    server:close()
  end)

  it("notifications does each job once", function()
    must(db:exec [[CREATE TABLE jobs (id serial, word text, done_at timestamptz)]])
    must(db:exec "INSERT INTO jobs (word) VALUES ('early')")
    local task = tide.spawn(load, "notifications")
    eventually("the one before is done", function() return printed[1] == "EARLY" end)
    must(db:exec "INSERT INTO jobs (word) VALUES ('one'), ('two')")
    must(db:notify "jobs")
    eventually("all are done", function()
      return #must(db:query "SELECT 1 FROM jobs WHERE done_at IS NULL") == 0
    end)
    assert.are.same({ "EARLY", "ONE", "TWO" }, printed)
    task:cancel()
    task:wait()
  end)
end)
