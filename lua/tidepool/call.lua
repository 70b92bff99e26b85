-- call.lua - one request to an HTTP server, mostly a tidepool's own.

local core = require "tidepool.core"
local load_request = require "tidepool.command.load_request"
local of = require("tidepool.result").of

local PATIENCE = 2 -- seconds for the answer

-- Asks target (of load_request.parse_url(), with the path to ask for).  options: method
-- (GET), headers (array of { name, value }), body, patience.  Gives the status and the
-- body of the answer; or nil and why there is none.
return function(target, options)
  options = options or {}
  local patience = options.patience or PATIENCE
  local load, err = core.load {
    host = target.host, port = target.port, unix_path = target.unix_path,
    tls = target.tls,
    request = load_request.request(target, options.method or "GET",
      options.headers or {}, options.body),
    requests = 1, connections = 1, seconds = patience, timeout = patience,
    keeps_body = true,
  }
  if not load then return nil, err.message end
  of(load:wait(2 * patience))
  local stats = load:stats()
  if stats.answered ~= 1 then return nil, stats.why end
  return stats.status, load:body()
end
