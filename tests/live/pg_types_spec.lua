-- What each Postgres type is in Lua, both ways.

local support = require "support"
local tide = require "tidepool"

local must = support.must

local null = tide.null

local UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

-- { type, literal as SQL writes it, what Lua sees }
local VALUES = {
  { "bool", "true", true },
  { "bool", "false", false },
  { "int2", "-32768", -32768 },
  { "int4", "2147483647", 2147483647 },
  { "int8", "42", 42 },
  { "int8", "9007199254740992", 9007199254740992 },
  { "int8", "-9007199254740992", -9007199254740992 },
  { "int8", "9007199254740993", "9007199254740993" },
  { "int8", "-9223372036854775808", "-9223372036854775808" },
  { "oid", "4294967295", 4294967295 },
  { "float4", "1.5", 1.5 },
  { "float8", "0.1", 0.1 },
  { "float8", "1e300", 1e300 },
  { "float8", "'Infinity'", math.huge },
  { "float8", "'-Infinity'", -math.huge },
  { "numeric", "12345678901234567890.0123456789", "12345678901234567890.0123456789" },
  { "text", "'plain'", "plain" },
  { "text", "''", "" },
  { "text", "'it''s \\ \"q\" {a,b}'", "it's \\ \"q\" {a,b}" },
  { "text", "'\u{e9}\u{1f30a}'", "\u{e9}\u{1f30a}" },
  { "varchar(8)", "'short'", "short" },
  { "char(4)", "'ab'", "ab  " },
  { "uuid", "'" .. UUID .. "'", UUID },
  { "date", "'2024-02-29'", "2024-02-29" },
  { "timestamp", "'2024-02-29 12:34:56.789'", "2024-02-29 12:34:56.789" },
  { "interval", "'1 day 02:03:04'", "1 day 02:03:04" },
  -- types that the runtime has never heard of come as the server writes them
  { "inet", "'10.0.0.0/8'", "10.0.0.0/8" },
  { "point", "'(1,2)'", "(1,2)" },
  { "int4range", "'[1,5)'", "[1,5)" },
  { "bit(3)", "B'101'", "101" },
  { "macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03" },
}

-- { type, literal, what Lua sees }: tables, compared deeply
local TABLES = {
  { "json", [['{"a": 1, "b": [true, null]}']], { a = 1, b = { true, null } } },
  { "jsonb", [['{"deep": {"er": "x"}}']], { deep = { er = "x" } } },
  { "jsonb", [['[1, 2.5, "three"]']], { 1, 2.5, "three" } },
  { "int4[]", "'{1,2,3}'", { 1, 2, 3 } },
  { "int8[]", "'{1,9007199254740993}'", { 1, "9007199254740993" } },
  { "bool[]", "'{t,f}'", { true, false } },
  { "float8[]", "'{0.5,-1}'", { 0.5, -1 } },
  { "text[]", [['{a,"b,c","d\"e","f\\g",""}']], { "a", "b,c", 'd"e', "f\\g", "" } },
  { "text[]", "'{NULL,\"NULL\"}'", { null, "NULL" } },
  { "int4[]", "'{{1,2},{3,4}}'", { { 1, 2 }, { 3, 4 } } },
  { "int4[]", "'{}'", {} },
  { "uuid[]", "'{" .. UUID .. "}'", { UUID } },
}

