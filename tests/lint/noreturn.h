/*
 * noreturn.h - tells clang-tidy what Lua's headers leave out: these raise.
 * Included before every file that is checked.
 */
#ifndef TIDEPOOL_LINT_NORETURN_H
#define TIDEPOOL_LINT_NORETURN_H

#include <lauxlib.h>

int lua_error(lua_State *L) __attribute__((noreturn));
int luaL_error(lua_State *L, const char *fmt, ...) __attribute__((noreturn));
int luaL_argerror(lua_State *L, int numarg, const char *extramsg)
    __attribute__((noreturn));
int luaL_typerror(lua_State *L, int narg, const char *tname)
    __attribute__((noreturn));

#endif
