-- schema.lua - every key of the configuration: its kind, its limits, how it is read.

local core = require "tidepool.core"
local url = require "tidepool.url"

local TOKEN_LEAST = 16 -- characters
local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600 }

-- kind -> { read(entry, value, is_text) -> value or nil, expected(entry) -> words }.
-- is_text: the value comes from a flag or the environment, where all is text.
local KINDS = {}

local function in_range(entry, number)
  return number and number >= entry.min and number <= entry.max and number or nil
end

local function range(entry)
  return ("from %.14g to %.14g"):format(entry.min, entry.max)
end

KINDS.count = {
  read = function(entry, value, is_text)
    if is_text then value = value:match("^%d+$") and tonumber(value) end
    if type(value) ~= "number" or value % 1 ~= 0 then return nil end
    return in_range(entry, value)
  end,
  expected = function(entry) return "a whole number " .. range(entry) end,
}

KINDS.share = {
  read = function(entry, value, is_text)
    if is_text then value = value:match("^%d*%.?%d+$") and tonumber(value) end
    return type(value) == "number" and in_range(entry, value) or nil
  end,
  expected = function(entry) return "a number " .. range(entry) end,
}

KINDS.time = {
  read = function(entry, value, is_text)
    if type(value) == "number" then return in_range(entry, value) end
    if type(value) ~= "string" then return nil end
    local number, unit = value:match("^(%d+%.?%d*)(%a*)$")
    if unit == "" and is_text then unit = "s" end
    return in_range(entry, UNITS[unit] and tonumber(number) * UNITS[unit])
  end,
  expected = function(entry)
    return 'seconds or a text like "500ms", "30s", "5m", "1h", '
      .. range(entry) .. " seconds"
  end,
}

KINDS.flag = {
  read = function(_, value, is_text)
    if is_text then
      if value == "true" then return true end
      if value == "false" then return false end
    end
    if type(value) == "boolean" then return value end
  end,
  expected = function() return "true or false" end,
}

KINDS.url = {
  read = function(entry, value)
    if type(value) ~= "string" or not value:find "%S" then return nil end
    value = value:match "^%s*(.-)%s*$"
    local wrong = entry.find_wrong and entry.find_wrong(value)
    if wrong then return nil, wrong end
    return value
  end,
  expected = function(entry)
    return ('a url such as %s, or { file = "PATH" }'):format(entry.example)
  end,
}

KINDS.text = {
  read = function(_, value)
    return type(value) == "string" and value:find "^%C+$" and value or nil
  end,
  expected = function() return "a text on one line" end,
}

local Files = {}
Files.__tostring = function(self) return '"' .. table.concat(self, ", ") .. '"' end

