/* shrink.h - the fewest actions with which a schedule still fails. */
#ifndef TIDEPOOL_SIM_SHRINK_H
#define TIDEPOOL_SIM_SHRINK_H

#include "schedule.h"

/* schedule fails; fails() says whether another does. */
void schedule_shrink(struct schedule *schedule,
                     bool (*fails)(const struct schedule *schedule));

#endif
