/* line.h - those who wait for a connection, first come first served. */
#ifndef TIDEPOOL_POOL_LINE_H
#define TIDEPOOL_POOL_LINE_H

#include "base/err.h"
#include "pool/class.h"
#include "pool/conn.h"

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

/* Why an acquire failed, by value; see pool_explain(). */
struct pool_why {
    enum err err;
    uint64_t waited_ns;
    uint64_t phase_ns[WAIT_PHASES];
    uint32_t states[CONN_STATES];
    uint32_t open, max, waiting;
    uint32_t others, ghosts; /* of max: other workers', dead workers' */
    bool is_delayed;         /* connects wait for connect_rate */
    bool is_shed; /* ERR_BUSY: it had waited, and would have too long */
    struct err_text last_error; /* of the last failed connect, may be "" */
    uint64_t last_error_age_ns;
    char holder_site[96]; /* the oldest lease's, "" when none */
    uint64_t holder_ns;   /* how long it is held */
};

/* Writes one sentence: what was waited for, how long in each phase, the counts,
 * the oldest holder and the last connect error. */
void pool_why_text(const struct pool_why *why, const char *pool_name,
                   struct err_text *out);

#endif
