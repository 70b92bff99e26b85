#!/usr/bin/perl
# run.t - `tidepool run` from outside: what it says when something is wrong, how
# programs and services end.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use File::Copy qw(copy);
use IO::Socket::INET;
use Test::More;

my $HELLO = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
app:get("/hello", function() return "hello\n" end)
app:get("/slow", function() tide.sleep(0.3) return "slow\n" end)
return app
LUA

subtest "a script has all of Lua when it is trusted" => sub {
    my $dir = directory();
    put("$dir/job.lua", "io.write 'written\\n'\n");
    my ($status, $out, $err) = run($dir, ["run", "job.lua"]);
    is $status, 1, "it is not";
    like $err, qr/^tidepool: job\.lua:1: io\.write is closed to this script: .*--trusted/, "told";
    for my $args (["--trusted"], ["--set", "script.trusted=true"]) {
        ($status, $out, $err) = run($dir, ["run", "job.lua", @$args]);
        is "$status $out", "0 written\n", "@$args";
    }
    ($status, $out, $err) = run($dir, ["run", "job.lua", "--trusted=yes"]);
    is $status, 2, "--trusted takes no value";
    like $err, qr/^tidepool: --trusted: takes no value$/m, "told";
};

subtest "usage" => sub {
    my $dir = directory();
    my ($status, $out, $err) = run($dir, ["version"]);
    is $status, 0, "version: status";
    like $out, qr/^\D*\d+\.\d+\.\d+/, "version: a number";

    ($status, $out) = run($dir, ["--help"]);
    is $status, 0, "--help: status";
    like $out, qr/\brun\b.*\bdev\b/s, "--help: names the commands";

    for my $command (qw(run dev check help)) {
        ($status, $out) = run($dir, [$command, "--help"]);
        is $status, 0, "$command --help: status";
        like $out, qr/\b$command\b/, "$command --help: names it";
    }

    for my $args ([], ["no-such-command"], ["run"], ["run", "--no-such-flag"]) {
        ($status, $out, $err) = run($dir, $args);
        is $status, 2, "'@$args': status 2";
        isnt $err, "", "'@$args': says why";
    }
};

subtest "a wrong configuration: status 2; file, line and key" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    put("$dir/tidepool.toml", "[database.pool]\nmax_connections = \"many\"\n");
    my ($status, $out, $err) = run($dir, ["run", "app.lua"]);
    is $status, 2, "value of a wrong kind: status";
    like $err, qr/tidepool\.toml:2: .*database\.pool\.max_connections/, "place";

    put("$dir/tidepool.toml", "[database.pool]\n\nmax_conections = 3\n");
    ($status, $out, $err) = run($dir, ["run", "app.lua"]);
    is $status, 2, "unknown key: status";
    like $err, qr/tidepool\.toml:3: .*max_conections/, "unknown key: place";

    put("$dir/other.toml", "[database\n");
    ($status, $out, $err) = run($dir, ["run", "app.lua", "--config", "other.toml"]);
    is $status, 2, "no TOML: status";
    like $err, qr/other\.toml:1/, "no TOML: place";

    unlink "$dir/tidepool.toml";
    ($status, $out, $err) =
        run($dir, ["run", "app.lua", "--set", "database.pool.max_connections=0"]);
    is $status, 2, "a flag out of range: status";
    like $err, qr/max_connections/, "a flag out of range: key";

    ($status, $out, $err) = run($dir, ["run", "app.lua", "--config", "missing.toml"]);
    is $status, 2, "a file that is missing: status";
    like $err, qr/missing\.toml/, "a file that is missing: name";
};

