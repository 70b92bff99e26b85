/*
 * line_inside.h - who in line is served, and who goes without, for the files of
 * this folder only; what those who wait see of it is in line.h.
 *
 * Waiters are their callers', in place until on_done.
 */
#ifndef TIDEPOOL_POOL_LINE_INSIDE_H
#define TIDEPOOL_POOL_LINE_INSIDE_H

#include "pool/flight.h"
#include "pool/line.h"

/* Each of these does one step and says whether it did. */

bool pool_line_serve(struct pool *pool);
bool pool_line_refuse(struct pool *pool);
bool pool_line_shed(struct pool *pool);
/* When that is to be looked at again; WHEEL_NEVER. */
uint64_t pool_line_shed_ns(const struct pool *pool);
void pool_line_expire(struct pool *pool);
/* A step waits for pool_tick() because it would end a wait. */
bool pool_line_has_work(const struct pool *pool);
/* The first who wants a lease, or the first lane of a kind; or NULL. */
const struct pool_waiter *pool_first_pressing(const struct pool *pool);

/* A lease or a statement ended so, without having been served. */
void pool_count_end(struct pool *pool, enum demand_end end);
void pool_tell_timeout(const struct pool *pool, const char *site,
                       uint64_t since_ns);

#endif
