/*
 * permit.h - the pool's part in a budget, see budget_permit.h: asks for a
 * permit before it opens, gives it back when the connection is gone, yields to
 * other workers, and asks for ghosts.  A pool alone has its bucket of connects
 * and no more.  For the files of this folder only.
 *
 * The share is borrowed from the pool's owner.
 */
#ifndef TIDEPOOL_POOL_PERMIT_H
#define TIDEPOOL_POOL_PERMIT_H

#include <stdbool.h>
#include <stdint.h>

struct budget_share;
struct pool;

/* share may be NULL. */
void pool_begin_share(struct pool *pool, const struct budget_share *share);
/* max_connections was set. */
void pool_share_max(struct pool *pool);
/* min_connections and lanes of the instance: this worker's part. */
uint32_t pool_min(const struct pool *pool);
uint64_t pool_lane_limit(const struct pool *pool);
/* Before a connect; false: pool->retry_ns says when to try again.  wanted: how
 * many are needed.  *permit is for pool_give_permit(), which takes it back. */
bool pool_take_permit(struct pool *pool, uint32_t wanted, uint32_t *permit);
void pool_give_permit(struct pool *pool, uint32_t permit, bool is_ghost);
void pool_need_no_permit(struct pool *pool);
/* Each does one step and says whether it did. */
bool pool_yield(struct pool *pool);
bool pool_seek_ghosts(struct pool *pool);
uint64_t pool_share_ns(const struct pool *pool); /* when to look again */

#endif
