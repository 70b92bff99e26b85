/* snapshot.c - see snapshot.h. */
#include "policy/snapshot.h"

#include "base/clock.h"
#include "pool/pool.h"
#include "pool/status.h"

#include <string.h>

static const double NS = 1e9; /* in a second */

static double seconds(uint64_t ns)
{
    return (double)ns / NS;
}

static struct snapshot_times times_of(const struct hist *hist)
{
    return (struct snapshot_times){
        .count = (double)hist->count,
        .p50 = seconds(hist_quantile(hist, 0.5)),
        .p90 = seconds(hist_quantile(hist, 0.9)),
        .p99 = seconds(hist_quantile(hist, 0.99)),
        .max = seconds(hist->max_ns),
    };
}

/* Two kinds of demand: each has its own two histograms. */
static struct snapshot_times both(const struct hist *leases,
                                  const struct hist *statements,
                                  const struct hist *leases_before,
                                  const struct hist *statements_before)
{
    struct hist sum = { 0 };

    hist_add_since(&sum, leases, leases_before);
    hist_add_since(&sum, statements, statements_before);
    return times_of(&sum);
}

static double lent(const struct pool_counts *counts)
{
    return (double)(counts->states[CONN_LEASED] + counts->states[CONN_SHARED]);
}

void snapshot_watch(struct snapshot_memory *memory, const struct pool *pool,
                    uint64_t now_ns)
{
    struct pool_counts counts;

    pool_counts(pool, &counts);
    if (memory->watched_ns != 0)
        memory->lent_ns +=
            lent(&counts) * (double)elapsed_ns(memory->watched_ns, now_ns);
    memory->watched_ns = now_ns;
}

static void take_counts(struct snapshot *out, const struct pool *pool,
                        uint64_t now_ns)
{
    struct pool_counts counts;

    pool_counts(pool, &counts);
    for (int i = 0; i < CONN_STATES; i++)
        out->states[i] = counts.states[i];
    out->open = counts.open;
    out->waiting = counts.waiting;
    out->queued = counts.queued;
    out->in_use = lent(&counts);
    if (counts.oldest_ns != UINT64_MAX)
        out->oldest_wait = seconds(elapsed_ns(counts.oldest_ns, now_ns));
    out->is_down = pool_is_down(pool);
    out->is_paused = pool_is_paused(pool);
}

static void take_events(struct snapshot *out, const struct pool_stats *now,
                        const struct pool_stats *before)
{
#define SINCE(name) ((double)(now->name - before->name))
    out->arrivals = SINCE(arrivals);
    out->completions = SINCE(completions);
    out->timeouts = SINCE(timeouts);
    out->refused = SINCE(busy) + SINCE(refused) + SINCE(closed);
    out->connects = SINCE(connects);
    out->connect_failures = SINCE(connect_failures);
    for (int i = 0; i < ERR_COUNT; i++) {
        out->errors[i] = SINCE(errors[i]);
        out->failures += out->errors[i];
    }
#undef SINCE
    out->wait = both(&now->wait, &now->queue, &before->wait, &before->queue);
    out->service =
        both(&now->use, &now->service, &before->use, &before->service);
}

void snapshot_take(struct snapshot *out, struct snapshot_memory *memory,
                   const struct pool *pool, uint64_t now_ns)
{
    const char *name = out->name, *kind = out->kind;
    struct snapshot_server server = out->server;
    double span_ns;

    snapshot_watch(memory, pool, now_ns);
    memset(out, 0, sizeof(*out));
    out->name = name;
    out->kind = kind;
    out->server = server;
    out->settings = *pool_settings(pool);
    take_counts(out, pool, now_ns);
    take_events(out, pool_stats(pool), &memory->before);
    span_ns =
        memory->is_taken ? (double)elapsed_ns(memory->taken_ns, now_ns) : 0;
    out->interval = span_ns / NS;
    if (span_ns > 0)
        out->use_ratio =
            memory->lent_ns / span_ns / (double)out->settings.max_connections;
    memory->is_taken = true;
    memory->taken_ns = now_ns;
    memory->lent_ns = 0;
    memory->before = *pool_stats(pool);
}
