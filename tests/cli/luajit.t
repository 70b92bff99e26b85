#!/usr/bin/perl
# luajit.t - plain luajit requires the built library as a module and drives it, on a real
# Postgres and a real Redis, which `tidepool dev` keeps.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Cwd qw(abs_path);
use Test::More;

my $library = abs_path(($ENV{BUILD} || "build") . "/libtidepool.so");
my ($luajit) = grep { -x } map { "$_/luajit" } split /:/, $ENV{PATH};
my ($sanitizer) = `ldd $library` =~ /(\S*libasan\S*) \(/;
my $dir = directory();
symlink $library, "$dir/tidepool.so" or die $!;
put("$dir/app.lua", 'return require("tidepool").app()');

my $dev = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0"]);
my %servers = slurp($dev->{out}) =~ /^(DATABASE_URL|REDIS_URL)=(.*)$/mg;
is join(" ", sort keys %servers), "DATABASE_URL REDIS_URL", "there are servers"
    or BAIL_OUT(slurp($dev->{err}));

# Runs a program, with tide, db and cache; gives its status, stdout and stderr.
sub lua
{
    my ($text, %env) = @_;
    put("$dir/program.lua", "local tide = require 'tidepool'\n$text");
    local $Cli::tidepool = $luajit;
    return run($dir, ["program.lua"], LUA_CPATH => "$dir/?.so;;", %servers,
        $sanitizer ? (LD_PRELOAD => $sanitizer) : (), %env);
}

my $POOLS = "local db, cache = tide.postgres(), tide.redis()\n";

# What the program prints is this, and it ends well and says nothing else.
sub prints
{
    my ($name, $text, $expected, %env) = @_;
    my ($status, $out, $err) = lua($text, %env);
    is $out, $expected, $name;
    is_deeply [$status, $err], [0, ""], "... and ends well";
}

prints("the state's globals, libraries and hook stay as they are", <<'LUA', "");
package.loaded.tidepool = nil
local before = {}
local function look(into)
  local names = { "_G", "coroutine", "debug", "io", "math", "os", "string", "table",
                  "package", "jit", "bit" }
  for _, name in ipairs(names) do
    for key, value in pairs(name == "_G" and _G or _G[name]) do
      into[name .. "." .. tostring(key)] = value
    end
  end
  for key, value in pairs(package.preload) do into["preload." .. key] = value end
  into.hook = debug.gethook()
end
look(before)
assert(require "tidepool" == tide)
tide.run(tide.sleep, 0.001)
local after = {}
look(after)
for key, value in pairs(after) do if before[key] ~= value then print(key, value) end end
for key in pairs(before) do if after[key] == nil then print(key, "is gone") end end
for key in pairs(package.loaded) do if key:find "^tidepool%." then print(key) end end
LUA

subtest "a state that was never asked has the same" => sub {
    put("$dir/plain.lua", <<'LUA');
local function names(t) local n = 0 for _ in pairs(t) do n = n + 1 end return n end
local resume, format, each = coroutine.resume, string.format, ipairs
local counts = { names(_G), names(package.preload), names(package.loaded), names(string) }
require "tidepool"
print(resume == coroutine.resume, format == string.format, each == ipairs,
  names(_G) - counts[1], names(package.preload) - counts[2],
  names(package.loaded) - counts[3], names(string) - counts[4])
LUA
    local $Cli::tidepool = $luajit;
    my ($status, $out) = run($dir, ["plain.lua"], LUA_CPATH => "$dir/?.so;;",
        $sanitizer ? (LD_PRELOAD => $sanitizer) : ());
    is $out, "true\ttrue\ttrue\t0\t0\t1\t0\n", "but for the module";
};

prints("tide.run gives the function's results", $POOLS . <<'LUA', <<'OUT');
print(tide.run(function(a, ...)
  assert(cache:set("k", "v"))
  local sum = a
  for _, row in ipairs(assert(db:query "SELECT 1 AS n UNION ALL SELECT 2"):table()) do
    sum = sum + row.n
  end
  return sum, cache:get "k", nil, select("#", ...)
end, 10, nil, nil))
print(select("#", tide.run(function() end)))
for i = 1, 200 do
  assert(tide.run(function() return db:one("SELECT $1::int AS n", i).n end) == i)
end
print(db:stats().open > 0, db:stats().leased)
LUA
13	v	nil	2
0
true	0
OUT

prints("an error is the function's, or a sentence", $POOLS . <<'LUA', <<'OUT');
local function fails(...) print(select(2, pcall(...))) end
local thrown = {}
print(select(2, pcall(tide.run, error, thrown)) == thrown)
fails(tide.run, function() error "as it is" end)
fails(tide.run, function() assert(db:query "SELEC") end)
print(tide.is_err(select(2, tide.run(db.query, db, "SELEC"))))
fails(tide.run, function() tide.run(print) end)
fails(db.one, db, "SELECT 1")
fails(tide.run, 1)
fails(tide.app)
fails(tide.postgres, "postgres://me:secret@host/name?nope=1")
fails(tide.postgres, "reports")
getmetatable(newproxy(true)).__gc = function() fails(tide.run, print) end
collectgarbage()
LUA
true
program.lua:6: as it is
syntax error at or near "SELEC" (SQLSTATE 42601)
true
program.lua:9: tide.run inside of a task (program.lua:9), which waits without it: call the function itself, or tide.spawn
program.lua:3: this call waits, so it needs a task: call it in the function that tide.run or tide.spawn runs
function expected, got number
tide.app is for scripts that `tidepool run` serves
postgres://me:***@host/name?nope=***: invalid URI query parameter: "nope"
there is no postgres pool "reports": set database.reports.postgres_url; there are "main"
program.lua:3: tide.run inside of a finaliser, where LuaJIT cannot wait
OUT

prints("coroutines of the host's", $POOLS . <<'LUA', <<'OUT');
local function count() return db:one("SELECT 1 AS n").n end
print(coroutine.wrap(function() coroutine.yield(tide.run(count)) end)())
print(tide.run(function()
  local sum = 0
  for n in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
    sum = sum + n + count()
  end
  return sum
end))
print(select(2, pcall(tide.run, function() coroutine.wrap(count)() end)))
print(tide.run(function()
  local inner = tide.coroutine.wrap(function() return count() + 1 end)
  return tide.coroutine.wrap(function() coroutine.yield(inner()) end)()
end))
print(select(2, pcall(tide.run, function()
  coroutine.wrap(function() tide.coroutine.wrap(count)() end)()
end)))
LUA
1
9
program.lua:12: program.lua:3: this call waits, and cannot through coroutine.wrap and coroutine.resume: use tide.coroutine.wrap and tide.coroutine.resume
2
program.lua:18: program.lua:3: this call waits, and cannot through coroutine.wrap and coroutine.resume: use tide.coroutine.wrap and tide.coroutine.resume
OUT

prints("what else a task can do, compiled", $POOLS . <<'LUA', <<'OUT');
assert(jit.status())
local function add(n) local sum = 0 for i = 1, n do sum = sum + i % 7 end return sum end
local expected = add(1e5)
local loads = 0
local name_of = tide.memo { name = "names", ttl = 60, load = function(id)
  loads = loads + 1
  return "name " .. id
end }
tide.run(function()
  assert(db:exec "CREATE TABLE IF NOT EXISTS luajit (n int)")
  for i = 1, 50 do
    assert(add(1e5) == expected)
    local one, two = tide.all(function() return db:one("SELECT $1::int AS n", i).n end,
      function() return tonumber(cache:call("INCRBY", "luajit", 1)) end)
    assert(one == i and two == i)
  end
  print(name_of:get(7), name_of:get(7), loads)
  print(db:transaction(function(tx)
    assert(tx:exec "INSERT INTO luajit VALUES (1)")
    return tx:one("SELECT count(*)::int AS n FROM luajit").n
  end))
  local task = tide.spawn(function() tide.sleep(0.001) return "spawned" end)
  print(task:wait())
  print(select(2, tide.timeout(0.01, function() return db:one "SELECT pg_sleep(5)" end)))
  print(tide.serial("key", function() return "alone" end))
  print(tide.encode(db:query "SELECT 1 AS n, 'x' AS s"))
end)
assert(add(1e5) == expected)
LUA
name 7	name 7	1
1
true	spawned
the call took longer than 0.01 s
alone
[{"n":1,"s":"x"}]
OUT

prints("blocks that have tasks of their own go on in the next run", $POOLS . <<'LUA', <<'OUT');
local jobs, wb, done
tide.run(function()
  jobs = tide.queue { db = db, name = "jobs" }
  assert(jobs:create())
  assert(jobs:add(nil, { n = 7 }))
  jobs:consume(function(job) done = job.payload.n end)
  while not done do tide.sleep(0.001) end
  wb = assert(tide.writebehind { db = db, table = "saves" })
  assert(wb:create())
  assert(wb:put("player", { gold = 1 }))
end)
local function stored()
  return db:one("SELECT value->>'gold' AS gold FROM saves WHERE key = 'player'").gold
end
print(done, tide.run(stored))
tide.run(function() assert(wb:put("player", { gold = 2 })) end)
print(tide.run(stored), tide.run(function() return wb:get("player").gold end))
print(tide.run(tide.lock, "l", { redis = cache, ttl = 5, timeout = 1 },
  function() return "held" end))
LUA
7	1
2	2
held
OUT

prints("what a run leaves running ends with it", $POOLS . <<'LUA', <<'OUT');
local ticks, heard = 0, 0
tide.run(function()
  tide.every(0.001, function() ticks = ticks + 1 end)
  tide.every(0.001, function() tide.sleep(60) end)
  assert(cache:subscribe("c", function() heard = heard + 1 end))
  tide.spawn(function()
    local ok, err = pcall(db.with, db, function(conn)
      assert(conn:exec "BEGIN")
      return conn:one "SELECT pg_sleep(60)"
    end)
    print("ended", ok, err.code)
  end)
  while db:stats().leased == 0 or ticks == 0 do tide.sleep(0.001) end
  print(db:stats().leased, ticks > 0)
end)
print(db:stats().leased)
ticks = 0
tide.run(function()
  cache:call("PUBLISH", "c", "x")
  tide.sleep(0.02)
end)
print(ticks, heard)
LUA
1	true
ended	false	cancelled
0
0	0
OUT

prints("the state ends with all of it open", $POOLS . <<'LUA', <<'OUT');
for _ = 1, 3 do
  tide.run(function() assert(db:one "SELECT 1") assert(cache:call "PING") end)
  collectgarbage()
end
tide.spawn(function() print(pcall(tide.sleep, 60)) end)
tide.spawn(db.one, db, "SELECT pg_sleep(60)")
local late = newproxy(true)
getmetatable(late).__gc = function() print("late", (pcall(tide.run, print))) end
LUA
late	false
false	the operation was cancelled
OUT

prints("... or at once, inside of a task", $POOLS . <<'LUA', "");
tide.run(function() assert(db:one "SELECT 1") os.exit(0, true) end)
LUA

prints("tide.close ends it before, for good", $POOLS . <<'LUA', <<'OUT');
tide.run(db.one, db, "SELECT 1")
tide.close()
print(select(2, pcall(tide.run, print)))
print(select(2, pcall(db.stats, db)))
print(require "tidepool" == tide)
LUA
program.lua:5: tide.run: tidepool was closed in this Lua state
program.lua:6: pool "main" is closed
true
OUT

prints("a child of fork is told, and leaves the parent's connections alone",
    $POOLS . <<'LUA', <<'OUT', ASAN_OPTIONS => "detect_leaks=0");
local ffi = require "ffi"
ffi.cdef "int fork(void); int getpid(void); int waitpid(int, int *, int);"
local function backend() return tide.run(db.one, db, "SELECT pg_backend_pid() AS n").n end
local before, parent = backend(), ffi.C.getpid()
io.stdout:setvbuf "no"
local child = ffi.C.fork()
if child == 0 then
  for _, call in ipairs { tide.run, tide.spawn, tide.postgres } do
    local _, message = pcall(call, print)
    print((message:gsub(parent, "PID")))
  end
  return
end
ffi.C.waitpid(child, nil, 0)
print(backend() == before)
LUA
program.lua:11: tidepool belongs to the parent process PID, which loaded it, and so do its connections
program.lua:11: tidepool belongs to the parent process PID, which loaded it, and so do its connections
program.lua:11: tidepool belongs to the parent process PID, which loaded it, and so do its connections
true
OUT

prints("pools of urls and of tide.configure", <<'LUA', <<'OUT');
tide.configure { database = { pool = { max_connections = 3 },
  reports = { postgres_url = os.getenv "DATABASE_URL" } }, ["redis.pool.lanes"] = 1 }
print(tide.postgres():settings().max_connections)
print(tide.postgres "reports":name(), tide.redis():settings().lanes)
local own = tide.postgres(os.getenv "DATABASE_URL", { name = "own", max_connections = 2 })
print(own == tide.postgres "own", own:settings().max_connections)
print(tide.run(own.one, own, "SELECT 5 AS n").n)
print(select(2, pcall(tide.configure, {})))
print(select(2, pcall(tide.postgres, os.getenv "DATABASE_URL", { nope = 1 })))
LUA
3
reports	1
true	2
5
tide.configure comes before the first pool of the configuration
unknown pool setting: nope
OUT

subtest "what is wrong with the configuration" => sub {
    my ($status, $out) = lua(<<'LUA', DATABASE_URL => "");
print(select(2, pcall(tide.postgres)))
print(select(2, pcall(tide.configure, { server = { listen = ":1" } })))
print(select(2, pcall(tide.configure, { database = { pool = { nope = 1 } } })))
LUA
    is $out, <<'OUT', "is said";
there is no postgres pool "main": set database.postgres_url (or DATABASE_URL)
tide.configure: server: a module has settings of database, redis and log alone
tide.configure: unknown key database.pool.nope
OUT
};

subtest "what a task that nobody waits for raised is logged" => sub {
    my ($status, $out, $err) = lua(<<'LUA');
tide.run(function() tide.spawn(error, "lost") tide.sleep(0.001) end)
LUA
    like $err, qr/^ts=\S+ level=error msg="task failed" .*lost/, "on stderr";
};

subtest "luv" => sub {
    plan skip_all => "there is no luv" if system "$luajit -e 'require [[luv]]' 2>/dev/null";

    prints("turns the same loop", <<'LUA' . $POOLS . <<'MORE', <<'OUT');
local uv = require "luv"
LUA
local timer, ticks = uv.new_timer(), 0
timer:start(1, 1, function() ticks = ticks + 1 end)
tide.run(db.one, db, "SELECT pg_sleep(0.1)")
print("while a statement waits", ticks > 5)
timer:stop()
local n
tide.spawn(function() n = db:one("SELECT 7 AS n").n end)
print("what is spawned", uv.run(), n)
local heard
local sub = tide.run(function()
  return cache:subscribe("c", function(message) heard = message.payload end)
end)
tide.spawn(function()
  cache:call("PUBLISH", "c", "hello")
  while not heard do tide.sleep(0.001) end
  sub:close()
end)
print("what a run leaves", uv.run(), heard)
timer:start(0, 0, function() print(select(2, pcall(tide.run, print))) end)
uv.run()
timer:start(0, 0, function() tide.spawn(function() n = db:one("SELECT 8 AS n").n end) end)
uv.run()
print("spawned in a callback", n)
uv.walk(function(handle) handle:close() end)
print("all of its handles closed", uv.run(), tide.run(db.one, db, "SELECT 9 AS n").n)
tide.spawn(db.one, db, "SELECT pg_sleep(60)")
tide.every(0.001, function() tide.sleep(60) end)
timer = uv.new_timer()
timer:start(10, 0, function() uv.stop() end)
print("left running", uv.run())
MORE
while a statement waits	true
what is spawned	false	7
what a run leaves	false	hello
tide.run inside of a callback of uv.run(), which turns the loop: use tide.spawn
spawned in a callback	8
all of its handles closed	false	9
left running	true
OUT

    prints("may come later", $POOLS . <<'LUA', <<'OUT');
tide.run(db.one, db, "SELECT 1")
local uv, fired = require "luv", false
uv.new_timer():start(1, 0, function() fired = true end)
tide.run(db.one, db, "SELECT pg_sleep(0.05)")
print(fired)
LUA
true
OUT
};

is stop($dev), 0, "the servers end";
done_testing;
