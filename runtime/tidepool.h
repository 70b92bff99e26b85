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
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TIDE_API __attribute__((visibility("default")))

/* ---- versions */

/* Of this header.  Structs with a size grow at their end, which does not change
 * it; those without are as they are in this ABI. */
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
     * Called in the runtime's thread.  NULL (default): Lua's own.
     *
     * Where there is none a script has an error, and calls return TIDE_NOMEM.
     * Where LuaJIT could not go on without, when a task is told of an answer
     * and when garbage is collected, it has malloc()'s instead, until it frees
     * that; the log says so.  A host that has a bound of its own sets
     * script.heap_max_bytes well below it. */
    void *(*allocate)(void *ud, void *ptr, size_t old_size, size_t new_size);
    void *allocate_ud;

    /* How many posts there may be that are not collected yet; 0 (default):
     * 1024. */
    unsigned max_posts;

    /* The time, in nanoseconds from wherever: the host's, as of a game or of a
     * replay.  NULL (default): the system's monotonic clock.  Called in the
     * runtime's thread, often; must not call the runtime.  It may stand still
     * and leap; where it goes back, time stands still.
     *
     * It is what all waiting goes by: tide.sleep, tide.now and what else of
     * scripts waits or counts seconds, timeout_ms of calls and posts, every
     * timeout, pause and alarm of pools.  A host moves it and turns the loop,
     * and what became due is done, however little time has really passed.
     * Meanwhile a loop that waits takes it to go as fast as the system's clock:
     * tide_next_timeout_ms() says what is left by this one.
     *
     * By the system's clock go nevertheless: budget_ns and used_ns of a step;
     * the timeout of tide_drain(); what tide_close() waits for, from the time
     * that was; tide_load() and tide_reload() after 60 s; the CPU time of
     * script.*; what libuv, libpq and OpenSSL do by themselves, and the
     * servers; and dates: os.time, timestamps in the log.
     *
     * With the same clock, random and calls, and tide_step() with a budget of 0
     * or without end, the same things happen, but for when and what servers
     * answer, the order of pairs() and with it that of the keys in JSON, which
     * LuaJIT makes anew for each state, and os.time and os.clock. */
    uint64_t (*now_ns)(void *ud);
    void *now_ud;

    /* Fills out with len random bytes; returns 0, or else there are none.  All
     * that is random comes of it: math.random, the jitter of pauses, ids of
     * requests and traces, and keys of sessions and locks, so it has to be good
     * enough for secrets wherever these are secret.  NULL (default): the
     * kernel's.  Called in the runtime's thread; must not call the runtime. */
    int (*random)(void *ud, void *out, size_t len);
    void *random_ud;
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
 * library does not know is set), TIDE_ABI_DIFFERS, TIDE_NOMEM, TIDE_INTERNAL
 * (random gave nothing).
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
 * frees everything; accepts NULL.  It waits for names that are being looked up,
 * for libc cannot be stopped in it: where name servers are silent, for as long
 * as resolv.conf has it tried.  A host's uv_loop_t is turned meanwhile, so
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
 * tide_step() all the same: milliseconds of options.now_ns, 0: call it now, -1:
 * as long as it likes.  Ask after each step, and after each call that begins
 * something.
 */
TIDE_API int tide_next_timeout_ms(const tide_runtime *runtime);

typedef struct {
    uint64_t used_ns;         /* that this step took, by the system's clock */
    uint64_t oldest_ready_ns; /* for how long the first of these waits, or 0 */
    unsigned ready_left;      /* tasks that could run, for the next step */
} tide_step_info;

