/* samples.h - the distribution of many times. */
#ifndef TIDEPOOL_BENCH_SAMPLES_H
#define TIDEPOOL_BENCH_SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static inline int compare_times(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* Prints p50, p99, p99.9 and the largest in microseconds; sorts them. */
static inline void print_times(uint32_t *times_ns, size_t len)
{
    static const double parts[] = { 0.5, 0.99, 0.999, 1 };

    qsort(times_ns, len, sizeof(*times_ns), compare_times);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        size_t at = (size_t)((double)len * parts[i]);

        printf(" %.1f", times_ns[at < len ? at : len - 1] / 1e3);
    }
}

#endif
