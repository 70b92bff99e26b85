/*
 * userdata.h - types of userdata: each a metatable, found by the address of the
 * name, which takes no string look-up and no second type can claim.
 */
#ifndef TIDEPOOL_SCRIPT_USERDATA_H
#define TIDEPOOL_SCRIPT_USERDATA_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

struct vm;

/* Makes a metatable, which scripts cannot get at, and a table of methods, its
 * __index unless the functions hold one; leaves the methods on the stack. */
void vm_metatable(lua_State *L, struct vm *vm, const char *type,
                  const luaL_Reg *functions);
void vm_push_metatable(lua_State *L, const char *type);
void vm_push_methods(lua_State *L, const char *type);
/* Of the value on top. */
void vm_set_type(lua_State *L, const char *type);
bool vm_is_type(lua_State *L, int index, const char *type);
/* The userdata at index; raises when it is not of that type. */
void *vm_check_type(lua_State *L, int index, const char *type);
/* Raises, at the script's line, for the value at index, which is not of it. */
_Noreturn void vm_refuse_type(lua_State *L, int index, const char *type);

#endif
