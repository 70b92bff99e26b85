/* limits.c - see limits.h. */
#include "script/limits.h"

#include "base/clock.h"
#include "script/task.h"
#include "script/vm.h"
#include "script/watchdog.h"

/* A whole collection of a large heap takes hundreds of milliseconds. */
static const uint64_t COLLECT_EVERY_NS = 1000000000;
/* A heap that stays tight for so many collections holds what nobody will let go
 * of. */
enum { SUSPECT_LOOKS = 5 };

static uint64_t heap_bytes(const struct vm *vm)
{
    return (uint64_t)lua_gc(vm->L, LUA_GCCOUNT, 0) * 1024;
}

static void collect(struct vm *vm)
{
    struct script_limits *limits = &vm->limits;

    lua_gc(vm->L, LUA_GCCOLLECT, 0);
    limits->collections++;
    limits->collected_ns = loop_now_ns(vm->loop);
    limits->is_tight = heap_bytes(vm) >= limits->heap_max / 10 * 9;
    limits->tight_looks = limits->is_tight ? limits->tight_looks + 1 : 0;
    if (limits->tight_looks >= SUSPECT_LOOKS)
        limits_suspect(vm, "the Lua heap is full and nothing can be collected");
}

/* A task was just ended for the heap: what it had is garbage. */
static bool has_ended_one(struct vm *vm)
{
    uint64_t ended = 0;
    bool is_new;

    if (vm->watchdog != NULL)
        ended = watchdog_counts(vm->watchdog)->aborted_heaps;
    is_new = ended != vm->limits.ended;
    vm->limits.ended = ended;
    return is_new;
}

void limits_look(struct vm *vm)
{
    struct script_limits *limits = &vm->limits;
    uint64_t heap = heap_bytes(vm);

    if (limits->heap_max == 0)
        return;
    if (heap < limits->heap_max / 4 * 3) {
        limits->is_tight = false;
        limits->tight_looks = 0;
        return;
    }
    if (has_ended_one(vm) || limits->collected_ns == 0 ||
        elapsed_ns(limits->collected_ns, loop_now_ns(vm->loop)) >=
            COLLECT_EVERY_NS)
        collect(vm);
}

bool limits_admit(struct vm *vm, const char **why)
{
    struct script_limits *limits = &vm->limits;

    if (limits->is_tight) {
        limits->refused_heap++;
        *why = "the Lua heap is nearly full (script.heap_max_bytes)";
        limits_look(vm); /* where no task comes in, nobody else does */
        return false;
    }
    if (limits->max_tasks > 0 && vm->live.len >= limits->max_tasks) {
        limits->refused_tasks++;
        *why = "there are too many tasks (script.max_tasks)";
        return false;
    }
    return true;
}

void limits_suspect(struct vm *vm, const char *reason)
{
    lua_State *L = vm->L;
    int ref = vm->limits.on_suspect_ref;

    if (ref == LUA_NOREF)
        return;
    vm->limits.on_suspect_ref = LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    lua_pushstring(L, reason);
    task_spawn(vm, L, 1, NULL)->is_exempt = true; /* it must come to its end */
}
