-- Values that need to be told or asked for: arrays, bytes, JSON parameters, int8, NULL;
-- types that are text on both ways.

local support = require "support"
local tide = require "tidepool"

local must = support.must

local ALL_BYTES = {}
for i = 0, 255 do ALL_BYTES[i + 1] = string.char(i) end
ALL_BYTES = table.concat(ALL_BYTES)

describe("Postgres values", function()
  local db

  setup(function()
    db = support.postgres { max_connections = 2 }
    must(db:exec "CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy')")
    must(db:exec "CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100)")
    must(db:exec "CREATE TYPE place AS (city text, zip int)")
    must(db:exec [[CREATE TABLE v (id serial PRIMARY KEY, data bytea, many bytea[],
      mood mood, moods mood[], share percent, shares percent[], place place,
      doc jsonb, docs jsonb[], tags text[], matrix int[], big int8, bigs int8[])]])
  end)

  before_each(function() must(db:exec "TRUNCATE v") end)

  local function stored(column, value)
    must(db:exec(("INSERT INTO v (%s) VALUES ($1)"):format(column), value))
    local sql = "SELECT %s AS x FROM v ORDER BY id DESC LIMIT 1"
    return must(db:one(sql:format(column))).x
  end

  -- The same statement again and again: alone first, then on lanes.
  local function often(fn)
    for _ = 1, 5 do fn() end
  end

  it("bytea takes and gives any bytes", function()
    often(function()
      assert.are.equal(ALL_BYTES, stored("data", tide.bytes(ALL_BYTES)))
    end)
    assert.are.equal("", stored("data", tide.bytes ""))
    local ok, err = pcall(db.exec, db, "INSERT INTO v (data) VALUES ($1)", "a\0b")
    assert.is_false(ok)
    assert.matches("tide.bytes%(...%) is for bytea", err)
    local rows = must(db:query("SELECT $1::bytea AS b", tide.bytes "\1\255"))
    assert.are.equal('[{"b":"\\\\x01ff"}]', tide.encode(rows))
    assert.are.same({ "\1", "", "\255" },
      must(db:one "SELECT ARRAY['\\x01', '\\x', '\\xff']::bytea[] AS b").b)
  end)

  it("arrays are told from JSON by tide.array, whatever the type", function()
    often(function()
      assert.are.same({ "happy", "so so", tide.null },
        stored("moods", tide.array { "happy", "so so", tide.null }))
    end)
    assert.are.same({}, stored("moods", tide.array {}))
    assert.are.same({ 5, 7 }, stored("shares", tide.array { 5, 7 }))
    assert.are.same({ 'a"b', "c,d", "{e}", "NULL", "\\" },
      stored("tags", tide.array { 'a"b', "c,d", "{e}", "NULL", "\\" }))
    local matrix = { { 1, 2 }, { 3, 4 } }
    assert.are.same(matrix, stored("matrix", tide.array(matrix)))
    assert.are.equal("[1, 2]", must(db:one("SELECT $1::jsonb::text AS x", { 1, 2 })).x)
    assert.are.equal("{1,2}", must(db:one("SELECT $1::text AS x", tide.array { 1, 2 })).x)
    assert.are.equal(2, must(db:one("SELECT count(*)::int AS n FROM unnest($1::mood[])",
      tide.array { "sad", "happy" })).n)
    assert.are.same({ { a = 1 }, { 2 } }, stored("docs", tide.array { { a = 1 }, { 2 } }))
  end)

  it("json takes any value by tide.json_param", function()
    often(function() assert.are.equal("text", stored("doc", tide.json_param "text")) end)
    assert.are.equal(5, stored("doc", tide.json_param(5)))
    assert.is_true(stored("doc", tide.json_param(true)))
    assert.are.same({ 1, { a = "b" } }, stored("doc", tide.json_param { 1, { a = "b" } }))
    assert.are.equal("null", must(db:one("SELECT $1::jsonb::text AS x",
      tide.json_param(tide.null))).x)
  end)

  describe("arrays of types that users made", function()
    local SQL = [[SELECT '{happy,"so so",NULL}'::mood[] AS moods,
      '{{1,2},{3,4}}'::percent[] AS shares, ARRAY[ROW('Rome, IT', 1)]::place[] AS places,
      ARRAY['{1,2}', '{3}']::pair[] AS pairs, 'sad'::mood AS mood,
      ROW('x', 2)::place AS place, 7::percent AS share]]
    local WANTED = {
      moods = { "happy", "so so", tide.null }, shares = { { 1, 2 }, { 3, 4 } },
      places = { '("Rome, IT",1)' }, pairs = { { 1, 2 }, { 3 } }, mood = "sad",
      place = "(x,2)", share = 7,
    }

    setup(function()
      must(db:exec "CREATE DOMAIN pair AS int[]")
    end)

    it("are tables, in whatever way they come", function()
      often(function() assert.are.same(WANTED, must(db:one(SQL))) end)
      assert.are.same({ WANTED, WANTED },
        must(db:query(SQL .. " FROM generate_series(1, 2)")):table())
      local seen = {}
      must(db:each(SQL, function(row) seen[#seen + 1] = row end))
      assert.are.same({ WANTED }, seen)
      assert.are.same(WANTED, must(db:batch { { SQL } })[1][1])
      assert.are.same(WANTED, must(db:transaction(function(tx)
        return must(tx:one(SQL))
      end)))
      local calls = {}
      for i = 1, 20 do calls[i] = function() return db:one(SQL) end end
      for _, row in ipairs(must(tide.all(calls))) do assert.are.same(WANTED, row) end
    end)

    it("are arrays in JSON, of rows that nobody looked at too", function()
      local rows = must(db:query(SQL))
      local decoded = must(tide.decode(tide.encode(rows)))
      assert.are.same({ "happy", "so so", tide.null }, decoded[1].moods)
      assert.are.same({ { 1, 2 }, { 3, 4 } }, decoded[1].shares)
      assert.are.equal("sad", rows[1].mood)
      assert.are.same(decoded, must(tide.decode(tide.encode(rows))))
    end)

    it("are asked for once, also where the only connection is lent", function()
      local one = support.postgres { max_connections = 1 }
      one:with(function(conn)
        local pid = must(conn:one "SELECT pg_backend_pid() AS pid").pid
        for _ = 1, 2 do assert.are.same(WANTED, must(conn:one(SQL))) end
        assert.are.equal(pid, must(conn:one "SELECT pg_backend_pid() AS pid").pid)
      end)
      local before = one:stats().counters.acquires
      assert.are.same(WANTED, must(one:one { SQL, share = false }))
      assert.are.equal(before + 1, one:stats().counters.acquires)
    end)

    it("are known anew when the type was made anew", function()
      for _, labels in ipairs { "'a'", "'b'" } do
        must(db:exec("CREATE TYPE fleeting AS ENUM (" .. labels .. ")"))
        local sql = ("SELECT ARRAY[%s]::fleeting[] AS x"):format(labels)
        assert.are.same({ labels:sub(2, 2) }, must(db:one { sql, share = false }).x)
        must(db:exec "DROP TYPE fleeting")
        db:drain()
      end
    end)
  end)

  it("enums, domains, composites, intervals, networks and ranges are text", function()
    assert.are.equal("so so", stored("mood", "so so"))
    assert.are.equal(50, stored("share", 50))
    assert.are.equal('("New York",10001)', stored("place", '("New York",10001)'))
    for kind, text in pairs {
      interval = "1 day 02:00:00", inet = "10.1.2.3/8", cidr = "10.0.0.0/8",
      macaddr = "08:00:2b:01:02:03", int4range = "[1,5)",
      int4multirange = "{[1,3),[5,7)}",
      tsrange = '["2026-01-01 00:00:00",)', uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
      numeric = "1.50", date = "2026-11-26", xml = "<a/>", bit = "1", point = "(1,2)",
      ["time"] = "12:34:56.5", timestamp = "2026-11-26 12:34:56.789",
    } do
      local row = must(db:one(("SELECT $1::%s AS x"):format(kind), text))
      assert.are.equal(text, row.x)
    end
    local _, err = db:exec("INSERT INTO v (share) VALUES ($1)", 101)
    assert.are.equal("percent_check", err.constraint)
  end)

  it("int8 is exact, a number or a string, as asked", function()
    local big = "9007199254740993"
    local sql = "SELECT 9007199254740993 AS big, 5::int8 AS small, 7 AS int, "
      .. "ARRAY[9007199254740993, 1] AS list"
    local function ask(int8) return must(db:one { sql, int8 = int8 }) end
    assert.are.same({ big = big, small = 5, int = 7, list = { big, 1 } }, ask(nil))
    assert.are.same({ big = 2 ^ 53, small = 5, int = 7, list = { 2 ^ 53, 1 } },
      ask "number")
    assert.are.same({ big = big, small = "5", int = 7, list = { big, "1" } },
      ask "string")
    local function json(int8)
      return tide.encode(must(db:query { sql, int8 = int8 }))
    end
    assert.are.equal(
      ('[{"big":"%s","small":5,"int":7,"list":["%s",1]}]'):format(big, big), json(nil))
    assert.are.equal(
      ('[{"big":%s,"small":5,"int":7,"list":[%s,1]}]'):format(big, big), json "number")
    assert.are.equal(
      ('[{"big":"%s","small":"5","int":7,"list":["%s","1"]}]'):format(big, big),
      json "string")
  end)

  it("NULL is absent, or tide.null when asked", function()
    local sql = "SELECT NULL::int AS a, 1 AS b"
    assert.are.same({ b = 1 }, must(db:one(sql)))
    assert.are.same({ a = tide.null, b = 1 }, must(db:one { sql, null = tide.null }))
    local rows = must(db:query { sql, null = tide.null })
    assert.are.same({ a = tide.null, b = 1 }, rows[1])
    db:with(function(conn)
      assert.are.same({ a = tide.null, b = 1 }, must(conn:one { sql, null = tide.null }))
    end)
    must(db:each({ sql, null = tide.null, int8 = "string" }, function(row)
      assert.are.equal(tide.null, row.a)
    end))
  end)

  it("raise for what they are not", function()
    local function message(fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok)
      return err
    end
    assert.matches("table expected", message(tide.array, "x"))
    assert.matches("string expected", message(tide.bytes, 5))
    assert.matches('int8: "number" or "string" expected, got text',
      message(db.query, db, { "SELECT 1", int8 = "text" }))
    assert.matches("null: tide.null expected, got boolean",
      message(db.query, db, { "SELECT 1", null = true }))
    assert.matches("cannot be part of a value",
      message(db.query, db, "SELECT $1::jsonb", { tide.bytes "x" }))
    assert.matches("cannot be part of a value", message(tide.encode, tide.array { 1 }))
  end)
end)
