/* deadline.h - deadlines of a loop: any number on one timer, O(1) each. */
#ifndef TIDEPOOL_NET_DEADLINE_H
#define TIDEPOOL_NET_DEADLINE_H

#include "base/wheel.h"
#include "net/loop.h"

/* Owned by the caller, in place while armed.  All zero but fn when new. */
struct deadline {
    void (*fn)(struct deadline *deadline); /* disarmed before it is called */
    struct wheel_timer timer;
};

/* Arms it for at_ns (loop time), also anew when it is armed.  A time that has
 * passed fires in the next turn, never from inside.  Up to 2 ms late. */
void deadline_start(struct loop *loop, struct deadline *deadline,
                    uint64_t at_ns);
void deadline_stop(struct loop *loop, struct deadline *deadline);

static inline bool deadline_is_armed(const struct deadline *deadline)
{
    return wheel_is_armed(&deadline->timer);
}

#endif
