#!/usr/bin/perl
# attacks.t - clients that are slow, many or large on purpose: the others are served
# meanwhile, memory is bounded, and it is counted who was sent away, and why.
# ATTACKS_SCALE=10: ten times as many of them, for longer.  ATTACKS=PATTERN: these only.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Socket qw(:DEFAULT SHUT_WR SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);

my $scale = $ENV{ATTACKS_SCALE} || 1;
my $many = 300 * $scale;
my $seconds = $scale > 1 ? 10 : 1; # of each attack; the server's times are half of it
my $patience = $seconds / 2;
my $steps = 12; # at least

$SIG{PIPE} = "IGNORE";

my $dir = directory();
put("$dir/app.lua", <<'LUA');
local tide = require "tidepool"
local app = tide.app()
local large = ("x"):rep(10 * 2 ^ 20)
app:get("/small", function() return "hello\n" end)
app:get("/large", function() return large end)
app:post("/echo", function(req) return #req.body .. "\n" end)
return app
LUA
put("$dir/few", "#!/bin/sh\nulimit -n 200\nexec $tidepool \"\$@\"\n");
chmod 0755, "$dir/few";

# ---- the attacker

sub dial
{
    my ($port, $room) = @_; # room: the kernel's, for what is not read
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, $room if $room;
    return unless connect $socket, pack_sockaddr_in($port, INADDR_LOOPBACK);
    $socket->blocking(0);
    return $socket;
}

# Writes what the server takes of text, over and over: false when it has hung up.
sub push_on
{
    my ($client, $text) = @_;
    while (1) {
        $client->{at} = 0 if $client->{at} >= length $text;
        my $sent = syswrite $client->{socket}, $text, length($text) - $client->{at},
            $client->{at};
        return $!{EAGAIN} unless defined $sent;
        $client->{at} += $sent;
        return 1 if $client->{once} && $client->{at} == length $text;
    }
}

# What has come, to find out whether the server has hung up.
sub has_ended
{
    my ($client) = @_;
    my $got = sysread $client->{socket}, my $bytes, 65536;
    $client->{got} .= $bytes if $got;
    return defined $got ? $got == 0 : !$!{EAGAIN};
}

# ---- what is measured

sub memory
{
    my ($process, $name) = @_;
    my ($kib) = slurp("/proc/$process->{pid}/status") =~ /^$name:\s+(\d+) kB/m;
    return $kib / 1024;
}

# Seconds that it had of the CPU, and that it had to wait for it.
sub cpu
{
    my ($process) = @_;
    return map { $_ / 1e9 } (split " ", slurp("/proc/$process->{pid}/schedstat"))[0, 1];
}

sub metrics
{
    my ($process) = @_;
    my $page = (request($process, "GET", "/metrics"))[1];
    my %values = $page =~ /^tidepool_http_(\S+) (\d+)$/mg;
    return { map { s/_total//r => $values{$_} } keys %values };
}

# Runs the attack for its time, and good clients at the same time: an open loop on a
# connection that is kept, and one new connection after the other.
sub measure
{
    my ($process, $attack) = @_;
    my ($port) = $process->{url} =~ /:(\d+)$/;
    my ($clients, $fresh, $wrong, $slowest) = ([], 0, "", 0);
    my $load = start(directory(), ["load", "$process->{url}/small", "--rate", 25,
        "--connections", 1, "--duration", "${seconds}s"]);
    eventually { metrics($process)->{requests} > 10 }; # its connection is no new one
    my ($began, @before) = (time, cpu($process));
    until (defined ended($load) && $fresh >= $steps) {
        $attack->($clients, $port);
        my $sent = time;
        my ($status, $body) = request($process, "GET", "/small");
        $wrong = "$status $body" unless $status == 200;
        $fresh++;
        $slowest = time - $sent if time - $sent > $slowest;
        sleep 0.02;
    }
    my @after = cpu($process);
    my ($share, $starved) = map { ($after[$_] - $before[$_]) / (time - $began) } 0, 1;
    my $said = slurp($load->{out});
    my ($p50, $p99) = $said =~ /p50 ([\d.]+ ms).*p99 ([\d.]+ m?s)/;
    return { clients => $clients, said => $said, p50 => $p50, p99 => $p99,
        fresh => $fresh, wrong => $wrong, slowest => $slowest, cpu => $share,
        starved => $starved };
}

sub check_others
{
    my ($name, $m) = @_;
    my ($sent, $answered) = $m->{said} =~ /^  requests +(\d+) sent, (\d+) answered/m;
    like $m->{said}, qr/^  errors +none$/m, "the others: no errors";
    like $m->{said}, qr/^  status +2xx $sent$/m, "the others: all $answered answered with 200";
    my ($number, $unit) = $m->{p99} =~ /(\S+) (\S+)/;
    cmp_ok $number * ($unit eq "s" ? 1000 : 1), "<", 5000 * $slowness, "the others: p99";
    is $m->{wrong}, "", "new connections: $m->{fresh} answered with 200";
    cmp_ok $m->{slowest}, "<", 5 * $slowness, "new connections: the slowest";
}

# attack: called some 40 times a second, with a list of clients to fill; mebibytes: how
# much more memory the server may take; calm: it must not take much CPU; expect: counters
# that must have risen.
sub attack
{
    my ($name, %how) = @_;
    return if $ENV{ATTACKS} && $name !~ /$ENV{ATTACKS}/;
    subtest $name => sub {
        local $Cli::tidepool = "$dir/few" if $how{few};
        my $settings = { "limits.header_timeout" => "${patience}s",
            "limits.body_timeout" => "${patience}s", "limits.write_timeout" => "${patience}s",
            %{ $how{settings} || {} } };
        my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0",
            map { ("--set", "server.$_=$settings->{$_}") } sort keys %$settings]);
        request($process, "GET", $_) for ("/small", "/large") x 3;
        my $before = memory($process, "VmRSS");

        my $m = measure($process, $how{attack});
        my $peak = memory($process, "VmHWM");
        check_others($name, $m);
        cmp_ok $peak - $before, "<", $how{mebibytes}, "memory: the peak, MiB more";
        cmp_ok $m->{cpu}, "<", 0.6, "CPU: it does not spin" if $how{calm} && $slowness == 1;
        my $counters;
        for my $name (sort keys %{ $how{expect} }) {
            eventually { ($counters = metrics($process))->{$name} >= $how{expect}{$name} };
            cmp_ok $counters->{$name}, ">=", $how{expect}{$name}, "counted: $name";
        }

        $_->{socket} && close $_->{socket} for @{ $m->{clients} };
        ok eventually {
            my $now = metrics($process);
            $now->{open_connections} <= 2 && $now->{buffered_bytes} < 1e6;
        }, "after it: connections and buffers are gone";
        my $after;
        eventually {
            request($process, "GET", "/small");
            ($after = memory($process, "VmRSS")) < $before + 30;
        } 10;
        cmp_ok $after - $before, "<", 30 * ($slowness == 1 ? 1 : 4), "after it: memory is back";
        is stop($process), 0, "TERM: status";
        diag(sprintf "%-28s p50 %s p99 %s, new ones at most %.0f ms; CPU %.2f, had to wait for %.2f; "
            . "MiB %.0f, peak %.0f, after %.0f; %s", $name, $m->{p50}, $m->{p99},
            $m->{slowest} * 1000, $m->{cpu}, $m->{starved}, $before, $peak, $after, join ", ",
            map { "$_ $counters->{$_}" } sort keys %{ $how{expect} });
    };
}

# So many clients, each of which begins with text.  Whom the server has sent away comes
# again, unless they do not read and so do not see it.
sub keep
{
    my ($clients, $port, $count, $text, $is_blind) = @_;
    for my $i (0 .. $count - 1) {
        my $client = $clients->[$i];
        next if $client && ($is_blind || !has_ended($client));
        close $client->{socket} if $client;
        my $socket = dial($port, $is_blind && 4096) or next;
        $clients->[$i] = { socket => $socket, at => 0 };
        syswrite $socket, $text if defined $text;
    }
}

# A byte of each, ten times during the attack.
my $drips_at = 0;

sub drip
{
    my ($clients) = @_;
    return if time < $drips_at;
    $drips_at = time + $seconds / 10;
    syswrite $_->{socket}, "a" for @$clients;
}

# ---- the attacks

my $get = "GET /small HTTP/1.1\r\nHost: x\r\n";
my $post = "POST /echo HTTP/1.1\r\nHost: x\r\n";
my $large = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";

attack "slow headers", calm => 1, mebibytes => 10 + 6 * $scale,
    expect => { 'refused_requests{reason="head_time"}' => $many },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, $many, "${get}X: ");
        drip($clients);
    };

