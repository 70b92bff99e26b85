/* bind_http.c - HTTP servers as Lua values. */
#include "http/limits.h"
#include "http/request.h"
#include "http/server.h"
#include "net/listen_socket.h"
#include "script/access_log.h"
#include "script/bind_request.h"
#include "script/bind_tls.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char SERVER_TYPE[] = "tidepool.http_server";

/* A userdata, kept until closed. */
struct script_server {
    struct vm *vm;
    struct http_server *server;
    int handler_ref;
    int body_rule_ref; /* or LUA_NOREF */
    struct access_log access;
    int self_ref;
    bool is_drained;
    struct task *drainer; /* parked in drain() */
};

/* ---- servers */

static struct script_server *check_server(lua_State *L)
{
    struct script_server *box = vm_check_type(L, 1, SERVER_TYPE);

    if (box->server == NULL)
        luaL_error(L, "the server is closed");
    return box;
}

static size_t limit(lua_State *L, const char *key, size_t value, double unit)
{
    lua_getfield(L, -1, key);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0))
            luaL_error(L, "limits.%s: a number from 0 on expected", key);
        value = (size_t)(lua_tonumber(L, -1) * unit);
    }
    lua_pop(L, 1);
    return value;
}

/* The table at 1's limits; sizes in bytes, times in seconds. */
static void take_limits(lua_State *L, struct http_limits *limits)
{
    http_limits_init(limits);
    lua_getfield(L, 1, "limits");
    if (lua_isnil(L, -1))
        return;
    luaL_checktype(L, -1, LUA_TTABLE);
#define SIZE(name) limits->name = limit(L, #name, limits->name, 1)
#define TIME(name) limits->name##_ns = limit(L, #name, limits->name##_ns, 1e9)
    SIZE(max_header_bytes);
    SIZE(max_headers);
    SIZE(max_body_bytes);
    SIZE(max_buffered_bytes);
    TIME(header_timeout);
    TIME(body_timeout);
    TIME(idle_timeout);
    TIME(write_timeout);
#undef SIZE
#undef TIME
    limits->max_connections =
        (unsigned)limit(L, "max_connections", limits->max_connections, 1);
}

static void on_request(struct http_server *server, struct http_request *request,
                       void *ud)
{
    struct script_server *owner = ud;

    (void)server;
    request_hand_out(owner->vm, owner->handler_ref, request,
                     owner->access.is_on);
}

/* body_rule(method, path): whether the handler reads the body itself, and how
 * large that may be, or nil. */
static void ask_body_rule(struct http_server *server,
                          struct http_request *request,
                          struct http_body_rule *rule, void *ud)
{
    struct script_server *owner = ud;
    lua_State *L = owner->vm->L;
    int top = lua_gettop(L);

    (void)server;
    lua_rawgeti(L, LUA_REGISTRYINDEX, owner->body_rule_ref);
    lua_pushlstring(L, request->method.bytes, request->method.len);
    lua_pushlstring(L, request->path.bytes, request->path.len);
    if (lua_pcall(L, 2, 2, 0) != 0) {
        log_event(&owner->vm->log, LOG_ERROR, "body rule failed",
                  LOG_STR("error", lua_tostring(L, -1)));
    } else {
        rule->is_streamed = lua_toboolean(L, -2);
        if (lua_isnumber(L, -1))
            rule->max_bytes = (size_t)lua_tonumber(L, -1);
    }
    lua_settop(L, top);
}

/* Of the table at 1, if there is one. */
static void take_body_rule(lua_State *L, struct script_server *box)
{
    lua_getfield(L, 1, "body_rule");
    box->body_rule_ref = LUA_NOREF;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    box->body_rule_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    http_server_set_body_rule(box->server, ask_body_rule);
}

static void on_access(struct http_server *server,
                      const struct http_access *access, void *ud)
{
    struct script_server *owner = ud;

    (void)server;
    access_log_write(owner->vm, &owner->access, access);
}

/* Of the table at 1, if there is one. */
static void take_access(lua_State *L, struct script_server *box)
{
    lua_getfield(L, 1, "access");
    if (!lua_isnil(L, -1)) {
        access_log_read(L, lua_gettop(L), &box->access);
        http_server_set_access(box->server, on_access);
    }
    lua_pop(L, 1);
}

