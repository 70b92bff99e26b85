-- lines.lua - the lines of a Lua file that have code, as keys: of all its functions.

local util = require "jit.util"

local function add(lines, fn)
  for pc = 1, util.funcinfo(fn).bytecodes - 1 do
    lines[util.funcinfo(fn, pc).currentline] = true
  end
  for i = -1, -1000, -1 do
    local constant = util.funck(fn, i)
    if constant == nil then return lines end
    if type(constant) == "proto" then add(lines, constant) end
  end
end

return function(path) return add({}, assert(loadfile(path))) end
