/* lane_queue.c - see lanes.h: statements that wait for a lane, and those that
 * wait for too long. */
#include "pool/internal.h"
#include "pool/lanes.h"

static struct lane_item *item_of(struct list_node *node)
{
    return node != NULL ? container_of(node, struct lane_item, node) : NULL;
}

uint64_t lane_queue_since_ns(const struct lane_set *set)
{
    return set->queue.len > 0 ? item_of(list_first(&set->queue))->since_ns
                              : UINT64_MAX;
}

/* ---- joining and leaving */

enum err lanes_add(struct lanes *lanes, struct lane_item *item, uint64_t now_ns)
{
    struct lane_set *set = &lanes->sets[item->kind];
    uint64_t most = lanes->pool->settings.max_waiters;

    item->since_ns = now_ns;
    item->sent_ns = 0;
    lanes->pool->stats.arrivals++;
    if (set->queue.len > 0 && set->queue.len >= most) {
        lanes->pool->stats.busy++;
        return ERR_BUSY;
    }
    list_push_back(&set->queue, &item->node);
    lanes->ops->wake(lanes);
    return ERR_OK;
}

void lanes_return(struct lanes *lanes, struct lane_item *item)
{
    list_push_front(&lanes->sets[item->kind].queue, &item->node);
    lanes->ops->wake(lanes);
}

void lanes_expire(struct lanes *lanes, struct lane_item *item)
{
    lanes_remove(lanes, item);
    lanes->pool->stats.timeouts++;
    pool_tell_timeout(lanes->pool, NULL, item->since_ns);
}

void lanes_remove(struct lanes *lanes, struct lane_item *item)
{
    list_remove(&lanes->sets[item->kind].queue, &item->node);
    lanes->ops->wake(lanes); /* a lane may not be needed any more */
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
        const struct lane_set *set = &lanes->sets[kind];

        count += set->queue.len;
        if (lane_queue_since_ns(set) < *oldest_ns)
            *oldest_ns = lane_queue_since_ns(set);
    }
    return count;
}

void lane_queue_refuse(struct lane_set *set, enum err err,
                       const struct pool_waiter *waiter)
{
    struct lane_item *item;
    uint32_t count = set->queue.len; /* those that come meanwhile may stay */

    for (; count > 0 && set->queue.len > 0; count--) {
        item = item_of(list_pop_front(&set->queue));
        set->owner->ops->refuse(set->owner, item, err, waiter);
    }
}

void lanes_refuse_all(struct lanes *lanes, enum err err)
{
    for (int kind = 0; kind < LANE_KINDS; kind++)
        lane_queue_refuse(&lanes->sets[kind], err, NULL);
}

/* ---- taking */

struct lane_item *lane_queue_next(const struct lane_set *set)
{
    return item_of(set->codel.is_standing ? list_last(&set->queue)
                                          : list_first(&set->queue));
}

void lane_queue_take(struct lane_set *set, struct lane_item *item,
                     uint64_t now_ns)
{
    struct pool *pool = set->owner->pool;
    uint64_t first_ns = lane_queue_since_ns(set);

    codel_note(&set->codel, &pool->settings,
               now_ns > first_ns ? now_ns - first_ns : 0, now_ns);
    item->sent_ns = now_ns;
    hist_record(&pool->stats.queue,
                now_ns > item->since_ns ? now_ns - item->since_ns : 0);
    list_remove(&set->queue, &item->node);
}

/* ---- shedding */

void lane_queue_shed(struct lane_set *set, uint64_t now_ns)
{
    struct pool *pool = set->owner->pool;

    codel_look(&set->codel, &pool->settings, lane_queue_since_ns(set), now_ns);
    while (set->queue.len > 0 &&
           codel_sheds(&set->codel, &pool->settings, lane_queue_since_ns(set),
                       now_ns) &&
           item_of(list_first(&set->queue))->sent_ns == 0) {
        struct lane_item *item = item_of(list_pop_front(&set->queue));

        pool->stats.shed++;
        pool->shed_ns = pool->now_ns;
        set->owner->ops->refuse(set->owner, item, ERR_BUSY, NULL);
    }
}

uint64_t lane_queue_shed_ns(const struct lane_set *set)
{
    if (set->queue.len == 0)
        return WHEEL_NEVER;
    return codel_due_ns(&set->codel, &set->owner->pool->settings,
                        lane_queue_since_ns(set));
}
