# tidepool - Postgres and Redis pools in C, scripted in Lua.
#
#   make          builds build/tidepool, build/libtidepool.so, build/libtidepool.a
#   make run      installs what is missing, builds, serves examples/quickstart
#   make test     installs what is missing, then unit, shares of sim, faults and fuzz,
#                 live, oom, cli, embed, lint and asan
#   make unit     unit tests only: no servers, seconds
#   make live     tests on a Postgres and a Redis that the tests start;
#                 SPECS="tests/live/redis_spec.lua ..." runs these only
#   make embed    programs that embed the library
#   make oom      requests of a service whose n-th allocation fails; OOM=all: also in
#                 libraries
#   make faults   proxies, server faults and histories, minutes: tests/README.md;
#                 SPECS="tests/faults/matrix_spec.lua ..." runs these only
#   make cli      the command line and the quickstart, from outside
#   make sim      a million random schedules against the pool on a virtual clock;
#                 SCHEDULES=n runs so many, SEED=n this one, with its trace
#   make tsan     embed under TSan; make valgrind  unit and embed under memcheck
#   make asan     unit, sim, live, embed, the ends of services and fuzz-regress under
#                 ASan and UBSan
#   make bench    installs what is missing, measures side by side with others;
#                 BENCH="select redis ..." runs these only
#   make fuzz     installs what is missing, libFuzzer on all that reads bytes from
#                 outside, SECONDS=60 each; TARGETS="toml resp ..." runs these only
#   make fuzz-regress  what it has found, and the corpora, by any compiler
#   make soak     mixed load with kills and reloads for HOURS=1; SEED=n is another
#                 schedule; figures and a picture in build/soak
#   make lint     floors, clang-format, clang-tidy, luacheck
#   make types    lua/types/, for editors, of the manual lua/README.md
#   make install  to $(DESTDIR)$(PREFIX); make uninstall takes it away
#   make deb      installs what is missing, packages for Debian in build-deb
#   make clean
#
# CFLAGS, LDFLAGS and LDLIBS from the command line are appended to ours.

BUILD ?= build
PREFIX ?= /usr/local
VERSION := 0.1.0
RELEASED := November 30, 2026
SONAME := libtidepool.so.0

# Every folder of runtime/ with the floor it is on; tests/lint/floors.awk reads
# this line.  A file includes lower floors or its own folder.
FLOORS := base:0 pool:1 policy:2 net:2 pg:3 redis:3 http:3 trace:3 sim:4 script:5 host:6 service:7

LIBRARIES := luajit libuv libpq hiredis libssl libcrypto zlib
HTTP_LIBRARY := $(shell pkg-config --exists libllhttp 2>/dev/null && echo libllhttp)

TIDE_CPPFLAGS := -Iruntime -D_GNU_SOURCE -DTIDEPOOL_VERSION='"$(VERSION)"' \
	$(shell pkg-config --cflags $(LIBRARIES) $(HTTP_LIBRARY) 2>/dev/null) \
	$(if $(HTTP_LIBRARY),-DHAVE_LLHTTP)
TIDE_CFLAGS := -std=c11 -O2 -g -fPIC -fvisibility=hidden -fno-semantic-interposition \
	-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wconversion -Wno-sign-conversion -Werror
# cjson and LPeg are linked as libraries, so the binary needs no Lua files.
TIDE_LDLIBS := -llua5.1-cjson -llua5.1-lpeg \
	$(shell pkg-config --libs $(LIBRARIES) 2>/dev/null) \
	$(if $(HTTP_LIBRARY),$(shell pkg-config --libs $(HTTP_LIBRARY)),-lhttp_parser) -lm

# Those of libFuzzer: see tests/fuzz.
SANITIZE ?=
ifneq ($(findstring fuzzer,$(SANITIZE)),)
TIDE_CPPFLAGS += -DFUZZ_ENGINE
endif
ifneq ($(SANITIZE),)
TIDE_CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif

