/* worker.h - one process of the simulation, with its pool. */
#ifndef TIDEPOOL_SIM_WORKER_H
#define TIDEPOOL_SIM_WORKER_H

#include "link.h"
#include "policy/rails.h"
#include "pool/budget.h"
#include "pool/class.h"
#include "pool/conn_state.h"
#include "pool/hook.h"
#include "pool/lanes.h"

struct world;

/* What is to become of the next ops of a kind. */
struct pending_fate {
    enum fate fate;
    unsigned count;
    uint64_t ns;
};

/* What the pool's counters must say.  busy: or shed. */
/* clang-format off */
#define TALLY_MAP(XX)                                                        \
    XX(arrivals) XX(acquires) XX(completions) XX(timeouts) XX(busy)          \
    XX(refused) XX(closed) XX(cancelled) XX(connects) XX(connect_failures)   \
    XX(closes)
/* clang-format on */

struct tally {
#define XX(name) uint64_t name;
    TALLY_MAP(XX)
#undef XX
};

static inline void tally_add(struct tally *sum, const struct tally *tally)
{
#define XX(name) sum->name += tally->name;
    TALLY_MAP(XX)
#undef XX
}

/* One process with its pool. */
struct worker {
    struct world *world;
    unsigned index;
    int pid;
    bool is_there; /* has a pool */
    bool is_closing;
    bool is_paused;
    struct pool *pool;
    struct lanes lanes;
    struct budget_share share;
    struct rails rails;
    struct pool_settings settings; /* as they were set; max and min may be
                                      others' since */
    struct list links;
    uint64_t due_ns;     /* of the next tick */
    uint64_t pump_ns;    /* of the lanes; WHEEL_NEVER */
    uint64_t lanes_seen; /* the setting, when they ran after it was set */
    uint64_t close_ns;
    uint64_t epoch;
    unsigned hooks; /* bits */
    unsigned hook_version;
    uint64_t down_ns; /* its server is away until then */
    struct pending_fate fates[OPS];
    unsigned quiet; /* inside a call that must not end anybody's wait */
    struct tally tally;
    unsigned passed[POOL_CLASSES]; /* served before, while this one waited */
    uint64_t least_share[POOL_CLASSES], most_share[POOL_CLASSES]; /* so far */
    uint64_t last_generation;
    uint64_t retry_ns; /* no connect before; 0: at once */
    bool had_codel;    /* its codel_target was set before */
    unsigned looks;    /* of its pool, whether there is time */
};

/* ---- worker.c */

void worker_open(struct worker *worker);
void worker_close(struct worker *worker, uint64_t grace_ns);
/* A copy to change: max and min as they are now. */
struct pool_settings worker_settings(const struct worker *worker);
void worker_set(struct worker *worker, const struct pool_settings *settings);
void worker_resume(struct worker *worker);
/* It dies, and another comes. */
void worker_kill(struct worker *worker);
/* The budget's block, zero: one for all runs of a process. */
struct budget *worker_budget(void);
/* The settings with this knob at that value. */
void knob_turn(struct pool_settings *settings, unsigned knob, unsigned value);

/* ---- driver.c */

bool worker_begin_hook(void *ud, struct conn *conn, enum conn_hook hook);
enum fate fate_take(struct worker *worker, enum op op, uint64_t *ns);

/* ---- statement.c */

extern const struct lanes_ops sim_lanes_ops, sim_flow_ops;

#endif
