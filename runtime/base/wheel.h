/* wheel.h - hierarchical timing wheel: any number of deadlines, O(1) each. */
#ifndef TIDEPOOL_BASE_WHEEL_H
#define TIDEPOOL_BASE_WHEEL_H

#include "base/list.h"

#include <stdint.h>

/*
 * After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987).
 * Times are nanoseconds of any monotonic clock; the wheel counts in ticks of
 * one microsecond and rounds a deadline up, so a timer is never early and at
 * most one tick late.
 */
enum { WHEEL_LEVELS = 8, WHEEL_SLOTS = 64, WHEEL_TICK_NS = 1000 };
static const uint64_t WHEEL_NEVER = UINT64_MAX;

/* Embedded in the caller's struct; all zero is a timer that is not armed. */
struct wheel_timer {
    struct list_node node;
    uint64_t tick;
    uint8_t level;
    uint8_t slot;
};

struct wheel {
    uint64_t now_tick;
    uint64_t len;                    /* armed timers */
    uint64_t occupied[WHEEL_LEVELS]; /* one bit a slot */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list due; /* found by wheel_expire, not yet handed out */
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);

/* Arms timer, which is not armed; a time that has passed is due at once. */
void wheel_add(struct wheel *wheel, struct wheel_timer *timer, uint64_t at_ns);
/* Disarms timer; does nothing when it is not armed. */
void wheel_remove(struct wheel *wheel, struct wheel_timer *timer);

static inline bool wheel_is_armed(const struct wheel_timer *timer)
{
    return list_is_linked(&timer->node);
}

/*
 * Disarms and returns one timer that is due at now_ns, or NULL.  Call it until
 * NULL; timers may be added and removed between the calls.  They come in order
 * of deadline, then of arming.  Time does not go back: an older now_ns counts
 * as the latest one given.
 */
struct wheel_timer *wheel_expire(struct wheel *wheel, uint64_t now_ns);

/*
 * When wheel_expire should run next: never later than the earliest deadline
 * (rounded up to its tick), possibly earlier; the last now_ns (rounded down)
 * when a timer is due already; WHEEL_NEVER when empty.
 */
uint64_t wheel_next_ns(const struct wheel *wheel);

#endif
