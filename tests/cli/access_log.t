#!/usr/bin/perl
# access_log.t - one line a request, a share of them, none that breaks its line; and what
# all lines of a request have in common.
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
app:get("/hello/:name", function(req)
  tide.log("info", "greets", { name = req.params.name })
  tide.spawn(function() tide.log("info", "spawned") end)
  return "hello\n"
end)
app:get("/plain", function() return "hello\n" end)
app:get("/slow", function() tide.sleep(0.3) return "slow\n" end)
app:get("/fails", function() error "a mistake of ours" end)
app:get("/stream", function()
  return tide.stream(function(reply)
    reply:write "12345"
    tide.sleep(0)
    tide.log("info", "in a stream")
    reply:write "67890"
  end)
end)
app:get("/cut", function()
  return tide.stream(function(reply)
    reply:write "12345"
    tide.sleep(0)
    error "a mistake in the middle"
  end)
end)
app:get("/wait", function() tide.log("info", "waits") tide.sleep(60) end)
app:post("/body", function(req) return req.body end)
return app
LUA

sub service
{
    my ($set, @more) = @_;
    my $dir = directory();
    put("$dir/app.lua", $APP);
    my $process = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0",
        (map { ("--set", "$_=$set->{$_}") } sort keys %$set), @more]);
    ok $process->{url}, "serves" or diag slurp($process->{err});
    return $process;
}

# Sends bytes as they are; gives all that came back.
sub raw
{
    my ($process, $bytes) = @_;
    my ($address) = $process->{url} =~ m{^http://(.*)$};
    my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 10)
        or die "$address: $!";
    print $socket $bytes;
    local $SIG{ALRM} = sub { die "no end of the reply" };
    alarm 20 * $slowness;
    local $/;
    my $reply = <$socket>;
    alarm 0;
    return $reply;
}

sub get
{
    my ($process, $path, %headers) = @_;
    return raw($process, join("\r\n", "GET $path HTTP/1.1", "Host: t",
        (map { "$_: $headers{$_}" } sort keys %headers), "Connection: close", "", ""));
}

