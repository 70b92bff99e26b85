/*
 * snapshot.h - what a policy sees of a pool: its settings and counts now, and
 * what happened since the snapshot before.
 */
#ifndef TIDEPOOL_POLICY_SNAPSHOT_H
#define TIDEPOOL_POLICY_SNAPSHOT_H

#include "pool/conn_state.h"
#include "pool/settings.h"
#include "pool/stats.h"

/* NUMBER(name, text): times in seconds. */
/* clang-format off */
#define SNAPSHOT_MAP(NUMBER)                                                  \
    NUMBER(interval, "seconds since the snapshot before")                     \
    NUMBER(open, "connections in all states")                                 \
    NUMBER(waiting, "callers in line for a connection")                       \
    NUMBER(queued, "statements that wait for a lane")                         \
    NUMBER(oldest_wait, "how long the first of both waits")                   \
    NUMBER(is_down, "1 while the server cannot be reached")                   \
    NUMBER(is_paused, "1 while the pool hands nothing out")                   \
    NUMBER(arrivals, "leases and statements asked for")                       \
    NUMBER(completions, "leases given back and statements answered")          \
    NUMBER(timeouts, "waits that ended at their deadline")                    \
    NUMBER(refused, "waits refused, for any reason")                          \
    NUMBER(failures, "operations that failed, of any code")                   \
    NUMBER(connects, "connection attempts begun")                             \
    NUMBER(connect_failures, "connection attempts that failed")               \
    NUMBER(in_use, "connections lent now, lanes included")                    \
    NUMBER(use_ratio, "share of max_connections that was lent, on average")
/* clang-format on */

/* Of one kind of time, in seconds. */
struct snapshot_times {
    double count;
    double p50, p90, p99, max;
};

/* What the server says of itself, NaN where it is not known.  Set by the host
 * at its own, slower pace. */
/* clang-format off */
#define SNAPSHOT_SERVER_MAP(NUMBER)                                           \
    NUMBER(age, "seconds since it was asked")                                 \
    NUMBER(max_connections, "that the server takes, but for superusers")      \
    NUMBER(connections, "that it has, of all clients")                        \
    NUMBER(active, "of these, Postgres: with a statement that runs")          \
    NUMBER(idle, "of these, Postgres: waiting for a statement")               \
    NUMBER(idle_in_transaction, "of these, Postgres: between two of a transaction") \
    NUMBER(is_replica, "1 where it is read only")                             \
    NUMBER(used_memory, "Redis: bytes")                                       \
    NUMBER(max_memory, "Redis: bytes, 0 without a limit")                     \
    NUMBER(latency, "seconds of a round trip with nothing to do")
/* clang-format on */

struct snapshot_server {
#define XX(name, text) double name;
    SNAPSHOT_SERVER_MAP(XX)
#undef XX
};

struct snapshot {
    const char *name; /* of the pool; borrowed */
    const char *kind; /* "postgres", "redis"; borrowed */
    struct pool_settings settings;
#define XX(name, text) double name;
    SNAPSHOT_MAP(XX)
#undef XX
    double states[CONN_STATES];
    double errors[ERR_COUNT];
    struct snapshot_times wait;    /* for a connection or a lane */
    struct snapshot_times service; /* from then on */
    struct snapshot_server server;
};

/* Remembers where the snapshot before left off; all zero when new. */
struct snapshot_memory {
    uint64_t taken_ns;
    bool is_taken;
    double lent_ns; /* connections times time; see snapshot_watch() */
    uint64_t watched_ns;
    struct pool_stats before;
};

/* To be called between snapshots now and then, for use_ratio. */
void snapshot_watch(struct snapshot_memory *memory, const struct pool *pool,
                    uint64_t now_ns);

/* Fills all but name, kind and server. */
void snapshot_take(struct snapshot *out, struct snapshot_memory *memory,
                   const struct pool *pool, uint64_t now_ns);

#endif
