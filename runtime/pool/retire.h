/*
 * retire.h - which connections go, and when: idle too long, too old, too many,
 * of an old epoch, or on the way of those who wait.  For the files of this
 * folder only.
 *
 * The driver owns conn.
 */
#ifndef TIDEPOOL_POOL_RETIRE_H
#define TIDEPOOL_POOL_RETIRE_H

#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct pool;

/* Draws the end of conn's life. */
void pool_set_lifetime(struct pool *pool, struct conn *conn);
/* True when conn must be closed instead of used again. */
bool pool_must_go(struct pool *pool, struct conn *conn,
                  enum close_reason *reason);
/* The lifetime of an IDLE or SHARED conn has passed. */
void pool_outlived(struct pool *pool, struct conn *conn);
/* A connection opened: the one that waited for it retires. */
void pool_replaced(struct pool *pool);
/* Closes what an earlier epoch left unused; says whether there was any. */
bool pool_sweep(struct pool *pool);
/* One step of shrinking, idling out, replacing or relieving the line. */
bool pool_retire(struct pool *pool);
void pool_unshare(struct pool *pool, struct conn *conn);
void pool_unshare_all(struct pool *pool);
/* When a lease that lanes keep waiting gets one of theirs; or WHEEL_NEVER. */
uint64_t pool_relief_ns(const struct pool *pool);
/* Closes what is still lent when pool_close()'s deadline has passed. */
void pool_close_overdue(struct pool *pool);

#endif
