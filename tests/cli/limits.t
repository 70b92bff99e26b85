#!/usr/bin/perl
# limits.t - scripts that do not stop, or take too much: they end, the service goes on.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

my $APP = <<'LUA';
local tide = require "tidepool"
local how = ...
if how == "interpreted" then jit.off() end
local app = tide.app()
local kept, ticks = {}, 0
app:get("/hello", function() return "hello\n" end)
app:get("/loop", function() while true do end end)
app:get("/sum", function() local n = 0 for i = 1, 1e15 do n = n + i end return n end)
app:get("/pcall", function()
  while true do pcall(function() while true do end end) end
end)
app:get("/xpcall", function()
  while true do
    xpcall(function() while true do end end, function() while true do end end)
  end
end)
app:get("/coroutine", function()
  local co = coroutine.wrap(function() while true do end end)
  while true do pcall(co) end
end)
app:get("/sort", function()
  local list = {}
  for i = 1, 1000 do list[i] = i % 7 end
  while true do table.sort(list, function(a, b) return a < b end) end
end)
app:get("/pattern", function() return tostring((("a"):rep(4096):find((".-"):rep(6) .. "b"))) end)
app:get("/gsub", function() return (("a"):rep(4096):gsub((".*"):rep(6) .. "b", "")) end)
app:get("/huge", function() return ("x"):rep(1e9) end)
app:get("/child", function()
  return assert(tide.all(function() while true do end end))
end)
app:get("/limited", function() while true do end end, { max_concurrent = 1 })
app:get("/recursion", function()
  local function f(n) return 1 + f(n) end
  return f(1)
end)
app:get("/gigabyte", function()
  local list = {}
  for i = 1, 1e9 do list[i] = { i } end
end)
app:get("/strings", function()
  local list = {}
  for i = 1, 1e9 do list[i] = ("%d"):format(i):rep(1000) end
end)
app:get("/keep", function()
  for _ = 1, 1e5 do kept[#kept + 1] = { #kept } end
  return "kept\n"
end)
app:get("/often", function()
  while true do
    local till = tide.now() + 0.02
    while tide.now() < till do end
    tide.sleep(0)
  end
end)
app:get("/spawn", function()
  local made = 0
  for _ = 1, 1000 do
    local task, err = tide.spawn(function() tide.sleep(60) end)
    if not task then return made .. " " .. tostring(err.code) .. "\n" end
    made = made + 1
  end
  return "no limit\n"
end)
app:get("/slow", function() tide.sleep(60) end)
app:get("/ticks", function() return ticks .. "\n" end)
tide.every(0.05, function()
  ticks = ticks + 1
  if how and ticks == 2 then while true do end end
end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $APP);

sub service
{
    my ($settings, @more) = @_;
    my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0", "--admin",
        "127.0.0.1:0", (map { ("--set", "$_=$settings->{$_}") } sort keys %$settings),
        @more], TMPDIR => $dir);
    return $process;
}

sub metric
{
    my ($process, $name) = @_;
    my ($value) = (request({ url => $process->{admin} }, "GET", "/metrics"))[1]
        =~ /^tidepool_script_${name}_total (\d+)$/m;
    return $value;
}

my @ENDLESS = qw(loop sum pcall xpcall coroutine sort pattern gsub child limited limited);

for my $how ("compiled", "interpreted") {
    subtest "what does not stop is stopped, $how" => sub {
        my $process = service({ "script.run_abort" => "200ms" },
            $how eq "interpreted" ? "--trusted" : (), "--", $how);
        my $load = start(directory(), ["load", "$process->{url}/hello", "--rate", 200,
            "--duration", "3s"]);
        for my $path (@ENDLESS) {
            my ($status, $body) = request($process, "GET", "/$path");
            is $status, 500, "/$path: status";
            my ($id) = $body =~ /^internal error (\S+)$/;
            like slurp($process->{err}), qr/request=\Q$id\E .*app\.lua:\d+: it ran for [\d.]+ s/m,
                "/$path: logged with file:line and the reply's id";
            is((request($process, "GET", "/hello"))[1], "hello\n", "served after it");
        }
        eventually { defined ended($load) };
        my ($latency) = slurp($load->{out}) =~ /p50 ([\d.]+ ms.*)$/m;
        my ($errors) = slurp($load->{out}) =~ /^  errors +(.*)$/m;
        is $errors, "none", "the others were answered";
        diag("$how, others meanwhile: p50 $latency");
        ok metric($process, "aborted_runs") >= @ENDLESS, "counted";
        ok metric($process, "warnings") >= @ENDLESS - 2, "warned of before, but in C";
        ok eventually { (request($process, "GET", "/ticks"))[1] > 5 },
            "tide.every goes on after a run that was ended";
        is stop($process), 0, "TERM: status";
    };
}

