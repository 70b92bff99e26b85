/* vm.c - see vm.h. */
#include "script/vm.h"
#include "base/number.h"
#include "net/budget_port.h"
#include "net/secret.h"
#include "script/lua_modules.h"
#include "script/stuck.h"
#include "script/task.h"
#include "script/watchdog.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of what one call of the string library makes, unless limits() says less. */
static const size_t STRING_MAX_BYTES = (size_t)1 << 30;

/* One step of the collector for this much memory that it cannot see. */
enum { EXTERNAL_STEP_BYTES = 256 * 1024 };

/* Where a metatable has the table of its type's methods. */
enum { METHODS = 1 };

int luaopen_cjson(lua_State *L);
int luaopen_lpeg(lua_State *L);

void vm_register(lua_State *L, struct vm *vm, const luaL_Reg *functions)
{
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++) {
        lua_pushlightuserdata(L, vm);
        lua_pushcclosure(L, entry->func, 1);
        lua_setfield(L, -2, entry->name);
    }
}

void vm_extend(lua_State *L, struct vm *vm, const char *name,
               const luaL_Reg *functions)
{
    lua_getfield(L, -1, name);
    vm_register(L, vm, functions);
    lua_pop(L, 1);
}

/* Moves a function to the metatable below when only the state is to call it:
 * scripts that could would hand it values of other types. */
static void take_metamethod(lua_State *L, const char *name)
{
    if (strncmp(name, "__", 2) != 0)
        return;
    lua_getfield(L, -1, name);
    lua_setfield(L, -3, name);
    lua_pushnil(L);
    lua_setfield(L, -2, name);
}

void vm_metatable(lua_State *L, struct vm *vm, const char *type,
                  const luaL_Reg *functions)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index"); /* unless they hold one */
    vm_register(L, vm, functions);
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++)
        take_metamethod(L, entry->name);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, METHODS);
    lua_pushboolean(L, 0);
    lua_setfield(L, -3, "__metatable");
    lua_pushlightuserdata(L, (void *)type);
    lua_pushvalue(L, -3);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_remove(L, -2);
}

void vm_push_metatable(lua_State *L, const char *type)
{
    lua_pushlightuserdata(L, (void *)type);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

void vm_push_methods(lua_State *L, const char *type)
{
    vm_push_metatable(L, type);
    lua_rawgeti(L, -1, METHODS);
    lua_remove(L, -2);
}

void vm_set_type(lua_State *L, const char *type)
{
    vm_push_metatable(L, type);
    lua_setmetatable(L, -2);
}

bool vm_is_type(lua_State *L, int index, const char *type)
{
    bool is;

    if (!lua_getmetatable(L, index))
        return false;
    vm_push_metatable(L, type);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

void vm_refuse_type(lua_State *L, int index, const char *type)
{
    static const char ours[] = "tidepool.";
    const char *name =
        strncmp(type, ours, strlen(ours)) == 0 ? type + strlen(ours) : type;

    raise_at_script(L, "%s expected, got %s%s", name,
                    lua_isnone(L, index) ? "nothing" : luaL_typename(L, index),
                    index == 1 ? ": methods are called with a colon, as in "
                                 "db:one(sql)"
                               : "");
}

void *vm_check_type(lua_State *L, int index, const char *type)
{
    void *value = lua_touserdata(L, index);

    if (value == NULL || !vm_is_type(L, index, type))
        vm_refuse_type(L, index, type);
    return value;
}

void vm_external_memory(struct vm *vm, lua_State *L, size_t bytes)
{
    vm->external_bytes += bytes;
    if (vm->external_bytes < EXTERNAL_STEP_BYTES)
        return;
    lua_gc(L, LUA_GCSTEP, (int)(vm->external_bytes / 1024));
    vm->external_bytes = 0;
}

void vm_site(lua_State *L, int level, char *out, size_t size)
{
    lua_Debug debug;
    size_t len;

    assert(size > NUMBER_TEXT_MAX + 1);
    if (!lua_getstack(L, level, &debug) || !lua_getinfo(L, "Sl", &debug) ||
        debug.currentline <= 0) {
        memcpy(out, "?", sizeof("?"));
        return;
    }
    /* No printf: every acquire comes by. */
    len = strnlen(debug.short_src, size - NUMBER_TEXT_MAX - 1);
    memcpy(out, debug.short_src, len);
    out[len++] = ':';
    number_text(out + len, debug.currentline);
}

enum err vm_random(struct vm *vm, void *out, size_t len)
{
    const struct vm_options *options = &vm->options;

    if (options->random == NULL)
        return secret_random(out, len);
    return options->random(options->random_ud, out, len) == 0 ? ERR_OK
                                                              : ERR_INTERNAL;
}

/* ---- log */

static uint64_t unix_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Who says it: the worker, and what request it was busy with. */
static void say_who(struct vm *vm, struct log_field *out)
{
    struct origin *origin = vm->speaks_for;

    if (origin == NULL && vm->current != NULL)
        origin = task_origin(vm->current);
    if (vm->worker > 0)
        *out++ = (struct log_field)LOG_INT("worker", vm->worker);
    if (origin != NULL)
        *out++ = (struct log_field)LOG_STR("request", origin->id);
    if (origin != NULL && origin->has_trace)
        *out++ = (struct log_field)LOG_STR("trace_id", origin->trace.trace_id);
    out->type = LOG_END_TYPE;
}

static void write_log(void *ud, enum log_level level, const char *event,
                      const struct log_field *fields)
{
    struct vm *vm = ud;
    struct log_field origin[4];
    struct log_line line = { .unix_ns = unix_now_ns(),
                             .level = level,
                             .event = event,
                             .origin = origin,
                             .fields = fields };

    say_who(vm, origin);

    buf_clear(&vm->log_line);
    if (vm->log_form == LOG_FORM_JSON)
        log_format_json(&vm->log_line, &line);
    else
        log_format_logfmt(&vm->log_line, &line);
    buf_put_char(&vm->log_line, '\n');
    if (!buf_failed(&vm->log_line))
        vm->options.write_log(vm->options.ud, vm->log_line.data,
                              vm->log_line.len);
}

/* ---- modules */

static int load_module(lua_State *L)
{
    const struct lua_module *module = lua_touserdata(L, lua_upvalueindex(1));

    if (luaL_loadbufferx(L, module->text, module->text_len, module->chunk,
                         "t") != 0)
        return lua_error(L);
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
    return 1;
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

/* Everything runs under lua_pcall, so that no memory is an error, no panic. */
static int set_up(lua_State *L)
{
    struct vm *vm = lua_touserdata(L, 1);

    luaL_openlibs(L);
    seed_math(L, vm);
    vm->strings = (struct string_bounds){ .max_bytes = STRING_MAX_BYTES,
                                          .is_over = is_over,
                                          .end = end_run,
                                          .ud = vm };
    keep_originals(L);
    strings_bind(L, &vm->strings);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const struct lua_module *module = lua_modules; module->name != NULL;
         module++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)module);
        lua_pushcclosure(L, load_module, 1);
        lua_setfield(L, -2, module->name);
    }
    lua_pushcfunction(L, luaopen_cjson);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, luaopen_lpeg);
    lua_setfield(L, -2, "lpeg");
    lua_pushlightuserdata(L, vm);
    lua_pushcclosure(L, open_core, 1);
    lua_setfield(L, -2, "tidepool.core");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidepool.start");
    lua_call(L, 1, 0);
    return 0;
}

