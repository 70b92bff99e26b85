-- result.lua - the end of every call that waited: gives its results, or raises.

local core = require "tidepool.core"

local PARK = core.PARK
local result = {}

-- The runtime resumes a call that must raise with PARK and the error.  Call it as the
-- tail of a function that scripts call: level 2 is then the script's line.
function result.of(first, ...)
  if first == PARK then error((...), 2) end
  return first, ...
end

return result
