-- recording.lua - what pools do, kept: a file of all of it when it is asked for, and the
-- last of it when a pool is exhausted or the process crashes.

local core = require "tidepool.core"
local events = require "tidepool.events"

local Recording = {}
Recording.__index = Recording

-- Where a pool's flight recorder is dumped.
function Recording:path_of(pool)
  return ("%s/tidepool-%d-%s.trace"):format(self.dir, core.pid(),
    pool:name():gsub("[^%w_-]", "_"))
end

-- Of an exhaustion there is one event; the file of the last one is kept.
function Recording:dump(name)
  for _, pool in ipairs(self.pools) do
    if pool:name() == name then
      local path = self:path_of(pool)
      local ok, err = core.dump_file(pool, path)
      core.log(ok and "warn" or "error", ok and "what the pool did last is in a file"
        or "what the pool did last cannot be written",
        { pool = name, file = path, error = not ok and err.message or nil })
    end
  end
end

-- lines, lost, rotations, error: of the recording; nil when there is none.
function Recording:stats() return self.recorder and self.recorder:stats() end

function Recording:close()
  if self.handler then self.handler:close() end
  if self.recorder then self.recorder:close() end
  self.recorder = nil
end

local recording = {}

-- Begins with open pools.  settings: file, max_bytes, dump_dir.  Returns what close()
-- ends, before the pools are closed; or nil and a sentence.
function recording.start(settings, pools)
  local self = setmetatable({ pools = pools, dir = settings.dump_dir }, Recording)
  if settings.file then
    local recorder, err = core.recorder(settings.file, settings.max_bytes)
    if not recorder then return nil, err.message end
    for _, pool in ipairs(pools) do recorder:add(pool) end
    self.recorder = recorder
  end
  for _, pool in ipairs(pools) do
    if not core.dump_on_crash(pool, self:path_of(pool)) then
      core.log("warn", "a crash would leave no dump of this pool",
        { pool = pool:name() })
    end
  end
  if pools[1] then
    self.handler = events.on("pool_exhausted", function(event) self:dump(event.pool) end)
  end
  return self
end

return recording
