# requires.awk - every module of ours that Lua requires is there.
#
#   awk -v modules="lua/tidepool/app.lua ..." -f tests/lint/requires.awk FILE.lua...

BEGIN {
  there["tidepool.core"] = 1 # in C
  n = split(modules, path, " ")
  for (i = 1; i <= n; i++) {
    name = path[i]
    sub(/^lua\//, "", name); sub(/(\/init)?\.lua$/, "", name); gsub(/\//, ".", name)
    there[name] = 1
  }
}

{
  rest = $0
  while (match(rest, /require[ (]*"tidepool[.a-z_]*"/)) {
    name = substr(rest, RSTART, RLENGTH)
    rest = substr(rest, RSTART + RLENGTH)
    sub(/^[^"]*"/, "", name); sub(/"$/, "", name)
    if (name in there) continue
    printf "%s:%d: there is no module %s\n", FILENAME, FNR, name
    bad = 1
  }
}

END { exit bad }
