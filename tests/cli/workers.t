#!/usr/bin/perl
# workers.t - a master and its workers: spread, killed, stuck, reloaded, replaced by
# another binary; what the instance says of itself meanwhile.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use File::Copy qw(copy);
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;

my $APP = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
app:get("/hello", function() return "one\n" end)
app:get("/worker", function()
  return table.concat({ tide.worker() }, " of ") .. "\n"
end)
app:get("/slow", function() tide.sleep(0.3) return "slow\n" end)
return app
LUA

# A directory with the app, and the instance that serves it.
sub instance
{
    my ($workers, %more) = @_;
    my $dir = directory();
    put("$dir/app.lua", $more{app} || $APP);
    local $Cli::tidepool = $more{program} || $Cli::tidepool;
    my $process = serve($dir, ["run", "app.lua", "--workers", $workers, "--listen",
        "127.0.0.1:0", "--admin", "127.0.0.1:0", @{ $more{args} || [] }],
        TMPDIR => $dir, %{ $more{env} || {} });
    return ($process, $dir);
}

sub ask
{
    my ($process, $method, $path, $body) = @_;
    return request({ url => $process->{admin} }, $method, $path, $body);
}

sub health { return decode_json((ask($_[0], "GET", "/health"))[1]) }
sub pids   { return map { $_->{pid} } @{ health($_[0])->{workers} } }

sub metric
{
    my ($process, $series) = @_;
    my ($value) = (ask($process, "GET", "/metrics"))[1] =~ /^\Q$series\E (\S+)$/m;
    return $value;
}

# Whether so many new connections, one after the other, get their reply.
sub all_answered
{
    my ($process, $count, $path) = @_;
    for (1 .. $count) {
        my ($status) = request($process, "GET", $path || "/hello");
        return diag("status $status") && 0 unless $status == 200;
    }
    return 1;
}

# Loads it in a process of its own until done: what failed, by its report.
sub load
{
    my ($process, $seconds) = @_;
    return start(directory(), ["load", "$process->{url}/hello", "--rate", 200,
        "--connections", 4, "--timeout", 2, "--duration", "${seconds}s"]);
}

sub errors_of
{
    my ($load) = @_;
    eventually { defined ended($load) };
    my ($errors) = slurp($load->{out}) =~ /^  errors +(.*)$/m;
    my ($good) = slurp($load->{out}) =~ /2xx (\d+)/;
    return (defined $errors ? $errors : slurp($load->{err}), $good || 0);
}

subtest "workers share the load, and answer for the instance" => sub {
    my ($process) = instance(3);
    ok all_answered($process, 150), "all are answered";
    # Of a worker that does not answer at once there is what it last said.
    eventually { (metric($process, "tidepool_http_requests_total") || 0) == 150 };
    is metric($process, "tidepool_http_requests_total"), 150, "the sum of all";
    my @each = map { metric($process, qq(tidepool_worker_requests_total{worker="$_"})) }
        1 .. 3;
    is $each[0] + $each[1] + $each[2], 150, "of each: @each";
    cmp_ok $_, ">", 15, "no worker is left out" for @each;
    my %seen = map { (request($process, "GET", "/worker"))[1] => 1 } 1 .. 50;
    is_deeply [sort keys %seen], ["1 of 3\n", "2 of 3\n", "3 of 3\n"],
        "each knows which it is";
    my $health = health($process);
    is $health->{status}, "ok", "health";
    is scalar(@{ $health->{workers} }), 3, "tells of all";
    is scalar(grep { kill 0, $_->{pid} } @{ $health->{workers} }), 3, "by their pids";
    is((ask($process, "GET", "/health/ready"))[0], 200, "ready");
    is stop($process), 0, "TERM: status";
};

subtest "the master stays small, however often it is asked" => sub {
    my ($process) = instance(2, env => {
        DATABASE_URL => "postgres://u\@127.0.0.1:1/none",
        REDIS_URL => "redis://127.0.0.1:1",
    });
    for (1 .. 2) {
        my ($status, $out) = run($process->{dir}, ["load", "$process->{admin}/metrics",
            "--requests", 100, "--connections", 2, "--duration", "60s"]);
        like $out, qr/2xx 100$/m, "answered";
    }
    my ($kib) = slurp("/proc/$process->{pid}/status") =~ /^VmRSS:\s+(\d+) kB/m;
    cmp_ok $kib / 1024, "<", 32, "resident memory, MiB";
    is stop($process), 0, "TERM: status";
};

