#!/usr/bin/perl
# install.t - what `make install` puts in place: the program, a library for hosts in C,
# the manual page; and that `make uninstall` takes all of it away.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

my $build = $ENV{BUILD} || "build";
my $cc = $ENV{CC} || "cc";
my $dir = directory();
my $page = "$dir/usr/share/man/man1/tidepool.1";
my $HOST = <<'C';
#include <stdio.h>
#include <tidepool.h>

int main(void)
{
    tide_options options;
    tide_runtime *runtime;

    tide_options_init(&options);
    if (tide_open(&runtime, &options) != 0)
        return 1;
    tide_close(runtime);
    puts(tide_version());
    return 0;
}
C

sub make
{
    my ($target) = @_;
    my $log = `make -s $target BUILD=$build DESTDIR=$dir PREFIX=/usr 2>&1`;
    is $? >> 8, 0, "make $target" or diag $log;
}

sub files { return sort map { chomp; $_ } `cd $dir && find usr ! -type d` }

# Compiles the host with these flags; what it says when it runs.
sub host
{
    my ($name, $flags) = @_;
    my $strict = "-std=c11 -Wall -Wextra -Wpedantic -Werror";
    my $log = `$cc $strict -o $dir/$name $dir/host.c $flags 2>&1`;
    is $? >> 8, 0, "a host compiles: $name" or diag $log;
    return `LD_LIBRARY_PATH=$dir/usr/lib $dir/$name`;
}

make("install");
my $version = `$build/tidepool version`;
my ($number) = $version =~ /^tidepool (\S+)/;
is_deeply [files()], [sort map { "usr/$_" } qw(bin/tidepool include/tidepool.h
    lib/libtidepool.a lib/libtidepool.so lib/libtidepool.so.0 lib/lua/5.1/tidepool.so
    lib/pkgconfig/tidepool.pc
    share/man/man1/tidepool.1 share/tidepool/types/tidepool.lua),
    "lib/libtidepool.so.$number"], "installs these files";
is readlink "$dir/usr/lib/libtidepool.so.0", "libtidepool.so.$number",
    "what hosts are linked with has its version";

subtest "the program" => sub {
    put("$dir/app.lua", 'print(require("tidepool").version)');
    local $Cli::tidepool = "$dir/usr/bin/tidepool";
    my ($status, $out) = run($dir, ["version"]);
    is $out, $version, "runs";
    ($status, $out) = run($dir, ["run", "app.lua"]);
    is $status, 0, "and runs a script: it needs no Lua files";
};

subtest "the module of plain luajit" => sub {
    put("$dir/plain.lua", 'io.write(require("tidepool").version)');
    local $ENV{LUA_CPATH} = "$dir/usr/lib/lua/5.1/?.so";
    SKIP: {
        skip "a library with sanitizers must come first", 1
            if `ldd $dir/usr/lib/libtidepool.so` =~ /libasan/;
        is `luajit $dir/plain.lua`, $number, "is found where modules in C are";
    }
};

subtest "the library" => sub {
    put("$dir/host.c", $HOST);
    local $ENV{PKG_CONFIG_PATH} = "$dir/usr/lib/pkgconfig";
    local $ENV{PKG_CONFIG_SYSROOT_DIR} = $dir;
    chomp(my $shared = `pkg-config --cflags --libs tidepool`);
    is host("shared", $shared), "$number\n", "runs";
    like `readelf -d $dir/shared`, qr/NEEDED.*\[libtidepool\.so\.0\]/,
        "and needs any library of this soname";
    SKIP: {
        skip "the archive of a build with sanitizers needs their libraries", 3
            if `nm $build/libtidepool.a 2>/dev/null` =~ /__asan_init/;
        chomp(my $static = `pkg-config --static --cflags --libs tidepool`);
        $static =~ s/-ltidepool\b/-l:libtidepool.a/;
        is host("static", $static), "$number\n", "runs";
        unlike `readelf -d $dir/static`, qr/NEEDED.*tidepool/, "with no library of ours";
    }
    is `pkg-config --modversion tidepool`, "$number\n", "pkg-config knows its version";
};

# As it is read: without what makes letters bold.
sub rendered
{
    my $text = `mandoc -Tascii $page`;
    is $? >> 8, 0, "it can be read";
    $text =~ s/.\x08//g;
    return $text;
}

subtest "the manual page" => sub {
    is `mandoc -Tlint -Wwarning $page 2>&1`, "", "nothing to complain of";
    my $text = rendered();
    my @commands = map { /^  tidepool (\w+)/ ? $1 : () } `$build/tidepool help`;
    cmp_ok scalar @commands, ">", 9, "commands";
    for my $command (@commands) {
        my ($part) = $text =~ /^   tidepool $command\n(.*?)(?=^   tidepool |^\S)/ms;
        ok $part, "tidepool $command" or next;
        my @options = map { /^  (--\S+)/ ? $1 : () } `$build/tidepool $command --help`;
        my $of_run = $part =~ /and the options of run/;
        my ($run) = $text =~ /^   tidepool run\n(.*?)^   tidepool /ms;
        my @missing = grep {
            $part !~ /^     \Q$_\E\b/m && !($of_run && $run =~ /^     \Q$_\E\b/m)
        } @options;
        is_deeply \@missing, [], "its " . @options . " options";
    }
};

make("uninstall");
is_deeply [files()], [], "nothing is left";
ok !-e "$dir/usr/share/tidepool", "nor are its own folders";

done_testing;
