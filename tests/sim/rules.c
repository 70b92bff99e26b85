/* rules.c - what must be true, and is held against the pool after each event.
 */
#include "rules.h"

#include "pool/budget_census.h"
#include "pool/check.h"
#include "pool/class.h"
#include "pool/conn_state.h"
#include "pool/stats.h"
#include "pool/status.h"

#include <string.h>

static unsigned count_state(const struct worker *worker, enum conn_state state)
{
    unsigned count = 0;

    list_each (node, &worker->links)
        count += container_of(node, struct link, node)->conn.state == state;
    return count;
}

/* ---- opening one: within max, rate and back-off */

/* What the server has or is about to have, of all workers. */
static unsigned count_all(const struct world *world)
{
    unsigned count = 0;

    for (unsigned i = 0; i < world->n_workers; i++)
        count += world->workers[i].links.len;
    return count;
}

static unsigned count_ghosts(const struct world *world)
{
    unsigned count = 0;

    for (unsigned i = 0; i < world->n_ghosts; i++)
        count += world->ghosts[i].gone_ns > world->now_ns;
    return count;
}

static uint64_t fastest(const struct world *world)
{
    uint64_t rate = 0;

    for (unsigned i = 0; i < world->n_workers; i++) {
        uint64_t other;

        if (!world->workers[i].is_there)
            continue;
        other = world->workers[i].settings.connect_rate;
        if (other == 0)
            return 0;
        rate = other > rate ? other : rate;
    }
    return rate;
}

/* In any time no more than the bucket holds, and what ran into it.  A worker
 * that goes may have been the one without a limit: those were not limited. */
static void check_rate(struct world *world, uint64_t max)
{
    uint64_t rate = fastest(world);
    uint64_t known;

    if (rate != world->opens_rate)
        world->opens_from = world->n_opens;
    world->opens_rate = rate;
    known = world->n_opens - world->opens_from;
    world->opens_ns[world->n_opens++ % OPENS_MAX] = world->now_ns;
    if (known >= OPENS_MAX)
        known = OPENS_MAX - 1;
    for (uint64_t i = 1; rate > 0 && i <= known; i++) {
        uint64_t from_ns =
            world->opens_ns[(world->n_opens - 1 - i) % OPENS_MAX];
        uint64_t ran_in = (world->now_ns - from_ns) / (SECOND / rate);

        if (i + 1 > max + ran_in)
            world_fail(world, "%llu connects in %llu ns, of %llu a second",
                       (unsigned long long)i + 1,
                       (unsigned long long)(world->now_ns - from_ns),
                       (unsigned long long)rate);
    }
}

void rule_open(struct worker *worker)
{
    struct world *world = worker->world;
    struct budget_census census;
    unsigned open = count_all(world), ghosts = count_ghosts(world);
    unsigned opening = count_state(worker, CONN_OPENING);
    bool asks;

    pool_census(worker->pool, &census);
    /* the budget lets one ask for the ghosts: see budget_ghost.h */
    asks = ghosts > 0 && (open + ghosts == census.max || open == 0);
    if (open + ghosts >= census.max && !asks)
        world_fail(world, "one more is opened, of %u and %u ghosts, max %u",
                   open, ghosts, census.max);
    if (worker->is_paused || worker->is_closing)
        world_fail(world, "one is opened by a pool that is paused or closing");
    if (opening >= (census.max / 4 > 2 ? census.max / 4 : 2))
        world_fail(world, "%u are opening, of max %u, and one more", opening,
                   census.max);
    if (world->now_ns < worker->retry_ns)
        world_fail(world, "a connect %llu ns before back-off ends",
                   (unsigned long long)(worker->retry_ns - world->now_ns));
    worker->retry_ns = 0;
    check_rate(world, census.max);
}

void rule_sum(const struct worker *worker)
{
    struct budget_census census;
    unsigned open = count_all(worker->world);

    pool_census(worker->pool, &census);
    if (open + count_ghosts(worker->world) > census.max)
        world_fail(worker->world, "%u are open, of all workers, max is %u",
                   open, census.max);
}

/* ---- lending one */