/*
 * Does what is ready and comes back: reads answers, runs tasks, sends what they
 * ask for.  Never waits.  When budget_ns is over it begins nothing more, but to
 * send what tasks have asked for, in 0.2 ms; what had no turn comes first in
 * the next step.  It overruns by the one piece that it had begun, and however
 * small the budget one piece it does.  info may be NULL.  Returns 0,
 * TIDE_THREAD, TIDE_FORKED, or TIDE_MISUSED: from inside of a callback, or the
 * loop is the host's, who runs it.
 *
 * A piece is a fraction of a millisecond: one answer; one connection that comes
 * or goes, while names are looked up, TLS is spoken and passwords are hashed on
 * threads; one of those that wait for a server that is gone; a part of what
 * Lua's collector does.  Longer than that it is made by scripts and their data:
 *   - what a task runs from one wait to the next, with what LuaJIT compiles in
 *     it while it is new;
 *   - what becomes Lua values, or JSON, at once: one reply of Redis, one
 *     payload, whatever their size.  Rows of Postgres do when they are looked
 *     at; of a hundred thousand in one result libpq copies its list of them
 *     while they come, db:each() asks for fewer at a time;
 *   - thousands of tasks that are alive at the same time: the collector goes
 *     through all of them in one piece;
 *   - of a reload, to load the new script's byte code, and its run.
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
 * it may be tried again; TIDE_BADARG without a path; TIDE_MISUSED from inside
 * of a callback; TIDE_CLOSED after tide_drain(); TIDE_NOMEM, TIDE_THREAD,
 * TIDE_FORKED.
 */
TIDE_API int tide_load(tide_runtime *runtime, const char *path,
                       const char *text);

/*
 * Loads the next version of the script: its file again, or text.  Calls that
 * begin from then on go to the new one; those that run finish on the old one,
 * and then what that left running ends.  What the old one's tide.on_unload()
 * gives, plain data of at most 8 MiB, is handed to the new one's tide.on_load()
 * as a copy; both together have 10 s, and calls go to the old one meanwhile.
 * When one of them fails, or the new script does, the old one goes on.  Turns
 * the loop and returns as tide_load().
 */
TIDE_API int tide_reload(tide_runtime *runtime, const char *text);

/* What the bytes of a payload are. */
enum tide_format {
    TIDE_FORMAT_RAW,    /* whatever host and handler agree on */
    TIDE_FORMAT_JSON,   /* one value, in UTF-8 */
    TIDE_FORMAT_MSGPACK /* one value, without extension types */
};

/* Fill it with tide_request_init(), then change what you need. */
typedef struct {
    size_t size;         /* of this struct, in bytes */
    const char *name;    /* of the handler */
    const void *payload; /* by format the handler's call.payload */
    size_t len;
    /* From the call on, until its reply must be there; 0 (default): as long as
     * it takes. */
    uint64_t timeout_ms;
    void *ud; /* handed to the callback, or in the result */
    /* Or NULL; called once, when ud is let go.  May make calls that do not turn
     * the loop. */
    void (*free_ud)(void *ud);
    /* An enum tide_format.  TIDE_FORMAT_RAW (default): call.payload is the
     * bytes, and the reply is a string as it is, nil as none, all else as JSON.
     * With another one call.payload is the value in the bytes, null as
     * tide.null, nil where len is 0, and whatever the reply is, nil too, it
     * comes in this format.  A whole number beyond 2^53 comes from MessagePack
     * as its digits, from JSON as the nearest one that Lua has; a string goes
     * as str into MessagePack when it is UTF-8, else as bin; an empty table as
     * a map. */
    int format;
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
    const void *payload; /* see tide_request.format */
    size_t len;
    int format; /* of payload: TIDE_FORMAT_RAW also where there is none */
} tide_reply;

typedef void (*tide_reply_fn)(void *ud, const tide_reply *reply);

/*
 * Begins what tide_reload() does, and returns: the steps that follow do it.
 * The script, and what it requires while it loads, is compiled on a thread; a
 * step loads the byte code, and another runs it as far as it does not wait.  fn
 * is told as by tide_call() when it is done: TIDE_OK, or TIDE_SCRIPT with a
 * sentence.  Returns as tide_call().
 */
TIDE_API int tide_begin_reload(tide_runtime *runtime, const char *text,
                               tide_reply_fn fn, void *ud);

