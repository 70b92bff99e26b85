/*
 * fake_driver.h - a driver that connects to nothing: it records what the pool
 * asks and answers when the test says so.  Its clock moves only by hand, and
 * pool_tick() runs only when the pool has asked for it.
 */
#ifndef TIDEPOOL_UNIT_FAKE_DRIVER_H
#define TIDEPOOL_UNIT_FAKE_DRIVER_H

#include "pool/budget_ghost.h"
#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/hook.h"
#include "pool/line.h"
#include "unit.h"

static const uint64_t MS = 1000000;
static const uint64_t SECOND = 1000000000;

/* What a link owes the pool an answer to; each is on one of these lists. */
enum fake_debt {
    FAKE_NOTHING,
    FAKE_OPEN,
    FAKE_TEST,
    FAKE_RESET,
    FAKE_CANCEL,
    FAKE_UNSHARE,
    FAKE_HOOK,
    FAKE_CLOSE,
    FAKE_DEBTS
};

struct fake_link {
    struct conn conn;
    struct list_node node;
    struct fake *fake;
    enum fake_debt debt;
    enum conn_wire wire;
};

struct fake {
    struct pool *pool;
    struct flight *flight;            /* as settings: for fake_start() */
    const struct budget_share *share; /* the same; or NULL */
    struct pool_settings settings;
    uint64_t seed;
    unsigned addresses;
    uint64_t now_ns;
    uint64_t due_ns; /* when the pool wants its tick */

    struct list links[FAKE_DEBTS];
    unsigned calls[FAKE_DEBTS]; /* how often the pool asked */
    unsigned abandons;          /* leases taken from their holders */
    unsigned live;              /* links that are not closed */
    bool is_close_slow;         /* false: close() answers from inside */
    bool has_no_memory;         /* open() returns NULL */
    bool has_no_tasks;          /* hooks cannot be begun */
    bool is_left_open;          /* what hooks leave cannot be kept */
    unsigned kept;              /* sessions that hooks left */
    unsigned baselines;         /* of these, by after_connect */
    int backend;                /* of the server, for the next that opens; 0 */
    size_t asked;               /* ghosts, in the latest test */
    int32_t ghosts[BUDGET_ASK_MAX];
    bool is_unchecked; /* pool_check() is not called */
    bool is_hasty;     /* there is no time: see struct pool_host */
    char *arena;       /* NULL, or where links lie, FAKE_STRIDE bytes apart */
    enum close_reason closed_for; /* the latest */
    /* Asked by close(), for a driver with several addresses. */
    void (*on_close)(struct fake *fake, struct fake_link *link);

    unsigned wakes;
    unsigned events[POOL_EVENTS];
    struct pool_event event; /* the latest; its pointers have passed */
    struct err_text event_text;
    uint64_t event_phase_ns[WAIT_PHASES];
    unsigned closed; /* calls of on_closed */
    unsigned ends;   /* waits that ended */
};

enum { FAKE_STRIDE = 8192 };

/* One who waits, and how that ended. */
struct wait_log {
    struct pool_waiter waiter;
    struct fake *fake;
    unsigned calls;
    unsigned turn; /* the how-manieth end it was, from 1 */
    enum err err;
    struct conn *conn;
    void (*then)(struct wait_log *log); /* runs inside on_done */
};

/* Settings: 3 connections, min 0, nothing is tested.  Time starts at 1 s. */
void fake_init(struct fake *fake);
void fake_start(struct fake *fake); /* makes the pool; no tick yet */
void fake_tick(struct fake *fake);  /* whether it is due or not */
/* Starts and answers the first attempt: one idle connection. */
struct conn *fake_start_open(struct fake *fake);
/* Lends count connections, opening them; conns gets them. */
void fake_lend(struct fake *fake, struct conn **conns, unsigned count);
/* Closes the pool, answers all, checks that nothing is left, frees it. */
void fake_end(struct fake *fake);

/* Moves time on by ns, ticking whenever the pool is due. */
void fake_pass(struct fake *fake, uint64_t ns);
/* Ticks when the pool is due now. */
void fake_settle(struct fake *fake);

/* pool_wait() and pool_release(), also from inside a callback. */
enum err fake_join(struct fake *fake, struct wait_log *log);
void fake_return(struct fake *fake, struct conn *conn, enum conn_wire wire);

/* Each calls the pool and then pool_check(). */
struct conn *fake_try(struct fake *fake);
enum err fake_wait(struct fake *fake, struct wait_log *log);
void fake_release(struct fake *fake, struct conn *conn, enum conn_wire wire);
void fake_set(struct fake *fake); /* fake->settings */
/* which: bits, see struct pool_hooks. */
void fake_set_hooks(struct fake *fake, unsigned which);

/* Answer what was asked first. */
struct conn *fake_opened(struct fake *fake);
void fake_failed(struct fake *fake, const char *text);
void fake_tested(struct fake *fake, bool is_alive);
void fake_reset(struct fake *fake, bool is_clean);
void fake_cancelled(struct fake *fake, bool is_drained, enum conn_wire wire);
/* Ends the hook that was begun first; gives its connection. */
struct conn *fake_hooked(struct fake *fake, enum hook_verdict verdict);
void fake_closed(struct fake *fake);
void fake_answer_all(struct fake *fake); /* with success */

struct fake_link *fake_first(struct fake *fake, enum fake_debt debt);
struct fake_link *fake_link_of(struct conn *conn);
uint32_t fake_count(const struct fake *fake, enum conn_state state);
uint32_t fake_open_count(const struct fake *fake);

#endif
