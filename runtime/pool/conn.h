/*
 * conn.h - one pooled connection: what the pool knows of it.
 *
 * Who has it lent tells of its lease with lease.h; the driver behind it is in
 * driver.h.
 */
#ifndef TIDEPOOL_POOL_CONN_H
#define TIDEPOOL_POOL_CONN_H

#include "base/list.h"
#include "base/wheel.h"
#include "pool/class.h"
#include "pool/conn_state.h"

struct pool;

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

#endif
