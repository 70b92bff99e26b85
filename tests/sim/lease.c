/* lease.c - those who want a connection for themselves: wait, hold it, give it
 * back, or give up. */
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/status.h"
#include "rules.h"

#include <string.h>

enum { AGAINS_MAX = 4 };

struct demand *demand_new(struct worker *worker, const struct action *action)
{
    struct world *world = worker->world;
    struct demand *demand;

    if (world->n_demands == DEMANDS_MAX)
        return NULL;
    demand = &world->demands[world->n_demands++];
    memset(demand, 0, sizeof(*demand));
    demand->world = world;
    demand->worker = worker;
    demand->action = action;
    demand->joined = ++world->joins;
    demand->since_ns = world->now_ns;
    list_push_back(&world->active, &demand->active);
    world_touch(worker);
    return demand;
}

static void count_end(struct tally *tally, enum err err)
{
    switch (err) {
    case ERR_TIMEOUT: tally->timeouts++; break;
    case ERR_BUSY: tally->busy++; break;
    case ERR_REFUSED: tally->refused++; break;
    case ERR_CLOSED: tally->closed++; break;
    case ERR_CANCELLED: tally->cancelled++; break;
    default: break;
    }
}

void demand_over(struct demand *demand, enum err err)
{
    struct world *world = demand->world;

    if (demand->state == DEMAND_OVER)
        world_fail(world, "demand %llu ends twice: %s, then %s",
                   (unsigned long long)demand->joined, err_code(demand->err),
                   err_code(err));
    if (demand->state == DEMAND_NEW || demand->state == DEMAND_WAITING ||
        demand->state == DEMAND_QUEUED)
        count_end(&demand->worker->tally, err);
    demand->state = DEMAND_OVER;
    demand->err = err;
    list_remove(&world->active, &demand->active);
    world_touch(demand->worker);
    world_note(world, "demand %llu is over: %s",
               (unsigned long long)demand->joined, err_code(err));
    if (demand->is_probe && err != ERR_OK)
        world_fail(world, "when all was well again, demand %llu ended with %s",
                   (unsigned long long)demand->joined, err_code(err));
}

/* ---- holding */

static void on_held(void *ud, uint64_t now_ns)
{
    struct demand *demand = ud;

    world_touch(demand->worker);
    if (demand->state == DEMAND_HOLDING && !demand->is_probe &&
        now_ns >= demand->held_ns + demand->action->ns)
        lease_end(demand, (enum end)demand->action->how);
}

static void hold(struct demand *demand, struct conn *conn)
{
    struct worker *worker = demand->worker;
    struct world *world = worker->world;

    rule_lent(link_of(conn), demand);
    demand->state = DEMAND_HOLDING;
    demand->held_ns = world->now_ns;
    demand->conn = conn;
    demand->generation = conn->generation;
    link_of(conn)->owner = demand;
    conn_set_holder(conn, &demand->conn, "sim.lua:1");
    if (demand->action->is_reclaimable)
        conn_set_reclaimable(conn, &demand->is_reclaimed);
    world_note(world, "demand %llu gets link %u",
               (unsigned long long)demand->joined, link_of(conn)->number);
    if (!demand->is_probe)
        world_after(world, demand->action->ns, on_held, demand);
}

static void come_back(struct link *link, enum end end)
{
    switch (end) {
    case END_DIRTY: link->is_dirty = true; break;
    case END_BUSY: link->is_running = true; break;
    case END_SPENT: link->is_spent = true; break;
    case END_BROKEN: link->is_broken = true; break;
    default: break;
    }
}

