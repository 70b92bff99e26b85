/*
 * sim.h - the real pool/ and policy/ on a virtual clock, against a model of
 * their server: what a policy would have done, many times faster than real
 * time.
 *
 * The model: a statement takes service seconds on average, exponentially
 * distributed; when more run than the server has cores, each takes as many
 * times longer.  A connect takes connect seconds, fails in an outage, and when
 * the server has as many connections as it takes.  Given the same
 * configuration it does the same things.
 */
#ifndef TIDEPOOL_SIM_SIM_H
#define TIDEPOOL_SIM_SIM_H

#include "policy/pilot.h"
#include "trace/trace.h"

/* So many requests a second arrive for so long. */
struct sim_phase {
    double rate;
    double seconds;
};

/* The server is away, in seconds from the start. */
struct sim_outage {
    double from, to;
};

/* All is borrowed until sim_run() returns.  Times are seconds. */
struct sim_config {
    uint64_t seed;
    unsigned hosts; /* each with a pool and a policy of its own */
    struct pool_settings settings; /* of each host's pool */
    const struct rails *rails;
    const struct policy_source *policy; /* NULL: none */
    const struct trace *trace;          /* what comes; NULL: phases say */
    const struct sim_phase *phases;
    size_t n_phases;
    const struct sim_outage *outages;
    size_t n_outages;
    double service;
    double connect;
    unsigned cores;      /* of the server */
    unsigned server_max; /* connections that it takes */
    double sample;       /* seconds between two samples */
    void (*on_sample)(void *ud, double at, double end); /* or NULL */
    void *ud;
};

/* All hosts together, in one interval. */
/* clang-format off */
#define SIM_SAMPLE_MAP(NUMBER)                                                \
    NUMBER(at, "seconds from the start to its end")                           \
    NUMBER(rate, "requests a second that were meant to come")                 \
    NUMBER(arrivals, "requests that came")                                    \
    NUMBER(done, "requests that were served")                                 \
    NUMBER(shed, "refused: waits stayed over codel_target")                   \
    NUMBER(timeouts, "waited in vain until their deadline")                   \
    NUMBER(refused, "refused for any other reason")                           \
    NUMBER(max, "connections that pools may have")                            \
    NUMBER(open, "connections that they have")                                \
    NUMBER(in_use, "of these, lent")                                          \
    NUMBER(waiting, "requests in line")                                       \
    NUMBER(wait_p50, "seconds of a wait, of those served")                    \
    NUMBER(wait_p99, "the same")                                              \
    NUMBER(service_p50, "seconds of a service")
/* clang-format on */

struct sim_sample {
#define XX(name, text) double name;
    SIM_SAMPLE_MAP(XX)
#undef XX
};

/* What the policy of a host did, or an error of it. */
struct sim_change {
    double at;
    unsigned host;
    bool is_error;
    enum rails_outcome outcome;
    const char *setting; /* "" when none */
    double from, to;
    char reason[RAILS_REASON_MAX];
};

/* Freed by sim_report_free(). */
struct sim_report {
    struct sim_sample *samples;
    size_t n_samples;
    struct sim_change *changes; /* the first SIM_CHANGES_MAX */
    size_t n_changes;
    uint64_t changes_lost;
    struct sim_sample total; /* of the whole run; counts that stand: the last */
    uint64_t events;         /* that were simulated */
};

enum { SIM_CHANGES_MAX = 10000 };

/* ERR_BADARG, with why: a configuration that makes no sense, or a policy that
 * is none. */
enum err sim_run(const struct sim_config *config, struct sim_report *report,
                 struct err_text *why) MUST_CHECK;
void sim_report_free(struct sim_report *report);

#endif
