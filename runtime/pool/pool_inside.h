/*
 * pool_inside.h - how calls of a pool begin and end, for the files of this
 * folder only; what others see of it is in pool.h.
 *
 * Every public call that may change something runs between pool_enter() and
 * pool_leave().  The outermost pool_leave() settles the pool: it repeats all
 * rules until none finds work, so nothing depends on who called what, and a
 * callback that calls the pool again only changes lists that the outermost one
 * reads afresh.  Nothing recurses.
 */
#ifndef TIDEPOOL_POOL_POOL_INSIDE_H
#define TIDEPOOL_POOL_POOL_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

struct pool;
struct pool_event;

void pool_enter(struct pool *pool, uint64_t now_ns);
void pool_leave(struct pool *pool);
/* The host has no time: what is left is for the next tick. */
bool pool_is_over(const struct pool *pool);
/* Ends no wait: for calls that must not run anybody's on_done. */
void pool_leave_quietly(struct pool *pool);
/* Does nothing now but to ask for a tick: for calls from inside a driver. */
void pool_leave_to_tick(struct pool *pool);
void pool_tell(const struct pool *pool, const struct pool_event *event);

#endif
