/* lease.h - connections of either kind that a task has for itself. */
#ifndef TIDEPOOL_SCRIPT_LEASE_H
#define TIDEPOOL_SCRIPT_LEASE_H

#include "script/bind_pool.h"
#include "script/hold.h"

struct hook_run;

/* A userdata; its hold ties it to the task that acquired it. */
struct lease {
    struct hold hold;
    struct vm *vm;
    struct script_pool *box; /* kept by the userdata's environment */
    struct pool *pool;
    struct conn *conn;    /* NULL once given back, or taken by the pool */
    bool is_reclaimed;    /* taken because it was held too long */
    struct hook_run *run; /* that it is lent to: see bind_hooks.c; or NULL */
    char site[TASK_LABEL_MAX];
};

/* The lease at 1, which the running task holds; raises at the script's line
 * for another's, and for one that was given back. */
struct lease *lease_check(lua_State *L, enum pool_kind kind);

/* Makes one for conn, which has just been lent, of size bytes with what follows
 * it; leaves it on the stack.  lease_hold() is to follow. */
struct lease *lease_push(lua_State *L, struct script_pool *box,
                         struct conn *conn, size_t size);
/* task holds it; its end gives it back. */
void lease_hold(struct lease *lease, struct task *task);

/* NULL when hold is of something else. */
struct lease *lease_of_hold(struct hold *hold);

/* Leaves nil, err: the pool closed its connection. */
int return_taken(lua_State *L, const struct lease *lease);

#endif
