#!/usr/bin/perl
# drain.t - the end of a service under load: it is not ready first, answers all that comes
# until it listens no more, and leaves Postgres in a way that its log has nothing to say.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(time sleep);

# What Postgres says of a client that went without a word; the first at debug level,
# unless a transaction is open.
my $RUDE = qr/unexpected EOF|could not receive data|could not send data|lost|reset by|broken pipe|incomplete/i;

# A connect that was given up says no goodbye, for libpq has none before it is connected:
# that of a session that had no statement.
my $EOF = qr/DEBUG:  unexpected EOF on client connection$/;
my $STATEMENT = qr/\] LOG:  (?:statement|execute)\b/;

my $servers_dir = directory();
put("$servers_dir/idle.lua", "return require('tidepool').app()\n");
my $servers = serve($servers_dir, ["dev", "idle.lua", "--listen", "127.0.0.1:0"]);
$servers->{url} or BAIL_OUT("no servers: " . slurp($servers->{err}));
my ($database) = slurp($servers->{out}) =~ /^DATABASE_URL=(.*)$/m;
my $log = "$servers_dir/.tidepool/postgres/postgres.log";
my $seen = 0; # bytes of it
sql("ALTER SYSTEM SET $_") for "log_min_messages = debug1", "log_connections = on",
    "log_disconnections = on", "log_statement = 'all'", "authentication_timeout = '5s'";
sql("SELECT pg_reload_conf()");

sub sql
{
    my ($text) = @_;
    local $ENV{PGAPPNAME} = "psql";
    open my $psql, "-|", "psql", "-XAtq", "-c", $text, $database or die "psql: $!";
    local $/;
    my $out = <$psql>;
    close $psql or die "psql: $text";
    return $out;
}

my $APP = <<'LUA';
local tide = require "tidepool"
local app, db = tide.app(), tide.postgres()
local notes = 0
assert(db:listen("drain", function() notes = notes + 1 end))
tide.every(0.02, function() db:notify("drain", "n") end)
tide.spawn(function()
  db:with(function(lease)
    while true do
      lease:query "SELECT 1"
      tide.sleep(0.01)
    end
  end)
end)
app:get("/work", function()
  local row = assert(db:one("SELECT $1::int AS n", 7))
  tide.sleep(0.005)
  return tide.json(row)
end)
app:get("/lease", function()
  return assert(db:transaction(function(tx)
    return tx:one("SELECT pg_sleep(0.01), $1::int AS n", 7).n .. "\n"
  end))
end)
app:get("/sleep/:seconds", function(req)
  local row = assert(db:one({ "SELECT pg_sleep($1::float8)", share = false },
    tonumber(req.params.seconds)))
  return row and "slept\n"
end)
app:get("/late", function()
  local ok, err = tide.timeout(0.05, function()
    return db:transaction(function(tx) return tx:one "SELECT pg_sleep(5)" end)
  end)
  return ok and "in time\n" or err.code .. "\n"
end)
app:get("/loop", function()
  return db:transaction(function(tx)
    tx:one "SELECT 1"
    while true do end
  end)
end)
return app
LUA

# An instance, or one process where $workers is 0.
sub service
{
    my ($workers, @more) = @_;
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0", "--admin",
        "127.0.0.1:0", "--workers", $workers, "--set",
        "database.pool.max_connections=16", "--set", "database.application_name=drained",
        @more],
        DATABASE_URL => $database, TMPDIR => $dir);
    $seen = -s $log;
    return $process;
}

# Of the admin listener: status and what it says it is.
sub readiness
{
    my ($process) = @_;
    my ($status, $body) = request({ url => $process->{admin} }, "GET", "/health/ready");
    return $status == 599 ? "gone" : "$status " . decode_json($body)->{status};
}