describe("Postgres types", function()
  local db

  setup(function() db = support.postgres() end)

  local function value_of(sql, ...)
    return must(db:one(sql, ...)).v
  end

  for _, case in ipairs(VALUES) do
    local kind, literal, expected = unpack(case)

    it(("%s %s comes out"):format(kind, literal), function()
      assert.are.equal(expected, value_of(("SELECT (%s)::%s AS v"):format(literal, kind)))
    end)

    it(("%s %s goes in"):format(kind, literal), function()
      local same = value_of(("SELECT $1::%s::text = (%s)::%s::text AS v")
        :format(kind, literal, kind), expected)
      assert.is_true(same)
    end)
  end

  for _, case in ipairs(TABLES) do
    local kind, literal, expected = unpack(case)

    it(("%s %s comes out as a table"):format(kind, literal), function()
      assert.are.same(expected, value_of(("SELECT (%s)::%s AS v"):format(literal, kind)))
    end)

    it(("%s %s goes in as a table"):format(kind, literal), function()
      local compare = kind == "json" and "jsonb" or kind
      local sql = "SELECT ($1::%s)::%s = (%s)::%s AS v"
      assert.is_true(value_of(sql:format(kind, compare, literal, compare), expected))
    end)
  end

  it("NaN comes out and goes in", function()
    local nan = value_of "SELECT 'NaN'::float8 AS v"
    assert.is_true(nan ~= nan)
    assert.is_true(value_of("SELECT $1::float8 = 'NaN'::float8 AS v", nan))
  end)

  it("NULL of any type is an absent key", function()
    for _, kind in ipairs { "bool", "int4", "text", "jsonb", "int4[]", "inet" } do
      local row = must(db:one(("SELECT NULL::%s AS v, 1 AS w"):format(kind)))
      assert.is_nil(row.v)
      assert.are.equal(1, row.w)
    end
  end)

  it("nil and tide.null go in as NULL, also between others", function()
    local row = must(db:one([[SELECT $1::int IS NULL AS a, $2::text AS b,
      $3::jsonb IS NULL AS c]], nil, "b", null))
    assert.are.same({ true, "b", true }, { row.a, row.b, row.c })
    assert.is_true(must(db:one("SELECT $1::int IS NULL AS a", nil)).a)
  end)

  it("a JSON null inside a document is tide.null", function()
    assert.are.equal(null, value_of [[SELECT '{"a":null}'::jsonb AS v]].a)
  end)

  it("a float keeps all its digits", function()
    for _, number in ipairs { 0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308 } do
      assert.are.equal(number, value_of("SELECT $1::float8 AS v", number))
    end
  end)

  it("a whole number goes in without a decimal point", function()
    assert.are.equal("9007199254740992", value_of("SELECT $1::text AS v", 2 ^ 53))
    assert.are.equal(-7, value_of("SELECT $1::int AS v", -7))
  end)

  it("text with a megabyte comes back as it went", function()
    local long = ("\u{e9}0123456789abcde"):rep(65536)
    assert.are.equal(long, value_of("SELECT $1::text AS v", long))
  end)

  it("text with a zero byte is refused: Postgres has none", function()
    local ok, row, err = pcall(db.one, db, "SELECT $1::text AS v", "a\0b")
    assert.is_true(not ok or (row == nil and err ~= nil))
    assert.are.equal(1, value_of "SELECT 1 AS v")
  end)

  it("a bound array is compared and unnested by the server", function()
    local rows = must(db:query([[SELECT n FROM unnest($1::int[]) AS n
      WHERE n = ANY($2)]], { 1, 2, 3 }, { 2, 3, 4 }))
    assert.are.same({ 2, 3 }, { rows[1].n, rows[2].n })
  end)

  it("values of a type that cannot be sent raise", function()
    assert.has_error(function() db:one("SELECT $1::text AS v", print) end)
    assert.has_error(function()
      db:one("SELECT $1::text AS v", coroutine.create(print))
    end)
  end)

  it("tide.encode writes rows with NULL, int8, float8 and arrays exactly", function()
    local rows = must(db:query [[SELECT 1 AS a, NULL::text AS b,
      9007199254740993::int8 AS c, '{1,NULL}'::int[] AS d, '{"x":1}'::jsonb AS e,
      0.30000000000000004::float8 AS f, 9007199254740991::int8 AS g, 'q"\'::text AS h]])
    assert.are.same({
      {
        a = 1, b = null, c = "9007199254740993", d = { 1, null }, e = { x = 1 },
        f = 0.1 + 0.2, g = 9007199254740991, h = 'q"\\',
      },
    }, tide.decode(tide.encode(rows)))
  end)

  it("tide.encode keeps every digit of a number that a script made", function()
    for _, number in ipairs { 9007199254740991, 123456789012345678, 0.1 + 0.2, -1e-7 } do
      assert.are.equal(number, tide.decode(tide.encode { number })[1])
    end
  end)

  it("a table that goes in as jsonb keeps every digit too", function()
    local sql = "SELECT ($1::jsonb ->> 'id') AS v"
    assert.are.equal("9007199254740991", value_of(sql, { id = 9007199254740991 }))
  end)

  it("rows that a script looked at are written as the others are", function()
    local sql = "SELECT 1 AS a, NULL::text AS b"
    local fresh, seen = must(db:query(sql)), must(db:query(sql))
    assert.are.equal(1, seen[1].a)
    assert.are.same(tide.decode(tide.encode(fresh)), tide.decode(tide.encode(seen)))
  end)

  it("tide.json encodes all rows as an array, also when there is none", function()
    local rows = must(db:query "SELECT n FROM generate_series(1, 3) AS n")
    assert.are.equal('[{"n":1},{"n":2},{"n":3}]', tide.encode(rows))
    assert.are.equal("[]", tide.encode(must(db:query "SELECT 1 AS n WHERE false")))
  end)
end)
