/*
 * lane_queue.h - the statements that wait for a lane, from queued to answered.
 *
 * The driver owns items, and keeps each in place until it is off the queue.
 */
#ifndef TIDEPOOL_POOL_LANE_QUEUE_H
#define TIDEPOOL_POOL_LANE_QUEUE_H

#include "base/err.h"
#include "pool/class.h"
#include "pool/flight.h"
#include "pool/lane.h"

/* One statement, embedded in the driver's request. */
struct lane_item {
    struct list_node node; /* on the queue; the driver's once it was taken */
    struct list_node class_node; /* among those of its class */
    enum lane_kind kind;
    enum pool_class class;
    uint64_t cost_ns;  /* what the server is known to need for it */
    uint64_t since_ns; /* when it was queued; the pool's, as what follows */
    uint64_t sent_ns;  /* when it was given to a lane last */
};

/* Queues item, whose kind, class and cost_ns are set.  ERR_BUSY: max_waiters
 * are queued. */
enum err lanes_add(struct lanes *lanes, struct lane_item *item,
                   uint64_t now_ns) MUST_CHECK;
/* Queues one that was taken once more, before all others. */
void lanes_return(struct lanes *lanes, struct lane_item *item);
/* Queues one that a read lane refused for a write lane. */
void lanes_reroute(struct lanes *lanes, struct lane_item *item);
/* Takes item off the queue: it goes elsewhere. */
void lanes_remove(struct lanes *lanes, struct lane_item *item);
/* The same, for its deadline has passed, or its caller waits no more. */
void lanes_expire(struct lanes *lanes, struct lane_item *item, uint64_t now_ns);
void lanes_cancel(struct lanes *lanes, struct lane_item *item, uint64_t now_ns);
void lanes_count_resend(struct lanes *lanes);
/* The server has answered item, with whatever. */
void lane_answered(struct lane *lane, const struct lane_item *item,
                   uint64_t now_ns);
/* Its caller waits no more for an answer to item: DEMAND_TIMEOUT or
 * DEMAND_CANCELLED. */
void lane_forgot(const struct lane *lane, const struct lane_item *item,
                 enum demand_end end, uint64_t now_ns);
/* How many are queued; *oldest_ns becomes since when the first is, if that is
 * earlier. */
uint32_t lanes_queued(const struct lanes *lanes, uint64_t *oldest_ns);
/* Ends all that is queued. */
void lanes_refuse_all(struct lanes *lanes, enum err err);

#endif
