/* demand.h - what somebody asked for: a lease or a statement. */
#ifndef TIDEPOOL_SIM_DEMAND_H
#define TIDEPOOL_SIM_DEMAND_H

#include "link.h"
#include "pool/lane_queue.h"
#include "pool/line.h"

struct world;

enum demand_state {
    DEMAND_NEW,
    DEMAND_WAITING, /* in line */
    DEMAND_HOLDING, /* a lease */
    DEMAND_QUEUED,  /* for a lane */
    DEMAND_SENT,
    DEMAND_AGAIN, /* to be queued when its group has ended */
    DEMAND_OVER
};

/* A lease or a statement that somebody asked for. */
struct demand {
    struct world *world;
    struct worker *worker;
    const struct action *action;
    enum demand_state state;
    bool is_statement;
    bool is_probe; /* of the end of the run: must be served */
    bool was_moved;
    uint64_t joined; /* its number in the order of asking */
    uint64_t since_ns, deadline_ns;
    uint64_t held_ns; /* since when */
    uint64_t generation;
    enum err err; /* how it was over */
    struct pool_waiter waiter;
    struct conn *conn; /* of a lease; the pool clears it */
    bool is_reclaimed;
    struct lane_item item;
    struct link *link; /* of a statement that was sent */
    unsigned sends;
    struct list_node node;   /* on link->again */
    struct list_node active; /* on world->active, until it is over */
    unsigned agains; /* it is the so-manieth that one of another asked for */
};

static inline struct demand *demand_of(struct list_node *node)
{
    return container_of(node, struct demand, active);
}

/* ---- lease.c */

struct demand *demand_new(struct worker *worker, const struct action *action);
void demand_over(struct demand *demand, enum err err);
void lease_begin(struct worker *worker, const struct action *action);
struct demand *lease_probe(struct worker *worker, uint64_t limit_ns);
void lease_end(struct demand *demand, enum end end);
void lease_cancel(struct demand *demand, bool goes_on);
/* Those that the pool has ended. */
void leases_look(struct world *world);

/* ---- statement.c */

void statement_begin(struct worker *worker, const struct action *action);
struct demand *statement_probe(struct worker *worker, bool is_write,
                               uint64_t limit_ns);
void statement_cancel(struct demand *demand);

#endif