-- One path, or several: a list in a file, with commas elsewhere.
KINDS.files = {
  read = function(_, value, is_text)
    local files = setmetatable({}, Files)
    if is_text then
      for path in value:gmatch "[^,]+" do
        files[#files + 1] = path:match "^%s*(.-)%s*$"
      end
    else
      for i, path in ipairs(type(value) == "table" and value or { value }) do
        files[i] = path
      end
    end
    for _, path in ipairs(files) do
      if type(path) ~= "string" or not path:find "^%C+$" then return nil end
    end
    return #files > 0 and files or nil
  end,
  expected = function() return "the path of a file, or a list of them" end,
}

-- Shown nowhere.
KINDS.token = {
  read = function(_, value)
    return type(value) == "string" and #value >= TOKEN_LEAST and value:find "^[!-~]+$"
      and value or nil
  end,
  expected = function()
    return ("%d characters or more, without spaces"):format(TOKEN_LEAST)
  end,
}

KINDS.address = {
  read = function(_, value)
    if type(value) ~= "string" then return nil end
    if value:find("^unix:.") then return value end
    local port = value:match("^[^:%s]+:(%d+)$") or value:match("^%[[%x:.]+%]:(%d+)$")
    return port and tonumber(port) <= 65535 and value or nil
  end,
  expected = function() return "HOST:PORT or unix:PATH" end,
}

KINDS.choice = {
  read = function(entry, value)
    for _, choice in ipairs(entry.choices) do
      if value == choice then return value end
    end
  end,
  expected = function(entry) return "one of " .. table.concat(entry.choices, ", ") end,
}

KINDS.workers = {
  read = function(entry, value, is_text)
    if value == "auto" then return core.cores() end
    return KINDS.count.read(entry, value, is_text)
  end,
  expected = function(entry)
    return "a whole number " .. range(entry) .. ', or "auto"'
  end,
}

-- "2..50, step 4, every 5s": what a policy may do with a setting.
local Rail = {}
Rail.__index = Rail

function Rail:__tostring()
  local text = ('"%.14g..%.14g'):format(self.min, self.max)
  if self.step then text = text .. (", step %.14g"):format(self.step) end
  if self.every then text = text .. (", every %.14gs"):format(self.every) end
  return text .. '"'
end

local function read_quantity(entry, text)
  if entry.setting_kind == "time" then
    return KINDS.time.read({ min = entry.min, max = entry.max }, text, true)
  end
  return in_range(entry, text:match "^%d+$" and tonumber(text))
end

local function read_rail(entry, value)
  local rail = {}
  for part in (value .. ","):gmatch "%s*(.-)%s*," do
    local low, high = part:match "^([%w.]-)%.%.([%w.]+)$"
    local name, quantity = part:match "^(%l+)%s+(%S+)$"
    if low then
      rail.min, rail.max = read_quantity(entry, low), read_quantity(entry, high)
    elseif name == "step" then
      rail.step = read_quantity(entry, quantity)
    elseif name == "every" then
      rail.every = KINDS.time.read({ min = 0, max = 86400 }, quantity, true)
    else
      return nil
    end
    if not (low or rail[name]) then return nil end
  end
  if not (rail.min and rail.max and rail.min <= rail.max) then return nil end
  return setmetatable(rail, Rail)
end

KINDS.rail = {
  read = function(entry, value)
    return type(value) == "string" and read_rail(entry, value) or nil
  end,
  expected = function(entry)
    return ('a text like "2..50" or "2..50, step 4, every 5s", within %.14g..%.14g')
      :format(entry.min, entry.max)
  end,
}

-- Of a policy: a number, a time in seconds, or a text.
KINDS.option = {
  read = function(_, value)
    if type(value) == "number" then return value end
    if type(value) ~= "string" then return nil end
    return tonumber(value) or KINDS.time.read({ min = 0, max = 1e9 }, value) or value
  end,
  expected = function() return "a number, a time or a text" end,
}

local schema = {
  list = {},     -- entries in the order of the documentation
  entries = {},  -- the same by path
  sections = {}, -- path of each section -> array of the names in it
}

local function add_name(section, name)
  local names = schema.sections[section]
  if not names then
    names = {}
    schema.sections[section] = names
    local parent, last = section:match("^(.-)%.?([^.]+)$")
    if last then add_name(parent, last) end
  end
  names[#names + 1] = name
end

local function add(section, name, entry)
  entry.path = section .. "." .. name
  schema.list[#schema.list + 1] = entry
  schema.entries[entry.path] = entry
  add_name(section, name)
end

local function add_pool(section)
  local settings, aliases = core.pool_settings()
  for _, setting in ipairs(settings) do
    add(section, setting.name, {
      kind = setting.kind, min = setting.min, max = setting.max, setting = setting.name,
    })
  end
  for alias, name in pairs(aliases) do
    local entry = setmetatable({}, { __index = schema.entries[section .. "." .. name] })
    entry.stands_for = section .. "." .. name
    add(section, alias, entry)
  end
end

local function bytes(max, default)
  return { kind = "count", min = 0, max = max, default = default }
end

local function seconds(min, max, default)
  return { kind = "time", min = min, max = max, default = default }
end

local function build()
  local GIB = 2 ^ 30
  local DAY = 86400
  local limits = core.http_limits()

  add("database", "postgres_url",
    { kind = "url", example = "postgres://user@host:5432/name", is_secret = true,
      find_wrong = url.wrong_postgres })
  add("database", "password_command", { kind = "text", is_hidden = true })
  add("database", "application_name", { kind = "text", default = "tidepool" })
  add("database", "trace", { kind = "choice", default = "off",
    choices = { "off", "comment", "application_name" } })
  add("database", "required", { kind = "flag", default = true })
  add_pool("database.pool")
  add("redis", "url", { kind = "url", example = "redis://host:6379", is_secret = true })
  add("redis", "password_command", { kind = "text", is_hidden = true })
  add("redis", "required", { kind = "flag", default = true })
  add_pool("redis.pool")
  add("server", "listen", { kind = "address", default = "127.0.0.1:8080" })
  add("server", "admin", { kind = "address" })
  add("server", "admin_token", { kind = "token", is_secret = true, is_hidden = true })
  add("server.tls", "certificate", { kind = "files" })
  add("server.tls", "key", { kind = "files" })
  add("server", "drain", seconds(0, DAY, 30))
  add("server", "drain_delay", seconds(0, DAY, 0))
  add("server", "workers", { kind = "workers", min = 0, max = 64, default = 0 })
  add("server", "confine", { kind = "flag", default = false })
  add("server", "worker_timeout", seconds(1, DAY, 10))
  add("server.limits", "max_body_bytes", bytes(GIB, limits.max_body_bytes))
  add("server.limits", "max_header_bytes", bytes(GIB, limits.max_header_bytes))
  for _, name in ipairs { "header", "body", "idle", "write" } do
    name = name .. "_timeout"
    add("server.limits", name, seconds(0.001, DAY, limits[name]))
  end
  add("server.limits", "max_connections",
    { kind = "count", min = 1, max = 1e6, default = limits.max_connections })
  add("server.limits", "max_buffered_bytes", bytes(1e15, limits.max_buffered_bytes))
  add("server", "request_timeout", seconds(0, DAY, 0))
  add("server", "trace_sample", { kind = "share", min = 0, max = 1, default = 0.01 })
  add("script", "trusted", { kind = "flag", default = false })
  add("script", "run_warn", seconds(0, DAY, 0.1))
  add("script", "run_abort", seconds(0, DAY, 1))
  add("script", "request_cpu", seconds(0, DAY, 10))
  add("script", "heap_max_bytes", bytes(1e15, 512 * 2 ^ 20))
  add("script", "max_tasks", { kind = "count", min = 0, max = 1e9, default = 100000 })
  add("policy", "use", { kind = "text", default = "formula" })
  add("policy", "dry_run", { kind = "flag", default = false })
  add("policy", "revert", { kind = "flag", default = true })
  for _, setting in ipairs((core.pool_settings())) do
    if setting.kind ~= "flag" then
      add("policy.rails", setting.name, {
        kind = "rail", setting_kind = setting.kind, min = setting.min, max = setting.max,
      })
    end
  end
  schema.sections["policy.options"] = {}
  add_name("policy", "options")
  add("record", "file", { kind = "text" })
  add("record", "max_bytes",
    { kind = "count", min = 65536, max = 1e15, default = 64 * 2 ^ 20 })
  add("record", "dump_dir", { kind = "text", default = os.getenv "TMPDIR" or "/tmp" })
  add("log", "level",
    { kind = "choice", choices = { "debug", "info", "warn", "error" }, default = "info" })
  add("log", "format",
    { kind = "choice", choices = { "logfmt", "json" }, default = "logfmt" })
  add("log", "access", { kind = "flag", default = false })
  add("log", "access_sample", { kind = "share", min = 0, max = 1, default = 1 })
  add("log", "access_slow", seconds(0, DAY, 1))
end

-- ---- pools with a name: [database.reports] and [redis.sessions] have the keys of
-- [database] and [redis].

local NAMED = { database = true, redis = true }
local named = {} -- path -> entry

-- The section, the name and what follows it, of a path below a pool with a name.
local function split_named(path)
  local root, name, rest = path:match "^(%l+)%.(%l[%w_-]*)(.*)$"
  if not root or not NAMED[root] then return nil end
  if schema.entries[root .. "." .. name] or schema.sections[root .. "." .. name] then
    return nil -- [database.pool] is that of the pool without a name
  end
  return root, name, rest
end

-- The entry of a path, or nil.
function schema.find(path)
  local entry = schema.entries[path] or named[path]
  if entry then return entry end
  if path:find "^policy%.options%.%l[%w_]*$" then
    named[path] = { path = path, kind = "option" }
    return named[path]
  end
  local root, name, rest = split_named(path)
  local model = root and schema.entries[root .. rest]
  if not model then return nil end
  local prefix = root .. "." .. name
  entry = setmetatable({ path = path }, { __index = model })
  if model.stands_for then
    entry.stands_for = prefix .. model.stands_for:sub(#root + 1)
  end
  named[path] = entry
  return entry
end

-- The names in a section, or nil when the path is none.
function schema.names_in(path)
  if schema.sections[path] then return schema.sections[path] end
  local root, _, rest = split_named(path)
  return root and schema.sections[root .. rest]
end

-- The pool with a name that a path is below: section and name; or nil.
function schema.named_pool(path)
  local root, name, rest = split_named(path)
  if root and rest ~= "" and schema.entries[root .. rest] then return root, name end
end

-- Reads a value of this entry.  Returns it in the entry's own unit (times in seconds); or
-- nil, the words that say what was expected, and for some kinds what is wrong.
function schema.read(entry, value, is_text)
  local kind = KINDS[entry.kind]
  local result, wrong = kind.read(entry, value, is_text)
  if result == nil then return nil, kind.expected(entry), wrong end
  return result
end

-- The number of letters to add, drop, change or swap to make one word of the other.
local function distance(one, other)
  local rows = { [0] = {} }
  for j = 0, #other do rows[0][j] = j end
  for i = 1, #one do
    rows[i] = { [0] = i }
    for j = 1, #other do
      local cost = one:byte(i) == other:byte(j) and 0 or 1
      local least = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
        rows[i - 1][j - 1] + cost)
      if i > 1 and j > 1 and one:byte(i) == other:byte(j - 1)
        and one:byte(i - 1) == other:byte(j) then
        least = math.min(least, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = least
    end
  end
  return rows[#one][#other]
end

-- The one of names that is most like word, or nil when none is like it.
function schema.nearest(word, names)
  local best, best_distance = nil, math.max(1, math.floor(#word / 3)) + 0.5
  for _, name in ipairs(names) do
    local d = distance(word:lower(), name:lower())
    if d < best_distance then best, best_distance = name, d end
  end
  return best
end

-- What others call our sections.
local SYNONYMS = {
  db = "database", pg = "database", postgres = "database", postgresql = "database",
  cache = "redis", http = "server", logging = "log",
}

-- The first of names that begins or ends with a word: "max", "url".
local function longer(word, names)
  for _, name in ipairs(names) do
    if name:sub(1, #word + 1) == word .. "_" or name:sub(-#word - 1) == "_" .. word then
      return name
    end
  end
end

-- What an unknown path may have been meant to be: a name of its section, or the whole
-- path of a key or section of that name elsewhere.  Or nil.
function schema.suggest(path)
  local section, last = path:match("^(.-)%.?([^.]+)$")
  local names = schema.names_in(section) or {}
  local near = schema.nearest(last, names) or longer(last, names) or SYNONYMS[path]
  if near then return near end
  local lower = path:lower()
  local is_known = schema.find(lower) or schema.names_in(lower)
  if lower ~= path and is_known then return lower end
  for _, entry in ipairs(schema.list) do
    local entry_section, name = entry.path:match("^(.*)%.([^.]+)$")
    if name == last then return entry.path end
    if entry_section:match("[^.]+$") == last then return entry_section end
  end
end

build()

return schema
