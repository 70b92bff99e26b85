# floors.awk - who may include whom: the floors of the house.
#
#   awk -f tests/lint/floors.awk Makefile runtime/*.h runtime/*/*.[ch]
#
# FLOORS in the Makefile gives each folder of runtime/ its floor.  A file
# includes lower floors or its own folder; a library's header is for the places
# named here.  runtime/tidepool.h lies right below host/, which implements it.

function complain(text) {
  printf "%s:%d: %s\n", FILENAME, FNR, text
  bad = 1
}

function allow(header, places) { allowed[header] = " " places " " }

BEGIN {
  allow("uv", "net"); allow("libpq-fe", "pg"); allow("hiredis", "redis"); allow("zlib", "trace")
  allow("openssl", "net")
  allow("lua", "script policy host"); allow("lauxlib", "script policy host")
  allow("lualib", "script policy host"); allow("luajit", "script policy host")
  allow("llhttp", "http/parse.c http/answer.c"); allow("http_parser", "http/parse.c http/answer.c")
}

/^FLOORS :=/ {
  for (i = 3; i <= NF; i++) { split($i, pair, ":"); floor[pair[1]] = pair[2] }
  floor["runtime"] = floor["host"] - 0.5 # tidepool.h
}

FNR == 1 && FILENAME ~ /\.[ch]$/ {
  n = split(FILENAME, path, "/")
  here = path[n - 1]
  if (!(here in floor)) complain(here "/ has no floor in the Makefile")
}

/^[ \t]*#[ \t]*include[ \t]*</ {
  library = $0
  sub(/^[^<]*</, "", library); sub(/\.h>.*/, "", library)
  if (library ~ /^hiredis\//) library = "hiredis"
  if (library ~ /^openssl\//) library = "openssl"
  sub(/.*\//, "", library)
  if (library in allowed && index(allowed[library], " " here " ") == 0 &&
      index(allowed[library], " " here "/" path[n] " ") == 0)
    complain("<" library ".h> is only for" allowed[library])
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
  split($0, quoted, "\"")
  there = quoted[2] ~ /\// ? quoted[2] : "runtime/" quoted[2]
  sub(/\/.*/, "", there)
  if (!(there in floor)) complain("\"" quoted[2] "\" is in no folder with a floor")
  else if (there != here && floor[there] >= floor[here])
    complain(here "/ may not see " there "/")
}

END { exit bad }
