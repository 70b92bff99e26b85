-- load_request.lua - the url of a load test, and the request that it makes.

local core = require "tidepool.core"

local load_request = {}

-- ---- urls

local function host_and_port(authority, default_port)
  local host, port = authority:match "^%[([%x:.]+)%]:?(%d*)$"
  if not host then host, port = authority:match "^([^:%[%]@/]+):?(%d*)$" end
  if not host then return nil end
  port = port == "" and default_port or port
  if tonumber(port) < 1 or tonumber(port) > 65535 then return nil end
  return host, port
end

-- Where to connect and what to ask: host, port, authority, path, is_tls; or unix_path.
-- Or nil and what is wrong.
function load_request.parse_url(text)
  if text:find("[%s%c]") then return nil, "a url has no spaces" end
  local unix_path = text:match "^unix:(/.+)$"
  if unix_path then
    local socket, path = unix_path:match "^([^:]+):(/.*)$"
    return { unix_path = socket or unix_path, authority = "localhost",
             path = path or "/" }
  end
  local s, authority, rest = text:match "^http(s?)://([^/?#]*)(.*)$"
  if not authority then
    return nil, "expected http://HOST:PORT/PATH, https:// or unix:/SOCKET:/PATH"
  end
  local host, port = host_and_port(authority, s == "" and "80" or "443")
  if not host then return nil, "expected HOST or HOST:PORT after http" .. s .. "://" end
  local path = rest:gsub("#.*$", "")
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  return { host = host, port = port, authority = authority, path = path,
           is_tls = s == "s" }
end

-- Whom the client of an https target trusts.  options: cacert, the file of roots in place
-- of the system's; insecure, whoever answers.  Gives nil, or what is wrong.
function load_request.trust(target, options)
  if not target.is_tls then return nil end
  local err
  target.tls, err = core.tls_client { ca = options.cacert, insecure = options.insecure }
  return err and err.message
end

-- ---- requests

-- The bytes of one request.  headers: array of { name, value }.
function load_request.request(target, method, headers, body)
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

return load_request
