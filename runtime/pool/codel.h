/*
 * codel.h - controlled delay: does a queue stand, or is it only full for a
 * moment?
 *
 * A queue stands when, for a whole codel_interval, its first had at no time
 * waited for less than codel_target.  Then those who have waited for twice the
 * target are shed and the newest is served first: some are refused soon,
 * instead of all being served too late.  After Nichols and Jacobson,
 * "Controlling Queue Delay" (2012), in the form for requests of "Fail at Scale"
 * (ACM Queue, 2015).
 */
#ifndef TIDEPOOL_POOL_CODEL_H
#define TIDEPOOL_POOL_CODEL_H

#include "pool/settings.h"

/* All zero when new. */
struct codel {
    uint64_t end_ns;   /* of the present interval */
    uint64_t least_ns; /* the shortest of these in it, or UINT64_MAX */
    bool is_standing;
};

/* One leaves the queue, of which the first has waited for so long. */
void codel_note(struct codel *codel, const struct pool_settings *settings,
                uint64_t wait_ns, uint64_t now_ns);
/* The first in the queue waits since then; UINT64_MAX: it is empty. */
void codel_look(struct codel *codel, const struct pool_settings *settings,
                uint64_t since_ns, uint64_t now_ns);
/* Whether one who waits since then is to be shed. */
bool codel_sheds(const struct codel *codel,
                 const struct pool_settings *settings, uint64_t since_ns,
                 uint64_t now_ns);
/* When to look again, while the first waits since then. */
uint64_t codel_due_ns(const struct codel *codel,
                      const struct pool_settings *settings, uint64_t since_ns);

#endif