/*
 * Calls a handler of the script in a task, which begins in the next step.  Its
 * reply goes to fn, once, from inside of tide_step(), of a call that turns the
 * loop, or of a turn of the host's loop; never from inside of this call.  fn
 * may make calls that do not turn the loop.  The reply's code is TIDE_SCRIPT
 * when the handler raised or its reply cannot be written in the format, the
 * err's when it returned nil, err; TIDE_BADARG where no such handler is, or the
 * payload is not in the format, with a sentence that names the byte, counted
 * from 1; TIDE_TIMEOUT, TIDE_CANCELLED, TIDE_BUDGET.  free_ud follows fn; a
 * call that is refused calls neither.  id may be NULL.  Returns 0, TIDE_BUSY
 * (script.max_tasks, the heap), TIDE_BADARG (no name, no fn, no such format),
 * TIDE_MISUSED before tide_load(), TIDE_CLOSED after tide_drain(), TIDE_NOMEM,
 * TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_call(tide_runtime *runtime, const tide_request *request,
                       tide_reply_fn fn, uint64_t *id);

/*
 * Cancels a call, or an operation on a pool: what its handler waits for ends,
 * and its statement is cancelled at the server; fn is called later with
 * TIDE_CANCELLED, unless the handler makes another reply of it.  Returns 0,
 * TIDE_BADARG when it has ended or never was, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_cancel(tide_runtime *runtime, uint64_t id);

/*
 * Posts a call of a handler from any thread, also from several at once, between
 * a tide_load() that has returned and tide_close().  Posts of the same key run
 * one after another in the order in which they came, those of different keys at
 * the same time; timeout_ms counts from here, by a host's now_ns from the step
 * that takes it.  The result waits for
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
    int code;          /* as of a tide_reply, as the next four are */
    const char *error;
    const void *payload;
    size_t len;
    int format;
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
 * Takes no more calls, posts and operations on pools, for good, and turns the
 * loop until those there are have ended and what scripts put into write-behinds
 * is stored, timeout_ms at most and two seconds more.  Returns 0, TIDE_TIMEOUT
 * when some still run (they go on, and tide_close() cancels them) or something
 * is not stored (the sentence says how much), TIDE_MISUSED from inside of a
 * callback, TIDE_NOMEM, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_drain(tide_runtime *runtime, uint64_t timeout_ms);

/* ---- pools from C, without Lua

 * The same pools that scripts have, for hosts that need no Lua between, with
 * or without a script.  An operation is begun by a call that does not wait; its
 * answer comes later, once, from inside of tide_step(), of a call that turns
 * the loop, or of a turn of the host's loop.  All in the runtime's thread. */

enum tide_kind { TIDE_POSTGRES, TIDE_REDIS };

/* Opaque; see tide_pool_open() and tide_pool_named(). */
typedef struct tide_pool tide_pool;
/* Opaque: a connection that is the host's until tide_release(). */
typedef struct tide_lease tide_lease;
/* Opaque: what a statement gave, see tide_take_rows(). */
typedef struct tide_rows tide_rows;
/* Opaque: of the answer that it is in. */
typedef struct tide_redis_reply tide_redis_reply;

/*
 * Opens a pool, which asks no server before the loop turns: settings that are
 * given until then count from the first connection on.  url is as in
 * README.md, "postgres://..." or "redis://..."; name is for log and errors.
 * The pool is the caller's until tide_pool_close() or tide_close().  Returns 0,
 * TIDE_BADARG with what is wrong in the url, TIDE_CLOSED after tide_drain(),
 * TIDE_NOMEM, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_pool_open(tide_runtime *runtime, enum tide_kind kind,
                            const char *name, const char *url, tide_pool **out);

/*
 * The pool of this name that tide_load() opened, as tide.postgres() and
 * tide.redis() have it, "main" for those without one, to be used beside the
 * script: what both have together is within its max_connections.  It is the
 * runtime's, until tide_close().  Returns 0; TIDE_BADARG where none is;
 * TIDE_NOMEM, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_pool_named(tide_runtime *runtime, enum tide_kind kind,
                             const char *name, tide_pool **out);

/*
 * Takes no more operations, ends those that wait with TIDE_CLOSED, and closes
 * the connections; what is lent or runs has timeout_ms for it.  Does not wait,
 * and pool is not to be used again; leases are given back all the same.
 * Returns 0, TIDE_MISUSED for one of tide_pool_named(), TIDE_THREAD,
 * TIDE_FORKED.
 */
