/* bind_waiter.c - a task waits until other Lua lets it go on; and who is whose
 * child, for those who look whether tasks wait for one another. */
#include "script/core.h"
#include "script/fields.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

static const char WAITER_TYPE[] = "tidepool.waiter";

/* A userdata, for one wait. */
struct waiter {
    struct task *task; /* parked in it, as its operand; or NULL */
    bool is_woken;
};

/* Ends the wait, whose result was pushed already or is an error. */
static void leave(struct task *task)
{
    struct waiter *waiter = task->operand;

    deadline_stop(task->vm->loop, &task->deadline);
    task->operand = NULL;
    if (waiter != NULL) /* not collected meanwhile */
        waiter->task = NULL;
}

static void end_wait(struct task *task, bool is_woken)
{
    leave(task);
    lua_pushboolean(task_results(task), is_woken);
    task_wake(task);
}

static void on_late(struct deadline *deadline)
{
    end_wait(container_of(deadline, struct task, deadline), false);
}

static int l_waiter(lua_State *L)
{
    struct waiter *waiter = lua_newuserdata(L, sizeof(*waiter));

    *waiter = (struct waiter){ NULL, false };
    vm_set_type(L, WAITER_TYPE);
    return 1;
}

/* park([seconds]): true when it was woken, before or now; false when the time
 * passed. */
static int l_park(lua_State *L)
{
    struct waiter *waiter = vm_check_type(L, 1, WAITER_TYPE);
    bool is_timed = !lua_isnoneornil(L, 2);
    uint64_t ns = is_timed ? check_seconds(L, 2) : 0;
    struct task *task = task_check(L);

    luaL_argcheck(L, waiter->task == NULL, 1, "a task waits in it already");
    if (waiter->is_woken) {
        lua_pushboolean(L, true);
        return 1;
    }
    waiter->task = task;
    task->operand = waiter;
    if (is_timed) {
        task_wake_after(task, ns);
        task->deadline.fn = on_late;
    }
    return task_park(L, task, leave);
}

static int l_wake(lua_State *L)
{
    struct waiter *waiter = vm_check_type(L, 1, WAITER_TYPE);

    waiter->is_woken = true;
    if (waiter->task != NULL)
        end_wait(waiter->task, true);
    return 0;
}

static int l_waiter_gc(lua_State *L)
{
    struct waiter *waiter = vm_check_type(L, 1, WAITER_TYPE);

    if (waiter->task != NULL)
        waiter->task->operand = NULL;
    waiter->task = NULL;
    return 0;
}

/* task_ids(): of the running task, its parent and so on; nothing without. */
static int l_task_ids(lua_State *L)
{
    int count = 0;

    for (struct task *task = vm_of(L)->current; task; task = task->parent) {
        luaL_checkstack(L, 1, "too many parents");
        lua_pushnumber(L, (lua_Number)task->id);
        count++;
    }
    return count;
}

static const luaL_Reg methods[] = {
    { "park", l_park },
    { "wake", l_wake },
    { "__gc", l_waiter_gc },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "waiter", l_waiter },
    { "task_ids", l_task_ids },
    { NULL, NULL },
};

void bind_waiter(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, WAITER_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
