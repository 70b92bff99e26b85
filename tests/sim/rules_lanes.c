/* rules_lanes.c - what must be true of lanes: see rules.h. */
#include "rules.h"

#include "base/clock.h"
#include "pool/lane.h"

/* How long somebody waits before a lane is asked to go, as pool/retire.c has
 * it, and what the timer's ticks may add. */
static const uint64_t RELIEF_NS = 50000000 + 2 * WHEEL_TICK_NS;

static void check_lane_count(const struct worker *worker)
{
    uint64_t now_ns = worker->world->now_ns;
    uint64_t most = worker->lanes_seen;
    unsigned count = 0;

    if (worker->pump_ns <= now_ns || worker->is_paused)
        return;
    list_each (node, &worker->lanes.sets[LANE_READ].lanes) {
        const struct lane *lane = container_of(node, struct lane, node);

        count += !lane->is_finishing && !lane_is_late(lane, now_ns);
    }
    if (count > most)
        world_fail(worker->world, "%u read lanes, the setting says %llu", count,
                   (unsigned long long)most);
}

/* The earliest of those who wait for what lanes alone can give: a lease, or the
 * first lane of a kind that has none. */
static uint64_t pressing_ns(const struct worker *worker)
{
    uint64_t since_ns = WHEEL_NEVER;

    list_each (node, &worker->world->active) {
        const struct demand *demand = demand_of(node);

        if (demand->worker == worker && demand->state == DEMAND_WAITING)
            since_ns = earlier_ns(since_ns, demand->waiter.since_ns);
    }
    for (int kind = 0; kind < LANE_KINDS; kind++) {
        const struct lane_set *set = &worker->lanes.sets[kind];
        bool has_one = false;

        list_each (node, &set->lanes)
            has_one |= !container_of(node, struct lane, node)->is_finishing;
        if (set->is_coming && !has_one)
            since_ns = earlier_ns(since_ns, set->waiter.since_ns);
    }
    return since_ns;
}

/* All are lanes, and there is one that has served, but none is on its way
 * back. */
static bool do_lanes_stay(const struct worker *worker)
{
    bool has_served = false;

    list_each (node, &worker->links) {
        const struct link *link = container_of(node, struct link, node);

        if (link->conn.state != CONN_SHARED || link->lane.is_finishing)
            return false;
        has_served |= !link->conn.is_coming;
    }
    return has_served;
}

/* Lanes do not keep all connections while somebody cannot do without one. */
static void check_relief(const struct worker *worker)
{
    uint64_t now_ns = worker->world->now_ns;
    uint64_t since_ns;

    if (worker->is_paused || worker->is_closing || worker->due_ns <= now_ns ||
        worker->pump_ns <= now_ns)
        return;
    since_ns = pressing_ns(worker);
    if (since_ns < now_ns && now_ns - since_ns > RELIEF_NS &&
        do_lanes_stay(worker))
        world_fail(worker->world,
                   "somebody waits for %llu ns, and lanes keep all %u",
                   (unsigned long long)(now_ns - since_ns), worker->links.len);
}

void rule_lanes(const struct worker *worker)
{
    check_lane_count(worker);
    check_relief(worker);
}
