/* bind_request.c - see bind_request.h: requests and replies as Lua values. */
#include "script/bind_request.h"

#include "http/request.h"
#include "http/strict.h"
#include "script/bind_rows.h"
#include "script/core.h"
#include "script/err.h"
#include "script/limits.h"
#include "script/task.h"
#include "script/userdata.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char REQUEST_TYPE[] = "tidepool.http_request";

/* ---- replies */

static bool read_header(lua_State *L, struct http_header *header)
{
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
        return false;
    header->name.bytes = lua_tolstring(L, -2, &header->name.len);
    header->value.bytes = lua_tolstring(L, -1, &header->value.len);
    return http_header_is_valid(header);
}

/* The name and the value on top; what would break the reply is left out. */
static void add_header(lua_State *L, struct vm *vm, struct http_header *headers,
                       struct http_reply *reply)
{
    if (reply->n_headers < REPLY_HEADERS_MAX &&
        read_header(L, &headers[reply->n_headers])) {
        reply->n_headers++;
        return;
    }
    log_event(&vm->log, LOG_WARN,
              "reply header left out: not valid, the "
              "server's own, or one too many",
              LOG_STR("name", lua_type(L, -2) == LUA_TSTRING
                                  ? lua_tostring(L, -2)
                                  : NULL));
}

/* The list on top, under its name: a header for each of its values. */
static void add_list(lua_State *L, struct vm *vm, struct http_header *headers,
                     struct http_reply *reply)
{
    int list = lua_gettop(L);
    int count = (int)lua_objlen(L, list);

    for (int i = 1; i <= count && i <= REPLY_HEADERS_MAX; i++) {
        lua_pushvalue(L, list - 1);
        lua_rawgeti(L, list, i);
        add_header(L, vm, headers, reply);
    }
}

/* A value is a string, or a list of them for a name that stands repeatedly.
 * What was read is left on the stack, since a number's text is nowhere else. */
void reply_headers(lua_State *L, struct vm *vm, int table,
                   struct http_header *headers, struct http_reply *reply)
{
    reply->headers = headers;
    if (!lua_istable(L, table))
        return;
    lua_pushnil(L);
    while (lua_checkstack(L, 2 * REPLY_HEADERS_MAX + 8) &&
           lua_next(L, table) != 0) {
        int key = lua_gettop(L) - 1;
        if (lua_istable(L, -1))
            add_list(L, vm, headers, reply);
        else
            add_header(L, vm, headers, reply);
        lua_pushvalue(L, key);
    }
}

static bool has_header(const struct http_reply *reply, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < reply->n_headers; i++)
        if (reply->headers[i].name.len == len &&
            strncasecmp(reply->headers[i].name.bytes, name, len) == 0)
            return true;
    return false;
}

static struct origin *origin_of(struct script_request *box,
                                const struct http_request *request)
{
    if (box->origin != NULL)
        return box->origin;
    box->origin =
        origin_new(&box->vm->origins, request->headers, request->n_headers);
    if (box->origin != NULL)
        box->origin_number = box->origin->number;
    return box->origin;
}

struct origin *request_origin(struct script_request *box)
{
    return box->request != NULL ? origin_of(box, box->request) : box->origin;
}

void tell_id(struct script_request *box, const struct http_request *request,
             struct http_header *headers, struct http_reply *reply)
{
    static const char name[] = "x-request-id";
    const struct origin *origin;

    if (box->origin == NULL && http_request_header(request, name) == NULL)
        return;
    origin = origin_of(box, request);
    if (origin == NULL || has_header(reply, name))
        return;
    headers[reply->n_headers++] =
        (struct http_header){ { name, sizeof(name) - 1 },
                              { origin->id, strlen(origin->id) } };
    reply->headers = headers;
}

static void send_failure(struct http_request *request, int status)
{
    static const char text[] = "internal error\n";
    struct http_reply reply = { .status = status,
                                .body = { text, sizeof(text) - 1 } };

    http_reply(request, &reply);
}

/* Rows that nobody looked at go from the result into the output. */
static void send_rows(lua_State *L, struct http_request *request,
                      const struct http_reply *reply)
{
    struct buf *out = http_reply_begin(request, reply);

    if (out != NULL)
        rows_put_json(L, 3, out);
    http_reply_end(request);
}

/* From status, headers, body on the handler's stack. */
static void send_result(lua_State *L, struct script_request *box,
                        struct http_request *request)
{
    struct vm *vm = box->vm;
    struct http_header headers[REPLY_HEADERS_MAX + 1];
    struct http_reply reply = { .status = (int)lua_tointeger(L, 1) };

