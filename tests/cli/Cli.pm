# Cli.pm - runs the built tidepool from outside: private directories, port 0,
# bounded waits, every process ended by its pid.
package Cli;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(directory put slurp start run serve stop ended eventually
    request descendants is_alive servers crash_postgres is_crashed $tidepool
    $slowness);

our $slowness = $ENV{TEST_SLOWNESS} || 1;
our $tidepool = abs_path(($ENV{BUILD} || "build") . "/tidepool");

my %running; # pid => process

# A private directory that other accounts may enter, as Postgres' must.
sub directory
{
    my $path = tempdir("tidepool-cli-XXXXXX", TMPDIR => 1, CLEANUP => 1);
    chmod 0755, $path;
    return $path;
}

sub put
{
    my ($path, $text) = @_;
    open my $file, ">", $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
}

sub slurp
{
    my ($path) = @_;
    open my $file, "<", $path or die "$path: $!";
    local $/;
    my $text = <$file>;
    return defined $text ? $text : "";
}

# Waits until $check gives a true value, which it returns; undef in vain.
sub eventually(&;$)
{
    my ($check, $seconds) = @_;
    my $end = time + ($seconds || 30) * $slowness;
    while (1) {
        my $value = $check->();
        return $value if $value;
        return if time > $end;
        sleep 0.01;
    }
}

# Starts tidepool with @$args in $dir; its output goes to files.
sub start
{
    my ($dir, $args, %env) = @_;
    my $log = directory();
    my $process = { out => "$log/out", err => "$log/err", dir => $dir };
    put($_, "") for $process->{out}, $process->{err};
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if ($pid == 0) {
        delete @ENV{qw(DATABASE_URL REDIS_URL)};
        $ENV{TIDEPOOL_RECORD__DUMP_DIR} = $log;
        @ENV{keys %env} = values %env;
        chdir $dir or die "$dir: $!";
        open STDIN, "<", "/dev/null";
        open STDOUT, ">", $process->{out};
        open STDERR, ">", $process->{err};
        exec { $tidepool } $tidepool, @$args or POSIX::_exit(127);
    }
    $process->{pid} = $pid;
    $running{$pid} = $process;
    return $process;
}

# The exit status once it has ended (128 + n for signal n), or undef.
sub ended
{
    my ($process) = @_;
    return $process->{status} if defined $process->{status};
    return unless waitpid($process->{pid}, WNOHANG) == $process->{pid};
    $process->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    delete $running{ $process->{pid} };
    return $process->{status};
}

# Runs it to its end: status, stdout, stderr.
sub run
{
    my $process = start(@_);
    eventually { defined ended($process) };
    my $status = ended($process);
    stop($process, "KILL") unless defined $status;
    return ($status, slurp($process->{out}), slurp($process->{err}));
}

# Starts it and waits until it serves; its url is in {url} then, that of its admin
# listener, which it tells of next, in {admin}.
sub serve
{
    my $process = start(@_);
    my $has_admin = grep { /^--admin/ } @{ $_[1] };
    eventually {
        return 1 if defined ended($process);
        my $said = slurp($process->{out});
        ($process->{admin}) = $said =~ m{^admin listening on (https?://\S+)\n}m;
        ($process->{url}) = $said =~ m{^listening on (https?://\S+)\n}m;
        $process->{url} && ($process->{admin} || !$has_admin);
    } 60;
    return $process;
}

# Sends it a signal; the status with which it ended.
sub stop
{
    my ($process, $signal) = @_;
    kill $signal || "TERM", $process->{pid} unless defined ended($process);
    eventually { defined ended($process) };
    return ended($process);
}

# One request: status, body, headers.
sub request
{
    my ($process, $method, $path, $body) = @_;
    my $reply = HTTP::Tiny->new(timeout => 20 * $slowness)->request(
        $method, $process->{url} . $path,
        defined $body ? { content => $body } : {});
    return ($reply->{status}, $reply->{content}, $reply->{headers});
}

# A Postgres, made with a schema or none, and a Redis; the first is killed, and started
# again after so many seconds, when the file $dir/crash says so.
my $SERVERS = <<'LUA';
local tide, servers = require "tidepool", require "tidepool.servers"
local directory, schema = ...
local redis = assert(servers.redis { directory = directory .. "/redis" })
local postgres = assert(servers.postgres { directory = directory .. "/postgres",
  schema = schema })
io.stdout:write("REDIS_URL=", redis.url, "\nDATABASE_URL=", postgres.url, "\n")
io.stdout:flush()
while true do
  tide.sleep(0.01)
  local file = io.open(directory .. "/crash")
  if file then
    local seconds = file:read "*n"
    file:close()
    postgres:kill()
    tide.sleep(seconds)
    assert(postgres:restart())
    os.remove(directory .. "/crash")
  end
end
LUA

# Private servers in $dir; their urls are in {env} as the environment has them.
sub servers
{
    my ($dir, @schema) = @_;
    put("$dir/servers.lua", $SERVERS);
    my $process = start($dir, ["run", "servers.lua", "--trusted", "--", $dir, @schema]);
    eventually {
        return 1 if defined ended($process);
        $process->{env} = { slurp($process->{out}) =~ /^(\w+_URL)=(.*)\n/mg };
        $process->{env}{DATABASE_URL};
    } 60;
    return $process;
}

sub crash_postgres
{
    my ($servers, $seconds) = @_;
    put("$servers->{dir}/crash.new", $seconds);
    rename "$servers->{dir}/crash.new", "$servers->{dir}/crash";
}

# Until it is started again.
sub is_crashed { return -e "$_[0]{dir}/crash" }

sub is_alive
{
    my ($pid) = @_;
    open my $file, "<", "/proc/$pid/stat" or return 0;
    my $line = <$file>;
    return defined $line && $line !~ /\) Z /;
}

# The pids of all processes under this one.
sub descendants
{
    my ($pid) = @_;
    my %children;
    for my $path (glob "/proc/[0-9]*/stat") {
        open my $file, "<", $path or next;
        my $line = <$file>;
        next unless defined $line;
        my ($child, $parent) = $line =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        push @{ $children{$parent} }, $child;
    }
    my @found;
    my @left = ($pid);
    while (defined(my $next = shift @left)) {
        push @found, @{ $children{$next} || [] };
        push @left,  @{ $children{$next} || [] };
    }
    return @found;
}

# Whatever a failed test left behind.
END {
    my $status = $?;
    for my $process (values %running) {
        my @pids = ($process->{pid}, descendants($process->{pid}));
        kill "KILL", @pids;
        waitpid $process->{pid}, 0;
    }
    $? = $status;
}

1;
