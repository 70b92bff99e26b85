std = "luajit"
max_line_length = 90
self = false -- methods that do not use self are fine

files["tests/live/*_spec.lua"] = { std = "luajit+busted" }
files["tests/faults/*_spec.lua"] = { std = "luajit+busted" }
files["tests/live/run.lua"] = { std = "luajit+busted" }
files["examples/*/*_spec.lua"] = { std = "luajit+busted" }
