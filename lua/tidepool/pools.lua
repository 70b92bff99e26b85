-- pools.lua - opens the pools that are configured, and closes them.

local core = require "tidepool.core"
local of = require("tidepool.result").of
local password_command = require "tidepool.password_command"
local url = require "tidepool.url"

local OPENERS = { postgres = core.postgres_open, redis = core.redis_open }

local pools = {}

-- Closes all at the same time: what is lent has so many seconds to come back.
function pools.close(opened, seconds)
  local closers = {}
  for i, pool in ipairs(opened) do
    closers[i] = core.spawn(function() return of(pool:close(seconds)) end)
  end
  for _, closer in ipairs(closers) do of(closer:wait()) end
end

-- Opens the pools of these entries, as Config:pools() gives them; no server is asked, so
-- one that is away stops nothing.  on_open(entry, pool) is told of each.  Returns them;
-- or nil and a sentence on the url that is wrong.
function pools.open(entries, on_open)
  local opened = {}
  local logins = password_command.ask(entries)
  for _, entry in ipairs(entries) do
    local pool, err = OPENERS[entry.kind] {
      name = entry.label, url = entry.url, settings = entry.settings,
      application_name = entry.application_name, trace = entry.trace,
    }
    if not pool then
      pools.close(opened, 0)
      local shown = url.mask(entry.url) .. ": "
      return nil, ("%s: %s%s"):format(entry.source, shown == "***: " and "" or shown,
        url.without_quotes(err.message))
    end
    if logins[entry] then password_command.begin(pool, entry, logins[entry]) end
    opened[#opened + 1] = pool
    on_open(entry, pool)
  end
  return opened
end

return pools
