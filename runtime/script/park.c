/* park.c - see park.h. */
#include "script/park.h"

#include "script/coroutine.h"
#include "script/err.h"
#include "script/guest.h"
#include "script/task.h"

#include <assert.h>

struct task *task_check(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct task *task = vm->current;

    if (vm->guest != NULL)
        guest_check_wait(L, vm->guest);
    if (task == NULL)
        raise_at_script(L,
                        "this call waits, so it needs a task: call it from a "
                        "handler, a program or tide.spawn");
    if (task->cancelled) {
        push_err(L, ERR_CANCELLED, NULL);
        lua_error(L);
    }
    if (!lua_isyieldable(L))
        raise_at_script(L,
                        "this call waits, and LuaJIT cannot wait inside of "
                        "table.sort's comparator, string.gsub's callback, a "
                        "finaliser or another C function: fetch what is needed "
                        "before, and use it there");
    return task;
}

int task_park(lua_State *L, struct task *task,
              void (*cancel)(struct task *task))
{
    assert(task->state == TASK_RUNNING && cancel != NULL);
    task->state = TASK_PARKED;
    task->cancel = cancel;
    lua_settop(L, 0);
    push_park(L, task->vm);
    return lua_yield(L, 1);
}

static void on_wait_over(struct deadline *deadline)
{
    struct task *task = container_of(deadline, struct task, deadline);

    task_results(task);
    task_wake(task);
}

void task_wake_after(struct task *task, uint64_t ns)
{
    task->deadline.fn = on_wait_over;
    deadline_start(task->vm->loop, &task->deadline,
                   loop_now_ns(task->vm->loop) + ns);
}

uint64_t check_seconds(lua_State *L, int index)
{
    double seconds = luaL_checknumber(L, index);

    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, index,
                  "seconds, from 0 on, expected");
    return (uint64_t)(seconds * 1e9);
}

static void cancel_wait_for_child(struct task *task)
{
    deadline_stop(task->vm->loop, &task->deadline);
}

int task_park_for_child(lua_State *L, struct task *task,
                        void (*on_child)(struct task *parent,
                                         struct task *child))
{
    task->on_child = on_child;
    return task_park(L, task, cancel_wait_for_child);
}

lua_State *task_results(struct task *task)
{
    assert(task->state == TASK_PARKED);
    task->vm->memory.is_telling = true;
    lua_settop(task->L, 0);
    lua_checkstack(task->L, COROUTINE_ROOM);
    return task->L;
}

void task_wake(struct task *task)
{
    assert(task->state == TASK_PARKED);
    task->cancel = NULL;
    task->on_child = NULL;
    task->awaits = NULL;
    task->vm->memory.is_telling = false;
    task_make_ready(task);
}

void task_wake_raise(struct task *task)
{
    push_park(task->L, task->vm);
    lua_insert(task->L, -2);
    task_wake(task);
}
