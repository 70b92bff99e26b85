/* sim.c - see sim.h: hosts, and what is measured. */
#include "sim/sim.h"

#include "pool/pool.h"
#include "pool/status.h"
#include "sim/inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hosts */

static void on_tick(void *ud, uint64_t now_ns)
{
    struct host *host = ud;
    uint64_t due_ns;

    if (host->is_gone)
        return;
    due_ns = pool_tick(host->pool, now_ns);
    if (!host->is_gone && due_ns != WHEEL_NEVER)
        sim_queue_put(&host->sim->server.queue,
                      due_ns > now_ns ? due_ns : now_ns, on_tick, host);
}

static void wake_at(void *ud, uint64_t at_ns)
{
    struct host *host = ud;
    uint64_t now_ns = host->sim->server.now_ns;

    sim_queue_put(&host->sim->server.queue, at_ns > now_ns ? at_ns : now_ns,
                  on_tick, host);
}

static void on_closed(void *ud)
{
    ((struct host *)ud)->is_gone = true;
}

static void on_policy(void *ud, const struct pilot_event *event)
{
    struct host *host = ud;
    struct sim_report *report = host->sim->report;
    struct sim_change *change;

    if (report->n_changes == SIM_CHANGES_MAX) {
        report->changes_lost++;
        return;
    }
    change = &report->changes[report->n_changes++];
    *change = (struct sim_change){
        .at = sim_seconds(host->sim->server.now_ns),
        .host = host->index,
        .is_error = event->error != NULL,
        .setting = "",
    };
    if (event->error != NULL) {
        snprintf(change->reason, sizeof(change->reason), "%.199s",
                 event->error->text);
        return;
    }
    change->outcome = event->change->outcome;
    if (event->change->setting != NULL)
        change->setting = event->change->setting->name;
    change->from = event->change->from;
    change->to = event->change->to;
    snprintf(change->reason, sizeof(change->reason), "%s",
             event->change->reason);
}

static void on_pilot(void *ud, uint64_t now_ns)
{
    struct host *host = ud;
    const struct sim_config *config = host->sim->config;
    struct snapshot_server server = {
        .max_connections = config->server_max,
        .connections = host->sim->server.connections,
        .active = host->sim->server.running,
        .idle = host->sim->server.connections - host->sim->server.running,
        .latency = 0.0002,
    };
    struct policy_time time = { .now_ns = now_ns, .day = sim_seconds(now_ns) };
    uint64_t due_ns;

    if (host->pilot == NULL || sim_seconds(now_ns) >= host->sim->end_s)
        return;
    pilot_set_server(host->pilot, host->pool, &server, now_ns);
    due_ns = pilot_tick(host->pilot, &time);
    if (due_ns != WHEEL_NEVER)
        sim_queue_put(&host->sim->server.queue, due_ns, on_pilot, host);
}

static enum err start_policy(struct host *host, struct err_text *why)
{
    const struct pilot_ops ops = { .ud = host, .on_event = on_policy };
    struct policy_source source = *host->sim->config->policy;
    struct policy_host *policy;
    enum err err;

    source.seed = host->sim->config->seed + host->index;
    err = policy_host_new(&policy, &source, why);
    if (err != ERR_OK)
        return err;
    err = pilot_new(&host->pilot, policy, &ops);
    if (err != ERR_OK) {
        policy_host_free(policy);
        return err;
    }
    sim_queue_put(&host->sim->server.queue, 0, on_pilot, host);
    return pilot_add(host->pilot, host->pool, "main", "postgres",
                     host->sim->config->rails);
}

static enum err start_host(struct sim *sim, unsigned index,
                           struct err_text *why)
{
    struct host *host = &sim->hosts[index];
    struct pool_config config = {
        .ops = &sim_ops,
        .driver = &host->driver,
        .host = { .ud = host, .wake_at = wake_at, .on_closed = on_closed },
        .settings = sim->config->settings,
        .seed = sim->config->seed * 1000003 + index,
        .addresses = 1,
    };
    enum err err;

    host->sim = sim;
    host->index = index;
    host->driver.server = &sim->server;
    host->pump_ns = WHEEL_NEVER;
    list_init(&host->driver.links);
    err = pool_new(&host->pool, &config, 0);
    if (err != ERR_OK)
        return err;
    sim_lanes_init(host);
    sim_queue_put(&sim->server.queue, 0, on_tick, host);
    return sim->config->policy != NULL ? start_policy(host, why) : ERR_OK;
}

/* ---- samples */

static void count_now(struct sim *sim, struct sim_sample *sample)
{
    for (unsigned i = 0; i < sim->config->hosts; i++) {
        struct pool_counts counts;

        pool_counts(sim->hosts[i].pool, &counts);
        sample->max += counts.max;
        sample->open += counts.open;
        sample->in_use +=
            counts.states[CONN_LEASED] + counts.states[CONN_SHARED];
        sample->waiting += counts.waiting + counts.queued;
    }
}

