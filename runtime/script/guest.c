/* guest.c - see guest.h. */
#include "script/guest.h"
#include "script/err.h"
#include "script/state.h"
#include "script/task.h"
#include "script/userdata.h"

#include <luajit.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { THREAD_NAME_MAX = 16 };

/* For tasks that unwind, and for what their leases must finish. */
static const uint64_t WIND_UP_NS = 2000000000;

struct guest {
    struct vm vm;
    pthread_t thread; /* that it belongs to */
    pid_t thread_id;  /* the kernel's, for messages */
    pid_t pid;
    bool is_turning; /* the loop is */
    bool is_closed;
    void *sentinel; /* the last one */
};

/* What they name in the registry. */
static const char MODULE[] = "tidepool.module";
static const char ANCHOR[] = "tidepool.anchor";
static const char SENTINEL[] = "tidepool.sentinel";
static const char SENTINEL_TYPE[] = "tidepool.sentinel_type";
static const char PASSING[] = "tidepool.passing";

static void get_own(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)name);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Of the value on top, which is popped. */
static void set_own(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)name);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static struct guest *guest_of(lua_State *L)
{
    return vm_of(L)->guest;
}

/* ---- whose call it is */

static bool is_forked(const struct guest *guest)
{
    return guest->pid != getpid();
}

static void check_process(lua_State *L, const struct guest *guest)
{
    if (is_forked(guest))
        raise_at_script(L,
                        "tidepool belongs to the parent process %d, which "
                        "loaded it, and so do its connections",
                        (int)guest->pid);
}

static void check_thread(lua_State *L, const struct guest *guest)
{
    char name[THREAD_NAME_MAX] = "";

    if (pthread_equal(guest->thread, pthread_self()))
        return;
    (void)pthread_getname_np(pthread_self(), name, sizeof(name));
    raise_at_script(L,
                    "tidepool belongs to the thread %d, which loaded it into "
                    "this Lua state; the thread %d (%s) cannot call it",
                    (int)guest->thread_id, (int)gettid(), name);
}

static int change_nothing(lua_State *L)
{
    lua_pushcfunction(L, change_nothing); /* of which there is no byte code */
    (void)luaJIT_setmode(L, -1, LUAJIT_MODE_FUNC | LUAJIT_MODE_ON);
    return 0;
}

/* Coroutines must not yield there: LuaJIT takes it for a yield of a hook.  It
 * tells by refusing to change its mode. */
static bool is_in_finaliser(lua_State *L)
{
    bool is;

    lua_pushcfunction(L, change_nothing);
    is = lua_pcall(L, 0, 0, 0) != 0;
    if (is)
        lua_pop(L, 1);
    return is;
}

static bool may_pass(lua_State *L)
{
    bool may;

    get_own(L, PASSING);
    lua_pushthread(L);
    lua_rawget(L, -2);
    may = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return may;
}

void guest_check_wait(lua_State *L, const struct guest *guest)
{
    const struct task *task = guest->vm.current;

    check_process(L, guest);
    if (guest->is_closed && (task == NULL || !task->cancelled))
        raise_at_script(L, "tidepool was closed in this Lua state");
    if (task == NULL)
        raise_at_script(L, "this call waits, so it needs a task: call it in "
                           "the function that tide.run or tide.spawn runs");
    if (task->L != L && !may_pass(L))
        raise_at_script(L, "this call waits, and cannot through coroutine.wrap "
                           "and coroutine.resume: use tide.coroutine.wrap and "
                           "tide.coroutine.resume");
}

