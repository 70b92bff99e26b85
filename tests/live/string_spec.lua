-- string_spec.lua - the string library in bounds does what LuaJIT's own does.

local ROUNDS = tonumber(os.getenv "STRING_ROUNDS") or 3000
local original = debug.getregistry()["tidepool.string"]

local PIECES = { "a", "b", "ab", ".", "%a", "%d", "%s", "%w", "%p", "%x", "%A", "%S",
  "[ab]", "[^a]", "[a-c]", "[%d_]", "[]]", "[^]]", "[a-]", "[-a]", "%%", "%.", "%bab",
  "%b()",
  "%f[%w]", "%f[^a]", "%1", "%2", "()", "(a*)", "(.-)", "(%w+)", "(a)(b)", "((a)b)", "$",
  "^", "x", " ", "\0", "[%a%]]", "[%z]", "%z" }
local SUFFIXES = { "", "", "", "", "*", "+", "-", "?" }
local WRONG = { "%", "[", "[^", "[%", "(", ")", "%b", "%ba", "%f", "%fa", "%1", "(()",
  "%9", "[]", "[^]", "[a", "(a", "a)", "(a))", "%0" }
local LETTERS = { "a", "b", "c", "x", "1", " ", "(", ")", "_", ".", "-", "]", "\0", "%" }

local function pick(list) return list[math.random(#list)] end

local function text(most)
  local parts = {}
  for i = 1, math.random(0, most) do parts[i] = pick(LETTERS) end
  return table.concat(parts)
end

local function pattern()
  local parts = { math.random(5) == 1 and "^" or "" }
  for _ = 1, math.random(1, 4) do parts[#parts + 1] = pick(PIECES) .. pick(SUFFIXES) end
  if math.random(6) == 1 then parts[#parts + 1] = "$" end
  if math.random(40) == 1 then parts[#parts + 1] = pick(WRONG) end
  return table.concat(parts)
end

-- What a call gives, with whether it raised instead of the words of an error.
local function outcome(fn, ...)
  local result = { pcall(fn, ...) }
  if not result[1] then return { false } end
  for i = 1, 12 do if result[i] == nil then result[i] = "nil" end end
  return result
end

local function all_of(gmatch, subject, text_of)
  local found = {}
  for a, b, c in gmatch(subject, text_of) do
    found[#found + 1] = { tostring(a), tostring(b), tostring(c) }
    if #found > 100 then break end
  end
  return found
end

local REPLACEMENTS = { "", "<%0>", "%1", "%2-%1", "%%", "x", "%a", 7,
  { a = "A", ab = "AB", [""] = "empty", b = false }, { 1, 2, 3 },
  function(first, second) return second or first and tostring(first):upper() end,
  function() end, function() return {} end, true }

describe("string functions", function()
  it("give what LuaJIT's own give, for any pattern", function()
    math.randomseed(20261127)
    local raised, matched = 0, 0
    for _ = 1, ROUNDS do
      local subject, form = text(12), pattern()
      local start = math.random(6) == 1 and math.random(-14, 14) or nil
      local what = ("subject %q, pattern %q, %s"):format(subject, form, tostring(start))
      local expected = outcome(original.find, subject, form, start)
      assert.are.same(expected, outcome(string.find, subject, form, start), what)
      raised = raised + (expected[1] and 0 or 1)
      matched = matched + (expected[1] and expected[2] ~= "nil" and 1 or 0)
      assert.are.same(outcome(original.match, subject, form, start),
        outcome(string.match, subject, form, start), what)
      assert.are.same(outcome(all_of, original.gmatch, subject, form),
        outcome(all_of, string.gmatch, subject, form), what)
      local by = pick(REPLACEMENTS)
      local most = math.random(4) == 1 and math.random(0, 3) or nil
      assert.are.same(outcome(original.gsub, subject, form, by, most),
        outcome(string.gsub, subject, form, by, most), what .. " by " .. tostring(by))
    end
    assert.is_true(raised > ROUNDS / 100 and matched > ROUNDS / 10,
      raised .. " " .. matched)
  end)

  it("find plain text, and repeat", function()
    math.randomseed(7)
    for _ = 1, 3000 do
      local subject, part = text(12), text(3)
      local start = math.random(-14, 14)
      assert.are.same(outcome(original.find, subject, part, start, true),
        outcome(string.find, subject, part, start, true))
      local count, between = math.random(-2, 5), math.random(2) == 1 and text(2) or nil
      assert.are.equal(original.rep(part, count, between), part:rep(count, between))
    end
  end)

  it("refuse what is no text, by its place", function()
    for _, name in ipairs { "find", "match", "gmatch", "gsub", "rep" } do
      assert.has_error(function() string[name]({}, "a", "b") end)
      assert.has_error(function() string[name]("a") end)
    end
    assert.has_error(function() string.gsub("a", "a", nil) end)
    local ok, err = pcall(string.gsub, "a", "a", function() return {} end)
    assert.is_false(ok)
    assert.matches("invalid replacement value %(a table%)", err)
  end)

  it("make no gigabytes of little", function()
    for _, make in ipairs {
      function() return ("x"):rep(2e9) end,
      function() return ("x"):rep(1e5, ("y"):rep(1e5)) end,
    } do
      local ok, err = pcall(make)
      assert.is_false(ok)
      assert.matches("resulting string too large", err)
    end
  end)
end)
