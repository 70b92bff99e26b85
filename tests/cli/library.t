#!/usr/bin/perl
# library.t - what libtidepool.so shows of itself.
use strict;
use warnings;

use Test::More;

my $build = $ENV{BUILD} || "build";
my @names = `nm -D --defined-only $build/libtidepool.so`;
cmp_ok scalar @names, ">", 0, "the library exports something";
is_deeply [grep { !/ tide_\w+$/ } @names], [grep { / luaopen_tidepool$/ } @names],
    "and only names that begin with tide_, and the Lua module";
is scalar(grep { / luaopen_tidepool$/ } @names), 1, "which is there";
like `readelf -d $build/libtidepool.so`, qr/SONAME.*libtidepool\.so\.0/,
    "it has a soname";

done_testing;
