/* bind_pg.c - Postgres pools and leases as Lua values. */
#include "script/statement.h"

#include <string.h>

#define LEASE_TYPE "tidepool.lease"

/* A userdata; its hold ties it to the task that acquired it. */
struct lease {
    struct hold hold;
    struct vm *vm;
    struct script_pool *box;
    struct pool *pool;
    struct conn *conn; /* NULL once given back, or taken by the pool */
    char site[TASK_LABEL_MAX];
};

/* ---- statements on the pool */

static int send_on_pool(lua_State *L, enum statement_shape shape)
{
    struct script_pool *box = check_pool(L, 1, POOL_POSTGRES);
    struct task *task = task_check(L);

    statement_fill(L, task, 2, shape);
    return statement_park(L, task, box, pg_pool_send(box->pg, &task->pg));
}

static int l_query(lua_State *L)
{
    return send_on_pool(L, SHAPE_ROWS);
}

static int l_one(lua_State *L)
{
    return send_on_pool(L, SHAPE_ONE);
}

static int l_exec(lua_State *L)
{
    return send_on_pool(L, SHAPE_EXEC);
}

/* ---- leases */

static void give_back(struct lease *lease)
{
    struct conn *conn = lease->conn;

    if (conn == NULL)
        return;
    pool_release(lease->pool, conn, loop_now_ns(lease->vm->loop));
}

/* Its task ended without giving it back. */
static void drop_lease(struct hold *hold)
{
    struct lease *lease = container_of(hold, struct lease, hold);

    if (lease->conn != NULL)
        log_event(&lease->vm->log, LOG_WARN,
                  "a task ended with a lease, which is given back",
                  LOG_STR("pool", lease->box->name),
                  LOG_STR("acquired_at", lease->site));
    give_back(lease);
}

static void push_lease(lua_State *L, struct task *task, struct script_pool *box,
                       struct conn *conn)
{
    struct lease *lease = lua_newuserdata(L, sizeof(*lease));

    memset(lease, 0, sizeof(*lease));
    lease->vm = task->vm;
    lease->box = box;
    lease->pool = box->pool;
    lease->conn = conn;
    memcpy(lease->site, task->site, sizeof(lease->site));
    conn_set_holder(conn, &lease->conn, lease->site);
    hold_add(task, &lease->hold, drop_lease);
    luaL_getmetatable(L, LEASE_TYPE);
    lua_setmetatable(L, -2);
}

/* try_acquire(pool, level): a lease, or nil when none is free at once. */
static int l_try_acquire(lua_State *L)
{
    struct script_pool *box = check_pool(L, 1, POOL_POSTGRES);
    struct task *task = task_check(L);
    struct conn *conn;

    vm_site(L, luaL_optint(L, 2, 2), task->site, sizeof(task->site));
    conn = pool_try_acquire(box->pool, false, task->site,
                            loop_now_ns(task->vm->loop));
    if (conn == NULL)
        return 0;
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
        return_err(L, err, NULL);
    task_wake(task);
}

static void cancel_acquire(struct task *task)
{
    pool_wait_cancel(task->waiter.pool, &task->waiter,
                     loop_now_ns(task->vm->loop));
}

/* acquire(pool, level, timeout_ms): level tells whose line is the site. */
static int l_acquire(lua_State *L)
{
    struct script_pool *box = check_pool(L, 1, POOL_POSTGRES);
    struct task *task = task_check(L);
    uint64_t now_ns = loop_now_ns(task->vm->loop);
    uint64_t timeout_ns = check_timeout_ms(L, 3);
    struct conn *conn;
    enum err err;

    vm_site(L, luaL_optint(L, 2, 2), task->site, sizeof(task->site));
    conn = pool_try_acquire(box->pool, false, task->site, now_ns);
    if (conn != NULL) {
        push_lease(L, task, box, conn);
        return 1;
    }
    memset(&task->waiter, 0, sizeof(task->waiter));
    task->waiter.on_done = on_acquired;
    task->waiter.site = task->site;
    task->waiter.deadline_ns = timeout_ns > 0 ? now_ns + timeout_ns : 0;
    err = pool_wait(box->pool, &task->waiter, now_ns);
    if (err != ERR_OK)
        return return_refusal(L, box, NULL, err);
    task->operand = box;
    return task_park(L, task, cancel_acquire);
}

