#!/bin/sh
# run.sh - runs targets under libFuzzer, and says how it went, as TAP.
#
#   [AT_ONCE=2] [CHANCE=n] run.sh FOLDER SECONDS [TARGET...]
#
# AT_ONCE targets run at the same time: with more of them than cores, each has its
# seconds by the clock, and of a processor what the table says.  With CHANCE, what is
# tried does not differ from run to run, but for how far it comes.
# FOLDER has the programs; what is found goes to FOLDER/found/TARGET, what is new
# in the corpus to FOLDER/corpus/TARGET, where the next run goes on.
set -u

folder=$1
seconds=$2
at_once=${AT_ONCE:-2}
shift 2
test $# -gt 0 || set -- $(ls tests/fuzz | sed -n 's/^fuzz_\(.*\)\.\(c\|lua\)$/\1/p' | sort)

# Findings end a target; leaks are looked for where nothing is kept on purpose.
# What takes a minute for each that runs may be the machine: nothing that is right
# takes a second.  What a target had of a processor is in TARGET.times.
run_one() {
  target=$1
  mkdir -p "$folder/found/$target" "$folder/corpus/$target"
  seeds=
  for seed in "tests/fuzz/corpus/$target" "tests/fuzz/regress/$target"; do
    test ! -d "$seed" || seeds="$seeds $seed"
  done
  dictionary=
  test ! -f "tests/fuzz/dict/$target" || dictionary="-dict=tests/fuzz/dict/$target"
  # what is freed is watched, but not a quarter of a gigabyte in pieces of 16 bytes
  export ASAN_OPTIONS=quarantine_size_mb=64
  # shellcheck disable=SC2086
  timeout --foreground -k 10 $((2 * seconds + 240)) "$folder/fuzz_$target" \
    -max_total_time="$seconds" -timeout=$((60 * at_once)) -seed="${CHANCE:-0}" \
    -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 $dictionary \
    -artifact_prefix="$folder/found/$target/" "$folder/corpus/$target" $seeds \
    >"$folder/$target.log" 2>&1
  echo $? >"$folder/$target.status"
  times >"$folder/$target.times"
}

waiting=
count=0
for target in "$@"; do
  run_one "$target" &
  waiting="$waiting $!"
  count=$((count + 1))
  if [ "$count" = "$at_once" ]; then
    wait ${waiting}
    waiting=
    count=0
  fi
done
wait

count() { sed -n "s/^stat::$2: *//p" "$folder/$1.log" | tail -1; }
# Of the program that the target is: user and system, in seconds.
processor() {
  sed -n 2p "$folder/$1.times" | tr 'ms' '  ' | awk '{ printf "%d", $1 * 60 + $2 + $3 * 60 + $4 }'
}
last() { grep -o "$2: [0-9]*" "$folder/$1.log" | tail -1 | grep -o '[0-9]*$'; }

echo "1..$#"
printf '#      %-18s %12s %8s %9s %7s %9s\n' target executions edges features seconds \
  processor
number=0
for target in "$@"; do
  number=$((number + 1))
  said=ok
  test "$(cat "$folder/$target.status")" = 0 || said="not ok"
  ran=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$folder/$target.log")
  printf '%s %2d - %-18s %12s %8s %9s %7s %9s\n' "$said" $number "$target" \
    "$(count "$target" number_of_executed_units)" "$(last "$target" cov)" \
    "$(last "$target" ft)" "${ran:--}" "$(processor "$target")"
  test "$said" = ok || sed 's/^/# /' "$folder/$target.log" | tail -n 60
done
