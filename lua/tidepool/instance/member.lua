-- member.lua - what a worker knows of its instance: its number, its sockets, and the
-- master, which it asks over a socket in the instance's private directory.

local call = require "tidepool.call"
local core = require "tidepool.core"
local reply = require "tidepool.reply"

local VARIABLE = "TIDEPOOL_MEMBER"
local JSON = { "Content-Type", "application/json" }

local Member = {}
Member.__index = Member

-- Asks the master.  Gives the status and the body; or nil and why there is none.
function Member:ask(method, path, body)
  return call({ unix_path = self.directory .. "/master", authority = "localhost",
    path = path }, { method = method, headers = body and { JSON }, body = body })
end

local function tell(self, what, fields)
  local status, why = self:ask("POST", ("/workers/%d/%s"):format(self.number, what),
    core.encode(fields))
  if status == 200 then return true end
  core.log("warn", "the master did not hear", { of = what, error = why })
end

-- It serves: address is where.
function Member:tell_ready(address)
  return tell(self, "ready", { pid = core.pid(), address = address })
end

-- It should be replaced by a new process, and serves until then.
function Member:tell_suspect(reason)
  return tell(self, "suspect", { pid = core.pid(), reason = reason })
end

-- It ends: metrics is its last page of them, whose counters the instance keeps.
function Member:tell_end(metrics)
  return tell(self, "end", { pid = core.pid(), metrics = metrics })
end

-- Its policy has changed settings of a pool, which are the instance's.
function Member:tell_settings(pool, settings)
  return tell(self, "settings", { pool = pool, settings = settings })
end

-- What was changed while the instance ran: pool -> { settings =, paused = }.
function Member:changes()
  local status, body = self:ask("GET", "/changes")
  if status ~= 200 then
    core.log("warn", "what was changed is not known: settings are as configured",
      { error = body })
    return {}
  end
  return (reply.decode(body))
end

-- The address that only the master listens to.
function Member:private_address()
  return ("unix:%s/worker-%d-%d"):format(self.directory, self.number, core.pid())
end

-- Its pools share the instance's connections.  Gives nil, or what is wrong.
function Member:join_budget()
  local budget, err = core.budget_attach(self.budget)
  local place
  if budget then place, err = budget:claim() end
  if not place then return err.message end
end

-- Where it accepts: each has a socket, more where there were more workers before an
-- upgrade.  On a path there is one for all.
function Member:own_sockets()
  local own = {}
  for i = self.number, #self.sockets, self.count do own[#own + 1] = self.sockets[i] end
  return #own > 0 and own or { self.sockets[1] }
end

-- Lets go of all sockets but those that its server accepts on: in one that somebody
-- keeps, and nobody accepts on, clients would wait for nothing.
function Member:leave_sockets()
  if self.has_left_sockets then return end
  self.has_left_sockets = true
  local group = core.sockets { address = "", fds = self.sockets }
  if group then group:leave() end
end

-- ---- what others ask of it

-- The connections that come to the socket of a worker that is away.
local function accept(self, service, socket)
  if self.has_left_sockets then return false, "the instance ends" end
  if self.lent[socket] then return true end
  local err
  self.lent[socket], err = service.server:accept(self.sockets[socket])
  return self.lent[socket] ~= nil, err and err.message
end

local function release(self, service, socket)
  if self.lent[socket] then service.server:stop_accepting(self.lent[socket]) end
  self.lent[socket] = nil
  return true
end

-- The instance is not ready any more, and ends soon.
local function announce_end(self, service)
  service.server:announce_end()
  self:leave_sockets()
  return true
end

local PAGES = { ["/accept"] = accept, ["/release"] = release, ["/ending"] = announce_end }

-- What the master asks, on the private address: gives status, headers, body, or nil.
function Member:handler(service)
  return function(request)
    local fn = PAGES[request:path()]
    if not fn or service.stopping then return nil end
    local told = reply.decode(request:body() or "")
    local ok, message = fn(self, service, told.socket)
    return ok and 200 or 500, nil, message or ""
  end
end

local INSTANCE_PAGES = { ["/health"] = true, ["/health/live"] = true,
                         ["/health/ready"] = true, ["/health/pools"] = true,
                         ["/metrics"] = true }

-- Health and metrics of the instance: the master's answer, or when it has none, its own.
function Member:instance_handler(own)
  return function(request)
    local path, method = request:path(), request:method()
    if not INSTANCE_PAGES[path] or (method ~= "GET" and method ~= "HEAD") then
      return own(request)
    end
    local status, body, headers = self:ask("GET", path)
    if not status then return own(request) end
    return status, headers, body
  end
end

-- It has ended.  Where the master was killed nobody else removes their directory.
function Member:leave()
  if core.parent_pid() == self.parent then return end
  os.remove(self.directory .. "/master")
  os.remove(self.directory)
end

local member = {}

-- The words of the environment that make a process a worker.  fields: number, count,
-- directory, sockets (descriptors in the worker, one for each number), parent (pid).
function member.environment(fields)
  return { [VARIABLE] = core.encode(fields) }
end

-- The worker that this process is; nil: it is none; false: it is, and its master is gone.
function member.of_environment()
  local text = core.take_env(VARIABLE) -- what a script starts is no worker
  if not text then return nil end
  local self = setmetatable((reply.decode(text)), Member)
  self.lent = {} -- number of a socket -> what accepts on it
  return core.end_with_parent(self.parent) and self
end

return member
