-- Postgres behind a pooler in transaction mode: PgBouncer, of whatever version the
-- distribution has, on the shared server.

local core = require "tidepool.core"
local pgbouncer = require "pgbouncer"
local support = require "support"
local tide = require "tidepool"

local must = support.must

describe("Postgres behind PgBouncer in transaction mode", function()
  local db, pooler

  setup(function()
    pooler = pgbouncer.start "pooler"
    db = support.postgres({ max_connections = 8, statement_cache = 0 }, {
      url = pooler.url, raw_url = true,
    })
    must(db:exec "DROP TABLE IF EXISTS pooled")
    must(db:exec "CREATE TABLE pooled (id int PRIMARY KEY, n int NOT NULL)")
    must(db:exec "INSERT INTO pooled SELECT i, 0 FROM generate_series(1, 20) AS i")
  end)

  teardown(function()
    db:exec "DROP TABLE IF EXISTS pooled"
    db:close(1)
    pooler.stop()
  end)

  it("statements of many tasks give each its own answer", function()
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = function()
        for k = 1, 25 do
          local text = ("%d/%d"):format(i, k)
          local row = must(db:one("SELECT $1::text AS text, $2::int AS n", text, k))
          assert.are.equal(text, row.text)
          assert.are.equal(k, row.n)
        end
        return true
      end
    end
    assert.are.equal(20, #must(tide.all(tasks)))
  end)

  it("transactions keep their server connection, and lose no update", function()
    local tasks = {}
    for i = 1, 10 do
      tasks[i] = function()
        return db:transaction(function(tx)
          local row = must(tx:one("SELECT n FROM pooled WHERE id = $1 FOR UPDATE", 1))
          return must(tx:exec("UPDATE pooled SET n = $1 WHERE id = 1", row.n + 1))
        end)
      end
    end
    must(tide.all(tasks))
    assert.are.equal(10, must(db:one "SELECT n FROM pooled WHERE id = 1").n)
  end)

  it("a transaction that fails leaves nothing", function()
    local done, err = db:transaction(function(tx)
      must(tx:exec "UPDATE pooled SET n = 99 WHERE id = 2")
      must(tx:exec "SELECT 1 / 0")
    end)
    assert.is_nil(done)
    assert.are.equal("22012", err.sqlstate)
    assert.are.equal(0, must(db:one "SELECT n FROM pooled WHERE id = 2").n)
  end)

  it("tables go in as json and arrays without a cache of statements", function()
    local row = must(db:one("SELECT $1::jsonb AS j, $2::int[] AS a", { x = 1 }, { 4, 5 }))
    assert.are.same({ j = { x = 1 }, a = { 4, 5 } }, row)
  end)

  -- Adds up in many tasks with prepared statements; gives how many shared connections.
  local function add_and_read(pool)
    local tasks = {}
    for i = 1, 16 do
      tasks[i] = function()
        for _ = 1, 40 do
          must(pool:exec("UPDATE pooled SET n = n + 1 WHERE id = $1", 2 + i))
          assert.are.equal(2 + i,
            must(pool:one("SELECT id FROM pooled WHERE id = $1", 2 + i)).id)
        end
        return true
      end
    end
    must(tide.all(tasks))
    local row = must(db:one "SELECT sum(n) AS n FROM pooled WHERE id BETWEEN 3 AND 18")
    assert.are.equal(16 * 40, row.n)
    must(db:exec "UPDATE pooled SET n = 0")
    return pool:stats().counters.shared_statements
  end

  local function is_read_only(pool)
    local row = must(pool:one "SHOW default_transaction_read_only")
    return row.default_transaction_read_only
  end

  it("writes share connections, and reads make no session read-only", function()
    -- One connection to the server has all prepared statements, whatever the version.
    local pool = support.postgres({ max_connections = 4, group_target = 1 }, {
      url = pooler.single_url, raw_url = true,
    })
    local shared = add_and_read(pool)
    assert.is_true(shared > 0)
    assert.is_true(shared <= 16 * 40)
    for _ = 1, 20 do assert.are.equal("off", is_read_only(pool)) end
    pool:close(1)
  end)

  it("prepared statements are the pooler's, where it knows them", function()
    if not pooler.knows_prepared then
      pending("its version does not know them")
      return
    end
    local pool = support.postgres({ max_connections = 8 }, {
      url = pooler.url, raw_url = true,
    })
    assert.is_true(add_and_read(pool) > 0)
    for _ = 1, 20 do assert.are.equal("off", is_read_only(pool)) end
    pool:close(1)
  end)

  it("a timeout cancels at the server, and what follows is right", function()
    local row, err = db:one { "SELECT pg_sleep(30)", timeout_ms = 100 }
    assert.is_nil(row)
    assert.are.equal("timeout", err.code)
    for i = 1, 10 do assert.are.equal(i, must(db:one("SELECT $1::int AS i", i)).i) end
  end)

  it("is told of by tidepool check", function()
    local app = support.file("app.lua", "return require('tidepool').app()\n")
    local status, output = support.run { core.realpath "/proc/self/exe", "check", app,
      "--set", "database.postgres_url=" .. pooler.url }
    assert.are.equal(0, status)
    assert.matches("warning: main: a pooler in transaction mode is in front", output)
  end)
end)
