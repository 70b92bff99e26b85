-- dotenv.lua - reads .env files: NAME=value, as a shell would take them.
--
-- A value in single quotes is taken as it is; in double quotes \n \r \t \" \\ \$ and a
-- backslash at the end of a line are known; both may go on over several lines.  A bare
-- value ends with its line, or at a # after white space.  `export` may stand before the
-- name.  Values are templates, in which the reader puts ${NAME}; one that single quotes
-- or a backslash protect comes out as $${NAME}.

local dotenv = {}

local ESCAPES = { n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["\n"] = "" }
local PROTECTED = "\1" -- a dollar that was escaped, for a moment

-- No part of the file is shown: a line that cannot be read may be one of a secret.
local function fail(at, message, ...)
  error({ at = at, message = message:format(...) }, 0)
end

local function refuse_control(value, at, characters)
  local found = value:find(characters)
  if found then
    fail(at, "control character U+%04X in the value", value:byte(found))
  end
end

local function protect(text)
  return (text:gsub("%$({[^}]*})", "$$%1"))
end

local function unescape(text)
  text = text:gsub("\\(.)", function(c) return c == "$" and PROTECTED or ESCAPES[c] end)
  return (text:gsub(PROTECTED .. "({[^}]*})", "$$%1"):gsub(PROTECTED, "$"))
end

-- Returns the value between quotes that begins at a place, and the place after it.
local function quoted(text, at)
  local quote = text:sub(at, at)
  local from = at + 1
  local stop = from
  while true do
    stop = text:find(quote == '"' and '["\\]' or "'", stop)
    if not stop then fail(at, "the quote %s that opens here is never closed", quote) end
    if text:sub(stop, stop) == quote then break end
    stop = stop + 2
  end
  local value = text:sub(from, stop - 1):gsub("\r\n", "\n")
  refuse_control(value, from, "[%z\1-\8\11-\12\14-\31\127]")
  if not text:find("^[ \t]*\r?\n", stop + 1) and not text:find("^[ \t]*#", stop + 1)
    and not text:find("^[ \t]*\r?$", stop + 1) then
    fail(stop, "expected nothing, or a comment, after the quote that closes the value")
  end
  return quote == "'" and protect(value) or unescape(value), stop + 1
end

-- A # right after the = belongs to the value, unless white space follows it.
local function bare(line, is_apart)
  if line:find "^#" and (is_apart or line:find "^#%s" or line == "#") then return "" end
  local comment = line:find "[ \t]#"
  return (comment and line:sub(1, comment) or line):match "^.*[^ \t]" or ""
end

local function read_entry(text, at)
  local line = text:match("^[^\n]*", at)
  local start = line:match "^export[ \t]+()[^= \t]" or 1
  local name, gap, from = line:match("^([%a_][%w_.]*)[ \t]*=([ \t]*)()", start)
  if not name then
    if line:find("^[^%s=]*[ \t]*=", start) then
      fail(at, "expected NAME=value, NAME being letters, digits and _, no digit first")
    end
    fail(at, "expected NAME=value; a value of several lines stands in quotes")
  end
  local value_at = at + from - 1
  local value, after
  if line:find("^[\"']", from) then
    value, after = quoted(text, value_at)
  else
    value, after = bare(line:sub(from):gsub("\r$", ""), gap ~= ""), value_at
    refuse_control(value, value_at, "[%z\1-\8\10-\31\127]")
  end
  return name, value, text:find("\n", after, true) or #text + 1
end

local function line_at(text, at)
  return select(2, text:sub(1, at - 1):gsub("\n", "")) + 1
end

local function read_all(text)
  local values = {}
  if text:find "^\255\254" or text:find "^\254\255" then
    fail(1, "the text is UTF-16, expected UTF-8")
  end
  local at = text:match "^\239\187\191()" or 1
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return values end
    if text:find("^#", at) then
      at = text:find("\n", at, true) or #text + 1
    else
      local line = line_at(text, at)
      local name, value, after = read_entry(text, at)
      values[name] = { value = value, line = line,
                       before = values[name] and values[name].line }
      at = after
    end
  end
end

-- Parses a file's text.  Returns a table of { value =, line =, before = } by name; where
-- a name comes twice the last one, before being the line of the one that it replaces.  Or
-- nil, err with err.message and err.line.
function dotenv.parse(text)
  local ok, result = pcall(read_all, text)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, { message = result.message, line = line_at(text, result.at) }
end

return dotenv
