#!/usr/bin/perl
# deb.t - the packages that `make deb` builds: what is in them, what they depend on,
# and that what they have works from where it will be.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

sub has { return grep { -x "$_/$_[0]" } split /:/, $ENV{PATH} }

for my $tool (qw(dpkg-deb dpkg-shlibdeps dpkg-buildflags)) {
    plan skip_all => "$tool is not here: no Debian, or no dpkg-dev" unless has($tool);
}

my $build = $ENV{BUILD} || "build";
my $dir = directory();
my ($version) = `$build/tidepool version` =~ /^tidepool (\S+)/;
my $multiarch = `dpkg-architecture -qDEB_HOST_MULTIARCH`;
my $arch = `dpkg-architecture -qDEB_HOST_ARCH`;
chomp($multiarch, $arch);
my %deb = map { $_ => "$build/${_}_${version}_$arch.deb" }
    qw(tidepool libtidepool0 libtidepool-dev);

# path => "mode owner" of what is no folder
sub content
{
    my ($package) = @_;
    my %content;
    for (`dpkg-deb -c $deb{$package}`) {
        my ($mode, $owner, $path) = /^(\S+) (\S+) .* \.\/(\S+)(?: -> \S+)?$/ or next;
        $content{$path} = "$mode $owner" unless $mode =~ /^d/;
    }
    return \%content;
}

sub is_content
{
    my ($package, @paths) = @_;
    my $content = content($package);
    my @docs = map { "usr/share/doc/$package/$_" } qw(changelog.gz copyright);
    is_deeply [sort keys %$content], [sort @paths, @docs], "$package: these files";
    is scalar(grep { !m{ root/root$} } values %$content), 0, "of root";
    is scalar(grep { !/^(-rw-r--r--|-rwxr-xr-x|lrwxrwxrwx) / } values %$content), 0,
        "for all to read";
}

sub field { chomp(my $text = `dpkg-deb -f $deb{$_[0]} $_[1]`); return $text }

unlink values %deb;
my $log = `make -s deb DEB_BUILD=$build 2>&1`;
is $? >> 8, 0, "make deb" or BAIL_OUT($log);

subtest "tidepool" => sub {
    is_content("tidepool", qw(usr/bin/tidepool etc/tidepool/tidepool.toml
        usr/lib/systemd/system/tidepool.service usr/share/man/man1/tidepool.1.gz
        usr/share/doc/tidepool/examples/hello.lua usr/share/tidepool/types/tidepool.lua
        usr/share/lintian/overrides/tidepool));
    is field("tidepool", "Version"), $version, "version";
    my $depends = field("tidepool", "Depends");
    like $depends, qr/\b\Q$_\E/, "needs $_"
        for qw(libc6 libpq5 libuv1 libhiredis libluajit-5.1-2 lua-cjson);
    unlike $depends, qr/tidepool/, "but not the library: the program has it";
    system "dpkg-deb -e $deb{tidepool} $dir/control";
    is slurp("$dir/control/conffiles"), "/etc/tidepool/tidepool.toml\n",
        "what the administrator changes stays";
    is system("sh", "-n", "$dir/control/$_"), 0, "$_ is a script"
        for qw(postinst prerm postrm);
};

subtest "libtidepool0, libtidepool-dev" => sub {
    my $lib = "usr/lib/$multiarch";
    is_content("libtidepool0", "$lib/libtidepool.so.0", "$lib/libtidepool.so.$version",
        "$lib/lua/5.1/tidepool.so");
    is_content("libtidepool-dev", "$lib/libtidepool.so", "$lib/libtidepool.a",
        "$lib/pkgconfig/tidepool.pc", "usr/include/tidepool.h");
    is field("libtidepool-dev", "Depends"), "libtidepool0 (= $version)", "of one version";
    like field("libtidepool0", "Depends"), qr/libluajit-5.1-2/, "needs libraries";
};

subtest "what is in it works" => sub {
    my $root = "$dir/root";
    system "dpkg-deb -x $deb{tidepool} $root";
    local $Cli::tidepool = "$root/usr/bin/tidepool";
    my $hello = "$root/usr/share/doc/tidepool/examples/hello.lua";
    my @config = ("--config", "$root/etc/tidepool/tidepool.toml");
    my ($status, $out, $err) = run($dir, ["check", $hello, @config, "--offline"]);
    is $status, 0, "the sample configuration is right" or diag $out, $err;
    my $process = serve($dir, ["run", $hello, @config, "--listen", "127.0.0.1:0"]);
    is((request($process, "GET", "/hello/moon"))[1], "hello moon\n", "the example serves");
    is stop($process), 0, "TERM: status";
    SKIP: {
        skip "systemd-analyze is not here", 1 unless has("systemd-analyze");
        my $unit = slurp("$root/usr/lib/systemd/system/tidepool.service");
        $unit =~ s{^ExecStart=\K/usr}{$root/usr}m or die "no ExecStart";
        put("$dir/tidepool.service", $unit);
        my @said = grep { /^\S*tidepool\.service:/ && !/Command 'man / }
            `systemd-analyze verify $dir/tidepool.service 2>&1`;
        is_deeply \@said, [], "the unit is right";
    }
};

subtest "lintian" => sub {
    plan skip_all => "lintian is not here" unless has("lintian");
    # Who builds them says who that is.
    my $tags = "bogus-mail-host,bogus-mail-host-in-debian-changelog";
    my $said = `lintian --allow-root --suppress-tags $tags @deb{sort keys %deb} 2>&1`;
    is $said, "", "has nothing to say";
};

unlink values %deb;
done_testing;
