#!/usr/bin/perl
# reload.t - a script is loaded anew again and again under load: no request fails, nothing
# grows, connections and state stay, broken versions change nothing.  RELOADS says how
# often (200).
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use JSON::PP qw(decode_json);
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time sleep);

my $RELOADS = $ENV{RELOADS} || 200;
my $FIRST = min(100, $RELOADS / 2); # after so many it has grown to its size
my ($RATE, $CONNECTIONS) = (int(200 / $slowness), 6);

my $servers_dir = directory();
put("$servers_dir/idle.lua", "return require('tidepool').app()\n");
my $servers = serve($servers_dir, ["dev", "idle.lua", "--listen", "127.0.0.1:0"]);
$servers->{url} or BAIL_OUT("no servers: " . slurp($servers->{err}));
my ($database) = slurp($servers->{out}) =~ /^DATABASE_URL=(.*)$/m;
my ($redis) = slurp($servers->{out}) =~ /^REDIS_URL=(.*)$/m;

# Has one of all that a script can leave running.
my $APP = <<'LUA';
local tide = require "tidepool"
local part = require "part"
local app, db, cache = tide.app(), tide.postgres(), tide.redis()
local state = { loads = 0, ticks = 0, heard = 0 }
app:on_load(function(before)
  state = before or state
  state.loads = state.loads + 1
end)
app:on_unload(function() return state end)
tide.every(0.05, function() state.ticks = state.ticks + 1 end)
tide.spawn(function()
  while true do
    tide.sleep(0.02)
    db:notify("reloads", "n")
  end
end)
tide.on("timeout", print)
assert(db:listen("reloads", function() state.heard = state.heard + 1 end))
assert(cache:subscribe("reloads", function() end))
app:get("/word", function() return "VERSION " .. part end)
app:get("/state", function() return tide.json(state) end)
app:get("/work", function()
  local row = assert(db:one("SELECT $1::int AS n", 7))
  assert(cache:set("key", row.n))
  tide.sleep(0.002)
  return tide.json(row)
end)
app:get("/pids", function()
  return tide.json(db:query [[SELECT pid FROM pg_stat_activity
    WHERE application_name = 'reloaded' ORDER BY pid]])
end)
return app
LUA

# What a version is broken by -> what is said of it.
my @BROKEN = (
    ["syntax", sub { "$_[0]\nlocal a = = 1\n" }, qr/app\.lua:\d+: .* expected near/],
    ["at load", sub { "tostring(1)\nerror 'at load'\n" }, qr/app\.lua:2: at load/],
    ["late", sub { $_[0] =~ s/^return app$/error "late"/mr }, qr/app\.lua:\d+: late/],
    ["on_load", sub { $_[0] =~ s/state = before or state/before.none.n = 1/r },
        qr/app\.lua:6: attempt to index .*, in on_load/],
    ["no app", sub { $_[0] =~ s/^return app$/return 5/mr },
        qr/app\.lua returned no app/],
    ["module", sub { qq(require "nowhere"\n) },
        qr/app\.lua:1: module 'nowhere' not found/],
    ["endless", sub { $_[0] =~ s/^return app$/while true do end/mr },
        qr/app\.lua:\d+: it ran for .* without waiting/],
);

sub service
{
    my ($dir, @more) = @_;
    my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0", "--admin",
        "127.0.0.1:0", "--policy", "fixed", "--set", "database.application_name=reloaded",
        "--set", "database.pool.max_connections=5", "--set",
        "database.pool.min_connections=5", "--set", # a busy machine may stall the server
        "database.pool.stall_timeout=60s", @more],
        DATABASE_URL => $database, REDIS_URL => $redis, TMPDIR => $dir);
    return $process;
}

sub ask
{
    my ($process, $method, $path) = @_;
    return request({ url => $process->{admin} }, $method, $path);
}

sub metric
{
    my ($process, $series) = @_;
    my ($value) = (ask($process, "GET", "/metrics"))[1] =~ /^\Q$series\E (\S+)$/m;
    return $value;
}

sub write_version
{
    my ($dir, $number, $change) = @_;
    my $text = $APP =~ s/VERSION/$number/r;
    put("$dir/part.lua", "return 'part $number'\n");
    put("$dir/app.lua", $change ? $change->($text) : $text);
}

