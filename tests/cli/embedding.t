#!/usr/bin/perl
# embedding.t - the installed library from outside: what is built against it by
# pkg-config, the examples for hosts in C, C++ and Python, and the gateway through the
# loss of its servers.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;

my $build = $ENV{BUILD} || "build";
my $cc = $ENV{CC} || "cc";
my $cxx = $ENV{CXX} || "c++";
my $examples = "$Bin/../../examples";
my $dir = directory();
my $prefix = "$dir/prefix";
my $rpath = "-Wl,-rpath,$prefix/lib";
my $strict = "-O0 -Wall -Wextra -Werror -pedantic";

# Private servers that can be killed, and a table that can be locked.
put("$dir/servers.lua", <<'LUA');
local servers = require "tidepool.servers"
local tide = require "tidepool"
local own = {
  postgres = assert(servers.postgres { directory = arg[1] .. "/p", schema = arg[2] }),
  redis = assert(servers.redis { directory = arg[1] .. "/r" }),
}
local LOCK = "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)"
local app = tide.app()
app:get("/urls", function() return own.postgres.url .. "\n" .. own.redis.url .. "\n" end)
app:post("/psql", function(req) return assert(own.postgres:psql(req.body)) end)
app:get("/keys", function() return assert(own.redis:cli("KEYS", "*")) end)
app:post("/lock", function()
  tide.spawn(function() own.postgres:psql(LOCK) end)
  return "it will be locked\n"
end)
app:post("/kill/:name", function(req)
  own[req.params.name]:kill()
  return "killed\n"
end)
app:post("/start/:name", function(req)
  assert(own[req.params.name]:restart())
  return "started\n"
end)
return app
LUA

sub shell
{
    my ($command, $what) = @_;
    my $log = `$command 2>&1`;
    is $? >> 8, 0, $what or diag $log;
    return $log;
}

# ---- building with what is installed

my $log = `make -s install BUILD=$build PREFIX=$prefix 2>&1`;
$? == 0 or BAIL_OUT("make install: $log");
$ENV{PKG_CONFIG_PATH} = "$prefix/lib/pkgconfig";
chomp(my $flags = `pkg-config --cflags tidepool`);
chomp(my $libs = `pkg-config --libs tidepool`);
chomp(my $luajit = `pkg-config --cflags --libs luajit`);

subtest "programs against the installed header and library" => sub {
    my $embed = "$Bin/../embed";
    my $c = "$cc -std=c11 -D_GNU_SOURCE $strict -pthread $flags -I$embed";
    my @helpers = grep { !m{/test_} } glob "$embed/*.c";
    shell("cd $dir && $c -c @helpers && ar qc embed.a *.o", "hosts in C compile");
    for my $source (sort glob "$embed/test_*.c") {
        my ($name) = $source =~ m{(\w+)\.c$};
        my $own = $name eq "test_lua_state" ? $luajit : ""; # a host with a state of its own
        shell("$c -o $dir/$name $source $dir/embed.a $libs $own -lcmocka -luv $rpath",
            "$name compiles and is linked");
    }
    shell("ldd $dir/test_life | grep -F $prefix/lib/libtidepool.so.0", "with ours");
    shell("$dir/test_life", "and runs");
    chomp(my $static = `pkg-config --static --libs tidepool`);
    $static =~ s/-ltidepool\b/-l:libtidepool.a/;
    shell("$c -o $dir/static $embed/test_life.c $dir/embed.a $static -lcmocka -luv",
        "it is linked with the archive");
    shell("$dir/static", "and runs");
};

shell("make -C $examples/edge_gateway BUILD=$dir CFLAGS=-O0 LDFLAGS=$rpath",
    "the gateway is built");
shell("$cxx -std=c++17 $strict $flags -o $dir/shop $examples/cpp/shop.cpp $libs $rpath",
    "the C++ example is built");

# ---- on real servers

my $servers = serve($dir, ["run", "--trusted", "servers.lua", "--listen", "127.0.0.1:0",
    "--", directory(), "$examples/edge_gateway/schema.sql"]);
$servers->{url} or BAIL_OUT("no servers: " . slurp($servers->{err}));
sub control { return (request($servers, $_[0], $_[1], $_[2]))[1] }
sub psql { return control("POST", "/psql", $_[0]) }
@ENV{qw(DATABASE_URL REDIS_URL)} = split /\n/, control("GET", "/urls");

