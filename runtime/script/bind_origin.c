/* bind_origin.c - ids and traces of requests, for Lua. */
#include "http/header.h"
#include "script/bind_request.h"
#include "script/core.h"
#include "script/fields.h"
#include "script/park.h"

#include <string.h>

/* ---- of a request, whoever asks */

static int push_id(lua_State *L, const struct origin *origin)
{
    if (origin == NULL)
        return 0;
    lua_pushstring(L, origin->id);
    return 1;
}

static int push_trace(lua_State *L, struct vm *vm, struct origin *origin)
{
    const struct trace_parent *trace;
    char parent[TRACEPARENT_LEN + 1];

    if (origin == NULL)
        return 0;
    trace = origin_trace(&vm->origins, origin);
    trace_parent_write(parent, trace);
    lua_createtable(L, 0, 6);
    field_text(L, "trace_id", trace->trace_id);
    field_text(L, "span_id", trace->span_id);
    field_text_if_any(L, "parent_id", origin->parent_id);
    field_text(L, "traceparent", parent);
    if (origin->state != NULL)
        field_text(L, "tracestate", origin->state);
    lua_pushboolean(L, trace->is_sampled);
    lua_setfield(L, -2, "sampled");
    return 1;
}

static struct origin *current_origin(lua_State *L)
{
    struct task *task = vm_of(L)->current;

    return task != NULL ? task_origin(task) : NULL;
}

/* A task that the handler started may ask after the request's end. */
static struct origin *origin_at(lua_State *L)
{
    struct script_request *box = request_at(L);
    struct origin *origin = request_origin(box);
    struct origin *current = origin == NULL ? current_origin(L) : NULL;

    if (current != NULL && current->number == box->origin_number)
        origin = current;
    return origin;
}

static int l_id(lua_State *L)
{
    return push_id(L, origin_at(L));
}

static int l_trace(lua_State *L)
{
    return push_trace(L, vm_of(L), origin_at(L));
}

/* ---- of the request that the running task works for */

static int l_request_id(lua_State *L)
{
    return push_id(L, current_origin(L));
}

static int l_request_trace(lua_State *L)
{
    return push_trace(L, vm_of(L), current_origin(L));
}

/* request_route(pattern): what the router found. */
static int l_request_route(lua_State *L)
{
    struct origin *origin = current_origin(L);
    size_t len;
    const char *route = luaL_checklstring(L, 1, &len);

    if (origin != NULL)
        origin_set_route(origin, route, len);
    return 0;
}

static void take_header(lua_State *L, const char *name,
                        struct http_header *header)
{
    header->name = (struct http_text){ name, strlen(name) };
    lua_getfield(L, 1, name);
    header->value.bytes = luaL_optlstring(L, -1, "", &header->value.len);
}

/* request_begin(headers): the running task works for a request with these,
 * which came by no socket. */
static int l_request_begin(lua_State *L)
{
    static const char *const names[] = { "x-request-id", "traceparent",
                                         "tracestate" };
    struct http_header headers[3];
    struct task *task = task_check(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    for (size_t i = 0; i < 3; i++)
        take_header(L, names[i], &headers[i]);
    origin_unref(task->origin);
    task->origin = origin_new(&vm_of(L)->origins, headers, 3);
    return 0;
}

/* trace_sample(share): of traces that begin here. */
static int l_trace_sample(lua_State *L)
{
    vm_of(L)->origins.sampled_from = sample_from(luaL_checknumber(L, 1));
    return 0;
}

static const luaL_Reg methods[] = {
    { "id", l_id },
    { "trace", l_trace },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "request_id", l_request_id },       { "request_trace", l_request_trace },
    { "request_route", l_request_route }, { "request_begin", l_request_begin },
    { "trace_sample", l_trace_sample },   { NULL, NULL },
};

void bind_request_origin(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, methods);
}

void bind_origin(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
