#!/bin/sh
# floors_test.sh - floors.awk reports what it should, and only that (TAP).
set -u

awk_file=$(cd "$(dirname "$0")" && pwd)/floors.awk
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$tree" || exit 1
tests=0

# check NAME FOLDER/FILE LINE WANTED: LINE in that file is reported as WANTED,
# or not at all when WANTED is empty.
check() {
  tests=$((tests + 1))
  rm -rf runtime
  mkdir -p "runtime/$(dirname "$2")"
  echo 'FLOORS := base:0 pool:1 net:2 pg:3 redis:3 http:3 script:4 host:5 service:6' >Makefile
  printf '/* a file */\n%s\n' "$3" >"runtime/$2"
  got=$(awk -f "$awk_file" Makefile "runtime/$2")
  status=$?
  if [ -z "$4" ]; then
    wanted= wanted_status=0
  else
    wanted="runtime/$2:$4" wanted_status=1
  fi
  if [ "$got" = "$wanted" ] && [ $status = $wanted_status ]; then
    echo "ok $tests - $1"
  else
    printf 'not ok %d - %s\n# status %d, got: %s\n' $tests "$1" $status "$got"
  fi
}

check "a lower floor" pool/pool.c '#include "base/list.h"' ''
check "the own folder" pool/pool.c '#include "pool/pool.h"' ''
check "two floors down" service/main.c '#include "pg/pg.h"' ''
check "the public header, from above" service/main.c '#include "tidepool.h"' ''
check "the public header, where it is made" host/api.c '#include "tidepool.h"' ''
check "a header of libc" base/err.c '#include <stdio.h>' ''
check "a library's own folder" pg/link.c '#include <libpq-fe.h>' ''
check "the one file that parses" http/parse.c '#include <http_parser.h>' ''
check "a higher floor" pool/pool.c '#include "net/loop.h"' '2: pool/ may not see net/'
check "a wing of the same floor" pg/link.c '#include "redis/redis.h"' \
  '2: pg/ may not see redis/'
check "the public header, from below" net/loop.c '#include "tidepool.h"' \
  '2: net/ may not see runtime/'
check "spaces around the include" pool/pool.c ' #  include  "net/loop.h"' \
  '2: pool/ may not see net/'
check "libuv outside net/" pg/link.c '#include <uv.h>' '2: <uv.h> is only for net '
check "libpq outside pg/" script/bind.c '#include <libpq-fe.h>' \
  '2: <libpq-fe.h> is only for pg '
check "hiredis outside redis/" pg/link.c '#include <hiredis/read.h>' \
  '2: <hiredis.h> is only for redis '
check "OpenSSL outside net/" http/conn.c '#include <openssl/ssl.h>' \
  '2: <openssl.h> is only for net '
check "Lua outside script/" service/main.c '#include <lua.h>' \
  '2: <lua.h> is only for script policy host '
check "Lua under a folder's name" net/loop.c '#include <luajit-2.1/lauxlib.h>' \
  '2: <lauxlib.h> is only for script policy host '
check "the HTTP parser elsewhere in http/" http/server.c '#include <llhttp.h>' \
  '2: <llhttp.h> is only for http/parse.c http/answer.c '
check "a folder that has no floor" attic/old.c 'int old;' \
  '1: attic/ has no floor in the Makefile'
check "an include from nowhere" pool/pool.c '#include "attic/old.h"' \
  '2: "attic/old.h" is in no folder with a floor'
echo "1..$tests"