static void check_clean(const struct link *link)
{
    struct worker *worker = link->worker;
    struct world *world = worker->world;

    if (link->is_dirty || link->is_running || link->is_spent)
        world_fail(world, "link %u is lent, and is %s", link->number,
                   link->is_dirty     ? "dirty"
                   : link->is_running ? "busy"
                                      : "spent");
    if (link->op != OP_NONE || link->is_closed || !link->is_connected)
        world_fail(world, "link %u is lent, and is under way", link->number);
    if (link->epoch != worker->epoch)
        world_fail(world, "link %u is lent, and is of before a drain",
                   link->number);
}

static void check_hooks(const struct link *link)
{
    struct worker *worker = link->worker;
    struct world *world = worker->world;

    if ((worker->hooks & (1U << HOOK_AFTER_CONNECT)) != 0 &&
        link->prepared != worker->hook_version)
        world_fail(world, "link %u is lent, and is not prepared", link->number);
    if ((worker->hooks & (1U << HOOK_BEFORE_ACQUIRE)) != 0 &&
        link->approved_ns != world->now_ns)
        world_fail(world, "link %u is lent, and is not approved", link->number);
    if ((worker->hooks & (1U << HOOK_AFTER_RELEASE)) != 0 &&
        link->to_release == worker->hook_version)
        world_fail(world, "link %u is lent before after_release has run",
                   link->number);
}

static void check_alive(const struct link *link)
{
    const struct pool_settings *settings = &link->worker->settings;
    struct world *world = link->worker->world;

    if (settings->test_before_acquire && world->now_ns != link->alive_ns &&
        world->now_ns - link->alive_ns >= settings->test_after_ns)
        world_fail(world, "link %u is lent, and silent since %llu ns",
                   link->number,
                   (unsigned long long)(world->now_ns - link->alive_ns));
}

/* demand is NULL for a lane. */
void rule_lent(struct link *link, struct demand *demand)
{
    struct worker *worker = link->worker;
    struct world *world = worker->world;
    uint64_t most = worker->settings.concurrency;
    unsigned lent =
        count_state(worker, CONN_LEASED) + count_state(worker, CONN_SHARED);

    if (link->owner != NULL || link->lane.lanes != NULL)
        world_fail(world, "link %u has two owners", link->number);
    if (demand != NULL && demand->worker != worker)
        world_fail(world, "link %u is of another worker", link->number);
    if (link->conn.state != (demand != NULL ? CONN_LEASED : CONN_SHARED))
        world_fail(world, "link %u is lent, and is %s", link->number,
                   conn_state_name(link->conn.state));
    if (link->conn.generation <= worker->last_generation)
        world_fail(world, "link %u: two leases of one generation",
                   link->number);
    worker->last_generation = link->conn.generation;
    if (most > 0 && lent > most)
        world_fail(world, "%u are lent, concurrency is %llu", lent,
                   (unsigned long long)most);
    if (worker->is_paused)
        world_fail(world, "link %u is lent by a pool that is paused",
                   link->number);
    check_clean(link);
    check_hooks(link);
    check_alive(link);
}

/* ---- whose turn it is */

static bool are_equal(const struct demand *a, const struct demand *b)
{
    return a->worker == b->worker && a->action->class == b->action->class &&
           a->is_statement == b->is_statement &&
           (!a->is_statement || a->item.kind == b->item.kind);
}

/* How many of its equals have waited for longer, and for less long.  One that
 * is sent once more comes before all others. */
static void count_equals(const struct demand *demand, unsigned *older,
                         unsigned *younger)
{
    const struct world *world = demand->world;

    *older = *younger = 0;
    list_each (node, &world->active) {
        const struct demand *other = demand_of(node);

        if (other == demand || other->state != demand->state ||
            !are_equal(demand, other) || other->sends > 0)
            continue;
        *older += other->joined < demand->joined;
        *younger += other->joined > demand->joined;
    }
}

static uint64_t share_of(const struct pool_settings *settings, int class)
{
    switch (class) {
    case CLASS_CRITICAL: return settings->share_critical;
    case CLASS_BATCH: return settings->share_batch;
    default: return settings->share_normal;
    }
}

