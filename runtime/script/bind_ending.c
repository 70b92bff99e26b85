/* bind_ending.c - functions that run when the request, or the program, ends in
 * which they were given: for what would outlive it otherwise. */
#include "script/core.h"
#include "script/hold.h"
#include "script/task.h"
#include "script/userdata.h"

#include <stdlib.h>
#include <string.h>

static const char ENDING_TYPE[] = "tidepool.ending";

/* fn_ref keeps the function while it is held.  Where the script may forget it,
 * it is a userdata, which self_ref keeps. */
struct ending {
    struct hold hold;
    struct vm *vm;
    int self_ref, fn_ref;
};

static void forget(struct ending *ending)
{
    lua_State *L = ending->vm->L;

    luaL_unref(L, LUA_REGISTRYINDEX, ending->fn_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, ending->self_ref);
}

static void drop_ending(struct hold *hold)
{
    struct ending *ending = container_of(hold, struct ending, hold);
    lua_State *L = ending->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, ending->fn_ref);
    if (lua_pcall(L, 0, 0, 0) != 0) {
        const char *message = lua_tostring(L, -1);

        log_event(&ending->vm->log, LOG_ERROR, "what a task's end calls failed",
                  LOG_STR("error", message ? message : "(no message)"));
        lua_pop(L, 1);
    }
    if (ending->self_ref == LUA_NOREF) {
        luaL_unref(L, LUA_REGISTRYINDEX, ending->fn_ref);
        free(ending);
        return;
    }
    forget(ending);
}

/* The one that a request or the program waits for, of which task is a part; or
 * NULL: nobody waits for it. */
static struct task *awaited(struct task *task)
{
    while (task != NULL && task->parent != NULL)
        task = task->parent;
    return task != NULL && task->on_end != NULL ? task : NULL;
}

/* Of the value at index. */
static int ref_of(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Calls the function at 1 at task's end. */
static int add_ending(lua_State *L, struct task *task)
{
    struct ending *ending;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (task == NULL)
        return 0;
    ending = lua_newuserdata(L, sizeof(*ending));
    memset(ending, 0, sizeof(*ending));
    ending->vm = vm_of(L);
    vm_set_type(L, ENDING_TYPE);
    ending->fn_ref = ref_of(L, 1);
    ending->self_ref = ref_of(L, -1);
    hold_add(task, &ending->hold, drop_ending);
    return 1;
}

/* at_end(fn): fn(), which must not wait, runs when the request or program of
 * the running task ends, unless forget() was called; nil when it is part of
 * none, as a script that loads or a spawned task. */
static int l_at_end(lua_State *L)
{
    return add_ending(L, awaited(vm_of(L)->current));
}

/* at_task_end(fn): the same of the running task itself, however that ends: what
 * follows a pcall does not run in a task that is ended for its budget. */
static int l_at_task_end(lua_State *L)
{
    return add_ending(L, vm_of(L)->current);
}

/* finally(fn): as at_task_end(), not to be forgotten: for what comes with each
 * request, since the collector walks along all userdata at once. */
static int l_finally(lua_State *L)
{
    struct task *task = vm_of(L)->current;
    struct ending *ending;
    int fn_ref;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (task == NULL)
        return 0;
    fn_ref = ref_of(L, 1);
    ending = malloc(sizeof(*ending));
    if (ending == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, fn_ref);
        return luaL_error(L, "not enough memory");
    }
    *ending = (struct ending){ .vm = vm_of(L),
                               .self_ref = LUA_NOREF,
                               .fn_ref = fn_ref };
    hold_add(task, &ending->hold, drop_ending);
    return 0;
}

static int l_forget(lua_State *L)
{
    struct ending *ending = vm_check_type(L, 1, ENDING_TYPE);

    if (ending->hold.task == NULL)
        return 0;
    hold_remove(&ending->hold);
    forget(ending);
    return 0;
}

static const luaL_Reg methods[] = {
    { "forget", l_forget },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "at_end", l_at_end },
    { "at_task_end", l_at_task_end },
    { "finally", l_finally },
    { NULL, NULL },
};

void bind_ending(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, ENDING_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