# The lines of the access log as tables, once there are as many as expected.
sub lines_of
{
    my ($process, $count) = @_;
    my @lines;
    eventually {
        @lines = grep { $_->{msg} eq "request" } map { decode_json($_) }
            grep { /^\{/ } split /\n/, slurp($process->{err});
        return @lines >= $count;
    } 10;
    return @lines;
}

my %JSON = ("log.access" => "true", "log.format" => "json");

subtest "a line tells of one request" => sub {
    my $process = service(\%JSON);
    my $reply = get($process, "/hello/moon?token=s3cret", "User-Agent" => "test/1",
        "X-Request-Id" => "id-1",
        traceparent => "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    like $reply, qr/^x-request-id: id-1\r$/m, "its client is told the id";
    my ($line) = lines_of($process, 1);
    like delete $line->{remote}, qr/^127\.0\.0\.1:\d+$/, "remote";
    like delete $line->{ms}, qr/^\d+(\.\d+)?$/, "ms";
    delete $line->{ts};
    is_deeply $line, { level => "info", msg => "request", request => "id-1",
        trace_id => "4bf92f3577b34da6a3ce929d0e0e4736", method => "GET",
        path => "/hello/moon", route => "/hello/:name", status => 200, bytes => 6,
        agent => "test/1" }, "the rest";
    my @mine = grep { /"request":"id-1"/ } split /\n/, slurp($process->{err});
    is scalar(grep { /"msg":"(greets|spawned)"/ } @mine), 2,
        "what it logged, and what it started, has its id";
    is scalar(grep { /"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"/ } @mine), 3,
        "and its trace";
    unlike slurp($process->{err}), qr/s3cret/, "no query";
    ($reply) = get($process, "/plain") =~ /^x-request-id: ([0-9a-f]{32})\r$/m;
    ($line) = grep { $_->{path} eq "/plain" } lines_of($process, 2);
    is $line->{request}, $reply, "an id that was made is told, too";
    is stop($process), 0, "TERM: status";
};

subtest "whatever the end" => sub {
    my $process = service(\%JSON);
    get($process, "/nowhere");
    get($process, "/fails");
    get($process, "/stream");
    get($process, "/cut");
    raw($process, "HEAD /plain HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    raw($process, "POST /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999\r\n\r\n");
    raw($process, "GET /bad\r\n\r\n");
    raw($process, "GET /big HTTP/1.1\r\nHost: t\r\nX-A: " . ("a" x 20000) . "\r\n\r\n");
    my ($address) = $process->{url} =~ m{^http://(.*)$};
    my $socket = IO::Socket::INET->new(PeerAddr => $address);
    print $socket "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n";
    eventually { slurp($process->{err}) =~ /"waits"/ };
    close $socket;
    my @lines = lines_of($process, 9);
    my %by = map { join(" ", map { defined $_ ? $_ : "-" } @{$_}{qw(method path status)}) => $_ }
        @lines;
    is_deeply [sort keys %by], [sort "GET /nowhere 404", "GET /fails 500",
        "GET /stream 200", "GET /cut 200", "HEAD /plain 200", "POST /plain 413",
        "- - 400", "- - 431", "GET /wait 499"], "each has its line";
    is $by{"GET /stream 200"}{bytes}, 10, "bytes of a stream";
    is $by{"HEAD /plain 200"}{bytes}, 0, "bytes of HEAD";
    is $by{"GET /cut 200"}{cut}, "true", "a reply that was cut says so";
    ok !exists $by{"GET /stream 200"}{cut}, "others do not";
    is $by{"- - 400"}{refused}, "true", "nor was this one handled";
    ok !exists $by{"GET /nowhere 404"}{refused}, "but this one";
    my ($logged) = grep { /"msg":"handler failed"/ && /of ours/ }
        split /\n/, slurp($process->{err});
    is decode_json($logged)->{request}, $by{"GET /fails 500"}{request},
        "a failure has the id of its request";
    is stop($process), 0, "TERM: status";
};

subtest "no value breaks its line" => sub {
    for my $format ("logfmt", "json") {
        my $process = service({ %JSON, "log.format" => $format });
        my $evil = "a\" level=error msg=\"forged\t\xff\xe2\x80\xa8";
        get($process, "/plain%0a%1b[31m\xff?x", "User-Agent" => $evil,
            "X-Request-Id" => "a\" forged=\"b");
        eventually { slurp($process->{err}) =~ /request/ };
        my $log = slurp($process->{err});
        is scalar(grep { !/^(ts=|\{)/ } split /\n/, $log), 0, "$format: whole lines";
        unlike $log, qr/[\x00-\x09\x0b-\x1f\x7f]/, "$format: no control characters";
        unlike $log, qr/^ts=\S+ level=error/m, "$format: no level of its own";
        unlike $log, qr/ forged=/, "$format: no field of its own";
        stop($process);
    }
};

sub count_of
{
    my ($process, $pattern) = @_;
    return scalar grep { /msg=request / && /$pattern/ } split /\n/, slurp($process->{err});
}

subtest "a share of them, and all that failed or was slow" => sub {
    my $process = service({ "log.access" => "true", "log.access_sample" => 0,
        "log.access_slow" => "200ms" });
    get($process, $_) for "/plain", "/slow", "/fails", "/plain", "/nowhere";
    is stop($process), 0, "TERM: status";
    is count_of($process, "path=/slow"), 1, "slow";
    is count_of($process, "path=/fails"), 1, "failed";
    is count_of($process, "path="), 2, "no other";

    $process = service({ "log.access" => "true", "log.access_sample" => 0.5 });
    my $ids = join "", map { "GET /plain HTTP/1.1\r\nHost: t\r\nX-Request-Id: n$_\r\n\r\n" }
        1 .. 400;
    my $last = "GET /plain HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    raw($process, $ids . $last) for 1, 2;
    is stop($process), 0, "TERM: status";
    my %seen;
    my $log = slurp($process->{err});
    $seen{$1}++ while $log =~ /request=(n\d+) /g;
    cmp_ok abs(keys(%seen) - 200), "<", 60, "about half of them: " . keys %seen;
    is scalar(grep { $_ != 2 } values %seen), 0, "the same ones each time";

    my ($low, $high) = ("00000000000001", "fffffffffffff1");
    $process = service({ "log.access" => "true", "log.access_sample" => 0.5 });
    get($process, "/plain", traceparent => "00-aaaaaaaaaaaaaaaaaa$_-00f067aa0ba902b7-00")
        for $low, $high;
    is stop($process), 0, "TERM: status";
    is count_of($process, "trace_id=\\S+$high "), 1, "by the last digits of a trace's id";
    is count_of($process, "trace_id="), 1, "not the first ones";
};

subtest "off, as it is by itself" => sub {
    my $process = service({});
    my $reply = get($process, "/plain");
    unlike $reply, qr/x-request-id/i, "no id";
    is stop($process), 0, "TERM: status";
    is count_of($process, ""), 0, "no line";
};

subtest "workers say which one they are" => sub {
    my $process = service({ "log.access" => "true" }, "--workers", "2");
    my @ids = map { get($process, "/plain") =~ /^x-request-id: (\S+)\r$/m } 1 .. 40;
    is stop($process), 0, "TERM: status";
    my %seen;
    $seen{$_}++ for @ids;
    is scalar(keys %seen), 40, "no id twice";
    is count_of($process, "worker=[12] request="), 40, "in each line";
};

subtest "a share that is none is refused" => sub {
    my $dir = directory();
    put("$dir/app.lua", $APP);
    for my $value ("1.5", "-1", "all") {
        my ($status, $out, $err) = run($dir, ["check", "app.lua", "--offline",
            "--set", "log.access_sample=$value"]);
        is $status, 2, "$value: status";
        like $out . $err, qr/log\.access_sample: expected a number from 0 to 1/, "$value: why";
    }
};

done_testing;
