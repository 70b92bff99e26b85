/* task.c - see task.h. */
#include "script/task.h"

#include "script/coroutine.h"
#include "script/err.h"
#include "script/guest.h"
#include "script/hold.h"
#include "script/limits.h"
#include "script/origin.h"
#include "script/park.h"
#include "script/watchdog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making and ending */

static void task_init(struct task *task, struct task *parent)
{
    struct vm *vm = task->vm;

    task->id = ++vm->last_task_id;
    task->state = TASK_READY;
    task->label[0] = '\0';
    task->cancelled = false;
    task->is_exempt = vm->current != NULL && vm->current->is_exempt;
    task->is_counted = parent != NULL && parent->is_counted;
    task->cpu_ns = 0;
    task->class = vm->current != NULL ? vm->current->class : CLASS_NORMAL;
    task->answers = NULL;
    if (vm->current != NULL)
        task->origin = origin_ref(task_origin(vm->current));
    task->status = 0;
    task->handles = 0;
    task->error_taken = false;
    task->detached = parent == NULL;
    task->on_end = NULL;
    task->on_child = NULL;
    task->awaits = NULL;
    task->cancel = NULL;
    task->parent = parent;
    list_init(&task->holds);
    list_init(&task->children);
    list_init(&task->ended);
    list_init(&task->waiters);
    if (parent != NULL)
        list_push_back(&parent->children, &task->child_node);
    list_push_back(&vm->live, &task->live_node);
    vm->tasks_started++;
}

void task_make_ready(struct task *task)
{
    struct vm *vm = task->vm;

    task->state = TASK_READY;
    if (vm->stamps_ready)
        task->ready_ns = loop_now_ns(vm->loop);
    list_push_back(&vm->ready, &task->node);
    loop_defer(vm->loop, LOOP_RUN, &vm->run);
}

struct task *task_spawn(struct vm *vm, lua_State *from, int n_args,
                        struct task *parent)
{
    struct task *task = coroutine_take(vm, from, n_args);

    task_init(task, parent);
    lua_xmove(from, task->L, n_args + 1);
    task_make_ready(task);
    return task;
}

static struct task *child_at(struct list_node *node)
{
    return container_of(node, struct task, child_node);
}

/* Children that run on are nobody's from here on; ended ones go. */
static void leave_children(struct task *task)
{
    struct list_node *node;

    while ((node = list_pop_front(&task->children)) != NULL) {
        child_at(node)->parent = NULL;
        task_cancel(child_at(node));
    }
    while (task->ended.len > 0)
        task_drop_child(task_first_ended(task));
}

static void log_failure(struct task *task)
{
    const char *message;

    if (is_err(task->L, -1))
        lua_getfield(task->L, -1, "message");
    message = lua_tostring(task->L, -1);
    task->vm->task_errors++;
    task->vm->speaks_for = task->origin;
    log_event(&task->vm->log, LOG_ERROR, "task failed",
              LOG_INT("task", task->id), LOG_STR("at", task->label),
              LOG_STR("error", message ? message : "(no message)"));
    task->vm->speaks_for = NULL;
}

int task_push_outcome(struct task *task, lua_State *L)
{
    int count = task->status == 0 ? lua_gettop(task->L) : 1;
    int first = task->status == 0 ? 1 : lua_gettop(task->L);

    lua_pushboolean(L, task->status == 0);
    if (!lua_checkstack(L, count + 1))
        count = 0;
    for (int i = 0; i < count; i++) {
        lua_pushvalue(task->L, first + i);
        lua_xmove(task->L, L, 1);
    }
    task->error_taken = true;
    return count + 1;
}

static void wake_waiters(struct task *task)
{
    struct list_node *node;

    while ((node = list_pop_front(&task->waiters)) != NULL) {
        struct task *waiter = container_of(node, struct task, wait_node);
        waiter->waits_on = NULL;
        task_push_outcome(task, task_results(waiter));
        task_wake(waiter);
    }
}

struct task *task_first_ended(struct task *task)
{
    return child_at(list_first(&task->ended));
}

void task_drop_child(struct task *child)
{
    list_remove(&child->parent->ended, &child->child_node);
    child->parent = NULL;
    if (child->handles == 0)
        coroutine_keep(child);
}

/* Most of what happens here may run the collector, which may come to the last
 * handle: the task itself has one until it is over. */
