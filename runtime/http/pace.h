/*
 * pace.h - when the requests of an open loop are due: at a fixed rate, whatever
 * the server does.  Arithmetic only, no clock.
 */
#ifndef TIDEPOOL_HTTP_PACE_H
#define TIDEPOOL_HTTP_PACE_H

#include <stdint.h>

struct pace {
    uint64_t start_ns;
    double interval_ns;
    uint64_t total; /* requests that are due before the end */
};

/* rate: requests a second.  max_requests: no more than these, 0 for no limit.
 */
void pace_init(struct pace *pace, uint64_t start_ns, double rate,
               uint64_t duration_ns, uint64_t max_requests);
/* When request i, from 0 on, is due. */
uint64_t pace_due_ns(const struct pace *pace, uint64_t i);
/* How many are due by now, the one that is due now included. */
uint64_t pace_count(const struct pace *pace, uint64_t now_ns);

#endif
