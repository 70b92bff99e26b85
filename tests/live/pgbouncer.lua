-- pgbouncer.lua - PgBouncer in transaction mode, of whatever version the distribution
-- has, before the specs' shared Postgres.

local core = require "tidepool.core"
local server = require "tidepool.server"
local support = require "support"

local must = support.must

local CONFIG = [[
[databases]
single = host=%s user=%s dbname=%s pool_size=1
* = host=%s user=%s
[pgbouncer]
unix_socket_dir = %s
listen_addr =
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
]]

-- From this version on it knows prepared statements.
local KNOWS_PREPARED = 1.21
local PREPARED = "max_prepared_statements = 100\n"

local function write(path, text)
  local file = must(io.open(path, "w"))
  must(file:write(text))
  file:close()
end

-- As the account that Postgres' socket lets in; the program refuses root.
local function as_account(words, directory)
  local account = core.uid() == 0 and core.user "postgres"
  if not account then return words end
  must(core.chown(directory, account.uid, account.gid))
  local prefix = { "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
    "--pdeathsig", "INT", "--" }
  for _, word in ipairs(words) do prefix[#prefix + 1] = word end
  return prefix
end

local pgbouncer = {}

-- Starts one in a directory of that name.  Gives it with url, by which three connections
-- to the server are shared, single_url, by which one is, knows_prepared, and stop().
function pgbouncer.start(name)
  local user, database, host = support.servers.postgres.url
    :match "^postgres://([^@]*)@/([^?]*)%?host=([^&]*)"
  local directory = support.directory .. "/" .. name
  must(core.mkdir(directory))
  local version = must(server.run { "pgbouncer", "--version" }):match "(%d+%.%d+)"
  local knows_prepared = tonumber(version) >= KNOWS_PREPARED
  write(directory .. "/ini", CONFIG:format(host, user, database, host, user, directory)
    .. (knows_prepared and PREPARED or ""))
  local words = { "pgbouncer", "-q", directory .. "/ini" }
  local process = support.start(as_account(words, directory))
  support.eventually("the pooler listens", function()
    return core.stat(directory .. "/.s.PGSQL.6432")
  end)
  local function url_of(of)
    return ("postgres://%s@/%s?host=%s&port=6432"):format(user, of, directory)
  end
  return {
    url = url_of(database), single_url = url_of "single",
    knows_prepared = knows_prepared,
    stop = function()
      process:signal "INT"
      process:wait()
    end,
  }
end

return pgbouncer
