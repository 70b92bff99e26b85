-- proxy.lua - the proxy of proxy.c between a pool and its server, steered from specs.

local core = require "tidepool.core"
local support = require "support"

local PROGRAM = (os.getenv "BUILD" or "build") .. "/tests/faults/proxy"

local Proxy = {}
Proxy.__index = Proxy

local proxy = {}

-- What the proxy says of itself: port, open, accepted, hits, up and down (bytes), done.
local function read_status(self)
  local text = core.read_file(self.directory .. "/status")
  if not text or not text:find "\n$" then return nil end
  local status = { error = text:match "error=(%S*)" }
  for name, value in text:gmatch "(%w+)=(%d+)" do status[name] = tonumber(value) end
  return status
end

-- Sends one command, as proxy.c has them, and waits until it is done: the status.
function Proxy:say(format, ...)
  local line = select("#", ...) > 0 and format:format(...) or format
  self.control:write(line, "\n")
  self.control:flush()
  self.sent = self.sent + 1
  local status = support.eventually("the proxy does " .. line, function()
    local now = read_status(self)
    return now and now.done >= self.sent and now
  end)
  if status.error ~= "" then error("no command of the proxy: " .. line, 2) end
  return status
end

function Proxy:status() return self:say "look" end

-- Ends it, and with it all connections.
function Proxy:stop()
  self.control:close()
  self.process:signal "KILL"
  self.process:wait()
  core.remove_tree(self.directory)
end

-- A proxy in front of a port of 127.0.0.1; its own is in port.
function proxy.start(target_port, seed)
  local self = setmetatable({ sent = 0 }, Proxy)
  self.directory = support.must(core.mkdtemp(support.directory .. "/proxy-"))
  self.process = support.start({ PROGRAM, self.directory, tostring(target_port),
    tostring(seed or 1) })
  local status = support.eventually("the proxy listens", function()
    return read_status(self)
  end)
  self.port = status.port
  self.control = support.must(io.open(self.directory .. "/control", "w"))
  return self
end

return proxy
