/* runtime.c - see tidepool.h: the life of a runtime, over vm, tasks and pools.
 */
#include "host/inside.h"

#include "script/task.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert((int)TIDE_CONFLICT == (int)ERR_CONFLICT &&
                   (int)TIDE_CONFLICT + 1 == (int)ERR_COUNT,
               "tidepool.h has the codes of base/err.h");

/* ---- versions and errors */

int tide_abi_version(void)
{
    return TIDE_ABI;
}

const char *tide_version(void)
{
    return TIDEPOOL_VERSION;
}

struct code {
    const char *name;
    const char *text;
};

/* Those that only hosts see. */
static const struct code *host_code(int code)
{
    static const struct code codes[] = {
        { "thread", "the runtime belongs to another thread" },
        { "forked", "the runtime belongs to the parent process" },
        { "misused", "the call is not possible now" },
        { "abi_differs", "the header is of another version than the library" },
        { "script", "the script raised an error" },
    };
    static const struct code unknown = { "unknown", "no code of tidepool" };

    if (code < TIDE_THREAD || code > TIDE_SCRIPT)
        return &unknown;
    return &codes[code - TIDE_THREAD];
}

const char *tide_error_name(int code)
{
    if (code >= 0 && code < ERR_COUNT)
        return err_code((enum err)code);
    return host_code(code)->name;
}

const char *tide_error_text(int code)
{
    if (code >= 0 && code < ERR_COUNT)
        return err_sentence((enum err)code);
    return host_code(code)->text;
}

const char *tide_last_error(const tide_runtime *runtime)
{
    return runtime->error.text;
}

int host_fail(tide_runtime *runtime, int code, const char *format, ...)
{
    char line[ERR_TEXT_MAX] = "";
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    err_text_set(&runtime->error, "%s", line);
    return code;
}

bool host_is_forked(const tide_runtime *runtime)
{
    return runtime->pid != getpid();
}

int host_check(const tide_runtime *runtime)
{
    if (host_is_forked(runtime))
        return TIDE_FORKED;
    return pthread_equal(runtime->thread, pthread_self()) ? TIDE_OK
                                                          : TIDE_THREAD;
}

int host_enter(tide_runtime *runtime)
{
    int code = host_check(runtime);

    if (code == TIDE_OK)
        runtime->error.text[0] = '\0';
    return code;
}

int host_check_outside(tide_runtime *runtime)
{
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->is_stepping || runtime->calls_out > 0)
        return host_fail(runtime, TIDE_MISUSED,
                         "called from inside of a callback");
    return TIDE_OK;
}

/* ---- opening */

void tide_options_init_sized(tide_options *options, size_t size, uint32_t abi)
{
    memset(options, 0, size);
    options->size = size;
    options->abi = abi;
}

/* Whatever follows what we know of must be zero. */
static bool has_unknown(const tide_options *options)
{
    const char *bytes = (const char *)options;

    for (size_t i = sizeof(*options); i < options->size; i++)
        if (bytes[i] != 0)
            return true;
    return false;
}

/* Of a size that may be another than ours. */
static int take_options(tide_options *own, const tide_options *options)
{
    static const size_t least = offsetof(tide_options, uv_loop);

    if (options == NULL || options->size < least)
        return TIDE_BADARG;
    if (options->abi != TIDE_ABI)
        return TIDE_ABI_DIFFERS;
    if (has_unknown(options))
        return TIDE_BADARG;
    tide_options_init(own);
    memcpy(own, options,
           options->size < sizeof(*own) ? options->size : sizeof(*own));
    return TIDE_OK;
}

