/* library.h - what Lua's library has for policies. */
#ifndef TIDEPOOL_POLICY_LIBRARY_H
#define TIDEPOOL_POLICY_LIBRARY_H

#include <lua.h>

/* A lua_CFunction: fills the globals of a new state. */
int library_open(lua_State *L);

#endif