# What Postgres logged since the service was started, once nobody of it is there.
sub check_log
{
    my ($what) = @_;
    ok eventually {
        sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drained'")
            == 0;
    }, "$what: no connection is left";
    open my $file, "<", $log or die "$log: $!";
    seek $file, $seen, 0;
    my @lines = <$file>;
    my %has_run = map { /\[(\d+)$STATEMENT/ ? ($1 => 1) : () } @lines;
    my @rude = grep { /$RUDE/ && !(/$EOF/ && /\[(\d+)\]/ && !$has_run{$1}) } @lines;
    is scalar(@rude), 0, "$what: Postgres has nothing to say" or diag map { /\[(\d+)\]/ ? grep_log($1) : () } $rude[0];
}

# Whether a request of /sleep is at work.
sub sleeps
{
    return sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'
        AND application_name = 'drained' AND query LIKE 'SELECT pg_sleep%'") > 0;
}

# All that it says of one of its processes.
sub grep_log
{
    my ($pid) = @_;
    return grep { /\[$pid\]/ } map { "$_\n" } split /\n/, slurp($log);
}

sub load
{
    my ($process, $path, @more) = @_;
    my $dir = directory();
    my $load = start($dir, ["load", "$process->{url}$path", "--connections", 8,
        "--duration", "600s", "--timeout", 5, "--out", "$dir/out.json", @more]);
    $load->{json} = "$dir/out.json";
    return $load;
}

# Ends a load: how many were answered well, and what else there was.
sub outcome
{
    my ($load) = @_;
    stop($load, "INT");
    my $told = decode_json(slurp($load->{json}));
    my $good = delete $told->{status}{"2xx"} // 0;
    my %odd = (%{ $told->{status} }, %{ $told->{errors} });
    delete $odd{$_} for grep { !$odd{$_} } keys %odd;
    return ($good, \%odd);
}

my $RATE = int(150 / $slowness);

for my $workers (0, 2) {
    my $how = $workers ? "$workers workers" : "one process";
    subtest "TERM under load, $how" => sub {
        my $process = service($workers, "--set", "server.drain_delay=700ms");
        $process->{url} or return fail(slurp($process->{err}));
        my @loads = (load($process, "/work", "--rate", $RATE),
            load($process, "/lease", "--rate", $RATE / 2),
            load($process, "/work"));
        ok eventually {
            my (undef, $page) = request({ url => $process->{admin} }, "GET", "/metrics");
            my ($count) = $page =~ /^tidepool_http_requests_total (\d+)$/m;
            ($count || 0) > 2 * $RATE;
        }, "load";
        is readiness($process), "200 ok", "ready";

        kill "TERM", $process->{pid};
        my $began = time;
        ok eventually { readiness($process) eq "503 down" }, "not ready first";
        my ($status, undef, $headers) = request($process, "GET", "/work");
        is $status, 200, "served meanwhile, on a new connection";
        is $headers->{connection}, "close", "which is told to close"
            if time - $began < 0.5;
        ok eventually { defined ended($process) }, "it ends";
        cmp_ok time - $began, ">", 0.7, "not before drain_delay is over";
        is ended($process), 0, "status";
        for my $load (@loads) {
            my ($good, $odd) = outcome($load);
            delete $odd->{connect};
            is_deeply $odd, {}, "$good answered, none failed, until it listened no more";
            cmp_ok $good, ">", $RATE / 4, "many";
        }
        check_log($how);
        unlike slurp($process->{err}), qr/level=(warn|error)/, "nor has its own log";
    };
}

subtest "signals after the first cut short what is waited for" => sub {
    my $process = service(0, "--set", "server.drain_delay=60s");
    my $slow = start(directory(), ["load", "$process->{url}/sleep/60", "--connections", 1,
        "--duration", "60s"]);
    ok eventually { sleeps() }, "a request runs";
    for my $step (qr/msg="not ready any more"/, qr/msg=draining/) {
        kill "TERM", $process->{pid};
        ok eventually { slurp($process->{err}) =~ $step }, "next";
    }
    kill "TERM", $process->{pid};
    ok eventually { defined ended($process) }, "it ends";
    is ended($process), 1, "a request was cut: status 1";
    like slurp($process->{err}), qr/requests were cut off.*another signal/, "logged";
    stop($slow, "INT");
    check_log("cut");
};

subtest "idle connections that a client keeps are told before they end" => sub {
    my $process = service(0);
    my ($port) = $process->{url} =~ /:(\d+)$/;
    my @sockets = map {
        IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port, Timeout => 20)
    } 1 .. 2;
    for my $socket (@sockets) {
        print $socket "GET /work HTTP/1.1\r\nHost: t\r\n\r\n";
        my $text = "";
        sysread $socket, $text, 4096, length $text until $text =~ /\}$/;
        unlike $text, qr/Connection: close/, "kept";
    }
    my $slow = start(directory(), ["load", "$process->{url}/sleep/0.6", "--connections", 1,
        "--duration", "60s"]);
    ok eventually { sleeps() }, "something runs";
    kill "TERM", $process->{pid};
    ok eventually { slurp($process->{err}) =~ /msg=draining/ }, "it drains";
    print { $sockets[0] } "GET /work HTTP/1.1\r\nHost: t\r\n\r\n";
    local $/;
    like readline($sockets[0]), qr/^HTTP\/1.1 200.*Connection: close.*\}$/s,
        "one that asks once more is answered, and told";
    is readline($sockets[1]), "", "the other is closed";
    ok eventually { defined ended($process) }, "it ends";
    is ended($process), 0, "status";
    stop($slow, "INT");
    check_log("idle");
};

subtest "connections that are closed for other reasons" => sub {
    my $process = service(0, "--set", "database.pool.min_connections=0", "--set",
        "database.pool.idle_timeout=200ms", "--set", "script.run_abort=50ms",
        "--set", "database.pool.max_lifetime=1s");
    is((request($process, "GET", "/late"))[1], "timeout\n", "a statement is cancelled")
        for 1 .. 3;
    is((request($process, "GET", "/loop"))[0], 500, "a script is stopped in a transaction")
        for 1 .. 3;
    ok eventually {
        (request({ url => $process->{admin} }, "GET", "/metrics"))[1]
            =~ /reason="idle_timeout"\} [1-9]/;
    }, "idle ones are closed";
    is stop($process), 0, "status";
    check_log("closes");
};

subtest "a worker that is replaced" => sub {
    my $process = service(2);
    my $load = load($process, "/lease", "--rate", $RATE);
    ok eventually { (request($process, "GET", "/work"))[0] == 200 } , "serves";
    kill "USR2", $process->{pid};
    ok eventually { defined ended($process) }, "another master takes over";
    my ($good, $odd) = outcome($load);
    is_deeply $odd, {}, "none failed of $good";
    my ($pid) = decode_json((request({ url => $process->{admin} }, "GET",
        "/health/pools"))[1])->{pid};
    kill "TERM", $pid;
    ok eventually { !is_alive($pid) }, "it ends";
    check_log("replaced");
};

# Its pools open connections when the end comes.
subtest "connects that are given up in the middle" => sub {
    for my $round (1 .. 5) {
        my $process = service(0, "--set", "database.pool.min_connections=16",
            "--set", "database.pool.connect_rate=0");
        sleep 0.004 * $round;
        is stop($process), 0, "status";
    }
    check_log("connects");
};

done_testing;
