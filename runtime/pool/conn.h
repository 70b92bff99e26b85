/* conn.h - one pooled connection: its states and the driver behind it. */
#ifndef TIDEPOOL_POOL_CONN_H
#define TIDEPOOL_POOL_CONN_H

#include "base/list.h"
#include "base/wheel.h"
#include "pool/class.h"

struct pool;

/*
 * A connection is in exactly one state, which is also the list it is on.  All
 * but CONN_FREE count as open: open <= max_connections holds at all times.
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

/* What the wire says of a connection that comes back. */
enum conn_wire {
    CONN_CLEAN,  /* idle, no transaction, nothing due: fit for the next */
    CONN_DIRTY,  /* idle, but a transaction or session state is open */
    CONN_BUSY,   /* a statement runs or replies are due */
    CONN_SPENT,  /* works, but cannot be made clean */
    CONN_BROKEN, /* cannot be used again */
};

/* Embedded in the driver's link; owned by the driver, run by the pool, which
 * clears it when open() has returned it.  A driver reads id and state only. */
struct conn {
    struct list_node node;        /* on pool->by_state[state] */
    struct list_node retire_node; /* on pool->retiring: awaits a replacement */
    struct wheel_timer timer;     /* at due_ns, or sooner; see pool_arm() */
    uint64_t timer_ns;            /* when it comes */
    uint64_t due_ns;              /* the one deadline that its state has */
    struct pool *pool;
    enum conn_state state;
    enum wait_phase phase;              /* while OPENING: what it is at */
    uint64_t id;                        /* unique in the pool's life */
    uint64_t generation;                /* of the present lease; 0 before any */
    uint64_t epoch;                     /* of the pool when it was opened */
    uint64_t opened_ns;                 /* when open() was called */
    uint64_t phase_ns[WAIT_PHASES + 1]; /* start of each phase, then the end */
    uint64_t state_ns;                  /* since when it is in its state */
    uint64_t asked_ns;                  /* when this lease was asked for */
    enum pool_class class;              /* of who has it */
    uint64_t byte_ns;                   /* when a byte last arrived */
    uint64_t ready_ns;                  /* when it had connected */
    uint64_t proven_ns;                 /* when it last opened or was tested */
    uint64_t approved_ns;               /* when before_acquire let it pass */
    uint64_t used_ns;                   /* when it last came from use */
    uint64_t retire_ns;                 /* its jittered end of life */
    uint64_t reports;                   /* of failed addresses, when opened */
    struct conn **holder;               /* see conn_set_holder() */
    bool *is_reclaimed;                 /* see conn_set_reclaimable() */
    const char *site;          /* who holds it: "app.lua:12", see pool_waiter */
    enum conn_hook hook;       /* while HOOKED, or at the end of OPENING */
    enum close_reason reason;  /* while CLOSING */
    uint32_t permit;           /* its place in the budget, + 1; 0: none */
    enum close_reason promise; /* why it goes when it comes back, if ... */
    bool is_promised;          /* ... another worker was told so */
    bool is_ghost;             /* closed, but perhaps not at the server */
    bool is_fresh;             /* opened or tested and not lent since */
    bool is_paced;             /* its turn to retire is fixed: retire_ns */
    bool is_replaced;          /* closed for its lifetime when it comes back */
    bool is_leak;              /* this lease was warned of */
    bool is_kept;              /* this lease cannot be taken back */
    bool is_standing;          /* this lease is meant to last: it is no leak */
    bool is_suspect;           /* TESTING because another's test failed */
    bool is_unshared;          /* SHARED and asked to finish */
    bool is_coming;            /* SHARED and has done nothing yet */
    bool is_resting;           /* SHARED and nothing is on it */
    bool is_bare;              /* after_connect must run (again) */
    bool is_returned;          /* after_release must run */
};

/*
 * What a driver does for the pool.  Every call but wire() is answered by one
 * call of a pool_conn_* function, never from inside the operation itself
 * (but close(), which may be answered at once).  The pool sets a deadline on
 * each and calls close() when it passes; after close() only pool_conn_closed()
 * counts.
 */
struct conn_ops {
    const char *name; /* "postgres", "redis" */
    /* Begins to connect; NULL when there is no memory.  Answer:
     * pool_conn_opened() or pool_conn_failed(). */
    struct conn *(*open)(void *driver);
    /* Reads the state from the wire, without I/O. */
    enum conn_wire (*wire)(const struct conn *conn);
    /* One round trip.  Answer: pool_conn_tested(). */
    void (*test)(struct conn *conn);
    /* Rolls back and clears session state.  Answer: pool_conn_reset(). */
    void (*reset)(struct conn *conn);
    /* Stops what runs and drains it.  Answer: pool_conn_cancelled(). */
    void (*cancel)(struct conn *conn);
    /* A hook ran on it: what it set stays, until the next reset, or for good
     * when it is the baseline.  False: something is open or under way. */
    bool (*keep)(struct conn *conn, bool is_baseline);
    /* The holder of a LEASED conn has it no more: what it runs ends for it with
     * ERR_CLOSED, and on the wire is nobody's.  No answer. */
    void (*abandon)(struct conn *conn);
    /* Asks the lane on a SHARED conn to finish.  Answer: pool_release(). */
    void (*unshare)(struct conn *conn);
    /* Closes and frees.  Answer: pool_conn_closed(), also from inside. */
    void (*close)(struct conn *conn, enum close_reason reason);
};

/*
 * The pool may have to take a lent connection back: it closes, and its deadline
 * has passed.  *holder is set to NULL when the lease ends, however it ends.
 * site replaces the one given when it was acquired.
 */
static inline void conn_set_holder(struct conn *conn, struct conn **holder,
                                   const char *site)
{
    conn->holder = holder;
    conn->is_reclaimed = NULL;
    conn->site = site;
}

/* The pool may also take it back after leak_reclaim; says so in is_reclaimed,
 * which is valid as long as holder. */
static inline void conn_set_reclaimable(struct conn *conn, bool *is_reclaimed)
{
    conn->is_reclaimed = is_reclaimed;
}

/* Lent to one caller, or to a hook: commands of a lease may be sent on it. */
static inline bool conn_is_held(const struct conn *conn)
{
    return conn->state == CONN_LEASED || conn->hook != HOOK_NONE;
}

/* After pool_try_acquire(): whose class it is. */
static inline void conn_set_class(struct conn *conn, enum pool_class class)
{
    conn->class = class;
}

/* This lease lasts as long as somebody wants it: nobody forgot it. */
static inline void conn_set_standing(struct conn *conn)
{
    conn->is_standing = true;
}

#endif
