/*
 * vm.h - one Lua state on one loop: where scripts, tasks and pools meet.
 *
 * One thread.  C keeps no Lua value but registry references that are released
 * on every path.  Lua is entered only by lua_resume() of a task and by
 * lua_pcall(); nothing of C is held across a call that can raise.
 */
#ifndef TIDEPOOL_SCRIPT_VM_H
#define TIDEPOOL_SCRIPT_VM_H

#include "base/log.h"
#include "base/rand.h"
#include "net/loop.h"
#include "script/limits.h"
#include "script/memory.h"
#include "script/origin.h"
#include "script/strings.h"
#include "script/vm_options.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

struct guest;
struct task;
struct vm;
struct watchdog;

enum log_form { LOG_FORM_LOGFMT, LOG_FORM_JSON };

struct vm {
    lua_State *L;        /* the main thread; of a guest one of its own */
    struct guest *guest; /* the state is a host's, see guest.h; or NULL */
    bool is_over;        /* its end has come: nothing of it may be called */
    struct loop *loop;
    struct log log;
    enum log_form log_form;
    int worker; /* said in each line; 0: it is none */
    struct vm_options options;
    struct memory memory;
    struct buf log_line;
    struct buf json; /* scratch of bind_formats.c */

    struct rand rand; /* of seeds; its own is of vm_random() */
    struct origin_source origins;
    struct origin *speaks_for; /* whom lines are about when no task runs */

    struct task *current; /* runs now; NULL outside of Lua */
    struct list ready;    /* tasks to resume in this turn */
    struct list live;     /* tasks that have not ended */
    struct list idle;     /* ended ones whose coroutine can be used again */
    struct loop_job run;
    bool stamps_ready; /* see task->ready_ns */
    uint64_t last_task_id;
    uint64_t tasks_started;
    uint64_t task_errors;

    struct events *events;      /* see bind_events.h; NULL: nobody asked */
    struct list pools;          /* struct script_pool, open ones */
    struct budget_port *budget; /* of a worker, see bind_budget.c; or NULL */
    struct list pilots;         /* see bind_policy.c */
    struct recorder *recorder;  /* see bind_trace.c; or NULL */
    size_t external_bytes;      /* results that Lua's collector cannot see */
    struct loop_job collect;    /* it works for them */
    struct watchdog *watchdog;  /* or NULL */
    struct script_limits limits;
    struct string_bounds strings;
};

enum err vm_new(struct vm **out, const struct vm_options *options) MUST_CHECK;
/* Accepts NULL.  Cancels what is left and closes the state; the loop must then
 * have come to its end. */
void vm_free(struct vm *vm);

/* Fills out with bytes that are good for secrets.  ERR_INTERNAL: there are
 * none. */
enum err vm_random(struct vm *vm, void *out, size_t len) MUST_CHECK;

/* The same without the state, which is somebody's: one in memory of the
 * caller's, and its end after that of all that is in the state. */
enum err vm_init(struct vm *vm, const struct vm_options *options) MUST_CHECK;
void vm_deinit(struct vm *vm);

/* Begin the end: of all tasks, and of the pools that scripts have.  The loop
 * must be turned then, until vm->live and vm->pools are empty. */
void vm_cancel_tasks(struct vm *vm);
void vm_close_pools(struct vm *vm);

/* Of a C function that was registered by vm_register(). */
static inline struct vm *vm_of(lua_State *L)
{
    struct vm *vm = lua_touserdata(L, lua_upvalueindex(1));

    if (vm->is_over) /* a finaliser of a host's, when its state is closed */
        luaL_error(L, "tidepool has ended in this Lua state");
    return vm;
}

/* Adds functions to the table on top of the stack. */
void vm_register(lua_State *L, struct vm *vm, const luaL_Reg *functions);
/* Adds functions to the table that the one on top holds by this name: a type
 * that another part made. */
void vm_extend(lua_State *L, struct vm *vm, const char *name,
               const luaL_Reg *functions);

/* Tells the collector of memory that only a userdata keeps, so that it runs
 * before many such results pile up. */
void vm_external_memory(struct vm *vm, size_t bytes);

/* "app.lua:12" of the function at level of L's stack, or "?". */
void vm_site(lua_State *L, int level, char *out, size_t size);

#endif
