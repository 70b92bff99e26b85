/* bind_task.c - tasks as Lua values: sleep, spawn, wait, cancel. */
#include "pool/class.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

#include <stdio.h>
#include <string.h>

/* ---- sleep */

static void cancel_sleep(struct task *task)
{
    deadline_stop(task->vm->loop, &task->deadline);
}

static int l_sleep(lua_State *L)
{
    uint64_t ns = check_seconds(L, 1);
    struct task *task = task_check(L);

    task_wake_after(task, ns);
    return task_park(L, task, cancel_sleep);
}

static const char TASK_TYPE[] = "tidepool.task";

/* ---- tasks as Lua values */

struct task *task_of_handle(lua_State *L, int index)
{
    struct task *task = *(struct task **)vm_check_type(L, index, TASK_TYPE);

    if (task == NULL)
        raise_at_script(L, "this task's handle has been finalised");
    return task;
}

static struct task *check_handle(lua_State *L)
{
    return task_of_handle(L, 1);
}

static void push_handle(lua_State *L, struct task *task)
{
    struct task **box = lua_newuserdata(L, sizeof(*box));

    *box = task;
    task->handles++;
    vm_set_type(L, TASK_TYPE);
}

/* "app.lua:42", where the function at index was written. */
static void function_site(lua_State *L, int index, char *out, size_t size)
{
    lua_Debug debug;

    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &debug);
    snprintf(out, size, "%s:%d", debug.short_src, debug.linedefined);
}

static int l_spawn(lua_State *L)
{
    char label[TASK_LABEL_MAX];
    struct task *task;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    function_site(L, 1, label, sizeof(label));
    task = task_spawn(vm_of(L), L, lua_gettop(L) - 1, NULL);
    memcpy(task->label, label, sizeof(label));
    push_handle(L, task);
    return 1;
}

/* class([name]): of what the running task asks of pools from now on; nil where
 * no task runs. */
static int l_class(lua_State *L)
{
    struct task *task = vm_of(L)->current;
    const char *name = luaL_optstring(L, 1, NULL);

    if (name != NULL && pool_class_named(name) == POOL_CLASSES)
        raise_at_script(L,
                        "class: \"critical\", \"normal\" or \"batch\" "
                        "expected, got \"%s\"",
                        name);
    if (task == NULL)
        return 0;
    if (name != NULL)
        task->class = pool_class_named(name);
    lua_pushstring(L, pool_class_name(task->class));
    return 1;
}

static int l_done(lua_State *L)
{
    lua_pushboolean(L, check_handle(L)->state == TASK_DONE);
    return 1;
}

static int l_id(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)check_handle(L)->id);
    return 1;
}

static void cancel_wait(struct task *task)
{
    list_remove(task->waits_on, &task->wait_node);
    task->waits_on = NULL;
}

static int l_wait(lua_State *L)
{
    struct task *other = check_handle(L);
    struct task *task = task_check(L);

    if (other == task)
        return luaL_error(L, "a task cannot wait for itself");
    if (other->state == TASK_DONE)
        return task_push_outcome(other, L);
    list_push_back(&other->waiters, &task->wait_node);
    task->waits_on = &other->waiters;
    other->error_taken = true;
    return task_park(L, task, cancel_wait);
}

static int l_cancel(lua_State *L)
{
    task_cancel(check_handle(L));
    return 0;
}

static int l_handle_gc(lua_State *L)
{
    struct task **box = lua_touserdata(L, 1);

    task_unref(*box);
    *box = NULL; /* a state that is closed may run on with it */
    return 0;
}

/* True in a task's own coroutine, where a yield would have no resumer. */
static int l_is_task_thread(lua_State *L)
{
    struct task *task = vm_of(L)->current;

    lua_pushboolean(L, task != NULL && task->L == L);
    return 1;
}

/* Leaves the function that the task began with, unless it gave its place to
 * another by a tail call; false when there is none. */
static bool push_first(lua_State *L, struct task *task)
{
    lua_Debug frame;
    int level = 0;

    if (lua_getstack(task->L, 0, &frame) == 0) { /* not begun */
        if (!lua_isfunction(task->L, 1))
            return false;
        lua_pushvalue(task->L, 1);
    } else {
        while (lua_getstack(task->L, level + 1, &frame))
            level++;
        lua_getstack(task->L, level, &frame);
        lua_getinfo(task->L, "f", &frame);
    }
    lua_xmove(task->L, L, 1);
    return true;
}

/* The function at the top, which is popped, belongs to the environment at 1. */
static bool is_of_env(lua_State *L)
{
    bool is_equal;

    lua_getfenv(L, -1);
    is_equal = lua_rawequal(L, -1, 1);
    lua_pop(L, 2);
    return is_equal;
}

/* cancel_spawned(env): tasks that began with functions of this environment, and
 * that nothing but themselves waits for; how many these were. */
static int l_cancel_spawned(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct task *found[64];
    size_t total = 0, count;

    do {
        count = 0;
        list_each (node, &vm->live) {
            struct task *task = container_of(node, struct task, live_node);

            if (task == vm->current || task->cancelled ||
                task->parent != NULL || task->on_end != NULL || count == 64)
                continue;
            if (push_first(L, task) && is_of_env(L))
                found[count++] = task;
        }
        for (size_t i = 0; i < count; i++)
            task_cancel(found[i]);
        total += count;
    } while (count > 0);
    lua_pushnumber(L, (lua_Number)total);
    return 1;
}

/* Is a Lua function at work in it whose environment is not that at 1? */
static bool runs_stranger(lua_State *L, struct task *task)
{
    lua_Debug frame;

    if (lua_getstack(task->L, 0, &frame) == 0)
        return push_first(L, task) && !is_of_env(L);
    for (int level = 0; lua_getstack(task->L, level, &frame); level++) {
        lua_getinfo(task->L, "Sf", &frame);
        lua_xmove(task->L, L, 1);
        if (!is_of_env(L) && strcmp(frame.what, "C") != 0)
            return true;
    }
    return false;
}

/* strangers(env [, is_to_end]): how many tasks besides the running one have
 * functions at work that are not of this environment; ends them, if asked. */
static int l_strangers(lua_State *L)
{
    bool is_to_end = lua_toboolean(L, 2);
    struct vm *vm = vm_of(L);
    unsigned total = 0;

    list_each (node, &vm->live) {
        struct task *task = container_of(node, struct task, live_node);

        if (task == vm->current || !runs_stranger(L, task))
            continue;
        total++;
        if (is_to_end)
            task_cancel(task);
    }
    lua_pushinteger(L, total);
    return 1;
}

static int l_task_counts(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_createtable(L, 0, 3);
    field_number(L, "live", (double)vm->live.len);
    field_number(L, "started", (double)vm->tasks_started);
    field_number(L, "errors", (double)vm->task_errors);
    return 1;
}

static const luaL_Reg methods[] = {
    { "wait", l_wait }, { "cancel", l_cancel },  { "done", l_done },
    { "id", l_id },     { "__gc", l_handle_gc }, { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "sleep", l_sleep },
    { "spawn", l_spawn },
    { "class", l_class },
    { "is_task_thread", l_is_task_thread },
    { "task_counts", l_task_counts },
    { "cancel_spawned", l_cancel_spawned },
    { "strangers", l_strangers },
    { NULL, NULL },
};

void bind_task(lua_State *L, struct vm *vm)
{
    tasks_init(vm);
    vm_metatable(L, vm, TASK_TYPE, methods);
    lua_setfield(L, -2, "task");
    vm_register(L, vm, functions);
    push_park(L, vm);
    lua_setfield(L, -2, "PARK");
}
