-- credentials.lua - passwords that change while a pool runs: given, or had from a
-- function of the script, which is asked again when a connect fails.

local core = require "tidepool.core"
local events = require "tidepool.events"

local PAUSE = 5 -- seconds; a server that is away is no reason to ask all the time

local followed = setmetatable({}, { __mode = "k" }) -- pool to what follows it

-- A login; or nil, err.
local function login_of(source)
  local login, err = source()
  if login ~= nil then return login end
  return nil, err or core.err("badarg", "the function for credentials gave nothing")
end

-- Asks source for a login; true, or nil, err.
local function ask(pool, source)
  local login, err = login_of(source)
  if login == nil then return nil, err end
  return pool:raw_credentials(login)
end

local function unfollow(pool)
  if followed[pool] then followed[pool]:close() end
  followed[pool] = nil
end

-- Asks anew after a failed connect, which the pool tries again by itself.
local function follow(pool, source)
  local name, kind, asked = pool:name(), pool:kind(), -PAUSE
  followed[pool] = events.on("connect_failed", function(event)
    if event.pool ~= name or event.kind ~= kind then return end
    if core.now() - asked < PAUSE then return end
    asked = core.now()
    local ok, done, err = pcall(ask, pool, source)
    if ok and done then return end
    core.log("warn", "no credentials could be had",
      { pool = name, error = tostring(ok and err or done) })
  end)
end

-- For the next connects; what is open stays, until drain().  login: a table with
-- password and, where it is another, user; or a function that gives one, or nil, err:
-- it is called now, and again when a connect has failed, at most once in 5 s.
-- Gives true; or nil, err of the function.
local function credentials(self, login)
  local source = type(login) == "function" and login
  if source then
    local given, why = login_of(source)
    if given == nil then return nil, why end
    login = given
  end
  local ok, err = self:raw_credentials(login)
  if not ok then return nil, err end
  unfollow(self)
  if source then follow(self, source) end
  return true
end

for _, Pool in ipairs { core.postgres, core.redis } do
  local close = Pool.close
  Pool.credentials = credentials

  function Pool:close(seconds)
    unfollow(self)
    local closed = close(self, seconds)
    return closed
  end
end
