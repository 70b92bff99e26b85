/* lanes.c - see lanes.h. */
#include "pool/lanes.h"

#include "base/clock.h"
#include "pool/alarm.h"
#include "pool/internal.h"
#include "pool/lane_queue_inside.h"
#include "pool/lease.h"
#include "pool/line_inside.h"
#include "pool/permit.h"
#include "pool/status.h"

static const uint64_t LINGER_NS = 1000000000;   /* of a read lane at rest */
static const uint64_t RETRY_NS = 50000000;      /* after one was refused */
static const uint64_t RESUME_NS = 10000000;     /* to look whether it goes on */
static const uint64_t LONG_NS = 86400000000000; /* a day */

/* Fewer reads than this are not parted. */
enum { GROUP_MIN = 4 };

static const char *const sites[LANE_KINDS] = { "read lane", "write lane" };

static struct lane *lane_of(struct list_node *node)
{
    return container_of(node, struct lane, node);
}

static uint64_t target_ns(const struct lanes *lanes)
{
    return lanes->pool->settings.group_target_ns;
}

/* ---- groups */

/* Groups are a flow of which no more than two are in flight. */
static struct lane_flow flow_of(const struct lane *lane, uint64_t now_ns)
{
    bool is_full =
        lane->groups >= LANE_GROUPS_MAX || lane_is_late(lane, now_ns);

    if (lane->lanes->ops->flow != NULL)
        return lane->lanes->ops->flow(lane);
    return (struct lane_flow){
        .due = lane->groups,
        .room = is_full ? 0 : UINT32_MAX,
    };
}

static bool is_empty(const struct lane *lane)
{
    return flow_of(lane, lane->head_ns).due == 0;
}

static bool may_take(const struct lane *lane, uint64_t now_ns)
{
    return lane->is_ready && !lane->is_held && !lane->is_finishing &&
           flow_of(lane, now_ns).room > 0;
}

uint32_t lanes_due(const struct lanes *lanes)
{
    uint32_t due = 0;

    for (int kind = 0; kind < LANE_KINDS; kind++)
        list_each (node, &lanes->sets[kind].lanes)
            due += flow_of(lane_of(node), lane_of(node)->head_ns).due;
    return due;
}

/* The one with the least due, or NULL; count is of those with no more. */
static struct lane *best_lane(const struct lane_set *set, uint64_t now_ns,
                              uint32_t *count)
{
    struct lane *best = NULL;
    uint32_t least = 0;

    *count = 0;
    list_each (node, &set->lanes) {
        struct lane *lane = lane_of(node);
        uint32_t due = flow_of(lane, now_ns).due;

        if (!may_take(lane, now_ns))
            continue;
        if (best == NULL || due < least) {
            best = lane;
            least = due;
            *count = 0;
        }
        *count += due == least;
    }
    return best;
}

static bool are_reads(const struct lane_set *set)
{
    return set == &set->owner->sets[LANE_READ];
}

/* Writes spread over all lanes, since each waits for its own commit; so do
 * reads, for the server works on several groups at once, but not so thin that
 * a group is none. */
static uint64_t most_of(const struct lane_set *set, const struct lane *lane,
                        uint32_t count)
{
    uint64_t most = set->owner->ops->flow != NULL
                        ? flow_of(lane, lane->head_ns).room
                        : set->owner->pool->settings.group_max;
    uint64_t share = (set->queue.len + count - 1) / count;

    if (are_reads(set) && share < GROUP_MIN)
        share = GROUP_MIN;
    return share < most ? share : most;
}

static void send_group(struct lane_set *set, struct lane *lane, uint32_t count,
                       uint64_t now_ns)
{
    uint64_t most = most_of(set, lane, count);
    uint64_t left_ns = target_ns(set->owner);
    struct list group;

    list_init(&group);
    while (set->queue.len > 0 && group.len < most) {
        struct lane_item *item = lane_queue_next(set);

        if (group.len > 0 && item->cost_ns > left_ns)
            break;
        left_ns -= item->cost_ns < left_ns ? item->cost_ns : left_ns;
        codel_note(&set->codel, &set->owner->pool->settings,
                   elapsed_ns(lane_queue_first_ns(set), now_ns), now_ns);
        item->sent_ns = now_ns;
        hist_record(&set->owner->pool->stats.queue,
                    elapsed_ns(item->since_ns, now_ns));
        lane_queue_leave(set, item);
        classes_served(&set->classes, item->class, &set->owner->pool->settings);
        list_push_back(&group, &item->node);
    }
    if (set->owner->ops->flow == NULL && lane->groups++ == 0)
        lane->head_ns = now_ns;
    pool_lane_rests(lane->conn, false);
    set->owner->pool->stats.groups++;
    set->owner->pool->stats.shared_statements += group.len;
    set->owner->ops->send(lane, &group);
}

