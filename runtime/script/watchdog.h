/*
 * watchdog.h - stops scripts that do not stop: a run of a task that takes too
 * much CPU, or after which the Lua heap is too large, ends with an error, also
 * in compiled loops and whatever pcall is around.
 *
 * A thread of its own looks at the clock of the Lua state's thread.  When it
 * has seen enough it sends that thread a SIGPROF, whose handler sets a count
 * hook, which raises at the next instruction, and goes on raising until C sees
 * the error.  Compiled code calls no hooks: LuaJIT's profiler, in line mode,
 * makes it look for one at each new line, and its own handler, which ours
 * calls, sends it out to the interpreter.  (A hook alone does not reach
 * compiled loops; set from the profiler's callback it is undone.)
 *
 * So SIGPROF and the profiler are the watchdog's, of which there is one in a
 * process.  It does not stop a call of C: those that may take long ask
 * watchdog_is_over().
 */
#ifndef TIDEPOOL_SCRIPT_WATCHDOG_H
#define TIDEPOOL_SCRIPT_WATCHDOG_H

#include "base/err.h"
#include "base/log.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct watchdog;

/* CPU in nanoseconds, 0: no limit. */
struct watchdog_limits {
    uint64_t warn_ns;  /* of one run: it is logged */
    uint64_t abort_ns; /* of one run: it ends */
    uint64_t total_ns; /* of a request's task: it ends */
    uint64_t heap_max; /* bytes: the task that runs ends */
};

struct watchdog_counts {
    uint64_t warnings;
    uint64_t aborted_runs;
    uint64_t aborted_tasks; /* over total_ns */
    uint64_t aborted_heaps;
};

/* L: the main thread of its state; log is borrowed.  On failure why says what
 * is in the way: another watchdog, or somebody else's SIGPROF. */
enum err watchdog_new(struct watchdog **out, lua_State *L,
                      const struct log *log,
                      const struct watchdog_limits *limits,
                      struct err_text *why) MUST_CHECK;
/* Accepts NULL. */
void watchdog_free(struct watchdog *watchdog);

/* Of a task that total_ns is not for. */
#define WATCHDOG_NO_TOTAL UINT64_MAX

/* A task runs from here on, which has used spent_ns; name is for the log, and
 * valid to the end of the run.  All accept NULL. */
void watchdog_begin(struct watchdog *watchdog, uint64_t spent_ns,
                    const char *name);
/* It does not any more.  Gives what it used, as far as that was seen. */
uint64_t watchdog_end(struct watchdog *watchdog);
/* Why the last run was ended, whatever error came out of it; or NULL. */
const struct err_text *watchdog_verdict(const struct watchdog *watchdog);
/* Whether this run is to end: for calls of C that go on for long. */
bool watchdog_is_over(const struct watchdog *watchdog);
/* From any thread: the run that goes on ends, soon.  False without a watchdog.
 */
bool watchdog_interrupt(struct watchdog *watchdog);
/* Ends it, in such a call: does not return. */
void watchdog_raise(struct watchdog *watchdog, lua_State *L);

/* In a signal handler of the watched thread, while a task runs: its stack is
 * logged at the next instruction of Lua.  Both accept NULL. */
void watchdog_ask(struct watchdog *watchdog);
/* That has not come yet: the thread is in a call of C. */
bool watchdog_is_asked(const struct watchdog *watchdog);

const struct watchdog_counts *watchdog_counts(const struct watchdog *watchdog);

#endif
