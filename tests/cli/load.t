#!/usr/bin/perl
# load.t - `tidepool load` from outside: what it measures of a real service, what it
# says of wrong words, of servers that are slow, die or are not there.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;

my $APP = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
local db = tide.postgres()
app:get("/hello", function() return "hello\n" end)
app:get("/slow", function() tide.sleep(0.2) return "slow\n" end)
app:get("/missing", function() return { status = 404, body = "no\n" } end)
app:get("/row", function()
  local row, err = db:one({ "SELECT 1 AS n", share = false })
  if err then return tide.fail(err) end
  return tide.json(row)
end)
app:get("/hold", function()
  local row, err = db:one({ "SELECT 1 AS n, pg_sleep(0.4)", share = false })
  if err then return tide.fail(err) end
  return tide.json { n = row.n }
end)
app:post("/echo", function(req) return { status = 201, body = req.body } end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $APP);
put("$dir/body", "x" x 1000);

# Runs it; gives status, stdout, stderr, and the figures.
sub load_test
{
    my (@args) = @_;
    unlink "$dir/out.json";
    my ($status, $out, $err) = run($dir, ["load", @args, "--out", "out.json"]);
    my $text = -e "$dir/out.json" ? slurp("$dir/out.json") : "{}";
    return ($status, $out, $err, decode_json($text));
}

