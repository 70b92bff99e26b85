/* worker.c - a process: its pool is made, set, closed, or dies with it. */
#include "worker.h"

#include "pool/budget_inside.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

enum { BASE_PID = 1000 };

static const uint64_t BELL_NS = 50000;

/* ---- the budget's block */

/* Of the block, which is large, the first row and a few of its permits are ever
 * used. */
struct budget *worker_budget(void)
{
    static struct budget *budget;
    struct budget_row *row;

    if (budget == NULL)
        budget = calloc(1, budget_size());
    if (budget == NULL)
        abort();
    row = &budget->rows[0];
    memset(row->permits, 0, row->high * sizeof(row->permits[0]));
    memset(budget, 0, (size_t)((char *)row->permits - (char *)budget));
    if (budget_init(budget) != ERR_OK)
        abort();
    return budget;
}

static void on_look(void *ud, uint64_t now_ns)
{
    struct worker *worker = ud;

    world_touch(worker);
    if (worker->is_there)
        pool_look(worker->pool, now_ns);
}

static void ring(void *ud, unsigned slot, int pid)
{
    struct world *world = ud;

    for (unsigned i = 0; i < world->n_workers; i++)
        if (world->workers[i].is_there && world->workers[i].pid == pid &&
            world->workers[i].share.slot == slot)
            world_after(world, BELL_NS, on_look, &world->workers[i]);
}

/* ---- workers */

static void wake_at(void *ud, uint64_t at_ns)
{
    struct worker *worker = ud;

    if (at_ns >= worker->due_ns)
        world_fail(worker->world, "woken for what it knew");
    worker->due_ns = at_ns;
}

static void on_closed(void *ud)
{
    struct worker *worker = ud;
    struct world *world = worker->world;

    if (worker->links.len > 0)
        world_fail(world, "worker %u is closed, and %u links are left",
                   worker->index, worker->links.len);
    leases_look(world);
    lanes_refuse_all(&worker->lanes, ERR_CLOSED);
    rule_tally(worker);
    tally_add(&world->sum, &worker->tally);
    pool_free(worker->pool);
    worker->pool = NULL;
    worker->is_there = false;
    worker->pump_ns = WHEEL_NEVER;
    world_note(world, "worker %u is closed", worker->index);
    if (world->budget == NULL)
        return;
    budget_leave(&worker->share, world->now_ns);
    budget_unclaim(world->budget, worker->share.slot);
}

static bool is_over(void *ud)
{
    struct worker *worker = ud;

    return worker->world->schedule->is_hasty && ++worker->looks % 3 > 0;
}

/* The first tick; one that is not due does no harm. */
static void on_begin(void *ud, uint64_t now_ns)
{
    struct worker *worker = ud;

    if (!worker->is_there)
        return;
    now_ns = pool_tick(worker->pool, now_ns);
    if (worker->is_there)
        worker->due_ns = now_ns;
}

static void base_settings(struct pool_settings *settings)
{
    pool_settings_init(settings, 1);
    settings->max_connections = 3;
    settings->lanes = 2;
    settings->connect_rate = 0;
}

static void join_budget(struct worker *worker, uint32_t max)
{
    struct world *world = worker->world;
    int slot;

    if (world->budget == NULL)
        return;
    worker->pid = BASE_PID + ++world->last_pid;
    worker->share.bell = (struct budget_bell){ ring, world };
    worker->share.budget = world->budget;
    slot = budget_claim(world->budget, worker->pid, world->now_ns,
                        &worker->share.bell);
    if (slot < 0)
        abort();
    worker->share.slot = (unsigned)slot;
    if (budget_join(&worker->share, "postgres/main", max) != ERR_OK)
        abort();
}

