/* pool_clock.h - runs a pool on a loop: its clock and its one deadline. */
#ifndef TIDEPOOL_NET_POOL_CLOCK_H
#define TIDEPOOL_NET_POOL_CLOCK_H

#include "base/log.h"
#include "net/budget_port.h"
#include "net/deadline.h"

struct flight;
struct pool_config;

/*
 * Embedded in the backend's pool, which sets loop, log, name, budget and
 * on_closed.
 * Logs the pool's events under its name; a connect that goes on failing with
 * the same text is a warning once a minute, timeouts are one once a second.
 */
struct pool_clock {
    struct loop *loop;
    struct pool *pool;
    const struct log *log;
    const char *name;           /* borrowed */
    struct budget_port *budget; /* a worker's, or NULL: it is alone */
    /* Once, after pool_close(), never from inside a call of the pool. */
    void (*on_closed)(struct pool_clock *clock);

    /* its own */
    struct flight *flight;
    struct budget_member member;
    struct deadline deadline;
    struct loop_job closed;
    uint64_t told_hash;  /* of the connect error that was last a warning */
    uint64_t told_ns;    /* and when; 0: there was none */
    uint64_t timeout_ns; /* when a timeout was last a warning; or 0 */
};

/* Makes the pool: config's host is filled here.  The first tick is in the next
 * turn.  Writes clock->pool.  ERR_BADARG, also when the budget has no row for
 * it any more: then why says so. */
enum err pool_clock_open(struct pool_clock *clock,
                         const struct pool_config *config,
                         struct err_text *why) MUST_CHECK;
/* Frees the pool: from on_closed on. */
void pool_clock_free(struct pool_clock *clock);

#endif