attack "slow bodies", calm => 1, mebibytes => 10 + 50 * $scale,
    expect => { 'refused_requests{reason="body_time"}' => 100 },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, $many, "${post}Content-Length: 1000000\r\n\r\n" . "x" x 60000);
        drip($clients);
    };

attack "slow bodies, little memory", mebibytes => 40,
    settings => { "limits.max_buffered_bytes" => 8 * 2 ** 20 },
    expect => { memory_closes => $many },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, $many, "${post}Content-Length: 1000000\r\n\r\n" . "x" x 60000);
        drip($clients);
    };

attack "slow readers", mebibytes => 150,
    settings => { "limits.max_buffered_bytes" => 64 * 2 ** 20 },
    expect => { memory_closes => 1 },
    attack => sub {
        my ($clients, $port) = @_;
        my $more = @$clients + 2 * $scale;
        keep($clients, $port, $more < 20 * $scale ? $more : 20 * $scale, $large, 1);
    };

attack "slow readers, stuck", mebibytes => 150,
    expect => { write_timeouts => 10 },
    attack => sub { keep(@_, 10, $large, 1) };

attack "idle connections", mebibytes => 10 + 6 * $scale,
    settings => { "limits.max_connections" => $many / 2 },
    expect => { idle_evictions => $many },
    attack => sub { keep(@_, $many) };