int tide_open(tide_runtime **out, const tide_options *options)
{
    struct vm_options vm_options;
    tide_runtime *runtime;
    tide_options own;
    enum err err;
    int code = take_options(&own, options);

    if (code != TIDE_OK)
        return code;
    runtime = calloc(1, sizeof(*runtime));
    if (runtime == NULL)
        return TIDE_NOMEM;
    vm_options = (struct vm_options){ .uv_loop = own.uv_loop,
                                      .write_log = own.write_log,
                                      .ud = own.ud,
                                      .allocate = own.allocate,
                                      .allocate_ud = own.allocate_ud,
                                      .clock = { own.now_ns, own.now_ud },
                                      .random = own.random,
                                      .random_ud = own.random_ud };
    err = vm_new(&runtime->vm, &vm_options);
    if (err != ERR_OK) {
        free(runtime);
        return (int)err;
    }
    runtime->vm->stamps_ready = true;
    list_init(&runtime->calls);
    list_init(&runtime->operations);
    list_init(&runtime->leases);
    list_init(&runtime->pools);
    list_init(&runtime->named);
    runtime->max_posts = own.max_posts;
    runtime->has_own_loop = own.uv_loop == NULL;
    runtime->thread = pthread_self();
    runtime->pid = getpid();
    *out = runtime;
    return TIDE_OK;
}

/* ---- a module run to its end */

static void on_main_ended(struct task *task, void *ud)
{
    tide_runtime *runtime = ud;

    runtime->is_done = true;
    runtime->status = task->status != 0 ? 1 : (int)lua_tointeger(task->L, 1);
}

static bool is_busy(const tide_runtime *runtime)
{
    return runtime->vm->live.len > 0 || runtime->operations.len > 0;
}

static bool has_pools(const tide_runtime *runtime)
{
    return runtime->vm->pools.len > 0 || runtime->pools.len > 0;
}

/* Cancels what runs and closes what is open; two seconds are enough for tasks
 * that unwind and for what their leases must finish. */
static void wind_up(tide_runtime *runtime)
{
    struct vm *vm = runtime->vm;
    uint64_t end_ns = loop_now_ns(vm->loop) + 2000000000ULL;

    vm_cancel_tasks(vm);
    host_pools_close(runtime);
    while (is_busy(runtime) && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
    vm_close_pools(vm);
    while (has_pools(runtime) && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
}

/* Under memory_protect(): the main task's function and arguments. */
struct main_call {
    tide_runtime *runtime;
    const char *module;
    int argc;
    const char *const *argv;
};

static int start_main(lua_State *L)
{
    static const char chunk[] =
        "local module = ... return require(module).main(select(2, ...))";
    struct main_call *call = lua_touserdata(L, 1);
    struct task *task;

    if (luaL_loadbuffer(L, chunk, sizeof(chunk) - 1, "=main") != 0)
        return lua_error(L);
    luaL_checkstack(L, call->argc + 2, "too many arguments");
    lua_pushstring(L, call->module);
    for (int i = 0; i < call->argc; i++)
        lua_pushstring(L, call->argv[i]);
    task = task_spawn(call->runtime->vm, L, call->argc + 1, NULL);
    task->on_end = on_main_ended;
    task->on_end_ud = call->runtime;
    memcpy(task->label, "main", sizeof("main"));
    return 0;
}

int tide_run_module(tide_runtime *runtime, const char *module, int argc,
                    const char *const *argv, int *status)
{
    struct main_call call = { runtime, module, argc, argv };
    struct vm *vm = runtime->vm;
    int code = host_check_outside(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->has_run)
        return host_fail(runtime, TIDE_MISUSED, "this runtime ran a module");
    runtime->has_run = true;
    vm->stamps_ready = false;
    if (memory_protect(vm, start_main, &call) != 0) {
        lua_pop(vm->L, 1);
        return ERR_NOMEM;
    }
    runtime->is_stepping = true;
    while (!runtime->is_done)
        loop_turn(vm->loop, -1);
    wind_up(runtime);
    runtime->is_stepping = false;
    *status = runtime->status;
    return ERR_OK;
}

/* ---- closing */

int tide_close(tide_runtime *runtime)
{
    int code;

    if (runtime == NULL)
        return TIDE_OK;
    code = host_check_outside(runtime);
    if (code != TIDE_OK)
        return code;
    runtime->is_closed = true;
    runtime->is_closing = true;
    host_posts_refuse(runtime);
    runtime->is_stepping = true;
    loop_drop_clock(runtime->vm->loop);
    wind_up(runtime);
    host_calls_abandon(runtime);
    host_posts_free(runtime->posts);
    host_pools_free(runtime);
    vm_free(runtime->vm);
    free(runtime);
    return TIDE_OK;
}
