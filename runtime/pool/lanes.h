/*
 * lanes.h - statements that share connections: which lane takes how many of
 * those queued, and when.  Sans I/O, like the rest of pool/.
 *
 * A lane is a connection lent SHARED.  At most two groups are in flight on one:
 * the server works on the first while the second is on its way.  The size of a
 * group follows what its statements are known to cost.  A lane whose first
 * group runs for longer than group_target is late: it takes no more, and does
 * not count as one of the setting lanes.  Lanes are asked for when statements
 * are left over, by a waiter in the pool's own line, so leases and statements
 * wait by age; they go back when nothing is queued.
 *
 * Where a backend answers one thing after another, as Redis does, there are no
 * groups, nor late lanes: its flow() says what a lane takes.
 *
 * The driver owns items and lanes, one thread runs all.  Driver operations may
 * call anything of lanes but lanes_pump().
 */
#ifndef TIDEPOOL_POOL_LANES_H
#define TIDEPOOL_POOL_LANES_H

#include "pool/class.h"
#include "pool/codel.h"
#include "pool/lane.h"
#include "pool/line.h"

struct lane_item;

struct lanes_ops {
    /* conn was lent: calls lane_begin(), and lane_ready() when it is. */
    void (*begin)(struct lanes *lanes, struct conn *conn, enum lane_kind kind);
    /* Sends what is on group, all of it, as one group that ends with
     * lane_group_done().  With flow(): sends one at least, returns the rest,
     * and calls lane_rests() when nothing is due. */
    void (*send)(struct lane *lane, struct list *group);
    /* Nothing is in flight and nothing will be: calls lane_leave() and gives
     * the connection back. */
    void (*end)(struct lane *lane);
    /* No lane comes for item, which is off the queue. */
    void (*refuse)(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter);
    struct lane_flow (*flow)(const struct lane *lane); /* or NULL: groups */
    /* lanes_pump() has work: calls it soon, never from inside. */
    void (*wake)(struct lanes *lanes);
};

/* The lanes of one kind. */
struct lane_set {
    struct lanes *owner;
    struct list queue;      /* of items, oldest first */
    struct classes classes; /* the same, by class */
    struct list lanes;      /* oldest first */
    struct pool_waiter waiter;
    struct codel codel; /* of the queue */
    bool is_coming;
    uint64_t retry_ns; /* when one more may be asked for */
};

/* Embedded in the driver's pool. */
struct lanes {
    struct pool *pool;
    const struct lanes_ops *ops;
    struct lane_set sets[LANE_KINDS];
};

void lanes_init(struct lanes *lanes, struct pool *pool,
                const struct lanes_ops *ops);

/* How many groups, or items where there are no groups, are in flight on all
 * lanes. */
uint32_t lanes_due(const struct lanes *lanes);

/*
 * Does all that can be done: groups onto lanes, lanes for what is left, lanes
 * back.  Returns when to call it again without being woken, or WHEEL_NEVER.
 */
uint64_t lanes_pump(struct lanes *lanes, uint64_t now_ns);

#endif
