/* world.c - see world.h: the clock, the workers, a run from start to end. */
#include "pool/budget_census.h"
#include "pool/lanes.h"
#include "pool/pool.h"
#include "rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Events of one run; more are a loop that does not end. */
enum { EVENTS_MAX = 20000 };

void world_note(const struct world *world, const char *format, ...)
{
    va_list args;

    if (!world->is_traced)
        return;
    printf("# %12.6f ms  ", (double)(world->now_ns - SECOND) / 1e6);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(world->why, sizeof(world->why), format, args);
    va_end(args);
    world_note(world, "FAILED: %s", world->why);
    longjmp(world->failed, 1);
}

void world_after(struct world *world, uint64_t ns,
                 void (*fn)(void *ud, uint64_t now_ns), void *ud)
{
    sim_queue_put(&world->queue, world->now_ns + ns, fn, ud);
}

/* ---- the clock */

static uint64_t first_due(const struct world *world, const struct worker **out)
{
    uint64_t at_ns = WHEEL_NEVER;

    for (unsigned i = 0; i < world->n_workers; i++) {
        const struct worker *worker = &world->workers[i];
        uint64_t due_ns =
            worker->due_ns < worker->pump_ns ? worker->due_ns : worker->pump_ns;

        if (!worker->is_there || due_ns >= at_ns)
            continue;
        at_ns = due_ns;
        *out = worker;
    }
    return at_ns;
}

static void tick(struct world *world, struct worker *worker)
{
    uint64_t due_ns;

    world_touch(worker);
    if (worker->pump_ns <= world->now_ns &&
        (worker->due_ns > world->now_ns || world->schedule->ticks_last)) {
        worker->pump_ns = WHEEL_NEVER;
        worker->lanes_seen = worker->settings.lanes;
        due_ns = lanes_pump(&worker->lanes, world->now_ns);
        if (due_ns < worker->pump_ns)
            worker->pump_ns = due_ns;
        return;
    }
    due_ns = pool_tick(worker->pool, world->now_ns);
    if (worker->is_there)
        worker->due_ns = due_ns;
}

/* The next thing that is due until then; false: nothing is. */
static bool step(struct world *world, uint64_t until_ns)
{
    const struct worker *worker = NULL;
    uint64_t due_ns = first_due(world, &worker);
    uint64_t queued_ns =
        world->queue.count > 0 ? world->queue.heap[0].at_ns : WHEEL_NEVER;
    bool is_tick =
        world->schedule->ticks_last ? due_ns < queued_ns : due_ns <= queued_ns;
    uint64_t at_ns = is_tick ? due_ns : queued_ns;
    struct sim_event event;

    if (at_ns > until_ns)
        return false;
    if (at_ns > world->now_ns)
        world->now_ns = at_ns;
    if (++world->events > EVENTS_MAX)
        world_fail(world, "it does not come to rest");
    if (is_tick) {
        tick(world, &world->workers[worker->index]);
    } else if (sim_queue_take(&world->queue, &event)) {
        event.fn(event.ud, world->now_ns);
    }
    rule_all(world);
    return true;
}

static void run_until(struct world *world, uint64_t until_ns)
{
    while (step(world, until_ns))
        continue;
    if (world->now_ns < until_ns)
        world->now_ns = until_ns;
}

static void pass(struct world *world, uint64_t ns)
{
    run_until(world, world->now_ns + ns);
}

/* ---- when all is well again */

static void heal(struct worker *worker)
{
    struct pool_settings settings;
    unsigned last = 0;
    struct link *next;

    memset(worker->fates, 0, sizeof(worker->fates));
    worker->down_ns = 0;
    do { /* those that were silent are seen to be gone */
        next = NULL;
        list_each (node, &worker->links) {
            struct link *link = container_of(node, struct link, node);

            if (link->number > last && link->is_mute &&
                (next == NULL || link->number < next->number))
                next = link;
        }
        if (next != NULL) {
            last = next->number;
            link_lose(next);
        }
    } while (next != NULL);
    if (worker->is_closing)
        return;
    settings = worker_settings(worker);
    settings.min_connections = 0;
    settings.max_waiters = 10000;
    settings.connect_rate = 0;
    settings.connect_timeout_ns = 5 * SECOND;
    settings.concurrency = 0;
    settings.codel_target_ns = 0;
    settings.leak_reclaim_ns = 0;
    settings.stall_timeout_ns = 2 * SECOND;
    settings.max_lifetime_ns = 1800 * SECOND;
    settings.idle_timeout_ns = 600 * SECOND;
    worker_set(worker, &settings);
    worker_resume(worker);
}

static void end_leases(struct world *world)
{
    unsigned count = world->n_demands;

    for (unsigned i = 0; i < count; i++)
        if (world->demands[i].state == DEMAND_HOLDING)
            lease_end(&world->demands[i], END_CLEAN);
}

