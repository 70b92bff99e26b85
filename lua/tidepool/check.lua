-- check.lua - `tidepool check`: is the configuration right, is the script Lua?

local core = require "tidepool.core"
local pools = require "tidepool.pools"

local DONE, FAILED, MISCONFIGURED = 0, 1, 2

local function complain(message)
  io.stderr:write("tidepool: ", message, "\n")
end

local check = {}

-- Returns the exit status; shows the settings when wants_settings.
function check.run(settings, path, wants_settings)
  if wants_settings then
    io.stdout:write(table.concat(settings:describe(), "\n"), "\n")
  end
  local opened, wrong = pools.open(settings, function() end)
  if not opened then
    complain(wrong)
    return MISCONFIGURED
  end
  pools.close(opened, 0)
  local chunk, err = core.load_script(path, {})
  if chunk then return DONE end
  complain(err.message)
  return FAILED
end

return check
