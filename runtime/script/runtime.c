/* runtime.c - see tidepool.h: the public API over vm, tasks and pools. */
#include "script/bind_pool.h"
#include "script/task.h"
#include "tidepool.h"

#include <stdlib.h>
#include <string.h>

struct tide_runtime {
    struct vm *vm;
    bool is_done; /* main has ended */
    int status;
};

void tide_options_init(tide_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

const char *tide_version(void)
{
    return TIDEPOOL_VERSION;
}

const char *tide_error_text(int code)
{
    return err_sentence((enum err)code);
}

int tide_open(tide_runtime **out, const tide_options *options)
{
    struct vm_options vm_options = { 0 };
    tide_runtime *runtime;
    enum err err;

    if (options == NULL || options->size < sizeof(*options))
        return ERR_BADARG;
    runtime = calloc(1, sizeof(*runtime));
    if (runtime == NULL)
        return ERR_NOMEM;
    vm_options.uv_loop = options->uv_loop;
    vm_options.write_log = options->write_log;
    vm_options.ud = options->ud;
    err = vm_new(&runtime->vm, &vm_options);
    if (err != ERR_OK) {
        free(runtime);
        return (int)err;
    }
    *out = runtime;
    return ERR_OK;
}

static void on_main_ended(struct task *task, void *ud)
{
    tide_runtime *runtime = ud;

    runtime->is_done = true;
    runtime->status = task->status != 0 ? 1 : (int)lua_tointeger(task->L, 1);
}

/* Cancels what runs and closes what is open; two seconds are enough for tasks
 * that unwind and for what their leases must finish. */
static void wind_up(struct vm *vm)
{
    uint64_t end_ns = loop_now_ns(vm->loop) + 2000000000ULL;

    list_each (node, &vm->live)
        task_cancel(container_of(node, struct task, live_node));
    while (vm->live.len > 0 && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
    list_each (node, &vm->pools)
        pool_begin_close(container_of(node, struct script_pool, node),
                         loop_now_ns(vm->loop));
    while (vm->pools.len > 0 && loop_now_ns(vm->loop) < end_ns)
        loop_turn(vm->loop, 100);
}

/* Under lua_cpcall: the main task's function and arguments. */
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

    if (lua_cpcall(vm->L, start_main, &call) != 0) {
        lua_pop(vm->L, 1);
        return ERR_NOMEM;
    }
    while (!runtime->is_done)
        loop_turn(vm->loop, -1);
    wind_up(vm);
    *status = runtime->status;
    return ERR_OK;
}

void tide_close(tide_runtime *runtime)
{
    if (runtime == NULL)
        return;
    vm_free(runtime->vm);
    free(runtime);
}
