-- support.lua - what the specs share: pools that end with their file, waits for
-- a condition, programs and requests from outside.

local core = require "tidepool.core"
local private_server = require "tidepool.server"
local tide = require "tidepool"

local support = {
  servers = {}, -- postgres and redis, shared by all specs; set by run.lua
  directory = nil, -- private, removed at the end; set by run.lua
}

-- Lua's own assert, which raises an err as it is; in specs assert is luassert's.
support.must = assert
local must = assert

local SLOWNESS = tonumber(os.getenv "TEST_SLOWNESS") or 1
local WAIT_SECONDS = 10 * SLOWNESS
local POLL_SECONDS = 0.002

local opened = {} -- pools of the present file
local schema, has_schema -- of the present file
local count = 0
local certificates -- their directory, once they are made

-- ---- a spec file's life

-- Called by run.lua before each file: its tables and keys are its own.
function support.begin_file(path)
  schema = "of_" .. (path:match "([%w_]+)%.lua$" or "all")
  has_schema = false
end

-- Closes a pool and raises when something of it stays lent or waited for: what has just
-- ended, as a subscription, gives back a little later.
local function close_pool(pool)
  local is_open, stats = pcall(pool.stats, pool)
  if not is_open then return end -- the spec closed it
  local limit = core.now() + WAIT_SECONDS
  while stats.leased + stats.waiting > 0 and core.now() < limit do
    tide.sleep(POLL_SECONDS)
    stats = pool:stats()
  end
  pool:close(1)
  if stats.leased + stats.waiting == 0 then return end
  error(("pool %s: %d leased, %d waiting"):format(
    stats.name, stats.leased, stats.waiting), 0)
end

-- Called by run.lua after each file.
function support.end_file()
  local pools = opened
  opened = {}
  for _, pool in ipairs(pools) do close_pool(pool) end
end

local function next_name(kind)
  count = count + 1
  return kind .. count
end

