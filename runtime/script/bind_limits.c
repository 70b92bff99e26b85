/* bind_limits.c - budgets of scripts: set, counted, lifted for a task. */
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/limits.h"
#include "script/park.h"
#include "script/stuck.h"
#include "script/task.h"
#include "script/watchdog.h"

static double field(lua_State *L, const char *key)
{
    double value;

    lua_getfield(L, 1, key);
    value = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    luaL_argcheck(L, value >= 0, 1, key);
    return value;
}

/* limits{ run_warn =, run_abort =, request_cpu = (seconds of CPU),
 * heap_max_bytes
 * =, max_tasks = }: from here on, 0 is no limit.  Once.  Or nil, err: then only
 * those hold that need no watchdog. */
static int l_limits(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    struct watchdog_limits limits = { 0 };
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    limits.warn_ns = (uint64_t)(field(L, "run_warn") * 1e9);
    limits.abort_ns = (uint64_t)(field(L, "run_abort") * 1e9);
    limits.total_ns = (uint64_t)(field(L, "request_cpu") * 1e9);
    limits.heap_max = (uint64_t)field(L, "heap_max_bytes");
    vm->limits.heap_max = limits.heap_max;
    if (limits.heap_max > 0 && limits.heap_max < vm->strings.max_bytes)
        vm->strings.max_bytes = limits.heap_max / 2;
    vm->limits.max_tasks = (unsigned)field(L, "max_tasks");
    err = watchdog_new(&vm->watchdog, vm->L, &vm->log, &limits, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushboolean(L, 1);
    return 1;
}

/* limit_counts(): what was stopped or refused for a limit; or nil: there are
 * none. */
static int l_counts(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const struct watchdog_counts *counts;

    if (vm->watchdog == NULL)
        return 0;
    counts = watchdog_counts(vm->watchdog);
    lua_createtable(L, 0, 8);
    field_number(L, "warnings", (double)counts->warnings);
    field_number(L, "aborted_runs", (double)counts->aborted_runs);
    field_number(L, "aborted_tasks", (double)counts->aborted_tasks);
    field_number(L, "aborted_heaps", (double)counts->aborted_heaps);
    field_number(L, "refused_heap", (double)vm->limits.refused_heap);
    field_number(L, "refused_tasks", (double)vm->limits.refused_tasks);
    field_number(L, "collections", (double)vm->limits.collections);
    return 1;
}

/* refusal(): why there may be no task more; or nil. */
static int l_refusal(lua_State *L)
{
    const char *why;

    if (limits_admit(vm_of(L), &why))
        return 0;
    lua_pushstring(L, why);
    return 1;
}

/* exempt([is_exempt]): the running task, and what it starts, may take as long
 * as it likes; with false not any more, from its next run on. */
static int l_exempt(lua_State *L)
{
    struct task *task = task_check(L);

    lua_settop(L, 1);
    if (!task->is_exempt)
        (void)watchdog_end(task->vm->watchdog);
    task->is_exempt = lua_isnil(L, 1) || lua_toboolean(L, 1);
    return 0;
}

/* on_suspect(fn): once, when the state should be replaced: fn(reason). */
static int l_on_suspect(lua_State *L)
{
    struct vm *vm = vm_of(L);

    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, vm->limits.on_suspect_ref);
    vm->limits.on_suspect_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* tell_when_stuck(): at SIGQUIT it says where it is. */
static int l_tell_when_stuck(lua_State *L)
{
    stuck_watch(vm_of(L));
    return 0;
}

/* ---- texts of which one call makes one: too large where a large one is in
 * it many times.  Raise at the line of the script, two levels up. */

enum { NUMBER_MAX = 512 }; /* bytes of one that is formatted */

static void add_text(lua_State *L, size_t *sum, int index, size_t between)
{
    *sum += between;
    if (lua_type(L, index) == LUA_TSTRING)
        *sum += lua_objlen(L, index);
    if (*sum <= vm_of(L)->strings.max_bytes)
        return;
    luaL_where(L, 2);
    lua_pushfstring(L, "%sresulting string too large", lua_tostring(L, -1));
    lua_error(L);
}

/* bound_format(...): of string.format. */
static int l_bound_format(lua_State *L)
{
    size_t sum = 0;

    for (int i = 1; i <= lua_gettop(L); i++)
        add_text(L, &sum, i, NUMBER_MAX);
    return 0;
}

/* bound_concat(...): of table.concat, which refuses what is no list of texts.
 */
static int l_bound_concat(lua_State *L)
{
    size_t sum = 0, between = 0;
    lua_Integer at, to;
    int type = LUA_TSTRING;

    if (!lua_istable(L, 1))
        return 0;
    lua_settop(L, 4);
    if (lua_isstring(L, 2))
        lua_tolstring(L, 2, &between);
    at = lua_isnil(L, 3) ? 1 : lua_tointeger(L, 3);
    to = lua_isnil(L, 4) ? (lua_Integer)lua_objlen(L, 1) : lua_tointeger(L, 4);
    for (; at <= to && type != LUA_TNIL; at++) {
        lua_rawgeti(L, 1, (int)at);
        type = lua_type(L, -1);
        add_text(L, &sum, -1, between);
        lua_pop(L, 1);
    }
    return 0;
}

static const luaL_Reg functions[] = {
    { "tell_when_stuck", l_tell_when_stuck },
    { "bound_format", l_bound_format },
    { "bound_concat", l_bound_concat },
    { "limits", l_limits },
    { "limit_counts", l_counts },
    { "refusal", l_refusal },
    { "exempt", l_exempt },
    { "on_suspect", l_on_suspect },
    { NULL, NULL },
};

void bind_limits(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
