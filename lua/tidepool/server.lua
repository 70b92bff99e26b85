-- server.lua - a private server process: its account, its directory, its start and end.
--
-- A server ends when the process that started it does, however that ends, and is in a
-- session of its own, so that Ctrl-C reaches its starter alone.  Servers that refuse to
-- run as root run as the account of Postgres.

local core = require "tidepool.core"
local of = require("tidepool.result").of

local ACCOUNTS = { "postgres", "nobody" }
local START_SECONDS = 60
local STOP_SECONDS = 10
local POLL_SECONDS = 0.01
local SOCKET_PATH_MAX = 107
local LOG_LINES = 12

local server = {}

local function failure(message, ...)
  return nil, core.err("refused", message:format(...))
end

-- ---- accounts and programs

-- The account that servers run as: { name =, uid =, gid = }, or nil for our own.
local function account()
  if core.uid() ~= 0 then return nil end
  for _, name in ipairs(ACCOUNTS) do
    local user = core.user(name)
    if user then return { name = name, uid = user.uid, gid = user.gid } end
  end
end

local function command(words, prefix)
  local user = account()
  local result = prefix
  if user then
    result[#result + 1] = "--reuid=" .. user.uid
    result[#result + 1] = "--regid=" .. user.gid
    result[#result + 1] = "--clear-groups"
  end
  result[#result + 1] = "--"
  for _, word in ipairs(words) do result[#result + 1] = word end
  return result
end

-- Runs a program to its end.  options as of core.process.  Returns its output; or nil,
-- err with what it wrote.
function server.run(words, options)
  options = options or {}
  options.args = words
  local process, err = core.process(options)
  if not process then return nil, err end
  local status, output = of(process:wait())
  if status == 0 then return output end
  local text = output:gsub("%s+$", "")
  return failure("%s", text ~= "" and text or words[1] .. " ended with status " .. status)
end

-- The same as the servers' account.
function server.run_as_account(words, options)
  return server.run(command(words, { "setpriv" }), options)
end

-- The folder of PATH, or of more, that has all of these programs; or nil.
function server.find(names, more)
  local folders = {}
  for folder in (os.getenv "PATH" or ""):gmatch("[^:]+") do
    folders[#folders + 1] = folder
  end
  for _, folder in ipairs(more or {}) do folders[#folders + 1] = folder end
  for _, folder in ipairs(folders) do
    local count = 0
    for _, name in ipairs(names) do
      if core.stat(folder .. "/" .. name) then count = count + 1 end
    end
    if count == #names then return folder end
  end
end

-- ---- directories

-- A number that stands for a text, the same one in every run (FNV-1a).
function server.hash(text)
  local hash = 0x811c9dc5
  for i = 1, #text do
    hash = bit.bxor(hash, text:byte(i))
    hash = (hash * 0x193 + bit.lshift(hash, 24)) % 2 ^ 32 -- times 0x01000193
  end
  return hash
end

local function can_write(directory)
  return server.run_as_account({ "test", "-w", directory }) ~= nil
end

local function make_path(path)
  local made = path:match("^/") and "" or "."
  for part in path:gmatch("[^/]+") do
    made = made .. "/" .. part
    local ok, err = core.mkdir(made, tonumber("755", 8))
    if not ok then return nil, err end
  end
  return core.realpath(path)
end

-- Makes a directory the servers' account's own, readable by nobody else.
local function take(directory)
  local user = account()
  local ok, err = core.chmod(directory, tonumber("700", 8))
  if ok and user then ok, err = core.chown(directory, user.uid, user.gid) end
  return ok, err
end

local function temporary_root()
  local given = os.getenv "TMPDIR"
  local real = given and core.realpath(given)
  if real and #real <= 40 and can_write(real) then return real end
  return core.realpath("/tmp")
end

-- A directory under the system's temporary one that stands for another, always the
-- same.  Anybody may make names there: a link, or what is not ours, is refused.
local function stand_in(directory)
  local path = ("%s/tidepool-%d-%08x"):format(temporary_root(), core.uid(),
    server.hash(directory))
  local user = account()
  local ok, err = core.mkdir(path, tonumber("700", 8))
  if not ok then return nil, err end
  local info = core.stat(path)
  local is_ours = info and (info.uid == core.uid() or (user and info.uid == user.uid))
  if not is_ours or core.realpath(path) ~= path then
    return failure("%s is in the way: it is not a directory of ours", path)
  end
  ok, err = take(path)
  if not ok then return nil, err end
  return path
end

-- Makes directory for servers to live in.  Gives its real path, or that of a stand-in
-- where the servers' account cannot reach it.
function server.home(directory)
  local path, err = make_path(directory)
  if not path then return nil, err end
  local ok
  ok, err = take(path)
  if not ok then return nil, err end
  if not account() or can_write(path) then return path end
  core.chown(path, 0, 0)
  return stand_in(path)
end

-- The directory for a socket of this name of a server in directory: a stand-in where
-- the path were too long for a socket, or has characters that need quoting.
function server.socket_home(directory, name)
  local is_short = #directory + 1 + #name <= SOCKET_PATH_MAX
  if is_short and not directory:find("[^%w/._-]") then return directory end
  return stand_in(directory)
end

-- A port of 127.0.0.1 that is free: the preferred one where it is.
function server.free_port(preferred)
  for _, port in ipairs { preferred or 0, 0 } do
    local listener = core.listen { address = "127.0.0.1:" .. port, handler = error }
    if listener then
      local found = tonumber(listener:address():match("%d+$"))
      listener:close()
      return found
    end
  end
  return failure("no port of 127.0.0.1 is free")
end

-- ---- processes that an earlier run left

local function works_in(pid, directory)
  return core.realpath("/proc/" .. pid .. "/cwd") == directory
end

-- Ends the process pid when it works in directory, and removes the pid file.
function server.take_over(pid_file, directory)
  local pid = (core.read_file(pid_file) or ""):match("^%d+")
  for _, signal in ipairs { "", "-INT", "-QUIT", "-KILL" } do
    if signal ~= "" then server.run { "kill", signal, pid } end
    local limit = core.now() + STOP_SECONDS
    while pid and works_in(pid, directory) and core.now() < limit do
      of(core.sleep(POLL_SECONDS))
    end
    if not pid or not works_in(pid, directory) then break end
  end
  os.remove(pid_file)
end

-- ---- the process

-- Fields that its maker sets: name, words (the command), directory, log, is_ready(self),
-- clear(self) which removes what a crash left, stop_signals, keep.
local Server = {}
Server.__index = Server
server.Server = Server

local function log_tail(path)
  local lines = {}
  for line in (core.read_file(path) or ""):gmatch("[^\n]+") do
    lines[#lines + 1] = line
  end
  local text = table.concat(lines, "\n  ", math.max(1, #lines - LOG_LINES + 1))
  return text ~= "" and "; its log ends with:\n  " .. text or ""
end

local function watch(self, process)
  core.spawn(function()
    local status = of(process:wait())
    if self.process == process then
      self.status = status
      self.process = nil
    end
  end)
end

function Server:wait_ready()
  local limit = core.now() + START_SECONDS
  while not self:is_ready() do
    if not self.process then
      return failure("%s ended with status %d while starting%s", self.name, self.status,
        log_tail(self.log))
    end
    if core.now() > limit then
      self:halt()
      return failure("%s was not ready within %d s%s", self.name, START_SECONDS,
        log_tail(self.log))
    end
    of(core.sleep(POLL_SECONDS))
  end
  return true
end

-- Starts it and waits until it answers: true, or nil, err with the end of its log.
function Server:start()
  self:clear()
  os.remove(self.log)
  local process, err = core.process {
    args = command(self.words, { "setsid", "setpriv", "--pdeathsig", "INT" }),
    log = self.log,
    cwd = self.directory,
  }
  if not process then return nil, err end
  self.process = process
  self.pid = process:pid()
  watch(self, process)
  return self:wait_ready()
end

local function is_gone(self, seconds)
  local limit = core.now() + seconds
  while self.process and core.now() < limit do of(core.sleep(POLL_SECONDS)) end
  return self.process == nil
end

-- Ends the process, more and more urgently, and keeps its data.
function Server:halt()
  for _, signal in ipairs(self.stop_signals) do
    if not self.process then break end
    self.process:signal(signal)
    is_gone(self, STOP_SECONDS)
  end
end

-- Ends it; its directory is removed unless it was to be kept.
function Server:stop()
  self:halt()
  if not self.keep then
    core.remove_tree(self.directory)
    if self.socket_directory ~= self.directory then
      core.remove_tree(self.socket_directory)
    end
  end
end

-- Sends a signal, "KILL" without one, after which it waits for the end.
function Server:kill(signal)
  if not self.process then return end
  self.process:signal(signal or "KILL")
  if not signal or signal == "KILL" then is_gone(self, STOP_SECONDS) end
end

-- Stops it where it runs, and starts it on the same data and address.
function Server:restart()
  self:halt()
  return self:start()
end

return server
