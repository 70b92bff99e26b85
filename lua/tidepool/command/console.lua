-- console.lua - what commands say on stderr beside their output.

local core = require "tidepool.core"

local OVER = "\r\27[K" -- to the line's beginning, and away with it

local console = {}

-- What went wrong, as a sentence of the command's.
function console.complain(message, ...)
  io.stderr:write("tidepool: ", message:format(...), "\n")
end

-- Progress is told on a terminal only.
function console.is_live() return core.isatty(2) end

-- Shows a line in the place of the one before.
function console.progress(text)
  if not console.is_live() then return end
  io.stderr:write(OVER, text)
  io.stderr:flush()
end

-- Takes the line away.
function console.end_progress()
  if console.is_live() then io.stderr:write(OVER) end
end

return console
