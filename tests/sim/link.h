/* link.h - a connection of the simulation, and the truth about it. */
#ifndef TIDEPOOL_SIM_LINK_H
#define TIDEPOOL_SIM_LINK_H

#include "pool/budget_ghost.h"
#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/lane.h"
#include "schedule.h"

enum { STEPS_MAX = 64 };

struct demand;
struct worker;

/* A statement on a lane; demand is NULL when nobody waits for it any more. */
struct step {
    struct demand *demand;
    unsigned sent; /* the demand's number of sends when this was one */
    uint64_t ns;
    enum answer answer;
    bool ends_group;
};

/* A connection, and the truth about it.  Freed when it is closed and its last
 * event has come. */
struct link {
    struct conn conn;
    struct lane lane;
    struct list_node node; /* on worker->links, until it is closed */
    struct worker *worker;
    unsigned number;
    unsigned events; /* on the queue */
    bool is_closed;

    enum op op; /* that is under way, or OP_NONE */
    enum fate fate;
    enum conn_hook hook; /* that runs, or HOOK_NONE */
    enum conn_hook last_hook;
    unsigned hook_version; /* of worker->hook_version, when it began */

    bool is_connected;
    bool is_dirty;   /* a transaction is open, or the session changed */
    bool is_running; /* the server works, or replies are due */
    bool is_spent;
    bool is_broken;      /* and the driver has seen it */
    bool is_mute;        /* nothing comes any more, and nobody knows */
    bool left_open;      /* by a hook */
    unsigned prepared;   /* by the after_connect of this version; 0: none */
    unsigned to_release; /* after_release of this version must run; 0: none */
    uint64_t approved_ns;
    uint64_t alive_ns; /* when it last showed life */
    uint64_t epoch;    /* of the worker, when it was opened */
    int backend;       /* the server's process */
    struct demand *owner;
    int32_t asked[BUDGET_ASK_MAX]; /* ghosts, by the test under way */
    size_t n_asked;

    struct step steps[STEPS_MAX]; /* on the lane, the server's order */
    unsigned head, tail;
    bool is_serving;
    struct list again; /* demands of the group that are sent once more */
};

/* ---- driver.c */

extern const struct conn_ops sim_driver_ops;

struct link *link_of(struct conn *conn);
void link_after(struct link *link, uint64_t ns,
                void (*fn)(void *ud, uint64_t now_ns));
bool link_end_event(struct link *link);
/* It breaks, and its driver sees it. */
void link_lose(struct link *link);
void link_mute(struct link *link);
/* The process is gone. */
void link_orphan(struct link *link);

/* ---- statement.c: its lane */

void lane_lost(struct link *link, enum close_reason reason);
/* The pool closes it under its lane. */
void lane_cut(struct link *link);
void lane_watch_stall(struct link *link);

#endif
