#!/usr/bin/perl
# budget.t - one max_connections for all workers of an instance, through kills, reloads
# and upgrades.  BUDGET_SECONDS says for how long it is tried (8).
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(time sleep);

my $MAX = 5;
my $SECONDS = $ENV{BUDGET_SECONDS} || 8;

# Looks at the server without rest: the most connections that it had at once.
my $WATCHER = <<'LUA';
local tide = require "tidepool"
local app, db = tide.app(), tide.postgres()
local COUNT = "SELECT count(*)::int AS n FROM pg_stat_activity "
  .. "WHERE application_name = 'budgeted'"
app:get("/watch/:seconds", function(req)
  local till, most, looks, all = tide.now() + tonumber(req.params.seconds), 0, 0, 0
  db:with(function(lease)
    while tide.now() < till do
      local n = assert(lease:one(COUNT)).n
      most, looks, all = math.max(most, n), looks + 1, all + n
    end
  end)
  return tide.json { most = most, looks = looks, average = all / looks }
end)
app:get("/count", function() return tide.json(db:one(COUNT)) end)
return app
LUA

my $APP = <<'LUA';
local tide = require "tidepool"
local app, db = tide.app(), tide.postgres()
app:get("/lease", function()
  local row, err = db:with(function(lease)
    return lease:one("SELECT pg_sleep($1::float8)", math.random() * 0.03)
  end)
  if err then return tide.fail(err) end
  return "leased\n"
end)
app:get("/row", function() return tide.json(db:one("SELECT $1::int AS n", 7)) end)
app:get("/hold", function()
  db:with(function(lease) return lease:one "SELECT pg_sleep(2)" end)
  return "held\n"
end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $WATCHER);
my $watcher = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0"]);
$watcher->{url} or BAIL_OUT("no servers: " . slurp($watcher->{err}));
my ($database) = slurp($watcher->{out}) =~ /^DATABASE_URL=(.*)$/m;

my $heir; # the master that serves after an upgrade
my $home = directory();
put("$home/app.lua", $APP);

sub instance
{
    my ($workers, @more) = @_;
    my $process = serve($home, ["run", "app.lua", "--workers", $workers, "--listen",
        "127.0.0.1:0", "--admin", "127.0.0.1:0", "--policy", "fixed", "--set",
        "database.pool.max_connections=$MAX", "--set",
        "database.application_name=budgeted", @more],
        DATABASE_URL => $database, TMPDIR => $home);
    $process->{admin} or BAIL_OUT("no instance: " . slurp($process->{err}));
    return $process;
}

sub ask { request({ url => $_[0]{admin} }, @_[1, 2]) }

sub pool { return decode_json((ask($_[0], "GET", "/pools/main"))[1]) }

# Connections in all states, by its metrics.
sub counted
{
    my ($process) = @_;
    my $count = 0;
    $count += $_ for (ask($process, "GET", "/metrics"))[1]
        =~ /^db_client_connection_count\{pool_name="main".*\} (\d+)$/mg;
    return $count;
}

sub workers
{
    my ($process) = @_;
    my ($status, $body) = ask($process, "GET", "/health/pools");
    my $health = $status == 200 ? decode_json($body) : {};
    return ($health->{pid}, grep { $_ } map { $_->{pid} } @{ $health->{workers} || [] });
}

# What asks it, in a process of its own: leases, and statements on lanes.
sub load
{
    my ($process, $path, $connections, $seconds) = @_;
    return start(directory(), ["load", "$process->{url}$path", "--connections",
        $connections, "--timeout", 5, "--duration", "${seconds}s"]);
}

sub answered
{
    my ($load) = @_;
    eventually { defined ended($load) } 30 + $SECONDS;
    my ($count) = slurp($load->{out}) =~ /2xx (\d+)/;
    return $count || 0;
}

