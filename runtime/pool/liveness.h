/*
 * liveness.h - is a quiet connection still alive?  A test belongs to the pool:
 * the waiter that it is made for stays in line and takes what comes first.  For
 * the files of this folder only.
 *
 * The driver owns conn.
 */
#ifndef TIDEPOOL_POOL_LIVENESS_H
#define TIDEPOOL_POOL_LIVENESS_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>

struct conn;
struct pool;

bool pool_needs_test(const struct pool *pool, const struct conn *conn);
/* Tests an idle connection for the line; says whether it did. */
bool pool_test_idle(struct pool *pool);
void pool_test_failed(struct pool *pool, struct conn *conn,
                      enum close_reason reason, const struct err_text *text);

void pool_begin_test(struct pool *pool, struct conn *conn);

#endif
