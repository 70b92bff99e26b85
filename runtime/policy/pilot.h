/*
 * pilot.h - a policy at work: at each of its intervals it sees all pools, and
 * what it wants goes through the rails of each.
 *
 * Sans I/O, like pool/: the host of the pilot calls pilot_tick() when it is
 * due. When the policy errs, nothing changes: the settings are those of its
 * last good answer.
 */
#ifndef TIDEPOOL_POLICY_PILOT_H
#define TIDEPOOL_POLICY_PILOT_H

#include "policy/host.h"

struct pilot;

/* Borrowed for the duration of the call. */
struct pilot_event {
    const char *policy;
    const char *pool;                 /* NULL: the policy as a whole */
    const struct rails_event *change; /* or NULL */
    const struct err_text *error;     /* or NULL; said once while it stays */
};

struct pilot_ops {
    void *ud;
    /* For the log and the counters. */
    void (*on_event)(void *ud, const struct pilot_event *event);
};

struct pilot_stats {
    uint64_t ticks;
    uint64_t failures; /* calls that the policy failed */
    uint64_t outcomes[RAILS_OUTCOMES];
};

/* host is the pilot's from here on; freed by pilot_free(). */
enum err pilot_new(struct pilot **out, struct policy_host *host,
                   const struct pilot_ops *ops) MUST_CHECK;
void pilot_free(struct pilot *pilot); /* accepts NULL */

/* Adds a pool, which must outlive the pilot or be removed; name and kind must
 * stay.  rails are copied; their on_event is the pilot's. */
enum err pilot_add(struct pilot *pilot, struct pool *pool, const char *name,
                   const char *kind, const struct rails *rails) MUST_CHECK;
void pilot_remove(struct pilot *pilot, const struct pool *pool);
/* What the server said of itself, as of now. */
void pilot_set_server(struct pilot *pilot, const struct pool *pool,
                      const struct snapshot_server *server, uint64_t now_ns);

/* Does what is due; says when to be called next. */
uint64_t pilot_tick(struct pilot *pilot, const struct policy_time *time);

const struct pilot_stats *pilot_stats(const struct pilot *pilot);
/* True when the policy has no more memory: a new pilot is needed. */
bool pilot_is_spent(const struct pilot *pilot);

#endif
