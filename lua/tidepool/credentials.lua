-- credentials.lua - passwords that change while a pool runs: given, or had from a
-- function of the script, which is asked again when a connect fails.

local core = require "tidepool.core"
local events = require "tidepool.events"
local of = require("tidepool.result").of
local succession = require "tidepool.succession"
local Task = require "tidepool.task"

local PAUSE = 5 -- seconds; a server that is away is no reason to ask all the time
local module = { limit = 10 } -- seconds, for a source to answer

-- A login; or nil, err.  The limit cancels the source.
function module.login_of(source)
  local login, err = Task.timeout(module.limit, source)
  if login ~= nil then return login end
  return nil, err or core.err("badarg", "the function for credentials gave nothing")
end

-- true; or nil, err, which may be the source's.
local function give(pool, login, err)
  if login == nil then return nil, err end
  return pool:raw_credentials(login)
end

-- What asks a script's function for a pool.
local Follower = {}
Follower.__index = Follower

-- Asks anew after a failed connect, which the pool tries again by itself.
function Follower:hear()
  local pool, asked = self.pool, -PAUSE
  local name, kind = pool:name(), pool:kind()
  self.handler = events.on("connect_failed", function(event)
    if event.pool ~= name or event.kind ~= kind then return end
    if core.now() - asked < PAUSE then return end
    asked = core.now()
    self:ask()
  end)
end

function Follower:warn(err)
  core.log("warn", "no credentials could be had",
    { pool = self.pool:name(), error = tostring(err) })
end

-- In a task of its own, so that rest() ends it.
function Follower:ask()
  if self.asking and not self.asking:done() then return end
  local task = core.spawn(module.login_of, self.source)
  self.asking = task
  local ok, login, err = of(task:wait())
  if self.asking ~= task then return end
  if not ok then return self:warn(login) end
  local is_taken, done, why = pcall(give, self.pool, login, err)
  if not (is_taken and done) then self:warn(is_taken and why or done) end
end

function Follower:rest()
  if self.handler then self.handler:close() end
  if self.asking then self.asking:cancel() end
  self.handler, self.asking = nil, nil
end

-- One of another script, which may yet fail to load or be replaced, rests meanwhile;
-- without any, what is configured counts.
local followers = succession.new(Follower.rest, function(pool, follower)
  if not follower then return pool:raw_credentials() end
  follower:hear()
  follower:ask()
end)

local function follow(pool, source)
  local follower = setmetatable({ pool = pool, source = source }, Follower)
  followers:add(pool, follower, source)
  follower:hear()
  return follower
end

-- Follows source, of the configuration, whose first answer is login; or nil, err.
function module.begin(pool, source, login, err)
  local follower = follow(pool, source)
  if login then
    pool:raw_credentials(login)
  else
    follower:warn(err)
  end
end

-- For the next connects; what is open stays, until drain().  login: a table with
-- password and, where it is another, user; or a function that gives one, or nil, err,
-- in 10 s: it is called now, and again when a connect has failed, at most once in 5 s.
-- Gives true; or nil, err of the function.
local function credentials(self, login)
  local source = type(login) == "function" and login
  if source then
    local given, why = module.login_of(source)
    if given == nil then return nil, why end
    login = given
  end
  local ok, err = self:raw_credentials(login)
  if not ok then return nil, err end
  if source then follow(self, source) else followers:clear(self) end
  return true
end

core.postgres.credentials = credentials
core.redis.credentials = credentials

return module
