/* clock.h - sums with times of one clock, in nanoseconds. */
#ifndef TIDEPOOL_BASE_CLOCK_H
#define TIDEPOOL_BASE_CLOCK_H

#include <stdint.h>

/* 0 when to is before from. */
static inline uint64_t elapsed_ns(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

static inline uint64_t earlier_ns(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

#endif
