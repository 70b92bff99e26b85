/*
 * lane.h - shared statements on a link in pipeline mode.  Private to pg/.
 *
 * A read lane runs with default_transaction_read_only, and its groups end in
 * one Sync: reads have no effects, so those that another's error took with it
 * are sent again.  On a write lane each statement has a Sync of its own and is
 * never sent again once it may have run.
 */
#ifndef TIDEPOOL_PG_LANE_H
#define TIDEPOOL_PG_LANE_H

#include "pg/link.h"
#include "pg/request.h"
#include "pool/flight.h"
#include "pool/lane.h"
#include "pool/lanes.h"

enum step_kind {
    STEP_SWITCH, /* to reading only */
    STEP_NAMES,  /* names_sql */
    STEP_PREPARE,
    STEP_RUN,
    STEP_CLOSE,
    STEP_SYNC
};

/* One answer that is due. */
struct step {
    enum step_kind kind;
    bool ends_setup;            /* SYNC: the lane is ready */
    bool ends_group;            /* SYNC: the last of a group */
    bool is_dead;               /* RUN: nobody wants the answer */
    bool has_failed;            /* RUN: its time means nothing */
    struct pg_request *request; /* RUN */
    struct stmt *stmt;          /* PREPARE, RUN: borrowed; CLOSE: owned */
    struct known *known;        /* RUN: used */
    PGresult *answer;           /* of a write whose commit is still due */
};

static inline struct pg_link *link_of_lane(struct lane *lane)
{
    return container_of(lane, struct pg_link, lane);
}

static inline struct step *lane_step(const struct pg_link *link, uint64_t at)
{
    return &link->steps[at & link->steps_mask];
}

static inline struct pg_request *request_of_item(struct list_node *node)
{
    return container_of(node, struct pg_request, item.node);
}

/* ---- lane.c */

extern const struct lanes_ops lane_ops;

/* Whether the request may go onto a lane now. */
bool lane_suits(struct pg_pool *pg, struct pg_request *request);
/* Queues it; on_done is not called for what this returns. */
enum err lane_submit(struct pg_pool *pg, struct pg_request *request) MUST_CHECK;
/* Runs the reads that are queued on connections of their own. */
void lane_send_reads_alone(struct pg_pool *pg);
/* Forgets the request, wherever it is. */
void lane_cancel_request(struct pg_request *request, enum demand_end why);
/* Ends a request that is on no queue and no lane. */
void lane_end(struct pg_request *request, enum err err, PGresult *result,
              const struct err_text *text);
/* A cancel has come back, or nothing is due any more. */
void lane_settle(struct pg_link *link);
/* It is of no use any more: lane_lose() follows, not from inside. */
void lane_give_up(struct pg_link *link);
/* The connection is dead: moves what may run again, ends the rest.  The link
 * may be gone. */
void lane_lose(struct pg_link *link);
/* The pool closes the link under its lane. */
void lane_abandon(struct pg_link *link);
/* conn_ops */
void lane_unshare(struct conn *conn);
/* Of the pool: runs lanes_pump() at the end of this turn. */
void lane_wake(struct pg_pool *pg);
void lane_pool_init(struct pg_pool *pg);
void lane_pool_close(struct pg_pool *pg);

/* ---- lane_late.c */

/* Looks again at what must be stopped, when statements nobody waits for run. */
void lane_watch_dead(struct pg_link *link);
/* The setup was sent: whoever waits for the lane does so for connect_timeout,
 * then it is lost. */
void lane_watch_setup(struct pg_link *link);

/* ---- lane_lose.c */

void lane_init_lost(struct pg_pool *pg);
/* Tells those of lost lanes that were not told yet. */
void lane_end_all_lost(struct pg_pool *pg);
/* Statements that are off the cache and not at the server. */
void lane_drop_absent(struct pg_link *link);

/* ---- lane_send.c */

/* Sends what makes a connection a lane. */
bool lane_send_setup(struct pg_link *link, enum lane_kind kind);
void lane_send_group(struct lane *lane, struct list *group);

/* ---- lane_read.c */

/* Takes the answers that have come; false when the connection is dead.  Those
 * that there is no time for it may leave to a job. */
bool lane_take_answers(struct pg_link *link, bool may_leave);

#endif
