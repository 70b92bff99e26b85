/*
 * park.h - how a task waits: the running one parks in one operation, whose end,
 * or its cancel, wakes it.
 */
#ifndef TIDEPOOL_SCRIPT_PARK_H
#define TIDEPOOL_SCRIPT_PARK_H

#include <lua.h>
#include <stdint.h>

struct task;
struct vm;

/* The running task, for a call that will park; raises (level 2 is the script's
 * line) when there is none, when it was cancelled, or when LuaJIT cannot yield
 * here. */
struct task *task_check(lua_State *L);

/* Parks the running task: `return task_park(L, task, cancel);` */
int task_park(lua_State *L, struct task *task,
              void (*cancel)(struct task *task));

/*
 * Ends the operation of a parked task: gives the stack to push the results
 * on, at most COROUTINE_ROOM values; then task_wake() resumes it in this
 * turn.
 */
lua_State *task_results(struct task *task);
void task_wake(struct task *task);
/* The same for an error that the call raises at its caller's line: pops the
 * error from task_results(). */
void task_wake_raise(struct task *task);

/* Ends the park that follows without results after so long, unless its cancel
 * or whoever ends it sooner stops task->deadline. */
void task_wake_after(struct task *task, uint64_t ns);
/* A length of time as scripts give it, in seconds: in ns. */
uint64_t check_seconds(lua_State *L, int index);

/* task_park() until a child has ended for which on_child wakes the parent: it
 * is called for each that ends and then is on parent->ended. */
int task_park_for_child(lua_State *L, struct task *task,
                        void (*on_child)(struct task *parent,
                                         struct task *child));

/* The value that marks a yield of ours, and a result that is to be raised. */
static inline void push_park(lua_State *L, struct vm *vm)
{
    lua_pushlightuserdata(L, vm);
}

#endif
