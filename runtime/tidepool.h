/*
 * tidepool.h - the public C API: a runtime that owns Postgres and Redis pools
 * and runs Lua scripts on them.
 *
 * One runtime belongs to one thread, which makes every call on it.  There are
 * no process globals: no signal handlers are set, nothing is printed, nothing
 * exits, unless a script asks for it.
 */
#ifndef TIDEPOOL_H
#define TIDEPOOL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TIDE_API __attribute__((visibility("default")))

/* Opaque; owned by the caller from tide_open() to tide_close(). */
typedef struct tide_runtime tide_runtime;

/* Fill it with tide_options_init(), then change what you need. */
typedef struct {
    size_t size; /* of this struct, for later versions */
    /* A uv_loop_t of the host's, borrowed until tide_close(); NULL: one of its
     * own. */
    void *uv_loop;
    /* Takes one log line with its newline; NULL: nothing is logged.  Must not
     * call the runtime. */
    void (*write_log)(void *ud, const char *line, size_t len);
    void *ud;
} tide_options;

TIDE_API void tide_options_init(tide_options *options);

/* "0.1.0" */
TIDE_API const char *tide_version(void);

/* The sentence of a code that a call returned; 0 is success. */
TIDE_API const char *tide_error_text(int code);

/* Makes a runtime.  Returns 0 and writes *out, or a code above 0. */
TIDE_API int tide_open(tide_runtime **out, const tide_options *options);

/*
 * Calls main(args...) of a Lua module in a task and runs the loop until it
 * returns; what it left open is then closed.  argv holds argc strings.  Writes
 * to *status the number that main returned, 0 without one, 1 when it raised
 * (the error is logged).  Returns 0 or a code above 0.  Once per runtime.
 */
TIDE_API int tide_run_module(tide_runtime *runtime, const char *module,
                             int argc, const char *const *argv, int *status);

/* Accepts NULL.  Frees everything. */
TIDE_API void tide_close(tide_runtime *runtime);

#ifdef __cplusplus
}
#endif

#endif
