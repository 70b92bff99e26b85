-- password_command.lua - passwords that a command of the configuration prints: for the
-- first connects, and anew when one has failed.

local core = require "tidepool.core"
local credentials = require "tidepool.credentials"
local of = require("tidepool.result").of
local Task = require "tidepool.task"

local LIMIT = 10 -- seconds

local function failure(text, ...) return nil, core.err("refused", text:format(...)) end

-- What the command printed, as { password = }; or nil, err.  What it says on stderr is
-- for whoever reads ours.
local function run(command)
  local process, err = core.process {
    args = { "/bin/sh", "-c", command }, shares_errors = true,
  }
  if not process then return nil, err end
  local status, output = Task.timeout(LIMIT, function() return of(process:wait()) end)
  if not status then
    process:signal "KILL"
    return failure("password_command did not end in %d s", LIMIT)
  end
  if status ~= 0 then return failure("password_command ended with status %d", status) end
  local password = output:match "^([^%c]+)\r?\n?$"
  if password then return { password = password } end
  return failure("password_command: a password on one line expected, got %s",
    output == "" and "nothing" or "other output")
end

local password_command = {}

-- The first logins of the entries of Config:pools() that have a command, all at the same
-- time: entry -> { login } or { nil, err }.
function password_command.ask(entries)
  local tasks, logins = {}, {}
  for _, entry in ipairs(entries) do
    if entry.password_command then
      tasks[entry] = core.spawn(function() return run(entry.password_command) end)
    end
  end
  for entry, task in pairs(tasks) do
    local _, login, err = of(task:wait())
    logins[entry] = { login, err }
  end
  return logins
end

-- pool begins with what ask() gave for its entry.
function password_command.begin(pool, entry, answer)
  credentials.begin(pool, function() return run(entry.password_command) end,
    answer[1], answer[2])
end

return password_command
