-- cli.lua - the command line: commands, options, what they say.

local check = require "tidepool.command.check"
local config = require "tidepool.config"
local confine = require "tidepool.confine"
local core = require "tidepool.core"
local dev = require "tidepool.command.dev"
local master = require "tidepool.instance.master"
local member = require "tidepool.instance.member"
local schema = require "tidepool.schema"
local service = require "tidepool.service"
local service_manager = require "tidepool.service_manager"
local sorted_keys = require "tidepool.sorted_keys"
local testing = require "tidepool.command.testing"
local url = require "tidepool.url"
local words = require "tidepool.command.words"

local DONE, FAILED, MISUSED = 0, 1, 2

local USAGE = [[
tidepool: Postgres and Redis pools, scripted in Lua

  tidepool run APP      serve an app, or run a script to its end
  tidepool dev APP      the same with a private Postgres and Redis, reload on save
  tidepool check APP    check configuration, script and servers, serve nothing
  tidepool test [FILE]  run specs on a private Postgres and Redis
  tidepool load URL     load an HTTP server, report latency, rate and what pools did
  tidepool top [URL]    watch an instance's pools
  tidepool simulate POLICY  try a policy on a virtual clock
  tidepool tune URL     load a database with pools of many sizes, recommend one
  tidepool version
  tidepool help [COMMAND]

`tidepool COMMAND --help` tells the options of each.
]]

local OPTIONS = [[
  --listen ADDRESS   where to serve: HOST:PORT, port 0 picks one, or unix:PATH
                     (127.0.0.1:8080)
  --admin ADDRESS    where health and metrics answer (where the app does)
  --workers N|auto   processes that serve, and a master that keeps them (0: this one
                     serves; auto: one a core)
  --policy NAME|FILE what tunes the pools: a stock policy, or a file that ends in
                     .lua (formula)
  --record FILE      what is asked of the pools, for tidepool simulate --trace FILE
  --confine          the kernel holds what serves to the app: no program is run, no
                     other file opened, no other server connected to
  --trusted          the script has all of Lua: io, os, debug, ffi and modules in C
  --drain TIME       how long what runs may go on after INT or TERM (30s)
  --log FORMAT       logfmt or json (logfmt)
  --log-level LEVEL  debug, info, warn or error (info)
  --config FILE      instead of config/local.toml or tidepool.toml
  --set KEY=VALUE    one setting, as in --set database.pool.max_connections=20;
                     may stand repeatedly

Settings come from: the file, .env, the environment (DATABASE_URL, REDIS_URL,
TIDEPOOL_DATABASE__POOL__MAX_CONNECTIONS=20), --set, the other options; the later
ones win.
]]

local HELP = {
  run = [[
usage: tidepool run APP [options] [-- ARGUMENTS]

Serves the app that the Lua script APP returns; a script that returns nothing is run
to its end.  What follows -- is given to the script.

]] .. OPTIONS,
  dev = [[
usage: tidepool dev APP [options] [-- ARGUMENTS]

Like run, with a private Postgres and Redis, whose data stay in .tidepool/, and loads
APP anew when it or a module of it is saved.  schema.sql beside APP is run when the
database is new.

  --fresh            begin with empty servers
]] .. OPTIONS,
  check = [[
usage: tidepool check APP [options]

Checks the configuration and the syntax of APP, connects to every server, and tells what
does not fit: sizes, timeouts, encryption, a pooler in front.  Status 1 when a server does
not answer.

  --print            show each setting and where it is from
  --offline          ask no server
]] .. OPTIONS,
  test = [[
usage: tidepool test [FILE...] [options]

Runs specs of busted inside the runtime, on a Postgres and a Redis of their own: FILE...,
of a folder all *_spec.lua in it and below it; without FILE those here, and in spec/ and
tests/.  schema.sql here, beside the first FILE or above it makes the database; each test
begins with a copy of it, and an empty Redis.

]] .. OPTIONS,
  version = "usage: tidepool version\n",
  help = "usage: tidepool help [COMMAND]\n",
}

-- Those of the operator, which need no app: HELP, read(list) -> words or nil and what is
-- wrong, run(words) -> exit status.
local OPERATOR = {
  load = require "tidepool.command.load",
  simulate = require "tidepool.command.simulate",
  tune = require "tidepool.command.tune",
  top = require "tidepool.command.top",
}
for command, module in pairs(OPERATOR) do HELP[command] = module.HELP end

-- Options that stand for a setting.
local SETTINGS = {
  listen = "server.listen", admin = "server.admin", workers = "server.workers",
  drain = "server.drain", log = "log.format", ["log-level"] = "log.level",
  policy = "policy.use", record = "record.file",
}

local SWITCHES = { trusted = "script.trusted", confine = "server.confine" }

local function say(text)
  io.stdout:write(text)
  io.stdout:flush()
end

local function misused(command, message, ...)
  io.stderr:write("tidepool: ", message:format(...), "\n")
  if command then io.stderr:write("see: tidepool ", command, " --help\n") end
  return MISUSED
