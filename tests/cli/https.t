#!/usr/bin/perl
# https.t - `tidepool run` with certificates: which listeners show them, how they
# are replaced, what is said of wrong ones.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use File::Copy qw(copy);
use Test::More;

my $APP = <<'LUA';
local tide = require "tidepool"
local app = tide.app()
app:get("/hello", function() return "one\n" end)
return app
LUA

my $TOKEN = "of-sixteen-and-more";
my $made = directory();
system("sh", "$Bin/../certificates.sh", $made) == 0 or die "no certificates";

# Has the service in $dir show this certificate from its next start or reload on.
sub show
{
    my ($dir, $name) = @_;
    copy("$made/$name.$_", "$dir/shown.$_") or die "$name: $!" for qw(pem key);
}

sub folder
{
    my ($name) = @_;
    my $dir = directory();
    put("$dir/app.lua", $APP);
    put("$dir/tidepool.toml", <<"TOML");
[server]
listen = "127.0.0.1:0"
[server.tls]
certificate = ["shown.pem", "$made/other.pem"]
key = ["shown.key", "$made/other.key"]
TOML
    show($dir, $name);
    return $dir;
}

# What curl gets, or its complaint.  The name is one of 127.0.0.1 here.
sub fetch
{
    my ($url, $name, @more) = @_;
    my ($port) = $url =~ /:(\d+)$/;
    open my $curl, "-|", "curl", "-sS", "--max-time", 20, "--cacert", "$made/ca.pem",
        "--stderr", "-", "--resolve", "*:$port:127.0.0.1", @more,
        ($url =~ m{^(https?://)})[0] . "$name:$port/hello" or die "curl: $!";
    local $/;
    my $text = <$curl>;
    close $curl;
    return defined $text ? $text : "";
}

sub metrics
{
    my ($url) = @_;
    return scalar `curl -sk $url/metrics`;
}

subtest "a service shows its certificates, and others after a reload" => sub {
    my $dir = folder("good");
    my $process = serve($dir, ["run", "app.lua", "--admin", "127.0.0.1:0"]);
    my $admin = $process->{admin};
    like($process->{url}, qr{^https://127}, "it says so");
    like($admin, qr{^http://127}, "the admin listener on this machine is plain");
    is(fetch($process->{url}, "localhost"), "one\n", "it is who it says");
    is(fetch($process->{url}, "a.wild.example"), "one\n", "by other names as well");
    like(fetch($process->{url}, "elsewhere.example"), qr/no alternative certificate/,
        "and nobody else");
    like(metrics($admin), qr/^tidepool_tls_certificate_expires_timestamp_seconds
        \{name="localhost"\}[ ]\d{10}$/mx, "its end is told");

    show($dir, "expired");
    my ($status) = request({ url => $admin }, "POST", "/reload");
    is($status, 200, "it reloads");
    like(fetch($process->{url}, "localhost"), qr/expired/, "and shows the other");
    like(slurp($process->{err}), qr/a certificate has expired.*localhost/, "which it warns of");

    put("$dir/shown.pem", "no certificate");
    my ($refused, $body) = request({ url => $admin }, "POST", "/reload");
    is($refused, 500, "a file that is none is refused");
    like($body, qr/certificate shown\.pem: no start line/, "by its name");
    like(fetch($process->{url}, "localhost"), qr/expired/, "the one before goes on");

    show($dir, "good");
    request({ url => $admin }, "POST", "/reload");
    is(fetch($process->{url}, "localhost"), "one\n", "until there is a good one");
    is(stop($process), 0, "it ends in order");
};

subtest "workers show them, and others after HUP" => sub {
    my $dir = folder("good");
    my $process = serve($dir, ["run", "app.lua", "--workers", 2], TMPDIR => $dir);
    is(fetch($process->{url}, "localhost"), "one\n", "they are who they say") for 1 .. 4;
    like(metrics($process->{url}), qr/^tidepool_http_tls_failures_total 0$/m,
        "health and metrics come over TLS");
    show($dir, "other");
    kill HUP => $process->{pid};
    ok(eventually { fetch($process->{url}, "other.example") eq "one\n"
            && fetch($process->{url}, "localhost") =~ /no alternative/ }, "all of them");
    my $load = start(directory(), ["load", "$process->{url}/hello", "--insecure",
        "--duration", "1s", "--rate", 100]);
    eventually { defined ended($load) };
    like(slurp($load->{out}), qr/2xx 100\b/, "a load test is answered");
    is(stop($process), 0, "they end in order");
};

subtest "a certificate or a script that is wrong changes neither, in no worker" => sub {
    my $dir = folder("good");
    my $process = serve($dir, ["run", "app.lua", "--workers", 2, "--admin",
        "127.0.0.1:0"], TMPDIR => $dir);
    my $admin = { url => $process->{admin} };
    my $two = $APP =~ s/one/two/r;
    for my $case (
        ["no certificate", $two, qr/certificate shown\.pem: no start line/],
        [slurp("$made/other.pem"), "nonsense(", qr/app\.lua:1: /],
    ) {
        put("$dir/shown.pem", $case->[0]);
        put("$dir/app.lua", $case->[1]);
        copy("$made/other.key", "$dir/shown.key") if $case->[0] =~ /BEGIN/;
        my ($status, $body) = request($admin, "POST", "/reload");
        is($status, 500, "it is refused");
        like($body, $case->[2], "by its name");
        is(fetch($process->{url}, "localhost"), "one\n", "all is as before") for 1 .. 8;
    }
    put("$dir/app.lua", $two);
    my ($status) = request($admin, "POST", "/reload");
    is($status, 200, "both are loaded");
    is(fetch($process->{url}, "other.example"), "two\n", "in all") for 1 .. 8;
    like(fetch($process->{url}, "localhost"), qr/no alternative/, "the name has gone");
    is(stop($process), 0, "they end in order");
};

subtest "an admin listener that others reach speaks TLS, too" => sub {
    my $dir = folder("good");
    my $process = serve($dir, ["run", "app.lua", "--admin", "0.0.0.0:0"],
        TIDEPOOL_SERVER__ADMIN_TOKEN => $TOKEN);
    my $admin = $process->{admin};
    like($admin, qr{^https://}, "it says so");
    my ($port) = $admin =~ /:(\d+)$/;
    put("$dir/token", $TOKEN);
    my ($status, $out) = run(directory(), ["top", "https://localhost:$port", "--once",
        "--json", "--every", "0.1s", "--cacert", "$made/ca.pem", "--token-file",
        "$dir/token"]);
    is($status, 0, "top reads it");
    like($out, qr/"tidepool_top":1/, "what it tells");
    ($status, undef, my $why) = run(directory(), ["top", "https://localhost:$port",
        "--once", "--token-file", "$dir/token"]);
    is($status, 1, "and does not trust it by itself");
    like($why, qr/the certificate is not trusted/, "which it says");
    is(stop($process), 0, "it ends in order");
};

subtest "what is wrong with certificates is said at the start" => sub {
    my $dir = folder("good");
    for my $case (
        ["server.tls.key=none.key", "certificate and key belong together, found 2 and 1"],
        ["server.tls.key=none.key,$made/other.key",
            "server.tls: key none.key: No such file or directory"],
        ["server.tls.key=$made/other.key,shown.key", "is not the key of its certificate"],
        ["server.tls.certificate=shown.key,shown.pem", "certificate shown.key: "],
    ) {
        my ($status, undef, $err) = run($dir, ["run", "app.lua", "--set", $case->[0]]);
        is($status, 2, $case->[0]);
        like($err, qr/\Q$case->[1]\E/, "and why");
    }
    my ($status, $out) = run($dir, ["check", "app.lua", "--offline", "--print"]);
    is($status, 0, "check finds nothing wrong with good ones");
    like($out, qr/^certificate: localhost, until \d{4}-/m, "and tells of them");
    like($out, qr/^server\.tls\.key = "shown\.key, /m, "and where they are");
};

done_testing();
