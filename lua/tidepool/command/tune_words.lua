-- tune_words.lua - the words of `tidepool tune`: read and checked.

local url = require "tidepool.url"
local words = require "tidepool.command.words"

local HOUR = 3600
local MAX_CALLERS = 10000 -- as many as may stand in a pool's line by default
local KINDS = { postgres = "postgres", postgresql = "postgres", redis = "redis",
                unix = "redis" }
local STATEMENTS = { postgres = "SELECT 1", redis = "PING" }

local function take_statement(self, value)
  if not value:find "%S" then return "--statement: expected a statement" end
  self.statement = value
end

local SPEC = {
  options = {
    step = { kind = "time", min = 0.05, max = HOUR },
    callers = { kind = "count", min = 1, max = MAX_CALLERS },
    max = { kind = "count", min = 1, max = MAX_CALLERS },
    hosts = { kind = "count", min = 1, max = 100000 },
    statement = take_statement, out = words.text, html = words.text,
  },
}

local function check(self)
  local text, other = self.operands[1], self.operands[2]
  if not text then return "URL is missing" end
  if other then return ('unexpected "%s"'):format(url.mask_inside(other)) end
  self.url, self.kind = text, KINDS[text:match "^(%l+)://"]
  if not self.kind then
    return ('"%s": expected postgres://... or redis://...'):format(url.mask(text))
  end
  local wrong = self.kind == "postgres" and url.wrong_postgres(text)
  if wrong then return "URL: " .. wrong end
  self.is_default = not self.statement
  self.statement = self.statement or STATEMENTS[self.kind]
end

local tune_words = {}

-- Reads the words.  Returns what they say, with url and its kind; or nil and what is
-- wrong.
function tune_words.read(list)
  local self, wrong = words.read(SPEC, list,
    { step = 2, callers = 64, max = 64, hosts = 1 })
  if not self or self.wants_help then return self, wrong end
  wrong = check(self)
  if wrong then return nil, wrong end
  return self
end

return tune_words
