/*
 * pool.h - the pool: lends connections, opens, tests, retires and closes them.
 *
 * Here is its life: made, run, set, paused, drained, closed.  Callers borrow
 * with lease.h and line.h; drivers answer with driver.h, backoff.h and ghost.h;
 * who looks at it needs status.h, stats.h, event.h, flight.h and why.h.
 *
 * Sans I/O: time comes in as now_ns (nanoseconds of one monotonic clock, never
 * going back), effects go out through conn_ops and pool_host.  Given the same
 * calls it does the same things.  One thread.  The pool owns the line and the
 * state of every connection; the driver owns the memory of its connections, a
 * caller the memory of its waiter.
 */
#ifndef TIDEPOOL_POOL_POOL_H
#define TIDEPOOL_POOL_POOL_H

#include "pool/settings.h"

struct budget_share;
struct conn_ops;
struct flight;
struct pool;
struct pool_event;

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

/* Retires what is open now: idle ones are closed, others when they come back;
 * new ones are opened as needed. */
void pool_drain(struct pool *pool, uint64_t now_ns);

/*
 * Refuses new waiters and ends those in line with ERR_CLOSED, waits for leases
 * until deadline_ns, then closes them; on_closed follows.
 */
void pool_close(struct pool *pool, uint64_t deadline_ns, uint64_t now_ns);
/* Accepts NULL.  Only after on_closed, or when no connection was ever opened.
 */
void pool_free(struct pool *pool);

#endif
