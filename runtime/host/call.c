/* call.c - see tidepool.h: handlers called by name, each in a task. */
#include "host/operation.h"

#include "script/err.h"
#include "script/limits.h"
#include "script/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By enum tide_format. */
static const char *const format_names[] = { "raw", "json", "msgpack" };

enum { FORMATS = sizeof(format_names) / sizeof(*format_names) };

void tide_request_init_sized(tide_request *request, size_t size)
{
    memset(request, 0, size);
    request->size = size;
}

bool host_take_request(tide_request *own, const tide_request *request)
{
    if (request == NULL || request->size < offsetof(tide_request, timeout_ms))
        return false;
    tide_request_init(own);
    memcpy(own, request,
           request->size < sizeof(*own) ? request->size : sizeof(*own));
    return own->name != NULL && (own->payload != NULL || own->len == 0) &&
           own->format >= 0 && own->format < FORMATS;
}

uint64_t host_due_ns(const tide_runtime *runtime, uint64_t timeout_ms)
{
    if (timeout_ms == 0 || timeout_ms > UINT64_MAX / 4000000)
        return 0;
    return loop_now_ns(runtime->vm->loop) + timeout_ms * 1000000;
}

/* ---- the reply */

static int code_named(const char *name)
{
    for (int code = TIDE_BADARG; code <= TIDE_SCRIPT; code++)
        if (strcmp(tide_error_name(code), name) == 0)
            return code;
    return TIDE_SCRIPT; /* one that the script has made itself */
}

static const char *text_at(lua_State *L, int index)
{
    const char *text = lua_tostring(L, index);

    return text != NULL ? text : "";
}

static int format_named(const char *name)
{
    int format = TIDE_FORMAT_RAW;

    while (format < FORMATS - 1 && strcmp(format_names[format], name) != 0)
        format++;
    return format;
}

/* Of a task that ended as host.call() does: the bytes and the name of their
 * format, or nil, code, sentence.  What is borrowed stays on L's stack. */
static tide_reply reply_of(lua_State *L)
{
    tide_reply reply = { .error = "" };

    if (lua_type(L, 1) == LUA_TSTRING) {
        reply.payload = lua_tolstring(L, 1, &reply.len);
        reply.format = format_named(text_at(L, 2));
        return reply;
    }
    reply.code = code_named(text_at(L, 2));
    reply.error = text_at(L, 3);
    return reply;
}

/* Of one that was ended. */
static tide_reply reply_of_failure(lua_State *L)
{
    tide_reply reply = { .code = TIDE_SCRIPT, .error = "" };
    int error = lua_gettop(L);

    if (!is_err(L, error)) {
        reply.error = text_at(L, error);
        return reply;
    }
    lua_getfield(L, error, "code");
    reply.code = code_named(text_at(L, -1));
    lua_getfield(L, error, "message");
    reply.error = text_at(L, -1);
    return reply;
}

static void finish(struct host_call *call, const tide_reply *reply)
{
    tide_runtime *runtime = call->runtime;

    deadline_stop(runtime->vm->loop, &call->deadline);
    list_remove(&runtime->calls, &call->node);
    call->done(call, reply);
}

static void on_task_ended(struct task *task, void *ud)
{
    struct host_call *call = ud;
    tide_reply reply =
        task->status == 0 ? reply_of(task->L) : reply_of_failure(task->L);

    task->error_taken = true;
    if (call->is_late && reply.code == TIDE_CANCELLED) {
        reply.code = TIDE_TIMEOUT;
        reply.error = "the reply did not come within timeout_ms";
    }
    finish(call, &reply);
}

/* ---- beginning and ending */

static void on_due(struct deadline *deadline)
{
    struct host_call *call = container_of(deadline, struct host_call, deadline);

    call->is_late = true;
    task_cancel(call->task);
}

struct start {
    struct host_call *call;
    const tide_request *request;
};

/* Under memory_protect(). */
static int start_task(lua_State *L)
{
    struct start *start = lua_touserdata(L, 1);
    const tide_request *request = start->request;
    struct host_call *call = start->call;

    host_push(L, "tidepool.host",
              call->function != NULL ? call->function : "call");
    lua_pushstring(L, request->name);
    lua_pushlstring(L, request->len > 0 ? request->payload : "", request->len);
    lua_pushstring(L, format_names[request->format]);
    call->task = task_spawn(call->runtime->vm, L, 3, NULL);
    call->task->on_end = on_task_ended;
    call->task->on_end_ud = call;
    snprintf(call->task->label, TASK_LABEL_MAX, "%s", request->name);
    return 0;
}