void lease_end(struct demand *demand, enum end end)
{
    struct worker *worker = demand->worker;
    struct conn *conn = demand->conn;
    struct link *link;

    if (conn == NULL) { /* the pool took it, see leases_look() */
        leases_look(demand->world);
        return;
    }
    link = link_of(conn);
    if (link->owner != demand || !conn_is_lent(conn, demand->generation))
        world_fail(demand->world, "demand %llu holds what is not lent to it",
                   (unsigned long long)demand->joined);
    link->owner = NULL;
    if (worker->hooks & (1U << HOOK_AFTER_RELEASE))
        link->to_release = worker->hook_version;
    worker->tally.completions++;
    come_back(link, end);
    demand_over(demand, ERR_OK);
    if (end == END_DISCARD)
        pool_discard(worker->pool, conn, CLOSE_STALLED, demand->world->now_ns);
    else
        pool_release(worker->pool, conn, demand->world->now_ns);
    if (demand->conn != NULL)
        world_fail(demand->world, "the holder was not told of its end");
}

/* The pool has taken it back, or closed it: abandon() and close() have seen
 * that it might. */
void leases_look(struct world *world)
{
    struct list_node *next;

    for (struct list_node *node = world->active.head.next;
         node != &world->active.head; node = next) {
        struct demand *demand = demand_of(node);

        next = node->next;
        if (demand->state != DEMAND_HOLDING || demand->conn != NULL)
            continue;
        if (demand->is_probe)
            world_fail(world, "a lease was taken though nothing was wrong");
        demand->worker->tally.completions++;
        demand_over(demand, ERR_OK);
    }
}

/* ---- waiting */

static void ask_again(struct demand *demand);

static void act_inside(struct demand *demand)
{
    const struct action *action = demand->action;
    struct pool_settings settings;

    if (demand->is_probe || demand->world->is_healing ||
        demand->worker->is_closing)
        return;
    switch ((enum inside)action->what) {
    case INSIDE_RELEASE:
        if (demand->state == DEMAND_HOLDING)
            lease_end(demand, (enum end)action->how);
        break;
    case INSIDE_CANCEL: {
        struct action cancel = *action;

        cancel.kind = ACTION_CANCEL;
        cancel.how = 1;
        world_act(demand->world, &cancel);
        break;
    }
    case INSIDE_AGAIN:
        if (demand->agains < AGAINS_MAX)
            ask_again(demand);
        break;
    case INSIDE_SET:
        settings = worker_settings(demand->worker);
        knob_turn(&settings, 0, action->count);
        worker_set(demand->worker, &settings);
        break;
    case INSIDE_NOTHING:
    case INSIDES: break;
    }
}

static void check_wait(struct demand *demand, enum err err,
                       const struct conn *conn)
{
    struct world *world = demand->world;
    uint64_t total_ns = 0;

    if (demand->state != DEMAND_WAITING)
        world_fail(world, "demand %llu is told %s and does not wait",
                   (unsigned long long)demand->joined, err_code(err));
    if (demand->worker->quiet > 0)
        world_fail(world, "a wait was ended inside of another's call");
    if ((err == ERR_OK) != (conn != NULL))
        world_fail(world, "%s, and a connection or none", err_code(err));
    if (err == ERR_TIMEOUT
            ? world->now_ns < demand->deadline_ns
            : err == ERR_OK && world->now_ns >= demand->deadline_ns)
        world_fail(world, "demand %llu ends with %s %lld ns after its deadline",
                   (unsigned long long)demand->joined, err_code(err),
                   (long long)(world->now_ns - demand->deadline_ns));
    for (size_t i = 0; i < WAIT_PHASES; i++)
        total_ns += demand->waiter.phase_ns[i];
    if (total_ns != world->now_ns - demand->since_ns)
        world_fail(world, "the phases of a wait are not all of it");
}

static void on_done(struct pool_waiter *waiter, enum err err, struct conn *conn)
{
    struct demand *demand = container_of(waiter, struct demand, waiter);

    check_wait(demand, err, conn);
    if (err == ERR_OK) {
        rule_turn(demand);
        demand->worker->tally.acquires++;
        hold(demand, conn);
    } else {
        demand_over(demand, err);
    }
    act_inside(demand);
}

