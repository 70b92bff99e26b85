/* lane_queue.c - see lane_queue.h: queued, taken, refused. */
#include "pool/lane_queue.h"

#include "base/clock.h"
#include "pool/conn.h"
#include "pool/flight.h"
#include "pool/internal.h"
#include "pool/lane_queue_inside.h"
#include "pool/line_inside.h"
#include "pool/pool_inside.h"

/* item ends without having been on a lane, or off it again. */
static void end_queued(const struct lanes *lanes, const struct lane_item *item,
                       enum demand_end end, uint64_t now_ns)
{
    const struct flight_demand demand = {
        .end = end,
        .class = item->class,
        .is_shared = true,
        .wait_ns = elapsed_ns(item->since_ns, now_ns),
    };

    pool_count_end(lanes->pool, end);
    flight_demand(lanes->pool->flight, &demand, now_ns);
}

static void note_sent(const struct lane *lane, const struct lane_item *item,
                      enum demand_end end, uint64_t began_ns, uint64_t now_ns)
{
    const struct flight_demand demand = {
        .end = end,
        .class = item->class,
        .is_shared = true,
        .conn = lane->conn->id,
        .wait_ns = elapsed_ns(item->since_ns, began_ns),
        .service_ns = elapsed_ns(began_ns, now_ns),
    };

    flight_demand(lane->lanes->pool->flight, &demand, now_ns);
}

void lane_queue_leave(struct lane_set *set, struct lane_item *item)
{
    list_remove(&set->queue, &item->node);
    classes_leave(&set->classes, item->class, &item->class_node);
}

enum err lanes_add(struct lanes *lanes, struct lane_item *item, uint64_t now_ns)
{
    struct lane_set *set = &lanes->sets[item->kind];
    uint64_t most = lanes->pool->settings.max_waiters;

    item->since_ns = now_ns;
    item->sent_ns = 0;
    lanes->pool->stats.arrivals++;
    if (set->queue.len > 0 && set->queue.len >= most) {
        end_queued(lanes, item, DEMAND_BUSY, now_ns);
        return ERR_BUSY;
    }
    list_push_back(&set->queue, &item->node);
    classes_join(&set->classes, item->class, &item->class_node, false);
    lanes->ops->wake(lanes);
    return ERR_OK;
}

void lanes_return(struct lanes *lanes, struct lane_item *item)
{
    struct lane_set *set = &lanes->sets[item->kind];

    list_push_front(&set->queue, &item->node);
    classes_join(&set->classes, item->class, &item->class_node, true);
    lanes->ops->wake(lanes);
}

void lanes_expire(struct lanes *lanes, struct lane_item *item, uint64_t now_ns)
{
    lanes_remove(lanes, item);
    end_queued(lanes, item, DEMAND_TIMEOUT, now_ns);
    pool_tell_timeout(lanes->pool, NULL, item->since_ns);
}

void lanes_remove(struct lanes *lanes, struct lane_item *item)
{
    lane_queue_leave(&lanes->sets[item->kind], item);
    lanes->ops->wake(lanes); /* a lane may not be needed any more */
}

void lanes_cancel(struct lanes *lanes, struct lane_item *item, uint64_t now_ns)
{
    lanes_remove(lanes, item);
    end_queued(lanes, item, DEMAND_CANCELLED, now_ns);
}

static void refuse(struct lane_set *set, struct lane_item *item, enum err err,
                   enum demand_end end, const struct pool_waiter *waiter)
{
    end_queued(set->owner, item, end, set->owner->pool->now_ns);
    set->owner->ops->refuse(set->owner, item, err, waiter);
}

static void refuse_first(struct lane_set *set, enum err err,
                         const struct pool_waiter *waiter)
{
    struct lane_item *item = lane_item_of(list_first(&set->queue));

    lane_queue_leave(set, item);
    refuse(set, item, err, demand_end_of(err, false), waiter);
}

void lane_queue_refuse(struct lane_set *set, enum err err,
                       const struct pool_waiter *waiter)
{
    uint32_t count = set->queue.len; /* those that come meanwhile may stay */

    for (; count > 0 && set->queue.len > 0; count--) {
        refuse_first(set, err, waiter);
        if (set->queue.len > 0 && pool_is_over(set->owner->pool)) {
            set->owner->ops->wake(set->owner); /* asks for a lane once more */
            return;
        }
    }
}

/* The server works on what is on a lane one after another: what came before
 * item's answer was not for item. */
