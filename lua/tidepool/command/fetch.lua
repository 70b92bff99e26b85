-- fetch.lua - one GET of a page of an instance.

local core = require "tidepool.core"
local load_request = require "tidepool.command.load_request"
local of = require("tidepool.result").of
local tide = require "tidepool"

local PATIENCE = 2 -- seconds for the answer

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
  local load, err = core.load {
    host = page.host, port = page.port, unix_path = page.unix_path,
    request = load_request.request(page, "GET", headers), requests = 1, connections = 1,
    seconds = PATIENCE, timeout = PATIENCE, keeps_body = true,
  }
  if not load then return nil, err.message end
  of(load:wait(2 * PATIENCE))
  local stats = load:stats()
  if stats.by_class[2] == 1 then return load:body() end
  if stats.answered == 1 then return nil, reason_of(load:body()) end
  return nil, stats.why
end
