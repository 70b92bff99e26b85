/* why.h - why an acquire failed: gathered by value, told as a sentence. */
#ifndef TIDEPOOL_POOL_WHY_H
#define TIDEPOOL_POOL_WHY_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct pool;
struct pool_waiter;

struct pool_why {
    enum err err;
    uint64_t waited_ns;
    uint64_t phase_ns[WAIT_PHASES];
    uint32_t states[CONN_STATES];
    uint32_t open, max, waiting;
    uint32_t others, ghosts; /* of max: other workers', dead workers' */
    bool is_delayed;         /* connects wait for connect_rate */
    bool is_shed; /* ERR_BUSY: it had waited, and would have too long */
    struct err_text last_error; /* of the last failed connect, may be "" */
    uint64_t last_error_age_ns;
    char holder_site[96]; /* the oldest lease's, "" when none */
    uint64_t holder_ns;   /* how long it is held */
};

/* Fills why for an acquire that failed with err just now; waiter may be NULL
 * when there was none. */
void pool_explain(const struct pool *pool, const struct pool_waiter *waiter,
                  enum err err, uint64_t now_ns, struct pool_why *why);

/* Writes one sentence: what was waited for, how long in each phase, the counts,
 * the oldest holder and the last connect error. */
void pool_why_text(const struct pool_why *why, const char *pool_name,
                   struct err_text *out);

#endif
