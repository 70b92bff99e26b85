#!/usr/bin/perl
# overload.t - twice as much as a pool can serve: the policy codel keeps the waits of those
# served short and their number up; without it waits grow as long as it lasts.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use IO::Uncompress::Gunzip qw(gunzip);
use JSON::PP qw(decode_json);
use Test::More;

# 4 connections, 8 ms each on average, which the server spends asleep: 500 a second are
# all, however busy this machine is.
my ($WARM_SECONDS, $SECONDS) = (3, 5); # the policy knows the service by then
my $CAPACITY = 500 / $slowness;

my $dir = directory();
put("$dir/app.lua", <<"LUA");
local tide = require "tidepool"
local app = tide.app()
local db = tide.postgres()
app:get("/work", function()
  local seconds = -math.log(1 - math.random()) * 0.008 * $slowness
  local ok, err = db:with(function(lease)
    return lease:query("SELECT pg_sleep(\$1::float8)", seconds)
  end)
  if not ok then return tide.fail(err) end
  return "done\\n"
end)
return app
LUA

sub load_test
{
    my ($process, $rate, $seconds) = @_;
    run($dir, ["load", "$process->{url}/work", "--rate", $rate, "--duration",
        "${seconds}s", "--connections", 5000, "--out", "load.json"]);
    return decode_json(slurp("$dir/load.json"));
}

# Loads a service so much that has had little to do; gives how many a second were served, the p99 of their time
# in the pool in ms, and how many were refused.
sub figures
{
    my ($policy, $rate) = @_;
    my $process = serve($dir, ["dev", "app.lua", "--listen", "127.0.0.1:0", "--policy",
        $policy, "--record", "run.trace", "--set", "database.pool.max_connections=4"]);
    $process->{url} or BAIL_OUT("no service: " . slurp($process->{err}));
    my $calm = load_test($process, $CAPACITY / 10, $WARM_SECONDS);
    my $status = load_test($process, $rate, $SECONDS)->{status};
    is stop($process), 0, "$policy at $rate/s: status";
    gunzip "$dir/run.trace" => \my $text or die "run.trace";
    my @all = map { ($_->[0] + $_->[1]) / 1000 }
        map { [split] } $text =~ /^\d+ 0 lease served (\d+ \d+) /mg;
    splice @all, 0, $calm->{status}{"2xx"};
    my @took = sort { $a <=> $b } @all;
    return ($status->{"2xx"} / $SECONDS, $took[$#took * 0.99], $status->{"5xx"});
}

my (undef, $calm) = figures("fixed", $CAPACITY / 10);
my ($served, $p99, $refused) = figures("codel", 2 * $CAPACITY);
my (undef, $p99_without, $none) = figures("fixed", 2 * $CAPACITY);
diag sprintf "p99 %.0f ms with little to do; overloaded: codel serves %.0f/s, p99 %.0f ms; "
    . "without p99 %.0f ms", $calm, $served, $p99, $p99_without;

cmp_ok $served, ">", 0.8 * $CAPACITY, "codel: as much is served as can be";
cmp_ok $refused, ">", 0, "codel: the others are refused";
cmp_ok $p99, "<", 5 * $calm, "codel: those served take not much longer";
is $none, 0, "fixed: nobody is refused";
cmp_ok $p99_without, ">", 5 * $p99, "fixed: waits grow";

done_testing;
