/* bind_manager.c - what it takes to answer a service manager: variables that
 * are for this process alone, its clock, datagrams. */
#include "net/datagram.h"
#include "script/core.h"
#include "script/err.h"
#include "script/vm.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

/* take_env(name): its value, or nil.  The environment has it no more, so no
 * child does.  Only while there is one thread. */
static int l_take_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    lua_pushstring(L, getenv(name)); /* nil for NULL */
    unsetenv(name);
    return 1;
}

/* Of the moment, not of the turn: a manager compares it with its own. */
static int l_monotonic_us(lua_State *L)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec * 1e6 +
                          floor((lua_Number)now.tv_nsec / 1e3));
    return 1;
}

/* send_datagram(to, text): true; or nil, err, whose code is busy where it may
 * be tried again. */
static int l_send_datagram(lua_State *L)
{
    struct err_text why = { .text = "" };
    const char *to = luaL_checkstring(L, 1);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    enum err err = datagram_send(to, text, len, &why);

    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    { "take_env", l_take_env },
    { "monotonic_us", l_monotonic_us },
    { "send_datagram", l_send_datagram },
    { NULL, NULL },
};

void bind_manager(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