static int l_guarded_gc(lua_State *L)
{
    const struct vm *vm = lua_touserdata(L, lua_upvalueindex(1));

    if (is_forked(vm->guest))
        return 0;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

void guest_guard_finaliser(lua_State *L, struct guest *guest)
{
    lua_pushlightuserdata(L, &guest->vm);
    lua_insert(L, -2);
    lua_pushcclosure(L, l_guarded_gc, 2);
}

/* ---- the end */

static void wind_up(struct guest *guest)
{
    struct vm *vm = &guest->vm;
    uint64_t end_ns = loop_now_ns(vm->loop) + WIND_UP_NS;

    if (guest->is_closed || is_forked(guest))
        return;
    guest->is_closed = true;
    if (guest->vm.current != NULL || guest->is_turning)
        return; /* os.exit(0, true) in a task: the process ends */
    guest->is_turning = true;
    vm_cancel_tasks(vm);
    while (vm->live.len > 0 && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
    vm_close_pools(vm);
    while (vm->pools.len > 0 && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
    guest->is_turning = false;
}

struct sentinel {
    struct guest *guest;
};

static int l_sentinel_gc(lua_State *L)
{
    struct sentinel *sentinel = lua_touserdata(L, 1);

    if (sentinel->guest->sentinel == sentinel)
        wind_up(sentinel->guest);
    return 0;
}

/* The host goes on: what was made so far ends after the sentinel. */
static void renew_sentinel(lua_State *L, struct guest *guest)
{
    struct sentinel *sentinel = lua_newuserdata(L, sizeof(*sentinel));

    sentinel->guest = guest;
    vm_set_type(L, SENTINEL_TYPE);
    guest->sentinel = sentinel;
    set_own(L, SENTINEL);
}

static int l_anchor_gc(lua_State *L)
{
    struct guest *guest = lua_touserdata(L, 1);
    bool is_left = guest->is_turning || is_forked(guest);

    if (guest->vm.loop != NULL && !is_left) {
        wind_up(guest); /* it was, unless there is no sentinel yet */
        vm_deinit(&guest->vm);
    }
    guest->vm.is_over = true;
    return 0;
}

/* ---- what guest.lua is made of */

/* check_outside(what): raises for a call that turns the loop, or makes
 * something that lasts, where it is none of the host's. */
static int l_check_outside(lua_State *L)
{
    const struct guest *guest = guest_of(L);
    const char *what = luaL_checkstring(L, 1);

    check_process(L, guest);
    check_thread(L, guest);
    if (guest->is_closed)
        raise_at_script(L, "%s: tidepool was closed in this Lua state", what);
    if (is_in_finaliser(L))
        raise_at_script(L, "%s inside of a finaliser, where LuaJIT cannot wait",
                        what);
    if (guest->vm.current != NULL)
        raise_at_script(L,
                        "%s inside of a task (%s), which waits without it: "
                        "call the function itself, or tide.spawn",
                        what, guest->vm.current->label);
    if (guest->is_turning)
        raise_at_script(L,
                        "%s inside of a callback of the loop: use "
                        "tide.spawn",
                        what);
    return 0;
}

/* check_here(): the same, for what may be done in a task, too. */
static int l_check_here(lua_State *L)
{
    const struct guest *guest = guest_of(L);

    check_process(L, guest);
    check_thread(L, guest);
    if (guest->is_closed)
        raise_at_script(L, "tidepool was closed in this Lua state");
    return 0;
}

/* turn(milliseconds): one turn of the loop that waits for so long at most. */
static int l_turn(lua_State *L)
{
    struct guest *guest = guest_of(L);
    int timeout_ms = luaL_checkint(L, 1);

    if (guest->is_turning || guest->is_closed || is_forked(guest) ||
        is_in_finaliser(L))
        return 0;
    guest->is_turning = true;
    loop_turn(guest->vm.loop, timeout_ms);
    guest->is_turning = false;
    renew_sentinel(L, guest);
    return 0;
}

static int l_poll_fd(lua_State *L)
{
    lua_pushinteger(L, loop_poll_fd(vm_of(L)->loop));
    return 1;
}

/* For how long turn() may be put off, in milliseconds, -1: for ever; and
 * whether there are tasks. */
static int l_next_turn(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_pushinteger(L, loop_next_timeout_ms(vm->loop));
    lua_pushboolean(L, vm->live.len > 0);
    return 2;
}

/* keep_error(task): how it ends is for who asks outcome(task). */
static int l_keep_error(lua_State *L)
{
    task_of_handle(L, 1)->error_taken = true;
    return 0;
}

/* outcome(task): of one that has ended, as its wait() gives it. */
static int l_outcome(lua_State *L)
{
    return task_push_outcome(task_of_handle(L, 1), L);
}

static int l_wind_up(lua_State *L)
{
    wind_up(guest_of(L));
    return 0;
}

/* environment(): by name, as it is now. */
static int l_environment(lua_State *L)
{
    lua_newtable(L);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *end = strchr(*entry, '=');

        if (end == NULL)
            continue;
        lua_pushlstring(L, *entry, (size_t)(end - *entry));
        lua_pushstring(L, end + 1);
        lua_rawset(L, -3);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    { "environment", l_environment }, { "check_outside", l_check_outside },
    { "check_here", l_check_here },   { "turn", l_turn },
    { "poll_fd", l_poll_fd },         { "next_turn", l_next_turn },
    { "outcome", l_outcome },         { "keep_error", l_keep_error },
    { "wind_up", l_wind_up },         { NULL, NULL },
};

/* ---- the modules, in an environment of their own */

/* require(name) of our modules; upvalues: the vm, what is loaded, and the
 * environment.  What is not ours the host's finds. */
static int l_require(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *name = luaL_checkstring(L, 1);

    lua_getfield(L, lua_upvalueindex(2), name);
    if (!lua_isnil(L, -1))
        return 1;
    if (!state_push_loader(L, vm, name)) {
        lua_getglobal(L, "require");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_setfenv(L, -2);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1))
        lua_pushboolean(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, lua_upvalueindex(2), name);
    return 1;
}

/* Of the standard libraries: what the modules see, whatever the host makes of
 * its globals later. */
static void copy_globals(lua_State *L)
{
    static const char *const names[] = { "assert",     "error",
                                         "getfenv",    "getmetatable",
                                         "ipairs",     "load",
                                         "loadstring", "newproxy",
                                         "next",       "pairs",
                                         "pcall",      "print",
                                         "rawequal",   "rawget",
                                         "rawset",     "select",
                                         "setfenv",    "tonumber",
                                         "tostring",   "type",
                                         "unpack",     "setmetatable",
                                         "xpcall",     "bit",
                                         "coroutine",  "debug",
                                         "io",         "jit",
                                         "math",       "os",
                                         "package",    "string",
                                         "table",      NULL };

    for (const char *const *name = names; *name != NULL; name++) {
        lua_getglobal(L, *name);
        if (lua_isnil(L, -1))
            luaL_error(L,
                       "tidepool needs LuaJIT with all of its libraries, as "
                       "luaL_openlibs() opens them: there is no %s",
                       *name);
        lua_setfield(L, -2, *name);
    }
}

/* In the table on top: a copy, of which functions are replaced. */
static void copy_library(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_settable(L, -4);
    }
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

static void push_environment(lua_State *L, struct vm *vm)
{
    lua_newtable(L);
    copy_globals(L);
    copy_library(L, "coroutine");
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
    lua_pushlightuserdata(L, vm);
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, l_require, 3);
    lua_setfield(L, -2, "require");
}

/* Leaves module, of our modules. */
static void push_required(lua_State *L, const char *name)
{
    lua_getfield(L, -1, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* ---- the beginning */

static void write_log(void *ud, const char *line, size_t len)
{
    (void)ud;
    (void)fwrite(line, 1, len, stderr);
}

/* Coroutines that a call may wait in, which guest.lua fills. */
static void make_passing(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    set_own(L, PASSING);
}

static struct guest *make_guest(lua_State *L)
{
    struct vm_options options = { .write_log = write_log };
    struct guest *guest = lua_newuserdata(L, sizeof(*guest));

    memset(guest, 0, sizeof(*guest));
    guest->thread = pthread_self();
    guest->thread_id = gettid();
    guest->pid = getpid();
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_anchor_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    set_own(L, ANCHOR);
    if (vm_init(&guest->vm, &options) != ERR_OK)
        luaL_error(L, "tidepool: not enough memory for a loop");
    guest->vm.guest = guest;
    guest->vm.log.level = LOG_WARN;
    tasks_init(&guest->vm);
    state_bound_strings(&guest->vm);
    guest->vm.L = lua_newthread(L);
    (void)luaL_ref(L, LUA_REGISTRYINDEX); /* to the state's end */
    return guest;
}

static void make_sentinel_type(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_sentinel_gc);
    lua_setfield(L, -2, "__gc");
    set_own(L, SENTINEL_TYPE);
}

int guest_open(lua_State *L)
{
    struct guest *guest;

    get_own(L, MODULE);
    if (!lua_isnil(L, -1))
        return 1;
    guest = make_guest(L);
    make_sentinel_type(L);
    make_passing(L);
    push_environment(L, &guest->vm);
    push_required(L, "tidepool.core");
    vm_register(L, &guest->vm, functions);
    get_own(L, PASSING);
    lua_setfield(L, -2, "passing");
    lua_pop(L, 1);
    push_required(L, "tidepool.guest");
    renew_sentinel(L, guest);
    lua_pushvalue(L, -1);
    set_own(L, MODULE);
    return 1;
}
