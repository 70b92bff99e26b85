#!/usr/bin/perl
# writebehind.t - players trade and count in memory while their process and Postgres are
# killed at random moments: no item comes or goes, no row becomes older, and what is
# missing is at most the loss window that was stated.  WRITEBEHIND_ROUNDS says how often
# (6), WRITEBEHIND_SEED which moments.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use JSON::PP qw(decode_json);
use Test::More;
use Time::HiRes qw(sleep time);

my $ROUNDS = $ENV{WRITEBEHIND_ROUNDS} || 6;
my $SEED = $ENV{WRITEBEHIND_SEED} || $$;
my ($PLAYERS, $ITEMS, $COUNTERS) = (40, 10, 4);
srand $SEED;
diag "WRITEBEHIND_SEED=$SEED";

my $APP = <<'LUA';
local tide = require "tidepool"
local notes, log, players, items, counters = ...
local db, app = tide.postgres(), tide.app()
local out = assert(io.open(notes, "a"))
out:setvbuf "no"

local wb = assert(tide.writebehind { db = db, table = "players", flush = 0.05, log = log })
local function persist(fn, ...)
  while true do
    local done, err = fn(...)
    if not err then return done end
    tide.sleep(0.02)
  end
end
persist(wb.create, wb)
persist(db.exec, db, [[CREATE TABLE IF NOT EXISTS older (key text)]])
persist(db.exec, db, [[CREATE OR REPLACE FUNCTION note_older() RETURNS trigger
  LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.version <= OLD.version OR (NEW.value->>'n')::int < (OLD.value->>'n')::int THEN
      INSERT INTO older VALUES (NEW.key);
    END IF;
    RETURN NEW;
  END $$]])
persist(db.exec, db, [[CREATE OR REPLACE TRIGGER no_older BEFORE UPDATE ON players
  FOR EACH ROW EXECUTE FUNCTION note_older()]])
assert(wb:drain(60))
if not persist(wb.get, wb, "p1") then
  local all = {}
  for i = 1, players do all["p" .. i] = { items = items + 0 } end
  assert(wb:put_all(all) and wb:drain(60))
end

local is_busy = {}
local function trade()
  local a, b = "p" .. math.random(players), "p" .. math.random(players)
  if a == b or is_busy[a] or is_busy[b] then return end
  is_busy[a], is_busy[b] = true, true
  local from, to = wb:get(a), wb:get(b)
  if from and to and from.items > 0 then
    local count = math.random(from.items)
    from.items, to.items = from.items - count, to.items + count
    wb:put_all { [a] = from, [b] = to }
  end
  is_busy[a], is_busy[b] = nil, nil
end

math.randomseed(tonumber(tostring(out):match "0x(%x+)", 16) % 2 ^ 31)
for i = 1, counters do
  local key = "c" .. i
  local state = persist(wb.get, wb, key) or { n = 0 }
  out:write(("R %d %d\n"):format(i, state.n))
  tide.spawn(function()
    while true do
      for _ = 1, math.random(4) do trade() end
      state.n = state.n + 1
      if wb:put(key, state) then
        out:write(("P %d %d %.9f\n"):format(i, state.n, tide.now()))
      end
      tide.sleep(math.random() / 200)
    end
  end)
end
tide.every(0.01, function()
  local now = tide.now() -- before the window is measured: no put is older than the two say
  out:write(("W %.9f %.9f\n"):format(wb:stats().loss_window, now))
end)

app:get("/check", function()
  return tide.json(assert(db:one [[SELECT
    (SELECT coalesce(sum((value->>'items')::int), 0) FROM players)::int AS items,
    (SELECT count(*) FROM older)::int AS older]]))
end)
app:get("/stats", function()
  local stats = wb:stats()
  stats.last_error = stats.last_error and tostring(stats.last_error)
  return tide.json(stats)
end)
return app
LUA

my $dir = directory();
mkdir "$dir/log";
put("$dir/app.lua", $APP);
my $servers = servers($dir);
my $database = $servers->{env}{DATABASE_URL}
    or BAIL_OUT("no Postgres: " . slurp($servers->{err}));

sub app
{
    my ($round) = @_;
    my $process = serve($dir, ["run", "app.lua", "--trusted", "--listen", "127.0.0.1:0",
        "--set", "database.pool.acquire_timeout=1s", "--", "$dir/notes.$round",
        "$dir/log/players", $PLAYERS, $ITEMS, $COUNTERS], DATABASE_URL => $database);
    $process->{url} or BAIL_OUT("round $round: " . slurp($process->{err}));
    return $process;
}

# What a process noted: recovered and put numbers by counter, the last stated window.
sub notes
{
    my ($round) = @_;
    my %notes = (recovered => {}, puts => []);
    for (split /\n/, slurp("$dir/notes.$round")) {
        if    (/^R (\d+) (\d+)$/)      { $notes{recovered}{$1} = $2 }
        elsif (/^P (\d+) (\d+) (\S+)$/) { push @{ $notes{puts} }, [$1, $2, $3] }
        elsif (/^W (\S+) (\d+\.\d{9})$/) { @notes{qw(window at)} = ($1, $2) }
    }
    return \%notes;
}

sub check
{
    my ($process, $when) = @_;
    my $answer = eventually {
        my ($status, $body) = request($process, "GET", "/check");
        $status == 200 && decode_json($body);
    } 60;
    is_deeply $answer, { items => $PLAYERS * $ITEMS, older => 0 },
        "$when: all items are there, no row became older";
}

sub is_missing_little
{
    my ($before, $recovered, $round) = @_;
    my $limit = $before->{at} - $before->{window};
    my @missing = grep { $_->[1] > $recovered->{ $_->[0] } } @{ $before->{puts} };
    my @early = grep { $_->[2] < $limit } @missing;
    is scalar @early, 0, "round $round: nothing is missing that the window does not cover";
    note sprintf "%d puts, %d missing, window %.3f s", scalar @{ $before->{puts} },
        scalar @missing, $before->{window};
}

my $away = 0; # rounds in which Postgres was, too
my $process = app(0);
for my $round (1 .. $ROUNDS) {
    sleep 0.2 + rand 0.4;
    if ($round % 2) {
        crash_postgres($servers, rand 0.5);
        sleep rand 0.8;
        $away++;
    } else {
        check($process, "round $round, while they trade");
    }
    stop($process, "KILL");
    my $before = notes($round - 1);
    cmp_ok scalar @{ $before->{puts} }, ">", 10, "round $round: they counted";
    ok defined $before->{window}, "and a window was stated";
    $process = app($round);
    is_missing_little($before, notes($round)->{recovered}, $round);
    check($process, "round $round");
    ok eventually { !is_crashed($servers) }, "Postgres is back"
        or diag slurp($servers->{err});
}
cmp_ok $away, ">", 0, "Postgres was killed, too";

sleep 0.2;
is stop($process, "TERM"), 0, "a process that ends in order";
my $last = notes($ROUNDS);
is_deeply [glob "$dir/log/*"], [], "leaves no log";
$process = app("end");
my $recovered = notes("end")->{recovered};
my @missing = grep { $_->[1] > $recovered->{ $_->[0] } } @{ $last->{puts} };
is scalar @missing, 0, "has lost nothing";
check($process, "at the end");
stop($process, "TERM");
stop($servers, "TERM");
done_testing;
