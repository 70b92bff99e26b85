#!/usr/bin/perl
# confine.t - `tidepool run --confine`: what a script that has all of Lua can still not
# do, and what goes on as before, in one process and with workers.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use Test::More;

# What scripts, trusted ones, try: each gives what came of it as a text.
my $APP = <<'LUA';
local tide = require "tidepool"
local core = require "tidepool.core"
local ffi = require "ffi"
local kept = ...
pcall(ffi.cdef, [[
  int socket(int domain, int type, int protocol);
  int connect(int fd, const void *address, unsigned length);
  int bind(int fd, const void *address, unsigned length);
  int listen(int fd, int backlog);
  int close(int fd);
  int fork(void);
  int execv(const char *path, char *const *words);
  long ptrace(int request, ...);
  struct in4 { uint16_t family; uint16_t port; uint32_t ip; char zero[8]; };
]]) -- a script that is loaded anew finds it there
local C = ffi.C
local INET, STREAM, DGRAM, PACKET, LOOPBACK = 2, 1, 2, 17, 0x0100007f

local function told(result)
  return result >= 0 and "done" or "errno " .. ffi.errno()
end

local function address(port)
  local swapped = bit.bor(bit.lshift(port % 256, 8), bit.rshift(port, 8))
  return ffi.new("struct in4", { INET, swapped, LOOPBACK })
end

local function with_socket(kind, fn)
  local fd = C.socket(INET, kind, 0)
  if fd < 0 then return told(fd) end
  local result = told(fn(fd))
  C.close(fd)
  return result
end

local function open(path, mode)
  local file, why = io.open(path, mode)
  if file then file:close() end
  return file and "done" or why:match "[^:]*$":sub(2)
end

local TRY = {
  system = function() return tostring(os.execute "true") end,
  popen = function() return tostring((io.popen "true")) end,
  execv = function()
    return told(C.execv("/bin/true", ffi.new("char *[2]")))
  end,
  fork = function() return told(C.fork()) end,
  child = function()
    local child, err = core.process { args = { "true" } }
    return child and "done" or tostring(err)
  end,
  ptrace = function() return told(tonumber(C.ptrace(0, 0, 0, 0))) end,
  read = function(path) return open(path, "r") end,
  write = function(path) return open(path, "w") end,
  packet = function() return told(C.socket(PACKET, STREAM, 0)) end,
  connect = function(port)
    return with_socket(STREAM, function(fd) return C.connect(fd, address(port), 16) end)
  end,
  bind = function()
    return with_socket(STREAM, function(fd) return C.bind(fd, address(0), 16) end)
  end,
  listen = function()
    return with_socket(STREAM, function(fd) return C.listen(fd, 5) end)
  end,
  bind_udp = function()
    return with_socket(DGRAM, function(fd) return C.bind(fd, address(0), 16) end)
  end,
}

local app = tide.app()
app:post("/try/:what", function(req)
  return tostring(TRY[req.params.what](tonumber(req.body) or req.body)) .. "\n"
end)
app:get("/version", function() return "VERSION of " .. tide.worker() .. "\n" end)
app:get("/rows", function() return tide.json(tide.postgres():one "SELECT 7 AS n") end)
app:get("/lease", function()
  return tide.json(tide.postgres():with(function(lease)
    return lease:one "SELECT pg_sleep(0.2), 8 AS n"
  end))
end)
app:get("/cache", function() return tide.json((tide.redis():call("PING"))) end)
app:get("/cores", function() return core.cores() .. "\n" end)
app:get("/dump", function()
  local ok, err = core.dump_file(tide.postgres(), kept .. "/asked.trace")
  return tostring(ok or err) .. "\n"
end)
return app
LUA

