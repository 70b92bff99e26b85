/* bind_stream.c - see bind_request.h: replies that are sent piece by piece. */
#include "http/reply.h"
#include "http/request.h"
#include "script/bind_request.h"
#include "script/err.h"
#include "script/park.h"

#include <string.h>

/* Whoever writes waits while more than this waits for the client. */
enum { UNSENT_MOST = 64 * 1024 };

static int push_gone(lua_State *L)
{
    struct err_text text = { .text = "" };

    err_text_set(&text, "the client has gone");
    return return_err(L, ERR_CLOSED, &text);
}

static void wake_all(struct script_request *box, bool is_gone)
{
    struct list_node *node;

    while ((node = list_pop_front(&box->writers)) != NULL) {
        struct task *task = container_of(node, struct task, wait_node);

        task->waits_on = NULL;
        if (is_gone)
            push_gone(task_results(task));
        else
            lua_pushboolean(task_results(task), 1);
        task_wake(task);
    }
}

static void on_drained(struct http_request *request)
{
    wake_all(request->ud, false);
}

void stream_client_gone(struct script_request *box)
{
    box->is_gone = true;
    wake_all(box, true);
}

void stream_end(struct script_request *box, enum http_end end)
{
    struct http_request *request = box->request;

    request_release(box);
    box->is_streaming = false;
    wake_all(box, true);
    http_reply_close(request, end);
}

/* raw_open(status, headers): sends the head; pieces follow. */
static int l_open(lua_State *L)
{
    struct script_request *box = check_request(L);
    struct http_header headers[REPLY_HEADERS_MAX + 1];
    struct http_reply reply = { .status = luaL_checkint(L, 2) };

    if (box->is_streaming)
        return luaL_error(L, "this request is being answered already");
    lua_settop(L, 3);
    reply_headers(L, box->vm, 3, headers, &reply);
    request_origin(box); /* its handler may outlive the reply */
    tell_id(box, box->request, headers, &reply);
    box->is_streaming = true;
    if (box->task != NULL)
        box->task->is_counted = false; /* it may go on for days */
    box->request->on_drained = on_drained;
    http_reply_open(box->request, &reply);
    return 0;
}

static void cancel_write(struct task *task)
{
    list_remove(task->waits_on, &task->wait_node);
    task->waits_on = NULL;
}

/* raw_write(text): true once there is room for more; or nil, err (closed) when
 * the client is gone, or the reply was ended. */
static int l_write(lua_State *L)
{
    struct script_request *box = request_at(L);
    struct task *task = task_check(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);

    if (box->request == NULL || box->is_gone)
        return push_gone(L);
    if (!box->is_streaming)
        return luaL_error(L, "this reply has not begun");
    if (http_reply_put(box->request, text, len) <= UNSENT_MOST) {
        lua_pushboolean(L, 1);
        return 1;
    }
    list_push_back(&box->writers, &task->wait_node);
    task->waits_on = &box->writers;
    return task_park(L, task, cancel_write);
}

/* raw_finish(end): "whole", "cut" or "late". */
static int l_finish(lua_State *L)
{
    static const char *const ends[] = { [HTTP_END_WHOLE] = "whole",
                                        [HTTP_END_CUT] = "cut",
                                        [HTTP_END_LATE] = "late",
                                        NULL };
    struct script_request *box = request_at(L);
    int end = luaL_checkoption(L, 2, NULL, ends);

    if (box->request != NULL && box->is_streaming)
        stream_end(box, (enum http_end)end);
    return 0;
}

/* ends_with_server(): its task is cancelled when the server drains. */
static int l_ends_with_server(lua_State *L)
{
    check_request(L)->ends_with_server = true;
    return 0;
}

static int l_is_gone(lua_State *L)
{
    const struct script_request *box = request_at(L);

    lua_pushboolean(L, box->request == NULL || box->is_gone);
    return 1;
}

/* raw_is_open(): its reply has begun. */
static int l_is_open(lua_State *L)
{
    const struct script_request *box = request_at(L);

    lua_pushboolean(L, box->request == NULL || box->is_streaming);
    return 1;
}

static const luaL_Reg methods[] = {
    { "raw_open", l_open },
    { "raw_write", l_write },
    { "raw_finish", l_finish },
    { "ends_with_server", l_ends_with_server },
    { "is_gone", l_is_gone },
    { "raw_is_open", l_is_open },
    { NULL, NULL },
};

void bind_stream(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, methods);
}