int host_call_begin(tide_runtime *runtime, struct host_call *call,
                    const tide_request *request, uint64_t due_ns)
{
    struct start start = { call, request };
    struct vm *vm = runtime->vm;
    const char *why;

    if (!limits_admit(vm, &why))
        return host_fail(runtime, TIDE_BUSY, "%s", why);
    call->runtime = runtime;
    if (memory_protect(vm, start_task, &start) != 0) {
        lua_pop(vm->L, 1);
        return TIDE_NOMEM;
    }
    call->id = ++runtime->last_call_id;
    list_push_back(&runtime->calls, &call->node);
    call->deadline.fn = on_due;
    if (due_ns != 0)
        deadline_start(vm->loop, &call->deadline, due_ns);
    return TIDE_OK;
}

void host_calls_abandon(tide_runtime *runtime)
{
    static const tide_reply reply = { .code = TIDE_CANCELLED,
                                      .error = "the runtime was closed" };

    while (runtime->calls.len > 0) {
        struct host_call *call =
            container_of(list_first(&runtime->calls), struct host_call, node);
        call->task->on_end = NULL;
        finish(call, &reply);
    }
}

/* ---- calls with a callback */

struct call {
    struct host_call host;
    tide_reply_fn fn;
    void *ud;
    void (*free_ud)(void *ud);
};

static void on_done(struct host_call *host, const tide_reply *reply)
{
    struct call *call = container_of(host, struct call, host);
    tide_runtime *runtime = host->runtime;

    runtime->calls_out++;
    call->fn(call->ud, reply);
    if (call->free_ud != NULL)
        call->free_ud(call->ud);
    runtime->calls_out--;
    free(call);
}

static int refusal(tide_runtime *runtime)
{
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->is_closed)
        return host_fail(runtime, TIDE_CLOSED, "the runtime is drained");
    if (!runtime->has_script)
        return host_fail(runtime, TIDE_MISUSED, "no script is loaded");
    return TIDE_OK;
}

static int begin(tide_runtime *runtime, const char *function,
                 const tide_request *request, tide_reply_fn fn, uint64_t *id)
{
    tide_request own;
    struct call *call;
    int code = refusal(runtime);

    if (code != TIDE_OK)
        return code;
    if (fn == NULL || !host_take_request(&own, request))
        return host_fail(runtime, TIDE_BADARG,
                         "a request with a name, a format that there is and a "
                         "callback expected");
    call = calloc(1, sizeof(*call));
    if (call == NULL)
        return TIDE_NOMEM;
    call->fn = fn;
    call->ud = own.ud;
    call->free_ud = own.free_ud;
    call->host.done = on_done;
    call->host.function = function;
    code = host_call_begin(runtime, &call->host, &own,
                           host_due_ns(runtime, own.timeout_ms));
    if (code != TIDE_OK) {
        free(call);
        return code;
    }
    if (id != NULL)
        *id = call->host.id;
    return TIDE_OK;
}

int tide_call(tide_runtime *runtime, const tide_request *request,
              tide_reply_fn fn, uint64_t *id)
{
    return begin(runtime, NULL, request, fn, id);
}

int tide_begin_reload(tide_runtime *runtime, const char *text, tide_reply_fn fn,
                      void *ud)
{
    tide_request request;

    tide_request_init(&request);
    request.name = text != NULL ? "text" : "file";
    request.payload = text;
    request.len = text != NULL ? strlen(text) : 0;
    request.ud = ud;
    return begin(runtime, "begin_reload", &request, fn, NULL);
}

int tide_cancel(tide_runtime *runtime, uint64_t id)
{
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    list_each (node, &runtime->calls) {
        struct host_call *call = container_of(node, struct host_call, node);

        if (call->id == id && call->done == on_done) {
            task_cancel(call->task);
            return TIDE_OK;
        }
    }
    return host_operations_cancel(runtime, id) ? TIDE_OK : TIDE_BADARG;
}