static void on_sample(void *ud, uint64_t now_ns)
{
    struct sim *sim = ud;
    struct sim_report *report = sim->report;
    struct sim_sample *sample = &report->samples[report->n_samples++];
    struct hist wait = { 0 }, service = { 0 };

    *sample = sim->now;
    sample->at = sim_seconds(now_ns);
    sample->rate = sim_rate(sim);
    hist_add_since(&wait, &sim->wait, &sim->wait_before);
    hist_add_since(&service, &sim->server.service, &sim->service_before);
    sample->wait_p50 = sim_seconds(hist_quantile(&wait, 0.5));
    sample->wait_p99 = sim_seconds(hist_quantile(&wait, 0.99));
    sample->service_p50 = sim_seconds(hist_quantile(&service, 0.5));
    count_now(sim, sample);
    report->total.arrivals += sample->arrivals;
    report->total.done += sample->done;
    report->total.shed += sample->shed;
    report->total.timeouts += sample->timeouts;
    report->total.refused += sample->refused;
    sim->wait_before = sim->wait;
    sim->service_before = sim->server.service;
    memset(&sim->now, 0, sizeof(sim->now));
    if (sim->config->on_sample != NULL)
        sim->config->on_sample(sim->config->ud, sample->at, sim->end_s);
    if (sim_seconds(now_ns) + sim->config->sample <= sim->end_s + 1e-9)
        sim_queue_put(&sim->server.queue, now_ns + sim_ns(sim->config->sample),
                      on_sample, sim);
}

/* ---- a run */

static enum err check(const struct sim_config *config, struct err_text *why)
{
    if (config->hosts < 1 || config->cores < 1 || config->server_max < 1 ||
        (config->trace != NULL ? config->trace->n_demands == 0
                               : config->n_phases < 1))
        err_text_set(why, "a host, a core, a connection and some load are "
                          "needed");
    else if (!(config->service > 0) || !(config->connect >= 0) ||
             !(config->sample > 0))
        err_text_set(why, "service and sample take some time");
    else
        return pool_settings_check(&config->settings, why);
    return ERR_BADARG;
}

static enum err prepare(struct sim *sim, struct err_text *why)
{
    struct sim_report *report = sim->report;
    size_t samples;
    enum err err = ERR_OK;

    if (sim->config->trace != NULL) {
        err = sim_replay_new(&sim->replay, sim->config->trace,
                             sim->config->cores);
        sim->end_s = ceil(sim_seconds(sim->config->trace->span_ns) /
                          sim->config->sample) *
                     sim->config->sample;
    }
    for (size_t i = 0; sim->config->trace == NULL && i < sim->config->n_phases;
         i++)
        sim->end_s += sim->config->phases[i].seconds;
    if (err != ERR_OK)
        return err;
    samples = (size_t)(sim->end_s / sim->config->sample) + 2;
    report->samples = calloc(samples, sizeof(*report->samples));
    report->changes = calloc(SIM_CHANGES_MAX, sizeof(*report->changes));
    sim->hosts = calloc(sim->config->hosts, sizeof(*sim->hosts));
    if (report->samples == NULL || report->changes == NULL ||
        sim->hosts == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < sim->config->hosts && err == ERR_OK; i++)
        err = start_host(sim, i, why);
    if (err != ERR_OK)
        return err;
    sim_queue_put(&sim->server.queue, sim_ns(sim->config->sample), on_sample,
                  sim);
    sim_begin_arrivals(sim);
    return ERR_OK;
}

/* Up to end_ns; false when nothing is left to happen. */
static void run_until(struct sim *sim, uint64_t end_ns)
{
    struct sim_event event;

    while (sim_queue_take(&sim->server.queue, &event)) {
        if (event.at_ns > end_ns) {
            sim_queue_put(&sim->server.queue, event.at_ns, event.fn, event.ud);
            return;
        }
        sim->server.now_ns = event.at_ns;
        sim->report->events++;
        event.fn(event.ud, event.at_ns);
    }
}

static void finish(struct sim *sim)
{
    uint64_t now_ns = sim->server.now_ns;

    for (unsigned i = 0; sim->hosts != NULL && i < sim->config->hosts; i++) {
        pilot_free(sim->hosts[i].pilot);
        sim->hosts[i].pilot = NULL;
        if (sim->hosts[i].pool == NULL)
            continue;
        sim_lanes_close(&sim->hosts[i]);
        pool_close(sim->hosts[i].pool, now_ns, now_ns);
    }
    run_until(sim, UINT64_MAX); /* what is under way ends */
    for (unsigned i = 0; sim->hosts != NULL && i < sim->config->hosts; i++)
        pool_free(sim->hosts[i].pool);
    sim_free_spare(sim);
    sim_replay_free(&sim->replay);
    free(sim->hosts);
    sim_queue_free(&sim->server.queue);
}

enum err sim_run(const struct sim_config *config, struct sim_report *report,
                 struct err_text *why)
{
    struct sim *sim;
    enum err err = check(config, why);

    memset(report, 0, sizeof(*report));
    if (err != ERR_OK)
        return err;
    sim = calloc(1, sizeof(*sim));
    if (sim == NULL)
        return ERR_NOMEM;
    sim->config = config;
    sim->report = report;
    sim->server.config = config;
    sim->server.rand.state = config->seed;
    err = prepare(sim, why);
    if (err == ERR_OK) {
        run_until(sim, sim_ns(sim->end_s));
        report->total.at = sim->end_s;
        report->total.wait_p50 = sim_seconds(hist_quantile(&sim->wait, 0.5));
        report->total.wait_p99 = sim_seconds(hist_quantile(&sim->wait, 0.99));
        report->total.service_p50 =
            sim_seconds(hist_quantile(&sim->server.service, 0.5));
        count_now(sim, &report->total);
    }
    if (err == ERR_OK && sim->server.queue.has_failed)
        err = ERR_NOMEM;
    finish(sim);
    free(sim);
    if (err != ERR_OK)
        sim_report_free(report);
    return err;
}

void sim_report_free(struct sim_report *report)
{
    free(report->samples);
    free(report->changes);
    memset(report, 0, sizeof(*report));
}
