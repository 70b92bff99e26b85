/*
 * lane_queue_inside.h - whose turn it is of those queued, and who goes without,
 * for the files of this folder only; what drivers see of it is in lane_queue.h.
 *
 * Items are the driver's.
 */
#ifndef TIDEPOOL_POOL_LANE_QUEUE_INSIDE_H
#define TIDEPOOL_POOL_LANE_QUEUE_INSIDE_H

#include "pool/lane_queue.h"
#include "pool/lanes.h"

static inline struct lane_item *lane_item_of(struct list_node *node)
{
    return node != NULL ? container_of(node, struct lane_item, node) : NULL;
}

/* Takes item off the queue. */
void lane_queue_leave(struct lane_set *set, struct lane_item *item);
/* Ends what is queued now, all of it when there is time; waiter may be NULL. */
void lane_queue_refuse(struct lane_set *set, enum err err,
                       const struct pool_waiter *waiter);
/* Since when the first is queued; UINT64_MAX when none is. */
uint64_t lane_queue_first_ns(const struct lane_set *set);
/* The one whose turn it is, of a queue that is not empty. */
struct lane_item *lane_queue_next(const struct lane_set *set);
/* Refuses what has waited for too long, while the queue stands. */
void lane_queue_shed(struct lane_set *set, uint64_t now_ns);
/* When that is to be looked at again; WHEEL_NEVER. */
uint64_t lane_queue_shed_ns(const struct lane_set *set);

#endif
