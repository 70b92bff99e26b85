#!/bin/sh
# embed.sh - prints C arrays with the source text of the Lua files it is given.
# lua/tidepool/init.lua becomes the module "tidepool", lua/tidepool/a/b.lua "tidepool.a.b".
set -eu
echo '#include "script/lua_modules.h"'
index=0
for file in "$@"; do
  printf 'static const char text_%d[] = {\n' "$index"
  od -An -v -tx1 "$file" | sed 's/ \([0-9a-f][0-9a-f]\)/(char)0x\1,/g'
  printf '};\n'
  index=$((index + 1))
done
echo 'const struct lua_module lua_modules[] = {'
index=0
for file in "$@"; do
  name=$(echo "${file#lua/}" | sed 's/\.lua$//; s/\/init$//; s/\//./g')
  printf '    { "%s", "@%s", text_%d, sizeof text_%d },\n' "$name" "$file" "$index" "$index"
  index=$((index + 1))
done
echo '    { 0, 0, 0, 0 } };'