    lua_settop(L, 3);
    lua_checkstack(L, 8);
    reply_headers(L, vm, 2, headers, &reply);
    tell_id(box, request, headers, &reply);
    if (is_rows(L, 3) && rows_are_untouched(L, 3)) {
        send_rows(L, request, &reply);
        return;
    }
    if (!lua_isnoneornil(L, 3) && !lua_isstring(L, 3)) {
        log_event(&vm->log, LOG_ERROR, "handler gave a body that is no text",
                  LOG_STR("type", luaL_typename(L, 3)));
        send_failure(request, 500);
        return;
    }
    if (lua_isstring(L, 3))
        reply.body.bytes = lua_tolstring(L, 3, &reply.body.len);
    http_reply(request, &reply);
}

void request_release(struct script_request *box)
{
    struct http_request *request = box->request;

    box->request = NULL;
    request->on_gone = NULL;
    request->on_draining = NULL;
    request->on_drained = NULL;
    request->on_body = NULL;
    body_end(box);
}

/* Of a handler that ended with an error, or was ended: the reply tells an id
 * only, by which the log tells more. */
static void answer_failure(struct task *task, struct script_request *box,
                           struct http_request *request)
{
    char text[ORIGIN_ID_MOST + 32];
    struct http_header headers[1];
    struct http_reply reply = { .status = 500, .body.bytes = text };
    struct origin *origin = origin_of(box, request);
    const char *error = "it returned no status";

    if (task->status != 0) {
        if (is_err(task->L, -1))
            lua_getfield(task->L, -1, "message");
        error = lua_tostring(task->L, -1);
    }
    reply.body.len = (size_t)snprintf(text, sizeof(text), "internal error %s\n",
                                      origin != NULL ? origin->id : "");
    task->vm->speaks_for = origin;
    if (!task->cancelled)
        log_event(&task->vm->log, LOG_ERROR, "handler failed",
                  LOG_STR("at", task->label), LOG_STR("error", error));
    task->vm->speaks_for = NULL;
    tell_id(box, request, headers, &reply);
    http_reply(request, &reply);
}

/* What the handler gave, or a 500. */
static void answer(struct task *task, struct script_request *box)
{
    struct http_request *request = box->request;
    int status = task->status == 0 ? (int)lua_tointeger(task->L, 1) : 500;

    request_release(box);
    if (task->status == 0 && status >= 200 && status <= 599) {
        send_result(task->L, box, request);
        return;
    }
    answer_failure(task, box, request);
}

static void on_handled(struct task *task, void *ud)
{
    struct script_request *box = ud;

    box->task = NULL;
    task->answers = NULL;
    if (box->is_streaming) /* it ended without its end */
        stream_end(box, false);
    else if (box->request != NULL)
        answer(task, box);
    task->error_taken = true;
    origin_unref(box->origin);
    box->origin = NULL;
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->self_ref);
}

/* ---- requests */

static void on_gone(struct http_request *request)
{
    struct script_request *box = request->ud;

    if (box->cancel_when_gone && box->task != NULL)
        task_cancel(box->task);
    if (box->is_streaming)
        stream_client_gone(box);
    body_end(box);
}

static void on_draining(struct http_request *request)
{
    struct script_request *box = request->ud;

    if (box->ends_with_server && box->task != NULL)
        task_cancel(box->task);
}

static bool is_safe(const struct http_text *method)
{
    return (method->len == 3 && memcmp(method->bytes, "GET", 3) == 0) ||
           (method->len == 4 && memcmp(method->bytes, "HEAD", 4) == 0);
}

static struct script_request *push_request(lua_State *L, struct vm *vm,
                                           struct http_request *request)
{
    struct script_request *box = lua_newuserdata(L, sizeof(*box));

    memset(box, 0, sizeof(*box));
    box->vm = vm;
    box->request = request;
    box->cancel_when_gone = is_safe(&request->method);
    list_init(&box->writers);
    vm_set_type(L, REQUEST_TYPE);
    lua_pushvalue(L, -1);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    request->ud = box;
    request->on_gone = on_gone;
    request->on_draining = on_draining;
    return box;
}

/* No room for its task. */
static void refuse(struct http_request *request, const char *why)
{
    static const struct http_header later = { { "retry-after", 11 },
                                              { "1", 1 } };
    char text[128];
    struct http_reply reply = {
        .status = 503, .headers = &later, .n_headers = 1, .body.bytes = text
    };

    reply.body.len = (size_t)snprintf(text, sizeof(text), "busy: %s\n", why);
    http_reply(request, &reply);
}

void request_hand_out(struct vm *vm, int handler_ref,
                      struct http_request *request, bool is_logged)
{
    struct script_request *box;
    const char *why;