/* Accepts on a socket that another process opened, by a descriptor of its own;
 * gives that in *own. */
static enum err accept_on(struct http_server *server, int fd, int *own,
                          struct err_text *why)
{
    struct listen_socket socket;
    enum err err;

    *own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (*own < 0) {
        err_text_set(why, "descriptor %d: %s", fd, strerror(errno));
        return ERR_BADARG;
    }
    err = listen_socket_take(&socket, *own, why);
    if (err == ERR_OK)
        err = http_server_accept(server, &socket);
    if (err != ERR_OK)
        close(*own);
    return err;
}

/* All of the list at the top. */
static enum err accept_on_all(lua_State *L, struct http_server *server,
                              struct err_text *why)
{
    enum err err = ERR_OK;
    int count = (int)lua_objlen(L, -1);
    int own;

    for (int i = 1; i <= count && err == ERR_OK; i++) {
        lua_rawgeti(L, -1, i);
        err = accept_on(server, luaL_checkint(L, -1), &own, why);
        lua_pop(L, 1);
    }
    return err;
}

/* The server of the table at 1. */
static enum err open_server(lua_State *L, struct script_server *box,
                            struct err_text *why)
{
    struct loop *loop = box->vm->loop;
    struct http_limits limits;
    enum err err;

    take_limits(L, &limits);
    lua_getfield(L, 1, "sockets");
    lua_getfield(L, 1, "address");
    if (lua_isnil(L, -2))
        return http_server_open(&box->server, loop, luaL_checkstring(L, -1),
                                &limits, on_request, box, why);
    lua_pop(L, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    err = http_server_new(&box->server, loop, &limits, on_request, box);
    if (err == ERR_OK)
        err = accept_on_all(L, box->server, why);
    if (err != ERR_OK) {
        http_server_close(box->server);
        box->server = NULL;
    }
    return err;
}

/* Of the table at 1, if there is one. */
static void take_tls(lua_State *L, struct script_server *box)
{
    lua_getfield(L, 1, "tls");
    if (!lua_isnil(L, -1))
        http_server_set_tls(box->server, tls_at(L, -1));
    lua_pop(L, 1);
}

/* listen{ address =, handler =, body_rule =, access =, limits =, tls = };
 * sockets, a list of descriptors, in place of address: those, which stay the
 * caller's, are accepted on. */
static int l_listen(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    struct script_server *box;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "handler");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm;
    vm_set_type(L, SERVER_TYPE);
    err = open_server(L, box, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    box->handler_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    take_body_rule(L, box);
    take_tls(L, box);
    take_access(L, box);
    lua_pushvalue(L, -1);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

/* accept(fd): on this socket too, which stays the caller's.  Gives the number
 * that stop_accepting() takes; or nil, err. */
static int l_accept(lua_State *L)
{
    struct err_text why = { .text = "" };
    int own;
    enum err err =
        accept_on(check_server(L)->server, luaL_checkint(L, 2), &own, &why);

    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushinteger(L, own);
    return 1;
}

static int l_stop_accepting(lua_State *L)
{
    lua_pushboolean(L, http_server_stop_accepting(check_server(L)->server,
                                                  luaL_checkint(L, 2)));
    return 1;
}

/* set_tls(tls): of connections to come. */
static int l_set_tls(lua_State *L)
{
    struct script_server *box = check_server(L);

    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "a TLS context expected");
    http_server_set_tls(box->server, tls_at(L, 2));
    return 0;
}

static int l_address(lua_State *L)
{
    lua_pushstring(L, http_server_address(check_server(L)->server));
    return 1;
}

static int l_stats(lua_State *L)
{
    const struct http_stats *stats = http_server_stats(check_server(L)->server);

    lua_newtable(L);
#define XX(name, text) field_number(L, #name, (double)stats->name);
    HTTP_COUNTERS_MAP(XX)
#undef XX
    lua_pushinteger(L, stats->open);
    lua_setfield(L, -2, "open");
    lua_pushinteger(L, stats->in_flight);
    lua_setfield(L, -2, "in_flight");
    lua_pushstring(L, stats->tls_failure.text);
    lua_setfield(L, -2, "tls_failure");
    field_number(L, "buffered_bytes", (double)stats->buffered);
    lua_newtable(L);
    for (int i = 1; i <= 5; i++) {
        lua_pushnumber(L, (lua_Number)stats->status_classes[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "status");
    lua_newtable(L);
#define XX(NAME, name, status, text) \
    field_number(L, #name, (double)stats->refusals[HTTP_REFUSED_##NAME]);
    HTTP_REFUSALS_MAP(XX)
#undef XX
    lua_setfield(L, -2, "refusals");
    return 1;
}

/* announce_end(): each reply is the last of its connection. */
static int l_announce_end(lua_State *L)
{
    http_server_announce_end(check_server(L)->server);
    return 0;
}

static void wake_drainer(struct script_server *box)
{
    struct task *task = box->drainer;

    if (task == NULL)
        return;
    box->drainer = NULL;
    deadline_stop(task->vm->loop, &task->deadline);
    lua_pushboolean(task_results(task), box->is_drained);
    task_wake(task);
}

static void on_drained(void *ud)
{
    struct script_server *box = ud;

    box->is_drained = true;
    wake_drainer(box);
}

static void on_drain_late(struct deadline *deadline)
{
    struct task *task = container_of(deadline, struct task, deadline);

    wake_drainer(task->operand);
}

static void cancel_drain(struct task *task)
{
    struct script_server *box = task->operand;

    deadline_stop(task->vm->loop, &task->deadline);
    box->drainer = NULL;
}

/* drain(seconds): true when every connection has ended, false when late. */
static int l_drain(lua_State *L)
{
    struct script_server *box = check_server(L);
    double patience = luaL_checknumber(L, 2);
    struct task *task = task_check(L);

    if (box->drainer != NULL)
        return luaL_error(L, "the server is draining already");
    task->operand = box;
    task->deadline.fn = on_drain_late;
    http_server_drain(box->server, on_drained, box);
    if (box->is_drained) {
        lua_pushboolean(L, 1);
        return 1;
    }
    box->drainer = task;
    deadline_start(task->vm->loop, &task->deadline,
                   loop_now_ns(task->vm->loop) +
                       (uint64_t)(patience > 0 ? patience * 1e9 : 0));
    return task_park(L, task, cancel_drain);
}

static int l_close(lua_State *L)
{
    struct script_server *box = vm_check_type(L, 1, SERVER_TYPE);

    if (box->server == NULL)
        return 0;
    http_server_close(box->server);
    box->server = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, box->handler_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, box->body_rule_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, box->self_ref);
    return 0;
}

static const luaL_Reg server_methods[] = {
    { "address", l_address },
    { "stats", l_stats },
    { "announce_end", l_announce_end },
    { "drain", l_drain },
    { "close", l_close },
    { "__gc", l_close },
    { "accept", l_accept },
    { "set_tls", l_set_tls },
    { "stop_accepting", l_stop_accepting },
    { NULL, NULL },
};

/* http_limits(): the defaults of listen()'s limits. */
static int l_http_limits(lua_State *L)
{
    struct http_limits limits;

    http_limits_init(&limits);
    lua_createtable(L, 0, 8);
#define SIZE(name) field_number(L, #name, (double)limits.name)
#define TIME(name) field_number(L, #name, (double)limits.name##_ns / 1e9)
    SIZE(max_header_bytes);
    SIZE(max_headers);
    SIZE(max_body_bytes);
    TIME(header_timeout);
    TIME(body_timeout);
    TIME(idle_timeout);
    TIME(write_timeout);
    SIZE(max_connections);
    SIZE(max_buffered_bytes);
#undef SIZE
#undef TIME
    return 1;
}

static const luaL_Reg functions[] = {
    { "listen", l_listen },
    { "http_limits", l_http_limits },
    { NULL, NULL },
};

void bind_http(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, SERVER_TYPE, server_methods);
    lua_setfield(L, -2, "http_server");
    vm_register(L, vm, functions);
}
