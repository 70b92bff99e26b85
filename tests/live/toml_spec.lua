-- toml_spec.lua - the TOML reader against tests/live/toml/{valid,invalid}.
--
-- A valid file has its value in a .json beside it, scalars as { type, value }.  An
-- invalid one says in its first line where its mistake is and words of the message.

local cjson = require "cjson"
local toml = require "tidepool.toml"

local FOLDER = debug.getinfo(1, "S").source:match("^@(.*/)") .. "toml/"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function names(folder)
  local list = {}
  local listing = assert(io.popen("ls '" .. FOLDER .. folder .. "'"))
  for line in listing:lines() do list[#list + 1] = line:match("^(.*)%.toml$") end
  listing:close()
  return list
end

local function number_text(number)
  if number ~= number then return "nan" end
  if number == math.huge then return "inf" end
  if number == -math.huge then return "-inf" end
  return ("%.17g"):format(number)
end

local WRITERS = {
  integer = function(value)
    if type(value) == "number" then return ("%.0f"):format(value) end
    return tostring(value):sub(1, -3) -- "...LL"
  end,
  float = number_text,
}

-- A parsed value in the form of the .json files.
local function tagged(value, kind, places)
  if kind == "table" or kind == "array" then
    local result = {}
    for key, child in pairs(value) do
      result[key] = tagged(child, places[value][key].kind, places)
    end
    return result
  end
  return { type = kind, value = (WRITERS[kind] or tostring)(value) }
end

describe("toml.parse", function()
  for _, name in ipairs(names "valid") do
    it("reads valid/" .. name, function()
      local root, places = toml.parse(read(FOLDER .. "valid/" .. name .. ".toml"))

      assert(root, tostring(places))
      local wanted = cjson.decode(read(FOLDER .. "valid/" .. name .. ".json"))
      assert.same(wanted, tagged(root, "table", places))
    end)
  end

  for _, name in ipairs(names "invalid") do
    it("refuses invalid/" .. name, function()
      local text = read(FOLDER .. "invalid/" .. name .. ".toml")
      local line, words = text:match("^# line (%d+): ([^\n]+)\n")

      local root, err = toml.parse(text)
      assert.is_nil(root)
      assert.equal(tonumber(line), err.line)
      assert(err.message:find(words, 1, true), err.message)
      assert.equal("line " .. line .. ": " .. err.message, tostring(err))
    end)
  end

  it("gives the line and the kind of every key and element", function()
    local root, places = toml.parse(
      "a = 1\n\n[b]\nc.d = 2.0\nlist = [\n  1,\n  'x' ]\n[[e]]\n")

    assert.same({ line = 1, kind = "integer" }, places[root].a)
    assert.same({ line = 3, kind = "table" }, places[root].b)
    assert.same({ line = 4, kind = "table" }, places[root.b].c)
    assert.same({ line = 4, kind = "float" }, places[root.b.c].d)
    assert.same({ line = 5, kind = "array" }, places[root.b].list)
    assert.same({ line = 7, kind = "string" }, places[root.b.list][2])
    assert.same({ line = 8, kind = "table" }, places[root.e][1])
  end)

  it("names the line of a header that makes an implied table", function()
    local root, places = toml.parse("[a.b]\n[a]\n")

    assert.equal(2, places[root].a.line)
    assert.equal(1, places[root.a].b.line)
  end)

  it("gives the parts of dates", function()
    local root = toml.parse("a = 1979-05-27T07:32:00.25-07:00\nb = 1979-05-27\n")

    assert.equal(-420, root.a.offset)
    assert.equal("25", root.a.fraction)
    assert.equal(32, root.a.minute)
    assert.equal("1979-05-27T07:32:00.25-07:00", tostring(root.a))
    assert.equal(27, root.b.day)
    assert.is_nil(root.b.hour)
  end)

  it("keeps the sign of zero and numbers of one kind as numbers", function()
    local root = toml.parse("a = -0.0\nb = 15\nc = 15.0\n")

    assert.equal(-math.huge, 1 / root.a)
    assert.equal("number", type(root.b))
    assert.equal(root.b, root.c)
  end)

  it("refuses nesting without end instead of failing", function()
    local depth = 100000
    local root, err = toml.parse("a = " .. ("["):rep(depth) .. ("]"):rep(depth))

    assert.is_nil(root)
    assert.equal("values are nested too deeply", err.message)
  end)

  it("says so when a text is UTF-16", function()
    for _, mark in ipairs { "\255\254", "\254\255" } do
      local root, err = toml.parse(mark .. "a\0=\0001\0")
      assert.is_nil(root)
      assert.equal("line 1: the text is UTF-16, expected UTF-8", tostring(err))
    end
  end)

  it("shows little of a long word, and no password of a url without quotes", function()
    local function message(value)
      return select(2, toml.parse("a = " .. value)).message
    end

    assert.equal("'" .. ("x"):rep(57) .. "...' is not a value; a text needs quotes",
      message(("x"):rep(1000)))
    assert.equal("'" .. ("1"):rep(57) .. "...' is not a number or a date; a text "
      .. "needs quotes",
      message(("1"):rep(1000) .. "x"))
    assert.equal(("1"):rep(57) .. "... does not fit in 64 bits",
      message(("1"):rep(1000)))
    for _, url in ipairs { "app:secret@h/d", "postgres://app:secret@h/d" } do
      assert.is_nil(message(url):find("secret", 1, true))
    end
  end)

  it("reads a long array and a long document", function()
    local root = toml.parse("a = [" .. ("1,"):rep(100000) .. "]\n")
    local lines = {}
    for i = 1, 20000 do lines[i] = ("key%d = %d\n"):format(i, i) end
    local long, places = toml.parse(table.concat(lines))

    assert.equal(100000, #root.a)
    assert.equal(20000, places[long].key20000.line)
  end)

  it("raises when it is not given a text", function()
    assert.has_error(function() toml.parse(nil) end, "toml.parse wants a string")
  end)
end)