static void task_end(struct task *task, int status)
{
    struct task *parent = task->parent;

    task->state = TASK_DONE;
    task->status = status;
    task->handles++;
    if (status == LUA_ERRMEM)
        limits_suspect(task->vm, "Lua ran out of memory");
    list_remove(&task->vm->live, &task->live_node);
    if (status != 0 && lua_gettop(task->L) == 0)
        lua_pushnil(task->L);
    holds_drop(task);
    leave_children(task);
    if (task->on_end != NULL)
        task->on_end(task, task->on_end_ud);
    wake_waiters(task);
    if (parent != NULL) {
        task->handles--;
        list_remove(&parent->children, &task->child_node);
        list_push_back(&parent->ended, &task->child_node);
        if (parent->on_child != NULL)
            parent->on_child(parent, task);
        return;
    }
    if (status != 0 && !task->error_taken && task->detached && !task->cancelled)
        log_failure(task);
    if (status != 0 && task->handles > 1)
        coroutine_let_go(task);
    task_unref(task);
}

void task_unref(struct task *task)
{
    assert(task->handles > 0);
    if (--task->handles == 0 && task->state == TASK_DONE &&
        task->parent == NULL)
        coroutine_keep(task);
}

/* ---- running */

/* Of a task that the watchdog ended its words are the error, not what came of
 * them on the way. */
static int say_why(struct task *task, int status)
{
    const struct err_text *text = watchdog_verdict(task->vm->watchdog);

    if (text == NULL)
        return status;
    lua_settop(task->L, 0);
    push_err(task->L, ERR_BUDGET, text);
    return LUA_ERRRUN;
}

static void resume(struct task *task)
{
    struct vm *vm = task->vm;
    int n_args = lua_gettop(task->L);
    int status;

    if (lua_status(task->L) != LUA_YIELD)
        n_args--; /* the function itself */
    assert(vm->current == NULL && n_args >= 0);
    task->state = TASK_RUNNING;
    vm->current = task;
    vm->memory.is_telling = false;
    if (!task->is_exempt)
        watchdog_begin(vm->watchdog,
                       task->is_counted ? task->cpu_ns : WATCHDOG_NO_TOTAL,
                       task->label);
    status = lua_resume(task->L, n_args);
    if (!task->is_exempt)
        task->cpu_ns += watchdog_end(vm->watchdog);
    vm->current = NULL;
    if (status != 0 && status != LUA_YIELD && !task->is_exempt)
        status = say_why(task, status);
    if (status == LUA_YIELD && task->state == TASK_PARKED)
        return;
    if (status == LUA_YIELD) {
        lua_settop(task->L, 0);
        lua_pushliteral(task->L, "a task yielded outside of a coroutine");
    }
    task_end(task, status);
}

/* Runs what is ready now; what becomes ready meanwhile has its turn next. */
static void run_ready(struct loop_job *job)
{
    struct vm *vm = container_of(job, struct vm, run);
    uint32_t count = vm->ready.len;

    for (uint32_t i = 0; i < count && vm->ready.len > 0; i++) {
        struct list_node *node = list_pop_front(&vm->ready);
        resume(container_of(node, struct task, node));
        if (loop_is_over(vm->loop))
            break;
    }
    limits_look(vm);
    memory_look(vm);
    if (vm->ready.len > 0)
        loop_defer(vm->loop, LOOP_RUN, &vm->run);
}

void task_site(lua_State *L, const struct task *task, int level, char *out)
{
    vm_site(L, level, out, TASK_LABEL_MAX);
    if (strcmp(out, "?") == 0)
        memcpy(out, task->label, TASK_LABEL_MAX);
}

void task_cancel(struct task *task)
{
    if (task->state == TASK_DONE || task->cancelled)
        return;
    task->cancelled = true;
    list_each (node, &task->children)
        task_cancel(child_at(node));
    if (task->state != TASK_PARKED)
        return;
    task->cancel(task);
    push_err(task_results(task), ERR_CANCELLED, NULL);
    task_wake_raise(task);
}

/* ---- the scheduler's own */

void tasks_init(struct vm *vm)
{
    list_init(&vm->ready);
    list_init(&vm->live);
    list_init(&vm->idle);
    vm->run.fn = run_ready;
}
