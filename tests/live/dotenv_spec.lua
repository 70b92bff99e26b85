-- dotenv_spec.lua - what .env files may hold, and what is wrong with others.

local dotenv = require "tidepool.dotenv"

-- What follows "A=" -> the value of A.
local VALUES = {
  { "", "" },
  { "1", "1" },
  { "   ", "" },
  { "two words", "two words" },
  { "last \t ", "last" },
  { " spaces around ", "spaces around" },
  { "\ttab", "tab" },
  { "a=b=c", "a=b=c" },
  { "postgres://a:b@h/d?x=1&y=2", "postgres://a:b@h/d?x=1&y=2" },
  { "café", "café" },
  { "C:\\new\\table", "C:\\new\\table" },
  { "it's", "it's" },
  { 'say "hi"', 'say "hi"' },
  { "a$b", "a$b" },
  { "${B}", "${B}" },
  -- comments
  { "one # two", "one" },
  { "one\t# two", "one" },
  { "one#two", "one#two" },
  { "one #", "one" },
  { "one #two #three", "one" },
  { "one# two", "one# two" },
  { "# only a comment", "" },
  { "#", "" },
  { " # only a comment", "" },
  { " #only a comment", "" },
  { "#f00", "#f00" },
  -- single quotes: as it is
  { "''", "" },
  { "'one two'", "one two" },
  { " 'one' ", "one" },
  { "'one' # two", "one" },
  { "'one'# two", "one" },
  { "'one # two'", "one # two" },
  { "' spaces '", " spaces " },
  { "'say \"hi\"'", 'say "hi"' },
  { "'C:\\new'", "C:\\new" },
  { "'\\'", "\\" },
  { "'one\ntwo'", "one\ntwo" },
  { "'one\r\n\r\ntwo'\r", "one\n\ntwo" },
  { "'a$b'", "a$b" },
  { "'${B}'", "$${B}" },
  { "'a=b'", "a=b" },
  -- double quotes: escapes
  { '""', "" },
  { '"one two"', "one two" },
  { ' "one"\t', "one" },
  { '"one" # two', "one" },
  { '"one # two"', "one # two" },
  { '" spaces "', " spaces " },
  { '"it\'s"', "it's" },
  { '"a\\nb\\tc\\rd"', "a\nb\tc\rd" },
  { '"say \\"hi\\""', 'say "hi"' },
  { '"\\\\"', "\\" },
  { '"\\\\n"', "\\n" },
  { '"C:\\dir"', "C:\\dir" },
  { '"one\ntwo"', "one\ntwo" },
  { '"one\r\ntwo"', "one\ntwo" },
  { '"one \\\ntwo"', "one two" },
  { '"one \\\r\ntwo"', "one two" },
  { '"${B} $C"', "${B} $C" },
  { '"\\${B} \\$C \\${"', "$${B} $C ${" },
  { '"#"', "#" },
}

-- A whole file -> its values, each with its line.
local FILES = {
  ["nothing"] = { "", {} },
  ["blank lines"] = { "\n \t\n\r\n", {} },
  ["comments"] = { "# A=1\n  # A=2\n#\n\t#A=3", {} },
  ["no newline at the end"] = { "A=1", { A = { 1, "1" } } },
  ["a return at the end"] = { "A=1\r", { A = { 1, "1" } } },
  ["CRLF"] = { "A=1\r\nB='2'\r\nC=\r\nD=4 # x\r\n",
    { A = { 1, "1" }, B = { 2, "2" }, C = { 3, "" }, D = { 4, "4" } } },
  ["a byte order mark"] = { "\239\187\191A=1\n", { A = { 1, "1" } } },
  ["export"] = { "export A=1\n  export\tB = 2\nexport  C='3'\n",
    { A = { 1, "1" }, B = { 2, "2" }, C = { 3, "3" } } },
  ["a name export"] = { "export=1\n", { export = { 1, "1" } } },
  ["a name export and spaces"] = { "export = 1\n", { export = { 1, "1" } } },
  ["spaces around"] = { "  A  =  1  \n\tB\t=\t2\n", { A = { 1, "1" }, B = { 2, "2" } } },
  ["names"] = { "a1=1\n_=2\nA_B.c=3\n",
    { a1 = { 1, "1" }, _ = { 2, "2" }, ["A_B.c"] = { 3, "3" } } },
  ["lines after a value of several"] = { "A='\n\n'\n\nB=\"\n\"\nC=1\n",
    { A = { 1, "\n\n" }, B = { 5, "\n" }, C = { 7, "1" } } },
  ["an empty value before a name"] = { "A=\nB=2\n", { A = { 1, "" }, B = { 2, "2" } } },
  ["a name twice"] = { "A=1\nA=2\n", { A = { 2, "2" } } },
}