my $none = do {
    my $dir = directory();
    put("$dir/job.lua", "print 'confined'\n");
    my ($status, $out, $err) = run($dir, ["run", "job.lua", "--confine"]);
    $err =~ /(the kernel has no [^"\n]*)/ ? $1 : undef;
};
plan skip_all => $none if $none;

my $servers = directory();
put("$servers/app.lua", "return require('tidepool').app()\n");
my $dev = serve($servers, ["dev", "app.lua", "--listen", "127.0.0.1:0"]);
$dev->{url} or BAIL_OUT("no servers: " . slurp($dev->{err}));
my %urls = map { slurp($dev->{out}) =~ /^(${_}_URL)=(.*)$/m } "DATABASE", "REDIS";

my $other = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die $!;
my $configured = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die $!;

sub try_it
{
    my ($process, $what, $argument) = @_;
    my (undef, $body) = request($process, "POST", "/try/$what", $argument // "");
    chomp $body;
    return $body;
}

sub instance
{
    my ($home, @more) = @_;
    (my $text = $APP) =~ s/VERSION/one/;
    put("$home/app.lua", $text);
    my $process = serve($home, ["run", "app.lua", "--trusted", "--listen", "127.0.0.1:0",
        "--admin", "127.0.0.1:0", "--record", "$home/kept/pools.trace.gz", "--set",
        "redis.other.url=redis://localhost:" . $configured->sockport, "--set",
        "redis.other.required=false", "--set", "redis.other.pool.min_connections=1", @more,
        "--", "$home/kept"], %urls, TMPDIR => "$home/kept");
    $process->{url} or BAIL_OUT("no instance: " . slurp($process->{err}));
    eventually {
        ($process->{admin}) = slurp($process->{out}) =~ m{^admin listening on (\S+)$}m
    };
    return $process;
}

# A home whose folder kept/ may be written to.
sub home
{
    my $home = directory();
    mkdir "$home/kept" or die $!;
    return $home;
}

my @REFUSED = (
    [system   => undef, qr/^(-1|256|32512|nil)$/],
    [popen    => undef, qr/^nil$/],
    [execv    => undef, qr/^errno 1$/],
    [fork     => undef, qr/^errno 1$/],
    [child    => undef, qr/operation not permitted/i],
    [ptrace   => undef, qr/^errno 1$/],
    [read     => "/etc/passwd", qr/^Permission denied$/],
    [read     => "/root/.profile", qr/^Permission denied$/],
    [write    => "/usr/tidepool-was-here", qr/^Permission denied$/],
    [packet   => undef, qr/^errno 1$/],
    [bind     => undef, qr/^errno 1$/],
    [bind_udp => undef, qr/^errno 1$/],
    [listen   => undef, qr/^errno 1$/],
);

sub is_refused
{
    my ($process, $home) = @_;
    for my $row (@REFUSED, [write => "$home/app.lua", qr/^Permission denied$/]) {
        my ($what, $argument, $expected) = @$row;
        like try_it($process, $what, $argument), $expected,
            "$what " . ($argument // "");
    }
    my $log = slurp($process->{err});
    SKIP: {
        $log =~ /connect="TCP to the ports [^"]*\b53\b/
            or skip("ports are not limited by this kernel", 1);
        is try_it($process, "connect", $other->sockport), "errno 13", "connect elsewhere";
    }
}

# Its pool tries again and again, for nobody answers there.
sub is_connected_to
{
    my ($socket) = @_;
    $socket->timeout(20 * $slowness);
    my $client = $socket->accept;
    return defined $client;
}

sub goes_on
{
    my ($process, $home) = @_;
    is((request($process, "GET", "/rows"))[1], '{"n":7}', "a statement");
    like((request($process, "GET", "/lease"))[1], qr/"n":8/, "a lease");
    is((request($process, "GET", "/cache"))[1], '"PONG"', "Redis");
    ok is_connected_to($configured), "a configured server, by its name";
    is((request($process, "GET", "/dump"))[1], "true\n", "a dump");
    ok -s "$home/kept/asked.trace", "that has something";
    is try_it($process, "read", "$home/app.lua"), "done", "the app's own files";
    is try_it($process, "read", "/usr/share/zoneinfo/UTC"), -e "/usr/share/zoneinfo/UTC"
        ? "done" : "No such file or directory", "the system's";
    is((request({ url => $process->{admin} }, "GET", "/health"))[0], 200, "health");
    like((request({ url => $process->{admin} }, "GET", "/metrics"))[1], qr/^tidepool_/m,
        "metrics");
}

sub reloads
{
    my ($process, $home, $times) = @_;
    (my $text = $APP) =~ s/VERSION/two/;
    put("$home/app.lua", $text);
    is((request({ url => $process->{admin} }, "POST", "/reload"))[0], 200, "reload");
    ok eventually { (() = slurp($process->{err}) =~ /msg=reloaded/g) == $times }, "by all";
    like((request($process, "GET", "/version"))[1], qr/^two /, "the new script");
}

subtest "one process" => sub {
    my $home = home();
    my $process = instance($home, "--confine");
    like slurp($process->{err}), qr/msg=confined.* programs=none/, "what holds is logged";
    is_refused($process, $home);
    goes_on($process, $home);
    reloads($process, $home, 1);
    is stop($process), 0, "it ends";
    ok -s "$home/kept/pools.trace.gz", "the recording";
};

subtest "workers" => sub {
    my $home = home();
    my $process = instance($home, "--confine", "--workers", 2, "--set",
        "database.pool.max_connections=3");
    is_refused($process, $home);
    goes_on($process, $home);
    reloads($process, $home, 2);
    my $health = sub {
        decode_json((request({ url => $process->{admin} }, "GET", "/health"))[1])
    };
    my ($first) = map { $_->{pid} } @{ $health->()->{workers} };
    kill "KILL", $first;
    ok eventually {
        my @pids = map { $_->{pid} // 0 } @{ $health->()->{workers} };
        @pids == 2 && !grep { !$_ || $_ == $first } @pids
    }, "a killed worker is replaced, its socket served meanwhile";
    is((request($process, "GET", "/rows"))[1], '{"n":7}', "and served") for 1 .. 4;
    kill "USR2", $process->{pid};
    ok eventually { defined ended($process) }, "another master takes over";
    is((request($process, "GET", "/rows"))[1], '{"n":7}', "and serves");
    my $pid = decode_json(
        (request({ url => $process->{admin} }, "GET", "/health/pools"))[1])->{pid};
    is try_it($process, "fork"), "errno 1", "its workers are confined";
    kill "TERM", $pid;
    ok eventually { !is_alive($pid) }, "it ends";
};

subtest "certificates in a folder of their own, read again" => sub {
    my ($home, $made) = (directory(), directory());
    system("sh", "$Bin/../certificates.sh", $made) == 0 or die "no certificates";
    mkdir "$made/live" or die $!;
    symlink "../good.$_", "$made/live/shown.$_" or die $! for qw(pem key);
    put("$home/app.lua", "return require('tidepool').app()\n");
    put("$home/tidepool.toml", <<"TOML");
[server]
confine = true
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[server.tls]
certificate = "$made/live/shown.pem"
key = "$made/live/shown.key"
TOML
    my $process = start($home, ["run", "app.lua"], TMPDIR => $home);
    my $admin;
    ok eventually { ($admin) = slurp($process->{out}) =~ m{^admin listening on (\S+)$}m },
        "it serves";
    rename "$made/other.$_", "$made/good.$_" or die $! for qw(pem key);
    is((request({ url => $admin }, "POST", "/reload"))[0], 200, "another in its place");
    is stop($process), 0, "it ends";
};

subtest "a program, from before it is loaded" => sub {
    my $home = directory();
    put("$home/job.lua", "print(os.execute 'true' ~= 0, io.open '/etc/passwd')\n");
    my ($status, $out) = run($home, ["run", "job.lua", "--trusted", "--confine"]);
    like $out, qr{^true\s+nil\s+/etc/passwd: Permission denied}, "held";
};

subtest "without it nothing is held" => sub {
    my $home = home();
    my $process = instance($home);
    is try_it($process, $_->[0], $_->[1]), "done", "$_->[0]"
        for ["read", "/etc/passwd"], ["bind"], ["connect", $other->sockport];
    is try_it($process, "system"), "0", "system";
    is stop($process), 0, "it ends";
};

subtest "what cannot be confined is refused" => sub {
    my $home = directory();
    put("$home/app.lua", "return require('tidepool').app()\n");
    put("$home/tidepool.toml", "[database]\npostgres_url = 'postgres://127.0.0.1:1/x'\n"
        . "password_command = 'true'\n[server]\nconfine = true\n");
    for my $workers (0, 2) {
        my ($status, undef, $err) = run($home, ["run", "app.lua", "--workers", $workers,
            "--listen", "127.0.0.1:0"]);
        is $status, 2, "password_command: status";
        like $err, qr/^tidepool: database\.password_command: a confined process runs no/m,
            "told";
    }
};

stop($dev);
done_testing;
