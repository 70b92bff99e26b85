#!/usr/bin/perl
# library.t - what `make install` puts in place: symbols, pkg-config, a host in C.
use strict;
use warnings;

use FindBin qw($Bin);
use lib $Bin;
use Cli;
use Test::More;

my $build = $ENV{BUILD} || "build";
my $dir = directory();
my $HOST = <<'C';
#include <tidepool.h>

int main(void)
{
    tide_options options;
    tide_runtime *runtime;

    tide_options_init(&options);
    if (tide_open(&runtime, &options) != 0)
        return 1;
    tide_close(runtime);
    return 0;
}
C

my @names = `nm -D --defined-only $build/libtidepool.so`;
cmp_ok scalar @names, ">", 0, "the library exports something";
is_deeply [grep { !/ tide_\w+$/ } @names], [], "and only names that begin with tide_";
like `readelf -d $build/libtidepool.so`, qr/SONAME.*libtidepool\.so\.0/,
    "it has a soname";

my $log = `make -s install BUILD=$build DESTDIR=$dir PREFIX=/usr 2>&1`;
is $? >> 8, 0, "make install" or diag $log;
ok -e "$dir/usr/$_", "installs $_"
    for qw(bin/tidepool include/tidepool.h lib/libtidepool.so lib/libtidepool.so.0
    lib/libtidepool.a lib/pkgconfig/tidepool.pc);

put("$dir/host.c", $HOST);
local $ENV{PKG_CONFIG_PATH} = "$dir/usr/lib/pkgconfig";
local $ENV{PKG_CONFIG_SYSROOT_DIR} = $dir;
my $flags = `pkg-config --cflags --libs tidepool`;
chomp $flags;
my $cc = $ENV{CC} || "cc";
my $strict = "-std=c11 -Wall -Wextra -Wpedantic -Werror";
$log = `$cc $strict -o $dir/host $dir/host.c $flags 2>&1`;
is $? >> 8, 0, "a host compiles with pkg-config's flags" or diag $log;
is system("LD_LIBRARY_PATH=$dir/usr/lib $dir/host") >> 8, 0, "and runs";

done_testing;
