/*
 * driver.h - what a driver does for the pool, and what it tells the pool of
 * its connections: answers, and what the server did by itself.
 *
 * The driver owns their memory.  now_ns as in pool.h.
 */
#ifndef TIDEPOOL_POOL_DRIVER_H
#define TIDEPOOL_POOL_DRIVER_H

#include "base/err.h"
#include "pool/conn.h"
#include "pool/conn_state.h"

/* What the wire says of a connection that comes back. */
enum conn_wire {
    CONN_CLEAN,  /* idle, no transaction, nothing due: fit for the next */
    CONN_DIRTY,  /* idle, but a transaction or session state is open */
    CONN_BUSY,   /* a statement runs or replies are due */
    CONN_SPENT,  /* works, but cannot be made clean */
    CONN_BROKEN, /* cannot be used again */
};

/*
 * What a driver does for the pool.  Every call but wire() is answered by one
 * call of a pool_conn_* function, never from inside the operation itself
 * (but close(), which may be answered at once).  The pool sets a deadline on
 * each and calls close() when it passes; after close() only pool_conn_closed()
 * counts.
 */
struct conn_ops {
    const char *name; /* "postgres", "redis" */
    /* Begins to connect; NULL when there is no memory.  Answer:
     * pool_conn_opened() or pool_conn_failed(). */
    struct conn *(*open)(void *driver);
    /* Reads the state from the wire, without I/O. */
    enum conn_wire (*wire)(const struct conn *conn);
    /* One round trip.  Answer: pool_conn_tested(). */
    void (*test)(struct conn *conn);
    /* Rolls back and clears session state.  Answer: pool_conn_reset(). */
    void (*reset)(struct conn *conn);
    /* Stops what runs and drains it.  Answer: pool_conn_cancelled(). */
    void (*cancel)(struct conn *conn);
    /* A hook ran on it: what it set stays, until the next reset, or for good
     * when it is the baseline.  False: something is open or under way. */
    bool (*keep)(struct conn *conn, bool is_baseline);
    /* The holder of a LEASED conn has it no more: what it runs ends for it with
     * ERR_CLOSED, and on the wire is nobody's.  No answer. */
    void (*abandon)(struct conn *conn);
    /* Asks the lane on a SHARED conn to finish.  Answer: pool_release(). */
    void (*unshare)(struct conn *conn);
    /* Closes and frees.  Answer: pool_conn_closed(), also from inside. */
    void (*close)(struct conn *conn, enum close_reason reason);
};

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
/* A byte arrived. */
static inline void pool_conn_byte(struct conn *conn, uint64_t now_ns)
{
    conn->byte_ns = now_ns;
}

/*
 * The server said on conn that it shuts down, starts, or must not be written
 * to any more: what was opened before it said so is of no use.  Retires it as
 * pool_drain() does, in the next tick, so that any holder may call this.  Once
 * for all that say the same, and once in 5 s: a server that stays as it is
 * gains nothing by new connections.
 */
void pool_outdate(struct conn *conn, const struct err_text *text,
                  uint64_t now_ns);

#endif
