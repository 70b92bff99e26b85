-- access.lua - who may use the admin listener: anybody on this machine, and with a token
-- whoever sends it.

local core = require "tidepool.core"
local url = require "tidepool.url"

local REFUSED = { ["content-type"] = "application/json", ["cache-control"] = "no-store",
                  ["www-authenticate"] = 'Bearer realm="tidepool admin"' }

-- What probes ask, that can send no token: it tells no more than yes or no.
local OPEN = { ["/health/live"] = true, ["/health/ready"] = true }

local Access = {}
Access.__index = Access

local function token_of(request)
  local sent = request:headers().authorization
  local scheme, token = (sent or ""):match "^(%a+) +(%S+) *$"
  return scheme and scheme:lower() == "bearer" and token or nil
end

-- What answers a request that may not be: status, headers, body; nil when it may.  Where
-- there is a token, all that changes anything needs it; where the listener can be reached
-- from elsewhere, everything does.
function Access:refuse(request)
  local method = request:method()
  local is_reading = method == "GET" or method == "HEAD"
  if not self.token or (is_reading and (self.is_local or OPEN[request:path()])) then
    return nil
  end
  local token = token_of(request)
  if token and core.same_secret(token, self.token) then return nil end
  self.refused = self.refused + 1
  core.log("warn", "admin request refused: " .. (token and "wrong token" or "no token"),
    { method = method, path = request:path(), remote = request:remote() })
  return 401, REFUSED, core.encode {
    error = token and "this is not server.admin_token"
      or "Authorization: Bearer with server.admin_token expected",
  }
end

local access = {}

-- Whether an address of a listener can be reached from this machine only.
function access.is_local(address)
  if address:find "^unix:" then return true end
  local host = address:match "^(.*):%d+$"
  return url.is_loopback(host:match "^%[(.*)%]$" or host)
end

-- settings: those of [server].  refused counts.
function access.new(settings)
  return setmetatable({
    token = settings.admin_token, refused = 0,
    is_local = settings.admin == nil or access.is_local(settings.admin),
  }, Access)
end

return access
