/* replay.h - what a trace says of its server: what each demand would have taken
 * on one that does nothing else. */
#ifndef TIDEPOOL_SIM_REPLAY_H
#define TIDEPOOL_SIM_REPLAY_H

#include "trace/trace.h"

/* Freed by sim_replay_free(). */
struct sim_replay {
    uint64_t *base_ns; /* of each demand of the trace */
};

/*
 * How many cores the trace's server seems to have: with more demands in service
 * than that at once, each took as many times longer.  When it never did, the
 * most that were in service at once.
 */
enum err sim_replay_cores(const struct trace *trace,
                          unsigned *cores) MUST_CHECK;
/* Of a demand that was not served: as the one before it. */
enum err sim_replay_new(struct sim_replay *out, const struct trace *trace,
                        unsigned cores) MUST_CHECK;
void sim_replay_free(struct sim_replay *replay);

/* So many times longer a service takes among running others. */
static inline double sim_slowdown(unsigned running, unsigned cores)
{
    double share = (double)(running + 1) / (double)cores;

    return share > 1 ? share : 1;
}

#endif
