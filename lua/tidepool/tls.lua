-- tls.lua - the certificates that listeners show: read when the service starts, and anew
-- when it reloads.

local core = require "tidepool.core"

local DAY = 86400
local SOON = 14 * DAY -- before a certificate's end it is warned of

local Tls = {}
Tls.__index = Tls

-- Reads the files; or gives nil and what is wrong with which.
local function read(settings)
  local pairs_of_files = {}
  for i, certificate in ipairs(settings.certificate) do
    pairs_of_files[i] = { certificate = certificate, key = settings.key[i] }
  end
  local context, err = core.tls_server(pairs_of_files)
  if not context then return nil, "server.tls: " .. err.message end
  return context
end

local function warn_of_ends(certificates)
  for _, certificate in ipairs(certificates) do
    local left = certificate.expires - os.time()
    if left < SOON then
      core.log("warn", left < 0 and "a certificate has expired"
        or "a certificate expires soon", { name = certificate.name,
          expires = os.date("!%Y-%m-%dT%H:%M:%SZ", certificate.expires) })
    end
  end
end

-- An array of { name =, expires = (as os.time() has it) }.
function Tls:certificates() return self.context:certificates() end

-- Reads the files anew.  Gives what show() takes; or nil and what is wrong.
function Tls:read() return read(self.settings) end

-- For the connections to come of servers.
function Tls:show(context, servers)
  self.context = context
  warn_of_ends(context:certificates())
  for _, server in ipairs(servers) do server:set_tls(context) end
end

local tls = {}

-- settings: those of [server.tls].  Gives nil where there are none; or nil and what is
-- wrong.
function tls.new(settings)
  if not settings.certificate then return nil end
  local context, wrong = read(settings)
  if not context then return nil, wrong end
  warn_of_ends(context:certificates())
  return setmetatable({ settings = settings, context = context }, Tls)
end

return tls
