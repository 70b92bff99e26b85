/*
 * lease.h - connections as callers have them: lent at once, given back.  Who
 * gets none at once waits in line, see line.h.
 *
 * The driver owns conn, a lease only lends it.  now_ns as in pool.h.
 */
#ifndef TIDEPOOL_POOL_LEASE_H
#define TIDEPOOL_POOL_LEASE_H

#include "pool/class.h"
#include "pool/conn.h"
#include "pool/conn_state.h"

/*
 * Lends an idle connection at once, LEASED or SHARED, or returns NULL: none is
 * idle, it needs a test first, somebody waits (nobody overtakes the line), or
 * the pool is paused or closing.
 */
struct conn *pool_try_acquire(struct pool *pool, bool shared, const char *site,
                              uint64_t now_ns);

/* After pool_try_acquire(): whose class it is. */
static inline void conn_set_class(struct conn *conn, enum pool_class class)
{
    conn->class = class;
}

/*
 * The pool may have to take a lent connection back: it closes, and its deadline
 * has passed.  *holder is set to NULL when the lease ends, however it ends.
 * site replaces the one given when it was acquired.
 */
static inline void conn_set_holder(struct conn *conn, struct conn **holder,
                                   const char *site)
{
    conn->holder = holder;
    conn->is_reclaimed = NULL;
    conn->site = site;
}

/* The pool may also take it back after leak_reclaim; says so in is_reclaimed,
 * which is valid as long as holder. */
static inline void conn_set_reclaimable(struct conn *conn, bool *is_reclaimed)
{
    conn->is_reclaimed = is_reclaimed;
}

/* This lease lasts as long as somebody wants it: nobody forgot it. */
static inline void conn_set_standing(struct conn *conn)
{
    conn->is_standing = true;
}

/*
 * Whether none can come free: all of max_connections are LEASED, and keeps()
 * says of each holder (see conn_set_holder()) that it gives nothing back.
 */
bool pool_is_kept(const struct pool *pool,
                  bool (*keeps)(struct conn **holder, void *ud), void *ud);
/* A caller was refused for that. */
void pool_count_nested(struct pool *pool);

/* It is lent and will be closed when it comes back: drained since. */
bool pool_conn_is_old(const struct conn *conn);
/* Lent to one caller, or to a hook: commands of a lease may be sent on it. */
static inline bool conn_is_held(const struct conn *conn)
{
    return conn->state == CONN_LEASED || conn->hook != HOOK_NONE;
}

/* Handles are checked by generation: true while conn is still lent under it. */
static inline bool conn_is_lent(const struct conn *conn, uint64_t generation)
{
    return conn->generation == generation &&
           (conn->state == CONN_LEASED || conn->state == CONN_SHARED);
}

/* Tells that nothing is on a SHARED connection, or something again: a lease
 * need not wait before it gets one that rests. */
void pool_lane_rests(struct conn *conn, bool is_resting);

/*
 * Gives a LEASED or SHARED connection back; the wire decides what becomes of
 * it: handed on, reset, cancelled or closed.  May call on_done of a waiter.
 * Does nothing when pool_close() has closed it under its holder.
 */
void pool_release(struct pool *pool, struct conn *conn, uint64_t now_ns);

/* Gives it back and closes it, whatever the wire says. */
void pool_discard(struct pool *pool, struct conn *conn,
                  enum close_reason reason, uint64_t now_ns);

#endif
