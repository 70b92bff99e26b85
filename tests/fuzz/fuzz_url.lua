-- fuzz_url.lua - urls of servers: what is shown of one holds no secret; those of Postgres
-- are read as libpq reads them.

local url = require "tidepool.url"

local fuzz = fuzz -- luacheck: globals fuzz

-- The values that libpq holds secret, where they stand once in the text, as they are.
local function secrets_of(text, options)
  local secrets = {}
  for _, name in ipairs { "password", "sslpassword" } do
    local value = options[name]
    if value and value:find "^%w+$" and #value >= 4 then
      local first = text:find(value, 1, true)
      if first and not text:find(value, first + 1, true) then
        secrets[#secrets + 1] = value
      end
    end
  end
  return secrets
end

local function split(list)
  local items = {}
  for item in ((list or "") .. ","):gmatch "([^,]*)," do items[#items + 1] = item end
  return items
end

-- Ours are libpq's, but for what it has of environment and defaults.
local function check_hosts(book, options)
  local hosts, addresses = split(options.host), split(options.hostaddr)
  local count = options.hostaddr and options.hostaddr ~= "" and #addresses or #hosts
  assert(#book == count, "not as many hosts")
  for i, entry in ipairs(book) do
    assert(entry.host == (hosts[i] or ""), "another host")
    assert(entry.hostaddr == (addresses[i] or ""), "another address")
    assert(entry.port ~= "")
  end
end

local function check_postgres(text)
  local options, words = fuzz.conninfo(text)
  local book = fuzz.address_book(text)
  local wrong = url.wrong_postgres(text)
  fuzz.feature(wrong or "right")
  if not options then
    assert(not book, "libpq does not take it: " .. words)
    fuzz.feature((words:gsub('".*', "")))
    url.without_quotes(words)
    return
  end
  if text:find "^postgres" then
    for _, secret in ipairs(secrets_of(text, options)) do
      assert(not url.mask(text):find(secret, 1, true), "mask() shows the password")
      assert(not url.mask_inside("x " .. text):find(secret, 1, true),
        "mask_inside() shows the password")
    end
    if book and not wrong then check_hosts(book, options) end
  end
end

return function(data)
  local text = data:gsub("%z.*", "")
  url.mask(text)
  url.mask_inside(text)
  for _, kind in ipairs { "postgres", "redis" } do
    for _, port in ipairs(url.ports(kind, text)) do assert(type(port) == "number") end
  end
  url.parameter(text, "sslmode")
  check_postgres(text)
end
