/* stats.h - what a pool counts and measures, since it was made. */
#ifndef TIDEPOOL_POOL_STATS_H
#define TIDEPOOL_POOL_STATS_H

#include "base/err.h"
#include "base/hist.h"
#include "pool/conn_state.h"

struct pool;

/* Counters only grow.  XX(name, text) */
/* clang-format off */
#define POOL_COUNTERS_MAP(XX)                                                \
    XX(arrivals,         "leases and statements asked for")                  \
    XX(completions,      "leases given back and statements answered")        \
    XX(acquires,         "leases and lanes handed out")                      \
    XX(waits,            "of these, after standing in line")                 \
    XX(timeouts,         "waits that ended at their deadline")               \
    XX(busy,             "refused: the line was full")                       \
    XX(shed,             "refused: waits stayed over codel_target")          \
    XX(refused,          "refused: the server cannot be reached")            \
    XX(closed,           "refused: the pool was closing")                    \
    XX(nested,           "refused: all are held by who waits for another")   \
    XX(cancelled,        "waits that their caller gave up")                  \
    XX(connects,         "connection attempts begun")                        \
    XX(connect_failures, "connection attempts that failed")                  \
    XX(connects_delayed, "times that connects had to wait for connect_rate") \
    XX(permits_refused,  "times that other workers had all connections")     \
    XX(yields,           "connections closed for another worker's sake")     \
    XX(tests,            "connections tested before a lease")                \
    XX(hooks,            "hooks run on connections")                         \
    XX(resets,           "connections that came back dirty")                 \
    XX(cancels,          "connections that came back busy")                  \
    XX(shared_statements, "statements sent on lanes")                        \
    XX(groups,           "groups that these were sent in")                   \
    XX(resends,          "of these, sent once more")                         \
    XX(reroutes,         "refused by a read lane, sent on a write lane")     \
    XX(slow_acquires,    "waits over acquire_slow_threshold")                \
    XX(outdated,         "times that the server was not what it was")        \
    XX(leaks,            "leases over leak_threshold")                       \
    XX(exhaustions,      "times that all were in use, and somebody waited")  \
    XX(degradations,     "times that the server could not be reached")       \
    XX(reclaims,         "leases taken back after leak_reclaim")
/* clang-format on */

struct pool_stats {
#define XX(name, text) uint64_t name;
    POOL_COUNTERS_MAP(XX)
#undef XX
    uint64_t closes[CLOSE_REASONS];
    uint64_t errors[ERR_COUNT];      /* operations that failed, by code */
    struct hist wait;                /* of acquires, 0 when at once */
    struct hist phases[WAIT_PHASES]; /* of waits; both count timeouts too */
    struct hist create;              /* open() to opened */
    struct hist use;                 /* of every lease */
    struct hist queue;               /* of statements until one is sent */
    struct hist service;             /* of these, from then to the answer */
};

const struct pool_stats *pool_stats(const struct pool *pool);

/* A caller was told of a failure of an operation on the pool, of any kind. */
void pool_count_error(struct pool *pool, enum err err);

#endif
