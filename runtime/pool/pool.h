/*
 * pool.h - the pool: lends connections, opens, tests, retires and closes them.
 *
 * Sans I/O: time comes in as now_ns (nanoseconds of one monotonic clock, never
 * going back), effects go out through conn_ops and pool_host.  Given the same
 * calls it does the same things.  One thread.  The pool owns the line and the
 * state of every connection; the driver owns the memory of its connections, a
 * caller the memory of its waiter.
 */
#ifndef TIDEPOOL_POOL_POOL_H
#define TIDEPOOL_POOL_POOL_H

#include "pool/budget.h"
#include "pool/conn.h"
#include "pool/line.h"
#include "pool/settings.h"
#include "pool/stats.h"

enum { POOL_ADDRESSES_MAX = 16 };

struct flight;
struct pool;

/* clang-format off */
#define POOL_EVENT_MAP(XX)                                                   \
    XX(OPENED,         "connection opened")                                  \
    XX(CLOSED,         "connection closed")                                  \
    XX(CONNECT_FAILED, "connect failed")                                     \
    XX(OUTDATED,       "server changed, connections are replaced")           \
    XX(SLOW_ACQUIRE,   "slow acquire")                                       \
    XX(TIMEOUT,        "a wait ended at its deadline")                       \
    XX(LEAK,           "lease held too long")                                \
    XX(RECLAIMED,      "lease taken back")                                   \
    XX(EXHAUSTED,      "all connections are in use, and somebody waits")     \
    XX(DEGRADED,       "the server cannot be reached")                       \
    XX(RECOVERED,      "neither any more")
/* clang-format on */

enum pool_event_kind {
#define XX(name, text) POOL_EVENT_##name,
    POOL_EVENT_MAP(XX)
#undef XX
        POOL_EVENTS
};

/* Borrowed for the duration of the call. */
struct pool_event {
    enum pool_event_kind kind;
    const struct conn *conn;     /* NULL for what is of no connection */
    enum close_reason reason;    /* CLOSED */
    const struct err_text *text; /* CONNECT_FAILED, OUTDATED, CLOSED: or NULL */
    const char *site;            /* of who waited or held; or NULL */
    uint64_t duration_ns;        /* OPENED: took; CLOSED: age; SLOW_ACQUIRE,
                                    TIMEOUT: waited; LEAK, RECLAIMED: held;
                                    EXHAUSTED, RECOVERED: so long it was so */
    uint64_t retry_ns;           /* CONNECT_FAILED: until the next attempt */
    const uint64_t *phase_ns;    /* SLOW_ACQUIRE: [WAIT_PHASES] */
};

/* Told of all events, after the host; must not call the pool. */
typedef void (*pool_observe_fn)(void *ud, const struct pool_event *event);

/* What the pool needs of its surroundings.  Copied by pool_new(). */
struct pool_host {
    void *ud; /* given to each call */
    /* The next pool_tick() is due at at_ns, which is earlier than said before
     * (or the first).  Needs no answer; ticks that are not due do no harm. */
    void (*wake_at)(void *ud, uint64_t at_ns);
    /* For the log.  Must not call the pool. */
    void (*on_event)(void *ud, const struct pool_event *event);
    /* The pool is closed and its last connection is gone; pool_free() may be
     * called from here on, also from inside.  Once, from pool_tick() only: when
     * nothing was open, wake_at() asks for that tick. */
    void (*on_closed)(void *ud);
    /* Whether the pool is to leave what it has not done yet to the next tick,
     * which is then due at once; NULL: never.  Each tick does something. */
    bool (*is_over)(void *ud);
};

struct pool_config {
    const struct conn_ops *ops;
    void *driver; /* given to ops->open */
    struct pool_host host;
    struct pool_settings settings;
    const struct budget_share *share; /* borrowed; NULL: it is alone */
    struct flight *flight;            /* borrowed; NULL: nothing is recorded */
    uint64_t seed;                    /* of the jitter */
    unsigned addresses; /* how many servers open() may dial, at least 1 */
};

/* The pool opens no connection before the first pool_tick(), which the host
 * calls soon: it opens min_connections, or one to know the server. */
enum err pool_new(struct pool **out, const struct pool_config *config,
                  uint64_t now_ns) MUST_CHECK;
/* One at a time; NULL: nobody. */
void pool_observe(struct pool *pool, pool_observe_fn fn, void *ud);
/* Accepts NULL.  Only after on_closed, or when no connection was ever opened.
 */