sub resident { return slurp("/proc/$_[0]/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 : 0 }

sub descriptors
{
    my ($pid) = @_;
    my %count;
    $count{ (readlink($_) // "") =~ s/:\[\d+\]$//r }++ for glob "/proc/$pid/fd/*";
    return \%count;
}

# The least of some looks: what is garbage comes and goes.
sub sizes
{
    my ($process) = @_;
    my (@heap, @resident);
    for (1 .. 40) {
        push @heap, metric($process, "tidepool_lua_memory_bytes") / 1024;
        push @resident, resident($process->{pid});
        sleep 0.05;
    }
    return (min(@heap), min(@resident));
}

subtest "$RELOADS reloads under load" => sub {
    my $dir = directory();
    write_version($dir, 1);
    my $process = service($dir, "--set", "script.run_abort=100ms");
    $process->{url} or return fail(slurp($process->{err}));
    my $load = start($dir, ["load", "$process->{url}/work", "--rate", $RATE,
        "--connections", $CONNECTIONS, "--duration", "3600s", "--timeout", 5]);
    ok eventually { (metric($process, "tidepool_http_requests_total") || 0) > $RATE / 2 },
        "load";
    my ($pids) = (request($process, "GET", "/pids"))[1];
    my ($failed, $wrong, $broken, $heap, $resident, $fds) = (0, 0, 0);

    my $began = time;
    for my $number (2 .. $RELOADS + 1) {
        if ($number % 5 == 0) {
            my ($name, $change, $words) = @{ $BROKEN[$broken++ % @BROKEN] };
            write_version($dir, "broken", $change);
            my ($status, $body) = ask($process, "POST", "/reload");
            my $said = decode_json($body)->{error} // "";
            $wrong++, diag("$name: $status $body")
                unless $status == 500 && $said =~ $words;
            my $word = (request($process, "GET", "/word"))[1];
            my $before = $number - 1;
            $wrong++, diag("$name: $word") unless $word eq "$before part $before";
        }
        write_version($dir, $number);
        my ($status, $body) = ask($process, "POST", "/reload");
        my $word = (request($process, "GET", "/word"))[1];
        $failed++, diag("$number: $status $body; $word")
            unless $status == 200 && $word eq "$number part $number";
        if ($number == $FIRST + 1) {
            ($heap, $resident) = sizes($process);
            $fds = descriptors($process->{pid});
        }
    }
    my $seconds = time - $began;
    is $failed, 0, "each was loaded, and served at once";
    is $wrong, 0, "$broken broken ones changed nothing, and were said";

    my ($heap_after, $resident_after) = sizes($process);
    diag(sprintf "%d reloads, %d broken, in %.1f s; heap %d -> %d KiB, RSS %d -> %d KiB",
        $RELOADS, $broken, $seconds, $heap, $heap_after, $resident, $resident_after);
    cmp_ok $heap_after, "<", $heap * 1.2 + 500, "the Lua heap does not grow";
    cmp_ok $resident_after, "<", $resident * 1.1 + 2000, "nor does the process"
        unless $slowness > 1; # ASan keeps what was freed
    is_deeply descriptors($process->{pid}), $fds, "nor its descriptors";
    is((request($process, "GET", "/pids"))[1], $pids, "the same backends")
        or diag grep { /closes_total/ } map { "$_\n" } split /\n/,
        (ask($process, "GET", "/metrics"))[1];
    cmp_ok metric($process, "tidepool_tasks"), "<", 40, "no tasks are left";

    my $state = decode_json((request($process, "GET", "/state"))[1]);
    is $state->{loads}, $RELOADS + 1, "state went through all of them";
    cmp_ok $state->{$_}, ">", 10, "$_ went on" for qw(ticks heard);
    my $script = decode_json((ask($process, "GET", "/health"))[1])->{script};
    is $script->{generation}, $RELOADS + 1, "health: generation";
    is $script->{last_error}, undef, "health: last_error";
    like $script->{loaded_at}, qr/^\d{4}-\d\d-\d\dT[\d:]{8}Z$/, "health: loaded_at";
    is metric($process, "tidepool_script_generation"), $RELOADS + 1, "metrics: generation";
    is metric($process, 'tidepool_reloads_total{result="ok"}'), $RELOADS, "metrics: ok";
    is metric($process, 'tidepool_reloads_total{result="failed"}'), $broken,
        "metrics: failed";
    is metric($process, 'tidepool_reload_cancelled_total{kind="request"}'), 0,
        "no request had to be cancelled";

    stop($load, "INT");
    my ($errors) = slurp($load->{out}) =~ /^  errors +(.*)$/m;
    my ($good) = slurp($load->{out}) =~ /2xx (\d+)/;
    is $errors, "none", "no request failed" or diag slurp($load->{out});
    unlike slurp($load->{out}), qr/[345]xx [1-9]/, "nor was refused";
    cmp_ok $good, ">", $RATE * $seconds / 2, "$good requests";
    is stop($process), 0, "TERM: status";
};

done_testing;
