/* hist.h - histogram of durations: fixed size, log-linear, no allocation. */
#ifndef TIDEPOOL_BASE_HIST_H
#define TIDEPOOL_BASE_HIST_H

#include <stdint.h>

/*
 * Each power of two is cut into 16 buckets, so a quantile is within 6.25 % of
 * the true value; values over 2^40 ns (18 minutes) share the last bucket.
 */
enum {
    HIST_SUB = 16,
    HIST_OCTAVES = 37,
    HIST_BUCKETS = HIST_SUB * HIST_OCTAVES + 1,
};

struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_record(struct hist *hist, uint64_t ns);

/* Adds what was recorded in from since before, an earlier copy of it, or since
 * the beginning when before is NULL.  max_ns is then a bucket's bound. */
void hist_add_since(struct hist *hist, const struct hist *from,
                    const struct hist *before);

/* The value that a share of q (0..1) of the records is at or under; 0 when
 * nothing was recorded. */
uint64_t hist_quantile(const struct hist *hist, double q);

/* How many records are at or under ns, to the bucket's accuracy: exact for
 * bounds that are powers of two, for Prometheus' cumulative buckets. */
uint64_t hist_count_to(const struct hist *hist, uint64_t ns);

#endif
