/* userdata.c - see userdata.h. */
#include "script/userdata.h"

#include "script/err.h"
#include "script/guest.h"
#include "script/vm.h"

#include <string.h>

/* Where a metatable has the table of its type's methods. */
enum { METHODS = 1 };

/* Moves a function to the metatable below when only the state is to call it:
 * scripts that could would hand it values of other types. */
static void take_metamethod(lua_State *L, struct vm *vm, const char *name)
{
    if (strncmp(name, "__", 2) != 0)
        return;
    lua_getfield(L, -1, name);
    if (vm->guest != NULL && strcmp(name, "__gc") == 0)
        guest_guard_finaliser(L, vm->guest);
    lua_setfield(L, -3, name);
    lua_pushnil(L);
    lua_setfield(L, -2, name);
}

void vm_metatable(lua_State *L, struct vm *vm, const char *type,
                  const luaL_Reg *functions)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index"); /* unless they hold one */
    vm_register(L, vm, functions);
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++)
        take_metamethod(L, vm, entry->name);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, METHODS);
    lua_pushboolean(L, 0);
    lua_setfield(L, -3, "__metatable");
    lua_pushlightuserdata(L, (void *)type);
    lua_pushvalue(L, -3);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_remove(L, -2);
}

void vm_push_metatable(lua_State *L, const char *type)
{
    lua_pushlightuserdata(L, (void *)type);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

void vm_push_methods(lua_State *L, const char *type)
{
    vm_push_metatable(L, type);
    lua_rawgeti(L, -1, METHODS);
    lua_remove(L, -2);
}

void vm_set_type(lua_State *L, const char *type)
{
    vm_push_metatable(L, type);
    lua_setmetatable(L, -2);
}

bool vm_is_type(lua_State *L, int index, const char *type)
{
    bool is;

    if (!lua_getmetatable(L, index))
        return false;
    vm_push_metatable(L, type);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

void vm_refuse_type(lua_State *L, int index, const char *type)
{
    static const char ours[] = "tidepool.";
    const char *name =
        strncmp(type, ours, strlen(ours)) == 0 ? type + strlen(ours) : type;

    raise_at_script(L, "%s expected, got %s%s", name,
                    lua_isnone(L, index) ? "nothing" : luaL_typename(L, index),
                    index == 1 ? ": methods are called with a colon, as in "
                                 "db:one(sql)"
                               : "");
}

void *vm_check_type(lua_State *L, int index, const char *type)
{
    void *value = lua_touserdata(L, index);

    if (value == NULL || !vm_is_type(L, index, type))
        vm_refuse_type(L, index, type);
    return value;
}
