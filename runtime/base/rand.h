/* rand.h - seeded pseudo-random numbers, for jitter; not for secrets. */
#ifndef TIDEPOOL_BASE_RAND_H
#define TIDEPOOL_BASE_RAND_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014): any seed is good, zero included. */
struct rand {
    uint64_t state;
};

static inline uint64_t rand_next(struct rand *rand)
{
    uint64_t z = (rand->state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* A number in [0, bound); 0 when bound is 0. */
static inline uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    return bound == 0 ? 0 : rand_next(rand) % bound;
}

#endif