local function track(pool)
  opened[#opened + 1] = pool
  return pool
end

local function with_search_path(url)
  local sign = url:find("?", 1, true) and "&" or "?"
  return url .. sign .. "options=-csearch_path%3D" .. schema
end

local function make_schema()
  local pool = assert(core.postgres_open {
    name = "schema", url = support.servers.postgres.url,
  })
  assert(pool:exec("CREATE SCHEMA IF NOT EXISTS " .. schema))
  pool:close(1)
  has_schema = true
end

-- A pool on the shared Postgres (or options.url), settings as given; its tables
-- are in a schema of the spec file's own.
function support.postgres(settings, options)
  options = options or {}
  local url = options.url or support.servers.postgres.url
  local pool = assert(core.postgres_open {
    name = options.name or next_name "pg",
    url = options.raw_url and url or with_search_path(url),
    settings = settings or {}, trace = options.trace,
  })
  if not options.url and not has_schema then make_schema() end
  return track(pool)
end

-- A pool on the shared Redis (or options.url), emptied.
function support.redis(settings, options)
  options = options or {}
  local pool = assert(core.redis_open {
    name = options.name or next_name "redis",
    url = options.url or support.servers.redis.url,
    settings = settings or {},
  })
  track(pool)
  if not options.url then assert(pool:call("FLUSHALL")) end
  return pool
end

-- busted's finally() keeps one function of a test: of several the last.  These all run
-- after the test, the last first, in files that have after_each(support.run_ends).
local ends = {}

function support.at_end(fn) ends[#ends + 1] = fn end

function support.run_ends()
  for i = #ends, 1, -1 do
    local fn = ends[i]
    ends[i] = nil
    fn()
  end
end

-- ---- waiting

-- Waits until fn() gives a true value, which it returns; or raises, naming what.
function support.eventually(what, fn, seconds)
  local limit = core.now() + (seconds or WAIT_SECONDS)
  while true do
    local value = fn()
    if value then return value end
    if core.now() > limit then error("waited in vain until " .. what, 2) end
    tide.sleep(POLL_SECONDS)
  end
end

-- A gate holds tasks until it is opened: wait() parks, open() lets all go on.
function support.gate()
  local is_open = false
  return {
    open = function() is_open = true end,
    wait = function()
      support.eventually("the gate opens", function() return is_open end)
    end,
  }
end

-- A task that holds a connection of pool until the function that this gives is called.
function support.hold(pool)
  local gate, is_held = support.gate(), false
  local task = tide.spawn(function()
    return pool:with(function()
      is_held = true
      gate.wait()
    end)
  end)
  support.eventually("it is held", function() return is_held end)
  return function()
    gate.open()
    return task:wait()
  end
end

-- Locks a table until the function that this gives is called.
function support.hold_lock(pool, name)
  local gate, is_held = support.gate(), false
  local task = tide.spawn(function()
    return pool:transaction(function(tx)
      assert(tx:exec("LOCK TABLE " .. name))
      is_held = true
      gate.wait()
    end)
  end)
  support.eventually("it is locked", function() return is_held end)
  return function()
    gate.open()
    return task:wait()
  end
end

-- Waits until nothing of the pool is lent, or being cleaned.
function support.given_back(pool)
  support.eventually("all connections are given back", function()
    local stats = pool:stats()
    return stats.leased + stats.hooked + stats.resetting + stats.cancelling == 0
  end)
end

-- Runs a Postgres statement until it is on a lane: the first times it has a connection
-- of its own, since nobody knows what it does and how long that takes.
function support.teach(db, sql, ...)
  local function shared() return db:stats().counters.shared_statements end
  local before, limit = shared(), core.now() + WAIT_SECONDS
  repeat
    assert(db:query(sql, ...))
    if shared() > before then return end
  until core.now() > limit
  error("never on a lane: " .. sql, 2)
end

-- Callers, each in a task, that call(i) again and again until stop(): it gives true,
-- or nil, err.  ok and errors tell what they saw so far.
function support.load(callers, call)
  local load = { ok = 0, errors = {}, tasks = {}, stopped = false }
  for i = 1, callers do
    load.tasks[i] = tide.spawn(function()
      while not load.stopped do
        local ok, err = call(i)
        if ok then
          load.ok = load.ok + 1
        else
          load.errors[#load.errors + 1] = err
          tide.sleep(POLL_SECONDS)
        end
      end
    end)
  end
  function load.stop()
    load.stopped = true
    for _, task in ipairs(load.tasks) do
      local ok, err = task:wait()
      if not ok then error(err, 0) end
    end
  end
  return load
end

-- What Postgres itself says runs now for the application's other connections.
function support.running(db, pattern)
  local rows = assert(db:query([[SELECT pid, query FROM pg_stat_activity
    WHERE state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE $1]], pattern))
  return #rows
end

-- Opens size connections and leaves them idle.
function support.fill(pool, size)
  local calls, lent = {}, 0
  for i = 1, size do
    calls[i] = function()
      return pool:with(function(conn)
        lent = lent + 1
        support.eventually("all are open", function() return lent == size end)
        return conn:pid()
      end)
    end
  end
  return must(tide.all(calls))
end

-- A port that nobody listens on: ours was just closed.
function support.closed_port()
  local server = must(core.listen {
    address = "127.0.0.1:0", handler = function() return 200 end,
  })
  local port = server:address():match ":(%d+)$"
  server:close()
  return port
end

-- ---- programs from outside

-- Writes text to a file of its own and gives its path.
function support.file(name, text)
  local path = support.directory .. "/" .. next_name "f" .. "_" .. name
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  file:close()
  return path
end

-- Starts a program with its output collected; gives the process.
function support.start(args, options)
  options = options or {}
  return assert(core.process {
    args = args, env = options.env, input = options.input, log = options.log,
  })
end

-- Runs a program to its end: status, output of both streams.
function support.run(args, options)
  return support.start(args, options):wait()
end

-- Runs text as a tidepool program on the shared servers: status, output.
function support.program(text, ...)
  return support.run({
    core.realpath("/proc/self/exe"), "run", "--trusted",
    support.file("program.lua", text), ...
  }, {
    env = {
      DATABASE_URL = support.servers.postgres.url,
      REDIS_URL = support.servers.redis.url,
    },
  })
end

-- The directory of what tests/certificates.sh makes, once in a run; the servers' account
-- owns it, as Postgres wants of its key.
function support.certificates()
  if not certificates then
    local made = must(private_server.home(support.directory .. "/certificates"))
    must(private_server.run_as_account { "sh", "-c",
      must(core.read_file "tests/certificates.sh"), "certificates.sh", made })
    certificates = made
  end
  return certificates
end

-- ---- HTTP from outside

-- Serves app on a port of its own; gives the server and "127.0.0.1:port".
function support.serve(app, limits)
  local server = assert(core.listen {
    address = "127.0.0.1:0",
    limits = limits,
    handler = function(req) return app:handle(req) end,
    body_rule = function(method, path) return app:body_rule(method, path) end,
  })
  return server, server:address()
end

-- The last cat is bash's own process: killing it closes the connection.
local CONNECT = "exec 3<>/dev/tcp/${0%:*}/${0##*:} && cat >&3 && exec cat <&3"

-- Sends bytes as they are over one connection; gives the process, whose wait()
-- ends when the server has closed.
function support.start_raw(address, bytes)
  return support.start({ "bash", "-c", CONNECT, address },
    { input = support.file("request", bytes) })
end

-- The same to its end: all that the server sent.
function support.raw(address, bytes)
  local _, output = support.start_raw(address, bytes):wait()
  return output
end

-- Cuts a reply into status, headers (lower-case names), body, rest of the bytes.
function support.parse_reply(bytes)
  local head, rest = bytes:match("^(.-)\r\n\r\n(.*)$")
  if not head then error("no reply: " .. string.format("%q", bytes), 2) end
  local headers = {}
  for name, value in head:gmatch("\r\n([^:]+):%s*([^\r]*)") do
    headers[name:lower()] = value
  end
  local length = tonumber(headers["content-length"] or 0)
  return tonumber(head:match("^HTTP/1%.1 (%d+)")), headers,
    rest:sub(1, length), rest:sub(length + 1)
end

-- One request: status, headers, body.
function support.request(address, method, target, body, headers)
  local lines = { method .. " " .. target .. " HTTP/1.1", "Host: test" }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  lines[#lines + 1] = "Connection: close\r\n\r\n" .. (body or "")
  local reply = support.raw(address, table.concat(lines, "\r\n"))
  local status, reply_headers, reply_body = support.parse_reply(reply)
  return status, reply_headers, reply_body
end

support.slowness = SLOWNESS

return support
