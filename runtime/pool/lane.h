/*
 * lane.h - one lane: a connection lent SHARED, and what is in flight on it.
 *
 * The driver owns it, embedded in its link, and the items on it.  now_ns as in
 * pool.h.
 */
#ifndef TIDEPOOL_POOL_LANE_H
#define TIDEPOOL_POOL_LANE_H

#include "base/list.h"

struct conn;
struct lanes;

enum lane_kind { LANE_READ, LANE_WRITE, LANE_KINDS };

enum { LANE_GROUPS_MAX = 2 }; /* in flight */

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
