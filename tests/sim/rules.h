/* rules.h - what must be true: each fails the run when something is not. */
#ifndef TIDEPOOL_SIM_RULES_H
#define TIDEPOOL_SIM_RULES_H

#include "world.h"

/* One more is about to be opened. */
void rule_open(struct worker *worker);
/* When there was time for it: all workers have no more than max. */
void rule_sum(const struct worker *worker);
/* link was lent to demand; NULL: to a lane. */
void rule_lent(struct link *link, struct demand *demand);
/* demand is served now. */
void rule_turn(struct demand *demand);
/* The shares of classes may have changed. */
void rule_shares(struct worker *worker);
/* The pool's counters. */
void rule_tally(const struct worker *worker);
/* How many lanes there are, and what they keep. */
void rule_lanes(const struct worker *worker);
/* After each event, of the workers that it touched. */
void rule_all(struct world *world);

#endif
