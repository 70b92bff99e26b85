-- url.lua - urls of servers: shown without their secrets, and what is wrong with one.

local url = {}

local HIDDEN = "***"

-- Parameters of urls and of "host=... dbname=..." that hold no secret; the values of all
-- others are hidden, for a secret may stand under a name that is misspelt.
local OPEN = {}
for name in ([[host hostaddr port dbname user passfile sslmode sslrootcert sslcert sslkey
  sslcrl sslnegotiation channel_binding connect_timeout application_name options
  client_encoding target_session_attrs load_balance_hosts service gssencmode keepalives
  keepalives_idle tcp_user_timeout db client_name protocol cacert cert key
  insecure]]):gmatch "%S+" do
  OPEN[name] = true
end

local function mask_parameter(name, value)
  return name .. "=" .. (OPEN[name] and value or HIDDEN)
end

-- "host=h password='a b'", as libpq takes it.
local function mask_pairs(text)
  local shown, at = {}, 1
  while text:find("%S", at) do
    local name, from = text:match("^%s*([%w_]+)%s*=%s*()", at)
    if not name then
      shown[#shown + 1] = HIDDEN
      break
    end
    local stop = from
    if text:byte(from) == ("'"):byte() then
      stop = from + 1
      while text:find("^[^']", stop) do
        stop = stop + (text:find("^\\", stop) and 2 or 1)
      end
      stop = stop + 1
    else
      while text:find("^%S", stop) do
        stop = stop + (text:find("^\\", stop) and 2 or 1)
      end
    end
    shown[#shown + 1] = mask_parameter(name, text:sub(from, stop - 1))
    at = stop
  end
  return table.concat(shown, " ")
end

-- The url of a server, or what was written in its place, with *** for each secret; where
-- it is not clear how far one goes, more is hidden.
function url.mask(text)
  local scheme, rest = text:match "^(%a[%w+.-]*:/+)(.*)$"
  if not scheme then
    return text:find "^%s*[%w_]+%s*=" and mask_pairs(text) or HIDDEN
  end
  local before, query = rest:match "^([^?]*)%??(.*)$"
  if query:find("@", 1, true) then return scheme .. HIDDEN end
  local user, host = before:match "^(.*)@(.*)$"
  if user then
    local name = user:match "^([^:]*):"
    if not name and not scheme:find "^postgres" then name = "" end
    before = (name and name .. ":" .. HIDDEN or user) .. "@" .. host
  end
  query = query:gsub("[^&]+", function(part)
    local name, value = part:match "^([^=]*)=(.*)$"
    return name and mask_parameter(name, value) or HIDDEN
  end)
  return scheme .. before .. (query ~= "" and "?" .. query or "")
end

-- Where the first url of a text begins, or nil: at the first letter of what may be its
-- scheme.  Found from its end: a search for it would begin anew at each letter.
local function begin_of(text)
  local from = 1
  while true do
    local stop = text:find("://", from, true)
    if not stop then return nil end
    local scheme = text:sub(from, stop - 1):reverse():match("^[%w+.-]*"):reverse()
    local letter = scheme:find "%a"
    if letter then return stop - #scheme + letter - 1 end
    from = stop + 3
  end
end

-- Any text, with what looks like a url in it masked.
function url.mask_inside(text)
  local at = begin_of(text)
  if at then text = text:sub(1, at - 1) .. url.mask(text:sub(at)) end
  return (text:gsub("([Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]%s*=).*", "%1" .. HIDDEN))
end

-- ---- what a url says

local PORTS = { postgres = 5432, redis = 6379 }

-- A parameter behind the "?" of a url, or of "host=... dbname=..."; or nil.
function url.parameter(text, name)
  if not text:find "^%a[%w+.-]*:/" then
    local start = "%s" .. name .. "%s*=%s*"
    text = " " .. text
    return text:match(start .. "'([^']*)'") or text:match(start .. "(%S+)")
  end
  for part in (text:match "%?(.*)$" or ""):gmatch "[^&]+" do
    local key, value = part:match "^([^=]*)=(.*)$"
    if key == name then
      return (value:gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
      end))
    end
  end
end

local function is_path(host) return host ~= nil and host:find "^[/@]" ~= nil end

-- The TCP ports of the servers that a url names: none of those on a path.
function url.ports(kind, text)
  local own = url.parameter(text, "port")
  if text:find "^[%a+]*unix:" or is_path(url.parameter(text, "host")) then return {} end
  local default = own or kind == "postgres" and os.getenv "PGPORT" or PORTS[kind]
  local ports = {} -- that of a host without one among them, also where all have one
  local hosts = (text:match "^%a[%w+.-]*://([^/?]*)" or ""):gsub("^.*@", "")
  for host in (hosts .. ","):gmatch "([^,]*)," do
    ports[#ports + 1] = host:match ":(%d+)$"
  end
  for port in (tostring(default) .. ","):gmatch "([^,]*)," do
    ports[#ports + 1] = port:match "^%s*(%d+)%s*$" or PORTS[kind]
  end
  for i, port in ipairs(ports) do ports[i] = tonumber(port) end
  return ports
end

-- ---- Postgres: libpq would show what it cannot read, which may be the password

local SCHEMES = { "^postgres://", "^postgresql://" }
local ENCODE = " (in a user or password, write %2F for '/', %40 for '@', %3A for ':')"

local function is_port(text)
  return text == "" or (text:find "^%d+$" and tonumber(text) >= 1
    and tonumber(text) <= 65535)
end

-- The part before the path, cut as libpq cuts it: user:password@host:port,host:port.
local function wrong_hosts(rest)
  local hosts = (rest:match "^[^/@]*@(.*)$" or rest):match "^[^/?]*"
  for host in (hosts .. ","):gmatch "([^,]*)," do
    local port = host:match "^%[[^%]]*%](.*)$" or host:match "^[^:]*(.*)$"
    if not is_port(port:gsub("^:", "")) then
      return "the port is not a number from 1 to 65535" .. ENCODE
    elseif host:find("@", 1, true) then
      return "there are two '@'" .. ENCODE
    end
  end
end

-- What is wrong with a text that should name a Postgres server; or nil.  No part of it is
-- shown.
function url.wrong_postgres(text)
  if text:find "^[\"']" then
    return "the quotes are part of the value here: leave them out"
  end
  if text:find "^%$" then return "a variable stands in a file as ${NAME}" end
  local rest = text:match(SCHEMES[1] .. "(.*)$") or text:match(SCHEMES[2] .. "(.*)$")
  if not rest then
    if text:find "^%a[%w+.-]*:" or not text:find("=", 1, true) then
      return "expected a url that begins with postgres:// or postgresql://"
    end
    return nil
  end
  if rest:gsub("%%%x%x", ""):find("%", 1, true) then
    return "a '%' is not followed by two hexadecimal digits (write %25 for '%')"
  end
  return wrong_hosts(rest)
end

-- What libpq says of a url, without the piece of it that it quotes.
function url.without_quotes(message)
  message = message:gsub(' after ".*"', "")
  if message:find '^invalid URI query parameter: "[%w_]+"$' then return message end
  return (message:gsub(': ".*"$', ""))
end

-- Whether a host, by name or number, is this machine itself.
function url.is_loopback(host)
  return host == "localhost" or host == "::1" or host:find "^127%.[%d.]+$" ~= nil
end

return url