void rule_shares(struct worker *worker)
{
    for (int class = 0; class < POOL_CLASSES; class ++) {
        uint64_t share = share_of(&worker->settings, class);

        if (worker->least_share[class] == 0 ||
            share < worker->least_share[class])
            worker->least_share[class] = share;
        if (share > worker->most_share[class])
            worker->most_share[class] = share;
    }
}

/* So many of the others may be served before one of class, at most: by the
 * shares of now, or by those that counted when its turn was set. */
static uint64_t most_before(const struct worker *worker, int class)
{
    uint64_t most = POOL_CLASSES;

    for (int other = 0; other < POOL_CLASSES; other++)
        if (other != class)
            most += worker->most_share[other] / worker->least_share[class] + 2;
    return most;
}

static void check_classes(struct demand *demand)
{
    struct worker *worker = demand->worker;
    struct world *world = worker->world;
    bool waits[POOL_CLASSES] = { false };

    list_each (node, &world->active) {
        const struct demand *other = demand_of(node);

        if (other->worker == worker && other->state == DEMAND_WAITING &&
            other != demand)
            waits[other->action->class] = true;
    }
    for (int class = 0; class < POOL_CLASSES; class ++) {
        worker->passed[class]++;
        if (!waits[class] || class == (int)demand->action->class)
            worker->passed[class] = 0;
        if (worker->passed[class] > most_before(worker, class))
            world_fail(world, "class %s starves, %u were before it",
                       pool_class_name((enum pool_class) class),
                       worker->passed[class]);
    }
}

/* demand is served: first come, first served, and while waits are over
 * codel_target perhaps the newest first. */
void rule_turn(struct demand *demand)
{
    bool may_turn = demand->worker->settings.codel_target_ns > 0 ||
                    demand->worker->had_codel;
    unsigned older, younger;

    if (demand->sends > 0)
        return;
    count_equals(demand, &older, &younger);
    if (older > 0 && (!may_turn || younger > 0))
        world_fail(demand->world,
                   "demand %llu is served before %u that came first",
                   (unsigned long long)demand->joined, older);
    if (!demand->is_statement)
        check_classes(demand);
}

/* ---- at all times */

static void check_count(const struct worker *worker, const char *name,
                        uint64_t counted, uint64_t expected)
{
    if (counted != expected)
        world_fail(worker->world, "worker %u counts %llu %s, not %llu",
                   worker->index, (unsigned long long)counted, name,
                   (unsigned long long)expected);
}

void rule_tally(const struct worker *worker)
{
    const struct pool_stats *stats = pool_stats(worker->pool);
    const struct tally *tally = &worker->tally;
    uint64_t closes = 0;

    for (int i = 0; i < CLOSE_REASONS; i++)
        closes += stats->closes[i];
    check_count(worker, "arrivals", stats->arrivals, tally->arrivals);
    check_count(worker, "acquires", stats->acquires, tally->acquires);
    check_count(worker, "completions", stats->completions, tally->completions);
    check_count(worker, "timeouts", stats->timeouts, tally->timeouts);
    check_count(worker, "busy", stats->busy + stats->shed, tally->busy);
    check_count(worker, "refused", stats->refused, tally->refused);
    check_count(worker, "closed", stats->closed, tally->closed);
    check_count(worker, "cancelled", stats->cancelled, tally->cancelled);
    check_count(worker, "connects", stats->connects, tally->connects);
    check_count(worker, "connect_failures", stats->connect_failures,
                tally->connect_failures);
    check_count(worker, "closes", closes,
                tally->closes + count_state(worker, CONN_CLOSING));
}

static void check_counts(const struct worker *worker,
                         const struct pool_counts *counts)
{
    unsigned waiting = 0, queued = 0, states[CONN_STATES] = { 0 };

    list_each (node, &worker->world->active) {
        const struct demand *demand = demand_of(node);

        if (demand->worker != worker)
            continue;
        waiting += demand->state == DEMAND_WAITING;
        queued += demand->state == DEMAND_QUEUED;
    }
    for (int kind = 0; kind < LANE_KINDS; kind++)
        waiting += worker->lanes.sets[kind].is_coming;
    list_each (node, &worker->links)
        states[container_of(node, struct link, node)->conn.state]++;
    check_count(worker, "open", counts->open, worker->links.len);
    check_count(worker, "waiting", counts->waiting, waiting);
    check_count(worker, "queued", counts->queued, queued);
    for (int state = 0; state < CONN_STATES; state++)
        check_count(worker, conn_state_name((enum conn_state)state),
                    counts->states[state], states[state]);
}

