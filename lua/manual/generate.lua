-- generate.lua - writes the stubs for language servers from the manual.
--   tidepool run lua/manual/generate.lua -- lua/README.md lua/types/tidepool.lua

local parse = require "parse"
local write = require "stubs"

local from, to = ...
if not to then error("the manual and the file to write expected", 0) end

local file = assert(io.open(from))
local text = file:read "*a"
file:close()

local stubs = write(parse(text, from), "Tide")

file = assert(io.open(to, "w"))
assert(file:write(stubs))
file:close()