attack "more than descriptors", few => 1, mebibytes => 20,
    expect => { idle_evictions => 100 },
    attack => sub { keep(@_, 300) };

attack "pipelined requests", mebibytes => 40,
    expect => { write_timeouts => 10 },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, 20, undef, 1);
        push_on($_, "$get\r\n" x 10000) for @$clients;
    };

attack "headers of 1 MB", mebibytes => 20,
    expect => { 'refused_requests{reason="head_size"}' => 100 },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, 20);
        push_on($_, "${get}X: " . "x" x 1e6) for @$clients;
    };

attack "100,000 headers", mebibytes => 20,
    expect => { 'refused_requests{reason="head_size"}' => 100 },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, 20);
        push_on($_, $get . "a:\r\n" x 1e5) for @$clients;
    };

attack "chunks of one byte", mebibytes => 60,
    settings => { "limits.max_body_bytes" => 1e5 },
    expect => { 'refused_requests{reason="body_size"}' => 1 },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, 10, "${post}Transfer-Encoding: chunked\r\n\r\n");
        push_on($_, "1\r\nx\r\n" x 20000) for @$clients;
    };

attack "connections cut at once", mebibytes => 20,
    expect => { connections => 1000 },
    attack => sub {
        my ($clients, $port) = @_;
        for my $i (1 .. 50) {
            my $socket = dial($port) or next;
            syswrite $socket, $i % 2 ? $get : "$get\r\n";
            setsockopt $socket, SOL_SOCKET, SO_LINGER, pack "ii", 1, 0;
            close $socket;
        }
    };

attack "connections closed halfway", mebibytes => 20,
    expect => { connections => $many },
    attack => sub {
        my ($clients, $port) = @_;
        keep($clients, $port, $many, $get);
        shutdown $_->{socket}, SHUT_WR for @$clients;
    };

done_testing;
