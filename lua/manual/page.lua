-- page.lua - writes the manual page tidepool(1), in mdoc, from what the program says of
-- itself, so that it has every command and option.
--   tidepool run lua/manual/page.lua -- build/tidepool build/tidepool.1 "May 1, 2027"

local program, to, date = ...
if not date then error("the program, the page to write and its date expected", 0) end

local function help(command)
  local pipe = assert(io.popen(("'%s' help %s"):format(program, command)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- ---- a help text, taken apart

-- "  --name ARGUMENT  what it does": the three; an argument stands one space behind.
local function read_option(line)
  local name, rest = line:match "^  %-%-([%w-]+)(.*)$"
  if not name then return nil end
  local argument, text = rest:match "^ (%S+)%s+(.*)$"
  return { name = name, argument = argument, text = text or rest:match "^%s*(.*)$" }
end

-- Gives { usage = lines, parts = paragraphs and lists of options, in their order }.
local function read_help(text)
  local result = { usage = {}, parts = {} }
  local part
  for line in text:gmatch "([^\n]*)\n" do
    local usage = line:match "^usage: tidepool (.*)$"
      or line:match "^       tidepool (.*)$"
    local option = read_option(line)
    if usage then
      table.insert(result.usage, usage)
    elseif line == "" then
      part = nil
    elseif option then
      if not part or not part.options then
        part = { options = {} }
        table.insert(result.parts, part)
      end
      table.insert(part.options, option)
    elseif part and part.options then
      local last = part.options[#part.options]
      last.text = last.text .. "\n" .. line:match "^%s*(.*)$"
    elseif part then
      part.text = part.text .. "\n" .. line
    else
      part = { text = line }
      table.insert(result.parts, part)
    end
  end
  return result
end

-- ---- mdoc

-- A line of text: no macro, with hyphens that can be copied.
local function escape(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-")
  return (text:gsub("^[.']", "\\&%0"))
end

-- Each sentence begins a line.
local function prose(text)
  local lines = {}
  text = text:gsub("([.:])  +", "%1\n")
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = escape(line) end
  return table.concat(lines, "\n")
end

local function put_options(out, options, known)
  local is_known
  out(".Bl -tag -width Ds")
  for _, option in ipairs(options) do
    local text = prose(option.text)
    if known[option.name] == text then
      is_known = true
    else
      out((".It Fl \\-%s%s"):format(escape(option.name),
        option.argument and " Ar " .. escape(option.argument) or ""))
      out(text)
    end
  end
  if is_known then
    out ".It ..."
    out "and the options of"
    out ".Cm run ."
  end
  out ".El"
end

-- known: the options of `run`, which others have, too.
local function put_command(out, name, read, known)
  out(".Ss tidepool " .. name)
  for _, usage in ipairs(read.usage) do
    out(".D1 tidepool " .. escape(usage))
  end
  for _, part in ipairs(read.parts) do
    if part.options then
      put_options(out, part.options, known)
    elseif not known[part.text] then
      out ".Pp"
      out(prose(part.text))
    end
  end
end

local function notes_of(read)
  local known = {}
  for i, part in ipairs(read.parts) do
    if part.options then
      for _, option in ipairs(part.options) do known[option.name] = prose(option.text) end
    elseif i > 1 then
      known[part.text] = true
    end
  end
  return known
end

local HEAD = [[
.Dd %s
.Dt TIDEPOOL 1
.Os
.Sh NAME
.Nm tidepool
.Nd Postgres and Redis pools, scripted in Lua
.Sh SYNOPSIS
]]

local DESCRIPTION = [[
.Sh DESCRIPTION
.Nm
owns pools of connections to Postgres and Redis, and lets Lua scripts define the handlers
of HTTP requests that use them.
]]

local TAIL = [[
.Sh SIGNALS
.Bl -tag -width "TERM, INT"
.It TERM , INT
What runs is finished, for as long as
.Fl \-drain
says; each further one cuts that short.
.It HUP
The app is loaded anew; the version before goes on when that fails.
.It USR2
With
.Fl \-workers :
the binary at its path takes over, without a lost request.
.El
.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev DATABASE_URL , REDIS_URL
The servers of the pools without a name.
.It Ev TIDEPOOL_SECTION__KEY
Any setting, and with
.Ev _FILE
behind it a file that holds it.
.It Ev NOTIFY_SOCKET , WATCHDOG_USEC
Of the service manager, which is told when
.Nm
serves, loads its app anew and ends, and that it is alive:
.Ql Type=notify .
.El
.Sh FILES
.Bl -tag -width Ds
.It Pa config/local.toml , Pa tidepool.toml
The configuration, the first of them that is there.
.Ql tidepool check APP \-\-print
shows every setting and where it is from.
.It Pa .env
Variables of the environment.
.El
.Sh EXIT STATUS
0; 1 when something failed; 2 when the command line or the configuration is wrong.
.Sh EXAMPLES
Serve an app on all cores, with health and metrics on a port of their own:
.Pp
.Dl $ tidepool run app.lua \-\-workers auto \-\-admin 127.0.0.1:9090
.Sh SEE ALSO
.Xr psql 1 ,
.Xr systemd.service 5
]]

-- In the order of the overview.
local function commands()
  local list = {}
  for name in help(""):gmatch "\n  tidepool (%l+)" do list[#list + 1] = name end
  return list
end

local function write(put)
  local function out(line) put(line .. "\n") end
  local read, known = {}, {}
  put(HEAD:format(date))
  for i, name in ipairs(commands()) do
    read[i] = read_help(help(name))
    read[i].name = name
    out ".Nm"
    out(escape(read[i].usage[1]))
  end
  put(DESCRIPTION)
  for _, one in ipairs(read) do
    put_command(out, one.name, one, known)
    if one.name == "run" then known = notes_of(one) end
  end
  put(TAIL)
end

local lines = {}
write(function(text) lines[#lines + 1] = text end)
local file = assert(io.open(to, "w"))
assert(file:write(table.concat(lines)))
file:close()
