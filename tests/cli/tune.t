#!/usr/bin/perl
# tune.t - `tidepool tune` from outside, on a Postgres and a Redis of its own: what it
# measures, the file that it writes, what it says of wrong words, of statements that fail,
# of servers that are full, die or are not there.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

# Servers on TCP, and an app that asks and ends them.
my $SERVERS = <<'LUA';
local servers = require "tidepool.servers"
local tide = require "tidepool"
local own = {
  postgres = assert(servers.postgres { directory = arg[1] .. "/postgres", tcp = true,
    settings = { max_connections = 16, superuser_reserved_connections = 3 } }),
  redis = assert(servers.redis { directory = arg[1] .. "/redis", tcp = true }),
}
local app = tide.app()
app:get("/urls", function() return own.postgres.url .. "\n" .. own.redis.url .. "\n" end)
app:post("/psql", function(req) return assert(own.postgres:psql(req.body)) end)
app:get("/commands", function()
  return own.redis:cli("INFO", "stats"):match "total_commands_processed:(%d+)"
end)
app:post("/stop/:name", function(req)
  own[req.params.name]:stop()
  return "stopped\n"
end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $SERVERS);
put("$dir/empty.lua", "return require('tidepool').app()\n");

sub tune { return run($dir, ["tune", @_]) }

