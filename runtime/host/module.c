/* module.c - see tidepool.h: the module of a host's own Lua state. */
#include "script/guest.h"
#include "tidepool.h"

int luaopen_tidepool(struct lua_State *L)
{
    return guest_open(L);
}
