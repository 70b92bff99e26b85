-- handover.lua - a new master takes an instance's sockets over from the old one, which
-- then ends: how a new binary comes without a lost request.
--
-- The old master starts the new one, which inherits the sockets.  When its workers serve
-- it tells the old one, whose workers finish what they do and end.  A new one that ends
-- before has changed nothing.

local call = require "tidepool.call"
local core = require "tidepool.core"
local of = require("tidepool.result").of
local reply = require "tidepool.reply"

local VARIABLE = "TIDEPOOL_HANDOVER"
local FIRST_FD = 3

local handover = {}

-- Starts the program at path as the new master.  groups: name -> array of descriptors
-- that it inherits; directory: of the old one's instance; env: what its environment has
-- besides.  on_end(status) is called when it is gone, however that came.  Gives its
-- process; or nil and a sentence.
function handover.start(path, words, directory, groups, env, on_end)
  local inherit, fields = {}, { parent = core.pid(), directory = directory, groups = {} }
  for name, group in pairs(groups) do
    local fds = {}
    for i, fd in ipairs(group) do
      inherit[#inherit + 1] = fd
      fds[i] = FIRST_FD + #inherit - 1
    end
    fields.groups[name] = fds
  end
  env[VARIABLE] = core.encode(fields)
  local process, err = core.process {
    file = path, args = { path, unpack(words) }, shares_all = true, inherit = inherit,
    env = env,
  }
  if not process then return nil, err.message end
  core.spawn(function() on_end((of(process:wait()))) end)
  return process
end

local Handover = {}
Handover.__index = Handover

-- The descriptors of a group that was handed over.
function Handover:fds(name)
  return self.groups[name]
end

-- The new one serves: the old one may end.
function Handover:finish()
  local status, why = call({ unix_path = self.directory .. "/master",
    authority = "localhost", path = "/retire" }, { method = "POST", body = "{}" })
  if status == 200 then return end
  core.log("warn", "the master before did not hear that it may end",
    { pid = self.parent, error = status and "status " .. status or why })
end

-- What the master that started this process hands over, or nil: none did.  Its children
-- are no heirs: the environment has it no more.
function handover.of_environment()
  local text = core.take_env(VARIABLE)
  local fields = text and reply.decode(text)
  if not fields or core.parent_pid() ~= fields.parent then return nil end
  return setmetatable(fields, Handover)
end

return handover