void worker_open(struct worker *worker)
{
    struct world *world = worker->world;
    struct pool_config config = {
        .ops = &sim_driver_ops,
        .driver = worker,
        .host = { .ud = worker,
                  .wake_at = wake_at,
                  .on_closed = on_closed,
                  .is_over = is_over },
        .seed = world->schedule->seed * 31 + worker->index,
        .addresses = 1,
    };
    unsigned index = worker->index;

    memset(worker, 0, sizeof(*worker));
    worker->world = world;
    worker->index = index;
    worker->pump_ns = WHEEL_NEVER;
    list_init(&worker->links);
    base_settings(&config.settings);
    join_budget(worker, (uint32_t)config.settings.max_connections);
    config.share = world->budget != NULL ? &worker->share : NULL;
    if (pool_new(&worker->pool, &config, world->now_ns) != ERR_OK)
        abort();
    worker->is_there = true;
    worker->settings = config.settings;
    worker->due_ns = WHEEL_NEVER;
    world_after(world, BELL_NS, on_begin, worker);
    lanes_init(&worker->lanes, worker->pool,
               world->schedule->has_flow ? &sim_flow_ops : &sim_lanes_ops);
    rule_shares(worker);
    rails_init(&worker->rails, &config.settings);
}

void worker_close(struct worker *worker, uint64_t grace_ns)
{
    struct world *world = worker->world;

    if (!worker->is_closing || world->now_ns + grace_ns < worker->close_ns)
        worker->close_ns = world->now_ns + grace_ns;
    worker->is_closing = true;
    pool_close(worker->pool, worker->close_ns, world->now_ns);
}

/* Nobody is told of anything any more. */
static void forget_demands(struct worker *worker)
{
    struct list *active = &worker->world->active;
    struct list_node *next;

    for (struct list_node *node = active->head.next; node != &active->head;
         node = next) {
        struct demand *demand = demand_of(node);

        next = node->next;
        if (demand->worker != worker)
            continue;
        demand->state = DEMAND_OVER;
        list_remove(active, node);
    }
}

void worker_kill(struct worker *worker)
{
    struct world *world = worker->world;
    struct list_node *node;

    forget_demands(worker);
    while ((node = list_first(&worker->links)) != NULL)
        link_orphan(container_of(node, struct link, node));
    free(worker->pool); /* as the kernel does */
    tally_add(&world->sum, &worker->tally);
    worker->is_there = false;
    (void)budget_dead(world->budget, worker->pid, world->now_ns,
                      &worker->share.bell);
    worker_open(worker);
}

struct pool_settings worker_settings(const struct worker *worker)
{
    struct pool_settings settings = worker->settings;

    settings.max_connections = pool_settings(worker->pool)->max_connections;
    settings.min_connections = pool_settings(worker->pool)->min_connections;
    return settings;
}

/* The pool has what it was given; a budget's max is any worker's to set. */
static void check_settings(const struct worker *worker)
{
    bool is_alone = worker->world->budget == NULL;

    for (const struct pool_setting *setting = pool_setting_table;
         setting->name != NULL; setting++) {
        bool is_shared = strcmp(setting->name, "max_connections") == 0 ||
                         strcmp(setting->name, "min_connections") == 0;

        if ((is_alone || !is_shared) &&
            pool_settings_get(&worker->settings, setting) !=
                pool_settings_get(pool_settings(worker->pool), setting))
            world_fail(worker->world, "%s was not set", setting->name);
    }
}

void worker_set(struct worker *worker, const struct pool_settings *settings)
{
    bool is_right = settings->min_connections <= settings->max_connections;
    enum err err;

    if (worker->settings.codel_target_ns > 0)
        worker->had_codel = true;
    memset(worker->passed, 0, sizeof(worker->passed));
    worker->world->opens_from = worker->world->n_opens;
    worker->lanes_seen = POOL_MAX_CONNECTIONS; /* lanes look when they run */
    if (is_right)                              /* from inside of the call on */
        worker->settings = *settings;
    rule_shares(worker);
    err = pool_set(worker->pool, settings, worker->world->now_ns, NULL);
    if ((err == ERR_OK) != is_right)
        world_fail(worker->world, "settings were taken, or not: %s",
                   err_code(err));
    check_settings(worker);
}

void worker_resume(struct worker *worker)
{
    if (worker->is_paused)
        worker->retry_ns = 0; /* a pause is for changing the server */
    worker->is_paused = false;
    pool_resume(worker->pool, worker->world->now_ns);
}

void knob_turn(struct pool_settings *settings, unsigned knob, unsigned value)
{
    const struct pool_setting *setting = pool_setting_find(knobs[knob].name);

    if (setting == NULL ||
        pool_settings_set(settings, setting, knobs[knob].values[value], NULL) !=
            ERR_OK)
        abort();
}
