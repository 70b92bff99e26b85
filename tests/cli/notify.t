#!/usr/bin/perl
# notify.t - what a service manager is told: serves, loads anew, is alive, is followed by
# another process, ends; of one process, and of a master with workers.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use IO::Socket::UNIX;
use JSON::PP qw(decode_json);
use Socket qw(SOCK_DGRAM);
use Test::More;
use Time::HiRes qw(time);

my $APP = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
app:get("/hello", function() return "one\n" end)
app:get("/child", function()
  local pipe = io.popen "env"
  local text = pipe:read "*a"
  pipe:close()
  return text .. "own=" .. tostring(os.getenv "NOTIFY_SOCKET") .. "\n"
end)
return app
LUA

my $WATCHDOG = 2; # seconds

# Stands for the manager: hears datagrams.
sub manager
{
    my ($path) = @_;
    my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path, Blocking => 0)
        or die "$path: $!";
    return { socket => $socket, path => $path, heard => [], pings => [] };
}

# All that was said so far, but pings, whose times are kept.
sub heard
{
    my ($manager) = @_;
    while (defined $manager->{socket}->recv(my $text, 4096)) {
        if ($text eq "WATCHDOG=1") { push @{ $manager->{pings} }, time }
        else                       { push @{ $manager->{heard} }, $text }
    }
    return @{ $manager->{heard} };
}

# Waits for a message, which is taken with all before it; these are given as well.
sub hears
{
    my ($manager, $pattern) = @_;
    my $at;
    eventually {
        my @all = heard($manager);
        ($at) = grep { $all[$_] =~ $pattern } 0 .. $#all;
        return defined $at;
    };
    return unless defined $at;
    return splice @{ $manager->{heard} }, 0, $at + 1;
}

sub instance
{
    my ($workers, %more) = @_;
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $manager = manager("$dir/notify");
    my @args = $workers ? ("--workers", $workers) : ();
    my $process = serve($dir, ["run", "app.lua", "--trusted", "--listen", "127.0.0.1:0", @args],
        TMPDIR => $dir, NOTIFY_SOCKET => $manager->{path},
        WATCHDOG_USEC => $WATCHDOG * 1e6, %more);
    return ($process, $manager, $dir);
}

sub is_like_a_service
{
    my ($process, $manager, $dir, $status) = @_;
    my @said = hears($manager, qr/^READY=1$/m);
    is scalar @said, 1, "the first that is said is that it serves";
    like $said[0], qr/^READY=1\nSTATUS=\Q$status\E$/, "with its health";

    my ($code, $env) = request($process, "GET", "/child");
    like $env, qr/^PATH=/m, "a child of a script";
    unlike $env, qr/NOTIFY_SOCKET=|WATCHDOG_|TIDEPOOL_(MEMBER|HANDOVER)/,
        "does not inherit it";
    like $env, qr/^own=nil$/m, "nor does the script see it";

    ok eventually { heard($manager); @{ $manager->{pings} } >= 4 }, "it is alive";
    my @times = @{ $manager->{pings} };
    my @late = grep { $times[$_] - $times[ $_ - 1 ] > $WATCHDOG } 1 .. $#times;
    is scalar @late, 0, "at least every $WATCHDOG s";

    kill "HUP", $process->{pid};
    @said = hears($manager, qr/^READY=1$/m);
    like $said[-2], qr/^RELOADING=1\nMONOTONIC_USEC=\d+$/, "HUP: loads its script";
    my ($usec) = $said[-2] =~ /USEC=(\d+)/;
    my $uptime = (split " ", slurp("/proc/uptime"))[0];
    cmp_ok abs($usec / 1e6 - $uptime), "<", 60, "by the clock of the machine";
    put("$dir/app.lua", "this is no Lua");
    kill "HUP", $process->{pid};
    is scalar(() = grep { /^RELOADING=1/ } hears($manager, qr/^READY=1/)), 1,
        "also when that fails";
    is((request($process, "GET", "/hello"))[1], "one\n", "the version before goes on");
    put("$dir/app.lua", $APP);
}

