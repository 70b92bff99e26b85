/*
 * event.h - what a pool tells of: connections that come and go, waits and
 * leases that last too long, a server that cannot be reached.
 *
 * An event is borrowed for the duration of the call that tells of it.
 */
#ifndef TIDEPOOL_POOL_EVENT_H
#define TIDEPOOL_POOL_EVENT_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdint.h>

struct conn;
struct pool;

/* clang-format off */
#define POOL_EVENT_MAP(XX)                                                   \
    XX(OPENED,         "connection opened")                                  \
    XX(CLOSED,         "connection closed")                                  \
    XX(CONNECT_FAILED, "connect failed")                                     \
    XX(OUTDATED,       "server changed, connections are replaced")           \
    XX(SLOW_ACQUIRE,   "slow acquire")                                       \
    XX(TIMEOUT,        "a wait ended at its deadline")                       \
    XX(LEAK,           "lease held too long")                                \
    XX(RECLAIMED,      "lease taken back")                                   \
    XX(EXHAUSTED,      "all connections are in use, and somebody waits")     \
    XX(DEGRADED,       "the server cannot be reached")                       \
    XX(RECOVERED,      "neither any more")
/* clang-format on */

enum pool_event_kind {
#define XX(name, text) POOL_EVENT_##name,
    POOL_EVENT_MAP(XX)
#undef XX
        POOL_EVENTS
};

struct pool_event {
    enum pool_event_kind kind;
    const struct conn *conn;     /* NULL for what is of no connection */
    enum close_reason reason;    /* CLOSED */
    const struct err_text *text; /* CONNECT_FAILED, OUTDATED, CLOSED: or NULL */
    const char *site;            /* of who waited or held; or NULL */
    uint64_t duration_ns;        /* OPENED: took; CLOSED: age; SLOW_ACQUIRE,
                                    TIMEOUT: waited; LEAK, RECLAIMED: held;
                                    EXHAUSTED, RECOVERED: so long it was so */
    uint64_t retry_ns;           /* CONNECT_FAILED: until the next attempt */
    const uint64_t *phase_ns;    /* SLOW_ACQUIRE: [WAIT_PHASES] */
};

/* Told of all events, after the host; must not call the pool. */
typedef void (*pool_observe_fn)(void *ud, const struct pool_event *event);

/* One at a time; NULL: nobody. */
void pool_observe(struct pool *pool, pool_observe_fn fn, void *ud);

#endif