/* By the text: the code is another one when it was raised again on the way. */
static bool is_out_of_memory(lua_State *L)
{
    const char *text = lua_tostring(L, -1);

    return text != NULL && strstr(text, "not enough memory") != NULL;
}

enum err vm_new(struct vm **out, const struct vm_options *options)
{
    uint64_t seeds[3];
    enum err err = ERR_NOMEM;
    struct vm *vm = calloc(1, sizeof(*vm));

    if (vm == NULL)
        goto fail;
    vm->options = *options;
    vm->log.sink = options->write_log != NULL ? write_log : NULL;
    vm->log.ud = vm;
    vm->log.level = LOG_INFO;
    list_init(&vm->pools);
    list_init(&vm->pilots);
    vm->limits.on_suspect_ref = LUA_NOREF;
    err = vm_random(vm, seeds, sizeof(seeds));
    if (err != ERR_OK)
        goto fail;
    vm->rand.state = seeds[0];
    origin_source_init(&vm->origins, seeds + 1);
    err = loop_new(&vm->loop, options->uv_loop, options->clock);
    if (err != ERR_OK)
        goto fail;
    err = ERR_NOMEM;
    vm->L = options->allocate != NULL
                ? lua_newstate(options->allocate, options->allocate_ud)
                : luaL_newstate();
    if (vm->L == NULL)
        goto fail;
    if (lua_cpcall(vm->L, set_up, vm) != 0) {
        if (is_out_of_memory(vm->L))
            goto fail;
        log_event(&vm->log, LOG_ERROR, "the runtime's own modules failed",
                  LOG_STR("error", lua_tostring(vm->L, -1)));
        err = ERR_INTERNAL;
        goto fail;
    }
    *out = vm;
    return ERR_OK;

fail:
    if (vm != NULL && vm->L != NULL)
        lua_close(vm->L);
    if (vm != NULL)
        loop_free(vm->loop);
    free(vm);
    return err;
}

void vm_free(struct vm *vm)
{
    if (vm == NULL)
        return;
    assert(vm->current == NULL);
    stuck_unwatch(vm);
    watchdog_free(vm->watchdog);
    lua_close(vm->L);
    tasks_free(vm);
    if (vm->pools.len == 0) /* or the process ends before its pools */
        budget_port_close(vm->budget);
    loop_settle(vm->loop); /* closes what the state's end has let go of */
    loop_free(vm->loop);
    buf_free(&vm->log_line);
    buf_free(&vm->json);
    free(vm);
}
