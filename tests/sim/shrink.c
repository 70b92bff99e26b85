/* shrink.c - see shrink.h: leaves out halves, then quarters, and so on down to
 * single actions, as long as anything can be left out; after Zeller and
 * Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). */
#include "shrink.h"

#include <string.h>

/* Without [at, at + len), if it fails then. */
static bool leave_out(struct schedule *schedule, unsigned at, unsigned len,
                      bool (*fails)(const struct schedule *schedule))
{
    struct schedule less = *schedule;

    memmove(&less.actions[at], &less.actions[at + len],
            (less.count - at - len) * sizeof(less.actions[0]));
    less.count -= len;
    if (!fails(&less))
        return false;
    *schedule = less;
    return true;
}

static bool pass(struct schedule *schedule, unsigned len,
                 bool (*fails)(const struct schedule *schedule))
{
    bool is_less = false;
    unsigned at = schedule->count;

    while (at > 0) { /* from the end: what came later matters least */
        unsigned from = at > len ? at - len : 0;

        is_less |= leave_out(schedule, from, at - from, fails);
        at = from;
    }
    return is_less;
}

static void simplify(struct schedule *schedule,
                     bool (*fails)(const struct schedule *schedule))
{
    struct schedule less = *schedule;

    less.workers = 1;
    if (less.workers != schedule->workers && fails(&less))
        *schedule = less;
    less = *schedule;
    less.has_flow = false;
    if (less.has_flow != schedule->has_flow && fails(&less))
        *schedule = less;
    less = *schedule;
    less.is_hasty = false;
    if (less.is_hasty != schedule->is_hasty && fails(&less))
        *schedule = less;
    for (unsigned i = 0; i < schedule->count; i++) {
        less = *schedule;
        less.actions[i].what = less.actions[i].kind == ACTION_LEASE
                                   ? INSIDE_NOTHING
                                   : less.actions[i].what;
        less.actions[i].class = CLASS_NORMAL;
        less.actions[i].is_reclaimable = false;
        if (memcmp(&less, schedule, sizeof(less)) != 0 && fails(&less))
            *schedule = less;
    }
}

void schedule_shrink(struct schedule *schedule,
                     bool (*fails)(const struct schedule *schedule))
{
    unsigned len = schedule->count > 1 ? schedule->count / 2 : 1;

    while (len > 1) {
        (void)pass(schedule, len, fails);
        len /= 2;
    }
    simplify(schedule, fails);
    while (schedule->count > 0 && pass(schedule, 1, fails))
        continue;
}
