/* state.c - see state.h. */
#include "script/state.h"

#include "script/core.h"
#include "script/lua_modules.h"
#include "script/watchdog.h"

#include <string.h>

/* Of what one call of the string library makes, unless limits() says less. */
static const size_t STRING_MAX_BYTES = (size_t)1 << 30;

int luaopen_cjson(lua_State *L);
int luaopen_lpeg(lua_State *L);

/* By its text when the bytecode is another LuaJIT's. */
static int load_module(lua_State *L)
{
    const struct lua_module *module = lua_touserdata(L, lua_upvalueindex(1));

    if (luaL_loadbufferx(L, module->code, module->code_len, module->chunk,
                         "b") != 0) {
        lua_pop(L, 1);
        if (luaL_loadbufferx(L, module->text, module->text_len, module->chunk,
                             "t") != 0)
            return lua_error(L);
    }
    lua_pushvalue(L, LUA_ENVIRONINDEX);
    lua_setfenv(L, -2);
    lua_pushstring(L, module->name);
    lua_call(L, 1, 1);
    return 1;
}

static bool is_over(void *ud)
{
    const struct vm *vm = ud;

    return watchdog_is_over(vm->watchdog);
}

static void end_run(void *ud, lua_State *L)
{
    struct vm *vm = ud;

    watchdog_raise(vm->watchdog, L);
}

static int open_core(lua_State *L)
{
    struct vm *vm = lua_touserdata(L, lua_upvalueindex(1));

    lua_newtable(L);
    bind_err(L, vm);
    bind_task(L, vm);
    bind_children(L, vm);
    bind_ending(L, vm);
    bind_waiter(L, vm);
    bind_pool(L, vm);
    bind_login(L, vm);
    bind_lease(L, vm);
    bind_hooks(L, vm);
    bind_failure(L, vm);
    bind_rows(L, vm);
    bind_param_value(L, vm);
    bind_formats(L, vm);
    bind_pg(L, vm);
    bind_redis(L, vm);
    bind_pubsub(L, vm);
    bind_listen(L, vm);
    bind_copy(L, vm);
    bind_policy(L, vm);
    bind_sim(L, vm);
    bind_trace(L, vm);
    bind_events(L, vm);
    bind_http(L, vm);
    bind_request(L, vm);
    bind_origin(L, vm);
    bind_sockets(L, vm);
    bind_files(L, vm);
    bind_journal(L, vm);
    bind_process(L, vm);
    bind_manager(L, vm);
    bind_budget(L, vm);
    bind_tls(L, vm);
    bind_load(L, vm);
    bind_terminal(L, vm);
    bind_limits(L, vm);
    bind_confine(L, vm);
    bind_core(L, vm);
    bind_compile(L, vm);
    return 1;
}

bool state_push_loader(lua_State *L, struct vm *vm, const char *name)
{
    static const luaL_Reg in_c[] = {
        { "tidepool.core", open_core },
        { "cjson", luaopen_cjson },
        { "lpeg", luaopen_lpeg },
        { NULL, NULL },
    };

    for (const luaL_Reg *entry = in_c; entry->name != NULL; entry++) {
        if (strcmp(entry->name, name) != 0)
            continue;
        lua_pushlightuserdata(L, vm);
        lua_pushcclosure(L, entry->func, 1);
        return true;
    }
    for (const struct lua_module *module = lua_modules; module->name != NULL;
         module++) {
        if (strcmp(module->name, name) != 0)
            continue;
        lua_pushlightuserdata(L, (void *)(uintptr_t)module);
        lua_pushcclosure(L, load_module, 1);
        return true;
    }
    return false;
}

void state_bound_strings(struct vm *vm)
{
    vm->strings = (struct string_bounds){ .max_bytes = STRING_MAX_BYTES,
                                          .is_over = is_over,
                                          .end = end_run,
                                          .ud = vm };
}

/* For tests: what strings_bind() replaces. */
static void keep_originals(lua_State *L)
{
    lua_newtable(L);
    lua_getglobal(L, "string");
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_settable(L, -5);
    }
    lua_pop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "tidepool.string");
}

/* Else math.random() is the same in every process. */
static void seed_math(lua_State *L, struct vm *vm)
{
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (lua_Number)rand_below(&vm->rand, 1ULL << 53));
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

/* package.preload is on top. */
static void preload(lua_State *L, struct vm *vm, const char *name)
{
    if (state_push_loader(L, vm, name))
        lua_setfield(L, -2, name);
}

int state_set_up(lua_State *L)
{
    struct vm *vm = lua_touserdata(L, 1);

    luaL_openlibs(L);
    seed_math(L, vm);
    state_bound_strings(vm);
    keep_originals(L);
    strings_bind(L, &vm->strings);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const struct lua_module *module = lua_modules; module->name != NULL;
         module++)
        preload(L, vm, module->name);
    preload(L, vm, "tidepool.core");
    preload(L, vm, "cjson");
    preload(L, vm, "lpeg");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidepool.start");
    lua_call(L, 1, 0);
    return 0;
}