subtest "a wrong script: status 1; file and line" => sub {
    my $dir = directory();
    my ($status, $out, $err) = run($dir, ["run", "missing.lua"]);
    isnt $status, 0, "missing: status";
    like $err, qr/missing\.lua/, "missing: name";

    put("$dir/broken.lua", "local a = 1\nlocal b = = 2\n");
    ($status, $out, $err) = run($dir, ["run", "broken.lua"]);
    is $status, 1, "syntax error: status";
    like $err, qr/broken\.lua:2:/, "syntax error: place";

    put("$dir/raises.lua", "\n\nerror 'at load'\n");
    ($status, $out, $err) = run($dir, ["run", "raises.lua"]);
    is $status, 1, "error at load: status";
    like $err, qr/raises\.lua:3: at load/, "error at load: place";

    put("$dir/nopool.lua", "require 'tidepool'.postgres()\n");
    ($status, $out, $err) = run($dir, ["run", "nopool.lua"]);
    is $status, 1, "no pool: status";
    like $err, qr/nopool\.lua:1:.*DATABASE_URL/, "no pool: says what to set";
};

subtest "programs run to their end" => sub {
    my $dir = directory();
    put("$dir/job.lua", "print('arguments', ...)\n");
    my ($status, $out, $err) = run($dir, ["run", "job.lua", "--", "a", "b c"]);
    is $status, 0, "status";
    is $out, "arguments\ta\tb c\n", "arguments after --";

    put("$dir/tasks.lua", <<'LUA');
local tide = require "tidepool"
tide.sleep(0.01)
print(tide.all(function() return 1 end, function() tide.sleep(0.01) return 2 end))
LUA
    ($status, $out) = run($dir, ["run", "tasks.lua"]);
    is $status, 0, "with tasks: status";
    is $out, "1\t2\n", "with tasks: output";

    put("$dir/waits.lua", "require 'tidepool'.sleep(600)\n");
    my $process = start($dir, ["run", "waits.lua"]);
    eventually { slurp("/proc/$process->{pid}/comm") =~ /tidepool/ };
    isnt stop($process, "TERM"), undef, "one that waits ends at TERM";
};

subtest "a service" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    my $service = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0"]);
    ok $service->{url}, "says where it listens" or diag slurp($service->{err});
    is_deeply [(request($service, "GET", "/hello"))[0, 1]], [200, "hello\n"], "serves";
    is((request($service, "GET", "/nothing"))[0], 404, "no such page: 404");
    is_deeply [(request($service, "GET", "/health/live"))[0]], [200], "is live";

    my ($port) = $service->{url} =~ /:(\d+)$/;
    my @at_port = ("run", "app.lua", "--listen", "127.0.0.1:$port");
    my ($status, $out, $err) = run($dir, \@at_port);
    is $status, 1, "port in use: status";
    like $err, qr/\b$port\b.*in use|in use.*\b$port\b/i, "port in use: says so";

    is stop($service, "TERM"), 0, "TERM: status 0";
    is((request($service, "GET", "/hello"))[0], 599, "and nobody listens");

    $service = serve($dir, \@at_port);
    ok $service->{url}, "the port is free again at once" or diag slurp($service->{err});
    is stop($service, "INT"), 0, "INT: status 0";
};

subtest "TERM lets what runs finish" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    my $service = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0"]);
    my ($host, $port) = $service->{url} =~ m{//(.*):(\d+)};
    my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
    print $socket "GET /slow HTTP/1.1\r\nHost: t\r\n\r\n";
    $socket->flush;
    eventually {
        my (undef, $metrics) = request($service, "GET", "/metrics");
        $metrics =~ /^tidepool_http_requests_in_flight 2$/m; # it and /metrics
    };
    kill "TERM", $service->{pid};
    local $/;
    my $reply = <$socket>;
    like $reply, qr{^HTTP/1.1 200 .*slow\n$}s, "it is answered";
    eventually { defined ended($service) };
    is ended($service), 0, "status 0" or diag slurp($service->{err});
};

subtest "a unix socket" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    my $service = start($dir, ["run", "app.lua", "--listen", "unix:$dir/http.sock"]);
    ok eventually { -S "$dir/http.sock" or defined ended($service) }, "is made";
    my $reply = `curl -s --max-time 20 --unix-socket $dir/http.sock http://t/hello`;
    is $reply, "hello\n", "serves";
    is stop($service), 0, "TERM: status 0";
    ok !-e "$dir/http.sock", "and is removed";
};

