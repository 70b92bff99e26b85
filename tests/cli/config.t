#!/usr/bin/perl
# config.t - the layers of the configuration from outside: which one wins, where
# each value is from, and what is said of mistakes in each of them.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

my @CHECK = ("check", "app.lua", "--offline", "--print");

# A directory with an app and such files.
sub project
{
    my (%files) = @_;
    my $dir = directory();
    put("$dir/app.lua", "return require('tidepool').app()\n");
    for my $name (keys %files) {
        mkdir "$dir/$1" if $name =~ m{^(.*)/};
        put("$dir/$name", $files{$name});
    }
    return $dir;
}

# The settings that it prints: key => "value  # source".
sub settings
{
    my ($dir, $args, %env) = @_;
    my ($status, $out, $err) = run($dir, [@CHECK, @$args], %env);
    is $status, 0, "status" or diag $err;
    return { $out =~ /^(\S+) = (.*)$/mg };
}

# Layers from the first to the last, and what each says of a key: what is written
# there and, where it looks different, how it is shown.
my @LAYERS = qw(default file dotenv own_dotenv environment own set flag);
my %KEYS = (
    "server.listen" => {
        default => ['"127.0.0.1:8080"'],
        file => ['"127.0.0.1:1"'], own_dotenv => ["127.0.0.1:2", '"127.0.0.1:2"'],
        own => ["127.0.0.1:3", '"127.0.0.1:3"'],
        set => ["127.0.0.1:4", '"127.0.0.1:4"'],
        flag => ["127.0.0.1:5", '"127.0.0.1:5"', "--listen"],
    },
    "server.drain" => {
        default => [30], file => ['"1m"', 60], own_dotenv => ["2m", 120],
        own => ["250ms", 0.25], set => ["4", 4], flag => ["1h", 3600, "--drain"],
    },
    "log.level" => {
        default => ['"info"'], file => ['"warn"'], own_dotenv => ["error", '"error"'],
        own => ["debug", '"debug"'], set => ["info", '"info"'],
        flag => ["warn", '"warn"', "--log-level"],
    },
    "log.access" => {
        default => ["false"], file => ["true"], own_dotenv => ["false"],
        own => ["true"], set => ["false"],
    },
    "database.pool.max_connections" => {
        file => [11], own_dotenv => [12], own => [13], set => [14],
    },
    "database.postgres_url" => {
        file => ['"postgres://u:s3cret@file/d"', '"postgres://u:***@file/d"'],
        dotenv => ["postgres://u:s3cret\@env/d", '"postgres://u:***@env/d"',
            "DATABASE_URL"],
        own_dotenv => ["postgres://u:s3cret\@own_env/d",
            '"postgres://u:***@own_env/d"'],
        environment => ["postgres://u:s3cret\@outside/d",
            '"postgres://u:***@outside/d"', "DATABASE_URL"],
        own => ["postgres://u:s3cret\@own/d", '"postgres://u:***@own/d"'],
        set => ["postgres://u:s3cret\@set/d", '"postgres://u:***@set/d"'],
    },
    "redis.url" => {
        file => ['{ file = "redis_url" }', '"redis://:***@secret"', undef,
            " from redis_url"],
        dotenv => ["redis://:s3cret\@env", '"redis://:***@env"', "REDIS_URL"],
        environment => ["redis_url", '"redis://:***@secret"', "REDIS_URL_FILE",
            " from redis_url"],
        own => ["redis://:s3cret\@own", '"redis://:***@own"'],
        set => ["redis://:s3cret\@set", '"redis://:***@set"'],
    },
    "database.reports.postgres_url" => {
        file => ['"postgres://u:${PASSWORD}@reports/d"',
            '"postgres://u:***@reports/d"'],
        own_dotenv => ["reports_url", '"postgres://u:***@secret/d"',
            "TIDEPOOL_DATABASE__REPORTS__POSTGRES_URL_FILE", " from reports_url"],
        own => ["postgres://u:s3cret\@own/d", '"postgres://u:***@own/d"'],
        set => ["postgres://u:s3cret\@set/d", '"postgres://u:***@set/d"'],
    },
    "database.reports.pool.idle_timeout" => {
        default => [600], file => ['"5m"', 300], own_dotenv => ["6m", 360],
        own => ["7m", 420], set => ["8m", 480],
    },
    "redis.sessions.url" => { file => ['"redis://sessions"'] },
    "redis.sessions.pool.max_connections" => {
        file => [21], own_dotenv => [22], own => [23], set => [24],
    },
);
my @KEYS = sort keys %KEYS;

