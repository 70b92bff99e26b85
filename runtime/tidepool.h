/*
 * tidepool.h - the public C API: a runtime that owns Postgres and Redis pools
 * and runs Lua scripts on them.
 *
 * A runtime belongs to the thread that opened it, which makes every call on it;
 * the few that others may make say so.  A call from a thread that may not gives
 * TIDE_THREAD, one in a child after fork() gives TIDE_FORKED, and neither
 * changes anything.  There are no globals: a process has as many runtimes as it
 * likes.  No signal handler is set, nothing is printed, nothing exits, unless
 * a script that has all of Lua asks for it.
 *
 * Calls return 0, or a code above 0 (enum tide_code); results go through
 * pointers that are written on success only.  Times are nanoseconds or
 * milliseconds, as the name says.  Texts and bytes that are passed in are
 * copied, unless it says otherwise.
 */
#ifndef TIDEPOOL_H
#define TIDEPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TIDE_API __attribute__((visibility("default")))

/* ---- versions */

/* Of this header.  Structs grow at their end, which does not change it. */
#define TIDE_ABI 1

/* Of the library: a host runs with one whose is the same.  Any thread. */
TIDE_API int tide_abi_version(void);

/* "0.1.0"; any thread. */
TIDE_API const char *tide_version(void);

/* ---- errors */

enum tide_code {
    TIDE_OK,
    TIDE_BADARG,      /* an argument or option is out of range */
    TIDE_NOMEM,       /* out of memory */
    TIDE_REFUSED,     /* the server cannot be reached */
    TIDE_TIMEOUT,     /* the deadline passed */
    TIDE_BUSY,        /* the waiting line is full */
    TIDE_CLOSED,      /* it is closed, or about to be */
    TIDE_LOST,        /* the connection was lost */
    TIDE_SERVER,      /* the server answered with an error */
    TIDE_CANCELLED,   /* the operation was cancelled */
    TIDE_PROTOCOL,    /* the peer broke the protocol */
    TIDE_BUDGET,      /* the script used more than it may */
    TIDE_INTERNAL,    /* the runtime broke one of its own rules */
    TIDE_CONFLICT,    /* somebody else changed it in between */
    TIDE_THREAD = 64, /* the runtime belongs to another thread */
    TIDE_FORKED,      /* the runtime belongs to the parent process */
    TIDE_MISUSED,     /* the call is not possible now */
    TIDE_ABI_DIFFERS, /* the header is of another version */
    TIDE_SCRIPT       /* the script raised an error */
};

/* "timeout", as scripts have it in err.code; "unknown" for what is no code.
 * Static text; any thread. */
TIDE_API const char *tide_error_name(int code);

/* The sentence of a code, without a full stop.  Static text; any thread. */
TIDE_API const char *tide_error_text(int code);

/* ---- the life of a runtime */

/* Opaque; owned by the caller from tide_open() to tide_close(). */
typedef struct tide_runtime tide_runtime;

/*
 * Fill it with tide_options_init(), then change what you need; it is read by
 * tide_open() alone.  One of an older header is shorter: what is not in it has
 * its default.  One of a newer header is longer: what this library does not
 * know must be zero.
 */
typedef struct {
    size_t size;  /* of this struct, in bytes */
    uint32_t abi; /* TIDE_ABI */

    /* A uv_loop_t of the host's, which the host runs, borrowed to the end of
     * tide_close(); NULL (default): one of its own, for tide_step(). */
    void *uv_loop;

    /* Takes one log line with its newline; NULL (default): nothing is logged.
     * Called in the runtime's thread.  Must not call the runtime. */
    void (*write_log)(void *ud, const char *line, size_t len);
    void *ud; /* of write_log */

    /* The memory of the Lua state, as a lua_Alloc: frees ptr when new_size is
     * 0, else allocates, grows or shrinks; NULL says that there is none.
     * Called in the runtime's thread.  NULL (default): Lua's own. */
    void *(*allocate)(void *ud, void *ptr, size_t old_size, size_t new_size);
    void *allocate_ud;

    /* How many posts there may be that are not collected yet; 0 (default):
     * 1024. */
    unsigned max_posts;
} tide_options;

/* Use tide_options_init(). */
TIDE_API void tide_options_init_sized(tide_options *options, size_t size,
                                      uint32_t abi);

/* Sets every field to its default.  Any thread. */
static inline void tide_options_init(tide_options *options)
{
    tide_options_init_sized(options, sizeof(*options), TIDE_ABI);
}

/*
 * Makes a runtime, which belongs to the calling thread; it takes about 4 ms.
 * Returns 0 and writes *out, or TIDE_BADARG (no options, or a field that this
 * library does not know is set), TIDE_ABI_DIFFERS, TIDE_NOMEM, TIDE_INTERNAL.
 */