subtest "wrong words" => sub {
    my @cases = (
        [[], qr/URL is missing/],
        [["http://u:s3cret\@x/"], qr{http://u:\*\*\*\@x/": expected postgres://}],
        [["SELECT 1"], qr/expected postgres:/],
        [["postgres://h:99999/x"], qr/the port is not a number/],
        [["postgres://h/x?foo=s3cret"], qr/invalid URI query parameter: "foo"/],
        [["redis://h:x"], qr/the port is not a number/],
        [["redis://h", "y"], qr/unexpected "y"/],
        [["redis://h", "--step", "fast"], qr/--step: expected .*found "fast"/],
        [["redis://h", "--step", "0"], qr/--step: expected/],
        [["redis://h", "--callers", "0"], qr/--callers: expected a whole number/],
        [["redis://h", "--max", "-1"], qr/--max: expected/],
        [["redis://h", "--hosts", "0"], qr/--hosts: expected/],
        [["redis://h", "--caller", "3"], qr/did you mean --callers\?/],
        [["redis://h", "--statement", " "], qr/--statement: expected a statement/],
        [["redis://h", "--out"], qr/--out: a value is missing/],
    );
    for my $case (@cases) {
        my ($args, $expected) = @$case;
        my ($status, $out, $err) = tune(@$args);
        is $status, 2, "@$args: status";
        like $err, $expected, "@$args: says why";
        unlike $err, qr/s3cret|traceback/, "@$args: no secret";
    }
    my ($status, $out) = tune("--help");
    is $status, 0, "--help: status";
    like $out, qr/--statement SQL/, "--help: options";
    like $out, qr/run many\s+thousand times, also when it writes/, "--help: warns";
};

subtest "nobody is there" => sub {
    for my $url ("postgres://u:s3cret\@127.0.0.1:1/x", "redis://u:s3cret\@127.0.0.1:1") {
        my ($status, $out, $err) = tune($url);
        is $status, 1, "status";
        like $err, qr/127\.0\.0\.1:1.*: cannot connect to .*connection refused/i, "why";
        unlike $err, qr/s3cret/, "no secret";
    }
};

# ---- against real servers

my $service = serve($dir, ["run", "--trusted", "app.lua", "--listen", "127.0.0.1:0", "--",
    directory()]);
$service->{url} or BAIL_OUT("no servers: " . slurp($service->{err}));
my ($postgres, $redis) = split /\n/, (request($service, "GET", "/urls"))[1];

sub psql { return (request($service, "POST", "/psql", $_[0]))[1] }

# How many connections tune has; tests that wait for a size look here.
sub connections
{
    return psql("SELECT count(*) FROM pg_stat_activity "
        . "WHERE application_name = 'tidepool tune'");
}

# The sizes of a table's rows under a title.
sub rows
{
    my ($out, $title) = @_;
    my ($part) = $out =~ /^$title[^\n]*\n(.*?)\n\n/ms or return;
    return [$part =~ /^ +(\d+) +\d+ +[\d.]+ +[\d.]+ +\d+ +\d+ /mg];
}

psql("CREATE TABLE t AS SELECT i, 0 AS n FROM generate_series(1, 100) AS i");

subtest "Postgres" => sub {
    my ($status, $out, $err) = tune($postgres, "--step", "0.1s", "--max", 4,
        "--callers", 8, "--statement", "SELECT sum(i) FROM t", "--out", "pg.toml",
        "--html", "pg.html");
    is $status, 0, "status" or diag $err;
    is $err, "", "nothing on stderr, which is no terminal";
    like $out, qr/^postgres:\S+, Postgres \d+/m, "version";
    like $out, qr/^statement: SELECT sum\(i\) FROM t$/m, "statement";
    is_deeply [@{ rows($out, "Leases") }[0 .. 1]], [1, 2], "rows of sizes";
    is_deeply rows($out, "Shared")->[0], 1, "rows of lanes";
    like $out, qr/^ +1 .* \d+ % +\d+ %/m, "CPU of a server on this machine";
    like $out, qr/^ +1  #+ +#+$/m, "bars";
    my ($size) = $out =~ /^Recommended: max_connections = (\d+), lanes = \d+$/m;
    cmp_ok $size || 0, "<=", 4, "recommended";

    my $toml = slurp("$dir/pg.toml");
    like $toml, qr/^# tidepool tune, \d{4}-\d\d-\d\d/, "TOML: date";
    like $toml, qr/^# .*Postgres \d+/m, "TOML: server";
    like $toml, qr/^# leases, max_connections \d+: \d+\/s, p99 /m, "TOML: measured";
    like $toml, qr/^\[database\.pool\]\nmax_connections = $size\nlanes = \d+\n\z/m, "TOML";
    my ($checked, $printed, $why) = run($dir, ["check", "--offline", "--print",
        "empty.lua", "--config", "pg.toml",
        "--set", "database.postgres_url=$postgres"]);
    is $checked, 0, "check takes it" or diag $why;
    like $printed, qr/max_connections = $size .*pg\.toml/, "check reads it";
    is((run($dir, ["check", "--offline", "empty.lua", "--config", "pg.toml"]))[0], 0,
        "check takes it without a url");

    my $page = slurp("$dir/pg.html");
    is scalar(() = $page =~ /<svg /g), 4, "a page with plots";
    like $page, qr/data-name="throughput" data-points="[23456]"/, "of the steps";
    like $page, qr/<td>1<\/td>/, "and tables";
};

subtest "Redis" => sub {
    my ($status, $out, $err) = tune($redis, "--step", "0.1s", "--max", 2, "--callers", 4,
        "--statement", "SET a  1", "--hosts", 2, "--out", "redis.toml");
    is $status, 0, "status" or diag $err;
    like $out, qr/^redis:\S+, Redis \d+/m, "version";
    is_deeply rows($out, "Leases"), [1, 2], "rows of sizes";
    is rows($out, "Shared")->[0], 1, "rows of lanes";
    like $out, qr/^Recommended for each of 2 instances: max_connections = 1, lanes = 1$/m,
        "each its part";
    like $out, qr/2 instances share the server/, "says so";
    like slurp("$dir/redis.toml"), qr/^\[redis\.pool\]\nmax_connections = 1$/m, "TOML";
    my ($checked, undef, $why) = run($dir, ["check", "--offline", "empty.lua",
        "--config", "redis.toml", "--set", "redis.url=$redis"]);
    is $checked, 0, "check takes it" or diag $why;
};

subtest "the default statement says that it is one" => sub {
    my (undef, $out) = tune($redis, "--step", "0.05s", "--max", 1);
    like $out, qr/^statement: PING \(the default: give your own/m;
};

subtest "statements that fail" => sub {
    my @cases = (
        [$postgres, "SELECT nothing", qr/column "nothing" does not exist/],
        [$postgres, 'SELECT $1', qr/the statement has 1 parameter/],
        [$postgres, "BEGIN", qr/needs one of its own/],
        [$redis, "NONSENSE", qr/unknown command/],
    );
    for my $case (@cases) {
        my ($url, $statement, $expected) = @$case;
        my ($status, $out, $err) = tune($url, "--statement", $statement);
        is $status, 1, "$statement: status";
        like $err, qr/: the statement failed: .*$expected/, "$statement: says why";
        unlike $err, qr/traceback|\.lua:/, "$statement: a sentence";
    }
};

subtest "a statement that fails later on" => sub {
    psql("CREATE TABLE few (i int CHECK (i <= 4)); CREATE SEQUENCE s");
    my ($status, $out) = tune($postgres, "--step", "0.1s", "--max", 2, "--out",
        "none.toml", "--statement", "INSERT INTO few SELECT nextval('s')");
    is $status, 1, "status";
    like $out, qr/^Nothing is recommended$/m, "no advice";
    like $out, qr/of its \d+ calls failed: .*violates check constraint/, "says why";
    ok !-e "$dir/none.toml", "no file";
};

subtest "a statement that writes, and one that cannot be shared" => sub {
    my ($status, $out) = tune($postgres, "--step", "0.1s", "--max", 2, "--callers", 4,
        "--statement", "UPDATE t SET n = n + 1 WHERE i = 1");
    is $status, 0, "write: status";
    like $out, qr/^Recommended: max_connections = \d+$/m, "write: no lanes";
    like $out, qr/lanes is not recommended: the statement writes/, "write: says so";
    cmp_ok psql("SELECT n FROM t WHERE i = 1"), ">", 10, "write: it was run";

    ($status, $out) = tune($redis, "--step", "0.1s", "--max", 2,
        "--statement", "MULTI");
    is $status, 0, "MULTI: status";
    like $out, qr/lanes were not tried: MULTI on a shared connection/, "MULTI: says so";
    ok !rows($out, "Shared"), "MULTI: leases alone";
};

subtest "a server is never filled" => sub {
    my ($status, $out) = tune($postgres, "--step", "0.1s",
        "--statement", "SELECT pg_sleep(0.005)");
    is $status, 0, "status";
    my $app = 1;   # psql's own connection has gone; tune's other one is the watch
    my $room = 16 - 3 - $app - 2;
    is_deeply rows($out, "Leases"), [1, 2, 4, 8, $room], "sizes";
    like $out, qr/ended: the server has room for $room connections/, "says so";
    like $out, qr/went onto lanes: the others ran as leases/, "slow ones use no lanes";
    unlike $out, qr/lanes = /, "so lanes is left as it is";
};

subtest "a role that may have few connections" => sub {
    psql("CREATE ROLE guest LOGIN CONNECTION LIMIT 4");
    (my $url = $postgres) =~ s{//[^@]*@}{//guest@};
    my ($status, $out) = tune($url, "--step", "0.1s", "--statement",
        "SELECT pg_sleep(0.005)");
    is $status, 0, "status";
    is_deeply rows($out, "Leases"), [1, 2, 4], "sizes";
    like $out, qr/ended: connections could not be opened: .*too many connections/, "why";
};

subtest "Ctrl-C ends it with what was measured" => sub {
    my $process = start($dir, ["tune", $postgres, "--step", "0.3s", "--max", 6,
        "--statement", "SELECT pg_sleep(0.005)", "--out", "early.toml"]);
    ok eventually { connections() >= 5 }, "the third size is tried"; # and the watch
    is stop($process, "INT"), 0, "status";
    my $out = slurp($process->{out});
    is_deeply [@{ rows($out, "Leases") }[0 .. 1]], [1, 2], "the first two are told";
    like $out, qr/ended early: INT was sent/, "says so";
    ok !rows($out, "Shared"), "no more was tried";
    like slurp("$dir/early.toml"), qr/^# ended early: INT was sent$/m, "in the TOML";
    ok eventually { connections() == 0 }, "nothing is left on the server";

    $process = start($dir, ["tune", $postgres, "--step", "1h"]);
    ok eventually { connections() >= 2 }, "the first size is tried";
    is stop($process, "INT"), 1, "nothing measured: status";
    like slurp($process->{out}), qr/^Nothing is recommended$/m, "nothing measured: told";
};

subtest "a server that dies in the middle" => sub {
    my $process = start($dir, ["tune", $postgres, "--step", "0.3s", "--max", 6,
        "--statement", "SELECT pg_sleep(0.005)"]);
    ok eventually { connections() >= 5 }, "the third size is tried";
    request($service, "POST", "/stop/postgres", "");
    eventually { defined ended($process) };
    is ended($process), 1, "status";
    like slurp($process->{err}), qr/^tidepool: the server was lost at \d+: /m, "says so";
    is_deeply [@{ rows(slurp($process->{out}), "Leases") }[0 .. 1]], [1, 2],
        "what was measured is told";

    my $commands = sub { (request($service, "GET", "/commands"))[1] };
    my $before = $commands->();
    $process = start($dir, ["tune", $redis, "--step", "1h"]);
    ok eventually { $commands->() > $before + 2000 }, "Redis: the first size is tried";
    request($service, "POST", "/stop/redis", "");
    eventually { defined ended($process) };
    is ended($process), 1, "Redis: status";
    like slurp($process->{err}), qr/the server was lost at 1: /, "Redis: says so";
};

stop($service);

done_testing;
