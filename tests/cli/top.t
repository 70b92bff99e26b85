#!/usr/bin/perl
# top.t - `tidepool top` from outside: one look at a real service, a screen in a
# terminal of its own, wrong words, and instances that are not there or go away.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use JSON::PP qw(decode_json);
use Test::More;

my $APP = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
local db = tide.postgres()
app:get("/hold", function()
  local row, err = db:one({ "SELECT 1 AS n, pg_sleep(0.05)", share = false })
  if err then return tide.fail(err) end
  return tide.json { n = row.n }
end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $APP);
put("$dir/empty", "\n");

subtest "wrong words" => sub {
    my @cases = (
        [["x:8080"], qr{"x:8080": expected http://HOST:PORT}],
        [["http://x/pools"], qr{"http://x/pools": .*without a path}],
        [["http://x", "y"], qr/unexpected "y"/],
        [["--every", "0"], qr/--every: expected .*found "0"/],
        [["--every", "soon"], qr/--every: expected .*found "soon"/],
        [["--token-file", "none"], qr/--token-file: none: No such file/],
        [["--token-file", "empty"], qr/--token-file: empty holds no token/],
        [["https://x", "--cacert", "none"], qr/CA file none: No such file/],
        [["--onec"], qr/did you mean --once\?/],
    );
    for my $case (@cases) {
        my ($args, $expected) = @$case;
        my ($status, $out, $err) = run($dir, ["top", @$args]);
        is $status, 2, "@$args: status";
        like $err, $expected, "@$args: says why";
    }
    my ($status, $out) = run($dir, ["top", "--help"]);
    is $status, 0, "--help: status";
    like $out, qr/--every TIME/, "--help: options";
};

subtest "nobody is there" => sub {
    for my $option ("--once", "--json") {
        my ($status, $out, $err) = run($dir, ["top", "http://127.0.0.1:1", $option]);
        is $status, 1, "$option: status";
        is $out, "", "$option: nothing to show";
        like $err, qr{^tidepool: http://127\.0\.0\.1:1: .*connection refused$},
            "$option: says why";
    }
    my ($status, $out, $err) = run($dir, ["top", "unix:$dir/no.sock"]);
    is $status, 1, "a socket: status";
    like $err, qr{unix:\S+/no\.sock: .*[Nn]o such file}, "a socket: says why";
};

# ---- against a real service

sub serve_on
{
    my ($port) = @_;
    my $process = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:$port",
        "--set", "database.pool.max_connections=2", "--policy", "fixed"]);
    $process->{url} or BAIL_OUT("no service: " . slurp($process->{err}));
    return $process;
}

my $service = serve_on(0);
my $url = $service->{url};
my $load = start($dir, ["load", "$url/hold", "--connections", 4, "--duration", "1h"]);
eventually {
    my ($status, $text) = request($service, "GET", "/health/pools");
    $status == 200 && decode_json($text)->{pools}{main}{counters}{waits} > 10;
} or BAIL_OUT("no load: " . slurp($load->{err}));

subtest "once, without a terminal" => sub {
    my ($status, $out, $err) = run($dir, ["top", $url, "--every", "500ms"]);
    is $status, 0, "status";
    is $err, "", "nothing on stderr";
    like $out, qr{^tidepool \S+  \Q$url\E  ok  up \d}, "the instance";
    like $out, qr/^requests \d+/m, "its requests";
    like $out, qr/^rates and times of the last \d\.\d s$/m, "the interval";
    like $out, qr/^main +postgres +\w+ +2 +2 +[01] +[12] +0 +0 +[0-2] /m, "the pool";
    unlike $out, qr/\e/, "no escapes";
};

subtest "as JSON" => sub {
    my ($status, $out) = run($dir, ["top", $url, "--json", "--every", "1s"]);
    is $status, 0, "status";
    my $found = decode_json($out);
    my $pool = $found->{pools}{main};
    is $found->{tidepool_top}, 1, "format";
    cmp_ok abs($found->{seconds} - 1), "<", 0.5 * $slowness, "the interval";
    is $pool->{max}, 2, "max";
    is $pool->{leased}, 2, "leased";
    cmp_ok $pool->{waiting}, ">", 0, "waiting";
    cmp_ok $pool->{oldest_wait}, ">", 0, "the oldest wait";
    cmp_ok $pool->{completions_per_second}, ">", 1, "completions";
    cmp_ok $pool->{completions_per_second}, "<=", 45, "2 at once, 50 ms each";
    cmp_ok $pool->{service}{p50}, ">", 0.03, "half of the leases took 50 ms";
    cmp_ok $pool->{service}{p99}, ">=", $pool->{service}{p50}, "in order";
    cmp_ok $pool->{wait}{p50}, ">", 0.015, "they wait for one another";
    cmp_ok $found->{http}{requests_per_second}, ">", 1, "requests";
    cmp_ok $found->{tasks}{live}, ">=", 4, "tasks";
    is $found->{policy}{name}, "fixed", "the policy";
    is $pool->{policy_name}, "fixed", "and that it tunes the pool";
};

# ---- in a terminal

# Starts it in a terminal of its own, of 80 columns and 24 rows; what is written
# to {keys} is typed.  What the terminal is like before and after, and the status,
# come into files.
sub start_in_terminal
{
    my (@args) = @_;
    my $log = directory();
    my $self = { log => $log, screen => "$log/screen" };
    put("$log/run", <<"SH");
tty >$log/tty
stty cols 80 rows 24
stty -g >$log/before
$tidepool top @args
echo \$? >$log/status
stty -g >$log/after
SH
    pipe my $read, $self->{keys} or die "pipe: $!";
    $self->{keys}->autoflush(1);
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if ($pid == 0) {
        open STDIN, "<&", $read;
        open STDOUT, ">", "/dev/null";
        open STDERR, ">", "/dev/null";
        close $self->{keys};
        exec "timeout", 120 * $slowness, "script", "-qfec", "sh $log/run",
            $self->{screen} or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    return $self;
}

# The last whole screen, as lines without their escapes.
sub screen
{
    my ($self) = @_;
    return "" unless -e $self->{screen};
    my @frames = slurp($self->{screen}) =~ /\e\[H(.*?)\e\[J/gs;
    my $text = @frames ? $frames[-1] : "";
    $text =~ s/\e\[[0-9]*[a-zA-Z]//g;
    $text =~ s/\r//g;
    return $text;
}

sub shows
{
    my ($self, $expected) = @_;
    my $found = eventually { screen($self) =~ $expected };
    diag "it shows:\n", screen($self) unless $found;
    return $found;
}

sub is_restored
{
    my ($self, $name) = @_;
    my $has_ended = eventually { waitpid($self->{pid}, POSIX::WNOHANG()) != 0 };
    ok $has_ended, "$name: ends";
    is slurp("$self->{log}/status"), "0\n", "$name: status";
    is slurp("$self->{log}/after"), slurp("$self->{log}/before"),
        "$name: the keys are as they were";
    like slurp($self->{screen}), qr/\e\[\?7h\e\[\?25h\e\[\?1049l(?!.*\e\[\?25l)/s,
        "$name: the cursor is back, and the screen";
}

sub process_in
{
    my ($self) = @_;
    my ($pid) = grep {
        open my $file, "<", "/proc/$_/comm";
        $file && (<$file> || "") eq "tidepool\n";
    } descendants($self->{pid});
    return $pid;
}

subtest "draws again and again, until q" => sub {
    my $top = start_in_terminal($url, "--every", "200ms");
    ok shows($top, qr/^main +postgres /m), "the pool";
    ok shows($top, qr/^rates and times of the last \d\.\d s; q ends$/m), "rates";
    my ($clock) = screen($top) =~ /(\d\d:\d\d:\d\d)$/m;
    ok eventually { screen($top) !~ /\Q$clock\E/ }, "time goes on";
    my @too_long = grep { length > 80 } split /\n/, screen($top);
    is_deeply \@too_long, [], "no line is wider than the terminal";
    my $keys = $top->{keys};
    print $keys "x";
    print $keys "q";
    is_restored($top, "q");
};

subtest "follows the terminal's size" => sub {
    my $top = start_in_terminal($url, "--every", "1h");
    ok shows($top, qr/^times since the start, no rates yet; q ends$/m), "the first look";
    my $tty = slurp("$top->{log}/tty");
    chomp $tty;
    system "stty", "-F", $tty, "cols", 30, "rows", 6;
    ok shows($top, qr/^and \d+ lines for which there i$/m), "counts what has no room";
    is scalar(split /\n/, screen($top)), 6, "as many lines as there are rows";
    my $keys = $top->{keys};
    print $keys "\3";
    is_restored($top, "Ctrl-C");
};

subtest "TERM" => sub {
    my $top = start_in_terminal($url);
    ok shows($top, qr/^main +postgres /m), "it draws";
    kill "TERM", process_in($top);
    is_restored($top, "TERM");
};

subtest "an instance that wants a token" => sub {
    my $token = "sixteen-letters-or-more";
    put("$dir/token", "$token\n");
    put("$dir/no_token", "this-is-another-token\n");
    my $guarded = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0",
        "--admin", "0.0.0.0:0"], TIDEPOOL_SERVER__ADMIN_TOKEN => $token,
        DATABASE_URL => "postgres://nobody@127.0.0.1:1/none");
    my $port = eventually {
        slurp($guarded->{out}) =~ m{^admin listening on http://[\d.]+:(\d+)$}m && $1;
    } or BAIL_OUT("no service: " . slurp($guarded->{err}));
    my @top = ("top", "http://127.0.0.1:$port", "--every", "100ms");

    my ($status, $out, $err) = run($dir, [@top]);
    is $status, 1, "without: status";
    like $err, qr/: Authorization: Bearer with server\.admin_token expected$/,
        "without: says why";
    ($status, $out, $err) = run($dir, [@top, "--token-file", "no_token"]);
    like $err, qr/: this is not server\.admin_token$/, "another: says why";
    ($status, $out) = run($dir, [@top, "--token-file", "token"]);
    is $status, 0, "with it: status";
    like $out, qr/^main +postgres +down .*^  last error: /ms, "with it: a pool, down";
    stop($guarded);
};

subtest "an instance that goes away and comes back" => sub {
    my ($port) = $url =~ /:(\d+)$/;
    my $top = start_in_terminal($url, "--every", "200ms");
    ok shows($top, qr/^main +postgres /m), "it draws";
    stop($load, "INT");
    stop($service);
    ok shows($top, qr/^no answer for \S+, since \d\d:\d\d:\d\d\n  .*connection refused$/m), "it says so";
    like screen($top), qr/^main +postgres /m, "and shows what was";
    $service = serve_on($port);
    ok shows($top, qr/^rates and times of the last [\d.]+ s; q ends$/m), "it shows what is";
    unlike screen($top), qr/no answer/, "and says no more that it is away";
    kill "TERM", process_in($top);
    is_restored($top, "in the end");
    stop($service);
};

done_testing;
