-- testing.lua - `tidepool test`: busted's specs inside the runtime, on servers of their
-- own; each test begins with the database as the schema made it, and an empty Redis.

local complain = require("tidepool.command.console").complain
local core = require "tidepool.core"
local of = require("tidepool.result").of
local pools = require "tidepool.pools"
local sandbox = require "tidepool.sandbox"
local servers = require "tidepool.servers"
local tide = require "tidepool"

local DONE, FAILED, MISCONFIGURED = 0, 1, 2
local TEMPLATE, DATABASE = "tidepool_template", "tide"
local FOLDERS = { ".", "spec", "tests" }
local ARCH = jit.arch == "x64" and "x86_64" or "aarch64"

-- ---- what to run

local function is_spec(name) return name:find "_spec%.lua$" ~= nil end

local function path_in(folder, name)
  return folder == "." and name or folder:gsub("/+$", "") .. "/" .. name
end

-- Adds the specs of a folder, with is_deep those of the folders in it too: by name, the
-- folder's own first.  Hidden folders are left out.
local function add_specs(found, folder, is_deep)
  local names = core.list_dir(folder) or {}
  local folders = {}
  table.sort(names)
  for _, name in ipairs(names) do
    local path = path_in(folder, name)
    local info = is_deep and core.stat(path)
    if info and info.type == "directory" then
      if name:sub(1, 1) ~= "." then folders[#folders + 1] = path end
    elseif is_spec(name) then
      found[#found + 1] = path
    end
  end
  for _, path in ipairs(folders) do add_specs(found, path, true) end
end

local function find_specs()
  local found = {}
  for _, folder in ipairs(FOLDERS) do
    add_specs(found, folder, folder ~= ".")
  end
  return found
end

-- The specs at paths: of a folder all that are in it.  Or nil and what is wrong.
local function expand(paths)
  local found = {}
  for _, path in ipairs(paths) do
    local info, before = core.stat(path), #found
    if not info then return nil, path .. ": no such file or folder" end
    if info.type == "directory" then
      add_specs(found, path, true)
      if #found == before then return nil, path .. ": no *_spec.lua in this folder" end
    else
      found[#found + 1] = path
    end
  end
  return found
end

local function directory_of(path) return path:match "^(.*)/[^/]*$" or "." end

-- schema.sql of here, of the first spec's folder or of the one above.
local function find_schema(path)
  local folder = directory_of(path)
  for _, candidate in ipairs { "", folder .. "/", folder .. "/../" } do
    if core.stat(candidate .. "schema.sql") then return candidate .. "schema.sql" end
  end
end

-- ---- servers and pools

local Run = {}
Run.__index = Run

-- The servers may run as another account, which must get in.
function Run:start_servers(schema)
  local err
  self.directory, err = core.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tidepool-test-")
  if not self.directory then return nil, err end
  core.chmod(self.directory, tonumber("711", 8))
  self.postgres, err = servers.postgres {
    directory = self.directory .. "/postgres", schema = schema,
    settings = { fsync = "off", synchronous_commit = "off", full_page_writes = "off",
                 autovacuum = "off" },
  }
  if not self.postgres then return nil, err end
  self.redis, err = servers.redis { directory = self.directory .. "/redis" }
  if not self.redis then return nil, err end
  return true
end

-- Every pool of the configuration is one on the private servers.
local function point(settings, run)
  settings:point("database", run.postgres.url, "test")
  settings:point("redis", run.redis.url, "test")
  for _, entry in ipairs(settings:pools()) do
    settings:point(entry.section, run[entry.kind].url, "test")
  end
end

function Run:open_pools(settings)
  local opened, wrong = pools.open(settings:pools(), function(entry, pool)
    tide._set_pool(entry.kind, entry.name, pool)
  end)
  if not opened then return nil, wrong end
  self.pools = opened
  return true
end

function Run:stop()
  if self.pools then pools.close(self.pools, 0) end
  if self.admin then self.admin:close(0) end
  if self.postgres then self.postgres:stop() end
  if self.redis then self.redis:stop() end
  if self.directory then core.remove_tree(self.directory) end
end

-- ---- a fresh start for each test

local function sql(run, text, ...)
  local done, err = run.admin:exec { text:format(...), share = false }
  if not done then error(err, 0) end
end

-- Where the server's log of changes is: nothing was written while it stays.
local function position(run)
  local row, err = run.admin:one {
    "SELECT pg_current_wal_insert_lsn()::text AS lsn", share = false,
  }
  if not row then error(err, 0) end
  return row.lsn
end

local function each_postgres(run, method)
  for _, pool in ipairs(run.pools) do
    if pool:kind() == "postgres" then pool[method](pool) end
  end
end

-- Copies the database as the schema left it, over the one that the test before used.  The
-- pools wait meanwhile: to them there would be no such database.
local function copy(run)
  each_postgres(run, "pause")
  each_postgres(run, "drain")
  sql(run, "DROP DATABASE IF EXISTS %s WITH (FORCE)", DATABASE)
  sql(run, "CREATE DATABASE %s TEMPLATE %s", DATABASE, TEMPLATE)
  each_postgres(run, "resume")
  run.position = position(run)
end

-- Before anything is connected to the database: puts it aside to be copied.
function Run:keep_template()
  local pool, err = core.postgres_open {
    name = "admin", url = (self.postgres.url:gsub("/tide%?", "/postgres?")),
    settings = { max_connections = 1 },
  }
  if not pool then return nil, err end
  self.admin, self.pools = pool, {}
  sql(self, "ALTER DATABASE %s RENAME TO %s", DATABASE, TEMPLATE)
  copy(self)
  return true
end

function Run:reset()
  if position(self) ~= self.position then copy(self) end
  local ok, err = self.redis:cli "FLUSHALL"
  if not ok then error(err, 0) end
end

-- ---- busted

local function load_busted()
  package.path = package.path .. ";/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua"
  package.cpath = ("/usr/lib/%s-linux-gnu/lua/5.1/?.so;"):format(ARCH) .. package.cpath
  local ok, busted = pcall(require, "busted.core")
  if not ok then return nil, tostring(busted) end
  busted = busted()
  require "busted"(busted)
  busted.register("file", "file", {}) -- no insulation: it would swap _G
  return busted
end

-- Every test is run with what the runtime needs around it.
local function prepare(busted, run)
  local counts = { passed = 0, failed = 0, pending = 0 }
  busted.subscribe({ "test", "start" }, function(element)
    local ok, err = pcall(run.reset, run)
    if ok then return nil, true end
    element.run = function()
      error("the servers could not be made ready: " .. tostring(err), 0)
    end
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    local kind = status == "success" and "passed" or status
    kind = counts[kind] and kind or "failed"
    counts[kind] = counts[kind] + 1
    return nil, true
  end)
  busted.subscribe({ "error" }, function(element)
    if element.descriptor ~= "it" then counts.failed = counts.failed + 1 end
    return nil, true
  end)
  return counts
end

local function run_specs(busted, run, paths, is_trusted)
  local counts = prepare(busted, run)
  local output = require("busted.outputHandlers." .. (os.getenv "TERM"
    and "utfTerminal" or "plainTerminal"))
  output({ language = "en", arguments = {}, suppressPending = false }):subscribe {
    language = "en", arguments = {},
  }
  local path = directory_of(paths[1])
  local own_path = ("./?.lua;./?/init.lua;%s/?.lua;%s/../?.lua;"):format(path, path)
  package.path = own_path .. package.path
  _G.require = sandbox.require_of_specs(own_path, is_trusted)
  require "busted.modules.test_file_loader"(busted, { "lua" })(paths, { "%.lua$" }, {
    excludes = {},
  })
  require "busted.execute"(busted)(1, {})
  return counts
end

-- ---- the command

local testing = {}

local function run_all(settings, run, paths)
  local busted, why = load_busted()
  if not busted then
    local reason = why:match "^[^\n]*":gsub(":$", "")
    local is_missing = reason == "module 'busted.core' not found"
    complain("busted, which runs the specs, %s", is_missing
      and "was not found; on Debian: apt-get install lua-busted"
      or "could not be loaded: " .. reason)
    return MISCONFIGURED
  end
  local ok, err = run:start_servers(find_schema(paths[1]))
  if ok then ok, err = run:keep_template() end
  if ok then
    point(settings, run)
    ok, err = run:open_pools(settings)
  end
  if not ok then
    complain("%s", tostring(err))
    return FAILED
  end
  local counts = run_specs(busted, run, paths, settings.script.trusted)
  if counts.passed + counts.failed + counts.pending == 0 then
    complain("no test in %s", table.concat(paths, ", "))
    return FAILED
  end
  return counts.failed == 0 and DONE or FAILED
end

-- Runs the specs at paths, files or folders, else those of here, and those in spec/ and
-- tests/.  Returns the exit status.
function testing.run(settings, paths)
  local wrong = "no *_spec.lua here, in spec/ or in tests/"
  if #paths == 0 then
    paths = find_specs()
  else
    paths, wrong = expand(paths)
  end
  if not paths or #paths == 0 then
    complain("%s", wrong)
    return MISCONFIGURED
  end
  settings.log.level = os.getenv "TEST_LOG" or "error"
  core.log_setup(settings.log)
  local run = setmetatable({}, Run)
  local ok, status = xpcall(run_all, function(err)
    return core.is_err(err) and tostring(err) or debug.traceback(tostring(err), 2)
  end, settings, run, paths)
  of(core.sleep(0))
  run:stop()
  if ok then return status end
  complain("%s", status)
  return FAILED
end

return testing