subtest "C++" => sub {
    is shell("$dir/shop $examples/cpp", "runs"), <<'OUT', "what it says";
server: new row for relation "shop_stock" violates check constraint "shop_stock_count_check"
10 sold, 5 refused
10 in all, 0 left
badarg: the script has no handler "no such handler"; there are "sales", "sell"
OUT
    is psql("SELECT count FROM shop_stock"), "0\n", "and did";
    my $nowhere = `REDIS_URL=x $dir/shop $examples/cpp 2>&1`;
    is $? >> 8, 1, "a failure is an exception";
    like $nowhere, qr/^shop: .*redis/i, "which says what";
};

subtest "Python" => sub {
    local $ENV{TIDEPOOL_LIBRARY} = "$prefix/lib/libtidepool.so.0";
    local $ENV{PYTHONDONTWRITEBYTECODE} = 1;
    is shell("python3 -W error $examples/python_ctypes/scores.py", "runs"),
        <<'OUT', "what it says";
p9 550
p8 540
p7 530
100 rows, 5050 points
server: new row for relation "scores" violates check constraint "scores_points_check"
timeout
cancelled
OUT
    is psql("SELECT sum(points) FROM scores"), "5050\n", "and did";
};

# ---- the gateway, with what it keeps for long kept for a short time

my $script = slurp("$examples/edge_gateway/gateway.lua");
my $count = $script =~ s/^(local \w+_SECONDS, \w+_STALE_SECONDS) = \d+/$1 = 0.3/mg;
$count == 2 or BAIL_OUT("gateway.lua has other constants");
put("$dir/gateway.lua", $script);

# With more time than an edge has, for a machine that is busy.
my @patience = map { ("database.pool.$_=3s", "redis.pool.$_=3s") }
    qw(connect_timeout acquire_timeout);
my $gateway;

# Starts one, which is the one that is asked from then on.
sub gateway
{
    local $Cli::tidepool = "$dir/edge-gateway";
    $gateway = serve($dir, ["gateway.lua", "127.0.0.1:0", @patience, @_],
        map { $_ => $ENV{$_} } qw(DATABASE_URL REDIS_URL));
    $gateway->{url} or BAIL_OUT("no gateway: " . slurp($gateway->{err}));
    ok eventually { (ask("/items/1", "good-token"))[0] == 200 },
        "a gateway has its servers";
}

$SIG{PIPE} = "IGNORE"; # of requests that are refused before they are sent
my $http = HTTP::Tiny->new(timeout => 20 * $slowness);

# Status, what is said, headers.
sub ask_once
{
    my ($path, $token) = @_;
    my %headers = $token ? (authorization => "Bearer $token") : ();
    my $reply = $http->get($gateway->{url} . $path, { headers => \%headers });
    my $value = eval { decode_json($reply->{content}) };
    return ($reply->{status}, $value, $reply->{headers});
}

# The same of who comes again when it was too often.
sub ask
{
    my @question = @_;
    my @answer;
    eventually { @answer = ask_once(@question); $answer[0] != 429 };
    return @answer;
}

sub health { return (ask("/health"))[1] }

sub is_limited
{
    for (1 .. 400) {
        my ($status, undef, $headers) = ask_once("/items/1", "busy-token");
        return $headers->{"retry-after"} if $status == 429;
    }
    return 0;
}

sub is_unavailable
{
    my ($reason, $what, @question) = @_;
    my ($status, $value, $headers) = ask(@question);
    is $status, 503, $what;
    like $value->{reason}, $reason, "and why";
    like $headers->{"retry-after"}, qr/^[1-9]$/, "and when to come again";
}

gateway("database.pool.statement_timeout=1s", "redis.pool.statement_timeout=1s");

subtest "tokens" => sub {
    is ((ask("/items/1"))[0], 401, "none");
    my ($status, $value, $headers) = ask("/items/1", "wrong");
    is $status, 401, "a wrong one";
    is $headers->{"www-authenticate"}, "Bearer", "what is expected";
    my $loads = health()->{tokens}{loads};
    is ((ask("/items/1", "wrong"))[0], 401, "again");
    is health()->{tokens}{loads}, $loads, "from the cache";
    ($status, $value) = ask("/items/1", "good-token");
    is $status, 200, "a good one";
    is_deeply $value, { id => 1, name => "lamp", price => 1990 }, "the item";
    my $keys = control("GET", "/keys");
    like $keys, qr/memo:\{token\}:value:[0-9a-f]{64}$/m, "Redis has digests";
    unlike $keys, qr/wrong|good-token/, "and no token";
    is ((ask("/items/99", "good-token"))[0], 404, "an item that is not there");
};

