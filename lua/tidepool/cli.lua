-- cli.lua - the command line: commands, options, what they say.

local check = require "tidepool.check"
local config = require "tidepool.config"
local core = require "tidepool.core"
local dev = require "tidepool.dev"
local load = require "tidepool.load"
local schema = require "tidepool.schema"
local service = require "tidepool.service"
local simulate = require "tidepool.simulate"
local testing = require "tidepool.testing"
local url = require "tidepool.url"

local DONE, MISUSED = 0, 2

local USAGE = [[
tidepool: Postgres and Redis pools, scripted in Lua

  tidepool run APP      serve an app, or run a script to its end
  tidepool dev APP      the same with a private Postgres and Redis, reload on save
  tidepool check APP    check configuration, script and servers, serve nothing
  tidepool test [FILE]  run specs on a private Postgres and Redis
  tidepool load URL     load an HTTP server, report latency, rate and what pools did
  tidepool simulate POLICY  try a policy on a virtual clock
  tidepool version
  tidepool help [COMMAND]

`tidepool COMMAND --help` tells the options of each.
]]

local OPTIONS = [[
  --listen ADDRESS   where to serve: HOST:PORT, port 0 picks one, or unix:PATH
                     (127.0.0.1:8080)
  --admin ADDRESS    where health and metrics answer (where the app does)
  --workers N|auto   this version runs one
  --policy NAME|FILE what tunes the pools: a stock policy, or a file that ends in
                     .lua (formula)
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
  load = load.HELP,
  simulate = simulate.HELP,
  version = "usage: tidepool version\n",
  help = "usage: tidepool help [COMMAND]\n",
}

-- Options that take a value: the setting that each stands for, or true for the others.
local VALUED = {
  listen = "server.listen", admin = "server.admin", workers = "server.workers",
  drain = "server.drain", log = "log.format", ["log-level"] = "log.level",
  policy = "policy.use", config = true, set = true,
}
local FLAGS = {
  run = {}, dev = { fresh = true }, check = { print = true, offline = true }, test = {},
}

local function say(text)
  io.stdout:write(text)
  io.stdout:flush()
end

local function misused(command, message, ...)
  io.stderr:write("tidepool: ", message:format(...), "\n")
  if command then io.stderr:write("see: tidepool ", command, " --help\n") end
  return MISUSED
end

-- ---- reading the words

local Words = {}
Words.__index = Words

local function suggestion(word, names)
  local near = schema.nearest(word, names)
  return near and ("; did you mean %s?"):format(near) or ""
end

local function unknown_option(command, name)
  local names = {}
  for known in pairs(VALUED) do names[#names + 1] = "--" .. known end
  for known in pairs(FLAGS[command]) do names[#names + 1] = "--" .. known end
  table.sort(names)
  return ("unknown option %s%s"):format(name, suggestion(name, names))
end

function Words:take_value(name, value)
  if not value then
    self.at = self.at + 1
    value = self.words[self.at]
    if not value then return ("--%s: a value is missing"):format(name) end
  end
  if name == "set" then
    self.sets[#self.sets + 1] = value
  elseif name == "config" then
    self.file = value
  else
    self.flags[VALUED[name]] = { name = "--" .. name, value = value }
  end
end

-- Takes one word; gives what is wrong with it, or nil.
function Words:take(word)
  local name, value = word:match("^%-%-([^=]+)=(.*)$")
  name = name or word:match("^%-%-(.+)$")
  if word == "--help" or word == "-h" then
    self.wants_help = true
  elseif name and VALUED[name] then
    return self:take_value(name, value)
  elseif name and FLAGS[self.command][name] and not value then
    self[name] = true
  elseif word:find("^%-.") then
    return unknown_option(self.command, word:match("^[^=]+"))
  elseif self.command == "test" then
    self.files[#self.files + 1] = word
  elseif self.app then
    local set = self.sets[#self.sets]
    if set and not set:find("=", 1, true) then
      return ('--set: expected KEY=VALUE, found "%s"'):format(url.mask_inside(set))
    end
    return ('unexpected "%s"; arguments of the script stand after --'):format(
      url.mask_inside(word))
  else
    self.app = word
  end
end

local function is_url(word)
  return word ~= nil and word:find "^%a[%w+.-]*://" ~= nil
end

-- Reads the words after the command.  Returns what they say, or nil and what is wrong.
local function read_words(command, words)
  local self = setmetatable({ command = command, words = words, at = 1, args = {},
                              flags = {}, sets = {}, files = {} }, Words)
  while words[self.at] do
    if words[self.at] == "--" then
      self.args = { unpack(words, self.at + 1) }
      break
    end
    local wrong = self:take(words[self.at])
    if wrong then return nil, wrong end
    self.at = self.at + 1
  end
  if command ~= "test" and not self.app and not self.wants_help then
    return nil, "APP is missing"
  end
  local not_a_file = is_url(self.app) and "APP" or is_url(self.file) and "--config"
  if not_a_file then
    return nil, not_a_file .. ": expected a file, found a url; one stands in --set or "
      .. "DATABASE_URL"
  end
  return self
end

-- ---- commands

local RUNNERS = {
  run = function(settings, words) return service.run(settings, words.app, words.args) end,
  dev = function(settings, words)
    return dev.run(settings, words.app, words.args, words.fresh)
  end,
  test = function(settings, words) return testing.run(settings, words.files) end,
  check = function(settings, words)
    core.log_setup { level = "error" }
    return check.run(settings, words.app, words)
  end,
}

local function run_script(command, arguments)
  local words, wrong = read_words(command, arguments)
  if not words then return misused(command, "%s", wrong) end
  if words.wants_help then
    say(HELP[command])
    return DONE
  end
  local settings, problems = config.load(words)
  if settings then return RUNNERS[command](settings, words) end
  for _, problem in ipairs(problems) do io.stderr:write("tidepool: ", problem, "\n") end
  return MISUSED
end

local function help(_, words)
  local command = words[1]
  if command and not HELP[command] then
    return misused("help", "unknown command %q", command)
  end
  say(command and HELP[command] or USAGE)
  return DONE
end

local function version(_, words)
  if words[1] == "--help" then return help("help", { "version" }) end
  if words[1] then return misused("version", "unexpected %q", words[1]) end
  say(("tidepool %s (%s)\n"):format(core.version, jit.version))
  return DONE
end

local COMMANDS = { run = run_script, dev = run_script, check = run_script,
                   test = run_script, help = help,
                   load = function(_, words) return load.main(words) end,
                   simulate = function(_, words) return simulate.main(words) end,
                   version = version, ["--help"] = help, ["-h"] = help,
                   ["--version"] = version }

local cli = {}

-- Runs the command that the words name; returns the exit status.
function cli.main(command, ...)
  if not command then
    io.stderr:write(USAGE)
    return MISUSED
  end
  local run = COMMANDS[command]
  if run then return run(command, { ... }) end
  return misused("help", "unknown command %q%s", command,
    suggestion(command, { "run", "dev", "check", "test", "load", "simulate", "version",
      "help" }))
end

return cli