void pool_free(struct pool *pool);

/* ---- leases and lanes */

/*
 * Lends an idle connection at once, LEASED or SHARED, or returns NULL: none is
 * idle, it needs a test first, somebody waits (nobody overtakes the line), or
 * the pool is paused or closing.
 */
struct conn *pool_try_acquire(struct pool *pool, bool shared, const char *site,
                              uint64_t now_ns);

/*
 * Puts waiter at the end of the line.  Call it after pool_try_acquire()
 * returned NULL.  Returns ERR_OK and later calls on_done once; or
 *   ERR_BUSY     max_waiters stand in line already,
 *   ERR_REFUSED  no connection is open and back-off knows the server fails,
 *   ERR_TIMEOUT  deadline_ns has passed,
 *   ERR_CLOSED   pool_close() was called,
 * and then on_done is not called.  pool_explain() says more of either.
 */
enum err pool_wait(struct pool *pool, struct pool_waiter *waiter,
                   uint64_t now_ns) MUST_CHECK;

/*
 * Whether none can come free: all of max_connections are LEASED, and keeps()
 * says of each holder (see conn_set_holder()) that it gives nothing back.
 */
bool pool_is_kept(const struct pool *pool,
                  bool (*keeps)(struct conn **holder, void *ud), void *ud);
/* A caller was refused for that. */
void pool_count_nested(struct pool *pool);

/* A caller was told of a failure of an operation on the pool, of any kind. */
void pool_count_error(struct pool *pool, enum err err);

/* Leaves the line; on_done will not be called.  Does nothing when the waiter
 * is not in line. */
void pool_wait_cancel(struct pool *pool, struct pool_waiter *waiter,
                      uint64_t now_ns);
/* Of a waiter for a lane that stands in line: whether it is the first lane of
 * its kind, without which statements wait for ever.  Lanes make room for that
 * one as they do for leases, and not for one lane more. */
void pool_wait_press(struct pool *pool, struct pool_waiter *waiter,
                     bool is_first, uint64_t now_ns);

/*
 * Gives a LEASED or SHARED connection back; the wire decides what becomes of
 * it: handed on, reset, cancelled or closed.  May call on_done of a waiter.
 * Does nothing when pool_close() has closed it under its holder.
 */
void pool_release(struct pool *pool, struct conn *conn, uint64_t now_ns);

/* Gives it back and closes it, whatever the wire says. */
void pool_discard(struct pool *pool, struct conn *conn,
                  enum close_reason reason, uint64_t now_ns);

/* Tells that nothing is on a SHARED connection, or something again: a lease
 * need not wait before it gets one that rests. */
void pool_lane_rests(struct conn *conn, bool is_resting);

/* Fills why for an acquire that failed with err just now; waiter may be NULL
 * when there was none. */
void pool_explain(const struct pool *pool, const struct pool_waiter *waiter,
                  enum err err, uint64_t now_ns, struct pool_why *why);

/* ---- the driver's answers */

/* While OPENING: conn has come to this phase. */
void pool_conn_phase(struct conn *conn, enum wait_phase phase, uint64_t now_ns);
void pool_conn_opened(struct conn *conn, uint64_t now_ns);
/* The attempt failed; the pool calls ops->close. */
void pool_conn_failed(struct conn *conn, const struct err_text *text,
                      uint64_t now_ns);
void pool_conn_tested(struct conn *conn, bool is_alive, uint64_t now_ns);
void pool_conn_reset(struct conn *conn, bool is_clean, uint64_t now_ns);
/* Its session was cleaned of what after_connect had set, too. */
void pool_conn_bare(struct conn *conn);
/* is_drained: the wire is quiet again; what it says then decides. */
void pool_conn_cancelled(struct conn *conn, bool is_drained, uint64_t now_ns);
/* The socket died while the pool had it (IDLE and the like), or a byte came
 * that nobody asked for.  LEASED and SHARED ones are told by their holder
 * through pool_release() or pool_discard(). */
void pool_conn_lost(struct conn *conn, const struct err_text *text,
                    uint64_t now_ns);
void pool_conn_closed(struct conn *conn, uint64_t now_ns);
/* The server's process that serves it, before pool_conn_opened(). */
void pool_conn_backend(struct conn *conn, int pid);
/* Before pool_conn_closed(): the server may have it still. */
void pool_conn_unsure(struct conn *conn);
/* Inside ops->test: dead workers' processes at the server; a driver that can
 * asks which of them are gone, in the same round trip. */
