/*
 * status.h - how a pool is now; what it has counted since it was made is in
 * stats.h.
 */
#ifndef TIDEPOOL_POOL_STATUS_H
#define TIDEPOOL_POOL_STATUS_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct budget_census;
struct conn;
struct pool;

/* A snapshot of now, cheap to take. */
struct pool_counts {
    uint32_t states[CONN_STATES];
    uint32_t open;      /* all states */
    uint32_t waiting;   /* callers in line */
    uint32_t queued;    /* statements that wait for a lane */
    uint32_t due;       /* on lanes: groups of Postgres, commands of Redis */
    uint64_t oldest_ns; /* since when the first of either waits; UINT64_MAX */
    uint32_t max;
    uint32_t min;
};

void pool_counts(const struct pool *pool, struct pool_counts *out);
/* What it has and what others have of max_connections. */
void pool_census(const struct pool *pool, struct budget_census *out);
/* Calls fn for each lease, the oldest first: its site, which may be NULL, and
 * state_ns, since when it is lent, are those of conn. */
void pool_each_lease(const struct pool *pool,
                     void (*fn)(void *ud, const struct conn *conn), void *ud);

bool pool_is_paused(const struct pool *pool);
/* It was told EXHAUSTED, and not yet RECOVERED. */
bool pool_is_exhausted(const struct pool *pool);
/* True while nothing is open (but attempts) and the last attempt failed, with
 * all that were under way beside it. */
bool pool_is_down(const struct pool *pool);
/* The last failed connect since the last one that succeeded; NULL when none. */
const struct err_text *pool_last_error(const struct pool *pool);
/* Grows when the server becomes another, and with each drain. */
uint64_t pool_epoch(const struct pool *pool);

#endif