subtest "recursion ends, a gigabyte is not had" => sub {
    # However slow the machine, it is the heap that ends them, and not the time.
    my $process = service({ "script.heap_max_bytes" => 100e6, "script.run_abort" => "30s" });
    my ($status, $body) = request($process, "GET", "/recursion");
    is $status, 500, "recursion";
    like slurp($process->{err}), qr/stack overflow/, "its reason";
    for my $path (qw(gigabyte strings)) {
        ($status) = request($process, "GET", "/$path");
        is $status, 500, "/$path: status";
        ok eventually { (request($process, "GET", "/hello"))[0] == 200 }, "served after it";
    }
    is((request($process, "GET", "/huge"))[0], 500, "one huge text: status");
    like slurp($process->{err}), qr/resulting string too large/, "its reason";
    like slurp($process->{err}), qr/app\.lua:\d+: not enough memory: the Lua heap has more/,
        "the reason";
    is metric($process, "aborted_heaps"), 2, "counted";
    my ($peak) = slurp("/proc/$process->{pid}/status") =~ /^VmHWM:\s+(\d+) kB/m;
    cmp_ok $peak, "<", 400_000, "never near a gigabyte";
    is stop($process), 0, "TERM: status";
};

subtest "a heap that stays full: requests are refused, the worker is replaced" => sub {
    my $process = service({ "script.heap_max_bytes" => 30e6 }, "--workers", 1);
    my %seen;
    ok eventually {
        $seen{(request($process, "GET", "/keep"))[0]}++;
        slurp($process->{err}) =~ /worker is replaced.*heap is full/;
    }, "it is replaced";
    ok $seen{503}, "requests were refused before";
    ok eventually { (request($process, "GET", "/hello"))[0] == 200 }, "the new one serves";
    is stop($process), 0, "TERM: status";
};

subtest "a request's CPU counts over all of its runs" => sub {
    my $process = service({ "script.request_cpu" => "300ms" });
    is((request($process, "GET", "/often"))[0], 500, "status");
    like slurp($process->{err}), qr/its request has used [\d.]+ s of CPU/, "the reason";
    is metric($process, "aborted_tasks"), 1, "counted";
    is stop($process), 0, "TERM: status";
};

subtest "too many tasks are refused" => sub {
    my $process = service({ "script.max_tasks" => 40 });
    my ($status, $body) = request($process, "GET", "/spawn");
    like $body, qr/^\d+ busy$/, "tide.spawn gives nil, err";
    my $slow = start(directory(), ["load", "$process->{url}/slow", "--connections", 2,
        "--timeout", 2, "--duration", "2s"]);
    ok eventually {
        ($status, $body) = request($process, "GET", "/hello");
        $status == 503;
    }, "a request: status";
    like $body, qr/^busy: there are too many tasks \(script\.max_tasks\)$/, "its reason";
    eventually { defined ended($slow) };
    is stop($process), 0, "TERM: status";
};

subtest "a request has a time, unless its route says another" => sub {
    my $process = service({ "server.request_timeout" => "200ms" });
    is((request($process, "GET", "/slow"))[0], 504, "status");
    is stop($process), 0, "TERM: status";
};

# LIMITS_ROUNDS of each: those that do not stop are stopped, the others are left alone.
subtest "a soak" => sub {
    my $rounds = $ENV{LIMITS_ROUNDS} || 60;
    my $home = directory();
    put("$home/soak.lua", <<'LUA');
local core = require "tidepool.core"
assert(core.limits { run_abort = 0.02 })
local stuck = {
  function() while true do end end,
  function() while true do pcall(error) end end,
  function() local t = {} while true do t[#t % 100 + 1] = { #t } end end,
  function() local s = "" while true do s = (s .. "x"):sub(-50) end end,
  function() local co = coroutine.wrap(function() while true do end end) pcall(co) end,
  function() for i = 1, 1e15 do local _ = { i, tostring(i) } end end,
  function() while true do for k, v in pairs { 1, 2, a = 3 } do end end end,
}
local function good(n)
  local sum = 0
  for i = 1, n do sum = sum + (tostring(i):byte() % 7) end
  return sum
end
local rounds, stopped, fine = tonumber((...)), 0, 0
local expected = good(5000)
for i = 1, rounds do
  local bad = core.spawn(stuck[i % #stuck + 1])
  local ok, err = bad:wait()
  if not ok and err.code == "budget" then stopped = stopped + 1 end
  local ok, sum = core.spawn(good, 5000):wait()
  if ok and sum == expected then fine = fine + 1 end
end
print(stopped, fine)
LUA
    my $process = start($home, ["run", "soak.lua", "--trusted", "--", $rounds]);
    eventually { defined ended($process) } 60 + $rounds / 10;
    is ended($process), 0, "it ends";
    is slurp($process->{out}), "$rounds\t$rounds\n", "all stopped, none of the others";
};

done_testing;