    if (!limits_admit(vm, &why)) {
        refuse(request, why);
        return;
    }
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, handler_ref);
    box = push_request(vm->L, vm, request);
    box->task = task_spawn(vm, vm->L, 1, NULL);
    box->task->class = CLASS_NORMAL; /* whatever runs when it comes */
    origin_unref(box->task->origin);
    box->task->origin = NULL;
    box->task->answers = box;
    if (is_logged)
        request_origin(box);
    box->task->is_counted = true;
    box->task->on_end = on_handled;
    box->task->on_end_ud = box;
    snprintf(box->task->label, sizeof(box->task->label), "%.*s %.*s",
             (int)request->method.len, request->method.bytes,
             (int)(request->path.len < 60 ? request->path.len : 60),
             request->path.bytes);
}

struct script_request *request_at(lua_State *L)
{
    return vm_check_type(L, 1, REQUEST_TYPE);
}

struct script_request *check_request(lua_State *L)
{
    struct script_request *box = request_at(L);

    if (box->request == NULL)
        luaL_error(L, "this request was answered already");
    return box;
}

static void push_text(lua_State *L, const struct http_text *text)
{
    lua_pushlstring(L, text->len > 0 ? text->bytes : "", text->len);
}

/* A name that stands twice: the values joined by ", " (RFC 9110, 5.3). */
static void push_headers(lua_State *L, const struct http_request *request)
{
    lua_createtable(L, 0, (int)request->n_headers);
    for (size_t i = 0; i < request->n_headers; i++) {
        push_text(L, &request->headers[i].name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_text(L, &request->headers[i].value);
        } else {
            push_text(L, &request->headers[i].value);
            lua_pushfstring(L, "%s, %s", lua_tostring(L, -2),
                            lua_tostring(L, -1));
            lua_replace(L, -3);
            lua_pop(L, 1);
        }
        lua_rawset(L, -3);
    }
}

static int l_method(lua_State *L)
{
    push_text(L, &check_request(L)->request->method);
    return 1;
}

static int l_path(lua_State *L)
{
    push_text(L, &check_request(L)->request->path);
    return 1;
}

static int l_query(lua_State *L)
{
    push_text(L, &check_request(L)->request->query);
    return 1;
}

static int l_headers(lua_State *L)
{
    push_headers(L, check_request(L)->request);
    return 1;
}

static int l_body(lua_State *L)
{
    const struct http_request *request = check_request(L)->request;

    if (request->is_streamed)
        return luaL_error(L, "the body of this request was not read");
    push_text(L, &request->body);
    return 1;
}

static int l_remote(lua_State *L)
{
    lua_pushstring(L, check_request(L)->request->remote);
    return 1;
}

/* cancel_when_gone(bool): the default is true for GET and HEAD. */
static int l_cancel_when_gone(lua_State *L)
{
    check_request(L)->cancel_when_gone = lua_toboolean(L, 2);
    return 0;
}

static const luaL_Reg request_methods[] = {
    { "method", l_method },
    { "path", l_path },
    { "query", l_query },
    { "headers", l_headers },
    { "body", l_body },
    { "remote", l_remote },
    { "cancel_when_gone", l_cancel_when_gone },
    { NULL, NULL },
};

/* oldest_request(): the id of the task that handles it; nil without one. */
static int l_oldest_request(lua_State *L)
{
    struct vm *vm = vm_of(L);
    uint64_t oldest = 0;

    list_each (node, &vm->live) {
        const struct task *task = container_of(node, struct task, live_node);

        if (task->on_end == on_handled && (oldest == 0 || task->id < oldest))
            oldest = task->id;
    }
    if (oldest == 0)
        return 0;
    lua_pushnumber(L, (lua_Number)oldest);
    return 1;
}

/* cancel_requests(before, endless): the tasks of requests with an id below
 * before, and that are no operator's; with endless only those that end with the
 * server.  How many that were. */
static int l_cancel_requests(lua_State *L)
{
    struct vm *vm = vm_of(L);
    uint64_t before = (uint64_t)luaL_checknumber(L, 1);
    bool is_endless = lua_toboolean(L, 2);
    int count = 0;

    list_each (node, &vm->live) {
        struct task *task = container_of(node, struct task, live_node);
        const struct script_request *box = task->on_end_ud;

        if (task->on_end != on_handled || task->id >= before ||
            task->is_exempt || task->cancelled ||
            (is_endless && !box->ends_with_server))
            continue;
        task_cancel(task);
        count++;
    }
    lua_pushinteger(L, count);
    return 1;
}

static const luaL_Reg functions[] = {
    { "cancel_requests", l_cancel_requests },
    { "oldest_request", l_oldest_request },
    { NULL, NULL },
};

void bind_request(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, REQUEST_TYPE, request_methods);
    bind_stream(L, vm);
    bind_body(L, vm);
    bind_request_origin(L, vm);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
