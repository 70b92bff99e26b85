-- luv_loop.lua - where luv is in the same Lua state, its loop turns ours.
--
-- By luv's own functions in Lua: a poll handle looks at the descriptor of our loop, a
-- timer keeps its deadlines, and a prepare handle sees what others have begun before
-- luv's loop waits.  So both have their own handles: uv.walk() meets none of ours, luv
-- may use another libuv than we do, and it may be required before or after us.  Tasks
-- keep luv's loop running; open pools do not.

local core = require "tidepool.core"

local luv_loop = {}
local uv, poll, timer, prepare
local holds -- whether luv's loop is kept running

-- luvit has it by its other name.
local function find()
  for _, name in ipairs { "luv", "uv" } do
    local found = package.loaded[name]
    local is_luv = type(found) == "table" and found.new_poll and found.new_prepare
    if is_luv then return found end
  end
end

function luv_loop.is_there()
  return poll ~= nil and not poll:is_closing()
end

-- Says when our loop is to be turned next.
local function arm()
  local ms, has_tasks = core.next_turn()
  if ms >= 0 then timer:start(ms, 0, luv_loop.step) else timer:stop() end
  if has_tasks == holds then return end
  holds = has_tasks
  if holds then poll:ref() else poll:unref() end
end

function luv_loop.step()
  core.turn(0)
  if luv_loop.is_there() then arm() end
end

local function look()
  if core.next_turn() == 0 then return luv_loop.step() end
  arm()
end

function luv_loop.detach()
  if not poll then return end
  for _, handle in ipairs { poll, timer, prepare } do
    if not handle:is_closing() then handle:close() end
  end
  poll, timer, prepare, holds = nil, nil, nil, nil
end

-- Whether luv's loop turns ours, from now on.
function luv_loop.attach()
  if luv_loop.is_there() then return true end
  luv_loop.detach()
  uv = uv or find()
  if not uv then return false end
  poll = assert(uv.new_poll(core.poll_fd()))
  timer, prepare = assert(uv.new_timer()), assert(uv.new_prepare())
  assert(poll:start("r", luv_loop.step))
  assert(prepare:start(look))
  for _, handle in ipairs { poll, timer, prepare } do handle:unref() end
  holds = false
  return true
end

-- Something was begun, or will be, outside of a turn.
function luv_loop.arm()
  if luv_loop.attach() then arm() end
end

-- One turn of luv's loop, in which ours has one.
function luv_loop.turn() uv.run "once" end

-- Whether uv.run() is on its way.
function luv_loop.is_turning()
  return uv.loop_mode ~= nil and uv.loop_mode() ~= nil
end

return luv_loop
