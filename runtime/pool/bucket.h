/*
 * bucket.h - a token bucket in one word: full_ns, when it will be full again.
 * One word, so that a process that dies while it writes leaves it whole.
 */
#ifndef TIDEPOOL_POOL_BUCKET_H
#define TIDEPOOL_POOL_BUCKET_H

#include <stdint.h>

/* When the next token may be taken; now_ns or before: now.  The bucket gets
 * rate tokens a second and holds burst; rate 0: as many as one likes.  It lacks
 * no more than it holds, whatever rate and burst were before. */
static inline uint64_t bucket_ready_ns(uint64_t *full_ns, uint64_t rate,
                                       uint64_t burst, uint64_t now_ns)
{
    uint64_t step_ns = rate > 0 ? 1000000000 / rate : 0;

    if (rate == 0 || *full_ns <= now_ns)
        return 0;
    if (*full_ns > now_ns + burst * step_ns)
        *full_ns = now_ns + burst * step_ns;
    if (*full_ns <= (burst - 1) * step_ns)
        return 0;
    return *full_ns - (burst - 1) * step_ns;
}

/* Takes one. */
static inline void bucket_take(uint64_t *full_ns, uint64_t rate,
                               uint64_t now_ns)
{
    uint64_t step_ns = rate > 0 ? 1000000000 / rate : 0;

    *full_ns = (*full_ns > now_ns ? *full_ns : now_ns) + step_ns;
}

#endif