subtest "a limit for each client" => sub {
    like is_limited(), qr/^[1-9]$/, "too many: when to come again";
    is ((ask_once("/items/1", "good-token"))[0], 200, "others go on");
    ok eventually { (ask_once("/items/1", "busy-token"))[0] == 200 }, "then it may again";
};

# Bytes as they are, on a connection of its own.
sub dial
{
    my ($to, $bytes) = @_;
    my ($port) = $to->{url} =~ /:(\d+)$/;
    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port,
        Timeout => 20) or die "connect: $!";
    print $socket $bytes;
    $socket->flush;
    return $socket;
}

# All that comes until its end, which is then ours, too.
sub rest
{
    my ($socket) = @_;
    local $/;
    local $SIG{ALRM} = sub { die "it was not closed\n" };
    alarm 30 * $slowness;
    my $text = <$socket>;
    alarm 0;
    close $socket;
    return $text;
}

my $GET = "GET /items/%d HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good-token\r\n";

subtest "HTTP" => sub {
    my $two = sprintf("$GET\r\n${GET}connection: close\r\n\r\n", 1, 2);
    like rest(dial($gateway, $two)), qr/200 OK.*keep-alive.*lamp.*200 OK.*close.*chair/s,
        "requests that do not wait for one another's answer";
    my $head = rest(dial($gateway, "HEAD /items/1 HTTP/1.0\r\n"
        . "authorization: bearer good-token\r\n\r\n"));
    like $head, qr/200 OK.*content-length: [1-9].*\r\n\r\n$/s, "HEAD: no body";
    my @cases = (["nonsense\r\n\r\n", 400], ["GET /" . "x" x 3000 . " HTTP/1.1\r\n", 414],
        ["GET / HTTP/1.1\r\nauthorization: " . "x" x 600 . "\r\n\r\n", 431],
        ["POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", 405],
        ["POST / HTTP/1.1\r\ncontent-length: 99999\r\n\r\n" . "x" x 99999, 413]);
    for my $case (@cases) {
        my $status = eval { dial($gateway, $case->[0])->getline } || "nothing";
        like $status, qr{^HTTP/1.1 $case->[1] }, "a request that is refused";
    }
};

sub waiting_for_lock
{
    my $sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        . "AND application_name <> 'psql'";
    return psql($sql) + 0;
}

sub lock_items
{
    control("POST", "/lock");
    eventually {
        psql("SELECT count(*) FROM pg_locks WHERE relation = 'items'::regclass "
            . "AND mode = 'AccessExclusiveLock' AND granted") == 1
    };
}

sub unlock_items
{
    psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = "
        . "'items'::regclass AND mode = 'AccessExclusiveLock' AND granted");
}

subtest "Postgres does not answer" => sub {
    ok lock_items(), "locked";
    is ((ask("/items/1", "good-token"))[0], 200, "what is known is told");
    is_unavailable(qr/does not answer/, "what is not", "/items/3", "good-token");
    my $get = "${GET}connection: close\r\n\r\n";
    my @more = map { dial($gateway, sprintf($get, $_)) } 4 .. 7;
    like rest($_), qr/503 .*retry-after: 1\r.*does not answer/s, "nor are others"
        for @more;
    is health()->{items}{breaker}, "open", "then it is not asked";
    is_unavailable(qr/does not answer/, "which is said", "/items/3", "good-token");
    unlock_items();
    ok eventually { (ask("/items/3", "good-token"))[0] == 200 }, "until it does";
    is health()->{items}{breaker}, "closed", "closed again";
};

# While Postgres is away.
sub is_told_without_postgres
{
    my ($unknown) = @_;
    my ($value, $headers);
    ok eventually {
        (my $status, $value, $headers) = ask("/items/1", "good-token");
        is $status, 200, "an answer" if $status != 200;
        $headers->{age} >= 2;
    }, "what is known is told, its age too";
    is $value->{name}, "lamp", "as it was";
    is_unavailable(qr/cannot be reached/, "what is not known", @$_) for
        ["/items/$unknown", "good-token"], ["/items/1", "unknown-$unknown"];
}

