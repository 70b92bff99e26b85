/* lease.c - see lease.h: acquiring and giving back. */
#include "script/lease.h"

#include "pool/lease.h"
#include "pool/line.h"
#include "script/bind_hooks.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/hold.h"
#include "script/nested.h"
#include "script/park.h"
#include "script/userdata.h"

#include <string.h>

static const char *const TYPES[] = { "tidepool.lease.postgres",
                                     "tidepool.lease.redis" };

static void give_back(struct lease *lease)
{
    struct conn *conn = lease->conn;

    if (lease->run != NULL)
        hook_run_drop(lease->run);
    else if (conn != NULL)
        pool_release(lease->pool, conn, loop_now_ns(lease->vm->loop));
}

/* Its task ended without giving it back. */
static void drop_lease(struct hold *hold)
{
    struct lease *lease = container_of(hold, struct lease, hold);

    if (lease->conn != NULL && lease->run == NULL)
        log_event(&lease->vm->log, LOG_WARN,
                  "a task ended with a lease, which is given back",
                  LOG_STR("pool", lease->box->name),
                  LOG_STR("acquired_at", lease->site));
    give_back(lease);
}

struct lease *lease_of_hold(struct hold *hold)
{
    return hold->drop == drop_lease ? container_of(hold, struct lease, hold)
                                    : NULL;
}

struct lease *lease_push(lua_State *L, struct script_pool *box,
                         struct conn *conn, size_t size)
{
    struct lease *lease = lua_newuserdata(L, size);

    memset(lease, 0, size);
    lease->vm = box->vm;
    lease->box = box;
    lease->pool = box->pool;
    lease->conn = conn;
    conn_set_holder(conn, &lease->conn, lease->site);
    conn_set_reclaimable(conn, &lease->is_reclaimed);
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->self_ref);
    lua_getfenv(L, -1);
    lua_setfenv(L, -3);
    lua_pop(L, 1);
    vm_set_type(L, TYPES[box->kind]);
    return lease;
}

void lease_hold(struct lease *lease, struct task *task)
{
    memcpy(lease->site, task->site, sizeof(lease->site));
    hold_add(task, &lease->hold, drop_lease);
}

static void push_lease(lua_State *L, struct task *task, struct script_pool *box,
                       struct conn *conn)
{
    lease_hold(lease_push(L, box, conn, sizeof(struct lease)), task);
}

/* try_acquire(pool, level): a lease, or nil when none is free at once. */
static int l_try_acquire(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    struct task *task = task_check(L);
    struct conn *conn;

    nested_check_hook(L, task, box);
    task_site(L, task, luaL_optint(L, 2, 2), task->site);
    conn = pool_try_acquire(box->pool, false, task->site,
                            loop_now_ns(task->vm->loop));
    if (conn == NULL)
        return 0;
    conn_set_class(conn, task->class);
    push_lease(L, task, box, conn);
    return 1;
}

static void on_acquired(struct pool_waiter *waiter, enum err err,
                        struct conn *conn)
{
    struct task *task = container_of(waiter, struct task, waiter);
    struct script_pool *box = task->operand;
    lua_State *L = task_results(task);

    if (err == ERR_OK)
        push_lease(L, task, box, conn);
    else if (box->pool != NULL)
        return_refusal(L, box, waiter, err);
    else
        return_failure(L, box, err, NULL);
    task_wake(task);
}

static void cancel_acquire(struct task *task)
{
    failure_count(task->operand, ERR_CANCELLED);
    pool_wait_cancel(task->waiter.pool, &task->waiter,
                     loop_now_ns(task->vm->loop));
}

