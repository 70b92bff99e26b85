-- fetch.lua - one GET of a page of an instance.

local call = require "tidepool.call"
local tide = require "tidepool"

-- What an instance says of its refusal, if it says so as JSON.
local function reason_of(body)
  local told = tide.decode(body)
  return type(told) == "table" and type(told.error) == "string" and told.error
    or "there is no such page"
end

-- The body of a page; or nil and why there is none.  target: of load_request.parse_url(),
-- whose path does not count.  token: of server.admin_token, or nil.
return function(target, path, token)
  local page = setmetatable({ path = path }, { __index = target })
  local headers = token and { { "Authorization", "Bearer " .. token } } or {}
  local status, body = call(page, { headers = headers })
  if not status then return nil, body end
  if status >= 200 and status < 300 then return body end
  return nil, reason_of(body)
end
