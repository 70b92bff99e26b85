#!/usr/bin/perl
# game_server.t - examples/game_server, built with pkg-config alone against an installed
# library: a short form of its scenario, in which the database is slow, gone and back while
# the script is reloaded again and again.
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

my $build = $ENV{BUILD} || "build";
my $dir = directory();
my $example = abs_path("$Bin/../../examples/game_server");
my ($PLAYERS, $GONE) = (200, 2);

my $log = `make -s install BUILD=$build PREFIX=$dir/usr 2>&1`;
is $? >> 8, 0, "make install" or BAIL_OUT($log);
$log = `PKG_CONFIG_PATH=$dir/usr/lib/pkgconfig make -s -C $example OUT=$dir 2>&1`;
is $? >> 8, 0, "the example is built against it" or BAIL_OUT($log);
like `readelf -d $dir/game_server`, qr/RUNPATH.*\Q$dir\E\/usr\/lib\b/,
    "and runs with it";

local $Cli::tidepool = "$dir/usr/bin/tidepool";
my $process = start($dir, ["run", "--trusted", "$example/scenario.lua", "--",
    "--programs", $dir, "--players", $PLAYERS, "--trades", 60, "--seconds", 1.5,
    "--gone", $GONE]);
eventually { defined ended($process) } 120;
is ended($process), 0, "the scenario" or diag slurp($process->{err});
my $said = slurp($process->{out});
note $said;

my @right = $said =~ / s  ok      (.*)/g;
is @right, 8, "all its checks are right";
like $said, qr/ done \d+ .* unanswered 0 /, "each trade was answered";
like $said, qr/the last state of each of $PLAYERS players is stored/, "of all players";

my @columns = qw(ticks missed moves done refused failed busy loss reloads);
for my $name (qw(healthy slow gone back)) {
    my ($ticks, $rest) = $said =~ /^$name +(\d+) .*\|((?: +\d+){8})$/m;
    ok $rest, "figures while it is $name" or next;
    my %figures;
    @figures{@columns} = ($ticks, split " ", $rest);
    cmp_ok $figures{ticks}, ">", 0, "it ticked";
    cmp_ok $figures{moves}, ">", 0, "players moved";
    is $figures{reloads}, 1, "the script was loaded anew";
    cmp_ok $figures{failed}, ">", 0, "trades failed" if $name eq "gone";
    cmp_ok $figures{done}, ">", 0, "trades were done" if $name eq "healthy";
}
done_testing;