end

-- ---- the words of those that read the configuration

local function is_url(word)
  return word ~= nil and word:find "^%a[%w+.-]*://" ~= nil
end

local function take_app(self, word)
  if not self.app then
    self.app = word
    return nil
  end
  local set = self.sets[#self.sets]
  if set and not set:find("=", 1, true) then
    return ('--set: expected KEY=VALUE, found "%s"'):format(url.mask_inside(set))
  end
  return ('unexpected "%s"; arguments of the script stand after --'):format(
    url.mask_inside(word))
end

local function take_set(self, value) table.insert(self.sets, value) end
local function take_file(self, value) self.file = value end

local OPTIONS_OF_ALL = { set = take_set, config = take_file }
for name, setting in pairs(SETTINGS) do
  OPTIONS_OF_ALL[name] = function(self, value)
    self.flags[setting] = { name = "--" .. name, value = value }
  end
end

-- Flags that stand for a setting which is false without them.
local function take_flag(self, name)
  self.flags[SWITCHES[name]] = { name = "--" .. name, value = "true" }
end

local function spec_of(flags, operand)
  for name in pairs(SWITCHES) do flags[name] = take_flag end
  return { options = OPTIONS_OF_ALL, flags = flags, operand = operand,
           takes_args = true }
end

local SPECS = {
  run = spec_of({}, take_app), dev = spec_of({ fresh = true }, take_app),
  check = spec_of({ print = true, offline = true }, take_app), test = spec_of {},
}

local function read_words(command, list)
  local self, wrong = words.read(SPECS[command], list,
    { args = {}, flags = {}, sets = {} })
  if not self or self.wants_help then return self, wrong end
  if command ~= "test" and not self.app then return nil, "APP is missing" end
  local not_a_file = is_url(self.app) and "APP" or is_url(self.file) and "--config"
  if not_a_file then
    return nil, not_a_file .. ": expected a file, found a url; one stands in --set or "
      .. "DATABASE_URL"
  end
  return self
end

-- ---- commands

local RUNNERS = {
  run = function(settings, self)
    local worker = member.of_environment()
    if worker == false then return FAILED end -- its master has ended already
    local wrong = settings.server.confine and confine.find_wrong(settings)
    if wrong then return misused(nil, "%s", wrong) end
    if not worker and settings.server.workers > 0 then
      return master.run(settings, self.words, self.manager)
    end
    return service.run(settings, self.app, self.args,
      { member = worker, manager = self.manager })
  end,
  dev = function(settings, self)
    return dev.run(settings, self.app, self.args, self.fresh)
  end,
  test = function(settings, self) return testing.run(settings, self.operands) end,
  check = function(settings, self)
    core.log_setup { level = "error" }
    return check.run(settings, self.app, self)
  end,
}

local function run_script(command, self)
  self.manager = service_manager.of_environment() -- taken from all children, too
  local settings, problems = config.load(self)
  if settings then return RUNNERS[command](settings, self) end
  for _, problem in ipairs(problems) do io.stderr:write("tidepool: ", problem, "\n") end
  return MISUSED
end

-- Reads a command's words and runs it, unless they are wrong or ask for help.
local function run_read(command, read, run)
  local self, wrong = read()
  if not self then return misused(command, "%s", wrong) end
  if not self.wants_help then return run(self) end
  say(HELP[command])
  return DONE
end

local function script_command(command, list)
  return run_read(command, function() return read_words(command, list) end,
    function(self)
      self.words = { command, unpack(list) }
      return run_script(command, self)
    end)
end

local function operator_command(command, list)
  local module = OPERATOR[command]
  return run_read(command, function() return module.read(list) end, module.run)
end

local function help(_, list)
  local command = list[1] == "--help" and "help" or list[1]
  if command and not HELP[command] then
    return misused("help", "unknown command %q", url.mask_inside(command))
  end
  say(command and HELP[command] or USAGE)
  return DONE
end

local function version(_, list)
  if list[1] == "--help" then return help("help", { "version" }) end
  if list[1] then return misused("version", "unexpected %q", url.mask_inside(list[1])) end
  say(("tidepool %s (%s)\n"):format(core.version, jit.version))
  return DONE
end

local COMMANDS = { help = help, version = version, ["--help"] = help, ["-h"] = help,
                   ["--version"] = version }
for command in pairs(SPECS) do COMMANDS[command] = script_command end
for command in pairs(OPERATOR) do COMMANDS[command] = operator_command end

local cli = {}

-- Runs the command that the words name; returns the exit status.
function cli.main(command, ...)
  if not command then
    io.stderr:write(USAGE)
    return MISUSED
  end
  local run = COMMANDS[command]
  if run then return run(command, { ... }) end
  local near = schema.nearest(command, sorted_keys(HELP))
  return misused("help", "unknown command %q%s", url.mask_inside(command),
    near and ("; did you mean %s?"):format(near) or "")
end

return cli