sub variable
{
    my ($key) = @_;
    return "TIDEPOOL_" . join "__", map { uc } split /\./, $key;
}

# What is written into these layers, and for each key and layer how it is shown.
sub build
{
    my (@layers) = @_;
    my %has = map { $_ => 1 } @layers;
    my ($file, $dotenv, %env, @args, %shown) = ("", "");
    for my $layer (@layers) {
        for my $key (@KEYS) {
            my $say = $KEYS{$key}{$layer} or next;
            my ($value, $looks, $name, $more) = @$say;
            $name ||= variable($key);
            my $source = $layer;
            if ($layer eq "file") {
                $file .= "$key = $value\n";
                $source = "tidepool.toml:" . ($file =~ tr/\n//);
            } elsif ($layer =~ /dotenv/) {
                $dotenv .= "$name=$value\n";
                $source = ".env:" . ($dotenv =~ tr/\n//) . ": $name";
            } elsif ($layer =~ /environment|own/) {
                $env{$name} = $value;
                $source = "environment: $name";
            } elsif ($layer eq "set") {
                push @args, "--set", "$key=$value";
                $source = "--set";
            } elsif ($layer eq "flag") {
                push @args, $name, $value;
                $source = $name;
            }
            $looks = $value unless defined $looks;
            $shown{$key} = "$looks  # $source" . (defined $more ? $more : "");
        }
    }
    return ($file, $dotenv, \%env, \@args, \%shown);
}

subtest "layers, peeled off one by one" => sub {
    my @layers = @LAYERS;
    while (@layers) {
        my ($file, $dotenv, $env, $args, $shown) = build(@layers);
        my $dir = project(redis_url => "redis://:s3cret\@secret\n",
            reports_url => "postgres://u:s3cret\@secret/d\n",
            $file ? ("tidepool.toml" => $file) : (),
            $dotenv ? (".env" => $dotenv) : ());
        my $found = settings($dir, $args, %$env, PASSWORD => "s3cret");
        # What is not configured at all is not printed, or chosen by the cores.
        my @keys = grep { $layers[-1] ne "default" || $KEYS{$_}{default} } @KEYS;
        @keys = grep { !/^database\.reports/ } @keys if $layers[-1] eq "default";
        is $found->{$_}, $shown->{$_}, "$_ up to $layers[-1]" for @keys;
        unlike join("\n", values %$found), qr/s3cret/, "and no secret";
        pop @layers;
    }
};

subtest "config/local.toml hides tidepool.toml, --config both" => sub {
    my $dir = project("config/local.toml" => "[log]\nlevel = \"warn\"\n",
        "tidepool.toml" => "[log]\nlevel = \"error\"\naccess = true\n",
        "other.toml" => "\n[log]\nlevel = \"debug\"\n");
    my $found = settings($dir, []);
    is $found->{"log.level"}, '"warn"  # config/local.toml:2', "it counts";
    is $found->{"log.access"}, "false  # default", "the other one does not";
    my ($status, $out, $err) = run($dir, ["check", "app.lua", "--offline"]);
    is $out, "warning: configuration: tidepool.toml is not read, because "
        . "config/local.toml is\n", "and it says so";
    is settings($dir, ["--config", "other.toml"])->{"log.level"},
        '"debug"  # other.toml:3', "--config";
    ($status, $out) = run($dir, ["check", "app.lua", "--offline", "--config",
        "other.toml"]);
    is $out, "", "of which no warning is given";
};

subtest "a mistake in each layer: status 2, a sentence that says where" => sub {
    my $key = "database.pool.max_connections";
    my $name = variable($key);
    my $range = "expected a whole number from 1 to 10000, found";
    my %wrong = (
        "tidepool.toml:2: $key: $range 0" =>
            [{ "tidepool.toml" => "[database.pool]\nmax_connections = 0\n" }],
        "tidepool.toml:2: unknown key database.pol.max_connections; did you mean "
            . "database.pool.max_connections?" =>
            [{ "tidepool.toml" => "[database.pol]\nmax_connections = 1\n" }],
        "config/local.toml:1: unknown key max_connections; did you mean $key?" =>
            [{ "config/local.toml" => "max_connections = 1\n" }],
        "tidepool.toml:1: $key: \${MAX} is not set in the environment, nor in .env" =>
            [{ "tidepool.toml" => "$key = '\${MAX}'\n" }],
        ".env:2: $name: $key: $range \"0\"" => [{ ".env" => "\n$name=0\n" }],
        ".env:1: TIDEPOOL_LOG__LEVL: unknown key log.levl; did you mean level?" =>
            [{ ".env" => "TIDEPOOL_LOG__LEVL=warn\n" }],
        ".env:2: the quote \" that opens here is never closed" =>
            [{ ".env" => "A=1\nB=\"2\n" }],
        ".env:1: REDIS_URL: \${NAME} is not set in the environment, nor in .env" =>
            [{ ".env" => "REDIS_URL=\${NAME}\n" }],
        "environment: $name: $key: $range \"many\"" => [{}, [], $name => "many"],
        "environment: TIDEPOOL_LOG__LEVL: unknown key log.levl; did you mean level?" =>
            [{}, [], TIDEPOOL_LOG__LEVL => "warn"],
        "environment: TIDEPOOL_LOG_LEVEL: unknown; did you mean TIDEPOOL_LOG__LEVEL?" =>
            [{}, [], TIDEPOOL_LOG_LEVEL => "warn"],
        "environment: REDIS_URL_FILE: redis.url: the file nowhere: No such file or "
            . "directory" => [{}, [], REDIS_URL_FILE => "nowhere"],
        "environment: REDIS_URL_FILE: redis.url: the file .: Is a directory" =>
            [{}, [], REDIS_URL_FILE => "."],
        "--set: $key: $range \"20x\"" => [{}, ["--set", "$key=20x"]],
        "--set: unknown key database.pool.max_conections; did you mean "
            . "max_connections?" =>
            [{}, ["--set", "database.pool.max_conections=3"]],
        "--set: expected KEY=VALUE, found \"$key\"" => [{}, ["--set", $key]],
        "tidepool.toml:1: '10m' is not a number or a date; a text needs quotes" =>
            [{ "tidepool.toml" => "server.drain = 10m\n" }],
        "--drain: server.drain: expected seconds or a text like \"500ms\", \"30s\", "
            . "\"5m\", \"1h\", from 0 to 86400 seconds, found \"soon\"" =>
            [{}, ["--drain", "soon"]],
        "--listen: server.listen: expected HOST:PORT or unix:PATH, found \"80\"" =>
            [{}, ["--listen=80"]],
    );
    for my $sentence (sort keys %wrong) {
        my ($files, $args, %env) = @{ $wrong{$sentence} };
        my $dir = project(%$files);
        for my $command ("check", "run") {
            my ($status, $out, $err) = run($dir, [$command, "app.lua", @{ $args || [] }],
                %env);
            is $status, 2, "$command: status";
            is $err, "tidepool: $sentence\n", "$command: $sentence";
        }
    }
};

subtest "words that are not options: status 2, what was meant" => sub {
    my $dir = project();
    my %wrong = (
        "unknown option --prnt; did you mean --print?" => ["app.lua", "--prnt"],
        "--set: a value is missing" => ["app.lua", "--set"],
        "--set: expected KEY=VALUE, found \"log.level\"" =>
            ["app.lua", "--set", "log.level", "warn"],
        "unexpected \"x\"; arguments of the script stand after --" => ["app.lua", "x"],
        "APP: expected a file, found a url; one stands in --set or DATABASE_URL" =>
            ["postgres://h/d"],
    );
    for my $sentence (sort keys %wrong) {
        my ($status, $out, $err) = run($dir, ["check", @{ $wrong{$sentence} }]);
        is $status, 2, "$sentence: status";
        is $err, "tidepool: $sentence\nsee: tidepool check --help\n", $sentence;
    }
};

subtest "files that cannot be read: status 2, one sentence" => sub {
    my $dir = project("other/a.toml" => "", "config/local.toml" => "");
    my @cases = (
        ["other", "other: Is a directory"],
        ["nowhere.toml", "nowhere.toml: No such file or directory"],
        ["app.lua/x.toml", "app.lua/x.toml: Not a directory"],
    );
    for my $case (@cases) {
        my ($status, $out, $err) = run($dir, [@CHECK, "--config", $case->[0]]);
        is $status, 2, "$case->[0]: status";
        is $err, "tidepool: $case->[1]\n", "$case->[0]: sentence";
        is $out, "", "$case->[0]: nothing else";
    }

    # Root may read all, so such a file is tried as another account.
    my ($uid, $gid) = (getpwnam "nobody")[2, 3];
    my @as = $> ? () : ("setpriv", "--reuid=$uid", "--regid=$gid", "--clear-groups");
    put("$dir/shut.toml", "");
    chmod 0, "$dir/shut.toml";
    my $said = `cd $dir && @as $tidepool @CHECK --config shut.toml 2>&1`;
    is $? >> 8, 2, "shut.toml: status";
    is $said, "tidepool: shut.toml: Permission denied\n", "shut.toml: sentence";

    $dir = project();
    mkdir "$dir/tidepool.toml";
    mkdir "$dir/.env";
    my ($status, $out, $err) = run($dir, \@CHECK);
    is $status, 2, "directories: status";
    is $err, "tidepool: .env: Is a directory\n"
        . "tidepool: tidepool.toml: Is a directory\n", "directories: sentences";

    $dir = project(config => "a file, not a directory\n");
    ($status, $out, $err) = run($dir, \@CHECK);
    is $status, 0, "config is a file: no matter" or diag $err;
};

subtest "an argument that is a url is not shown" => sub {
    my $dir = project();
    my $url = "postgres://u:s3cret\@h/d";
    for my $args (["app.lua", $url], ["app.lua", "--set", $url], [$url],
        ["app.lua", "--config", $url], ["app.lua", "--listen", $url]) {
        my ($status, $out, $err) = run($dir, ["check", @$args]);
        is $status, 2, "@$args: status";
        unlike $out . $err, qr/s3cret/, "@$args: output";
    }
};

subtest "the policy is checked, and its settings shown" => sub {
    my $dir = project(
        "tidepool.toml" => <<'TOML', "mine.lua" => "return { decide = 1 }");
[policy]
use = "aimd"
[policy.rails]
max_connections = "2..40, step 4, every 5s"
[policy.options]
slow = "250ms"
TOML
    my $shown = settings($dir, []);
    is $shown->{"policy.use"}, '"aimd"  # tidepool.toml:2';
    is $shown->{"policy.rails.max_connections"},
        '"2..40, step 4, every 5s"  # tidepool.toml:4';
    is $shown->{"policy.options.slow"}, '0.25  # tidepool.toml:6';
    is $shown->{"policy.revert"}, "true  # default";
    my @wrong = (
        ["mine.lua", 1, qr/policy\.use \(--policy\): mine\.lua: decide: function/],
        ["nix", 1, qr/policy\.use \(--policy\): there is no policy nix/],
        ["codel", 1, qr/codel has no option slow/],
    );
    for my $case (@wrong) {
        my ($status, undef, $err) =
            run($dir, ["check", "app.lua", "--offline", "--policy", $case->[0]]);
        is $status, $case->[1], $case->[0];
        like $err, $case->[2];
    }
    put("$dir/tidepool.toml", "[policy.rails]\nlanes = \"9..2\"\n[policy]\nname = 3\n");
    my ($status, undef, $err) = run($dir, ["check", "app.lua", "--offline"]);
    is $status, 2;
    like $err, qr/tidepool\.toml:2: policy\.rails\.lanes: expected a text like/;
    like $err, qr/tidepool\.toml:4: unknown key policy\.name/;
};

done_testing;
