#!/usr/bin/perl
# trade.t - players of examples/game_server trade at random while their server and Postgres
# are killed at random moments: after each restart the sum of items is right and each player
# has what the trades say, every trade that was answered is there, once, as answered, and no
# state was stored over a newer one.
# TRADES says how many (300; the long form is 10000), TRADE_SEED which, and which moments.
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin qw($Bin);
use lib $Bin;
use Cli;
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);

my $TRADES = $ENV{TRADES} || 300;
my $SEED = $ENV{TRADE_SEED} || $$;
my ($PLAYERS, $RATE) = (60, 80);
my $MOST_SECONDS = 60 + $TRADES / 10;
my $example = abs_path("$Bin/../../examples/game_server");
srand $SEED;
diag "TRADE_SEED=$SEED";

my $AUDIT = <<'LUA';
local db = require("tidepool").postgres()
assert(db:exec "CREATE TABLE older (player int)")
assert(db:exec [[CREATE FUNCTION note_older() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.version <= OLD.version OR (NEW.value->>'n')::bigint < (OLD.value->>'n')::bigint THEN
    INSERT INTO older VALUES (NEW.player);
  END IF;
  RETURN NEW;
END $$]])
assert(db:exec [[CREATE TRIGGER no_older BEFORE UPDATE ON states
  FOR EACH ROW EXECUTE FUNCTION note_older()]])
LUA

my $CHECK = <<'LUA';
local tide = require "tidepool"
local db = tide.postgres()
local trades = {}
for _, row in ipairs(assert(db:query "SELECT id::text, outcome FROM trades")) do
  trades[row.id] = row.outcome
end
local sums = assert(db:one [[SELECT count(DISTINCT player)::int AS players,
  (count(*) FILTER (WHERE count < 0))::int AS negative,
  (sum(count) FILTER (WHERE item = 0))::int AS a,
  (sum(count) FILTER (WHERE item = 1))::int AS b,
  (sum(count) FILTER (WHERE item = 2))::int AS c FROM inventory]])
sums.wrong = assert(db:one [[
  WITH changes (player, item, change) AS (
    SELECT giver, give, -count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT taker, give, count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT taker, take, -count FROM trades WHERE outcome = 'done' UNION ALL
    SELECT giver, take, count FROM trades WHERE outcome = 'done'),
  due AS (SELECT player, item, sum(change) AS change FROM changes GROUP BY 1, 2)
  SELECT count(*)::int AS n FROM inventory LEFT JOIN due USING (player, item)
    WHERE count <> 10 + coalesce(change, 0)]]).n
sums.older = assert(db:one "SELECT count(*)::int AS n FROM older").n
sums.states = assert(db:one "SELECT count(*)::int AS n FROM states").n
print(tide.encode { sums = sums, trades = trades })
LUA

my $dir = directory();
my $log = `make -s -C $example OUT=$dir TREE=@{[abs_path($ENV{BUILD} || "build")]} 2>&1`;
$? == 0 or BAIL_OUT("the example is not built: $log");
put("$dir/check.lua", $CHECK);
put("$dir/game.lua", slurp("$example/game.lua"));
my $servers = servers($dir, "$example/schema.sql");
my %env = %{ $servers->{env} };
$env{DATABASE_URL} or BAIL_OUT("no Postgres: " . slurp($servers->{err}));

sub program
{
    my ($name, @words) = @_;
    local $Cli::tidepool = "$dir/$name";
    return start($dir, \@words, %env);
}

my $port = 0;

sub game
{
    my $process = program("game_server", "--port", $port, "--final", "$dir/final");
    eventually { ($port) = slurp($process->{out}) =~ /^listening on (\d+)/m } 90
        or BAIL_OUT("no server: " . slurp($process->{err}));
    return $process;
}

# What the players were told so far.
sub answers { return slurp("$dir/answers") =~ /^(\d+) (\w+)\n/mg }