TIDE_API int tide_pool_close(tide_pool *pool, uint64_t timeout_ms);

/*
 * Settings by the names that README.md has under "database.pool":
 * "max_connections", "acquire_timeout".  A count, seconds, or 0 and 1; a new
 * value counts at once.  Return 0, TIDE_BADARG with what was expected,
 * TIDE_CLOSED, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_pool_set(tide_pool *pool, const char *setting, double value);
TIDE_API int tide_pool_get(const tide_pool *pool, const char *setting,
                           double *value);

/* Paused, it lends nothing and opens nothing, and who waits goes on waiting
 * until its time is up.  Drained, it replaces what is open now.  Return 0,
 * TIDE_CLOSED, TIDE_THREAD, TIDE_FORKED. */
TIDE_API int tide_pool_pause(tide_pool *pool);
TIDE_API int tide_pool_resume(tide_pool *pool);
TIDE_API int tide_pool_drain(tide_pool *pool);

typedef struct {
    size_t size; /* of this struct, in bytes: set it before the call */
    /* now: connections in each state, and who waits for one or for a lane */
    unsigned max, open, opening, idle, leased, shared, waiting;
    int is_down;   /* nothing is open, and the last attempt failed */
    int is_paused; /* by tide_pool_pause() */
    /* since it was opened; they only grow */
    uint64_t arrivals;    /* operations asked for */
    uint64_t completions; /* of these, done: answered, or given back */
    uint64_t errors;      /* of these, that failed, for whatever reason */
    uint64_t timeouts, busy, refused; /* of waits that failed */
    uint64_t connects, connect_failures;
    /* of waits for a connection, in seconds, 0 when there was one at once */
    double wait_p50, wait_p99, wait_max;
    /* of the last failed connect, "" when the last one succeeded; valid until
     * the loop turns */
    const char *last_error;
} tide_pool_stats;

/* Returns 0, TIDE_BADARG without a size, TIDE_CLOSED, TIDE_THREAD,
 * TIDE_FORKED. */
TIDE_API int tide_pool_read(const tide_pool *pool, tide_pool_stats *out);

/* How an operation is done.  Fill it with tide_how_init(), then change what you
 * need; NULL in its place means all defaults. */
typedef struct {
    size_t size;         /* of this struct, in bytes */
    tide_lease *lease;   /* to run on; NULL (default): any connection */
    uint64_t timeout_ms; /* waits included; 0 (default): the pool's setting */
    /* Where it is asked, "trade.c:87", for sentences about who holds what;
     * NULL (default): "the host". */
    const char *site;
    /* Postgres: a connection of its own, whatever the statement; else those
     * that are quick and known to be safe share one. */
    int is_alone;
    /* Redis: the commands between MULTI and EXEC, all or none. */
    int is_transaction;
    void *ud;                  /* handed to the callback */
    void (*free_ud)(void *ud); /* or NULL; called once, after the callback */
} tide_how;

/* Use tide_how_init(). */
TIDE_API void tide_how_init_sized(tide_how *how, size_t size);

/* Sets every field to its default.  Any thread. */
static inline void tide_how_init(tide_how *how)
{
    tide_how_init_sized(how, sizeof(*how));
}

/* Valid until the callback returns, but for what it says otherwise; not to be
 * copied, for calls that take it look behind it. */
typedef struct {
    int code;          /* TIDE_OK, or why there is no more than that */
    const char *error; /* a sentence; "" with TIDE_OK */
    /* It was sent and no answer came: it may have run. */
    int is_unknown;
    tide_lease *lease; /* of tide_acquire(): the host's from now on */
    tide_rows *rows;   /* of tide_query(); see tide_take_rows() */
    /* Of tide_query() with TIDE_SERVER; "" where there is none. */
    const char *sqlstate, *detail, *hint, *table, *column, *constraint;
    /* Of tide_redis(): one for each command. */
    const tide_redis_reply *const *replies;
    size_t n_replies;
} tide_answer;

/* May make calls that do not turn the loop. */
typedef void (*tide_answer_fn)(void *ud, const tide_answer *answer);