void lane_answered(struct lane *lane, const struct lane_item *item,
                   uint64_t now_ns)
{
    struct pool_stats *stats = &lane->lanes->pool->stats;
    uint64_t began_ns =
        item->sent_ns > lane->answer_ns ? item->sent_ns : lane->answer_ns;

    stats->completions++;
    hist_record(&stats->service, elapsed_ns(item->sent_ns, now_ns));
    note_sent(lane, item, DEMAND_SERVED, began_ns, now_ns);
    lane->answer_ns = now_ns;
}

void lane_forgot(const struct lane *lane, const struct lane_item *item,
                 enum demand_end end, uint64_t now_ns)
{
    note_sent(lane, item, end, item->sent_ns, now_ns);
}

void lanes_count_resend(struct lanes *lanes)
{
    lanes->pool->stats.resends++;
}

void lanes_reroute(struct lanes *lanes, struct lane_item *item)
{
    lanes->pool->stats.reroutes++;
    item->kind = LANE_WRITE;
    lanes_return(lanes, item);
}

uint32_t lanes_queued(const struct lanes *lanes, uint64_t *oldest_ns)
{
    uint32_t count = 0;

    for (int kind = 0; kind < LANE_KINDS; kind++) {
        const struct list *queue = &lanes->sets[kind].queue;

        count += queue->len;
        if (queue->len > 0)
            *oldest_ns = earlier_ns(*oldest_ns,
                                    lane_item_of(list_first(queue))->since_ns);
    }
    return count;
}

void lanes_refuse_all(struct lanes *lanes, enum err err)
{
    for (int kind = 0; kind < LANE_KINDS; kind++) {
        struct lane_set *set = &lanes->sets[kind];
        uint32_t count = set->queue.len;

        for (; count > 0 && set->queue.len > 0; count--)
            refuse_first(set, err, NULL);
    }
}

/* ---- its order */

static struct lane_item *of_class(struct list_node *node)
{
    return container_of(node, struct lane_item, class_node);
}

/* While the queue stands, the newest first, as in the line. */
struct lane_item *lane_queue_next(const struct lane_set *set)
{
    enum pool_class class = classes_next(&set->classes);
    const struct list *line = &set->classes.lines[class];

    return of_class(set->codel.is_standing ? list_last(line)
                                           : list_first(line));
}

uint64_t lane_queue_first_ns(const struct lane_set *set)
{
    return set->queue.len > 0 ? lane_item_of(list_first(&set->queue))->since_ns
                              : UINT64_MAX;
}

/* Of the class that is shed first, the oldest that has waited for too long. */
static struct lane_item *victim(const struct lane_set *set, uint64_t now_ns)
{
    const struct pool_settings *settings = &set->owner->pool->settings;

    for (unsigned rank = 0; rank < POOL_CLASSES; rank++) {
        struct list_node *node =
            list_first(&set->classes.lines[class_to_shed(settings, rank)]);
        struct lane_item *item = node != NULL ? of_class(node) : NULL;

        if (item != NULL && item->sent_ns == 0 &&
            elapsed_ns(item->since_ns, now_ns) > settings->codel_target_ns)
            return item;
    }
    return lane_item_of(list_first(&set->queue));
}

/* One that a lane has had goes on: its turn was due. */
static bool is_first_kept(const struct lane_set *set)
{
    return lane_item_of(list_first(&set->queue))->sent_ns != 0;
}

void lane_queue_shed(struct lane_set *set, uint64_t now_ns)
{
    struct pool *pool = set->owner->pool;

    codel_look(&set->codel, &pool->settings, lane_queue_first_ns(set), now_ns);
    while (set->queue.len > 0 &&
           codel_sheds(&set->codel, &pool->settings, lane_queue_first_ns(set),
                       now_ns) &&
           !is_first_kept(set)) {
        struct lane_item *item = victim(set, now_ns);

        lane_queue_leave(set, item);
        pool->shed_ns = pool->now_ns;
        refuse(set, item, ERR_BUSY, DEMAND_SHED, NULL);
    }
}

uint64_t lane_queue_shed_ns(const struct lane_set *set)
{
    const struct pool_settings *settings = &set->owner->pool->settings;

    if (set->queue.len == 0 || settings->codel_target_ns == 0)
        return WHEEL_NEVER;
    if (is_first_kept(set))
        return set->codel.end_ns;
    return codel_due_ns(&set->codel, settings, lane_queue_first_ns(set));
}
