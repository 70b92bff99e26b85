/* bind_body.c - see bind_request.h: bodies that handlers read piece by piece.
 */
#include "script/bind_request.h"

#include "http/request.h"
#include "script/err.h"
#include "script/park.h"

/* Leaves nil, err, which a handler that raises it answers with status. */
static int return_status(lua_State *L, enum err err, const char *text,
                         int status)
{
    int count = return_text(L, err, "%s", text);

    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    return count;
}

static int return_refusal(lua_State *L, int status)
{
    switch (status) {
    case 413:
        return return_status(L, ERR_BADARG, "the body is too large", status);
    case 503: return return_text(L, ERR_NOMEM, "no memory for the body");
    default:
        return return_status(L, ERR_PROTOCOL,
                             "the client's chunks are not as HTTP has them",
                             status);
    }
}

/* Leaves what the next piece is; 0 when that is yet to come. */
static int push_piece(lua_State *L, struct script_request *box)
{
    struct http_text piece;

    switch (http_request_read(box->request, box->read_most, &piece)) {
    case HTTP_READ_PIECE: lua_pushlstring(L, piece.bytes, piece.len); return 1;
    case HTTP_READ_END: lua_pushnil(L); return 1;
    case HTTP_READ_GONE:
        return return_text(L, ERR_CLOSED, "the client has gone");
    case HTTP_READ_LATE:
        return return_status(L, ERR_TIMEOUT,
                             "the client sent nothing more of the body within "
                             "server.limits.body_timeout",
                             408);
    case HTTP_READ_REFUSED:
        return return_refusal(L, http_request_refusal(box->request));
    case HTTP_READ_WAIT: break;
    }
    return 0;
}

static int return_answered(lua_State *L)
{
    return return_text(L, ERR_CLOSED,
                       "the request was answered: what was left of its body "
                       "cannot be read any more");
}

static void on_body(struct http_request *request)
{
    struct script_request *box = request->ud;
    struct task *task = box->reader;

    if (task == NULL || push_piece(task_results(task), box) == 0)
        return;
    box->reader = NULL;
    task_wake(task);
}

void body_end(struct script_request *box)
{
    struct task *task = box->reader;

    if (task == NULL)
        return;
    box->reader = NULL;
    if (box->request == NULL)
        return_answered(task_results(task));
    else
        return_text(task_results(task), ERR_CLOSED, "the client has gone");
    task_wake(task);
}

static void cancel_read(struct task *task)
{
    struct script_request *box = task->operand;

    box->reader = NULL;
}

/* raw_read(most): the next piece of the body, nil at its end; or nil, err. */
static int l_read(lua_State *L)
{
    struct script_request *box = request_at(L);
    struct task *task = task_check(L);
    lua_Number most = luaL_checknumber(L, 2);
    int count;

    if (box->request == NULL)
        return return_answered(L);
    if (box->reader != NULL)
        raise_at_script(L, "another task reads the body of this request");
    luaL_argcheck(L, most >= 1, 2, "bytes, from 1 on, expected");
    box->read_most = (size_t)most;
    box->request->on_body = on_body;
    count = push_piece(L, box);
    if (count > 0)
        return count;
    box->reader = task;
    task->operand = box;
    return task_park(L, task, cancel_read);
}

static const luaL_Reg methods[] = {
    { "raw_read", l_read },
    { NULL, NULL },
};

void bind_body(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, methods);
}