sub ends
{
    my ($pid, $manager) = @_;
    kill "TERM", $pid;
    my @said = hears($manager, qr/^STOPPING=1$/m);
    like $said[-1], qr/^STOPPING=1\nSTATUS=.*\nEXTEND_TIMEOUT_USEC=\d{8}$/,
        "TERM: it ends, and in what time";
    ok eventually { !is_alive($pid) }, "and does";
    is scalar(heard($manager)), 0, "nothing is said behind it";
}

subtest "one process" => sub {
    my ($process, $manager, $dir) = instance(0);
    is_like_a_service($process, $manager, $dir, "ok");
    kill "USR2", $process->{pid};
    ok eventually { slurp($process->{err}) =~ /no new binary takes over/ },
        "USR2 is for a master";
    ends($process->{pid}, $manager);
    is ended($process) // stop($process), 0, "status";
};

subtest "a master for its workers" => sub {
    my ($process, $manager, $dir) = instance(2);
    is_like_a_service($process, $manager, $dir, "ok; 2 of 2 workers serve");
    ends($process->{pid}, $manager);
    is ended($process) // stop($process), 0, "status";
};

subtest "another binary: the manager learns which process it is" => sub {
    my ($process, $manager) = instance(2);
    ok hears($manager, qr/^READY=1/), "the first serves";
    kill "USR2", $process->{pid};
    my @said = hears($manager, qr/^READY=1/m);
    my $next = decode_json((request($process, "GET", "/health/pools"))[1])->{pid};
    isnt $next, $process->{pid}, "the next one has taken over";
    is_deeply [map { /^(\w+=\w+)/ } @said], ["MAINPID=$next", "READY=1"],
        "the old one tells which it is, then that one that it serves";
    ok eventually { defined ended($process) }, "the old one ends";
    $manager->{pings} = [];
    ok eventually { heard($manager); @{ $manager->{pings} } >= 2 }, "the next is alive";
    is scalar(grep { /STOPPING/ } heard($manager)), 0, "nobody says that it ends";
    kill "HUP", $next;
    ok hears($manager, qr/^RELOADING=1/), "HUP: the next one loads the script";
    ok hears($manager, qr/^READY=1/), "and is ready";
    kill "USR2", $next;
    @said = hears($manager, qr/^READY=1/m);
    my ($third) = $said[0] =~ /^MAINPID=(\d+)$/;
    ok $third, "and may be followed itself" or return;
    ends($third, $manager);
    ok eventually { !is_alive($next) }, "all are gone";
};

subtest "what is wrong is in the status" => sub {
    my ($process, $manager) = instance(0, DATABASE_URL => "postgres://a\@127.0.0.1:1/a");
    ok hears($manager, qr/^STATUS=degraded; pool main is down \(.+\)$/m), "a pool is down";
    is stop($process), 0, "TERM: status";
};

subtest "nobody that hears does no harm" => sub {
    my $dir = directory();
    put("$dir/app.lua", $APP);
    for my $socket ("$dir/nowhere", "no path") {
        my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0"],
            NOTIFY_SOCKET => $socket, WATCHDOG_USEC => 20_000);
        is((request($process, "GET", "/hello"))[1], "one\n", "it serves");
        is stop($process), 0, "and ends";
        my @warnings = grep { /service manager does not hear/ }
            split /\n/, slurp($process->{err});
        is scalar @warnings, 1, "and says so once";
    }
};

subtest "an abstract name; a watchdog for another process" => sub {
    my $name = "tidepool-cli-$$";
    my $manager = manager("\0$name");
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0"],
        NOTIFY_SOCKET => "\@$name", WATCHDOG_USEC => 10_000, WATCHDOG_PID => 1);
    ok hears($manager, qr/^READY=1/), "heard";
    is stop($process), 0, "TERM: status";
    ok hears($manager, qr/^STOPPING=1/), "heard";
    is scalar @{ $manager->{pings} }, 0, "pings are for who has a watchdog";
};

done_testing;
