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
 * call anything here but lanes_pump().
 */
#ifndef TIDEPOOL_POOL_LANES_H
#define TIDEPOOL_POOL_LANES_H

#include "pool/codel.h"
#include "pool/flight.h"
#include "pool/line.h"

enum lane_kind { LANE_READ, LANE_WRITE, LANE_KINDS };

enum { LANE_GROUPS_MAX = 2 }; /* in flight */

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

struct lanes;

/* Embedded in the driver's link. */
struct lane {
    struct lanes *lanes; /* NULL: is none */
    struct conn *conn;
    enum lane_kind kind;
    struct list_node node;
    bool is_ready;      /* may take groups */
    bool is_held;       /* the driver's: takes none for the moment */
    bool is_finishing;  /* takes no more */
    unsigned groups;    /* in flight */
    uint64_t head_ns;   /* since when the first of them runs */
    uint64_t rest_ns;   /* since when there are none */
    uint64_t answer_ns; /* when it last brought an answer */
};

/* What is on a lane that has no groups. */
struct lane_flow {
    uint32_t due;  /* answers; the lane with the least is taken */
    uint32_t room; /* items that it takes now */
    bool is_busy;  /* one more lane would help */
};

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
/* How many groups, or items where there are no groups, are in flight on all
 * lanes. */
uint32_t lanes_due(const struct lanes *lanes);
/* Ends all that is queued. */
void lanes_refuse_all(struct lanes *lanes, enum err err);

/*
 * Does all that can be done: groups onto lanes, lanes for what is left, lanes
 * back.  Returns when to call it again without being woken, or WHEEL_NEVER.
 */
uint64_t lanes_pump(struct lanes *lanes, uint64_t now_ns);

void lane_begin(struct lane *lane, struct lanes *lanes, struct conn *conn,
                enum lane_kind kind, uint64_t now_ns);
void lane_ready(struct lane *lane);
/* The first group in flight has ended. */
void lane_group_done(struct lane *lane, uint64_t now_ns);
/* Nothing is due on a lane that has no groups. */
void lane_rests(struct lane *lane, uint64_t now_ns);
/* Takes no more, and ends when nothing is in flight: the pool's unshare. */
void lane_finish(struct lane *lane);
/* It is none any more; calls nobody. */
void lane_leave(struct lane *lane);

/* The head has run for longer than group_target. */
bool lane_is_late(const struct lane *lane, uint64_t now_ns);

/* What is known of a cost after one more measurement, the mean of count: it
 * falls quickly and rises slowly, for a rise may have been the fault of
 * whatever else the machine did. */
uint64_t lane_cost(uint64_t known_ns, uint64_t measured_ns, uint32_t count);

#endif
