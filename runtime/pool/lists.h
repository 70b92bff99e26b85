/*
 * lists.h - who is on a pool's lists: how many, the first and the last.  For
 * the files of this folder only.
 */
#ifndef TIDEPOOL_POOL_LISTS_H
#define TIDEPOOL_POOL_LISTS_H

#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/internal.h"
#include "pool/line.h"

static inline uint32_t pool_count(const struct pool *pool,
                                  enum conn_state state)
{
    return pool->by_state[state].len;
}

/* Those that are not on their way out. */
static inline uint32_t pool_live(const struct pool *pool)
{
    return pool->open - pool_count(pool, CONN_CLOSING);
}

/* Those that have connected and are not on their way out. */
static inline uint32_t pool_usable(const struct pool *pool)
{
    return pool_live(pool) - pool_count(pool, CONN_OPENING);
}

static inline struct conn *pool_conn_of(struct list_node *node)
{
    return node != NULL ? container_of(node, struct conn, node) : NULL;
}

static inline struct conn *pool_first(const struct pool *pool,
                                      enum conn_state state)
{
    return pool_conn_of(list_first(&pool->by_state[state]));
}

static inline struct conn *pool_last(const struct pool *pool,
                                     enum conn_state state)
{
    return pool_conn_of(list_last(&pool->by_state[state]));
}

static inline struct pool_waiter *pool_first_waiter(const struct pool *pool)
{
    struct list_node *node = list_first(&pool->line);

    return node != NULL ? container_of(node, struct pool_waiter, node) : NULL;
}

#endif
