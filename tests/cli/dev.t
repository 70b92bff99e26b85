#!/usr/bin/perl
# dev.t - `tidepool dev` on the quickstart: every route, health and metrics, kept
# data, and nothing left however it ends.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use File::Copy qw(copy);
use JSON::PP qw(decode_json);
use Test::More;

my $dir = directory();
copy("$Bin/../../examples/quickstart/$_", "$dir/$_") or die $!
    for qw(app.lua schema.sql);

sub dev
{
    my $service = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0", @_]);
    diag slurp($service->{err}) unless $service->{url};
    return $service;
}

sub balance
{
    my ($service, $id) = @_;
    my ($status, $body) = request($service, "GET", "/users/$id");
    return $status == 200 ? decode_json($body)->{balance} : "status $status";
}

sub transfer
{
    my ($service, $from, $to, $amount) = @_;
    my ($status) = request($service, "POST", "/transfer",
        qq({"from":$from,"to":$to,"amount":$amount}));
    return $status;
}

# All of them are gone, soon.
sub all_end
{
    my (@pids) = @_;
    my @left = @pids;
    eventually { @left = grep { is_alive($_) } @left; !@left };
    return @left;
}

my $service = dev();
ok $service->{url}, "says where it listens" or BAIL_OUT "the quickstart does not start";

subtest "the quickstart's routes" => sub {
    my ($status, $body) = request($service, "GET", "/users");
    is $status, 200, "list: status";
    is_deeply [map { $_->{name} } @{ decode_json($body) }],
        ["Ada", "Grace", "Edsger"], "list: all users";

    is balance($service, 1), 100, "a user, read from Postgres";
    is balance($service, 1), 100, "the same, read from Redis";
    is((request($service, "GET", "/users/99"))[0], 404, "no such user");
    is((request($service, "GET", "/users/ada"))[0], 404, "no number");

    is transfer($service, 1, 2, 30), 200, "transfer";
    is_deeply [balance($service, 1), balance($service, 2)], [70, 80], "is seen at once";
    is transfer($service, 3, 1, 1), 409, "not enough money";
    is transfer($service, 1, 99, 1), 404, "to nobody";
    is transfer($service, 1, 2, -5), 400, "a negative amount";
    is((request($service, "POST", "/transfer", "{"))[0], 400, "no JSON");
    is_deeply [balance($service, 1), balance($service, 2)], [70, 80],
        "none of these moved any";
    is((request($service, "DELETE", "/users"))[0], 405, "wrong method");
};

subtest "health and metrics" => sub {
    my ($status, $body) = request($service, "GET", "/health");
    my $health = decode_json($body);
    is $status, 200, "health: status";
    is $health->{status}, "ok", "health: ok";
    my ($pool) = grep { ($_->{kind} || "") eq "postgres" } values %{ $health->{pools} };
    ok $pool, "health: has a Postgres pool";
    ok exists $pool->{$_}, "health: $_"
        for qw(max open idle leased shared opening waiting timeouts wait_p99_ms
        last_error);
    is((request($service, "GET", "/health/$_"))[0], 200, "health/$_") for qw(live ready);

    ($status, $body) = request($service, "GET", "/metrics");
    is $status, 200, "metrics: status";
    like $body, qr/^db_client_connection_count\{/m, "metrics: the pools' connections";
    put("$dir/metrics.txt", $body);
    my $words = `promtool check metrics < $dir/metrics.txt 2>&1`;
    is $? >> 8, 0, "metrics: promtool finds nothing" or diag $words;
};

subtest "the servers are reachable as it says" => sub {
    my $out = slurp($service->{out});
    my ($database) = $out =~ /^DATABASE_URL=(\S+)$/m;
    my ($redis) = $out =~ /^REDIS_URL=(\S+)$/m;
    ok $database && $redis, "both urls are printed";
    is `psql -XAtc 'SELECT count(*) FROM users' '$database' 2>&1`, "3\n",
        "psql takes one";
    my ($socket) = $redis =~ m{^unix://[^/]*(/[^?]*)};
    my $to = $socket ? "-s $socket" : "-u $redis";
    is `redis-cli $to PING 2>&1`, "PONG\n", "redis-cli takes the other";
};

subtest "an edited script is loaded on save" => sub {
    my $text = slurp("$dir/app.lua");
    my $route = 'app:get("/new", function() return "new" end)';
    my $edited = $text =~ s{return app\s*$}{$route\nreturn app\n}r;
    put("$dir/app.lua", $edited);
    ok eventually { (request($service, "GET", "/new"))[0] == 200 }, "the new one answers";

    put("$dir/app.lua", "this is no Lua");
    ok eventually { slurp($service->{err}) =~ /app\.lua:1:/ }, "a broken one is reported";
    is((request($service, "GET", "/new"))[0], 200, "and the old one goes on");
    put("$dir/app.lua", $text);
    ok eventually { (request($service, "GET", "/new"))[0] == 404 },
        "the first one is back";
};

subtest "TERM stops all of it, the data is kept" => sub {
    my @pids = descendants($service->{pid});
    cmp_ok scalar @pids, ">=", 2, "the servers are its children";
    is stop($service, "TERM"), 0, "status 0";
    is_deeply [all_end(@pids)], [], "nothing is left";

    $service = dev();
    is balance($service, 1), 70, "the balance is as it was";
};

subtest "INT stops all of it, --fresh begins anew" => sub {
    my @pids = descendants($service->{pid});
    is stop($service, "INT"), 0, "status 0";
    is_deeply [all_end(@pids)], [], "nothing is left";

    $service = dev("--fresh");
    is balance($service, 1), 100, "the balance is as at first";
};

subtest "KILL leaves nothing running, and the next start works" => sub {
    my @pids = descendants($service->{pid});
    is stop($service, "KILL"), 137, "killed";
    is_deeply [all_end(@pids)], [], "nothing is left";

    $service = dev();
    is balance($service, 1), 100, "the data is there";
    @pids = descendants($service->{pid});
    is stop($service), 0, "status 0";
    is_deeply [all_end(@pids)], [], "nothing is left";
};

subtest "check of its servers" => sub {
    my $service = dev();
    my ($db) = slurp($service->{out}) =~ /^DATABASE_URL=(.*)$/m;
    my ($redis) = slurp($service->{out}) =~ /^REDIS_URL=(.*)$/m;
    my @urls = ("--set", "database.postgres_url=$db", "--set", "redis.url=$redis");
    my ($status, $out, $err) = run($dir, ["check", "app.lua", @urls,
        "--set", "database.pool.max_connections=500",
        "--set", "database.pool.acquire_timeout=90",
        "--set", "database.reports.postgres_url=$db"]);
    is $status, 0, "status" or diag $out, $err;
    like $out, qr/^main: Postgres \d+/m, "Postgres";
    like $out, qr/^reports: Postgres \d+/m, "a pool with a name";
    like $out, qr/^redis: Redis \d+/m, "Redis";
    like $out, qr/activity +tide: \d+ /, "what is going on";
    like $out, qr/^warning: main: max_connections is 500, the server has \d+ for all/m,
        "more than the server has";
    like $out, qr/^warning: main: acquire_timeout is 90 s/m, "a long wait";
    like $out, qr/^warning: main: the server's idle_in_transaction_session_timeout is off/m,
        "no limit";
    unlike $out, qr/encrypted|pooler/, "no warning of what is not so";
    stop($service);
};

done_testing;
