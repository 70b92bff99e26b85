-- files.lua - files that commands read and write whole.

local tide = require "tidepool"

local files = {}

-- The bytes of a file; or nil and why not.
function files.read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text
  text, why = file:read "*a"
  file:close()
  if text then return text end
  return nil, path .. ": " .. tostring(why)
end

-- Returns true, or nil and why not.
function files.write(path, text)
  local file, why = io.open(path, "wb")
  if not file then return nil, why end
  local ok
  ok, why = file:write(text)
  local closed, close_why = file:close()
  if ok and closed then return true end
  return nil, path .. ": " .. tostring(why or close_why)
end

-- A value as the text of a file.
function files.json(value) return tide.encode(value) .. "\n" end

-- Writes what was asked for.  asked: array of { option, path or nil, fn }, of which fn
-- gives the text.  Returns true, or nil and which failed and why.
function files.write_asked(asked)
  for _, entry in ipairs(asked) do
    local option, path, make = unpack(entry, 1, 3)
    if path then
      local ok, why = files.write(path, make())
      if not ok then return nil, ("%s: %s"):format(option, why) end
    end
  end
  return true
end

-- The value that a file of JSON holds; or nil and why not.
function files.read_json(path)
  local text, why = files.read(path)
  if not text then return nil, why end
  local value, err = tide.decode(text)
  if err then return nil, ("%s: %s"):format(path, tostring(err)) end
  return value
end

return files
