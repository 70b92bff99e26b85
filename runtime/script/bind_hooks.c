/*
 * bind_hooks.c - see bind_hooks.h.
 *
 * Each run of a hook is a task of its own, which holds the connection as a
 * lease.  When the pool takes that back, what the task runs on it ends with an
 * error; a hook that then does anything else is cancelled when its time is up.
 */
#include "script/bind_hooks.h"

#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/hook.h"
#include "script/core.h"
#include "script/hold.h"
#include "script/lease.h"

#include <stdio.h>

/* For a hook to end after the pool has given it up. */
static const uint64_t GRACE_NS = 100000000;

struct hook_run {
    struct lease lease;
    struct deadline limit; /* then the task is cancelled */
};

/* ---- the end of a run */

static struct conn *end_run(struct hook_run *run)
{
    deadline_stop(run->lease.vm->loop, &run->limit);
    return run->lease.conn;
}

void hook_run_drop(struct hook_run *run)
{
    struct conn *conn = end_run(run);
    struct err_text text = { 0 };

    if (conn == NULL)
        return;
    err_text_set(&text, "%s was cancelled", conn_hook_name(conn->hook));
    pool_hook_done(conn, HOOK_FAILED, &text, loop_now_ns(run->lease.vm->loop));
}

static void on_limit(struct deadline *deadline)
{
    struct hook_run *run = container_of(deadline, struct hook_run, limit);

    if (run->lease.hold.task != NULL)
        task_cancel(run->lease.hold.task);
}

static struct lease *check_run(lua_State *L)
{
    struct lease *lease = lua_touserdata(L, 1);

    if (lease == NULL || lease->run == NULL)
        luaL_argerror(L, 1, "connection of a hook expected");
    return lease;
}

/* raw_hook_done(conn, verdict, text): "passed", "refused" or "failed". */
static int l_hook_done(lua_State *L)
{
    static const char *const verdicts[] = { [HOOK_PASSED] = "passed",
                                            [HOOK_REFUSED] = "refused",
                                            [HOOK_FAILED] = "failed",
                                            NULL };
    struct lease *lease = check_run(L);
    int verdict = luaL_checkoption(L, 2, NULL, verdicts);
    struct err_text text = { 0 };
    struct conn *conn;

    err_text_set(&text, "%s", luaL_optstring(L, 3, ""));
    hold_remove(&lease->hold);
    conn = end_run(lease->run);
    if (conn != NULL)
        pool_hook_done(conn, (enum hook_verdict)verdict, &text,
                       loop_now_ns(lease->vm->loop));
    return 0;
}

/* ---- its beginning */

static void start_limit(struct hook_run *run, const struct conn *conn)
{
    struct vm *vm = run->lease.vm;

    run->limit.fn = on_limit;
    deadline_start(vm->loop, &run->limit, conn->due_ns + GRACE_NS);
}

static void push_seconds(lua_State *L, uint64_t ns)
{
    lua_pushnumber(L, (lua_Number)ns / 1e9);
}

/* Inside the pool: the task only becomes ready. */
static bool begin_hook(void *ud, struct conn *conn, enum conn_hook hook)
{
    struct script_pool *box = ud;
    lua_State *L = box->vm->L;
    struct hook_run *run;
    struct lease *lease;
    struct task *task;

    if (!lua_checkstack(L, 8))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->hooks_ref);
    lua_getfield(L, -1, conn_hook_name(hook));
    lua_remove(L, -2);
    lease = lease_push(L, box, conn, sizeof(*run));
    run = container_of(lease, struct hook_run, lease);
    lease->run = run;
    push_seconds(L, conn_age_ns(conn));
    push_seconds(L, conn_idle_ns(conn));
    task = task_spawn(box->vm, L, 3, NULL);
    snprintf(task->label, sizeof(task->label), "%s of %s", conn_hook_name(hook),
             box->name);
    snprintf(task->site, sizeof(task->site), "%s", task->label);
    lease_hold(lease, task);
    start_limit(run, conn);
    return true;
}

/* ---- setting them */

/* raw_hooks(pool, functions): by name, each called with a lease, its age and
 * how long it was idle, in seconds; it must call raw_hook_done(). */
static int l_hooks(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    struct pool_hooks hooks = { .begin = begin_hook, .ud = box };
    int old = box->hooks_ref;

    luaL_checktype(L, 2, LUA_TTABLE);
    for (int hook = 0; hook < CONN_HOOKS; hook++) {
        lua_getfield(L, 2, conn_hook_name(hook));
        if (lua_isfunction(L, -1))
            hooks.which |= 1U << hook;
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    box->hooks_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    pool_set_hooks(box->pool, &hooks, loop_now_ns(box->vm->loop));
    luaL_unref(L, LUA_REGISTRYINDEX, old);
    return 0;
}

static const luaL_Reg pool_methods[] = {
    { "raw_hooks", l_hooks },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_hook_done", l_hook_done },
    { NULL, NULL },
};

void bind_hooks(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "postgres", pool_methods);
    vm_extend(L, vm, "redis", pool_methods);
    vm_extend(L, vm, "postgres_lease", lease_methods);
    vm_extend(L, vm, "redis_lease", lease_methods);
}