TIDE_API int tide_open(tide_runtime **out, const tide_options *options);

/*
 * What went wrong in the last call that failed, as a sentence with what was
 * expected and where; "" when there is no more to say than the code's text.
 * The runtime's thread; valid until the next call.
 */
TIDE_API const char *tide_last_error(const tide_runtime *runtime);

/*
 * Calls main(args...) of a Lua module in a task and runs the loop until it
 * returns; what it left open is then closed.  argv holds argc strings.  Writes
 * to *status the number that main returned, 0 without one, 1 when it raised
 * (the error is logged).  Returns 0, TIDE_NOMEM, TIDE_THREAD, TIDE_FORKED, or
 * TIDE_MISUSED for a second time.  Blocks.
 */
TIDE_API int tide_run_module(tide_runtime *runtime, const char *module,
                             int argc, const char *const *argv, int *status);

/*
 * Cancels what runs, closes the pools, which may take up to two seconds, and
 * frees everything; accepts NULL.  A host's uv_loop_t is turned meanwhile, so
 * this is not for a callback of that loop; nothing of ours is left on it
 * afterwards.  Returns 0; TIDE_THREAD; TIDE_MISUSED from inside of a callback;
 * or TIDE_FORKED: the child has the parent's sockets, so there nothing is
 * closed, and the memory stays as it is.
 */
TIDE_API int tide_close(tide_runtime *runtime);

/* ---- stepping: for a host that has a loop of its own of whatever kind */

/*
 * A descriptor that is readable when tide_step() has something to do, for
 * poll(), select() or epoll; the same for the runtime's life.  Not to be read
 * or closed.  -1 where tide_step() would be refused.
 */
TIDE_API int tide_poll_fd(const tide_runtime *runtime);

/*
 * For how long the host may wait for that descriptor before it calls
 * tide_step() all the same: milliseconds, 0: call it now, -1: as long as it
 * likes.  Ask after each step, and after each call that begins something.
 */
TIDE_API int tide_next_timeout_ms(const tide_runtime *runtime);

typedef struct {
    uint64_t used_ns;         /* that this step took */
    uint64_t oldest_ready_ns; /* for how long the first of these waits, or 0 */
    unsigned ready_left;      /* tasks that could run, for the next step */
} tide_step_info;

/*
 * Does what is ready and comes back: reads answers, runs tasks, sends what they
 * ask for.  Never waits.  When budget_ns is over it stops between two tasks and
 * leaves the rest to the next step; it overruns by what one task runs, and
 * however small the budget at least one does.  info may be NULL.  Returns 0,
 * TIDE_THREAD, TIDE_FORKED, or TIDE_MISUSED: from inside of a callback, or the
 * loop is the host's, who runs it.
 */
TIDE_API int tide_step(tide_runtime *runtime, uint64_t budget_ns,
                       tide_step_info *info);

/* ---- scripts */

/*
 * Gives a setting that tide_load() opens the pools with:
 * "database.postgres_url", "database.reports.postgres_url",
 * "database.pool.max_connections", "redis.url" and all else of database, redis,
 * script and log that README.md names; value is a text as on a command line,
 * "20", "500ms", "true".  Nothing else counts: no file, no environment.  One of
 * script but script.trusted asks for the budgets of scripts, which take the
 * process' SIGPROF: one runtime of a process can have them.  Returns 0,
 * TIDE_BADARG with a sentence, TIDE_MISUSED after tide_load(), TIDE_NOMEM,
 * TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_set(tide_runtime *runtime, const char *key,
                      const char *value);

/*
 * Opens the pools, which asks no server, and runs the script that is in the
 * file path; with text, this one by that name.  It is sandboxed as by
 * `tidepool run`, unless script.trusted is set, and names its handlers by
 * tide.handler().  An app that it returns is not served.  Turns the loop until
 * the script is through, 30 s at most, which takes as long as what the script
 * waits for; not for a callback of a host's uv_loop_t.  Returns 0; TIDE_SCRIPT
 * with a sentence that has file and line, or what is wrong with the settings:
 * it may be tried again; TIDE_MISUSED from inside of a callback;
 * TIDE_CLOSED after tide_drain(); TIDE_NOMEM, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_load(tide_runtime *runtime, const char *path,
                       const char *text);

/*
 * Loads the next version of the script: its file again, or text.  Calls that
 * begin from then on go to the new one; those that run finish on the old one,
 * and then what that left running ends.  When it fails the old one goes on.
 * Turns the loop and returns as tide_load().
 */
TIDE_API int tide_reload(tide_runtime *runtime, const char *text);

