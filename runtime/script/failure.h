/*
 * failure.h - operations on a pool that failed: told to who called, and
 * counted.
 *
 * Each failure is answered by one of these functions, once; so what the pool
 * counts by code is what callers were told.
 */
#ifndef TIDEPOOL_SCRIPT_FAILURE_H
#define TIDEPOOL_SCRIPT_FAILURE_H

#include "script/bind_pool.h"

/* Counts one that is told elsewhere: a cancelled task raises it by itself. */
void failure_count(const struct script_pool *box, enum err err);

/* Counts it and pushes an err.  text may be NULL. */
void push_failure(lua_State *L, const struct script_pool *box, enum err err,
                  const struct err_text *text);
/* The same for an acquire of box's pool that failed just now, with its
 * attribution; waiter may be NULL. */
void push_refusal(lua_State *L, const struct script_pool *box,
                  const struct pool_waiter *waiter, enum err err);

/* Leave nil, err. */
int return_failure(lua_State *L, const struct script_pool *box, enum err err,
                   const struct err_text *text);
int return_refusal(lua_State *L, const struct script_pool *box,
                   const struct pool_waiter *waiter, enum err err);

#endif
