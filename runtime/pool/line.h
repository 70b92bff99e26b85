/* line.h - those who wait for a connection, first come first served. */
#ifndef TIDEPOOL_POOL_LINE_H
#define TIDEPOOL_POOL_LINE_H

#include "base/err.h"
#include "base/wheel.h"
#include "pool/class.h"
#include "pool/conn_state.h"

struct conn;
struct pool;
struct pool_waiter;

/*
 * Ends one wait.  On ERR_OK conn is lent to the waiter, LEASED or SHARED as it
 * asked; otherwise conn is NULL and pool_explain() may be called.  Runs exactly
 * once per pool_wait() that was not cancelled, and never inside pool_wait().
 */
typedef void (*pool_wait_fn)(struct pool_waiter *waiter, enum err err,
                             struct conn *conn);

/*
 * Owned by the caller, who keeps it in place until on_done has run or
 * pool_wait_cancel() has returned.  All zero but the caller's fields.
 */
struct pool_waiter {
    pool_wait_fn on_done;
    bool shared;   /* for a lane: the connection becomes SHARED */
    bool is_first; /* shared: others make room for it, see pool_wait_press() */
    enum pool_class class;
    const char *site;     /* where the caller asked; outlives the lease */
    uint64_t deadline_ns; /* absolute; 0: acquire_timeout from now */

    /* the pool's own, the last two readable from on_done on */
    struct list_node node;       /* on the line */
    struct list_node class_node; /* among those of its class */
    struct wheel_timer timer;
    struct pool *pool;
    uint64_t since_ns;
    uint64_t phase_ns[WAIT_PHASES]; /* how long in each */
};

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

/* Leaves the line; on_done will not be called.  Does nothing when the waiter
 * is not in line. */
void pool_wait_cancel(struct pool *pool, struct pool_waiter *waiter,
                      uint64_t now_ns);
/* Of a waiter for a lane that stands in line: whether it is the first lane of
 * its kind, without which statements wait for ever.  Lanes make room for that
 * one as they do for leases, and not for one lane more. */
void pool_wait_press(struct pool *pool, struct pool_waiter *waiter,
                     bool is_first, uint64_t now_ns);

#endif
