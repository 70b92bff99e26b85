/* script.c - see tidepool.h: settings, a script, its next version, the end
 * of calls.  What they do is host.lua. */
#include "host/inside.h"

#include "base/clock.h"
#include "net/work.h"
#include "script/err.h"
#include "script/task.h"
#include "script/watchdog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint64_t LIMIT_NS = 60000000000ULL;
static const uint64_t STOP_NS = 2000000000; /* to end write-behinds */

/* A function of host.lua, called with texts; it gives nil, or a sentence on
 * what is wrong. */
struct host_function {
    tide_runtime *runtime;
    const char *name;
    const char *args[2]; /* NULL: nil */
    struct task *task;
    bool is_done;
    bool has_failed;
};

static void take_failure(struct host_function *function, lua_State *L,
                         int index)
{
    const char *text;

    if (is_err(L, index)) {
        lua_getfield(L, index, "message");
        index = -1;
    }
    text = lua_tostring(L, index);
    function->has_failed = true;
    (void)host_fail(function->runtime, TIDE_SCRIPT, "%s",
                    text != NULL ? text : "no reason was given");
}

void host_push(lua_State *L, const char *module, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, name);
}

static void push_function(lua_State *L, const struct host_function *function)
{
    host_push(L, "tidepool.host", function->name);
    lua_pushstring(L, function->args[0]);
    lua_pushstring(L, function->args[1]);
}

/* Under memory_protect(), for one that does not wait. */
static int call_now(lua_State *L)
{
    struct host_function *function = lua_touserdata(L, 1);

    push_function(L, function);
    lua_call(L, 2, 1);
    if (!lua_isnil(L, -1))
        take_failure(function, L, -1);
    return 0;
}

static void on_ended(struct task *task, void *ud)
{
    struct host_function *function = ud;

    function->is_done = true;
    task->error_taken = true;
    if (task->status != 0 || !lua_isnoneornil(task->L, 1))
        take_failure(function, task->L, task->status != 0 ? -1 : 1);
}

static int start(lua_State *L)
{
    struct host_function *function = lua_touserdata(L, 1);

    push_function(L, function);
    function->task = task_spawn(function->runtime->vm, L, 2, NULL);
    function->task->on_end = on_ended;
    function->task->on_end_ud = function;
    memcpy(function->task->label, "host", sizeof("host"));
    return 0;
}

static int run_protected(tide_runtime *runtime, lua_CFunction fn,
                         struct host_function *function)
{
    lua_State *L = runtime->vm->L;

    if (memory_protect(runtime->vm, fn, function) == 0)
        return TIDE_OK;
    (void)host_fail(runtime, TIDE_NOMEM, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return TIDE_NOMEM;
}

int tide_set(tide_runtime *runtime, const char *key, const char *value)
{
    struct host_function function = { .runtime = runtime,
                                      .name = "set",
                                      .args = { key, value } };
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->has_script)
        return host_fail(runtime, TIDE_MISUSED,
                         "settings are given before tide_load()");
    if (key == NULL || value == NULL)
        return host_fail(runtime, TIDE_BADARG, "a key and a value expected");
    code = run_protected(runtime, call_now, &function);
    return code == TIDE_OK && function.has_failed ? TIDE_BADARG : code;
}

/* host.lua has limits of its own, which a host's clock may never reach. */
static void turn_until_done(const struct host_function *function,
                            uint64_t end_ns)
{
    struct loop *loop = function->runtime->vm->loop;

    while (!function->is_done) {
        uint64_t left_ns = elapsed_ns(loop_system_ns(), end_ns);

        if (left_ns == 0)
            task_cancel(function->task);
        loop_turn(loop, (int)(left_ns / 1000000) + 1);
    }
}

/* Runs it in a task until it has returned, or is cancelled at end_ns. */
static int run_until(tide_runtime *runtime, struct host_function *function,
                     uint64_t end_ns)
{
    int code = run_protected(runtime, start, function);

    if (code != TIDE_OK)
        return code;
    runtime->is_stepping = true;
    turn_until_done(function, end_ns);
    runtime->is_stepping = false;
    return function->has_failed ? TIDE_SCRIPT : TIDE_OK;
}

static int run_to_its_end(tide_runtime *runtime, struct host_function *function)
{
    int code = host_check_outside(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->is_closed)
        return host_fail(runtime, TIDE_CLOSED, "the runtime is drained");
    return run_until(runtime, function, loop_system_ns() + LIMIT_NS);
}

int tide_load(tide_runtime *runtime, const char *path, const char *text)
{
    struct host_function function = { .runtime = runtime,
                                      .name = "load",
                                      .args = { path, text } };
    struct host_posts *posts;
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (path == NULL)
        return host_fail(runtime, TIDE_BADARG, "a path expected");
    posts = host_posts_new(runtime); /* a script that is loaded has them */
    if (posts == NULL)
        return TIDE_NOMEM;
    if (!runtime->has_script)
        work_prepare(runtime->vm->loop);
    code = run_to_its_end(runtime, &function);
    if (code != TIDE_OK) {
        host_posts_free(posts);
        return code;
    }
    runtime->posts = posts;
    runtime->has_script = true;
    return TIDE_OK;
}

int tide_reload(tide_runtime *runtime, const char *text)
{
    struct host_function function = { .runtime = runtime,
                                      .name = "reload",
                                      .args = { text, NULL } };

    return run_to_its_end(runtime, &function);
}

int tide_interrupt(tide_runtime *runtime)
{
    if (host_is_forked(runtime))
        return TIDE_FORKED;
    return watchdog_interrupt(runtime->vm->watchdog) ? TIDE_OK : TIDE_MISUSED;
}

static bool is_busy(const tide_runtime *runtime)
{
    return runtime->calls.len > 0 || runtime->operations.len > 0;
}

/* What scripts have put into write-behinds, until end_ns of the system's
 * clock. */
static int store_changes(tide_runtime *runtime, uint64_t end_ns)
{
    char left_ms[24];
    struct host_function function = { .runtime = runtime,
                                      .name = "store_changes",
                                      .args = { left_ms, NULL } };
    int code;

    snprintf(left_ms, sizeof(left_ms), "%" PRIu64,
             elapsed_ns(loop_system_ns(), end_ns) / 1000000);
    code = run_until(runtime, &function, end_ns + STOP_NS);
    return code == TIDE_SCRIPT ? TIDE_TIMEOUT : code;
}

int tide_drain(tide_runtime *runtime, uint64_t timeout_ms)
{
    struct loop *loop = runtime->vm->loop;
    int code = host_check_outside(runtime);
    uint64_t left_ms = timeout_ms < 1000000000 ? timeout_ms : 1000000000;
    uint64_t end_ns = loop_system_ns() + left_ms * 1000000;

    if (code != TIDE_OK)
        return code;
    runtime->is_closed = true;
    host_posts_refuse(runtime);
    runtime->is_stepping = true;
    while (is_busy(runtime) && loop_system_ns() < end_ns)
        loop_turn(loop,
                  (int)(elapsed_ns(loop_system_ns(), end_ns) / 1000000) + 1);
    runtime->is_stepping = false;
    if (is_busy(runtime))
        return TIDE_TIMEOUT;
    return runtime->has_script ? store_changes(runtime, end_ns) : TIDE_OK;
}
