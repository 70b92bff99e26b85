-- http_bench.lua - requests a second by wrk: against nginx, and against a server of
-- Node, fastify and postgres.js that does the same.

local bench = require "bench"
local server = require "tidepool.server"

local PLAIN_CONNECTIONS = 64
local CONNECTIONS = 256
local FILL_COUNT = 10000
local NODE_PROCESSES = 2
local NODE_POOL = 8 -- in each of its processes
local NODE_OLDEST = 20
local NODE_FILES = { "package.json", "package-lock.json", "server.js" }

local NGINX = [[
daemon off;
master_process off;
worker_processes 1;
pid %s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %s/body;
  proxy_temp_path %s/proxy;
  fastcgi_temp_path %s/fastcgi;
  uwsgi_temp_path %s/uwsgi;
  scgi_temp_path %s/scgi;
  server {
    listen 127.0.0.1:%d;
    location / { default_type text/plain; return 200 "Hello, World!"; }
  }
%s}
]]

local NGINX_TLS = [[
  server {
    listen 127.0.0.1:%d ssl;
    ssl_certificate %s/good.pem;
    ssl_certificate_key %s/good.key;
    location / { default_type text/plain; return 200 "Hello, World!"; }
  }
]]

-- ---- the client

local function wrk(program, address, path, connections, scheme)
  local url = ("%s://%s%s"):format(scheme or "http", address, path)
  return function(seconds)
    local output = bench.output { program, "-t", "1", "-c", tostring(connections),
      "-d", seconds .. "s", url }
    local wrong = output:match "Non%-2xx[^\n]*" or output:match "Socket errors[^\n]*"
    if wrong then error(path .. ": " .. wrong, 0) end
    return tonumber(output:match "Requests/sec:%s*([%d.]+)")
  end
end

local function side(name, run) return { name = name, unit = "1/s", run = run } end

-- Runs fn(wrk) or says that it is not there.
local function with_wrk(name, fn)
  return { name = name, run = function()
    local program = bench.find "wrk"
    if not program then return bench.skip(name, "no wrk") end
    fn(program)
  end }
end

-- ---- plain text

-- certificates: the directory of tests/certificates.sh, for TLS; or nil.
local function start_nginx(program, certificates)
  local home = bench.path(certificates and "nginx_tls" or "nginx")
  local port, tls_port = server.free_port(), certificates and server.free_port()
  local config = home .. ".conf"
  bench.output { "mkdir", "-p", home }
  bench.write_file(config, NGINX:format(home, home, home, home, home, home, port,
    tls_port and NGINX_TLS:format(tls_port, certificates, certificates) or ""))
  bench.start({ program, "-p", home, "-e", "stderr", "-c", config }, home .. ".log")
  bench.wait_log(home .. "/nginx.pid", "%d+")
  return "127.0.0.1:" .. (tls_port or port)
end

local function plain(program)
  local nginx = bench.find "nginx"
  local sides = { side("http_plain",
    wrk(program, bench.start_app(), "/plain", PLAIN_CONNECTIONS)) }
  if nginx then
    sides[2] = side("http_plain_nginx",
      wrk(program, start_nginx(nginx), "/", PLAIN_CONNECTIONS))
  end
  local rate = bench.compare(sides)
  if not nginx then return bench.skip("http_plain_to_nginx", "no nginx") end
  bench.ratio("http_plain_to_nginx", rate.http_plain / rate.http_plain_nginx)
end

