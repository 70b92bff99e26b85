/* hearing.c - see hearing.h. */
#include "script/hearing.h"

#include "script/failure.h"
#include "script/park.h"

static int push(lua_State *L, struct hearing *hearing)
{
    hearing->is_woken = false;
    return hearing->push(L, hearing);
}

void hearing_tell(struct hearing *hearing)
{
    struct task *task = hearing->task;

    if (task == NULL)
        return;
    hearing->task = NULL;
    deadline_stop(task->vm->loop, &task->deadline);
    push(task_results(task), hearing);
    task_wake(task);
}

void hearing_wake(struct hearing *hearing)
{
    hearing->is_woken = true;
    hearing_tell(hearing);
}

static void on_silence(struct deadline *deadline)
{
    struct task *task = container_of(deadline, struct task, deadline);

    hearing_tell(task->operand);
}

static void cancel_wait(struct task *task)
{
    struct hearing *hearing = task->operand;

    if (hearing->box != NULL)
        failure_count(hearing->box, ERR_CANCELLED);
    hearing->task = NULL;
    deadline_stop(task->vm->loop, &task->deadline);
}

int hearing_wait(lua_State *L, struct hearing *hearing, bool has_something,
                 uint64_t ns)
{
    struct task *task = task_check(L);

    if (hearing->task != NULL)
        return luaL_error(L, "another task hears on this connection");
    if (has_something || hearing->is_woken)
        return push(L, hearing);
    hearing->task = task;
    task->operand = hearing;
    task->deadline.fn = on_silence;
    deadline_start(task->vm->loop, &task->deadline,
                   loop_now_ns(task->vm->loop) + ns);
    return task_park(L, task, cancel_wait);
}
