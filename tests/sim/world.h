/*
 * world.h - one run: workers with the real pool/ on a virtual clock, a server
 * that does what the schedule says, and what is known of each connection and
 * of each demand, beside the pool, to hold against what the pool does.
 *
 * Nothing here runs by chance: a run is a function of its schedule.
 */
#ifndef TIDEPOOL_SIM_WORLD_H
#define TIDEPOOL_SIM_WORLD_H

#include "demand.h"
#include "sim/queue.h"
#include "worker.h"

#include <setjmp.h>

enum { DEMANDS_MAX = 1024, GHOSTS_MAX = 256, OPENS_MAX = 64 };

/* A server's process whose client has died. */
struct ghost {
    int backend;
    uint64_t gone_ns;
};

struct world {
    const struct schedule *schedule;
    bool is_traced;
    bool is_healing;
    jmp_buf failed;
    char why[400]; /* it failed */

    uint64_t now_ns;
    unsigned touched; /* workers that this event had to do with, bits */
    uint64_t events;
    struct sim_queue queue;
    struct worker workers[WORKERS_MAX];
    unsigned n_workers;
    struct budget *budget; /* or NULL: it is one worker */
    struct tally sum;      /* of workers that are gone */
    int last_pid, last_backend;
    struct ghost ghosts[GHOSTS_MAX];
    unsigned n_ghosts;
    uint64_t opens_ns[OPENS_MAX]; /* the latest connects, a ring */
    uint64_t n_opens;
    uint64_t opens_from; /* those before were under another rate or max */
    uint64_t opens_rate; /* the fastest worker's, at the last of them */
    struct list active;  /* demands that are not over, by age */
    unsigned n_demands;
    unsigned n_links;
    uint64_t joins;
    struct demand demands[DEMANDS_MAX]; /* the last: each is cleared alone */
};

/* ---- world.c */

/* Gives false when the run has failed: world->why says it. */
bool world_run(struct world *world, const struct schedule *schedule,
               bool is_traced);
/* Ends the run.  Does not return. */
void world_fail(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void world_note(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* So that fn(ud) runs in so long. */
void world_after(struct world *world, uint64_t ns,
                 void (*fn)(void *ud, uint64_t now_ns), void *ud);

static inline void world_touch(struct worker *worker)
{
    worker->world->touched |= 1U << worker->index;
}

/* ---- actions.c */

void world_act(struct world *world, const struct action *action);

#endif
