/* actions.c - what each action of a schedule does to the world. */
#include "pool/driver.h"
#include "pool/pool.h"
#include "pool/status.h"
#include "world.h"

#include <string.h>

static struct link *pick_link(const struct worker *worker, unsigned target)
{
    unsigned at = 0;

    list_each (node, &worker->links)
        if (at++ == target % worker->links.len)
            return container_of(node, struct link, node);
    return NULL;
}

static void cancel(struct world *world, const struct action *action)
{
    unsigned count = world->n_demands; /* not those that come meanwhile */

    for (unsigned i = 0; i < count; i++) {
        struct demand *demand = &world->demands[i];

        if (demand->state == DEMAND_OVER ||
            demand->action->id != action->target || demand->is_probe)
            continue;
        if (demand->is_statement)
            statement_cancel(demand);
        else
            lease_cancel(demand, action->how == 1);
    }
}

/* All connections break, and no new one comes for a while. */
static void go_down(struct worker *worker, uint64_t ns)
{
    unsigned last = worker->world->n_links, done = 0;
    bool is_more = true;

    worker->down_ns = worker->world->now_ns + ns;
    while (is_more) {
        is_more = false;
        list_each (node, &worker->links) {
            struct link *link = container_of(node, struct link, node);

            if (link->number <= done || link->number > last)
                continue;
            done = link->number;
            link_lose(link);
            is_more = true;
            break;
        }
    }
}

static void outdate(struct worker *worker, struct link *link)
{
    struct err_text text = { .text = "terminating connection" };
    uint64_t epoch = pool_epoch(worker->pool);

    if (link == NULL || link->conn.state == CONN_CLOSING ||
        link->conn.state == CONN_OPENING)
        return;
    pool_outdate(&link->conn, &text, worker->world->now_ns);
    worker->epoch += pool_epoch(worker->pool) - epoch;
}

static void set(struct worker *worker, const struct action *action)
{
    struct pool_settings settings = worker_settings(worker);

    knob_turn(&settings, action->what, action->count);
    worker_set(worker, &settings);
}

/* What a policy wants goes through the rails. */
static void wish(struct worker *worker, const struct action *action)
{
    const struct pool_setting *setting =
        pool_setting_find(knobs[action->what].name);
    size_t at = (size_t)(setting - pool_setting_table);
    static struct snapshot_memory memory;
    struct policy_wish wanted = { .reason = "sim" };
    struct snapshot snap = { .name = "main", .kind = "postgres" };
    struct pool_settings settings;
    double value;

    memset(&memory, 0, sizeof(memory));
    snapshot_take(&snap, &memory, worker->pool, worker->world->now_ns);
    wanted.is_set[at] = true;
    wanted.values[at] = knobs[action->what].values[action->count];
    if (!rails_apply(&worker->rails, &snap, &wanted, worker->world->now_ns,
                     &settings))
        return;
    value = pool_settings_get(&settings, setting);
    if (!worker->rails.rails[at].is_open ||
        value > worker->rails.rails[at].max ||
        value < worker->rails.rails[at].min)
        world_fail(worker->world, "%s went to %g, beyond its rails",
                   setting->name, value);
    worker_set(worker, &settings);
}

static void set_hooks(struct worker *worker, unsigned which)
{
    const struct pool_hooks hooks = {
        .which = which,
        .begin = worker_begin_hook,
        .ud = worker,
    };

    if ((worker->hooks & (1U << HOOK_AFTER_CONNECT)) != 0 &&
        worker->links.len > 0)
        worker->epoch++;
    worker->hooks = which;
    worker->hook_version++;
    pool_set_hooks(worker->pool, &hooks, worker->world->now_ns);
}

static void begin_fate(struct worker *worker, const struct action *action)
{
    worker->fates[action->what] = (struct pending_fate){
        .fate = (enum fate)action->how,
        .count = action->count,
        .ns = action->ns,
    };
}

static void act(struct worker *worker, const struct action *action)
{
    struct world *world = worker->world;
    struct link *link = pick_link(worker, action->target);

    switch (action->kind) {
    case ACTION_LEASE: lease_begin(worker, action); break;
    case ACTION_STATEMENT: statement_begin(worker, action); break;
    case ACTION_FATE: begin_fate(worker, action); break;
    case ACTION_LOSE:
        if (link != NULL)
            link_lose(link);
        break;
    case ACTION_MUTE:
        if (link != NULL)
            link_mute(link);
        break;
    case ACTION_DOWN: go_down(worker, action->ns); break;
    case ACTION_SET: set(worker, action); break;
    case ACTION_WISH: wish(worker, action); break;
    case ACTION_PAUSE:
        worker->is_paused = true;
        pool_pause(worker->pool, world->now_ns);
        break;
    case ACTION_RESUME: worker_resume(worker); break;
    case ACTION_DRAIN:
        worker->epoch++;
        pool_drain(worker->pool, world->now_ns);
        break;
    case ACTION_OUTDATE: outdate(worker, link); break;
    case ACTION_HOOKS: set_hooks(worker, action->how); break;
    case ACTION_JUMP: world->now_ns += action->ns; break;
    case ACTION_CLOSE: worker_close(worker, action->ns); break;
    case ACTION_KILL:
        if (world->budget != NULL)
            worker_kill(worker);
        break;
    case ACTION_CANCEL:
    case ACTION_KINDS: break;
    }
}

void world_act(struct world *world, const struct action *action)
{
    struct worker *worker = &world->workers[action->worker % world->n_workers];
    char text[256];

    if (world->is_traced) {
        action_text(action, text, sizeof(text));
        world_note(world, "* %s", text);
    }
    world_touch(worker);
    if (action->kind == ACTION_CANCEL)
        cancel(world, action);
    else if (worker->is_there)
        act(worker, action);
}
