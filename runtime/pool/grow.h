/*
 * grow.h - opening connections.  How many are wanted is computed anew after
 * every event and no attempt belongs to a waiter, so none can be lost; how fast
 * is bounded: in parallel, and by the back-off of each address.  For the files
 * of this folder only.
 *
 * The driver owns conn.
 */
#ifndef TIDEPOOL_POOL_GROW_H
#define TIDEPOOL_POOL_GROW_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct pool;

/* conn has connected, and after_connect has passed it. */
void pool_admit(struct pool *pool, struct conn *conn);
/* A connection is of no use before it was lent: as after a failed attempt. */
void pool_back_off(struct pool *pool, const struct conn *conn,
                   const struct err_text *text);

/* How many are in use or waited for, within min and max_connections. */
uint32_t pool_demand(const struct pool *pool);
bool pool_grow(struct pool *pool); /* says whether an attempt failed */
void pool_attempt_failed(struct pool *pool, struct conn *conn,
                         enum close_reason reason, const struct err_text *text);
void pool_forget_failures(struct pool *pool);

#endif
