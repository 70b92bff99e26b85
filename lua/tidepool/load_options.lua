-- load_options.lua - the words of `tidepool load`: read, checked, and made a request.

local schema = require "tidepool.schema"

local DAY = 86400
local MAX_CONNECTIONS = 60000
local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }

local KINDS = {
  connections = { kind = "count", min = 1, max = MAX_CONNECTIONS },
  duration = { kind = "time", min = 0.01, max = DAY },
  requests = { kind = "count", min = 1, max = 1e12 },
  timeout = { kind = "time", min = 0.001, max = DAY },
  ["postgres-pid"] = { kind = "count", min = 1, max = 2 ^ 31 },
}

local NAMES = { "--connections", "--duration", "--rate", "--requests", "--timeout",
  "--method", "--header", "--body", "--json", "--out", "--admin", "--postgres-pid",
  "--compare", "--help" }

local options = {}

-- ---- urls

local function host_and_port(authority)
  local host, port = authority:match "^%[([%x:.]+)%]:?(%d*)$"
  if not host then host, port = authority:match "^([^:%[%]@/]+):?(%d*)$" end
  if not host then return nil end
  port = port == "" and "80" or port
  if tonumber(port) < 1 or tonumber(port) > 65535 then return nil end
  return host, port
end

-- Where to connect and what to ask: host, port, authority, path; or unix_path.  Or nil
-- and what is wrong.
function options.parse_url(text)
  if text:find "^https:" then
    return nil, "https is not spoken here; load the http address behind what ends TLS"
  end
  if text:find("[%s%c]") then return nil, "a url has no spaces" end
  local unix_path = text:match "^unix:(/.+)$"
  if unix_path then
    local socket, path = unix_path:match "^([^:]+):(/.*)$"
    return { unix_path = socket or unix_path, authority = "localhost",
             path = path or "/" }
  end
  local authority, rest = text:match "^http://([^/?#]*)(.*)$"
  if not authority then
    return nil, "expected http://HOST:PORT/PATH or unix:/SOCKET:/PATH"
  end
  local host, port = host_and_port(authority)
  if not host then return nil, "expected HOST or HOST:PORT after http://" end
  local path = rest:gsub("#.*$", "")
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  return { host = host, port = port, authority = authority, path = path }
end

-- ---- requests

-- The bytes of one request.  headers: array of { name, value }.
function options.request(target, method, headers, body)
  local lines, has = { ("%s %s HTTP/1.1"):format(method, target.path) }, {}
  for _, header in ipairs(headers) do
    has[header[1]:lower()] = true
    lines[#lines + 1] = header[1] .. ": " .. header[2]
  end
  if not has.host then table.insert(lines, 2, "Host: " .. target.authority) end
  if body and not has["content-length"] then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

-- ---- words

local Words = {}
Words.__index = Words

local function read_header(text)
  local name, value = text:match "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$"
  if not name or value:find "[%c]" then return nil end
  return { name, value }
end

local function one_of(list, value)
  for _, name in ipairs(list) do
    if name == value then return true end
  end
  return false
end

local function read_rate(text)
  local rate = tonumber(text)
  if rate and rate >= 0.001 and rate <= 1e7 then return rate end
  return nil, "a number of requests a second, from 0.001 to 10000000"
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text
  text, why = file:read "*a"
  file:close()
  return text, why
end

local READERS = {
  rate = read_rate,
  method = function(text)
    local method = text:upper()
    if one_of(METHODS, method) then return method end
    return nil, "one of " .. table.concat(METHODS, ", ")
  end,
  admin = function(text)
    local target, wrong = options.parse_url(text)
    return target and text, wrong
  end,
}
for name, entry in pairs(KINDS) do
  READERS[name] = function(text) return schema.read(entry, text, true) end
end

-- Takes an option and its value; gives what is wrong, or nil.
function Words:take_option(name, value)
  if name == "header" then
    local header = read_header(value)
    if not header then
      return ('--header: expected "Name: value", found "%s"'):format(value)
    end
    self.headers[#self.headers + 1] = header
  elseif name == "body" then
    local text, why = read_file(value)
    if not text then return "--body: " .. why end
    self.body = text
  elseif name == "json" or name == "out" then
    self.out = value
  else
    local result, expected = READERS[name](value)
    if result == nil then
      return ('--%s: expected %s, found "%s"'):format(name, expected, value)
    end
    self[name] = result
  end
end

local function is_option(name)
  return one_of(NAMES, "--" .. name) and name ~= "help" and name ~= "compare"
end

function Words:take(word)
  local name, value = word:match "^%-%-([^=]+)=?(.*)$"
  if word == "--help" or word == "-h" then
    self.wants_help = true
  elseif word == "--compare" then
    self.compares = true
  elseif name and is_option(name) then
    if not word:find("=", 1, true) then
      self.at = self.at + 1
      value = self.words[self.at]
      if not value then return ("--%s: a value is missing"):format(name) end
    end
    return self:take_option(name, value)
  elseif word:find "^%-." then
    local near = schema.nearest(word:match "^[^=]+", NAMES)
    return ("unknown option %s%s"):format(word:match "^[^=]+",
      near and ("; did you mean %s?"):format(near) or "")
  else
    self.operands[#self.operands + 1] = word
  end
end

function Words:check()
  local operands = self.operands
  if self.compares then
    if #operands == 2 then return end
    return ("--compare: expected two files, BEFORE.json AFTER.json, found %d"):format(
      #operands)
  end
  if not operands[1] then return "URL is missing" end
  if operands[2] then return ('unexpected "%s"'):format(operands[2]) end
  local target, wrong = options.parse_url(operands[1])
  if not target then return ('"%s": %s'):format(operands[1], wrong) end
  self.url, self.target = operands[1], target
  self.method = self.method or (self.body and "POST" or "GET")
end

-- Reads the words.  Returns what they say, or nil and what is wrong.
function options.read(words)
  local self = setmetatable({ words = words, at = 1, operands = {}, headers = {},
    connections = 10, duration = 10, timeout = 10 }, Words)
  while words[self.at] do
    local wrong = self:take(words[self.at])
    if wrong then return nil, wrong end
    self.at = self.at + 1
  end
  if self.wants_help then return self end
  local wrong = self:check()
  if wrong then return nil, wrong end
  return self
end

return options
