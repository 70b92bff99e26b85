#!/usr/bin/perl
# request.t - one request of a service, with a statement, a command and their connects,
# served again and again with its first, its second, its n-th allocation failing, until
# none fails: each time the service goes on, the pools are whole, and the next request is
# answered.  These are the allocations of our own code.  OOM=all goes on with those of
# libpq, hiredis, libuv and OpenSSL (see hook.c).
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/../cli";
use Cli;
use Cwd qw(abs_path);
use IO::Handle;
use JSON::PP qw(decode_json);
use Test::More;

my $MOST = 3000;
my $BUILD = abs_path($ENV{BUILD} || "build");

my $APP = <<'LUA';
local tide = require "tidepool"
local app, db, cache = tide.app(), tide.postgres(), tide.redis()

app:get("/", function(req)
  local n = tonumber(req.query.n)
  local row, err = db:one({ "SELECT $1::int AS n, $2::text AS text", share = false },
    n, ("x"):rep(3000))
  if err then return tide.fail(err) end
  local shared
  shared, err = db:one("SELECT $1::int AS n", n)
  if err then return tide.fail(err) end
  local done
  done, err = cache:set("k", n)
  if err then return tide.fail(err) end
  local value
  value, err = cache:get "k"
  if err then return tide.fail(err) end
  return tide.json { row = row.n, shared = shared.n, value = tonumber(value) }
end)

app:get("/drain", function()
  db:drain()
  cache:drain()
  return "drained\n"
end)

app:get("/stats", function()
  return tide.json { postgres = db:stats(), redis = cache:stats() }
end)
return app
LUA

my $dir = directory();
put("$dir/app.lua", $APP);
my $servers = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0"]);
$servers->{url} or BAIL_OUT("no servers: " . slurp($servers->{err}));
my %urls = slurp($servers->{out}) =~ /^(DATABASE_URL|REDIS_URL)=(.*)$/mg;

my ($file, $service);

sub control
{
    my ($left) = @_;
    sysseek $file, 0, 0;
    syswrite $file, pack("ll", $left, 0);
}

sub failed
{
    sysseek $file, 0, 0;
    sysread $file, my $bytes, 8;
    return (unpack "ll", $bytes)[1];
}

sub descriptors
{
    opendir my $fds, "/proc/$service->{pid}/fd" or return -1;
    return scalar grep { /^\d/ } readdir $fds;
}

# What is wrong with the pools, when all is quiet; or "".  libpq 15 may lose an answer for
# which it finds no memory: its lane then stays behind, with a group due.
sub wrong
{
    my ($may_lose) = @_;
    my ($status, $body) = request($service, "GET", "/stats");
    return "stats: $status" if $status != 200;
    my $stats = decode_json($body);
    my @states = qw(opening idle leased shared testing hooked resetting cancelling
        closing);
    for my $pool (values %$stats) {
        my $sum = 0;
        $sum += $pool->{$_} for @states;
        return "$pool->{name}: $sum of $pool->{open} in states" if $sum != $pool->{open};
        for my $count (qw(leased waiting queued due resetting cancelling closing)) {
            next if $may_lose && $count eq "due";
            return "$pool->{name}: $pool->{$count} $count" if $pool->{$count};
        }
    }
    return "";
}

# The request is answered as it should be.
sub right
{
    my ($n) = @_;
    my ($status, $body) = request($service, "GET", "/?n=$n");
    return 0 if $status != 200;
    my $reply = decode_json($body);
    return $reply->{row} == $n && $reply->{shared} == $n && $reply->{value} == $n;
}

sub exhaust
{
    my ($what, $binary, %env) = @_;
    my $path = "$dir/control";
    put($path, pack("ll", 0, 0));
    open $file, "+<", $path or die "$path: $!";
    $Cli::tidepool = $binary;
    $service = serve($dir, ["run", "app.lua", "--listen", "127.0.0.1:0", "--policy",
        "fixed", "--set", "database.pool.max_connections=3", "--set",
        "database.pool.statement_timeout=2s", "--set", "server.drain=2s"], %urls,
        OOM_CONTROL => $path, %env);
    $service->{url} or BAIL_OUT("$what: no service: " . slurp($service->{err}));
    right(1) for 1 .. 3;
    request($service, "GET", "/drain");
    my $most = descriptors();
    my ($n, $failures, @bad, %ends) = (0, 0);
    while (!@bad) {
        die "no end" if ++$n > $MOST;
        request($service, "GET", "/drain");
        control($n);
        my ($status) = request($service, "GET", "/?n=$n");
        my $has_failed = failed();
        control(0);
        $ends{$status}++;
        $failures += $has_failed;
        if (defined ended($service)) {
            push @bad, "allocation $n: the service ended with " . ended($service);
            last;
        }
        push @bad, "allocation $n: it is not answered any more"
            unless eventually { right($n) } 10;
        my $wrong = "";
        push @bad, "allocation $n: $wrong"
            unless eventually { ($wrong = wrong(exists $env{LD_PRELOAD})) eq "" } 10;
        last unless $has_failed;
    }
    is "@bad", "", "$what: whatever allocation fails, the service goes on";
    request($service, "GET", "/drain");
    ok eventually(sub { descriptors() <= $most + 1 }), "$what: no descriptor is left";
    diag sprintf "%s: %d allocations failed, replies %s", $what, $failures,
        join ", ", map { "$_: $ends{$_}" } sort keys %ends;
    is stop($service), 0, "$what: it ends as it should, and leaks nothing";
    diag slurp($service->{err}) if slurp($service->{err}) =~ /Sanitizer|PANIC/;
}

exhaust("our own code", "$BUILD/tests/oom/tidepool");
exhaust("libraries too", "$BUILD/tidepool", LD_PRELOAD => "$BUILD/tests/oom/hook.so")
    if ($ENV{OOM} || "") eq "all";
$Cli::tidepool = "$BUILD/tidepool";
stop($servers);
done_testing;
