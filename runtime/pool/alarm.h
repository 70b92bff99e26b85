/*
 * alarm.h - is the pool exhausted, or without its server?  Told once when it
 * has been so for a while, and once when it has been well for as long: not at
 * every request that suffers from it.  For the files of this folder only.
 */
#ifndef TIDEPOOL_POOL_ALARM_H
#define TIDEPOOL_POOL_ALARM_H

#include <stdint.h>

struct pool;

/* After anything that may change it. */
void pool_watch_alarm(struct pool *pool);
/* After the lanes ran; gives when to look at them again. */
uint64_t pool_watch_lanes(struct pool *pool, uint64_t now_ns);
uint64_t pool_alarm_ns(const struct pool *pool); /* when to look again */

#endif
