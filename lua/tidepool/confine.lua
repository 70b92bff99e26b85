-- confine.lua - what a process that serves may still do when it is confined: of files,
-- of ports, and of sockets that listen.

local core = require "tidepool.core"
local url = require "tidepool.url"

local DNS = 53 -- a long answer comes by TCP

-- What looking names up, time zones, certificates and libraries need; /proc shows no more
-- of other processes than of this one, for none of them can be traced.
local SYSTEM = { "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/resolv.conf",
  "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/nsswitch.conf", "/etc/services",
  "/etc/protocols", "/etc/localtime", "/etc/ssl", "/run/systemd/resolve",
  "/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/null", "/dev/urandom",
  "/dev/random" }

-- Of a Postgres url, and the variables that stand for them: files that libpq reads.
local CERTIFICATES = { sslrootcert = "PGSSLROOTCERT", sslcert = "PGSSLCERT",
  sslkey = "PGSSLKEY", sslcrl = "PGSSLCRL", sslcrldir = "PGSSLCRLDIR" }

local function folder_of(path)
  return path:match "^(/)[^/]*$" or path:match "^(.*)/[^/]*$" or "."
end

local function add(list, path)
  if not list[path] then
    list[path], list[#list + 1] = true, path
  end
end

-- A certificate may be replaced by another file, or be a link to one: folders count.
local function add_certificate(read, path)
  if not path or not core.stat(path) then return end
  add(read, folder_of(path))
  add(read, folder_of(core.realpath(path)))
end

local function add_libpq_files(read, text)
  for name, variable in pairs(CERTIFICATES) do
    add_certificate(read, url.parameter(text, name) or os.getenv(variable))
  end
  local home = os.getenv "HOME"
  if home then add(read, home .. "/.postgresql") end
  local passfile = url.parameter(text, "passfile") or os.getenv "PGPASSFILE"
    or home and home .. "/.pgpass"
  if passfile then add(read, passfile) end
end

local function add_socket(write, address)
  local path = address and address:match "^unix:(.*)"
  if path then add(write, folder_of(path)) end
end

-- Files and ports: read and write are paths, connect is ports.
local function allowances(settings, script, member)
  local read, write, connect = {}, {}, {}
  for _, path in ipairs(SYSTEM) do add(read, path) end
  add(read, folder_of(script))
  for _, entry in ipairs(settings:pools()) do
    for _, port in ipairs(url.ports(entry.kind, entry.url)) do add(connect, port) end
    if entry.kind == "postgres" then add_libpq_files(read, entry.url) end
    for _, name in ipairs(entry.kind == "redis" and { "cacert", "cert", "key" } or {}) do
      add_certificate(read, url.parameter(entry.url, name))
    end
  end
  for _, files in pairs(settings.server.tls) do
    for _, path in ipairs(files) do add_certificate(read, path) end
  end
  add(connect, DNS)
  add(write, "/dev/null")
  local policy = settings:policy().use
  if policy and policy:find "%.lua$" then add(read, folder_of(policy)) end
  if settings.record.file then add(write, folder_of(settings.record.file)) end
  add(write, settings.record.dump_dir)
  add_socket(write, settings.server.listen)
  add_socket(write, settings.server.admin)
  add_socket(write, member and member:private_address())
  return read, write, connect
end

-- What is read besides the system's, in words.
local function told(read, script)
  local own = { folder_of(script) }
  for i = #SYSTEM + 1, #read do
    if read[i] ~= own[1] and core.stat(read[i]) then own[#own + 1] = read[i] end
  end
  return table.concat(own, " ") .. ", and of the system /usr, certificates and names"
end

local confine = {}

local function failure(err)
  return "this process cannot be confined (server.confine): " .. err.message
end

-- Why none can be confined with these settings, on this machine; or nil.
function confine.find_wrong(settings)
  for _, entry in ipairs(settings:pools()) do
    if entry.password_command then
      return entry.section .. ".password_command: a confined process runs no program; "
        .. "give the password by db:credentials, or leave out --confine"
    end
  end
  local ok, err = core.confine_check()
  return not ok and failure(err) or nil
end

-- Before the script is loaded, and before there is a second thread.  Gives true; or nil,
-- and why the process must not go on.
function confine.begin(settings, script, member)
  local read, write, connect = allowances(settings, script, member)
  local abi, has_ports = core.confine { read = read, write = write, connect = connect }
  if not abi then return nil, failure(has_ports) end
  core.log("info", "confined", {
    programs = "none", read = told(read, script), write = table.concat(write, " "),
    connect = has_ports and "TCP to the ports " .. table.concat(connect, " ")
      or ("anywhere: the kernel has landlock ABI %d, ports need 4"):format(abi),
  })
  return true
end

-- Once all that listens does.
function confine.sockets(member)
  local done, err = core.confine_sockets(member and member.sockets or {})
  if done then return true end
  return nil, failure(err)
end

return confine
