-- check.lua - `tidepool check`: is the configuration right, is the script Lua, do the
-- servers answer, and do both fit together?

local core = require "tidepool.core"
local policies = require "tidepool.policies"
local pools = require "tidepool.pools"
local tls = require "tidepool.tls"
local url = require "tidepool.url"

local DONE, FAILED, MISCONFIGURED = 0, 1, 2
local PATIENCE = 5 -- seconds for a server to answer
local LONG_WAIT = 60 -- seconds for a lease: longer than a client waits
local LONG_STATEMENT = 600

local Check = {}
Check.__index = Check

local function complain(message)
  io.stderr:write("tidepool: ", message, "\n")
end

local function say(text, ...) io.stdout:write(text:format(...), "\n") end

function Check:line(name, text, ...) say("  %-12s " .. text, name, ...) end

function Check:warn(pool, text, ...)
  self.warnings[#self.warnings + 1] = ("%s: " .. text):format(pool, ...)
end

-- ---- what any pool should have

local function formula() return core.cores() * 2 + 1 end

function Check:common(entry, settings)
  self:line("sizing", "max_connections %d; cores x 2 + 1 disk is %d on this machine "
    .. "(that of the server counts)", settings.max_connections, formula())
  if settings.acquire_timeout > LONG_WAIT then
    self:warn(entry.label, "acquire_timeout is %g s: callers wait longer for a "
      .. "connection than their own clients will", settings.acquire_timeout)
  end
  if settings.statement_timeout > LONG_STATEMENT then
    self:warn(entry.label, "statement_timeout is %g s: one statement may hold a "
      .. "connection that long", settings.statement_timeout)
  end
end

-- ---- Postgres

local SERVER = [[SELECT current_setting('server_version') AS version,
  current_setting('max_connections')::int AS max,
  current_setting('superuser_reserved_connections')::int
    + COALESCE(current_setting('reserved_connections', true), '0')::int AS reserved,
  concat(pg_postmaster_start_time(), current_setting('port')) AS server,
  current_setting('idle_in_transaction_session_timeout') AS idle_limit,
  pg_is_in_recovery() AS is_replica, pg_backend_pid() AS pid,
  (SELECT count(*)::int FROM pg_stat_activity WHERE datname IS NOT NULL
    AND (backend_type = 'client backend' OR backend_type IS NULL)) AS used,
  COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
    AS is_secret,
  COALESCE(host(inet_client_addr()), '') AS client,
  COALESCE(host(inet_server_addr()), '') AS host]]

-- State and kind of other users' sessions are NULL for those who may not see them.
local ACTIVITY = [[SELECT datname, COALESCE(state, 'not shown to us') AS state,
  count(*)::int AS n FROM pg_stat_activity
  WHERE datname IS NOT NULL
    AND (backend_type = 'client backend' OR backend_type IS NULL)
  GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2]]

local function activity_text(rows)
  local parts, last = {}, nil
  for _, row in ipairs(rows) do
    local text = ("%d %s"):format(row.n, row.state)
    parts[#parts + 1] = row.datname == last and text or row.datname .. ": " .. text
    last = row.datname
  end
  return table.concat(parts, ", ")
end

local function is_local(address) return address == "" or url.is_loopback(address) end

-- Whether others can read what goes over the connection.  row: is_secret, whether it is
-- encrypted; client and host, the addresses of its two ends, "" for a unix socket.
local function is_exposed(row)
  return not row.is_secret and not is_local(row.client) and row.client ~= row.host
end

-- Several pools may be on one server.
function Check:count(entry, settings, row)
  local known = self.servers[row.server]
  if not known then
    known = { labels = {}, sum = 0, room = row.max - row.reserved }
    self.servers[row.server] = known
    self.servers[#self.servers + 1] = known
  end
  known.labels[#known.labels + 1] = entry.label
  known.sum = known.sum + settings.max_connections
end

function Check:servers_fit()
  for _, known in ipairs(self.servers) do
    if #known.labels > 1 and known.sum > known.room then
      self:warn(table.concat(known.labels, " and "), "max_connections is %d together, "
        .. "their server has %d for all clients", known.sum, known.room)
    end
  end
end

function Check:postgres_fits(entry, settings, row, is_pooled)
  local room = row.max - row.reserved
  if settings.max_connections > room then
    self:warn(entry.label, "max_connections is %d, the server has %d for all clients",
      settings.max_connections, room)
  elseif settings.max_connections > room - (row.used - 1) then
    self:warn(entry.label, "max_connections is %d, of the server's %d others use %d now",
      settings.max_connections, room, row.used - 1)
  end
  if row.idle_limit == "0" then
    self:warn(entry.label, "the server's idle_in_transaction_session_timeout is off: a "
      .. "client that hangs in a transaction holds its locks for ever")
  end
  if is_exposed(row) then
    self:warn(entry.label, "the connection is not encrypted, and the server is not on "
      .. "this machine: add sslmode=verify-full to the url")
  end
  if is_pooled then
    self:warn(entry.label, "a pooler in transaction mode is in front of the server: "
      .. "reads share no connections, session state and LISTEN do not work through it")
  end
end

local function ask_postgres(conn)
  local row, err = conn:one(SERVER)
  if not row then return nil, err end
  local rows
  rows, err = conn:query(ACTIVITY)
  if not rows then return nil, err end
  return { row = row, activity = rows, is_pooled = conn:pid() ~= row.pid }
end

function Check:postgres(entry, pool, settings)
  local answer, err = pool:with(ask_postgres)
  if not answer then return nil, err end
  local row = answer.row
  say("%s: Postgres %s, %s", entry.label, row.version, url.mask(entry.url))
  self:line("connections", "the server has %d, %d of them reserved, %d in use", row.max,
    row.reserved, row.used)
  self:line("activity", "%s", activity_text(answer.activity))
  if row.is_replica then self:line("role", "a replica: it takes no writes") end
  self:common(entry, settings)
  self:postgres_fits(entry, settings, row, answer.is_pooled)
  self:count(entry, settings, row)
  return true
end

-- ---- Redis

local function info_of(cache)
  local text, err = cache:call("INFO")
  if not text then return nil, err end
  local info = {}
  for name, value in text:gmatch "([%w_]+):([^\r\n]*)" do info[name] = value end
  return info
end

function Check:redis(entry, pool, settings)
  local info, err = info_of(pool)
  if not info then return nil, err end
  say("%s: Redis %s, %s", entry.label, info.redis_version or "of an unknown version",
    url.mask(entry.url))
  local max = tonumber(info.maxclients) or 0
  self:line("connections", "the server has %s, %s in use", info.maxclients or "?",
    info.connected_clients or "?")
  self:line("role", "%s", info.role or "unknown")
  self:common(entry, settings)
  if max > 0 and settings.max_connections > max then
    self:warn(entry.label, "max_connections is %d, the server has %d for all clients",
      settings.max_connections, max)
  end
  return true
end

-- ---- all of it

local function patient(pool)
  local settings = pool:settings()
  pool:set { acquire_timeout = PATIENCE, statement_timeout = PATIENCE,
             connect_timeout = PATIENCE, statement_cache = 0 } -- also through a pooler
  return settings
end

-- Ends of a list: "a", "a and b", "a, b and c".
local function enumerate(list)
  if #list == 1 then return list[1] end
  return table.concat(list, ", ", 1, #list - 1) .. " and " .. list[#list]
end

-- Where libpq could not connect to, and why not; or nil when that is not what text says.
local function place_of(text)
  local host, port, reason =
    text:match '^connection to server at "(.-)".-, port (%d+) failed: (.*)$'
  if host then return host:find ":" and ("[%s]:%s"):format(host, port)
    or host .. ":" .. port, reason end
  return text:match '^connection to server on socket "(.-)" failed: (.*)$'
end

-- What libpq says of each address, as one sentence: each reason once.
local function shorten(text)
  local places, reasons = {}, {}
  local rest = text:gsub("; connection to server ([ao][tn]) ", "\n%0"):gsub("\n; ", "\n")
  for part in rest:gmatch "[^\n]+" do
    local place, reason = place_of(part)
    if not place then return text end
    reason = reason:gsub("^FATAL:%s+", "")
    if not places[reason] then
      places[reason] = {}
      reasons[#reasons + 1] = reason
    end
    table.insert(places[reason], place)
  end
  for i, reason in ipairs(reasons) do
    reasons[i] = ("cannot connect to %s: %s"):format(enumerate(places[reason]), reason)
  end
  return table.concat(reasons, "; ")
end

-- Why a server did not answer in so many seconds: the numbers of a pool that was made to
-- ask say nothing.
local function reason_of(err, last_error, seconds)
  local reason = last_error and shorten(last_error)
  if err.code == "refused" and reason then return reason end
  if err.code == "timeout" and err.waited then
    return ("no connection in %g s"):format(seconds) .. (reason and ": " .. reason or "")
  end
  return tostring(err)
end

-- Gives whether the server answered.
function Check:ask(entry, pool)
  local settings = patient(pool)
  local ok, err = self[entry.kind](self, entry, pool, settings)
  if ok then return true end
  complain(("%s (%s): %s"):format(entry.label, url.mask(entry.url),
    reason_of(err, pool:stats().last_error, PATIENCE)))
  return false
end

function Check:show_warnings()
  for _, warning in ipairs(self.warnings) do say("warning: %s", warning) end
end

local check = { is_exposed = is_exposed, shorten = shorten, reason_of = reason_of }

-- The settings that pools run with, as paths of the configuration.
local function note_chosen(chosen, entry, pool)
  for name, value in pairs(pool:settings()) do
    chosen[entry.section .. ".pool." .. name] = value
  end
end

-- Gives whether the policy can be one.
local function policy_is_well(settings)
  local chosen = settings:policy()
  local pilot, err = policies.start(chosen, {})
  if pilot then
    pilot:close()
    return true
  end
  complain(("policy.use (%s): %s"):format(chosen.source, err))
  return false
end

-- Gives whether the certificates can be shown; tells of them.
function Check:certificates(settings)
  local shown, wrong = tls.new(settings)
  for _, certificate in ipairs(shown and shown:certificates() or {}) do
    say("certificate: %s, until %s", certificate.name,
      os.date("!%Y-%m-%d %H:%M UTC", certificate.expires))
    if certificate.expires < os.time() then
      self:warn("server.tls", "the certificate of %s has expired", certificate.name)
    end
  end
  if wrong then complain(wrong) end
  return not wrong
end

-- Gives whether all servers answered.
function Check:ask_all(entries, opened)
  local is_well = true
  for i, entry in ipairs(entries) do
    if not self:ask(entry, opened[i]) then is_well = false end
  end
  self:servers_fit()
  return is_well
end

-- Returns the exit status; options: print, show the settings; offline, ask no server.
function check.run(settings, path, options)
  local self = setmetatable({ warnings = {}, servers = {} }, Check)
  local entries, chosen = {}, {}
  local opened, wrong = pools.open(settings:pools(), function(entry, pool)
    entries[#entries + 1] = entry
    note_chosen(chosen, entry, pool)
  end)
  if options.print then
    io.stdout:write(table.concat(settings:describe(chosen), "\n"), "\n")
  end
  if not opened then
    complain(wrong)
    return MISCONFIGURED
  end
  for _, warning in ipairs(settings.warnings) do
    self:warn("configuration", "%s", warning)
  end
  local status = DONE
  local chunk, err = core.load_script(path, {})
  if not chunk then
    complain(err.message)
    status = FAILED
  end
  if not policy_is_well(settings) then status = FAILED end
  if not self:certificates(settings.server.tls) then status = FAILED end
  if not options.offline and not self:ask_all(entries, opened) then status = FAILED end
  self:show_warnings()
  pools.close(opened, 0)
  return status
end

return check
