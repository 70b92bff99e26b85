/* vm.c - see vm.h. */
#include "script/vm.h"
#include "base/number.h"
#include "net/budget_port.h"
#include "net/secret.h"
#include "script/bind_pool.h"
#include "script/guest.h"
#include "script/state.h"
#include "script/stuck.h"
#include "script/task.h"
#include "script/watchdog.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From this much memory on that the collector cannot see it works for it, in
 * parts of some ten microseconds. */
enum { EXTERNAL_STEP_BYTES = 256 * 1024, COLLECT_KB = 16 };
static const size_t COLLECT_BYTES = (size_t)COLLECT_KB * 1024;

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

/* As if it were garbage that Lua had made; until it has been all through. */
static void collect(struct loop_job *job)
{
    struct vm *vm = container_of(job, struct vm, collect);
    bool is_through = false;

    while (!is_through && vm->external_bytes >= COLLECT_BYTES) {
        vm->external_bytes -= COLLECT_BYTES;
        is_through = lua_gc(vm->L, LUA_GCSTEP, COLLECT_KB) == 1;
        if (!is_through && loop_is_over(vm->loop)) {
            loop_defer(vm->loop, LOOP_RUN, &vm->collect);
            return;
        }
    }
    vm->external_bytes = 0;
}

void vm_external_memory(struct vm *vm, size_t bytes)
{
    vm->external_bytes += bytes;
    if (vm->external_bytes >= EXTERNAL_STEP_BYTES)
        loop_defer(vm->loop, LOOP_RUN, &vm->collect);
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

/* ---- life */

/* By the text: the code is another one when it was raised again on the way. */
static bool is_out_of_memory(lua_State *L)
{
    const char *text = lua_tostring(L, -1);

    return text != NULL && strstr(text, "not enough memory") != NULL;
}

enum err vm_init(struct vm *vm, const struct vm_options *options)
{
    uint64_t seeds[3];
    enum err err;

    memset(vm, 0, sizeof(*vm));
    vm->options = *options;
    vm->log.sink = options->write_log != NULL ? write_log : NULL;
    vm->log.ud = vm;
    vm->log.level = LOG_INFO;
    list_init(&vm->pools);
    list_init(&vm->pilots);
    vm->collect.fn = collect;
    vm->limits.on_suspect_ref = LUA_NOREF;
    err = vm_random(vm, seeds, sizeof(seeds));
    if (err != ERR_OK)
        return err;
    vm->rand.state = seeds[0];
    origin_source_init(&vm->origins, seeds + 1);
    return loop_new(&vm->loop, options->uv_loop, options->clock);
}

void vm_deinit(struct vm *vm)
{
    tasks_free(vm);
    loop_cancel(vm->loop, LOOP_RUN, &vm->collect);
    if (vm->pools.len == 0) /* or the process ends before its pools */
        budget_port_close(vm->budget);
    loop_settle(vm->loop); /* closes what the state's end has let go of */
    loop_free(vm->loop);
    buf_free(&vm->log_line);
    buf_free(&vm->json);
}

enum err vm_new(struct vm **out, const struct vm_options *options)
{
    enum err err = ERR_NOMEM;
    struct vm *vm = calloc(1, sizeof(*vm));

    if (vm == NULL)
        goto fail;
    err = vm_init(vm, options);
    if (err != ERR_OK)
        goto fail;
    err = ERR_NOMEM;
    vm->L = memory_new_state(vm);
    if (vm->L == NULL)
        goto fail;
    if (memory_protect(vm, state_set_up, vm) != 0) {
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

void vm_cancel_tasks(struct vm *vm)
{
    list_each (node, &vm->live)
        task_cancel(container_of(node, struct task, live_node));
}

void vm_close_pools(struct vm *vm)
{
    list_each (node, &vm->pools)
        pool_begin_close(container_of(node, struct script_pool, node),
                         loop_now_ns(vm->loop));
}

void vm_free(struct vm *vm)
{
    if (vm == NULL)
        return;
    assert(vm->current == NULL);
    stuck_unwatch(vm);
    watchdog_free(vm->watchdog);
    loop_cancel(vm->loop, LOOP_RUN, &vm->collect);
    lua_close(vm->L);
    vm_deinit(vm);
    free(vm);
}
