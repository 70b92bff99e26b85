-- load_words.lua - the words of `tidepool load`: read and checked.

local files = require "tidepool.command.files"
local load_request = require "tidepool.command.load_request"
local url = require "tidepool.url"
local words = require "tidepool.command.words"

local DAY = 86400
local MAX_CONNECTIONS = 60000
local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }

local function take_header(self, value)
  local name, text = value:match "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$"
  if not name or text:find "[%c]" then
    return ('--header: expected "Name: value", found "%s"'):format(value)
  end
  self.headers[#self.headers + 1] = { name, text }
end

local function take_rate(self, value)
  local rate = tonumber(value)
  if not rate or rate < 0.001 or rate > 1e7 then
    return ('--rate: expected a number of requests a second, from 0.001 to 10000000, '
      .. 'found "%s"'):format(value)
  end
  self.rate = rate
end

local function take_body(self, value)
  local text, why = files.read(value)
  if not text then return "--body: " .. why end
  self.body = text
end

local function take_admin(self, value)
  local target, wrong = load_request.parse_url(value)
  if not target then
    return ('--admin: %s, found "%s"'):format(wrong, url.mask_inside(value))
  end
  self.admin = target
end

-- Another name of --out.
local function take_json(self, value) self.out = value end

local SPEC = {
  options = {
    connections = { kind = "count", min = 1, max = MAX_CONNECTIONS },
    duration = { kind = "time", min = 0.01, max = DAY },
    requests = { kind = "count", min = 1, max = 1e12 },
    timeout = { kind = "time", min = 0.001, max = DAY },
    ["postgres-pid"] = { kind = "count", min = 1, max = 2 ^ 31 },
    rate = take_rate, header = take_header, body = take_body, admin = take_admin,
    method = words.one_of(METHODS, string.upper), out = words.text, json = take_json,
    cacert = words.text,
  },
  flags = { compare = true, insecure = true },
}

local function check(self)
  local operands = self.operands
  if self.compare then
    if #operands == 2 then return nil end
    return ("--compare: expected two files, BEFORE.json AFTER.json, found %d"):format(
      #operands)
  end
  if not operands[1] then return "URL is missing" end
  if operands[2] then return ('unexpected "%s"'):format(url.mask_inside(operands[2])) end
  local target, wrong = load_request.parse_url(operands[1])
  if not target then return ('"%s": %s'):format(url.mask_inside(operands[1]), wrong) end
  wrong = load_request.trust(target, self)
    or (self.admin and load_request.trust(self.admin, self))
  if wrong then return wrong end
  self.url, self.target = operands[1], target
  self.method = self.method or (self.body and "POST" or "GET")
end

local load_words = {}

-- Reads the words.  Returns what they say, or nil and what is wrong.
function load_words.read(list)
  local self, wrong = words.read(SPEC, list,
    { headers = {}, connections = 10, duration = 10, timeout = 10 })
  if not self or self.wants_help then return self, wrong end
  wrong = check(self)
  if wrong then return nil, wrong end
  return self
end

return load_words
