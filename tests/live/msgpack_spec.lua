-- msgpack_spec.lua - MessagePack, by the forms of its specification.

local support = require "support"
local tide = require "tidepool"

local function unhex(digits)
  return (digits:gsub("%s", ""):gsub("..", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

local function nested(depth, value)
  for _ = 1, depth do value = { value } end
  return value
end

-- What both ways are the same.
local FORMS = {
  { 0, "00" }, { 127, "7f" }, { 128, "cc80" }, { 255, "ccff" }, { 256, "cd0100" },
  { 65535, "cdffff" }, { 65536, "ce00010000" }, { 4294967295, "ceffffffff" },
  { 4294967296, "cf0000000100000000" }, { 2 ^ 53, "cf0020000000000000" },
  { -1, "ff" }, { -32, "e0" }, { -33, "d0df" }, { -128, "d080" }, { -129, "d1ff7f" },
  { -32768, "d18000" }, { -32769, "d2ffff7fff" }, { -2147483648, "d280000000" },
  { -2147483649, "d3ffffffff7fffffff" }, { -2 ^ 53, "d3ffe0000000000000" },
  { 0.5, "cb3fe0000000000000" }, { 2 ^ 53 + 2, "cb4340000000000001" },
  { math.huge, "cb7ff0000000000000" },
  { true, "c3" }, { false, "c2" }, { tide.null, "c0" },
  { "", "a0" }, { "h\0é", "a468 00 c3a9" }, { ("x"):rep(31), "bf" .. ("78"):rep(31) },
  { ("x"):rep(32), "d920" .. ("78"):rep(32) },
  { ("x"):rep(256), "da0100" .. ("78"):rep(256) },
  { ("x"):rep(65536), "db00010000" .. ("78"):rep(65536) },
  { "\255", "c401ff" }, { ("\255"):rep(256), "c50100" .. ("ff"):rep(256) },
  { ("\255"):rep(65536), "c600010000" .. ("ff"):rep(65536) },
  { { 1, tide.null, "a" }, "9301c0a161" }, { { a = { 1 } }, "81a16191 01" },
  { {}, "80" }, { { [true] = 2 }, "81c302" },
  { { [0.5] = 1 }, "81cb3fe0000000000000 01" },
}

-- What is read, and not written.
local READ = {
  { "d0ff", -1 }, { "ca3fc00000", 1.5 }, { "90", {} }, { "dc0001 05", { 5 } },
  { "dd00000001 05", { 5 } }, { "de0001 a161 05", { a = 5 } },
  { "df00000001 a161 05", { a = 5 } }, { "82a16101a16102", { a = 2 } },
  { "cf0020000000000001", "9007199254740993" },
  { "cfffffffffffffffff", "18446744073709551615" },
  { "d38000000000000000", "-9223372036854775808" },
  { "d3ffdfffffffffffff", "-9007199254740993" },
}

-- What is refused, and what is said of it.
local WRONG = {
  [""] = "the bytes end within what begins here at byte 1 of 0",
  ["93 01 02"] = "end within what begins here at byte 1 of 3",
  ["92 01 cd01"] = "end within what begins here at byte 3 of 4",
  ["a3 6161"] = "end within what begins here at byte 1 of 3",
  ["dbffffffff 61"] = "end within what begins here at byte 1 of 6",
  ["ddffffffff 01"] = "end within what begins here at byte 1 of 6",
  ["dfffffffff 01 01"] = "end within what begins here at byte 1 of 7",
  ["c6ffffffff"] = "end within what begins here at byte 1 of 5",
  ["01 01"] = "more bytes, behind the value, at byte 2 of 2",
  ["91 c1"] = "0xc1, which begins nothing at byte 2 of 2",
  ["91 d6ff00000000"] = "an extension type: there is nothing in Lua for it at byte 2",
  ["81 c0 01"] = "a key that is no text, number or boolean at byte 2 of 3",
  ["81 cb7ff8000000000000 01"] = "a key that is no text, number or boolean at byte 2",
  ["81 90 01"] = "a key that is no text, number or boolean at byte 2",
}

local function raises(says, value)
  assert.error_matches(function() tide.msgpack_encode(value) end, says)
end

describe("MessagePack", function()
  it("writes and reads each form", function()
    for _, form in ipairs(FORMS) do
      local value, digits = form[1], form[2]:gsub("%s", "")
      assert.equal(digits, hex(tide.msgpack_encode(value)))
      assert.same(value, tide.msgpack_decode(unhex(digits)))
    end
    assert.equal("c0", hex(tide.msgpack_encode(nil)))
    assert.equal("cb8000000000000000", hex(tide.msgpack_encode(-0)))
  end)

  it("writes maps and arrays of any length", function()
    for _, n in ipairs { 15, 16, 65535, 65536 } do
      local list, map = {}, {}
      for i = 1, n do list[i], map["k" .. i] = i, i end
      assert.same(list, tide.msgpack_decode(tide.msgpack_encode(list)))
      assert.same(map, tide.msgpack_decode(tide.msgpack_encode(map)))
    end
    assert.same({ 1, tide.null, 3 },
      tide.msgpack_decode(tide.msgpack_encode { 1, nil, 3 }))
  end)

  it("reads what others write", function()
    for _, form in ipairs(READ) do
      assert.same(form[2], tide.msgpack_decode(unhex(form[1])))
    end
    local nan = tide.msgpack_decode(unhex "cbffffffffffffffff")
    assert.is_true(type(nan) == "number" and nan ~= nan)
  end)

  it("takes tide.bytes for bytes and tide.array for an array", function()
    assert.equal("91c40161", hex(tide.msgpack_encode { tide.bytes "a" }))
    assert.equal("81a16c90", hex(tide.msgpack_encode { l = tide.array {} }))
  end)

  it("says what is wrong with bytes, and where", function()
    for digits, says in pairs(WRONG) do
      local value, err = tide.msgpack_decode(unhex(digits))
      assert.is_nil(value)
      assert.equal("badarg", err.code)
      assert.equal(400, err.status)
      assert.truthy(err.message:find("bad MessagePack: ", 1, true))
      assert(err.message:find(says, 1, true), err.message)
    end
    assert.error_matches(function() tide.msgpack_decode(1) end, "string expected")
  end)

  it("goes 100 deep, both ways", function()
    local deepest = nested(100, 1)
    assert.same(deepest, tide.msgpack_decode(tide.msgpack_encode(deepest)))
    raises("more than 100", nested(101, 1))
    local _, err = tide.msgpack_decode(("\145"):rep(1e6))
    assert.truthy(err.message:find("values in one another at byte 102 of", 1, true))
  end)

  it("takes no memory for lengths that nothing backs", function()
    local lie = ("\221\0\15\0\0"):rep(100) .. ("\1"):rep(1e6) -- 983,040 in one another
    collectgarbage()
    local before = collectgarbage "count"
    assert.is_nil((tide.msgpack_decode(lie)))
    assert.is_true(collectgarbage "count" - before < 64 * 1024)
  end)

  it("raises for what cannot be written", function()
    raises("a function cannot", { print })
    raises("a key of a table", { [{}] = 1 })
    raises("keys of a tide.array", tide.array { a = 1 })
    raises("json_param", { tide.json_param {} })
  end)

  it("writes rows", function()
    local db = support.postgres()
    local rows = assert(db:query [[SELECT 1 AS a, NULL AS b
      UNION ALL SELECT 2, 'x' ORDER BY 1]])
    assert.same({ { a = 1 }, { a = 2, b = "x" } }, -- NULL is nil
      tide.msgpack_decode(tide.msgpack_encode(rows)))
    db:close()
  end)
end)