-- The same inside of TLS: records on connections that stay open.
local function tls(program)
  local nginx = bench.find "nginx"
  local made = bench.path "certificates"
  bench.output { "mkdir", "-p", made }
  bench.output { "sh", "tests/certificates.sh", made }
  local sides = {
    side("https_plain", wrk(program, bench.start_app { "--set",
      "server.tls.certificate=" .. made .. "/good.pem", "--set",
      "server.tls.key=" .. made .. "/good.key" }, "/plain", PLAIN_CONNECTIONS, "https")),
    side("https_plain_http", wrk(program, bench.start_app(), "/plain",
      PLAIN_CONNECTIONS)),
    nginx and side("https_plain_nginx", wrk(program, start_nginx(nginx, made), "/",
      PLAIN_CONNECTIONS, "https")),
  }
  local rate = bench.compare(sides)
  bench.ratio("https_plain_to_http", rate.https_plain / rate.https_plain_http)
  if not nginx then return bench.skip("https_plain_to_nginx", "no nginx") end
  bench.ratio("https_plain_to_nginx", rate.https_plain / rate.https_plain_nginx)
end

local function one(program)
  local address = bench.start_app()
  local rate = bench.compare {
    side("http_one_select", wrk(program, address, "/one", CONNECTIONS)),
    side("http_plain_256", wrk(program, address, "/plain", CONNECTIONS)),
  }
  bench.ratio("http_one_select_to_plain", rate.http_one_select / rate.http_plain_256)
end

-- ---- Node

-- Gets the packages unless they are those of the lock file already.
local INSTALL = [[
cd "$0" && cmp -s package-lock.json installed.json && exit
rm -f installed.json
timeout 120 npm ci --no-audit --no-fund --ignore-scripts --loglevel error &&
  cp package-lock.json installed.json
]]

-- Copies the server into the build directory and gets its packages.  Returns the
-- directory, or nil and why not.
local function install_node()
  if not bench.find "npm" or not bench.find "node" then return nil, "no npm" end
  local version = bench.output { "node", "--version" }
  if tonumber(version:match "^v(%d+)") < NODE_OLDEST then
    return nil, "node is older than " .. NODE_OLDEST
  end
  local home = bench.BUILD .. "/bench/node"
  bench.output { "mkdir", "-p", home }
  for _, name in ipairs(NODE_FILES) do
    bench.output { "cp", "tests/bench/node/" .. name, home .. "/" .. name }
  end
  local ok, err = server.run { "sh", "-c", INSTALL, home }
  if ok then return home end
  return nil, "npm ci failed: " .. tostring(err):sub(-300):gsub("%s+", " ")
end

-- Gives the address of the Node server, or nil and why not.
local function start_node()
  local home, why = install_node()
  if not home then return nil, why end
  local port = server.free_port()
  local log = bench.path "node.log"
  bench.start({ "node", home .. "/server.js" }, log, {
    NODE_ENV = "production", PORT = port, PROCESSES = NODE_PROCESSES,
    POOL = NODE_POOL, PG_HOST = bench.postgres().socket_directory,
    PG_PORT = bench.postgres().port, REDIS_SOCKET = bench.redis().socket,
  })
  bench.wait_log(log, ("listening\n"):rep(NODE_PROCESSES))
  return "127.0.0.1:" .. port
end

-- The keys that /mixed asks for.
local function fill_redis()
  local cache = bench.redis_pool()
  assert(cache:pipeline(function(p)
    for i = 1, FILL_COUNT do p:set(("key:%012d"):format(i), "value of " .. i) end
  end))
  cache:close(1)
end

local function against_node(name, path)
  return with_wrk(name, function(program)
    fill_redis()
    local sides = { side(name, wrk(program, bench.start_app(), path, CONNECTIONS)) }
    local address, why = start_node()
    if address then
      sides[2] = side(name .. "_node", wrk(program, address, path, CONNECTIONS))
    end
    local rate = bench.compare(sides)
    if not address then return bench.skip(name .. "_to_node", why) end
    bench.ratio(name .. "_to_node", rate[name] / rate[name .. "_node"])
  end)
end

return {
  with_wrk("http_plain", plain),
  with_wrk("https_plain", tls),
  with_wrk("http_one_select", one),
  against_node("http_select", "/one"),
  against_node("http_20_selects", "/twenty"),
  against_node("http_mixed", "/mixed"),
}
