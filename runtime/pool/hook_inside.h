/*
 * hook_inside.h - when hooks are due, and begin, for the files of this folder
 * only; what their owner sees of them is in hook.h.
 *
 * The driver owns conn, which is lent to the hook that runs on it.
 */
#ifndef TIDEPOOL_POOL_HOOK_INSIDE_H
#define TIDEPOOL_POOL_HOOK_INSIDE_H

#include "pool/conn_state.h"
#include "pool/hook.h"

bool pool_has_hook(const struct pool *pool, enum conn_hook hook);
/* conn is idle, and before_acquire must run before it is lent. */
bool pool_needs_approval(const struct pool *pool, const struct conn *conn);
/* Runs before_acquire on an idle connection for the line; says whether it did.
 */
bool pool_approve_idle(struct pool *pool);
/* Runs what conn, which is idle now, has come to be due for. */
void pool_run_due_hook(struct pool *pool, struct conn *conn);
/* conn has connected: runs after_connect, if there is one; says whether. */
bool pool_hook_opening(struct pool *pool, struct conn *conn);
/* Closes conn, which may be freed on return. */
void pool_hook_failed(struct pool *pool, struct conn *conn,
                      enum hook_verdict verdict, const struct err_text *text);

#endif
