/* lease.h - connections of either kind that a task has for itself. */
#ifndef TIDEPOOL_SCRIPT_LEASE_H
#define TIDEPOOL_SCRIPT_LEASE_H

#include "script/bind_pool.h"

/* A userdata; its hold ties it to the task that acquired it. */
struct lease {
    struct hold hold;
    struct vm *vm;
    struct script_pool *box; /* kept by the userdata's environment */
    struct pool *pool;
    struct conn *conn; /* NULL once given back, or taken by the pool */
    bool is_reclaimed; /* taken because it was held too long */
    char site[TASK_LABEL_MAX];
};

/* The lease at 1, which the running task holds; raises at the script's line
 * for another's, and for one that was given back. */
struct lease *lease_check(lua_State *L, enum pool_kind kind);

/* NULL when hold is of something else. */
struct lease *lease_of_hold(struct hold *hold);

/* Leaves nil, err: the pool closed its connection. */
int return_taken(lua_State *L, const struct lease *lease);

#endif
