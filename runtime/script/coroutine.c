/* coroutine.c - see coroutine.h. */
#include "script/coroutine.h"

#include "script/task.h"

#include <assert.h>
#include <stdlib.h>

enum { IDLE_MAX = 1024 };

static void task_free(struct task *task)
{
    if (task->L != NULL)
        luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->thread_ref);
    buf_free(&task->scratch);
    free(task->params);
    free(task);
}

/* Stock LuaJIT cannot reset one that raised. */
void coroutine_keep(struct task *task)
{
    struct vm *vm = task->vm;

    assert(task->state == TASK_DONE && task->handles == 0);
    origin_unref(task->origin);
    task->origin = NULL;
    if (task->status != 0 || vm->idle.len >= IDLE_MAX) {
        task_free(task);
        return;
    }
    lua_settop(task->L, 0);
    list_push_front(&vm->idle, &task->node);
}

/* Raises in from, and then there is none. */
static struct task *task_new(struct vm *vm, lua_State *from)
{
    struct task *task;
    lua_State *L;
    int ref;

    if (vm->idle.len > 0)
        return container_of(list_pop_front(&vm->idle), struct task, node);
    L = lua_newthread(from);
    ref = luaL_ref(from, LUA_REGISTRYINDEX);
    task = calloc(1, sizeof(*task));
    if (task == NULL) {
        luaL_unref(from, LUA_REGISTRYINDEX, ref);
        luaL_error(from, "out of memory: no task could be made");
    }
    task->vm = vm;
    task->L = L;
    task->thread_ref = ref;
    return task;
}

/* It does not run, so it could not raise. */
static bool make_room(struct task *task, int count)
{
    struct memory *memory = &task->vm->memory;
    bool was_telling = memory->is_telling;
    bool is_there;

    memory->is_telling = true;
    is_there = lua_checkstack(task->L, count);
    memory->is_telling = was_telling;
    return is_there;
}

struct task *coroutine_take(struct vm *vm, lua_State *from, int n_args)
{
    struct task *task = task_new(vm, from);

    if (!make_room(task, n_args + COROUTINE_ROOM)) {
        list_push_front(&vm->idle, &task->node);
        luaL_error(from, "out of memory: too many arguments for a task");
    }
    return task;
}

/* Under memory_protect(): the error of a task, which has ended, in a coroutine
 * that holds nothing else. */
static int move_error(lua_State *L)
{
    struct task *task = lua_touserdata(L, 1);
    lua_State *fresh = lua_newthread(L);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_xmove(task->L, fresh, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, task->thread_ref);
    task->L = fresh;
    task->thread_ref = ref;
    return 0;
}

/* The stack of a coroutine that raised keeps all of its variables, among which
 * may be the handle that keeps the task, and so the coroutine, for ever. */
void coroutine_let_go(struct task *task)
{
    lua_State *L = task->vm->L;

    if (memory_protect(task->vm, move_error, task) != 0)
        lua_pop(L, 1); /* no memory: it stays as it is */
}

void tasks_free(struct vm *vm)
{
    struct list_node *node;

    while ((node = list_pop_front(&vm->idle)) != NULL) {
        struct task *task = container_of(node, struct task, node);
        task->L = NULL; /* gone with the state */
        task_free(task);
    }
}
