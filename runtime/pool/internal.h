/*
 * internal.h - what a pool is made of, for the files of this folder only.
 *
 * Rules read and change it between pool_enter() and pool_leave(), see
 * pool_inside.h.
 */
#ifndef TIDEPOOL_POOL_INTERNAL_H
#define TIDEPOOL_POOL_INTERNAL_H

#include "base/rand.h"
#include "base/wheel.h"
#include "pool/backoff.h"
#include "pool/budget.h"
#include "pool/budget_ghost.h"
#include "pool/class.h"
#include "pool/codel.h"
#include "pool/conn_state.h"
#include "pool/event.h"
#include "pool/hook.h"
#include "pool/pool.h"
#include "pool/stats.h"

struct lanes;

struct pool_address {
    uint32_t failures; /* in a row */
    uint64_t retry_ns; /* not to be dialled before, when failures > 0 */
};

enum pool_alarm { POOL_WELL, POOL_EXHAUSTED, POOL_DEGRADED };

struct pool {
    const struct conn_ops *ops;
    void *driver;
    struct pool_host host;
    pool_observe_fn observe; /* or NULL */
    void *observe_ud;
    struct flight *flight; /* or NULL */
    struct pool_hooks hooks;
    struct pool_settings settings;
    struct rand rand;

    uint64_t now_ns;       /* the latest time that a caller gave */
    uint64_t announced_ns; /* when the host knows to call pool_tick() */
    uint32_t depth;        /* of public calls within one another */
    bool is_started;       /* pool_tick() was called */
    bool is_behind;        /* the rules have work left: see pool_is_over() */
    bool is_paused;
    bool is_closing;
    bool is_closed;    /* on_closed was called */
    uint64_t close_ns; /* when leases are closed by force */

    struct list by_state[CONN_STATES];
    uint32_t open;        /* on all of these */
    uint32_t ceiling;     /* of open: max_connections, more after shrinking */
    uint32_t suspects;    /* of TESTING */
    uint32_t unshared;    /* of SHARED */
    struct list retiring; /* await their replacement, oldest first */
    struct wheel conn_wheel;
    uint64_t epoch;                 /* what was opened before it retires */
    enum close_reason epoch_reason; /* why */
    uint64_t outdated_ns;           /* when pool_outdate() last had its way */
    bool is_sweeping; /* what nobody uses of earlier epochs is still open */
    uint64_t last_id;
    uint64_t last_generation;
    uint64_t next_retire_ns; /* pacing: the first free turn to retire */

    const struct budget_share *share; /* or NULL: it is alone */
    struct budget_part part;          /* of what the instance may have */
    uint32_t changes;                 /* of the budget when part was read */
    uint64_t full_ns;                 /* alone: the bucket of its connects */
    uint64_t permit_ns;               /* not to ask for a permit before */
    uint64_t look_ns;                 /* nor to offer one ... */
    uint64_t ask_ns;                  /* ... nor to ask for ghosts */
    uint32_t wants;                   /* of the permits that it was refused */
    bool is_short;                    /* it was refused one */
    bool is_delayed;                  /* connects were too many */
    bool is_patient;                  /* attempts are awaited, see grow.c */
    size_t ghost_count;               /* for the test that begins now */
    int32_t ghosts[BUDGET_ASK_MAX];

    struct list line;
    struct classes classes; /* those in line, by class */
    struct wheel wait_wheel;
    struct codel codel; /* of the line */
    uint64_t shed_ns;   /* when one was shed last, of the line or of lanes */
    const struct lanes *lanes; /* statements queue there; or NULL */

    struct pool_address addresses[POOL_ADDRESSES_MAX];
    unsigned address_count;
    uint64_t reports;    /* calls of pool_address_failed() */
    uint64_t retry_ns;   /* when growth goes on; WHEEL_NEVER: not blocked */
    bool is_known;       /* the first attempt has ended */
    bool is_last_failed; /* the latest attempt failed, see last_error */
    struct err_text last_error;
    uint64_t last_error_ns;
    uint64_t proven_ns; /* when a test last passed: the server was well */
    uint64_t failed_phase_ns[WAIT_PHASES + 1]; /* of that attempt */

    enum pool_alarm stress; /* what is seen now ... */
    uint64_t stress_ns;     /* ... and since when */
    enum pool_alarm alarm;  /* what was told last ... */
    uint64_t alarm_ns;      /* ... and when that had begun */

    struct pool_stats stats;
};

#endif
