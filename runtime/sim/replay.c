/* replay.c - see replay.h. */
#include "sim/replay.h"

#include <stdlib.h>

/* A model with fewer cores must explain so much more of the differences. */
static const double BETTER = 0.8;

/* How many others were in service when each began; freed by the caller. */
struct company {
    unsigned *others; /* of each demand */
    unsigned most;    /* of them, and itself */
};

struct edge {
    uint64_t at_ns;
    size_t demand;
    bool is_begin;
};

/* Ends before begins, of the same time. */
static int by_time(const void *a, const void *b)
{
    const struct edge *one = a, *other = b;

    if (one->at_ns != other->at_ns)
        return one->at_ns < other->at_ns ? -1 : 1;
    return one->is_begin - other->is_begin;
}

static size_t make_edges(const struct trace *trace, struct edge *edges)
{
    size_t count = 0;

    for (size_t i = 0; i < trace->n_demands; i++) {
        const struct trace_demand *demand = &trace->demands[i];
        uint64_t began_ns = demand->at_ns + demand->wait_ns;

        if (demand->end != DEMAND_SERVED)
            continue;
        edges[count++] = (struct edge){ began_ns, i, true };
        edges[count++] =
            (struct edge){ began_ns + demand->service_ns, i, false };
    }
    qsort(edges, count, sizeof(*edges), by_time);
    return count;
}

static enum err find_company(const struct trace *trace, struct company *out)
{
    size_t n = trace->n_demands;
    struct edge *edges = malloc((2 * n + 1) * sizeof(*edges));
    unsigned running = 0;
    size_t count;

    *out = (struct company){ .others = calloc(n + 1, sizeof(*out->others)) };
    if (edges == NULL || out->others == NULL) {
        free(edges);
        free(out->others);
        return ERR_NOMEM;
    }
    count = make_edges(trace, edges);
    for (size_t i = 0; i < count; i++) {
        if (!edges[i].is_begin) {
            running -= running > 0;
            continue;
        }
        out->others[edges[i].demand] = running++;
        if (running > out->most)
            out->most = running;
    }
    free(edges);
    return ERR_OK;
}

/* ---- cores: which number explains the mean service by company best */

struct bin {
    double sum;
    double count;
};

/* The weighted squares that are left with the best base for so many cores. */
static double left_over(const struct bin *bins, unsigned most, unsigned cores)
{
    double up = 0, down = 0, left = 0;
    double base;

    for (unsigned n = 0; n < most; n++) {
        double slow = sim_slowdown(n, cores);

        up += slow * bins[n].sum;
        down += slow * slow * bins[n].count;
    }
    base = down > 0 ? up / down : 0;
    for (unsigned n = 0; n < most; n++) {
        double mean = bins[n].count > 0 ? bins[n].sum / bins[n].count : 0;
        double off = mean - base * sim_slowdown(n, cores);

        left += bins[n].count * off * off;
    }
    return left;
}

static unsigned best_cores(const struct bin *bins, unsigned most)
{
    unsigned best = most;
    double least = left_over(bins, most, most) * BETTER;

    for (unsigned cores = 1; cores < most; cores++) {
        double left = left_over(bins, most, cores);

        if (left < least) {
            least = left;
            best = cores;
        }
    }
    return best > 0 ? best : 1;
}

enum err sim_replay_cores(const struct trace *trace, unsigned *cores)
{
    struct company company;
    struct bin *bins;
    enum err err = find_company(trace, &company);

    if (err != ERR_OK)
        return err;
    bins = calloc(company.most + 1, sizeof(*bins));
    if (bins == NULL) {
        free(company.others);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < trace->n_demands; i++) {
        if (trace->demands[i].end != DEMAND_SERVED)
            continue;
        bins[company.others[i]].sum += (double)trace->demands[i].service_ns;
        bins[company.others[i]].count++;
    }
    *cores = best_cores(bins, company.most);
    free(bins);
    free(company.others);
    return ERR_OK;
}

/* ---- what each takes alone */

enum err sim_replay_new(struct sim_replay *out, const struct trace *trace,
                        unsigned cores)
{
    struct company company;
    uint64_t last_ns[2] = { 0, 0 };
    enum err err = find_company(trace, &company);

    if (err != ERR_OK)
        return err;
    out->base_ns = malloc((trace->n_demands + 1) * sizeof(*out->base_ns));
    for (size_t i = 0; out->base_ns != NULL && i < trace->n_demands; i++) {
        const struct trace_demand *demand = &trace->demands[i];

        if (demand->end == DEMAND_SERVED)
            last_ns[demand->is_shared] =
                (uint64_t)((double)demand->service_ns /
                           sim_slowdown(company.others[i], cores));
        out->base_ns[i] = last_ns[demand->is_shared];
    }
    free(company.others);
    return out->base_ns != NULL ? ERR_OK : ERR_NOMEM;
}

void sim_replay_free(struct sim_replay *replay)
{
    free(replay->base_ns);
    replay->base_ns = NULL;
}