subtest "wrong words" => sub {
    my @cases = (
        [[], qr/URL is missing/],
        [["https://x/", "--cacert", "none"], qr/CA file none: No such file/],
        [["ftp://x/"], qr{"ftp://x/": expected http://HOST:PORT/PATH}],
        [["http://x:0/"], qr/expected HOST or HOST:PORT/],
        [["http://x/", "y"], qr/unexpected "y"/],
        [["http://x/", "--rate", "fast"], qr/--rate: expected .*found "fast"/],
        [["http://x/", "--rate=-1"], qr/--rate: expected/],
        [["http://x/", "--duration", "0"], qr/--duration: expected/],
        [["http://x/", "--connections", "0"], qr/--connections: expected/],
        [["http://x/", "--conections", "1"], qr/did you mean --connections\?/],
        [["http://x/", "--header", "none"], qr/--header: expected "Name: value"/],
        [["http://x/", "--body", "/no/such"], qr{--body: /no/such: No such file}],
        [["http://x/", "--method", "EAT"], qr/--method: expected one of GET/],
        [["http://x/", "--out"], qr/--out: a value is missing/],
        [["--compare", "a.json"], qr/--compare: expected two files.*found 1/],
        [["--compare", "no.json", "no.json"], qr/no\.json: No such file/],
        [["--compare", "app.lua", "app.lua"], qr/app\.lua: /],
    );
    for my $case (@cases) {
        my ($args, $expected) = @$case;
        my ($status, $out, $err) = run($dir, ["load", @$args]);
        is $status, 2, "@$args: status";
        like $err, $expected, "@$args: says why";
    }
    my ($status, $out) = run($dir, ["load", "--help"]);
    is $status, 0, "--help: status";
    like $out, qr/--rate R/, "--help: options";
};

subtest "a table of two results" => sub {
    my %before = (
        tidepool_load => 1, requests_per_second => 100, max_concurrent => 50,
        latency => { average => 0.1, p95 => 0.2, p99 => 2 }, errors => { reset => 2 },
        server => { peak_in_use => 40, timeouts_per_minute => 12.5 },
        database_cpu => 95,
    );
    my %after = (%before, requests_per_second => 450, errors => {},
        latency => { average => 0.02, p95 => 0.05, p99 => 0.2 },
        server => { peak_in_use => 16, timeouts_per_minute => 0 });
    delete $after{database_cpu};
    put("$dir/before.json", JSON::PP->new->encode(\%before));
    put("$dir/after.json", JSON::PP->new->encode(\%after));
    my ($status, $out) =
        run($dir, ["load", "--compare", "before.json", "after.json"]);
    is $status, 0, "status";
    is $out, <<'TABLE', "the table";
                                 before          after     change
requests/s                        100.0          450.0     +350 %
average latency                100.0 ms        20.0 ms      -80 %
p95 latency                    200.0 ms        50.0 ms      -75 %
p99 latency                     2000 ms       200.0 ms      -90 %
max concurrent requests              50             50        0 %
max connections in use               40             16      -60 %
database CPU                       95 %   not readable          -
connection timeouts/min            12.5            0.0     -100 %
errors                                2              0     -100 %
TABLE
};

subtest "nobody is there" => sub {
    my ($status, $out, $err, $found) = load_test("http://127.0.0.1:1/");
    is $status, 1, "status";
    like $err, qr/no request succeeded: .*connection refused/, "says why";
    like $out, qr/errors +connect 10 /, "counted";
    is $found->{errors}{connect}, 10, "in the figures";
};

# ---- against a real service

my $postgres = start($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0",
    "--set", "database.pool.max_connections=2",
    "--set", "database.pool.acquire_timeout=0.1"]);
eventually {
    return 1 if defined ended($postgres);
    ($postgres->{url}) =
        slurp($postgres->{out}) =~ m{^listening on (http://\S+)$}m;
} 60;
my $url = $postgres->{url} or BAIL_OUT("no service: " . slurp($postgres->{err}));
my ($postmaster) = grep {
    open my $file, "<", "/proc/$_/comm";
    $file && (<$file> || "") =~ /^postgres/;
} descendants($postgres->{pid});

subtest "closed loop" => sub {
    my ($status, $out, $err, $found) =
        load_test("$url/row", "--requests", 200, "--connections", 4);
    is $status, 0, "status";
    is $err, "", "nothing on stderr, which is no terminal";
    is $found->{$_}, 200, $_ for qw(sent answered);
    is $found->{status}{"2xx"}, 200, "2xx";
    is $found->{max_concurrent}, 4, "at once";
    is $found->{latency}{count}, 200, "latencies";
    cmp_ok $found->{latency}{p50}, "<=", $found->{latency}{max}, "in order";
    cmp_ok $found->{bytes_in}, ">", 200 * 50, "bytes";
    like $out, qr/^GET \S+: 4 connections, .*closed loop$/m, "headline";
    like $out, qr/^  requests +200 sent, 200 answered, /m, "requests";
};

subtest "methods, headers and bodies" => sub {
    my ($status, $out, $err, $found) = load_test("$url/echo", "--requests", 3,
        "--body", "body", "--header", "Content-Type: text/plain");
    is $found->{method}, "POST", "method";
    is $found->{status}{"2xx"}, 3, "answered";
    is_deeply $found->{statuses}, { 201 => 3 }, "each status";
    cmp_ok $found->{bytes_out}, ">", 3000, "sent";
    cmp_ok $found->{bytes_in}, ">", 3000, "came back";

    ($status, $out, $err, $found) =
        load_test("$url/hello", "--requests", 3, "--method", "HEAD");
    is $found->{status}{"2xx"}, 3, "HEAD: answered";

    ($status, $out, $err, $found) = load_test("$url/missing", "--requests", 3);
    is $status, 1, "no success: status";
    is $found->{status}{"4xx"}, 3, "no success: counted";
};

subtest "an open loop over a slow handler" => sub {
    my ($status, $out, $err, $found) = load_test("$url/slow", "--rate", 20,
        "--connections", 1, "--duration", "1s");
    cmp_ok $found->{sent}, "<=", 6, "one connection sends few";
    is $found->{sent} + $found->{unsent}, 20, "each that was due is counted";
    cmp_ok $found->{service}{p99}, "<", $found->{latency}{p99},
        "latency counts from when it was due";
    cmp_ok $found->{latency}{max}, ">", 0.5, "the last one waited for the others";
    like $out, qr/ due and never sent$/m, "told";
};

subtest "what the pools did" => sub {
    my ($status, $out, $err, $found) = load_test("$url/hold", "--connections", 6,
        "--duration", "2s", "--postgres-pid", $postmaster);
    my $pool = $found->{server}{pools}{main};
    is $pool->{peak_in_use}, 2, "connections in use";
    cmp_ok $pool->{timeouts}, ">", 0, "timeouts";
    is $pool->{errors}{timeout}, $pool->{timeouts}, "errors by code";
    cmp_ok $found->{server}{timeouts_per_minute}, ">", $pool->{timeouts}, "a minute";
    is $found->{status}{"5xx"} + $found->{status}{"2xx"}, $found->{answered},
        "refused ones are answered";
    ok defined $found->{database_cpu}, "the database's CPU";
    like $out, qr/^  database CPU +\d+ % \(100 % is one core\)$/m, "told";
};

subtest "Ctrl-C ends it with the report" => sub {
    unlink "$dir/early.json";
    my $process = start($dir, ["load", "$url/hello", "--duration", "1h",
        "--out", "early.json"]);
    my $before = eventually {
        (request($postgres, "GET", "/metrics"))[1]
            =~ /tidepool_http_requests_total (\d+)/ && $1 > 2000;
    };
    ok $before, "it loads";
    is stop($process, "INT"), 0, "status";
    like slurp($process->{out}), qr/^  requests +\d+ sent/m, "report";
    cmp_ok decode_json(slurp("$dir/early.json"))->{seconds}, "<", 600, "figures";
};

subtest "a server that dies in the middle" => sub {
    my $process = start($dir, ["load", "$url/slow", "--duration", "3s",
        "--connections", 4, "--out", "dead.json"]);
    eventually {
        (request($postgres, "GET", "/metrics"))[1]
            =~ /tidepool_http_requests_in_flight (\d+)/ && $1 >= 4;
    };
    kill "TERM", $postgres->{pid};
    kill "TERM", $postgres->{pid}; # at once: requests are cut off
    eventually { defined ended($postgres) };
    eventually { defined ended($process) };
    my $found = decode_json(slurp("$dir/dead.json"));
    cmp_ok $found->{errors}{connect}, ">", 0, "refused ones are counted";
    cmp_ok $found->{errors}{connect}, "<", 4 * 3 * 10 + 8, "and no more than 10/s";
    is $found->{answered} + $found->{errors}{closed} + $found->{errors}{reset},
        $found->{sent}, "each request has an end";
};

done_testing;