size_t pool_ghosts(const struct conn *conn, const int32_t **pids);
/* These are; before pool_conn_tested(). */
void pool_bury(struct conn *conn, const int32_t *pids, size_t count);
/* A byte arrived. */
static inline void pool_conn_byte(struct conn *conn, uint64_t now_ns)
{
    conn->byte_ns = now_ns;
}

/*
 * Back-off is per address: exponential with full jitter, 50 ms to 1 s.  A
 * driver with several servers asks which may be dialled and tells how it went,
 * before pool_conn_failed(), or inside ops->close for CLOSE_CONNECT_TIMEOUT.
 * pool_conn_opened and pool_conn_failed do this when there is only one.
 */
bool pool_address_ready(const struct pool *pool, unsigned address,
                        uint64_t now_ns);
void pool_address_failed(struct pool *pool, unsigned address, uint64_t now_ns);
void pool_address_answered(struct pool *pool, unsigned address);

/* ---- running it */

/* Does all that is due: deadlines, growth, retirement.  Returns when it wants
 * to be called next (WHEEL_NEVER: not before something happens). */
uint64_t pool_tick(struct pool *pool, uint64_t now_ns);

/* The bell of its budget rang. */
void pool_look(struct pool *pool, uint64_t now_ns);

/* With a budget max_connections is the instance's, as are min_connections and
 * lanes, of which each worker has a part. */
const struct pool_settings *pool_settings(const struct pool *pool);
/* Takes effect at once; shrinking closes idle ones now and others on their
 * return.  Deadlines of those already in line stay. */
enum err pool_set(struct pool *pool, const struct pool_settings *settings,
                  uint64_t now_ns, struct err_text *why) MUST_CHECK;

/* Paused: nothing is handed out, tested or opened; waiters wait, their
 * deadlines run and nobody is refused because the server is down.  Resuming
 * forgets earlier failures. */
void pool_pause(struct pool *pool, uint64_t now_ns);
void pool_resume(struct pool *pool, uint64_t now_ns);
bool pool_is_paused(const struct pool *pool);

/* Retires what is open now: idle ones are closed, others when they come back;
 * new ones are opened as needed. */
void pool_drain(struct pool *pool, uint64_t now_ns);
/* It is lent and will be closed when it comes back: drained since. */
bool pool_conn_is_old(const struct conn *conn);

/*
 * The server said on conn that it shuts down, starts, or must not be written
 * to any more: what was opened before it said so is of no use.  Retires it as
 * pool_drain() does, in the next tick, so that any holder may call this.  Once
 * for all that say the same, and once in 5 s: a server that stays as it is
 * gains nothing by new connections.
 */
void pool_outdate(struct conn *conn, const struct err_text *text,
                  uint64_t now_ns);

/*
 * Refuses new waiters and ends those in line with ERR_CLOSED, waits for leases
 * until deadline_ns, then closes them; on_closed follows.
 */
void pool_close(struct pool *pool, uint64_t deadline_ns, uint64_t now_ns);

/* ---- reading it */

/* Grows when the server becomes another, and with each drain. */
uint64_t pool_epoch(const struct pool *pool);
const struct pool_stats *pool_stats(const struct pool *pool);
struct flight *pool_flight(const struct pool *pool); /* or NULL */
void pool_counts(const struct pool *pool, struct pool_counts *out);
/* What it has and what others have of max_connections. */
void pool_census(const struct pool *pool, struct budget_census *out);
/* Calls fn for each lease, the oldest first: its site, which may be NULL, and
 * state_ns, since when it is lent, are those of conn. */
void pool_each_lease(const struct pool *pool,
                     void (*fn)(void *ud, const struct conn *conn), void *ud);
/* The last failed connect since the last one that succeeded; NULL when none. */
const struct err_text *pool_last_error(const struct pool *pool);
/* It was told EXHAUSTED, and not yet RECOVERED. */
bool pool_is_exhausted(const struct pool *pool);
/* True while nothing is open (but attempts) and the last attempt failed, with
 * all that were under way beside it. */
bool pool_is_down(const struct pool *pool);

/* Asserts what is always true between two calls; for tests.  Walks all lists.
 */
void pool_check(const struct pool *pool);

/* Handles are checked by generation: true while conn is still lent under it. */
static inline bool conn_is_lent(const struct conn *conn, uint64_t generation)
{
    return conn->generation == generation &&
           (conn->state == CONN_LEASED || conn->state == CONN_SHARED);
}

#endif