subtest "without an admin listener each worker answers for all" => sub {
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $process = serve($dir, ["run", "app.lua", "--workers", 2, "--listen",
        "127.0.0.1:0"], TMPDIR => $dir);
    ok all_answered($process, 20), "served";
    for (1 .. 10) {
        my ($status, $page) = request($process, "GET", "/metrics");
        my $count = 19 + 2 * $_; # with those that ask
        like $page, qr/^tidepool_http_requests_total $count$/m, "whoever is asked";
        my $health = decode_json((request($process, "GET", "/health"))[1]);
        is scalar(@{ $health->{workers} }), 2, "all workers";
    }
    is stop($process), 0, "TERM: status";
    is_deeply [glob "$dir/tidepool-instance-*"], [], "its directory is removed";
};

subtest "a killed worker is replaced, the others serve meanwhile" => sub {
    my ($process) = instance(2);
    my $load = load($process, 4);
    ok all_answered($process, 20), "before";
    for my $number (0, 1) {
        my $pid = (pids($process))[$number];
        my $before = metric($process, "tidepool_http_requests_total");
        kill "KILL", $pid;
        ok all_answered($process, 50), "while it is away";
        ok eventually { my $new = (pids($process))[$number]; $new && $new != $pid },
            "a new one serves";
        cmp_ok metric($process, "tidepool_http_requests_total"), ">=", $before + 50,
            "counters do not fall";
    }
    my ($errors, $good) = errors_of($load);
    cmp_ok $good, ">=", 790, "under load: $good of 800 answered, errors $errors";
    is health($process)->{workers}[0]{crashes}, 1, "counted";
    is health($process)->{workers}[0]{last_end}, "signal 9 (KILL)", "with the reason";
    is metric($process, q(tidepool_worker_crashes_total{worker="2"})), 1, "and in metrics";
    like slurp($process->{err}), qr/worker ended.*by="signal 9 \(KILL\)"/, "logged";
    is stop($process), 0, "TERM: status";
};

subtest "one that ends again and again waits, and another takes its connections" => sub {
    my ($process) = instance(2);
    for (1 .. 4) {
        ok eventually { (pids($process))[1] }, "it serves";
        my $pid = (pids($process))[1];
        kill "KILL", $pid;
        ok eventually { my $now = (pids($process))[1]; !$now || $now != $pid },
            "its end is seen";
    }
    like slurp($process->{err}), qr/waits before it is started again.*seconds=0\.4/,
        "it waits longer each time";
    ok all_answered($process, 100), "all connections are answered meanwhile";
    ok eventually { (pids($process))[1] }, "it comes back";
    is stop($process), 0, "TERM: status";
};

subtest "a worker that does not answer is killed and replaced" => sub {
    my ($process) = instance(2, args => ["--set", "server.worker_timeout=1"]);
    my $pid = (pids($process))[0];
    kill "STOP", $pid;
    ok eventually { my $now = (pids($process))[0]; $now && $now != $pid }, "replaced";
    ok !is_alive($pid), "the stuck one is gone";
    like slurp($process->{err}), qr/worker does not answer, it is killed/, "logged";
    ok all_answered($process, 20), "served";
    is stop($process), 0, "TERM: status";
};

# What a script gets stuck in -> what its log says before it is killed.
my %STUCK = (
    "a call of C" => {
        path => "/fifo",
        says => [
            qr/^tidepool: worker \d, pid \d+ is asked where it is: its loop stands still for (?!0)[\d.]+ s, in task \d+, GET \/fifo$/m,
            qr/^tidepool: its stack of C:\n(?:.*\n)*?.*libc.*\(/m,
            qr/^\t\[C\]: in open\n\tapp\.lua:2: in blocks\n\tapp\.lua:5/m,
        ],
    },
    "code of Lua" => {
        path => "/spin",
        says => [
            qr/its loop stands still for (?!0)[\d.]+ s, in task \d+, GET \/spin$/m,
            qr/msg="asked where it is".* task="GET \/spin" traceback="stack traceback:\\n\\tapp\.lua:6: in function/,
        ],
    },
);

for my $what (sort keys %STUCK) {
    my ($path, $says) = @{ $STUCK{$what} }{qw(path says)};
    subtest "a worker that is stuck in $what says where, and is replaced" => sub {
        my $dir = directory();
        system("mkfifo", "$dir/fifo") == 0 or die "mkfifo: $?";
        my ($process) = instance(2, args => ["--trusted", "--set", "server.worker_timeout=1", "--set",
            "script.run_abort=0"], app => <<"LUA");
local function blocks()
  local file = io.open("$dir/fifo")
  return file
end
local app = require("tidepool").app():get("/fifo", function() blocks() return "" end)
app:get("/spin", function() while true do end end)
app:get("/hello", function() return "hello\\n" end)
return app
LUA
        my $load = load($process, 4);
        my $client = start($dir, ["load", $process->{url} . $path, "--connections", 1,
            "--duration", "60s", "--timeout", 60]);
        ok eventually { slurp($process->{err}) =~ /worker ended.*stuck=true/ }, "seen";
        stop($client, "INT");
        ok eventually { scalar(grep { $_ } pids($process)) == 2 }, "replaced";
        like slurp($process->{err}), $_, "says where" for @$says;
        stop($load, "INT");
        ok all_answered($process, 20), "served";
        is stop($process), 0, "TERM: status";
    };
}

subtest "the master is killed: its workers finish and end" => sub {
    my ($process, $dir) = instance(2);
    my @pids = pids($process);
    my $load = load($process, 1);
    ok all_answered($process, 20), "served";
    kill "KILL", $process->{pid};
    ok eventually { !grep { is_alive($_) } @pids }, "they end";
    is ended($process) // stop($process), 137, "killed";
    my ($errors) = errors_of($load);
    unlike $errors, qr/reset|timeout/, "nothing in flight was lost: $errors";
    ok eventually { my @left = glob "$dir/tidepool-instance-*"; !@left }, "their directory is removed";
    my ($port) = $process->{url} =~ /:(\d+)$/;
    ok(IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 1,
        ReuseAddr => 1), "the port is free");
};

