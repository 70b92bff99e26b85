#!/bin/sh
# coverage.sh - how much of the files that a target is for its inputs reach.
#
#   coverage.sh FOLDER TARGET FILE...
#
# FOLDER has the programs of make fuzz.  Of C files functions are counted that were
# not inlined, and edges, half of which are UBSan's own, which none should reach; of
# Lua files lines.
set -eu

folder=$1
target=$2
shift 2
folders=
for each in "tests/fuzz/corpus/$target" "tests/fuzz/regress/$target" \
  "$folder/corpus/$target"; do
  test ! -d "$each" || folders="$folders $each"
done
log=$folder/$target.coverage
# shellcheck disable=SC2086
FUZZ_LINES=1 "$folder/fuzz_$target" -runs=0 -print_coverage=1 $folders >"$log" 2>&1

for file in "$@"; do
  printf '%-18s ' "$target"
  case $file in
    *.c)
      grep "COVERED_FUNC: .*/$file:" "$log" |
        awk -v file="$file" '{ functions++; reached += /^COVERED/
            match($0, /edges: [0-9]+\/[0-9]+/)
            split(substr($0, RSTART + 7, RLENGTH - 7), of, "/")
            edges += of[1]; all += of[2] }
          END { print file ": " reached + 0 " of " functions + 0 " functions, " \
            edges + 0 " of " all + 0 " edges" }'
      ;;
    *) grep "^$file: " "$log" || echo "$file: none" ;;
  esac
done