psql("INSERT INTO items SELECT i, 'more', 1 FROM generate_series(10, 20) AS i");

subtest "Postgres is killed" => sub {
    ok eventually { (ask("/items/1", "good-token"))[0] == 200 }, "before";
    control("POST", "/kill/postgres");
    is_told_without_postgres(10);
    ok eventually { health()->{postgres} eq "away" }, "it is said to be away";
    is health()->{redis}, "there", "and Redis is not";
};

subtest "Postgres is back" => sub {
    control("POST", "/start/postgres");
    psql("UPDATE items SET price = 2190 WHERE id = 1");
    ok eventually {
        my ($status, $value) = ask("/items/1", "good-token");
        $status == 200 && $value->{price} == 2190;
    }, "what is new is told";
    is ((ask("/items/10", "good-token"))[0], 200, "what was not known, too");
    # each statement has a breaker of its own, which rests for a second
    ok eventually { (ask("/items/1", "unknown-10"))[0] == 401 }, "and who is not known";
};

subtest "Redis is killed" => sub {
    control("POST", "/kill/redis");
    ok eventually { health()->{redis} eq "away" }, "it is said to be away";
    is ((ask("/items/11", "good-token"))[0], 200, "Postgres is asked");
    ok eventually { (ask("/items/11", "unknown-11"))[0] == 401 }, "of tokens, too";
    like is_limited(), qr/^[1-9]$/, "the limit is this process's own";
};

subtest "both are away" => sub {
    control("POST", "/kill/postgres");
    is_told_without_postgres(12);
    is health()->{redis}, "away", "it is said";
    control("POST", "/start/$_") for qw(postgres redis);
    ok eventually { (ask("/items/12", "good-token"))[0] == 200 }, "both are back";
    ok eventually { health()->{redis} eq "there" }, "it is said";
};

subtest "another version of the script" => sub {
    (my $next = $script) =~ s/no such path/no such road/ or die;
    $next =~ s{^(  local path = .*\n)}{$1  if path == "/raise" then error "here" end
      if path == "/odd" then return "odd" end\n}m or die;
    put("$dir/gateway.lua", "local tide = require 'tidepool'\n"
        . "tide.log('warn', 'it is slow to load')\ntide.sleep(1)\n$script");
    kill "HUP", $gateway->{pid};
    ok eventually { slurp($gateway->{err}) =~ /it is slow to load/ }, "one loads";
    put("$dir/gateway.lua", $next);
    kill "HUP", $gateway->{pid};
    ok eventually { (ask("/x"))[1]{reason} eq "no such road" },
        "another one, of which it was told meanwhile, is taken up";
    is ((ask($_))[0], 500, "a mistake of its own is told") for "/raise", "/odd";
    like slurp($gateway->{err}), qr/handler failed.*gateway\.lua:\d+: here/,
        "and logged, not shown";
    put("$dir/gateway.lua", "here = is = a mistake");
    kill "HUP", $gateway->{pid};
    ok eventually { slurp($gateway->{err}) =~ /the old script goes on: gateway.lua:1:/ },
        "one with a mistake is not";
    is ((ask("/x"))[1]{reason}, "no such road", "and the old one goes on");
    put("$dir/gateway.lua", $script);
};

is stop($gateway), 0, "TERM ends it";

subtest "TERM while requests are answered" => sub {
    gateway("database.pool.statement_timeout=60s");
    my $slow = $gateway;
    ok lock_items(), "locked";
    my $asks = dial($slow, sprintf("$GET\r\n", 13));
    ok eventually { waiting_for_lock() == 1 }, "one waits";
    my $leaves = dial($slow, sprintf("$GET\r\n", 14));
    ok eventually { waiting_for_lock() == 2 }, "another one, too";
    close $leaves;
    ok eventually { waiting_for_lock() == 1 }, "who leaves has it cancelled";
    my $idle = dial($slow, "");
    ok eventually { (ask("/health"))[0] == 200 }, "it has all of them";
    kill "TERM", $slow->{pid};
    is rest($idle), "", "who asks nothing is let go";
    ok eventually { !eval { dial($slow, "") } }, "nobody else is let in";
    unlock_items();
    like rest($asks), qr/200 OK.*connection: close.*more/s, "who asked has an answer";
    ok eventually { defined ended($slow) }, "then it ends";
    is ended($slow), 0, "well";
};

is stop($servers), 0, "the servers end";
done_testing;
