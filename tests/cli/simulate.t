#!/usr/bin/perl
# simulate.t - `tidepool simulate` from outside: it repeats itself, compares policies and
# says what is wrong with its words.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use JSON::PP qw(decode_json);
use Test::More;

my $dir = directory();
put("$dir/mine.lua", <<'LUA');
return { every = 1, options = { step = 1 }, decide = function(pool, ctx)
  if pool.waiting == 0 then return end
  return { max_connections = pool.settings.max_connections + ctx.options.step },
    pool.waiting .. " wait"
end }
LUA
put("$dir/bad.lua", "return { decide = function() error 'mine' end }");

sub simulate { return run($dir, ["simulate", @_]) }

subtest "the same seed gives the same output, byte for byte" => sub {
    my @args = ("gradient", "--load", "50x10s 300x20s", "--outage", "12-14");
    my ($status, $first) = simulate(@args, "--seed", "3");
    my (undef, $second) = simulate(@args, "--seed", "3");
    my (undef, $other) = simulate(@args, "--seed", "4");
    is $status, 0;
    is $first, $second;
    isnt $first, $other;
};

subtest "a policy of one's own, its options and rails" => sub {
    my ($status, $out) = simulate("mine.lua", "--load", "50x5s 350x30s",
        "--pool", "max_connections=1", "--rail", "max_connections=1..6, every 1s",
        "--option", "step=2", "--out", "out.json");
    is $status, 0;
    like $out, qr/policy mine\.lua: 1 host, 35 s, seed 1/;
    like $out, qr/applied max_connections 1 -> 3: \d+ wait/;
    my $reports = decode_json(slurp("$dir/out.json"));
    is scalar @{ $reports->[0]{samples} }, 35;
    cmp_ok $reports->[0]{total}{max}, "<=", 6;
    my $sum = 0;
    $sum += $_->{arrivals} for @{ $reports->[0]{samples} };
    is $sum, $reports->[0]{total}{arrivals};
};

subtest "two policies beside one another" => sub {
    my ($status, $out) = simulate("codel", "none", "--load", "50x2s 800x30s",
        "--pool", "max_connections=4", "--pool", "acquire_timeout=1000s");
    is $status, 0;
    my ($with, $without) = $out =~ /^ *wait p99 ms +([\d.]+) +([\d.]+)$/m;
    cmp_ok $with * 10, "<", $without, "codel keeps waits short";
    my ($done, $all) = $out =~ /^ *done +(\d+) +(\d+)$/m;
    cmp_ok $done, ">", $all * 0.9, "and does as much";
};

# The numbers of a line of a chart: pixels, down the page.
sub heights
{
    my ($page, $title, $name) = @_;
    my ($chart) = $page =~ m{<svg [^>]*aria-label="\Q$title\E">(.*?)</svg>}s or return;
    my ($points) = $chart =~ m{data-name="\Q$name\E"[^>]* points="([^"]*)"} or return;
    return map { (split /,/)[1] } split / /, $points;
}

subtest "the page has plots, and data in them" => sub {
    my ($status) = simulate("aimd", "codel", "--load", "50x10s 600x20s 50x10s",
        "--pool", "max_connections=4", "--rail", "max_connections=2..20",
        "--html", "out.html");
    is $status, 0;
    my $page = slurp("$dir/out.html");
    for my $policy (qw(aimd codel)) {
        for my $line (["wait, ms", "p99"], ["connections", "in use"],
            ["requests in line", "waiting"], ["requests a second", "done"]) {
            my @heights = heights($page, "$policy: $line->[0]", $line->[1]);
            is scalar @heights, 40, "$policy, $line->[1]: a point for each second";
            my %different = map { $_ => 1 } @heights;
            cmp_ok scalar keys %different, ">", 3, "and they differ";
        }
    }
    my @shed = heights($page, "codel: refused a second", "shed");
    cmp_ok $shed[20], "<", $shed[5], "shed while there was too much to do";
    like $page, qr{<g class="mark"><title>[\d.]+ s  host 1  applied max_connections 4 -&gt; 5: },
        "a change is marked, with its reason";
    unlike $page, qr/<script|https?:/, "nothing from elsewhere";
    ($status, undef, my $err) = simulate("aimd", "--html", "missing/out.html");
    is $status, 1;
    like $err, qr{--html: missing/out.html: No such file};
};

subtest "a policy that errs is told of" => sub {
    my ($status, $out) = simulate("bad.lua", "--load", "10x5s");
    is $status, 0;
    like $out, qr/failed: bad\.lua:1: mine/;
};

subtest "ten thousand hosts" => sub {
    my ($status, $out) = simulate("formula", "--hosts", "10000", "--load", "500x5s",
        "--server-max", "200");
    is $status, 0;
    like $out, qr/10000 hosts/;
};

subtest "wrong words" => sub {
    my @cases = (
        [[], qr/a policy is missing/],
        [["a", "b", "c"], qr/one policy expected, or two/],
        [["nix"], qr/there is no policy nix: .* aimd, codel/],
        [["aimd", "--load", "3"], qr/--load: expected RATExTIME/],
        [["aimd", "--load", "3x1s,y"], qr/--load: expected RATExTIME/],
        [["aimd", "--outage", "5-4"], qr/--outage: expected FROM-TO/],
        [["aimd", "--pool", "lanes=x"], qr/--pool: lanes: expected a whole number/],
        [["aimd", "--pool", "size=3"], qr/--pool: expected KEY=VALUE/],
        [["aimd", "--rail", "lanes=3"], qr/--rail: lanes: expected a text like/],
        [["aimd", "--option", "slo=3"], qr/aimd has no option slo/],
        [["aimd", "--hots", "3"], qr/did you mean --hosts\?/],
        [["aimd", "--hosts"], qr/--hosts: a value is missing/],
        [["aimd", "--hosts", "0"], qr/--hosts: expected a whole number/],
    );
    for my $case (@cases) {
        my ($status, undef, $err) = simulate(@{ $case->[0] });
        is $status, 2, "@{ $case->[0] }";
        like $err, $case->[1];
    }
    my ($status, $out) = simulate("--help");
    is $status, 0;
    like $out, qr/usage: tidepool simulate POLICY/;
};

done_testing;
