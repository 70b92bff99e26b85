/*
 * bind_children.c - children: tasks that a task runs at the same time and waits
 * for.  They have no value of their own in Lua, so that they cost no garbage
 * and their coroutines are used again at once; the parent numbers them.
 */
#include "script/core.h"
#include "script/err.h"
#include "script/park.h"
#include "script/task.h"

#include <string.h>

/* Starts the function at -n_args - 1 of L, as task_spawn(). */
static void spawn_child(lua_State *L, struct task *parent, int number,
                        int n_args)
{
    struct task *child = task_spawn(parent->vm, L, n_args, parent);

    child->child_index = number;
    memcpy(child->label, parent->label, sizeof(child->label));
}

/* spawn_child(fn, ...): child 1. */
static int l_spawn_child(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    spawn_child(L, task_check(L), 1, lua_gettop(L) - 1);
    return 0;
}

/* spawn_children(fns): a child for each function of the list; says how many. */
static int l_spawn_children(lua_State *L)
{
    struct task *parent = task_check(L);
    int count = (int)lua_objlen(L, 1);

    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        spawn_child(L, parent, i, 0);
    }
    lua_pushinteger(L, count);
    return 1;
}

/* An error, or nil and an err. */
static bool has_failed(const struct task *child)
{
    return child->status != 0 ||
           (lua_gettop(child->L) >= 2 && lua_isnil(child->L, 1) &&
            is_err(child->L, 2));
}

/* ---- waiting for the next one */

static int push_child(lua_State *L, struct task *child)
{
    int count;

    lua_pushinteger(L, child->child_index);
    count = 1 + task_push_outcome(child, L);
    task_drop_child(child);
    return count;
}

static void on_next_child(struct task *parent, struct task *child)
{
    deadline_stop(parent->vm->loop, &parent->deadline);
    push_child(task_results(parent), child);
    task_wake(parent);
}

/* next_child([seconds]): number, ok, results... of the next child that ends,
 * or nothing when the time passed. */
static int l_next_child(lua_State *L)
{
    bool is_timed = !lua_isnoneornil(L, 1);
    uint64_t ns = is_timed ? check_seconds(L, 1) : 0;
    struct task *task = task_check(L);

    if (task->ended.len > 0)
        return push_child(L, task_first_ended(task));
    if (task->children.len == 0)
        return luaL_error(L, "next_child: there is no child");
    if (is_timed)
        task_wake_after(task, ns);
    return task_park_for_child(L, task, on_next_child);
}

/* ---- waiting for all of them */

static void on_settled(struct task *parent, struct task *child)
{
    if (parent->children.len > 0 && !has_failed(child))
        return;
    task_results(parent);
    task_wake(parent);
}

/* await_children(): returns when all have ended, or one has failed. */
static int l_await_children(lua_State *L)
{
    struct task *task = task_check(L);

    if (task->children.len == 0)
        return 0;
    return task_park_for_child(L, task, on_settled);
}

/*
 * take_children(results): results[number] becomes the first result of each
 * child that has ended well.  Gives nothing, or the failure of the first that
 * has not, and whether it was raised.
 */
static int l_take_children(lua_State *L)
{
    struct task *task = task_check(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    while (task->ended.len > 0) {
        struct task *child = task_first_ended(task);
        bool failed = has_failed(child);
        bool raised = child->status != 0;

        lua_pushvalue(child->L, !failed ? 1 : raised ? -1 : 2);
        lua_xmove(child->L, L, 1);
        if (!failed)
            lua_rawseti(L, 1, child->child_index);
        task_drop_child(child);
        if (!failed)
            continue;
        lua_pushboolean(L, raised);
        return 2;
    }
    return 0;
}

static void drop_ended(struct task *task)
{
    while (task->ended.len > 0)
        task_drop_child(task_first_ended(task));
}

static void on_stopped(struct task *parent, struct task *child)
{
    (void)child;
    if (parent->children.len > 0)
        return;
    drop_ended(parent);
    task_results(parent);
    task_wake(parent);
}

/* stop_children(): cancels those that run, and returns when all have unwound.
 * How they ended is forgotten. */
static int l_stop_children(lua_State *L)
{
    struct task *task = task_check(L);

    list_each (node, &task->children)
        task_cancel(container_of(node, struct task, child_node));
    if (task->children.len > 0)
        return task_park_for_child(L, task, on_stopped);
    drop_ended(task);
    return 0;
}

static const luaL_Reg functions[] = {
    { "spawn_child", l_spawn_child },
    { "spawn_children", l_spawn_children },
    { "next_child", l_next_child },
    { "await_children", l_await_children },
    { "take_children", l_take_children },
    { "stop_children", l_stop_children },
    { NULL, NULL },
};

void bind_children(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
