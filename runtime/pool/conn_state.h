/*
 * conn_state.h - what connections and waits can be at, and why connections are
 * closed, with the words for it.
 */
#ifndef TIDEPOOL_POOL_CONN_STATE_H
#define TIDEPOOL_POOL_CONN_STATE_H

/*
 * A connection is in exactly one state, which is also the list it is on.  All
 * count as open: open <= max_connections holds at all times.
 */
/* clang-format off */
#define CONN_STATE_MAP(XX)                                                  \
    XX(OPENING,    "opening")    /* the driver connects */                  \
    XX(IDLE,       "idle")       /* clean, watched by the driver */         \
    XX(LEASED,     "leased")     /* lent to one caller */                   \
    XX(SHARED,     "shared")     /* lent to a lane, many callers on it */   \
    XX(TESTING,    "testing")    /* a round trip before a lease */          \
    XX(HOOKED,     "hooked")     /* a hook of the script runs on it */      \
    XX(RESETTING,  "resetting")  /* came back dirty, being cleaned */       \
    XX(CANCELLING, "cancelling") /* came back busy, being stopped */        \
    XX(CLOSING,    "closing")    /* until the driver says closed */

/* Why a connection was closed: in the log, and a label of the counter. */
#define CLOSE_REASON_MAP(XX)                                                \
    XX(CONNECT_FAILED,  "connect_failed")                                   \
    XX(CONNECT_TIMEOUT, "connect_timeout")                                  \
    XX(IDLE_TIMEOUT,    "idle_timeout")                                     \
    XX(LIFETIME,        "lifetime")                                         \
    XX(LOST,            "lost")          /* the peer or the network */      \
    XX(TEST_FAILED,     "test_failed")                                      \
    XX(RESET_FAILED,    "reset_failed")                                     \
    XX(CANCEL_FAILED,   "cancel_failed")                                    \
    XX(SPENT,           "spent")         /* it cannot be made clean */      \
    XX(STALLED,         "stalled")       /* replies due, no byte came */    \
    XX(HOOK_FAILED,     "hook_failed")   /* it raised, or took too long */  \
    XX(HOOK_REFUSED,    "hook_refused")  /* it said no */                   \
    XX(SHRUNK,          "shrunk")        /* max_connections was lowered */  \
    XX(YIELDED,         "yielded")       /* another worker needs it more */ \
    XX(DRAINED,         "drained")                                          \
    XX(OUTDATED,        "outdated")      /* the server is not what it was */ \
    XX(POOL_CLOSED,     "pool_closed")

/* Where the time of an acquire goes. */
#define WAIT_PHASE_MAP(XX)                                                  \
    XX(QUEUE, "queue") XX(DNS, "dns") XX(TCP, "tcp") XX(TLS, "tls")         \
    XX(AUTH, "auth") XX(INIT, "init") XX(TEST, "test") XX(HOOK, "hook")

/* What the pool's owner may run on a connection: see hook.h. */
#define CONN_HOOK_MAP(XX)                                                   \
    XX(AFTER_CONNECT,  "after_connect")                                     \
    XX(BEFORE_ACQUIRE, "before_acquire")                                    \
    XX(AFTER_RELEASE,  "after_release")
/* clang-format on */

enum conn_state {
#define XX(name, text) CONN_##name,
    CONN_STATE_MAP(XX)
#undef XX
        CONN_STATES
};

enum close_reason {
#define XX(name, text) CLOSE_##name,
    CLOSE_REASON_MAP(XX)
#undef XX
        CLOSE_REASONS
};

enum wait_phase {
#define XX(name, text) WAIT_##name,
    WAIT_PHASE_MAP(XX)
#undef XX
        WAIT_PHASES
};

enum conn_hook {
#define XX(name, text) HOOK_##name,
    CONN_HOOK_MAP(XX)
#undef XX
        CONN_HOOKS,
    HOOK_NONE = CONN_HOOKS
};

const char *conn_state_name(enum conn_state state);
const char *close_reason_name(enum close_reason reason);
const char *wait_phase_name(enum wait_phase phase);
const char *conn_hook_name(enum conn_hook hook);

#endif
