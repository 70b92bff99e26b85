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
 * Who gets: a permit that is free goes to those in need, first to those below
 * their fair share (max by workers), then by how long they have waited.  Who
 * gives: at once whoever has an idle connection more than its share, or one
 * that it has not used for a while; and a worker above its share, though it is
 * busy, to one below.  Nobody gives what it has had for less than 100 ms, so
 * what is short goes round slowly.
 *
 * A dead worker's sockets are closed by the kernel, but the server may go on
 * with what it was told to do.  Its permits become ghosts: they come back when
 * a living connection was told that the server's process is gone, or after 1 s
 * when it is not known.  When for 1 s nobody has an idle connection to ask
 * with, one more than max may be opened, to ask; and another after 5 s in which
 * that one was held, too.
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
    BUDGET_ASK_MAX = 64,  /* ghosts asked for at once */
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

/* ---- permits */

enum budget_verdict {
    BUDGET_TAKEN,
    BUDGET_REFUSED, /* none is left for this worker */
    BUDGET_LATER,   /* connects are too frequent: again at *at_ns */
};

/* wanted: how many the worker is in need of, this one included; with 0 it takes
 * what is left and is not remembered.  rate: connects a second, see bucket.h.
 */
struct budget_wish {
    uint32_t wanted;
    uint32_t rate;
};
enum budget_verdict budget_take(const struct budget_share *share,
                                const struct budget_wish *wish, uint64_t now_ns,
                                uint32_t *permit, uint64_t *at_ns);
/* It is in need of none any more. */
void budget_unwant(const struct budget_share *share);
/* The server's process that serves it. */
void budget_set_backend(const struct budget_share *share, uint32_t permit,
                        int pid);
/* is_ghost: the server may still have the connection. */
void budget_give(const struct budget_share *share, uint32_t at, bool is_ghost,
                 uint64_t now_ns);

/* ---- giving to others */

/* What this worker could give: one that nobody here uses. */
struct budget_offer {
    uint32_t permit;
    bool is_spare;    /* nobody here waits for one */
    uint64_t idle_ns; /* for how long nobody has used it */
    uint32_t keeps;   /* what it would rather not go below */
};
enum budget_answer { BUDGET_KEEP, BUDGET_YIELD, BUDGET_SHRINK };

/* Nobody needs any, unless this says so; costs one read. */
bool budget_is_short(const struct budget_share *share);
/* Whether to close it.  Then the permit counts as on its way.  KEEP: at *at_ns
 * the answer may be another. */
enum budget_answer budget_offer(const struct budget_share *share,
                                const struct budget_offer *offer,
                                uint64_t now_ns, uint64_t *at_ns);

/* ---- ghosts */

bool budget_has_ghosts(const struct budget_share *share);
/* The server's processes to ask for; 0 when somebody asked a moment ago, then
 * *at_ns is when to look again. */
size_t budget_ask(const struct budget_share *share, uint64_t now_ns,
                  int32_t pids[BUDGET_ASK_MAX], uint64_t *at_ns);
/* These are gone. */
void budget_bury(const struct budget_share *share, const int32_t *pids,
                 size_t count, uint64_t now_ns);

/* ---- reading it */

struct budget_census {
    uint32_t max;
    uint32_t mine, others, ghosts; /* permits */
    uint32_t workers;
    uint32_t needy; /* of these */
};
void budget_count(const struct budget_share *share, struct budget_census *out);
/* Of any row, by its place; false when there is none there. */
bool budget_row(struct budget *budget, unsigned row, const char **name,
                struct budget_census *out);

#endif