subtest "a program runs once, and its status is the instance's" => sub {
    my $dir = directory();
    put("$dir/job.lua", qq(print("ran")\n));
    my ($status, $out) = run($dir, ["run", "job.lua", "--workers", 3], TMPDIR => $dir);
    is $status, 0, "status";
    is $out, "ran\n", "once";
    put("$dir/job.lua", qq(error("broken")\n));
    ($status, $out, my $err) = run($dir, ["run", "job.lua", "--workers", 3],
        TMPDIR => $dir);
    is $status, 1, "an error: status";
    like $err, qr/job\.lua:1: broken/, "said";
    is_deeply [glob "$dir/tidepool-instance-*"], [], "nothing is left";
};

subtest "what cannot be served ends the instance" => sub {
    my ($process, $dir) = instance(2);
    my ($port) = $process->{url} =~ /:(\d+)$/;
    my ($status, $out, $err) = run($dir, ["run", "app.lua", "--workers", 2, "--listen",
        "127.0.0.1:$port"]);
    is $status, 1, "a port in use: status";
    like $err, qr/cannot listen on 127\.0\.0\.1:$port: the port is in use/, "said";
    is stop($process), 0, "TERM: status";
    ($status, $out, $err) = run($dir, ["run", "app.lua", "--workers", "many"]);
    is $status, 2, "no number: status";
    like $err, qr/--workers: .*expected a whole number from 0 to 64, or "auto"/, "said";
};

subtest "what is changed holds in all workers, also in later ones" => sub {
    my ($process) = instance(2,
        args => ["--set", "database.pool.max_connections=5"],
        env => { DATABASE_URL => "postgres://u\@127.0.0.1:1/none" });
    my ($status, $body) = ask($process, "PATCH", "/pools/main",
        '{"acquire_timeout": "7s", "max_connections": 9}');
    is $status, 200, "changed";
    is decode_json($body)->{max}, 9, "the answer is of the instance";
    ($status, $body) = ask($process, "PATCH", "/pools/main", '{"max_conections": 9}');
    is $status, 400, "a typo: status";
    like $body, qr/max_connections is one/, "said";
    is((ask($process, "POST", "/pools/main/pause"))[0], 200, "paused");
    is((ask($process, "GET", "/pools/none"))[0], 404, "no such pool");

    for my $number (0, 1) {
        my $pid = (pids($process))[$number];
        kill "KILL", $pid;
        ok eventually { my $now = (pids($process))[$number]; $now && $now != $pid },
            "a new worker";
    }
    ok eventually {
        my $pool = decode_json((ask($process, "GET", "/health/pools"))[1])->{pools}{main};
        $pool && $pool->{settings}{acquire_timeout} == 7 && $pool->{max} == 9
            && $pool->{paused};
    }, "has all of it";
    is stop($process), 0, "TERM: status";
};

