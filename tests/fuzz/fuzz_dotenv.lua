-- fuzz_dotenv.lua - .env files: names are names, lines are lines of the file, and what is
-- said of a wrong one holds nothing of a value.

local dotenv = require "tidepool.dotenv"

local fuzz = fuzz -- luacheck: globals fuzz

-- Words of the file that could be a secret.
local function has_part_of(message, data)
  for word in data:gmatch "%w+" do
    if #word >= 5 and word:find "%d" and message:find(word, 1, true) then return true end
  end
end

return function(data)
  local values, err = dotenv.parse(data)
  local _, lines = data:gsub("\n", "")
  if not values then
    assert(err.line >= 1 and err.line <= lines + 1, "no such line")
    assert(not has_part_of(err.message, data), "a part of the file is shown")
    fuzz.feature((err.message:gsub("U%+%x+", "")))
    return
  end
  for name, entry in pairs(values) do
    assert(name:find "^[%a_][%w_.]*$", "no name")
    assert(type(entry.value) == "string")
    assert(entry.line >= 1 and entry.line <= lines + 1, "no such line")
    assert(not entry.before or entry.before < entry.line, "before is not before")
    assert(not entry.value:find "[%z\1-\8\11\12\14-\31\127]" or data:find "\\",
      "a control character")
    fuzz.feature(("%s%s%s"):format(entry.before and 1 or 0,
      entry.value:find "%$%$" and 1 or 0, entry.value:find "\n" and 1 or 0))
  end
end