Q := @
say = @printf '%-6s %s\n' $(1) $(2)
COMPILE = $(CC) $(TIDE_CPPFLAGS) $(CPPFLAGS) $(TIDE_CFLAGS) $(CFLAGS) -MMD -MP

LIB_SOURCES := $(foreach floor,base pool policy net pg redis http trace sim script host,$(wildcard runtime/$(floor)/*.c))
MAIN_SOURCES := $(wildcard runtime/service/*.c)
LUA_SOURCES := $(shell find lua/tidepool -name '*.lua' 2>/dev/null | sort)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/lua_modules.o
MAIN_OBJECTS := $(MAIN_SOURCES:%.c=$(BUILD)/%.o)

all: $(BUILD)/tidepool $(BUILD)/libtidepool.so $(BUILD)/libtidepool.a

$(BUILD)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -c -o $@ $<

# Lua modules as C arrays, by a program of the machine that builds.
$(BUILD)/lua/embed: lua/embed.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(TIDE_CPPFLAGS) $(CPPFLAGS) -std=c11 -O1 -Wall -Wextra -Werror -o $@ $< \
		$(shell pkg-config --libs luajit 2>/dev/null)

$(BUILD)/lua_modules.c: $(LUA_SOURCES) $(BUILD)/lua/embed
	$(call say,EMBED,$@)
	$(Q)$(BUILD)/lua/embed $(LUA_SOURCES) > $@.tmp && mv $@.tmp $@

$(BUILD)/lua_modules.o: $(BUILD)/lua_modules.c
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/libtidepool.a: $(LIB_OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) qcs $@ $(LIB_OBJECTS)

$(BUILD)/libtidepool.so: $(LIB_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--exclude-libs,ALL -Wl,-z,nodelete \
		$(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) \
		-o $@ $(LIB_OBJECTS) $(TIDE_LDLIBS) $(LDLIBS)

$(BUILD)/tidepool: $(MAIN_OBJECTS) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(MAIN_OBJECTS) \
		$(BUILD)/libtidepool.a $(TIDE_LDLIBS) $(LDLIBS)

# ---- unit tests: tests/unit/test_X.c, each a TAP program over the library

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_HELPERS := $(filter-out $(UNIT_SOURCES),$(wildcard tests/unit/*.c))
UNIT_PROGRAMS := $(UNIT_SOURCES:%.c=$(BUILD)/%)
UNIT_HELPER_OBJECTS := $(UNIT_HELPERS:%.c=$(BUILD)/%.o)

$(BUILD)/tests/unit/%.o: TIDE_CPPFLAGS += -Itests/unit
.PRECIOUS: $(BUILD)/%.o

# Some hundred programs are linked: by the linker that takes half the time, where there
# is one.
QUICK_LD := $(if $(shell command -v ld.gold),-fuse-ld=gold)

# The allocation functions are wrapped so that a test can make the n-th fail.
WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup
$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(UNIT_HELPER_OBJECTS) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) $(WRAP) $(QUICK_LD) \
		-o $@ $< $(UNIT_HELPER_OBJECTS) $(BUILD)/libtidepool.a -lcmocka $(TIDE_LDLIBS) $(LDLIBS)

# Every suite prints TAP, so that prove counts all of them.
PROVE := prove --failures --comments

# cmocka ends each program with a comment, for which prove begins a new line.
TIDY_TAP := awk '/^\# ok - / { next } /[.] $$/ { printf "%s", $$0; next } 1'

unit: SHELL := bash
unit: .SHELLFLAGS := -o pipefail -c
unit: $(UNIT_PROGRAMS)
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PROVE) -e 'timeout 120' $^ | $(TIDY_TAP)

# ---- tests/sim: the pool on a virtual clock, seeded; see tests/README.md

SIM_SOURCES := $(wildcard tests/sim/*.c)
SIM_OBJECTS := $(SIM_SOURCES:%.c=$(BUILD)/%.o)
SIM := $(BUILD)/tests/sim/sim

$(BUILD)/tests/sim/%.o: TIDE_CPPFLAGS += -Itests/sim

$(SIM): $(SIM_OBJECTS) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(SIM_OBJECTS) \
		$(BUILD)/libtidepool.a $(TIDE_LDLIBS) $(LDLIBS)

SCHEDULES ?= 1000000
SEED ?=
SIM_OPTIONS = $(if $(SEED),--seed $(SEED),--schedules $(SCHEDULES))

sim: $(SIM)
	@$(PROVE) -v -e '' $(SIM) :: $(SIM_OPTIONS)

# As many as a few seconds allow, for `make test`.
sim-share: $(SIM)
	@$(PROVE) -v -e '' $(SIM) :: --schedules $(SCHEDULES) --seconds 8

# ---- tests/live: busted inside the runtime, on servers of its own

SPECS := $(wildcard tests/live/*_spec.lua)
# Of all specs together; more where TEST_SLOWNESS is.
LIVE_SECONDS ?= 600

# Failures are made on purpose there, so what is logged is kept aside; what
# sanitizers and a panic say is shown.
live: $(BUILD)/tidepool
	@$(PROVE) -e 'timeout -k 20 $(LIVE_SECONDS) $(BUILD)/tidepool run --trusted' tests/live/run.lua :: -- $(SPECS) \
		2>$(BUILD)/live.log || { grep -v '^ts=' $(BUILD)/live.log; \
			echo "log: $(BUILD)/live.log"; exit 1; }

# ---- tests/faults: what breaks on purpose; a share of it is enough for each change

FAULTS ?= all
FAULT_PROGRAM := $(BUILD)/tests/faults/proxy
FAULT_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/faults/*.c))

$(FAULT_PROGRAM): $(FAULT_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

faults: SPECS := $(wildcard tests/faults/*_spec.lua)
faults: $(BUILD)/tidepool $(FAULT_PROGRAM)
	@BUILD=$(BUILD) FAULTS=$(FAULTS) $(PROVE) -v \
		-e 'timeout -k 20 3000 $(BUILD)/tidepool run --trusted' tests/live/run.lua :: -- $(SPECS) \
		2>$(BUILD)/faults.log || { grep -v '^ts=' $(BUILD)/faults.log; \
			echo "log: $(BUILD)/faults.log"; exit 1; }

# Without the servers' faults: one fault a moment and backend, short histories.
faults-share:
	@$(MAKE) --no-print-directory FAULTS=share faults \
		SPECS='$(patsubst %,tests/faults/%_spec.lua,proxy linear matrix history complaints complaints_wire)'

# ---- tests/cli: the built program from outside

# These load the machine, or measure; the others mostly wait, so two at a time.
CLI_ALONE := $(patsubst %,tests/cli/%.t,attacks budget drain overload record reload tune workers)
CLI_BESIDE := $(filter-out $(CLI_ALONE),$(wildcard tests/cli/*.t))

cli: all
	@$(MAKE) --no-print-directory cli-alone
	@$(MAKE) --no-print-directory cli-beside

cli-alone: all
	@BUILD=$(BUILD) prove --failures $(CLI_ALONE)

cli-beside: all
	@BUILD=$(BUILD) prove --failures -j2 $(CLI_BESIDE)

# ---- tests/oom: a request whose n-th allocation fails

OOM_HOOKS := $(BUILD)/tests/oom/hook.o $(BUILD)/tests/unit/oom_wrap.o

$(BUILD)/tests/oom/tidepool: $(OOM_HOOKS) $(MAIN_OBJECTS) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) $(WRAP) -o $@ $(OOM_HOOKS) $(MAIN_OBJECTS) \
		$(BUILD)/libtidepool.a $(TIDE_LDLIBS) $(LDLIBS)

$(BUILD)/tests/oom/hook.so: tests/oom/hook.c
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -fvisibility=default -DPRELOAD -shared -o $@ $<

# Sanitizers have an allocator of their own: there OOM=all cannot be.
oom: all $(BUILD)/tests/oom/tidepool $(BUILD)/tests/oom/hook.so
	@BUILD=$(BUILD) prove --failures --comments tests/oom/*.t

# ---- tests/embed: programs that know tidepool.h and libtidepool.so alone

EMBED_SOURCES := $(wildcard tests/embed/test_*.c)
EMBED_PROGRAMS := $(EMBED_SOURCES:%.c=$(BUILD)/%)
EMBED_HELPER := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(EMBED_SOURCES),$(wildcard tests/embed/*.c)))

$(BUILD)/tests/embed/test_%: $(BUILD)/tests/embed/test_%.o $(EMBED_HELPER) $(BUILD)/libtidepool.so
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(EMBED_HELPER) $(BUILD)/libtidepool.so \
		-Wl,-rpath,$(abspath $(BUILD)) -lcmocka -luv -pthread \
		$(shell pkg-config --libs luajit 2>/dev/null) $(LDLIBS)

embed-programs: $(EMBED_PROGRAMS)
	@ln -sf libtidepool.so $(BUILD)/$(SONAME)

embed: SHELL := bash
embed: .SHELLFLAGS := -o pipefail -c
embed: embed-programs
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PROVE) -e 'timeout 120' $(EMBED_PROGRAMS) | $(TIDY_TAP)

# ---- tests/bench: side by side with pgbench, redis-benchmark, nginx and Node

BENCH ?=
BENCH_SOURCES := $(wildcard tests/bench/*.c)
BENCH_PROGRAMS := $(BENCH_SOURCES:%.c=$(BUILD)/%)
SILENT := $(BUILD)/tests/embed/silent.o

$(BUILD)/tests/bench/%.o: TIDE_CPPFLAGS += -Itests/embed
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(SILENT) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(SILENT) \
		$(BUILD)/libtidepool.a $(TIDE_LDLIBS) $(LDLIBS)

bench-programs: $(BUILD)/tidepool $(BENCH_PROGRAMS)

# A comparison whose tool cannot be installed is left out, with a line that says so.
bench:
	@.ci/deps bench || echo 'going on with what is here'
	@$(MAKE) -s --no-print-directory -j$(shell nproc) bench-programs
	@BUILD=$(BUILD) $(BUILD)/tidepool run --trusted tests/bench/run.lua -- $(BENCH)

# ---- tests/soak: hours of mixed load, with what goes wrong in them

HOURS ?= 1

soak: $(BUILD)/tidepool
	@$(BUILD)/tidepool run --trusted tests/soak/run.lua -- $(HOURS) $(BUILD)/soak $(or $(SEED),1)

# ---- both once more, with the sanitizers, and Lua interpreted

ASAN_BUILD := build-asan
# Not those whose subject is Lua; with ASAN_SPECS='$(SPECS)' all.
ASAN_SPECS ?= $(filter-out $(patsubst %,tests/live/%_spec.lua,admin check class config control \
	credentials dotenv examples globals leaderboard lock manual memo monitoring queue ratelimit \
	secrets serial session),$(SPECS))
# A plus before it, for make sees no $(MAKE) there and would give it one core.
ASAN_MAKE = $(MAKE) --no-print-directory BUILD=$(ASAN_BUILD) CFLAGS='-O1 $(CFLAGS)' \
	SANITIZE=address,undefined

# What it runs.
asan-programs:
	+@$(ASAN_MAKE) programs

programs: all $(UNIT_PROGRAMS) $(SIM) $(BUILD)/tests/fuzz/replay embed-programs

asan asan-others asan-live: export ASAN_OPTIONS = detect_leaks=1:abort_on_error=0
asan asan-others asan-live: export UBSAN_OPTIONS = print_stacktrace=1
asan asan-others asan-live: export TEST_JIT = off
asan asan-others asan-live: export TEST_SLOWNESS = 3
asan: asan-programs
	+@$(MAKE) --no-print-directory asan-others
	+@$(MAKE) --no-print-directory asan-live

asan-others:
	+$(ASAN_MAKE) unit
	+$(ASAN_MAKE) sim-share
	+$(ASAN_MAKE) fuzz-replay
	@BUILD=$(ASAN_BUILD) prove --failures tests/cli/drain.t tests/cli/https.t
	+$(ASAN_MAKE) embed

asan-live:
	+$(ASAN_MAKE) live SPECS='$(ASAN_SPECS)'

# ---- threads under TSan, and memory under valgrind: by hand, not in make test

TSAN_BUILD := build-tsan
tsan: export TSAN_OPTIONS = halt_on_error=1
tsan:
	$(MAKE) BUILD=$(TSAN_BUILD) SANITIZE=thread embed

VALGRIND := valgrind -q --error-exitcode=9 --leak-check=full \
	--show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible
# Statements share a group, as test_pg_lane wants, only on a machine that is fast; and
# what OpenSSL keeps for libuv's threads, where test_step logs in, counts as lost.
NOT_VALGRIND := unit/test_pg_lane embed/test_step
valgrind: export TEST_SLOWNESS = 20
valgrind: export STRESS_ROUNDS = 3
valgrind: export TEST_VALGRIND = 1
valgrind: $(UNIT_PROGRAMS) embed-programs
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PROVE) -e 'timeout 600 $(VALGRIND)' \
		$(filter-out $(NOT_VALGRIND:%=$(BUILD)/tests/%),$(UNIT_PROGRAMS) $(EMBED_PROGRAMS))

# ---- tests/fuzz: targets fuzz_X.c and fuzz_X.lua, their corpora, what was found

FUZZ_BUILD := build-fuzz
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_LUA := $(wildcard tests/fuzz/fuzz_*.lua)
FUZZ_SHARED := $(patsubst %,$(BUILD)/tests/fuzz/%.o,input json_check lua_host) \
	$(patsubst %,$(BUILD)/tests/unit/%.o,http_client redis_peer turns)
FUZZ_PROGRAMS := $(FUZZ_C:%.c=$(BUILD)/%) $(FUZZ_LUA:%.lua=$(BUILD)/%)
FUZZ_FOLDERS = $(sort $(wildcard tests/fuzz/corpus/* tests/fuzz/regress/*))
SECONDS ?= 60
TARGETS ?=

$(BUILD)/tests/fuzz/%.o: TIDE_CPPFLAGS += -Itests/fuzz -Itests/unit

FUZZ_LIBRARY := $(BUILD)/tests/fuzz/shared.a
$(FUZZ_LIBRARY): $(FUZZ_SHARED)
	$(Q)rm -f $@ && $(AR) qcs $@ $^

FUZZ_LINK = $(CC) $(TIDE_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(1) $(FUZZ_LIBRARY) \
	$(BUILD)/libtidepool.a -lcmocka $(TIDE_LDLIBS) $(LDLIBS)

$(FUZZ_C:%.c=$(BUILD)/%): %: %.o $(FUZZ_LIBRARY) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(call FUZZ_LINK,-fsanitize=fuzzer $<)

# One program for all targets in Lua: it looks at its name.
$(BUILD)/tests/fuzz/lua_engine: %: %.o $(FUZZ_LIBRARY) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(call FUZZ_LINK,-fsanitize=fuzzer $<)

$(FUZZ_LUA:%.lua=$(BUILD)/%): $(BUILD)/tests/fuzz/lua_engine
	$(Q)ln -sf lua_engine $@

# All targets, on files alone.
$(BUILD)/tests/fuzz/replay: %: %.o $(FUZZ_C:%.c=$(BUILD)/%.o) $(FUZZ_LIBRARY) $(BUILD)/libtidepool.a
	$(call say,LINK,$@)
	$(Q)$(call FUZZ_LINK,$< $(filter $(BUILD)/tests/fuzz/fuzz_%.o,$^))

fuzz-programs: $(FUZZ_PROGRAMS)

fuzz:
	@.ci/deps fuzz
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=$(FUZZ_BUILD) CC=clang CFLAGS=-O1 \
		SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
	@$(PROVE) -v -e sh tests/fuzz/run.sh :: $(FUZZ_BUILD)/tests/fuzz $(SECONDS) $(TARGETS)

# All at once, so each has a small part of the cores; and always with the same chance.
fuzz-share:
	@AT_ONCE=$(words $(FUZZ_PROGRAMS)) CHANCE=1 $(MAKE) --no-print-directory fuzz

# By any compiler, under the sanitizers of make asan.
fuzz-regress:
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=$(ASAN_BUILD) SANITIZE=address,undefined \
		fuzz-replay

fuzz-replay: $(BUILD)/tests/fuzz/replay
	@ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 $(PROVE) -e '' $< :: $(FUZZ_FOLDERS)

# ---- lint

C_SOURCES := $(LIB_SOURCES) $(MAIN_SOURCES)
C_HEADERS := $(wildcard runtime/*.h runtime/*/*.h)
C_TESTS := $(wildcard tests/*/*.[ch] examples/*/*.[ch] examples/*/*.[ch]pp)
BUGS := $(wildcard tests/*/bugs/*.patch)
MANUAL_TOOL := $(wildcard lua/manual/*.lua)
LUA_ALL := $(LUA_SOURCES) $(MANUAL_TOOL) \
	$(shell find examples tests -name '*.lua' 2>/dev/null | sort)

# The analyzer's paths are bounded: four times as many took three times as long.
TIDY = clang-tidy --quiet {} -- -include tests/lint/noreturn.h \
	-Xclang -analyzer-config -Xclang max-nodes=75000 $(TIDE_CPPFLAGS) -std=c11
ALONE = $(CC) $(TIDE_CPPFLAGS) -std=c11 -Wall -Wextra -Werror -fsyntax-only \
	-include {} -x c /dev/null
EACH := xargs -P $(shell nproc) -I{}

lint:
	@$(PROVE) -e sh tests/lint/floors_test.sh
	@awk -f tests/lint/floors.awk Makefile $(C_SOURCES) $(C_HEADERS)
	$(call say,FLOORS,'nobody looks up')
	@for file in $(basename $(notdir $(C_SOURCES))) $(notdir $(LUA_SOURCES) $(MANUAL_TOOL)); do \
		grep -qF "* \`$$file\`" runtime/README.md || \
			{ echo "runtime/README.md has no line for $$file"; exit 1; }; \
	done
	$(call say,MAP,'runtime/README.md names every file')
	@awk -v modules='$(LUA_SOURCES)' -f tests/lint/requires.awk $(LUA_ALL)
	$(call say,NEEDS,'every module that is required is there')
	@for bug in $(BUGS); do \
		patch --dry-run -F0 -s -p1 <$$bug >/dev/null || { echo "$$bug does not fit"; exit 1; }; \
	done
	$(call say,BUGS,'those that tests must find can be put in')
	@printf '%s\n' $(C_HEADERS) | $(EACH) $(ALONE)
	$(call say,HEADER,'each compiles alone')
	@clang-format --dry-run -Werror $(C_SOURCES) $(C_HEADERS) $(C_TESTS)
	$(call say,FORMAT,'as .clang-format has it')
	@printf '%s\n' $(C_SOURCES) | $(EACH) $(TIDY) 2>/dev/null
	$(call say,TIDY,'nothing found')
	@luacheck --no-color -q $(LUA_ALL)

# ---- what editors know of the Lua API; a test sees when it is old

types: $(BUILD)/tidepool
	$(call say,TYPES,lua/types/tidepool.lua)
	@$(BUILD)/tidepool run --trusted lua/manual/generate.lua -- lua/README.md lua/types/tidepool.lua

# ---- everything

# What is missing is installed first; the make that follows sees it.
run:
	@.ci/deps run
	@$(MAKE) --no-print-directory -j$(shell nproc) $(BUILD)/tidepool
	$(BUILD)/tidepool dev examples/quickstart/app.lua

test:
	@.ci/deps test
	@MAKE='$(MAKE)' bash tests/parts.sh 'unit sim-share live faults-share oom' \
		'cli-beside embed' 'asan-programs lint' 'cli-alone asan-others' 'asan-live' 'fuzz-share'

# ---- what is put on a machine

INCLUDEDIR ?= $(PREFIX)/include
LIBDIR ?= $(PREFIX)/lib
DATADIR ?= $(PREFIX)/share
# Where the distribution has modules in C for Lua 5.1.
LUA_MODULE := $(LIBDIR)/lua/5.1/tidepool.so
LIBRARY_FILE := libtidepool.so.$(VERSION)

# Of the help texts, so it has every command and option.
$(BUILD)/tidepool.1: $(BUILD)/tidepool lua/manual/page.lua Makefile
	$(call say,MAN,$@)
	$(Q)$(BUILD)/tidepool run --trusted lua/manual/page.lua -- $(BUILD)/tidepool $@ '$(RELEASED)'

$(BUILD)/tidepool.pc: Makefile
	@mkdir -p $(@D)
	$(Q)printf '%s\n' $(PKG_CONFIG_LINES) > $@

# Written anew each time, for PREFIX may be another.
.PHONY: $(BUILD)/tidepool.pc
PKG_CONFIG_LINES = 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCLUDEDIR)' '' \
	'Name: tidepool' 'Description: Postgres and Redis pools, scripted in Lua' \
	'Version: $(VERSION)' 'Cflags: -I$${includedir}' \
	'Libs: -L$${libdir} -ltidepool' 'Libs.private: $(TIDE_LDLIBS)'

INSTALLED = $(PREFIX)/bin/tidepool $(INCLUDEDIR)/tidepool.h $(LIBDIR)/libtidepool.a \
	$(LIBDIR)/$(LIBRARY_FILE) $(LIBDIR)/$(SONAME) $(LIBDIR)/libtidepool.so \
	$(LUA_MODULE) $(LIBDIR)/pkgconfig/tidepool.pc \
	$(DATADIR)/man/man1/tidepool.1 \
	$(DATADIR)/tidepool/types/tidepool.lua

install: all $(BUILD)/tidepool.1 $(BUILD)/tidepool.pc
	install -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED))))
	install $(BUILD)/tidepool $(DESTDIR)$(PREFIX)/bin
	install -m 644 runtime/tidepool.h $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(BUILD)/libtidepool.a $(DESTDIR)$(LIBDIR)
	install -m 644 $(BUILD)/libtidepool.so $(DESTDIR)$(LIBDIR)/$(LIBRARY_FILE)
	ln -sf $(LIBRARY_FILE) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libtidepool.so
	ln -sf ../../$(SONAME) $(DESTDIR)$(LUA_MODULE)
	install -m 644 $(BUILD)/tidepool.pc $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 $(BUILD)/tidepool.1 $(DESTDIR)$(DATADIR)/man/man1
	install -m 644 lua/types/tidepool.lua $(DESTDIR)$(DATADIR)/tidepool/types

# Its own folders, too, when nothing else is in them.
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@rmdir $(DESTDIR)$(DATADIR)/tidepool/types $(DESTDIR)$(DATADIR)/tidepool \
		$(DESTDIR)$(LIBDIR)/lua/5.1 $(DESTDIR)$(LIBDIR)/lua 2>/dev/null || true

# ---- packages for Debian, with the flags that its own are built with

DEB_BUILD ?= build-deb
deb: export DEB_BUILD_MAINT_OPTIONS = hardening=+bindnow
deb:
	@.ci/deps deb
	@$(MAKE) --no-print-directory -j$(shell nproc) all BUILD=$(DEB_BUILD) \
		CPPFLAGS="$$(dpkg-buildflags --get CPPFLAGS)" \
		CFLAGS="$$(dpkg-buildflags --get CFLAGS)" \
		LDFLAGS="$$(dpkg-buildflags --get LDFLAGS)"
	@VERSION=$(VERSION) RELEASED='$(RELEASED)' BUILD=$(abspath $(DEB_BUILD)) \
		examples/deploy/debian/build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

clean:
	rm -rf build build-*

.PHONY: all unit sim sim-share live faults faults-share cli cli-alone cli-beside oom embed embed-programs tsan valgrind bench bench-programs soak asan asan-others asan-live asan-programs programs \
	fuzz fuzz-programs fuzz-share fuzz-regress fuzz-replay lint types run test install uninstall deb clean
