/*
 * budget.h - one max_connections for the pools of many processes.
 *
 * A block of memory that all workers of an instance share, and what they do
 * with it: sans I/O, time comes in, and whom to wake goes out through the bell.
 * A row is a pool, by name; a slot is a worker.  Who opens a connection takes a
 * permit first, and gives it back when the connection is gone.
 *
 * The owner in each permit is the only truth, one word, written under the lock;
 * whatever else there is, is counted from it or does no harm when it is old.
 * So a worker that is killed anywhere leaves nothing half done, and the robust
 * lock passes to the next.  Connects are rare: counting costs nothing.
 *
 * Who gets permits, and who gives them, is in budget_permit.h; those of dead
 * workers are in budget_ghost.h, and the counts of all in budget_census.h.
 */
#ifndef TIDEPOOL_POOL_BUDGET_H
#define TIDEPOOL_POOL_BUDGET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUDGET_ROWS = 32,
    BUDGET_SLOTS = 256,
    BUDGET_NAME_MAX = 80, /* with its zero */
};

struct budget;

/* Wakes the worker in slot, whose process is pid: it calls pool_look(). */
struct budget_bell {
    void (*ring)(void *ud, unsigned slot, int pid);
    void *ud;
};

/* One worker's part in one pool. */
struct budget_share {
    struct budget *budget;
    unsigned row;
    unsigned slot;
    struct budget_bell bell;
};

/* ---- the block */

size_t budget_size(void);
/* Of budget_size() bytes, all zero. */
enum err budget_init(struct budget *budget) MUST_CHECK;
/* ERR_BADARG: it is not what this program understands; why says it. */
enum err budget_check(const struct budget *budget, size_t size,
                      struct err_text *why) MUST_CHECK;

/* Gives a free slot to the process pid, or returns -1.  What an earlier process
 * of that number had becomes ghosts. */
int budget_claim(struct budget *budget, int pid, uint64_t now_ns,
                 const struct budget_bell *bell);
/* The worker leaves in order: it has left its pools. */
void budget_unclaim(struct budget *budget, unsigned slot);
/* The process is gone: its permits become ghosts.  Returns how many. */
unsigned budget_dead(struct budget *budget, int pid, uint64_t now_ns,
                     const struct budget_bell *bell);
/* The process in slot, 0: none. */
int budget_pid(const struct budget *budget, unsigned slot);

/* ---- a worker in a pool */

/*
 * Makes name's row or finds it; share's budget, slot and bell are set.  max
 * counts when the row is new, or when it was another at the last join, which is
 * that of a new configuration: else what was set since stays.  ERR_BADARG: no
 * row is left, or the name is too long.
 */
enum err budget_join(struct budget_share *share, const char *name,
                     uint32_t max) MUST_CHECK;
/* What it still has becomes ghosts. */
void budget_leave(struct budget_share *share, uint64_t now_ns);

/* What changed since: differs from the last when max or the workers have. */
uint32_t budget_changes(const struct budget_share *share);
struct budget_part {
    uint32_t max;
    uint32_t workers; /* that have this pool, at least 1 */
    uint32_t rank;    /* of this one among them, from 0 */
};
void budget_read(const struct budget_share *share, struct budget_part *out);
void budget_set_max(const struct budget_share *share, uint32_t max);

#endif