/* Fill it with tide_request_init(), then change what you need. */
typedef struct {
    size_t size;         /* of this struct, in bytes */
    const char *name;    /* of the handler */
    const void *payload; /* any bytes: the handler's call.payload */
    size_t len;
    /* From the call on, until its reply must be there; 0 (default): as long as
     * it takes. */
    uint64_t timeout_ms;
    void *ud;                  /* handed to the callback, or in the result */
    void (*free_ud)(void *ud); /* or NULL; called once, when ud is let go */
} tide_request;

/* Use tide_request_init(). */
TIDE_API void tide_request_init_sized(tide_request *request, size_t size);

/* Sets every field to its default.  Any thread. */
static inline void tide_request_init(tide_request *request)
{
    tide_request_init_sized(request, sizeof(*request));
}

/* Valid until the callback returns. */
typedef struct {
    int code;            /* TIDE_OK, or why there is none */
    const char *error;   /* a sentence; "" with TIDE_OK */
    const void *payload; /* a string as the handler gave it, else JSON */
    size_t len;
} tide_reply;

typedef void (*tide_reply_fn)(void *ud, const tide_reply *reply);

/*
 * Calls a handler of the script in a task, which begins in the next step.  Its
 * reply goes to fn, once, from inside of tide_step(), of a call that turns the
 * loop, or of a turn of the host's loop; never from inside of this call.  fn
 * may make calls that do not turn the loop.  The reply's code is TIDE_SCRIPT
 * when the handler raised, the err's when it returned nil, err; TIDE_BADARG
 * where no such handler is, TIDE_TIMEOUT, TIDE_CANCELLED, TIDE_BUDGET.  free_ud
 * follows fn; a call that is refused calls neither.  id may be NULL.  Returns
 * 0, TIDE_BUSY (script.max_tasks, the heap), TIDE_BADARG, TIDE_MISUSED before
 * tide_load(), TIDE_CLOSED after tide_drain(), TIDE_NOMEM, TIDE_THREAD,
 * TIDE_FORKED.
 */
TIDE_API int tide_call(tide_runtime *runtime, const tide_request *request,
                       tide_reply_fn fn, uint64_t *id);

/*
 * Cancels a call: what its handler waits for ends, and its statement is
 * cancelled at the server; fn is called with TIDE_CANCELLED, unless the handler
 * makes another reply of it.  Returns 0, TIDE_BADARG when it has ended or never
 * was, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_cancel(tide_runtime *runtime, uint64_t id);

/*
 * Posts a call of a handler from any thread, also from several at once, between
 * a tide_load() that has returned and tide_close().  Posts of the same key run
 * one after another in the order in which they came, those of different keys at
 * the same time; timeout_ms counts from here.  The result waits for
 * tide_collect(); free_ud is called after that, or by tide_close(), in the
 * runtime's thread.  Wakes a host that waits on tide_poll_fd().  Returns 0;
 * TIDE_BUSY at once when there are max_posts; TIDE_CLOSED after tide_drain(),
 * TIDE_BADARG, TIDE_MISUSED before tide_load(), TIDE_NOMEM, TIDE_FORKED; then
 * free_ud is not called.
 */
TIDE_API int tide_post(tide_runtime *runtime, uint64_t key,
                       const tide_request *request);

/* Of one post; its size is that of the ABI. */
typedef struct {
    uint64_t key, seq; /* seq: 1 for the first post of the runtime, and so on */
    void *ud;          /* of the request */
    int code;          /* as of a tide_reply, as the next three are */
    const char *error;
    const void *payload;
    size_t len;
} tide_result;

/*
 * Takes at most max results of posts that have ended, in the order of their
 * keys, of one key in that of their seq, whatever ended first.  What they point
 * to is valid until the next tide_collect() or tide_close(), which also call
 * free_ud.  Writes how many to *count.  Returns 0, TIDE_MISUSED before
 * tide_load(), TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_collect(tide_runtime *runtime, tide_result *out, size_t max,
                          size_t *count);

/*
 * Ends what the script runs at this moment, also a loop that never ends: its
 * reply has TIDE_BUDGET.  What waits goes on.  From any thread, between a
 * tide_load() that has returned and tide_close(); not for a signal handler.
 * Returns 0, also when nothing runs; TIDE_MISUSED where no setting of script
 * has asked for the budgets of scripts, see tide_set(); TIDE_FORKED.
 */
TIDE_API int tide_interrupt(tide_runtime *runtime);

/*
 * Takes no more calls and posts, for good, and turns the loop until those there
 * are have ended, timeout_ms at most.  Returns 0, TIDE_TIMEOUT when some still
 * run (they go on, and tide_close() cancels them), TIDE_MISUSED from inside of
 * a callback, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_drain(tide_runtime *runtime, uint64_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