subtest "the admin listener" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    my $service = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0",
        "--admin", "127.0.0.1:0", "--set", "redis.url=redis://127.0.0.1:1"]);
    my $admin = {};
    ok eventually {
        ($admin->{url}) = slurp($service->{out}) =~ m{^admin listening on (http://\S+)$}m;
    }, "says where it listens";

    is((request($service, "GET", "/pools"))[0], 404, "no pools on the main one");
    is((request($service, "GET", "/health"))[0], 404, "nor health");
    is((request($admin, "GET", "/health"))[0], 200, "health");
    my ($status, $body) = request($admin, "PATCH", "/pools/redis", '{"max_connections":7}');
    is $status, 200, "settings are changed";
    like +(request($admin, "GET", "/pools"))[1], qr/"max_connections":7/, "and shown";
    is((request($admin, "GET", "/nowhere"))[0], 404, "no such page");

    put("$dir/app.lua", $HELLO =~ s/hello\\n/good day\\n/r);
    is((request($service, "GET", "/hello"))[1], "hello\n", "a saved script waits");
    is((request($admin, "POST", "/reload"))[0], 200, "reload");
    is((request($service, "GET", "/hello"))[1], "good day\n", "the new one serves");
    put("$dir/app.lua", "local a = = 1\n");
    ($status, $body) = request($admin, "POST", "/reload");
    is $status, 500, "a broken script: status";
    like $body, qr/app\.lua:1:/, "a broken script: place";
    is((request($service, "GET", "/hello"))[1], "good day\n", "the one before goes on");
    is stop($service), 0, "TERM: status 0";
};

subtest "the access log" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    my $service = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0",
        "--set", "log.access=true"]);
    is((request($service, "GET", "/hello?token=s3cret"))[0], 200, "a request");
    is((request($service, "GET", "/nowhere"))[0], 404, "another");
    is stop($service), 0, "TERM: status 0";
    my $log = slurp($service->{err});
    like $log, qr/msg=request .*path=\/hello/, "has its path";
    like $log, qr/status=404/, "and status";
    unlike $log, qr/s3cret/, "and not its query";
};

subtest "the binary alone, in another directory" => sub {
    my $dir = directory();
    copy($tidepool, "$dir/alone") or die $!;
    chmod 0755, "$dir/alone";
    put("$dir/job.lua", "print(require 'tidepool'.encode { a = 1 })\n");
    local $tidepool = "$dir/alone";
    my ($status, $out, $err) = run($dir, ["run", "job.lua"]);
    is $status, 0, "status" or diag $err;
    is $out, "{\"a\":1}\n", "needs no Lua files";
};

subtest "check, without asking a server" => sub {
    my $dir = directory();
    put("$dir/app.lua", $HELLO);
    put("$dir/tidepool.toml",
        "[database]\npostgres_url = \"postgresql://me:s3cret\@127.0.0.1:1/d\"\n");
    my ($status, $out, $err) = run($dir, ["check", "app.lua", "--print", "--offline"]);
    is $status, 0, "status" or diag $out, $err;
    like $out, qr/tidepool\.toml:2/, "--print tells where a value is from";
    unlike $out . $err, qr/s3cret/, "and hides secrets";

    ($status, $out, $err) = run($dir, ["check", "app.lua"]);
    is $status, 1, "a server that is away: status";
    like $err, qr/main \(postgresql:\/\/me:\*\*\*\@127\.0\.0\.1:1\/d\): .*refused/i,
        "a server that is away: message";
    unlike $out . $err, qr/s3cret/, "and hides secrets";

    put("$dir/broken.lua", "x = = 1\n");
    ($status, $out, $err) = run($dir, ["check", "broken.lua", "--offline"]);
    is $status, 1, "a script that is no Lua: status";
    like $err, qr/broken\.lua:1:/, "a script that is no Lua: place";
};

done_testing;
