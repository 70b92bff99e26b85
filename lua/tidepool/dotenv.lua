-- dotenv.lua - reads .env files: NAME=value, as a shell would take them.
--
-- A value may stand in single quotes (taken as it is) or in double quotes (\n \r \t \" \\
-- and \$ are known), also over several lines; a bare one ends at white space and a #.
-- `export` before the name is allowed.  Nothing is substituted.

local lpeg = require "lpeg"

local P, R, S = lpeg.P, lpeg.R, lpeg.S
local C, Cp, Cs = lpeg.C, lpeg.Cp, lpeg.Cs

local ESCAPES = { n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["$"] = "$" }

local blank = S " \t" ^ 0
local newline = P "\r" ^ -1 * P "\n"
local line_end = newline + P "\r" ^ -1 * -P(1)
local comment = P "#" * (1 - newline) ^ 0
local trivia = blank * comment ^ -1 * newline

local escape = P "\\" / "" * (S 'nrt"\\$' / ESCAPES)
local double_quoted = P '"' * Cs((escape + P "\\" * P(1) + (1 - S '"\\')) ^ 0) * '"'
local single_quoted = P "'" * C((1 - P "'") ^ 0) * "'"
local bare = -S "\"'#" * C((1 - blank * line_end - S " \t" ^ 1 * "#") ^ 0) + C ""

local name = C((R("az", "AZ") + "_") * (R("az", "AZ", "09") + S "_.") ^ 0)
local entry = blank * (P "export" * S " \t" ^ 1) ^ -1 * name * blank * "=" * blank
  * (double_quoted + single_quoted + bare) * blank * comment ^ -1 * line_end * Cp()
local nothing = blank * comment ^ -1 * -P(1)

local function line_at(text, at)
  return select(2, text:sub(1, at - 1):gsub("\n", "")) + 1
end

local dotenv = {}

-- Parses a file's text.  Returns a table of { value =, line = } by name, the last one
-- where a name comes twice; or nil, err with err.message and err.line.
function dotenv.parse(text)
  local values = {}
  local skip = P "\239\187\191" ^ -1 * trivia ^ 0 * Cp()
  local at = skip:match(text)
  while not nothing:match(text, at) do
    local key, value, next_at = entry:match(text, at)
    if not key then
      local message = "expected NAME=value, quotes closed and nothing after them"
      return nil, { message = message, line = line_at(text, at) }
    end
    values[key] = { value = value, line = line_at(text, at) }
    at = skip:match(text, next_at)
  end
  return values
end

return dotenv
