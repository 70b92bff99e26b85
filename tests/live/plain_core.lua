-- plain_core.lua - stands in for tidepool.core where specs run in a plain busted.
--
-- Inside the runtime the real one is used; only what needs no loop is here.

local SETTINGS = {
  { name = "max_connections", kind = "count", default = 0, min = 1, max = 10000 },
  { name = "min_connections", kind = "count", default = 0, min = 0, max = 10000 },
  { name = "acquire_timeout", kind = "time", default = 30, min = 0.001, max = 86400 },
  { name = "idle_timeout", kind = "time", default = 600, min = 0.01, max = 864000 },
  { name = "max_lifetime", kind = "time", default = 1800, min = 0.1, max = 864000 },
  { name = "test_before_acquire", kind = "flag", default = 1, min = 0, max = 1 },
}

local core = { version = "0.0.0" }

function core.pool_settings()
  return SETTINGS, { connection_timeout = "acquire_timeout" }
end

function core.cores()
  return 2
end

function core.task_counts()
  return { live = 1, started = 2, errors = 0 }
end

if not package.preload["tidepool.core"] then
  package.loaded["tidepool.core"] = package.loaded["tidepool.core"] or core
end