/*
 * Each of the three returns 0 and calls fn later, once, never from inside; then
 * id, which may be NULL, is what tide_cancel() takes.  Or it returns at once,
 * and calls neither fn nor free_ud: TIDE_BADARG, TIDE_CLOSED, TIDE_NOMEM,
 * TIDE_THREAD, TIDE_FORKED; and, with a sentence that says who holds the
 * connections, for how long, and what the server said last, TIDE_BUSY (the
 * waiting line is full) and TIDE_REFUSED (the server is away).
 * An answer's code may be these, or TIDE_TIMEOUT, TIDE_LOST, TIDE_SERVER,
 * TIDE_CANCELLED, TIDE_PROTOCOL.
 */

/*
 * Leases a connection: of Postgres for a transaction, of Redis for WATCH and
 * the like.  A lease that runs nothing may be given back at any time; the pool
 * rolls back what was left open on it.
 */
TIDE_API int tide_acquire(tide_pool *pool, const tide_how *how,
                          tide_answer_fn fn, uint64_t *id);

/*
 * Gives it back, and cancels what still runs on it.  lease is gone after that;
 * tide_close() gives back what is left.  Returns 0, TIDE_THREAD, TIDE_FORKED.
 */
TIDE_API int tide_release(tide_lease *lease);

enum tide_type {
    TIDE_NULL,
    TIDE_BOOL,
    TIDE_INT,   /* int2, int4, int8, oid */
    TIDE_FLOAT, /* float4, float8 */
    TIDE_TEXT,  /* text, numeric, uuid, times, and all that is not named here */
    TIDE_JSON,  /* json, jsonb */
    TIDE_BYTES, /* bytea */
    TIDE_ARRAY  /* an array, see tide_array_each() */
};

/*
 * A parameter, or what is in a row.  text is borrowed, and has len bytes: of a
 * parameter, the text, JSON, bytes, or for TIDE_ARRAY a JSON list of its
 * elements; of a row, the server's text form, whatever the type, with a zero
 * behind it, but for elements of arrays.
 */
typedef struct {
    enum tide_type type;
    int truth;       /* of TIDE_BOOL */
    int64_t integer; /* of TIDE_INT */
    double number;   /* of TIDE_FLOAT, and the nearest one of TIDE_INT */
    const char *text;
    size_t len;
    unsigned oid; /* of a row: the server's type; of elements for an array */
} tide_value;

/*
 * Runs one statement with its parameters $1, $2, ...; params holds n of them
 * and is copied, as sql is.  On a lease one runs at a time: TIDE_BUSY.
 */
TIDE_API int tide_query(tide_pool *pool, const tide_how *how, const char *sql,
                        const tide_value *params, size_t n, tide_answer_fn fn,
                        uint64_t *id);

/* The rows of an answer, which are then the caller's, until tide_rows_free();
 * NULL when there are none, or they were taken. */
TIDE_API tide_rows *tide_take_rows(const tide_answer *answer);

/* Of rows, in any one thread at a time.  What is borrowed is valid as long as
 * they are. */
TIDE_API void tide_rows_free(tide_rows *rows); /* accepts NULL */
TIDE_API size_t tide_rows_count(const tide_rows *rows);
TIDE_API size_t tide_rows_columns(const tide_rows *rows);
TIDE_API uint64_t tide_rows_affected(const tide_rows *rows);
/* NULL when there are not so many columns. */
TIDE_API const char *tide_rows_name(const tide_rows *rows, size_t column);
/* The first column of this name, or -1. */
TIDE_API int tide_rows_column(const tide_rows *rows, const char *name);
/* Returns 0, or TIDE_BADARG outside of them, which also makes *out NULL. */
TIDE_API int tide_rows_value(const tide_rows *rows, size_t row, size_t column,
                             tide_value *out);

/* Writes what a TIDE_BYTES of a row stands for, at most len / 2 bytes, and
 * returns how many. */
TIDE_API size_t tide_value_bytes(const tide_value *value, void *out);

/* Calls fn for each element of a TIDE_ARRAY of a row, in order; depth is 1 in
 * a list, 2 in a list of lists.  Returns 0, or TIDE_BADARG for what is none. */
