-- dev.lua - `tidepool dev`: run with a private Postgres and Redis and reload on save.

local core = require "tidepool.core"
local ffi = require "ffi"
local of = require("tidepool.result").of
local servers = require "tidepool.servers"
local service = require "tidepool.service"

local HOME = ".tidepool"
local FAILED = 1

-- From <fcntl.h> and <sys/file.h>; the same on all of Linux.
local F_SETFD, FD_CLOEXEC = 2, 1
local LOCK_EX_NB = 2 + 4

ffi.cdef [[
int fileno(void *file);
int flock(int fd, int operation);
int fcntl(int fd, int command, ...);
]]

local function complain(message)
  io.stderr:write("tidepool: ", message, "\n")
  return FAILED
end

local function write_file(path, text)
  local file, err = io.open(path, "w")
  if not file then return nil, err end
  file:write(text)
  file:close()
  return true
end

-- Locks the directory for as long as the file that it gives is kept; or nil and why not.
local function lock(path)
  local file, err = io.open(path, "a")
  if not file then return nil, err end
  local fd = ffi.C.fileno(file)
  ffi.C.fcntl(fd, F_SETFD, ffi.new("int", FD_CLOEXEC)) -- or the servers would hold it
  if ffi.C.flock(fd, LOCK_EX_NB) ~= 0 then
    local pid = (core.read_file(path) or ""):match("%d+") or "unknown"
    file:close()
    return nil, ("another tidepool dev (pid %s) runs in this directory"):format(pid)
  end
  write_file(path, core.pid() .. "\n")
  return file
end

local function make_home()
  local ok, err = core.mkdir(HOME, tonumber("755", 8))
  if not ok then return nil, err.message end
  write_file(HOME .. "/.gitignore", "*\n")
  return lock(HOME .. "/dev.lock")
end

-- The schema beside the script, or nil when there is none.
local function schema_of(script)
  local path = (script:match("^(.*/)[^/]*$") or "") .. "schema.sql"
  return core.stat(path) and path or nil
end

local function start_servers(script, fresh)
  local tasks = {
    postgres = core.spawn(servers.postgres, {
      directory = HOME .. "/postgres", keep = true, fresh = fresh,
      schema = schema_of(script),
    }),
    redis = core.spawn(servers.redis, {
      directory = HOME .. "/redis", keep = true, fresh = fresh,
    }),
  }
  local running, failure = {}, nil
  for kind, task in pairs(tasks) do
    local ok, server, err = of(task:wait())
    if ok and server then
      running[kind] = server
    else
      failure = tostring(ok and err or server)
    end
  end
  return running, failure
end

local function stop_servers(running)
  local tasks = {}
  for _, server in pairs(running) do
    tasks[#tasks + 1] = core.spawn(function() server:stop() end)
  end
  for _, task in ipairs(tasks) do of(task:wait()) end
end

local function say_urls(running)
  io.stdout:write("DATABASE_URL=", running.postgres.url, "\n",
    "REDIS_URL=", running.redis.url, "\n",
    "redis-cli -s ", running.redis.socket, "\n")
  io.stdout:flush()
end

local dev = {}

-- Runs the script at path on servers of its own; fresh: on empty ones.  Returns the exit
-- status.
function dev.run(settings, path, args, fresh)
  local held, why = make_home()
  if not held then return complain(why) end
  local running, failure = start_servers(path, fresh)
  local status = FAILED
  if failure then
    complain(failure)
  else
    settings:point("database", running.postgres.url, "dev")
    settings:point("redis", running.redis.url, "dev")
    say_urls(running)
    status = service.run(settings, path, args, { watch = true })
  end
  stop_servers(running)
  held:close()
  return status
end

return dev
