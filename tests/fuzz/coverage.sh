#!/bin/sh
# coverage.sh - how much of the files that a target is for its inputs reach.
#
#   coverage.sh FOLDER TARGET FILE...
#
# FOLDER has the programs of make fuzz; of C files edges are counted, of Lua files
# lines.
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
      grep "COVERED_FUNC: .*/$file:" "$log" | sed 's/.*edges: //' |
        awk -v file="$file" '{ split($1, of, "/"); reached += of[1]; all += of[2] }
          END { print file ": " reached + 0 " of " all + 0 " edges" }'
      ;;
    *) grep "^$file: " "$log" || echo "$file: none" ;;
  esac
done