static void send_groups(struct lane_set *set, uint64_t now_ns)
{
    uint32_t count;
    struct lane *lane;

    while (set->queue.len > 0 &&
           (lane = best_lane(set, now_ns, &count)) != NULL)
        send_group(set, lane, count, now_ns);
}

/* ---- getting lanes */

static uint64_t limit_of(const struct lane_set *set)
{
    const struct pool *pool = set->owner->pool;

    return set == &set->owner->sets[LANE_READ] ? pool_lane_limit(pool)
                                               : pool->settings.max_connections;
}

/* Lanes that count: not late ones, nor those on their way out. */
static uint32_t count_of(const struct lane_set *set, uint64_t now_ns)
{
    uint32_t count = 0;

    list_each (node, &set->lanes) {
        const struct lane *lane = lane_of(node);

        if (!lane->is_finishing && !lane_is_late(lane, now_ns))
            count++;
    }
    return count;
}

static void begin_lane(struct lane_set *set, struct conn *conn)
{
    set->owner->ops->begin(set->owner, conn,
                           (enum lane_kind)(set - set->owner->sets));
}

static void on_lane(struct pool_waiter *waiter, enum err err, struct conn *conn)
{
    struct lane_set *set = container_of(waiter, struct lane_set, waiter);

    set->is_coming = false;
    if (err == ERR_OK)
        begin_lane(set, conn);
    else if (set->lanes.len == 0)
        lane_queue_refuse(set, err, waiter);
    else
        set->retry_ns = set->owner->pool->now_ns + RETRY_NS;
    set->owner->ops->wake(set->owner);
}

/* One at once, when one is idle. */
static bool grab_lane(struct lane_set *set, uint64_t now_ns)
{
    int kind = (int)(set - set->owner->sets);
    struct conn *conn =
        pool_try_acquire(set->owner->pool, true, sites[kind], now_ns);

    if (conn == NULL)
        return false;
    begin_lane(set, conn);
    return true;
}

/* One that takes more, though it may not be able to now. */
static bool has_lane(const struct lane_set *set)
{
    list_each (node, &set->lanes)
        if (!lane_of(node)->is_finishing)
            return true;
    return false;
}

/* Stands in the pool's line; statements have deadlines, the lane needs none. */
static void await_lane(struct lane_set *set, uint64_t now_ns)
{
    enum err err;

    set->waiter = (struct pool_waiter){
        .on_done = on_lane,
        .shared = true,
        .is_first = !has_lane(set),
        .class =
            set->queue.len > 0 ? lane_queue_next(set)->class : CLASS_NORMAL,
        .site = sites[set - set->owner->sets],
        .deadline_ns = now_ns + LONG_NS,
    };
    err = pool_wait(set->owner->pool, &set->waiter, now_ns);
    set->is_coming = err == ERR_OK;
    if (err == ERR_OK)
        return;
    set->retry_ns = now_ns + RETRY_NS;
    if (set->lanes.len == 0)
        lane_queue_refuse(set, err, &set->waiter);
}

/* Every lane without groups is busy. */
static bool is_busy(const struct lane_set *set, uint64_t now_ns)
{
    bool is_some = set->queue.len > 0;

    list_each (node, &set->lanes) {
        const struct lane *lane = lane_of(node);

        if (lane->is_finishing)
            continue;
        if (!lane->is_ready || !flow_of(lane, now_ns).is_busy)
            return false;
        is_some = true;
    }
    return is_some;
}

/* Statements are left over, or writes could spread. */
static bool is_short(const struct lane_set *set, uint64_t now_ns)
{
    uint32_t empty = 0;

    if (set->owner->ops->flow != NULL)
        return is_busy(set, now_ns);
    if (set->queue.len == 0)
        return false;
    list_each (node, &set->lanes) {
        struct lane *lane = lane_of(node);

        bool is_coming = !lane->is_ready && !lane->is_finishing;

        if (is_coming || (lane->groups == 0 && may_take(lane, now_ns)))
            empty++;
    }
    return set->queue.len > empty * (are_reads(set) ? GROUP_MIN : 1);
}

static bool may_grow(const struct lane_set *set, uint64_t now_ns)
{
    return is_short(set, now_ns) && !set->is_coming &&
           count_of(set, now_ns) < limit_of(set) &&
           (set->lanes.len == 0 || now_ns >= set->retry_ns);
}

/* ---- giving lanes back */

static void leave_line(struct lane_set *set, uint64_t now_ns)
{
    set->is_coming = false;
    pool_wait_cancel(set->owner->pool, &set->waiter, now_ns);
}

/* When the setting was lowered the youngest goes. */
static void shed_lane(struct lane_set *set, uint64_t now_ns)
{
    struct lane *youngest = NULL;

    if (set->lanes.len == 0 || count_of(set, now_ns) <= limit_of(set))
        return;
    list_each (node, &set->lanes)
        if (!lane_of(node)->is_finishing)
            youngest = lane_of(node);
    if (youngest != NULL)
        lane_finish(youngest);
}

