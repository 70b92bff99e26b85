/* param_value.c - see param_value.h. */
#include "script/param_value.h"
#include "pg/param.h"
#include "script/core.h"
#include "script/userdata.h"

static const char *const TYPES[] = { [PG_PARAM_JSON] = "tidepool.json_param",
                                     [PG_PARAM_ARRAY] = "tidepool.array",
                                     [PG_PARAM_BYTES] = "tidepool.bytes" };

enum { FIRST = PG_PARAM_JSON, LAST = PG_PARAM_BYTES };

bool param_value_open(lua_State *L, int index, enum pg_param_kind *kind)
{
    if (!lua_getmetatable(L, index)) /* as most tables */
        return false;
    lua_pop(L, 1);
    for (int i = FIRST; i <= LAST; i++) {
        if (!vm_is_type(L, index, TYPES[i]))
            continue;
        lua_rawgeti(L, index, 1);
        *kind = (enum pg_param_kind)i;
        return true;
    }
    return false;
}

bool is_param_value(lua_State *L, int index)
{
    enum pg_param_kind kind;

    if (!param_value_open(L, index, &kind))
        return false;
    lua_pop(L, 1);
    return true;
}

/* Leaves { the argument } of that type. */
static int wrap(lua_State *L, enum pg_param_kind kind)
{
    lua_settop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    vm_set_type(L, TYPES[kind]);
    return 1;
}

static int l_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return wrap(L, PG_PARAM_ARRAY);
}

static int l_bytes(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    return wrap(L, PG_PARAM_BYTES);
}

static int l_json_param(lua_State *L)
{
    return wrap(L, PG_PARAM_JSON);
}

static const luaL_Reg metamethods[] = { { NULL, NULL } };

static const luaL_Reg functions[] = {
    { "array", l_array },
    { "bytes", l_bytes },
    { "json_param", l_json_param },
    { NULL, NULL },
};

void bind_param_value(lua_State *L, struct vm *vm)
{
    for (int i = FIRST; i <= LAST; i++) {
        vm_metatable(L, vm, TYPES[i], metamethods);
        lua_pop(L, 1);
    }
    vm_register(L, vm, functions);
}