/* Who holds one is who the pool lent it to. */
static void check_owners(const struct worker *worker)
{
    list_each (node, &worker->links) {
        const struct link *link = container_of(node, struct link, node);
        const struct demand *owner = link->owner;

        if ((link->conn.state == CONN_LEASED) != (owner != NULL))
            world_fail(worker->world, "link %u is %s and has %s owner",
                       link->number, conn_state_name(link->conn.state),
                       owner != NULL ? "an" : "no");
        if (owner != NULL &&
            (owner->conn != &link->conn || owner->state != DEMAND_HOLDING))
            world_fail(worker->world, "link %u is not its owner's",
                       link->number);
        if ((link->conn.state == CONN_SHARED) != (link->lane.lanes != NULL))
            world_fail(worker->world, "link %u is a lane, or is none",
                       link->number);
    }
}

/* Nobody waits past its deadline, when all that was due has been done. */
static void check_deadlines(struct world *world)
{
    list_each (node, &world->active) {
        const struct demand *demand = demand_of(node);

        if (demand->state != DEMAND_WAITING ||
            demand->deadline_ns + WHEEL_TICK_NS > world->now_ns ||
            demand->worker->due_ns <= world->now_ns)
            continue;
        world_fail(world, "demand %llu waits past its deadline",
                   (unsigned long long)demand->joined);
    }
}

/* Nobody waits while one is there for it. */
static void check_rest(const struct worker *worker,
                       const struct pool_counts *counts)
{
    struct world *world = worker->world;
    uint64_t most = worker->settings.concurrency;
    uint64_t rate = worker->settings.connect_rate;
    uint64_t limit_ns = SECOND + (rate > 0 ? SECOND / rate : 0);

    if (counts->waiting == 0 || worker->is_paused ||
        worker->due_ns <= world->now_ns ||
        (most > 0 &&
         counts->states[CONN_LEASED] + counts->states[CONN_SHARED] >= most))
        return;
    if (counts->states[CONN_IDLE] > 0 &&
        counts->states[CONN_TESTING] + counts->states[CONN_HOOKED] <
            counts->waiting)
        world_fail(world, "%u wait, and %u are idle", counts->waiting,
                   counts->states[CONN_IDLE]);
    if (counts->open == counts->states[CONN_IDLE] &&
        worker->due_ns > world->now_ns + limit_ns)
        world_fail(world, "%u wait, and nothing is under way", counts->waiting);
}

/* After max_connections was lowered those that are in use may be more, until
 * they come back: none that is idle or opening.  Workers that share a budget
 * settle it among themselves, in their time: see probe(). */
static void check_max(const struct worker *worker,
                      const struct pool_counts *counts)
{
    uint32_t live = counts->open - counts->states[CONN_CLOSING];
    bool is_behind = worker->world->schedule->is_hasty &&
                     worker->due_ns <= worker->world->now_ns;

    if (worker->world->budget == NULL && !is_behind &&
        live > worker->settings.max_connections &&
        counts->states[CONN_IDLE] + counts->states[CONN_OPENING] > 0)
        world_fail(worker->world, "%u are open, max is %llu, and some are idle",
                   live, (unsigned long long)worker->settings.max_connections);
}

static void check_worker(const struct worker *worker)
{
    struct pool_counts counts;

    pool_check(worker->pool);
    pool_counts(worker->pool, &counts);
    check_counts(worker, &counts);
    check_max(worker, &counts);
    rule_tally(worker);
    check_owners(worker);
    rule_lanes(worker);
    check_rest(worker, &counts);
}

/* Of the workers that were touched since. */
void rule_all(struct world *world)
{
    leases_look(world);
    for (unsigned i = 0; i < world->n_workers; i++)
        if (world->workers[i].is_there && (world->touched >> i & 1) != 0)
            check_worker(&world->workers[i]);
    world->touched = 0;
    check_deadlines(world);
}