/* A write lane is a connection like any other and goes back at once; a read
 * lane would have to be switched again. */
static uint64_t rest_until(const struct lane_set *set, const struct lane *lane)
{
    if (lane->is_finishing || set == &set->owner->sets[LANE_WRITE] ||
        pool_first_pressing(set->owner->pool) != NULL)
        return 0;
    return lane->rest_ns + LINGER_NS;
}

/* Ends one lane whose time has come; due says when the next one's will. */
static bool end_lane(struct lane_set *set, uint64_t now_ns, uint64_t *due_ns)
{
    list_each (node, &set->lanes) {
        struct lane *lane = lane_of(node);
        uint64_t until_ns = rest_until(set, lane);

        if (!is_empty(lane) || !lane->is_ready || lane->is_held ||
            (set->queue.len > 0 && !lane->is_finishing))
            continue;
        if (until_ns > now_ns) {
            *due_ns = earlier_ns(*due_ns, until_ns);
            continue;
        }
        set->owner->ops->end(lane);
        return true;
    }
    return false;
}

/* An empty lane goes to whoever presses for longer than the statement waits
 * that would be next; a read lane only when it rests, or when the pool asks. */
static bool yield_lane(struct lane_set *set)
{
    const struct pool_waiter *waiter = pool_first_pressing(set->owner->pool);
    const struct lane_item *item = lane_item_of(list_first(&set->queue));

    if (waiter == NULL || item == NULL || waiter->since_ns > item->since_ns)
        return false;
    list_each (node, &set->lanes) {
        struct lane *lane = lane_of(node);

        if (lane->groups > 0 || !lane->is_ready || lane->is_held)
            continue;
        set->owner->ops->end(lane);
        return true;
    }
    return false;
}

static void rest_lanes(struct lane_set *set)
{
    list_each (node, &set->lanes) {
        struct lane *lane = lane_of(node);

        if (is_empty(lane) && lane->is_ready && !lane->is_held &&
            !lane->conn->is_resting)
            pool_lane_rests(lane->conn, true);
    }
}

/* ---- running them */

/* When a lane that is not late now will be, if statements wait for that. */
static uint64_t late_ns(const struct lane_set *set)
{
    uint64_t at_ns = WHEEL_NEVER;

    if (set->queue.len == 0)
        return WHEEL_NEVER;
    list_each (node, &set->lanes) {
        const struct lane *lane = lane_of(node);

        if (lane->groups > 0)
            at_ns =
                earlier_ns(at_ns, lane->head_ns + target_ns(set->owner) + 1);
    }
    return at_ns;
}

static uint64_t pump(struct lane_set *set, uint64_t now_ns)
{
    uint64_t due_ns = WHEEL_NEVER;
    uint64_t until_ns;

    shed_lane(set, now_ns);
    lane_queue_shed(set, now_ns);
    while (set == &set->owner->sets[LANE_WRITE] && yield_lane(set))
        continue;
    while (may_grow(set, now_ns) && grab_lane(set, now_ns))
        continue;
    send_groups(set, now_ns);
    if (may_grow(set, now_ns)) {
        if (grab_lane(set, now_ns))
            send_groups(set, now_ns);
        else
            await_lane(set, now_ns);
    }
    if (set->is_coming && set->queue.len == 0 && !is_short(set, now_ns))
        leave_line(set, now_ns);
    if (set->is_coming)
        pool_wait_press(set->owner->pool, &set->waiter, !has_lane(set), now_ns);
    while (end_lane(set, now_ns, &due_ns))
        continue;
    rest_lanes(set);
    due_ns = earlier_ns(due_ns, lane_queue_shed_ns(set));
    until_ns = late_ns(set);
    if (until_ns > now_ns)
        due_ns = earlier_ns(due_ns, until_ns);
    else if (set->queue.len > 0 && !set->is_coming)
        due_ns = earlier_ns(due_ns, now_ns + RETRY_NS);
    return due_ns;
}

uint64_t lanes_pump(struct lanes *lanes, uint64_t now_ns)
{
    uint64_t due_ns = WHEEL_NEVER;

    if (pool_is_paused(lanes->pool) && !lanes->pool->is_closing)
        return now_ns + RESUME_NS;
    for (int kind = 0; kind < LANE_KINDS; kind++)
        due_ns = earlier_ns(due_ns, pump(&lanes->sets[kind], now_ns));
    return earlier_ns(due_ns, pool_watch_lanes(lanes->pool, now_ns));
}

void lanes_init(struct lanes *lanes, struct pool *pool,
                const struct lanes_ops *ops)
{
    *lanes = (struct lanes){ .pool = pool, .ops = ops };
    pool->lanes = lanes;
    for (int kind = 0; kind < LANE_KINDS; kind++) {
        lanes->sets[kind].owner = lanes;
        list_init(&lanes->sets[kind].queue);
        classes_init(&lanes->sets[kind].classes);
        list_init(&lanes->sets[kind].lanes);
    }
}
