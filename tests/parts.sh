#!/usr/bin/env bash
# parts.sh - runs the parts of `make test`, and says how long each took.
#
#   parts.sh "PART..." ["WAITING..." "ASIDE..." ["PART..."]]...
#
# WAITING are parts that mostly wait, for servers and clocks, or do not mind when things
# take longer.  ASIDE, which only compute, run beside these where nobody else wants a
# core; they are awaited afterwards, and what they said is shown.  The others have the
# machine to themselves.  Exit status 1: a part failed, and those after it were not run.
set -u

log=$(mktemp)
aside=
finish() {
  test -z "$aside" || kill -- "-$aside" 2>/dev/null
  rm -f "$log"
}
trap finish EXIT
trap 'exit 1' INT TERM

run() {
  for part in $1; do
    echo "== $part"
    start=$SECONDS
    if ! "${MAKE:-make}" --no-print-directory -j"$(nproc)" "$part"; then
      echo "== $part failed"
      return 1
    fi
    echo "== $part took $((SECONDS - start)) s"
  done
}

# In a group of its own, so that all of it can be ended.
begin_aside() {
  set -m
  chrt --idle 0 bash "$0" "$1" </dev/null >"$log" 2>&1 &
  aside=$!
  set +m
}

await_aside() {
  wait "$aside"
  status=$?
  aside=
  cat "$log"
  return "$status"
}

run "$1" || exit 1
shift
while [ $# -gt 0 ]; do
  begin_aside "$2"
  run "$1" || exit 1
  echo "== the rest of $2"
  start=$SECONDS
  await_aside || exit 1
  echo "== the rest took $((SECONDS - start)) s"
  run "${3-}" || exit 1
  shift $(($# < 3 ? $# : 3))
done