# The watcher's answer comes to a file: it runs beside us.
sub watch
{
    my ($seconds) = @_;
    my $log = directory();
    my $pid = fork;
    if ($pid == 0) {
        my $reply = HTTP::Tiny->new(timeout => 30 + $seconds)
            ->get("$watcher->{url}/watch/$seconds");
        put("$log/answer", $reply->{content});
        POSIX::_exit(0);
    }
    return sub {
        waitpid $pid, 0;
        return decode_json(slurp("$log/answer"));
    };
}

subtest "never more than max_connections, whatever happens" => sub {
    srand($ENV{BUDGET_SEED} || 7);
    my $process = instance(3);
    my @loads = (load($process, "/lease", 12, $SECONDS), load($process, "/row", 12, $SECONDS));
    my $seen = watch($SECONDS);
    my %done = (kill => 0, reload => 0, upgrade => 0);
    my $till = time + $SECONDS - 1;
    while (time < $till) {
        my $what = (qw(kill kill reload reload reload upgrade))[int rand 6];
        my ($master, @workers) = workers($process);
        next unless $master;
        $heir = $master;
        if ($what eq "kill" && @workers) { kill "KILL", $workers[int rand @workers] }
        if ($what eq "reload") { kill "HUP", $master }
        if ($what eq "upgrade") { kill "USR2", $master }
        $done{$what}++;
        sleep 0.05 + rand 0.6;
    }
    my $result = $seen->();
    my @answers = map { answered($_) } @loads;
    diag(sprintf "%d looks, at most %d connections, %.1f on average; %d kills, "
        . "%d reloads, %d upgrades; %d leases, %d rows answered", @$result{qw(looks most average)},
        @done{qw(kill reload upgrade)}, @answers);
    cmp_ok $result->{most}, "<=", $MAX, "at most max_connections";
    cmp_ok $result->{looks}, ">", 100 * $SECONDS / $slowness, "looked often enough";
    cmp_ok $result->{average}, ">", $MAX / 2, "and used them";
    cmp_ok $_, ">", 10 * $SECONDS / $slowness, "served meanwhile" for @answers;
    my ($master) = workers($process);
    kill "TERM", $master;
    ok eventually { !is_alive($master) }, "it ends";
    ok eventually { decode_json((request($watcher, "GET", "/count"))[1])->{n} == 0 },
        "no connection is left";
};

subtest "a dead worker's connections come back, when the server is done with them" => sub {
    my $process = instance(2);
    my @holds = map { load($process, "/hold", 1, 1) } 1 .. $MAX;
    ok eventually { pool($process)->{leased} == $MAX }, "all are held";
    is counted($process), $MAX, "metrics count them";
    my ($master, @workers) = workers($process);
    kill "KILL", @workers;
    my $seen = watch(4);
    my $lease = load($process, "/lease", 4, 4);
    # All are of the dead: after a second one more goes and asks for them.
    cmp_ok $seen->()->{most}, "<=", $MAX + 1, "those that still run at the server count";
    cmp_ok answered($lease), ">", 20 / $slowness, "then the new workers have them";
    answered($_) for @holds;
    my $count = counted($process);
    cmp_ok $count, ">", 0, "metrics count them";
    cmp_ok $count, "<=", $MAX, "and not those of the dead as well";
    is stop($process), 0, "TERM: status";
};

subtest "a worker in need gets what another does not use" => sub {
    my $process = instance(2);
    my $load = load($process, "/lease", 16, 2);
    cmp_ok answered($load), ">", 50, "both had some";
    my @counts;
    for my $round (1 .. 5) { # each time other connections, so other workers
        my $again = load($process, "/lease", 2, 1);
        push @counts, answered($again);
    }
    cmp_ok $_, ">", 15 / $slowness, "served: @counts" for @counts;
    my $counters = pool($process)->{counters};
    cmp_ok $counters->{timeouts}, "==", 0, "nobody waited in vain";
    is stop($process), 0, "TERM: status";
};

stop($watcher);
done_testing;

# A master that took over is nobody's child.
END { kill "KILL", $heir if $heir && is_alive($heir) }