subtest "HUP loads the script anew in all workers" => sub {
    my ($process, $dir) = instance(3);
    my $load = load($process, 2);
    (my $two = $APP) =~ s/one/two/;
    put("$dir/app.lua", $two);
    kill "HUP", $process->{pid};
    ok eventually { (request($process, "GET", "/hello"))[1] eq "two\n" }, "loaded";
    ok eventually { slurp($process->{err}) =~ /(msg=reloaded.*){3}/s }, "by all three";
    is((request($process, "GET", "/hello"))[1], "two\n", "and stays") for 1 .. 20;
    put("$dir/app.lua", "return = 1\n");
    my ($status, $body) = ask($process, "POST", "/reload");
    is $status, 500, "a broken script: status";
    like $body, qr/app\.lua:1:/, "said";
    is((request($process, "GET", "/hello"))[1], "two\n", "the one before goes on");
    my $health = health($process);
    is $health->{script}{generation}, 2, "health: which version serves";
    like $health->{script}{last_error}, qr/app\.lua:1:/, "and what did not load";
    is_deeply [map { $_->{generation} } @{ $health->{workers} }], [2, 2, 2], "in each";
    my ($errors, $good) = errors_of($load);
    is $errors, "none", "no request failed";
    put("$dir/app.lua", $two);
    my $killed = (pids($process))[1];
    kill "KILL", $killed;
    ok eventually { my $pid = (pids($process))[1]; $pid && $pid != $killed }, "a new one";
    is((ask($process, "POST", "/reload"))[0], 200, "once more");
    ok eventually {
        "@{[map { $_->{generation} // 0 } @{ health($process)->{workers} }]}" eq "3 3 3"
    }, "the new one counts as the others do";
    is metric($process, "tidepool_script_generation"), 3, "metrics";
    is stop($process), 0, "TERM: status";
};

subtest "another binary takes over without a lost request" => sub {
    my $dir = directory();
    copy($tidepool, "$dir/tidepool") or die $!;
    chmod 0755, "$dir/tidepool";
    my ($process) = instance(2, program => "$dir/tidepool");
    my @before = pids($process);
    my $load = load($process, 3);
    unlink "$dir/tidepool";
    copy($tidepool, "$dir/tidepool") or die $!;
    chmod 0755, "$dir/tidepool";
    kill "USR2", $process->{pid};
    ok eventually { defined ended($process) }, "the old master ends";
    is ended($process), 0, "with status 0";
    my $health = decode_json((ask($process, "GET", "/health/pools"))[1]);
    my @after = map { $_->{pid} } @{ $health->{workers} };
    is scalar(grep { my $pid = $_; grep { $_ == $pid } @before } @after), 0, "new workers";
    ok eventually { !grep { is_alive($_) } @before }, "the old ones are gone";
    my ($errors, $good) = errors_of($load);
    is $errors, "none", "no request failed ($good answered)";
    ok all_answered($process, 20), "served";
    kill "TERM", $health->{pid};
    ok eventually { !is_alive($health->{pid}) }, "the new master ends";
};

subtest "a binary that does not work changes nothing" => sub {
    my $dir = directory();
    copy($tidepool, "$dir/tidepool") or die $!;
    chmod 0755, "$dir/tidepool";
    my ($process) = instance(2, program => "$dir/tidepool");
    unlink "$dir/tidepool";
    put("$dir/tidepool", "#!/bin/sh\nexit 3\n");
    chmod 0755, "$dir/tidepool";
    kill "USR2", $process->{pid};
    ok eventually { slurp($process->{err}) =~ /upgrade failed.*status=3/ }, "logged";
    ok all_answered($process, 20), "the old one serves";
    is stop($process), 0, "TERM: status";
};

subtest "TERM while another binary starts ends both" => sub {
    my ($process, $dir) = instance(2);
    put("$dir/app.lua", qq(require("tidepool").sleep(3600)\n));
    kill "USR2", $process->{pid};
    my ($heir) = eventually {
        slurp($process->{err}) =~ /"upgrade begins" pid=(\d+)/ && $1 };
    ok eventually { descendants($heir) }, "the next master has begun";
    my @next = ($heir, descendants($heir));
    is stop($process), 0, "the first ends in order";
    ok eventually { !grep { is_alive($_) } @next }, "and so does the next";
    unlike slurp($process->{err}), qr/upgrade failed/, "which is no failure";
    is_deeply [glob "$dir/tidepool-instance-*"], [], "no directory is left";
};

subtest "an interrupt at the terminal reaches all, and all end in order" => sub {
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $process = start($dir, ["run", "app.lua", "--workers", 2, "--listen",
        "unix:$dir/door"], TMPDIR => $dir);
    ok eventually { -S "$dir/door" && slurp($process->{out}) =~ /listening/ }, "serves";
    my @workers = descendants($process->{pid});
    kill "USR2", @workers;
    kill "HUP", $process->{pid}, @workers;
    ok eventually { 2 == (() = slurp($process->{err}) =~ /msg=reloaded/g) },
        "a hangup is for the master, whose workers load the script anew";
    unlike slurp($process->{err}), qr/worker ended/, "none ends";
    kill "INT", $process->{pid}, descendants($process->{pid});
    ok eventually { defined ended($process) }, "ends";
    is ended($process), 0, "status";
    ok !-e "$dir/door", "its socket's file is removed";
};

done_testing;