TIDE_API int tide_array_each(const tide_value *array,
                             void (*fn)(void *ud, unsigned depth,
                                        const tide_value *element),
                             void *ud);

/* A command and its arguments. */
typedef struct {
    size_t n;                 /* words */
    const char *const *words; /* { "GET", "user:7" } */
    const size_t *lens;       /* of each; NULL: all end with a zero */
} tide_command;

/*
 * Sends n commands in one go, which are copied.  When Redis answers the only
 * one with an error the code is TIDE_SERVER; of several, each reply says
 * whether it is one.  A transaction that ran nothing has TIDE_SERVER, or
 * TIDE_CONFLICT when a watched key had changed, and no replies.
 */
TIDE_API int tide_redis(tide_pool *pool, const tide_how *how,
                        const tide_command *commands, size_t n,
                        tide_answer_fn fn, uint64_t *id);

enum tide_redis_kind {
    TIDE_REDIS_NIL,
    TIDE_REDIS_INT,
    TIDE_REDIS_TEXT,
    TIDE_REDIS_STATUS, /* "OK" */
    TIDE_REDIS_ERROR,
    TIDE_REDIS_ARRAY,  /* a set, too */
    TIDE_REDIS_MAP,    /* RESP3: key, value, key, value */
    TIDE_REDIS_DOUBLE, /* RESP3 */
    TIDE_REDIS_BOOL    /* RESP3: an integer */
};

TIDE_API enum tide_redis_kind tide_redis_kind_of(const tide_redis_reply *reply);
/* Of INT and BOOL; of DOUBLE; of TEXT, STATUS and ERROR, with a zero behind
 * it, len may be NULL; else 0, 0, and "". */
TIDE_API int64_t tide_redis_integer(const tide_redis_reply *reply);
TIDE_API double tide_redis_double(const tide_redis_reply *reply);
TIDE_API const char *tide_redis_text(const tide_redis_reply *reply,
                                     size_t *len);
/* Of ARRAY and MAP: how many there are, and the one at i; else 0, and NULL. */
TIDE_API size_t tide_redis_count(const tide_redis_reply *reply);
TIDE_API const tide_redis_reply *tide_redis_at(const tide_redis_reply *reply,
                                               size_t i);

/* Parameters, as in { tide_int(7), tide_text(name), tide_null() }. */
static inline tide_value tide_null(void)
{
    tide_value value = { TIDE_NULL, 0, 0, 0, NULL, 0, 0 };

    return value;
}

static inline tide_value tide_bool(int truth)
{
    tide_value value = { TIDE_BOOL, truth, 0, 0, NULL, 0, 0 };

    return value;
}

static inline tide_value tide_int(int64_t integer)
{
    tide_value value = { TIDE_INT, 0, integer, 0, NULL, 0, 0 };

    return value;
}

static inline tide_value tide_float(double number)
{
    tide_value value = { TIDE_FLOAT, 0, 0, number, NULL, 0, 0 };

    return value;
}

/* Of any type that text can be read as; ends with a zero; NULL is TIDE_NULL. */
static inline tide_value tide_text(const char *text)
{
    tide_value value = {
        text != NULL ? TIDE_TEXT : TIDE_NULL, 0, 0, 0, text, 0, 0
    };

    value.len = text != NULL ? strlen(text) : 0;
    return value;
}

static inline tide_value tide_bytes(const void *bytes, size_t len)
{
    tide_value value = { TIDE_BYTES, 0, 0, 0, NULL, 0, 0 };

    value.text = (const char *)bytes;
    value.len = len;
    return value;
}

/* ---- a module of the host's own Lua state */

struct lua_State; /* lua.h's */

/*
 * The lua_CFunction of the module "tidepool", for a host that has a LuaJIT
 * state with its standard libraries open, and for `require "tidepool"` of plain
 * luajit: leaves the module, the same each time.  It is the state's, and used
 * by the thread that this was called in; lua_close() ends what runs and closes
 * what is open, which may take as long as tide_close().  The state's globals,
 * hooks and allocator stay as they are; how it is used is in lua/README.md.
 * Raises a Lua error, so call it protected.  It needs no tide_runtime.
 */
TIDE_API int luaopen_tidepool(struct lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
