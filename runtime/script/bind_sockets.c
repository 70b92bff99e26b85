/* bind_sockets.c - sockets that listen for other processes, as Lua values. */
#include "net/listen_socket.h"
#include "script/core.h"
#include "script/err.h"
#include "script/userdata.h"
#include "script/vm.h"

#include <string.h>

static const char GROUP_TYPE[] = "tidepool.sockets";

enum { GROUP_MAX = 64 };

/* A userdata; it owns the sockets. */
struct socket_group {
    unsigned count; /* 0: closed */
    struct listen_socket sockets[GROUP_MAX];
};

static struct socket_group *check_group(lua_State *L)
{
    return vm_check_type(L, 1, GROUP_TYPE);
}

static void close_group(struct socket_group *group)
{
    while (group->count > 0)
        listen_socket_close(&group->sockets[--group->count]);
}

/* Those of the list at the top. */
static enum err take(lua_State *L, struct socket_group *group,
                     struct err_text *why)
{
    unsigned count = (unsigned)lua_objlen(L, -1);
    enum err err = ERR_OK;

    luaL_argcheck(L, count > 0 && count <= GROUP_MAX, 1,
                  "1 to 64 descriptors expected");
    for (unsigned i = 0; i < count && err == ERR_OK; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        err = listen_socket_take(&group->sockets[i], luaL_checkint(L, -1), why);
        lua_pop(L, 1);
        if (err != ERR_OK)
            break;
        listen_socket_take_file(&group->sockets[i]);
        group->count++;
    }
    return err;
}

/* Opens as many more as it takes to have count of them. */
static enum err grow(struct socket_group *group, unsigned count,
                     const char *address, struct err_text *why)
{
    bool joins = group->count > 0;
    unsigned missing = count - group->count;
    enum err err;

    if (group->count >= count)
        return ERR_OK;
    if (joins) {
        address = group->sockets[0].address;
        if (strncmp(address, "unix:", strlen("unix:")) == 0)
            return ERR_OK; /* one is all there can be */
    }
    err = listen_socket_open_group(&group->sockets[group->count], &missing,
                                   address, joins, why);
    if (err == ERR_OK)
        group->count += missing;
    return err;
}

/* sockets{ address =, count =, fds = }: so many on one port, on a path one,
 * with fds among them, which another process handed over.  Or nil, err. */
static int l_sockets(lua_State *L)
{
    struct err_text why = { .text = "" };
    struct socket_group *group;
    unsigned count;
    enum err err = ERR_OK;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "address");
    lua_getfield(L, 1, "count");
    count = (unsigned)luaL_optint(L, 3, 1);
    luaL_argcheck(L, count > 0 && count <= GROUP_MAX, 1,
                  "count: 1 to 64 expected");
    group = lua_newuserdata(L, sizeof(*group));
    memset(group, 0, sizeof(*group));
    vm_set_type(L, GROUP_TYPE);
    lua_getfield(L, 1, "fds");
    if (lua_istable(L, -1))
        err = take(L, group, &why);
    if (err == ERR_OK)
        err = grow(group, count, luaL_checkstring(L, 2), &why);
    if (err != ERR_OK) {
        close_group(group);
        return return_err(L, err, &why);
    }
    lua_settop(L, 4);
    return 1;
}

/* address(): as bound. */
static int l_address(lua_State *L)
{
    struct socket_group *group = check_group(L);

    lua_pushstring(L, group->count > 0 ? group->sockets[0].address : "");
    return 1;
}

/* fds(): the list of their descriptors. */
static int l_fds(lua_State *L)
{
    struct socket_group *group = check_group(L);

    lua_createtable(L, (int)group->count, 0);
    for (unsigned i = 0; i < group->count; i++) {
        lua_pushinteger(L, group->sockets[i].fd);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int l_close(lua_State *L)
{
    close_group(check_group(L));
    return 0;
}

/* leave(): as close(), but the file of a path stays: another process has it. */
static int l_leave(lua_State *L)
{
    struct socket_group *group = check_group(L);

    for (unsigned i = 0; i < group->count; i++)
        listen_socket_leave_file(&group->sockets[i]);
    close_group(group);
    return 0;
}

static const luaL_Reg methods[] = {
    { "address", l_address }, { "fds", l_fds },    { "close", l_close },
    { "leave", l_leave },     { "__gc", l_close }, { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "sockets", l_sockets },
    { NULL, NULL },
};

void bind_sockets(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, GROUP_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
