-- password_command.lua - passwords that a command of the configuration prints: for the
-- first connects, and anew when one has failed.

local core = require "tidepool.core"
local credentials = require "tidepool.credentials"
local of = require("tidepool.result").of

local function failure(text, ...) return nil, core.err("refused", text:format(...)) end

-- Its status and output.  It does not outlive a task that is cancelled meanwhile.
local function wait(process)
  local ok, status, output = pcall(function() return of(process:wait()) end)
  if ok then return status, output end
  process:signal "KILL"
  error(status, 0)
end

-- What the command printed, as { password = }; or nil, err.  What it says on stderr is
-- for whoever reads ours.
local function run(command)
  local process, err = core.process {
    args = { "/bin/sh", "-c", command }, shares_errors = true, leads_group = true,
  }
  if not process then return nil, err end
  local status, output = wait(process)
  if status ~= 0 then return failure("password_command ended with status %d", status) end
  local password = output:match "^([^%c]+)\r?\n?$"
  if password then return { password = password } end
  return failure("password_command: a password on one line expected, got %s",
    output == "" and "nothing" or "other output")
end

local function source_of(entry)
  return function() return run(entry.password_command) end
end

local password_command = {}

-- The first logins of the entries of Config:pools() that have a command, all at the same
-- time: entry -> { login } or { nil, err }.
function password_command.ask(entries)
  local tasks, logins = {}, {}
  for _, entry in ipairs(entries) do
    if entry.password_command then
      tasks[entry] = core.spawn(credentials.login_of, source_of(entry))
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
  credentials.begin(pool, source_of(entry), answer[1], answer[2])
end

return password_command