# Both are asked before the servers: what comes meanwhile is in the tables alone.
sub check
{
    my ($when) = @_;
    my %told = answers();
    my ($status, $out, $err) = run($dir, ["run", "check.lua"], %env);
    is $status, 0, "$when: the tables can be read" or diag($err), return;
    my $found = decode_json($out);
    my %sums = %{ $found->{sums} };
    my $sum = 10 * $sums{players};
    is_deeply \%sums, { players => $PLAYERS, states => $sums{states}, negative => 0,
        a => $sum, b => $sum, c => $sum, wrong => 0, older => 0 },
        "the sums are right, who has what, and no state went back";
    my @wrong = grep { ($found->{trades}{$_} || "") ne $told{$_} } keys %told;
    is_deeply \@wrong, [], keys(%told) . " answered trades are there as they were answered";
    return $found;
}

put("$dir/audit.lua", $AUDIT);
my ($status, undef, $said) = run($dir, ["run", "audit.lua"], %env);
is $status, 0, "states are watched" or BAIL_OUT($said);
my $server = game();
my $players = program("game_players", "--port", $port, "--players", $PLAYERS, "--moves", 1,
    "--trades", $RATE, "--count", $TRADES, "--seed", $SEED, "--again", 500,
    "--answers", "$dir/answers");
eventually { slurp($players->{out}) =~ /^all are online/m }
    or BAIL_OUT("the players: " . slurp($players->{err}));

my %kills = (server => 0, postgres => 0);
my $end = time + $MOST_SECONDS * $slowness;
for (my $round = 0; !defined ended($players) && time < $end; $round++) {
    my $before = () = answers();
    my $more = 10 + rand 50; # trades until the next kill
    eventually { defined ended($players) || (() = answers()) > $before + 2 * $more };
    last if defined ended($players);
    sleep rand 0.1;
    if ($round % 3 != 1) { # 0: both, 1: Postgres, 2: the server
        stop($server, "KILL");
        $kills{server}++;
    }
    if ($round % 3 != 2) {
        crash_postgres($servers, rand 0.3);
        $kills{postgres}++;
    }
    $server = game() if $round % 3 != 1;
    ok eventually(sub { !is_crashed($servers) }, 60), "Postgres is there"
        or diag slurp($servers->{err});
    check("round $round");
}

eventually { defined ended($players) } 60;
is ended($players), 0, "the players end with an answer to each trade";
note slurp($players->{out});
cmp_ok $kills{server}, ">", 0, "the server was killed $kills{server} times";
cmp_ok $kills{postgres}, ">", 0, "Postgres $kills{postgres} times";
my $found = check("at the end") or BAIL_OUT("no tables");
my %told = answers();
is keys %told, $TRADES, "all trades were answered";
is keys %{ $found->{trades} }, $TRADES, "and no other is there";

# The next version of the script waits, while it loads, for a table.
put("$dir/next.lua", <<'LUA' . slurp("$dir/game.lua"));
local tide = require "tidepool"
tide.log("warn", "it waits")
local SQL = "SELECT to_regclass('go_on') IS NOT NULL AS is_there"
while not assert(tide.postgres():one(SQL)).is_there do
  tide.sleep(0.01)
end
LUA
rename "$dir/next.lua", "$dir/game.lua" or die "rename: $!";
ok eventually { slurp($server->{err}) =~ /it waits/ }, "the next version loads";
my $figures = () = slurp($server->{out}) =~ /^figures /mg;
kill "USR1", $server->{pid};
ok eventually(sub { $figures < (() = slurp($server->{out}) =~ /^figures /mg) }, 10),
    "and it ticks";
unlike slurp($server->{out}), qr/^reloaded$/m, "meanwhile";
put("$dir/go_on.lua", 'assert(require("tidepool").postgres():exec "CREATE TABLE go_on ()")');
is +(run($dir, ["run", "go_on.lua"], %env))[0], 0, "there it is";
ok eventually { slurp($server->{out}) =~ /^reloaded$/m }, "it is taken up";

is stop($server, "TERM"), 0, "the server ends in order" or diag slurp($server->{err});
$found = check("after its end") or BAIL_OUT("no tables");
my $online = () = slurp("$dir/final") =~ /\n/g; # some may not have come back by then
cmp_ok $online, ">", 0, "$online players were online";
cmp_ok $found->{sums}{states}, ">=", $online, "their states were stored";
stop($servers, "TERM");
done_testing;
