/* makers.h - makes things with their n-th allocation failing, until none fails:
 * each failure is ERR_NOMEM and leaves nothing behind. */
#ifndef TIDEPOOL_UNIT_MAKERS_H
#define TIDEPOOL_UNIT_MAKERS_H

#include "net/loop.h"
#include "unit.h"

struct maker {
    const char *name;
    enum err (*make)(void);
    void (*drop)(void); /* what was made; turns the loop where that is due */
};

/* Leaves the thing made; gives how many allocations failed. */
unsigned maker_exhaust(struct loop *loop, const struct maker *maker);
/* Of each in turn, which it drops; some must allocate. */
void makers_check(struct loop *loop, const struct maker *makers, size_t count);

#endif