static void check_over(struct world *world)
{
    struct list_node *node = list_first(&world->active);

    if (node != NULL)
        world_fail(world, "demand %llu is never over",
                   (unsigned long long)demand_of(node)->joined);
}

/* All of max can be lent at once, and both kinds of lanes answer. */
static void probe(struct worker *worker)
{
    struct world *world = worker->world;
    uint64_t max = pool_settings(worker->pool)->max_connections;
    unsigned first = world->n_demands;

    for (uint64_t i = 0; i < max; i++)
        (void)lease_probe(worker, 10 * SECOND);
    rule_all(world);
    pass(world, 10 * SECOND);
    for (unsigned i = first; i < world->n_demands; i++)
        if (world->demands[i].state != DEMAND_HOLDING)
            world_fail(world, "not all of max can be lent");
    rule_sum(worker);
    end_leases(world);
    (void)statement_probe(worker, false, 10 * SECOND);
    (void)statement_probe(worker, true, 10 * SECOND);
    rule_all(world);
    pass(world, 3 * SECOND);
    check_over(world);
}

static void recover(struct world *world)
{
    world->is_healing = true;
    for (unsigned i = 0; i < world->n_workers; i++)
        if (world->workers[i].is_there)
            heal(&world->workers[i]);
    rule_all(world);
    end_leases(world);
    rule_all(world);
    pass(world, 12 * SECOND);
    end_leases(world);
    rule_all(world);
    pass(world, SECOND);
    check_over(world);
    for (unsigned i = 0; i < world->n_workers; i++) {
        struct worker *worker = &world->workers[i];

        if (worker->is_there && worker->is_closing)
            world_fail(world, "worker %u does not come to close", i);
        if (!worker->is_there)
            worker_open(worker);
    }
    for (unsigned i = 0; i < world->n_workers; i++)
        probe(&world->workers[i]);
}

/* ---- a run */

static void begin(struct world *world)
{
    world->now_ns = SECOND;
    world->n_workers = world->schedule->workers;
    if (world->n_workers > 1)
        world->budget = worker_budget();
    for (unsigned i = 0; i < world->n_workers; i++) {
        world->workers[i].index = i;
        world->workers[i].world = world;
        worker_open(&world->workers[i]);
    }
}

static void check_budget(struct world *world)
{
    struct budget_census census;
    const char *name;

    if (world->budget == NULL)
        return;
    if (!budget_row(world->budget, 0, &name, &census))
        world_fail(world, "the budget has no row");
    if (census.mine + census.others + census.workers > 0)
        world_fail(world, "%u permits of %u workers are left",
                   census.mine + census.others, census.workers);
}

/* Closes with leases out and a statement under way: by force at last. */
static void end(struct world *world)
{
    static const struct action last = { .kind = ACTION_LEASE,
                                        .id = 998,
                                        .ns = 100000000000 };
    static const struct action later = {
        .kind = ACTION_STATEMENT, .id = 998, .ns = 50000000, .count = 3
    };

    for (unsigned i = 0; i < world->n_workers; i++) {
        lease_begin(&world->workers[i], &last);
        statement_begin(&world->workers[i], &later);
    }
    rule_all(world);
    pass(world, 20 * MS);
    for (unsigned i = 0; i < world->n_workers; i++)
        worker_close(&world->workers[i], i * 100 * MS);
    rule_all(world);
    pass(world, 10 * SECOND);
    check_over(world);
    for (unsigned i = 0; i < world->n_workers; i++)
        if (world->workers[i].is_there)
            world_fail(world, "worker %u is never closed", i);
    run_until(world, WHEEL_NEVER - 1);
    check_budget(world);
}

static void run(struct world *world)
{
    begin(world);
    rule_all(world);
    for (unsigned i = 0; i < world->schedule->count; i++) {
        const struct action *action = &world->schedule->actions[i];

        run_until(world, SECOND + action->at_ns);
        world_act(world, action);
        rule_all(world);
    }
    recover(world);
    end(world);
}

/* What a run that failed has left. */
static void abandon(struct world *world)
{
    struct list_node *node;

    for (unsigned i = 0; i < world->n_workers; i++) {
        struct worker *worker = &world->workers[i];

        while (worker->links.head.next != NULL &&
               (node = list_pop_front(&worker->links)) != NULL)
            free(container_of(node, struct link, node));
        free(worker->pool);
    }
}

bool world_run(struct world *world, const struct schedule *schedule,
               bool is_traced)
{
    struct sim_queue queue = world->queue;

    memset(world, 0, offsetof(struct world, demands));
    world->schedule = schedule;
    world->is_traced = is_traced;
    world->queue = queue;
    world->queue.count = 0;
    world->queue.numbers = 0;
    list_init(&world->active);
    if (setjmp(world->failed) == 0) {
        run(world);
        return true;
    }
    abandon(world);
    return false;
}
