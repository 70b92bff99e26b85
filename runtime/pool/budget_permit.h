/*
 * budget_permit.h - permits to open a connection: who gets one, and who gives
 * one to others.
 *
 * Who gets: a permit that is free goes to those in need, first to those below
 * their fair share (max by workers), then by how long they have waited.  Who
 * gives: at once whoever has an idle connection more than its share, or one
 * that it has not used for a while; and a worker above its share, though it is
 * busy, to one below.  Nobody gives what it has had for less than 100 ms, so
 * what is short goes round slowly.
 */
#ifndef TIDEPOOL_POOL_BUDGET_PERMIT_H
#define TIDEPOOL_POOL_BUDGET_PERMIT_H

#include <stdbool.h>
#include <stdint.h>

struct budget_share;

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

#endif
