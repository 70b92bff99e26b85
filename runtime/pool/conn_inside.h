/*
 * conn_inside.h - a connection's state, and its deadline there, for the files
 * of this folder only; what drivers see of it is in conn.h.
 *
 * The driver owns conn, and may free it when it is closed.
 */
#ifndef TIDEPOOL_POOL_CONN_INSIDE_H
#define TIDEPOOL_POOL_CONN_INSIDE_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>

struct conn;
struct pool;

/* The only place where a connection changes state, and so list and timer. */
void pool_move(struct pool *pool, struct conn *conn, enum conn_state next);
void pool_add(struct pool *pool, struct conn *conn); /* as OPENING */
void pool_arm(struct pool *pool, struct conn *conn);
/* Its timer came: is its deadline there?  If not, sets the timer to it. */
bool pool_is_overdue(struct pool *pool, struct conn *conn);
/* Closes conn, which may be freed on return; text may be NULL. */
void pool_shut(struct pool *pool, struct conn *conn, enum close_reason reason,
               const struct err_text *text);
/* After max_connections or open changed. */
void pool_set_ceiling(struct pool *pool);
/* The deadline of conn's state has passed. */
void pool_overdue(struct pool *pool, struct conn *conn);

#endif