/* The lease at 1, which the running task holds; raises otherwise. */
static struct lease *check_lease(lua_State *L)
{
    struct lease *lease = luaL_checkudata(L, 1, LEASE_TYPE);
    struct task *owner = lease->hold.task;
    struct task *task = lease->vm->current;

    if (owner == NULL)
        raise_at_script(L, "this connection, acquired at %s, was given back",
                        lease->site);
    else if (owner != task)
        raise_at_script(L,
                        "connection of task %d (%s), acquired at %s, used by "
                        "task %d (%s)",
                        (int)owner->id, owner->label, lease->site,
                        task ? (int)task->id : 0, task ? task->label : "none");
    return lease;
}

static int send_on_lease(lua_State *L, enum statement_shape shape)
{
    struct lease *lease = check_lease(L);
    struct task *task = task_check(L);
    enum err err;

    if (lease->conn == NULL)
        return return_text(L, ERR_CLOSED,
                           "the pool closed this connection, acquired at %s",
                           lease->site);
    statement_fill(L, task, 2, shape);
    task->operand = lease->box;
    err = pg_link_send(pg_link_of(lease->conn), &task->pg);
    if (err != ERR_OK)
        return return_err(L, err, NULL);
    return statement_park(L, task, lease->box, ERR_OK);
}

static int l_lease_query(lua_State *L)
{
    return send_on_lease(L, SHAPE_ROWS);
}

static int l_lease_one(lua_State *L)
{
    return send_on_lease(L, SHAPE_ONE);
}

static int l_lease_exec(lua_State *L)
{
    return send_on_lease(L, SHAPE_EXEC);
}

/* False when it was given back before. */
static int l_lease_release(lua_State *L)
{
    struct lease *lease = luaL_checkudata(L, 1, LEASE_TYPE);
    bool is_held = lease->hold.task != NULL;

    if (is_held)
        check_lease(L);
    hold_remove(&lease->hold);
    give_back(lease);
    lua_pushboolean(L, is_held);
    return 1;
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

/* "none", "open", "failed" or "unknown": the transaction, from the wire. */
static int l_lease_tx(lua_State *L)
{
    static const char *const names[] = { [PG_TX_NONE] = "none",
                                         [PG_TX_OPEN] = "open",
                                         [PG_TX_FAILED] = "failed",
                                         [PG_TX_UNKNOWN] = "unknown" };
    struct lease *lease = check_lease(L);
    enum pg_tx tx = PG_TX_UNKNOWN;

    if (lease->conn != NULL)
        tx = pg_link_tx(pg_link_of(lease->conn));
    lua_pushstring(L, names[tx]);
    return 1;
}

static int l_lease_pid(lua_State *L)
{
    struct lease *lease = check_lease(L);

    if (lease->conn == NULL)
        return 0;
    lua_pushinteger(L, pg_link_backend_pid(pg_link_of(lease->conn)));
    return 1;
}

/* ---- opening */

static int l_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    struct pool_arguments arguments;
    struct pg_config config;
    struct script_pool *box;
    enum err err;

    if (!pool_arguments(L, &arguments, &why))
        return return_err(L, ERR_BADARG, &why);
    config = (struct pg_config){
        .name = arguments.name,
        .url = arguments.url,
        .application_name = arguments.application_name,
        .settings = arguments.settings,
        .log = &vm->log,
        .seed = loop_now_ns(vm->loop),
    };
    box = pool_push(L, POOL_POSTGRES, arguments.name);
    err = pg_pool_open(&box->pg, vm->loop, &config, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    pool_opened(L, box, pg_pool_pool(box->pg));
    return 1;
}

static const luaL_Reg pool_methods[] = {
    { "raw_query", l_query },
    { "raw_one", l_one },
    { "raw_exec", l_exec },
    { "raw_acquire", l_acquire },
    { "raw_try_acquire", l_try_acquire },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_query", l_lease_query }, { "raw_one", l_lease_one },
    { "raw_exec", l_lease_exec },   { "release", l_lease_release },
    { "tx", l_lease_tx },           { "pid", l_lease_pid },
    { "__gc", l_lease_gc },         { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "postgres_open", l_open },
    { NULL, NULL },
};

void bind_pg(lua_State *L, struct vm *vm)
{
    lua_getfield(L, -1, "postgres");
    vm_register(L, vm, pool_methods);
    lua_pop(L, 1);
    vm_metatable(L, vm, LEASE_TYPE, lease_methods);
    lua_setfield(L, -2, "lease");
    vm_register(L, vm, functions);
}