/* acquire(pool, level, timeout_ms): level tells whose line is the site. */
static int l_acquire(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    struct task *task = task_check(L);
    uint64_t now_ns = loop_now_ns(task->vm->loop);
    uint64_t timeout_ns = check_timeout_ms(L, 3);
    int level = luaL_optint(L, 2, 2);
    int n_refused;
    struct conn *conn;
    enum err err;

    nested_check_hook(L, task, box);
    task_site(L, task, level, task->site);
    conn = pool_try_acquire(box->pool, false, task->site, now_ns);
    if (conn != NULL) {
        conn_set_class(conn, task->class);
        push_lease(L, task, box, conn);
        return 1;
    }
    n_refused = nested_refuse(L, task, box, level);
    if (n_refused > 0)
        return n_refused;
    memset(&task->waiter, 0, sizeof(task->waiter));
    task->waiter.on_done = on_acquired;
    task->waiter.class = task->class;
    task->waiter.site = task->site;
    task->waiter.deadline_ns = timeout_ns > 0 ? now_ns + timeout_ns : 0;
    err = pool_wait(box->pool, &task->waiter, now_ns);
    if (err != ERR_OK)
        return return_refusal(L, box, NULL, err);
    task->operand = box;
    task->awaits = box->pool;
    task->was_sent = NULL;
    return task_park(L, task, cancel_acquire);
}

/* Raises unless the running task holds the lease. */
static void check_holder(lua_State *L, const struct lease *lease)
{
    const struct task *owner = lease->hold.task;
    const struct task *task = lease->vm->current;

    if (owner == NULL)
        raise_at_script(L, "this connection, acquired at %s, was given back",
                        lease->site);
    if (owner != task)
        raise_at_script(L,
                        "connection of task %d (%s), acquired at %s, used by "
                        "task %d (%s)",
                        (int)owner->id, owner->label, lease->site,
                        task ? (int)task->id : 0, task ? task->label : "none");
}

struct lease *lease_check(lua_State *L, enum pool_kind kind)
{
    struct lease *lease = vm_check_type(L, 1, TYPES[kind]);

    check_holder(L, lease);
    return lease;
}

int return_taken(lua_State *L, const struct lease *lease)
{
    struct err_text text = { .text = "" };

    if (lease->is_reclaimed)
        err_text_set(&text,
                     "this connection, acquired at %s, was taken back: it was "
                     "held longer than leak_reclaim",
                     lease->site);
    else
        err_text_set(&text, "the pool closed this connection, acquired at %s",
                     lease->site);
    return return_failure(L, lease->box, ERR_CLOSED, &text);
}

/* False when it was given back before. */
static int release(lua_State *L, enum pool_kind kind)
{
    struct lease *lease = vm_check_type(L, 1, TYPES[kind]);
    bool is_held = lease->hold.task != NULL;

    if (is_held)
        check_holder(L, lease);
    if (is_held && lease->run != NULL)
        raise_at_script(L, "the end of a hook gives its connection back");
    hold_remove(&lease->hold);
    give_back(lease);
    lua_pushboolean(L, is_held);
    return 1;
}

static int l_release_postgres(lua_State *L)
{
    return release(L, POOL_POSTGRES);
}

static int l_release_redis(lua_State *L)
{
    return release(L, POOL_REDIS);
}

static int l_lease_gc(lua_State *L)
{
    struct lease *lease = lua_touserdata(L, 1);

    if (lease->hold.task == NULL)
        return 0;
    hold_remove(&lease->hold);
    drop_lease(&lease->hold);
    return 0;
}

static const luaL_Reg pool_methods[] = {
    { "raw_acquire", l_acquire },
    { "raw_try_acquire", l_try_acquire },
    { NULL, NULL },
};

static const luaL_Reg postgres_methods[] = {
    { "release", l_release_postgres },
    { "__gc", l_lease_gc },
    { NULL, NULL },
};

static const luaL_Reg redis_methods[] = {
    { "release", l_release_redis },
    { "__gc", l_lease_gc },
    { NULL, NULL },
};

/* core.postgres_lease and core.redis_lease are the method tables. */
void bind_lease(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "postgres", pool_methods);
    vm_extend(L, vm, "redis", pool_methods);
    vm_metatable(L, vm, TYPES[POOL_POSTGRES], postgres_methods);
    lua_setfield(L, -2, "postgres_lease");
    vm_metatable(L, vm, TYPES[POOL_REDIS], redis_methods);
    lua_setfield(L, -2, "redis_lease");
}
