-- top.lua - `tidepool top`: a live view of an instance's pools.

local core = require "tidepool.core"
local fetch = require "tidepool.command.fetch"
local files = require "tidepool.command.files"
local figures = require "tidepool.command.top_figures"
local load_request = require "tidepool.command.load_request"
local of = require("tidepool.result").of
local tide = require "tidepool"
local view = require "tidepool.command.top_view"
local url = require "tidepool.url"
local words = require "tidepool.command.words"

local DONE, FAILED = 0, 1
local URL = "http://127.0.0.1:8080"
local PAGE = "/health/pools"
local QUITS = "[qQ\3]" -- and Ctrl-C

local HELP = [[
usage: tidepool top [URL] [options]

Shows what an instance's pools do, drawn anew each second; q or Ctrl-C ends it.  URL is
where its health answers: http://HOST:PORT, https:// or unix:/SOCKET
(http://127.0.0.1:8080).

  --every TIME       between two looks (1s)
  --once             one look and another, then the text, as without a terminal
  --json             the same as JSON
  --token-file FILE  holds server.admin_token, for an instance elsewhere
  --cacert FILE      of https, the roots to trust instead of the system's
  --insecure         of https, trusts whoever answers

WAIT50 and WAIT99 are what half, and 99 %, of the waits for a connection took at most;
SERV50 and SERV99 of what was done with one.  LANES are the connections that statements
share, and how many may be; QUEUED are statements that wait for one; DUE is what is in
flight there: groups of Postgres' statements, commands of Redis.

Status 1 when --once or --json cannot read the instance.
]]

-- ---- words

local function take_token_file(self, path)
  local text, why = files.read(path)
  if not text then return "--token-file: " .. why end
  self.token = text:match "^%s*([!-~]+)%s*$"
  if not self.token then return ("--token-file: %s holds no token"):format(path) end
end

local SPEC = {
  options = {
    every = { kind = "time", min = 0.1, max = 3600 }, ["token-file"] = take_token_file,
    cacert = words.text,
  },
  flags = { once = true, json = true, insecure = true },
}

local function read(list)
  local self, wrong = words.read(SPEC, list, { every = 1 })
  if not self or self.wants_help then return self, wrong end
  if self.operands[2] then
    return nil, ('unexpected "%s"'):format(url.mask_inside(self.operands[2]))
  end
  self.url = self.operands[1] or URL
  self.target, wrong = load_request.parse_url(self.url)
  if self.target and self.target.path ~= "/" then
    wrong = "expected http://HOST:PORT, https:// or unix:/SOCKET, without a path"
  end
  wrong = wrong or load_request.trust(self.target, self)
  if wrong then return nil, ('"%s": %s'):format(url.mask_inside(self.url), wrong) end
  return self
end

-- ---- looking

local Top = {}
Top.__index = Top

local function clock() return os.date "%H:%M:%S" end

local function new(self)
  return setmetatable({ words = self, seen_at = core.now(), seen_clock = clock() }, Top)
end

-- What the page tells, or nil and why it tells nothing.
local function read_page(target, token)
  local page, why = fetch(target, PAGE, token)
  if not page then return nil, why end
  local told = tide.decode(page)
  if type(told) == "table" and told.pools and told.pid then return told end
  return nil, PAGE .. " is not what a tidepool tells"
end

-- Looks once; or gives nil and why it sees nothing.
function Top:look()
  local told, why = read_page(self.words.target, self.words.token)
  if not told then
    self.lost_why = why
    return nil, why
  end
  self.lost_why = nil
  self.seen_at, self.seen_clock = core.now(), clock()
  self.figures = figures.of(told, self.told)
  self.told = told
  return true
end

function Top:report()
  local lost = self.lost_why and {
    seconds = core.now() - self.seen_at, clock = self.seen_clock, why = self.lost_why,
  }
  return { url = self.words.url, clock = clock(), figures = self.figures, lost = lost }
end

-- ---- once

local function as_json(self)
  local result = { tidepool_top = 1, url = self.words.url }
  for name, value in pairs(self.figures) do result[name] = value end
  return tide.encode(result) .. "\n"
end

local function once(self)
  local ok, why = self:look()
  if ok then
    of(core.sleep(self.words.every))
    ok, why = self:look()
  end
  if not ok then
    io.stderr:write(("tidepool: %s: %s\n"):format(self.words.url, why))
    return FAILED
  end
  io.stdout:write(self.words.json and as_json(self) or
    view.text(view.lines(self:report())))
  return DONE
end

-- ---- live

function Top:draw()
  local report = self:report()
  report.keys = "q ends"
  io.stdout:write(view.frame(view.lines(report, core.terminal_size())))
  io.stdout:flush()
end

function Top:follow()
  while true do
    local next_look = core.now() + self.words.every
    self:look()
    self:draw()
    of(core.sleep(math.max(0, next_look - core.now())))
  end
end

local function live(self)
  local follower
  local function stop()
    self.is_over = true
    if follower then follower:cancel() end
  end
  local terminal, err = core.terminal_open(function(keys)
    if keys == "" or keys:find(QUITS) then stop() end
  end)
  if not terminal then
    io.stderr:write("tidepool: ", err.message, "\n")
    return FAILED
  end
  for _, name in ipairs { "INT", "TERM", "HUP", "QUIT" } do core.on_signal(name, stop) end
  core.on_signal("WINCH", function() self:draw() end)
  self:draw()
  follower = core.spawn(self.follow, self)
  local _, failure = of(follower:wait())
  terminal:close()
  if self.is_over then return DONE end
  error(failure, 0)
end

local function run(self)
  local top = new(self)
  if self.once or self.json or not core.isatty(1) then return once(top) end
  return live(top)
end

-- read(list): what the words say, or nil and what is wrong.  run(words): the exit status.
return { HELP = HELP, read = read, run = run }