static enum err expected(const struct demand *demand)
{
    const struct worker *worker = demand->worker;
    struct pool_counts counts;

    pool_counts(worker->pool, &counts);
    if (worker->is_closing)
        return ERR_CLOSED;
    if (demand->deadline_ns <= demand->world->now_ns)
        return ERR_TIMEOUT;
    if (pool_is_down(worker->pool) && !worker->is_paused)
        return ERR_REFUSED;
    if (counts.waiting >= worker->settings.max_waiters)
        return ERR_BUSY;
    return ERR_OK;
}

static void join(struct demand *demand)
{
    struct worker *worker = demand->worker;
    struct world *world = demand->world;
    enum err err, wanted;

    demand->waiter.on_done = on_done;
    demand->waiter.class = demand->action->class;
    demand->waiter.site = "sim.lua:2";
    demand->waiter.deadline_ns = demand->deadline_ns;
    wanted = expected(demand);
    worker->quiet++;
    err = pool_wait(worker->pool, &demand->waiter, world->now_ns);
    worker->quiet--;
    if (err != wanted)
        world_fail(world, "a wait begins with %s, not %s", err_code(err),
                   err_code(wanted));
    if (err == ERR_OK)
        demand->state = DEMAND_WAITING;
    else
        demand_over(demand, err);
}

static bool anybody_waits(const struct worker *worker)
{
    list_each (node, &worker->world->active)
        if (demand_of(node)->worker == worker &&
            demand_of(node)->state == DEMAND_WAITING)
            return true;
    return false;
}

static void begin(struct demand *demand, uint64_t limit_ns)
{
    struct worker *worker = demand->worker;
    struct world *world = demand->world;
    struct conn *conn;

    if (limit_ns == 0)
        limit_ns = worker->settings.acquire_timeout_ns;
    demand->deadline_ns = world->now_ns + limit_ns;
    world_note(world, "demand %llu: a lease of worker %u, #%u",
               (unsigned long long)demand->joined, worker->index,
               demand->action->id);
    worker->tally.arrivals++;
    worker->quiet++;
    conn = pool_try_acquire(worker->pool, false, "sim.lua:3", world->now_ns);
    worker->quiet--;
    if (conn == NULL) {
        join(demand);
        return;
    }
    if (anybody_waits(worker) || worker->is_paused || worker->is_closing)
        world_fail(world, "somebody was overtaken by who did not wait");
    conn_set_class(conn, demand->action->class);
    worker->tally.acquires++;
    hold(demand, conn);
}

static void ask_again(struct demand *demand)
{
    struct demand *next = demand_new(demand->worker, demand->action);

    if (next == NULL)
        return;
    next->agains = demand->agains + 1;
    begin(next, demand->action->limit_ns);
}

void lease_begin(struct worker *worker, const struct action *action)
{
    struct demand *demand =
        worker->is_there ? demand_new(worker, action) : NULL;

    if (demand != NULL)
        begin(demand, action->limit_ns);
}

struct demand *lease_probe(struct worker *worker, uint64_t limit_ns)
{
    static const struct action probe = { .kind = ACTION_LEASE, .id = 999 };
    struct demand *demand = demand_new(worker, &probe);

    if (demand == NULL)
        world_fail(worker->world, "there were too many demands");
    demand->is_probe = true;
    begin(demand, limit_ns);
    return demand;
}

void lease_cancel(struct demand *demand, bool goes_on)
{
    struct worker *worker = demand->worker;

    if (demand->state == DEMAND_HOLDING) {
        lease_end(demand, goes_on ? END_BUSY : END_CLEAN);
        return;
    }
    if (demand->state != DEMAND_WAITING)
        return;
    worker->quiet++;
    pool_wait_cancel(worker->pool, &demand->waiter, worker->world->now_ns);
    worker->quiet--;
    demand_over(demand, ERR_CANCELLED);
}
