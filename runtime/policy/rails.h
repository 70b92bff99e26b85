/*
 * rails.h - what a policy may do with a pool's settings: within limits that the
 * operator fixed, by steps, not too often, and not back and forth.
 *
 * Sans I/O: time comes in.  One per pool.
 */
#ifndef TIDEPOOL_POLICY_RAILS_H
#define TIDEPOOL_POLICY_RAILS_H

#include "policy/snapshot.h"

enum { RAILS_SETTINGS = 32, RAILS_REASON_MAX = 200 };

static const uint64_t RAILS_COOLDOWN_NS = 5000000000; /* of a rail by default */

/* Of one setting, in its own unit: seconds or a count. */
struct rail {
    double min, max;
    double step;          /* the most that one change moves it; 0: any */
    uint64_t cooldown_ns; /* the least time between two changes */
    bool is_open;         /* a policy may change it at all */
};

/* What a policy wants, by the place in pool_setting_table. */
struct policy_wish {
    double values[RAILS_SETTINGS];
    bool is_set[RAILS_SETTINGS];
    char reason[RAILS_REASON_MAX];
};

/* clang-format off */
#define RAILS_OUTCOME_MAP(XX)                                                 \
    XX(APPLIED,  "applied")                                                   \
    XX(CLAMPED,  "clamped")  /* applied, but not as far as was wanted */      \
    XX(DRY_RUN,  "dry_run")  /* would have been */                            \
    XX(COOLING,  "cooling")  /* the last change is too recent */              \
    XX(FLAPPING, "flapping") /* it went back and forth: held for a while */   \
    XX(HELD,     "held")     /* for that, or because it was reverted */       \
    XX(CLOSED,   "closed")   /* not for policies to change */                 \
    XX(REVERTED, "reverted") /* p99 became worse: back, and held a while */   \
    XX(REFUSED,  "refused")  /* the pool does not take it */
/* clang-format on */

enum rails_outcome {
#define XX(name, text) RAILS_##name,
    RAILS_OUTCOME_MAP(XX)
#undef XX
        RAILS_OUTCOMES
};

const char *rails_outcome_name(enum rails_outcome outcome);

/* Borrowed for the duration of the call. */
struct rails_event {
    enum rails_outcome outcome;
    const struct pool_setting *setting; /* NULL: REFUSED, all of them */
    double from, to; /* to: where it went, or would have gone */
    const char *reason;
};

typedef void (*rails_event_fn)(void *ud, const struct rails_event *event);

struct rails_track {
    uint64_t changed_ns;   /* 0: never */
    uint64_t held_ns;      /* not to be changed before */
    uint64_t turned_ns[4]; /* when it last turned back, latest first */
    int direction;         /* of the last change: -1, 1 */
};

struct rails {
    struct rail rails[RAILS_SETTINGS];
    bool is_dry_run;
    bool reverts;
    rails_event_fn on_event;
    void *ud;

    /* its own */
    struct rails_track tracks[RAILS_SETTINGS];
    enum rails_outcome told[RAILS_SETTINGS]; /* RAILS_OUTCOMES: nothing */
    bool is_on_trial; /* of the last change; what was before it: */
    unsigned trial_intervals;
    double p99_before;
    double rate_before;   /* completions a second */
    double demand_before; /* arrivals a second */
    double last_p99;
    struct pool_settings trusted;
};

/* By default max_connections moves from 1, and concurrency from 0, to what
 * settings have as max_connections; codel_target and codel_interval move as
 * they like, no other setting does.  5 s between two changes. */
void rails_init(struct rails *rails, const struct pool_settings *settings);
/* Those of fixed, RAILS_SETTINGS of them, that are open stand in their place.
 */
void rails_fix(struct rails *rails, const struct rail *fixed);

/*
 * Judges the last change by snap, then turns wish (NULL: none) into what may be
 * set.  True when *settings differs from snap->settings and is to be set.
 */
bool rails_apply(struct rails *rails, const struct snapshot *snap,
                 const struct policy_wish *wish, uint64_t now_ns,
                 struct pool_settings *settings);

#endif