local NOT_A_LINE = "expected NAME=value; a value of several lines stands in quotes"
local NOT_A_NAME = "expected NAME=value, NAME being letters, digits and _, no digit first"
local NOT_AFTER = "expected nothing, or a comment, after the quote that closes the value"

-- What follows a good first line -> the line of the mistake, and what is said of it.
local WRONG = {
  { "nonsense", 2, NOT_A_LINE },
  { "A", 2, NOT_A_LINE },
  { "export", 2, NOT_A_LINE },
  { "export A", 2, NOT_A_LINE },
  { "A: 1", 2, NOT_A_LINE },
  { "[section]", 2, NOT_A_LINE },
  { "two words=1", 2, NOT_A_LINE },
  { "export two words=1", 2, NOT_A_LINE },
  { "KEY=-----BEGIN KEY-----\nMIIE\n", 3, NOT_A_LINE },
  { "=1", 2, NOT_A_NAME },
  { " = 1", 2, NOT_A_NAME },
  { "1A=1", 2, NOT_A_NAME },
  { "A-B=1", 2, NOT_A_NAME },
  { "é=1", 2, NOT_A_NAME },
  { '"A"=1', 2, NOT_A_NAME },
  { "export 1=1", 2, NOT_A_NAME },
  { "A='x", 2, "the quote ' that opens here is never closed" },
  { 'A="x', 2, 'the quote " that opens here is never closed' },
  { '\n\nA="x\n\ny\\"\n', 4, 'the quote " that opens here is never closed' },
  { 'A="x\\', 2, 'the quote " that opens here is never closed' },
  { "A=1\nB='x\nC=3\n", 3, "the quote ' that opens here is never closed" },
  { "A='x'y", 2, NOT_AFTER },
  { 'A="x" y', 2, NOT_AFTER },
  { "A='x''y'", 2, NOT_AFTER },
  { "A='x\ny' z", 3, NOT_AFTER },
  { "A=one\rB=two", 2, "control character U+000D in the value" },
  { "A=one\0two", 2, "control character U+0000 in the value" },
  { "A='x\27'", 2, "control character U+001B in the value" },
  { 'A="x\1"', 2, "control character U+0001 in the value" },
}

local function named(text)
  return (text:gsub("%c", function(c) return ("<%02x>"):format(c:byte()) end))
end

describe("dotenv.parse", function()
  for _, case in ipairs(VALUES) do
    it("reads A=" .. named(case[1]), function()
      local values, err = dotenv.parse("A=" .. case[1] .. "\nZ=26\n")

      assert(values, err and err.message)
      assert.equal(case[2], values.A.value)
      assert.equal("26", values.Z.value)
    end)
  end

  for name, case in pairs(FILES) do
    it("reads " .. name, function()
      local values, err = dotenv.parse(case[1])

      assert(values, err and err.message)
      local found = {}
      for key, entry in pairs(values) do found[key] = { entry.line, entry.value } end
      assert.same(case[2], found)
    end)
  end

  for _, case in ipairs(WRONG) do
    it("refuses " .. named(case[1]), function()
      local values, err = dotenv.parse("OK=1\n" .. case[1] .. "\n")

      assert.is_nil(values)
      assert.same({ line = case[2], message = case[3] }, err)
    end)
  end

  it("refuses UTF-16, as some editors write it", function()
    for _, mark in ipairs { "\255\254", "\254\255" } do
      local values, err = dotenv.parse(mark .. "A\0=\0001\0")
      assert.is_nil(values)
      assert.same({ line = 1, message = "the text is UTF-16, expected UTF-8" }, err)
    end
  end)

  it("tells of the line that a name replaces", function()
    local values = dotenv.parse "A=1\nB=2\nA=3\nA=4\n"

    assert.same({ value = "4", line = 4, before = 3 }, values.A)
    assert.is_nil(values.B.before)
  end)

  it("says nothing of what stands in a line that it cannot read", function()
    for _, text in ipairs { "s3cret", "-s3cret=", "A='s3cret", "A='x's3cret" } do
      local _, err = dotenv.parse(text)
      assert.is_nil(err.message:find("s3cret", 1, true))
    end
  end)
end)
