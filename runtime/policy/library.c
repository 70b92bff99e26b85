/*
 * library.c - see library.h.
 *
 * What is not named here is not there.  Patterns and string.rep can take any
 * time and memory in one instruction; math.random would not be the same twice.
 * A handler of xpcall() runs inside the hook that ends an overspent budget,
 * where no hook can end it.
 */
#include "policy/library.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

static const char *const globals[] = {
    "assert",   "error",    "ipairs", "math",   "next",
    "pairs",    "pcall",    "select", "string", "table",
    "tonumber", "tostring", "type",   "unpack", NULL,
};

static const char *const strings[] = {
    "byte",  "char",    "find", "format", "len",
    "lower", "reverse", "sub",  "upper",  NULL,
};

static const char *const maths[] = {
    "abs", "ceil", "exp", "floor", "fmod", "huge", "log",  "log10", "max",
    "min", "modf", "pi",  "pow",   "sin",  "cos",  "sqrt", NULL,
};

static const char *const tables[] = { "concat", "insert", "maxn",
                                      "remove", "sort",   NULL };

static int is_in(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return 1;
    return 0;
}

/* Removes from the table at index what names does not hold. */
static void keep(lua_State *L, int index, const char *const *names)
{
    for (lua_pushnil(L); lua_next(L, index) != 0;) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING && is_in(names, lua_tostring(L, -1)))
            continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, index); /* clearing a field is allowed meanwhile */
    }
}

static void add(lua_State *L, lua_CFunction function, const char *name)
{
    lua_pushcfunction(L, function);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

static void keep_of(lua_State *L, const char *library, const char *const *names)
{
    lua_getfield(L, LUA_GLOBALSINDEX, library);
    keep(L, lua_gettop(L), names);
    lua_pop(L, 1);
}

/* string.find(text, part, from), which takes part as it stands. */
static int l_find(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_pushinteger(L, 1);
        lua_replace(L, 3);
    }
    lua_pushboolean(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 4, 2);
    return 2;
}

static void make_find_plain(lua_State *L)
{
    lua_getfield(L, LUA_GLOBALSINDEX, "string");
    lua_getfield(L, -1, "find");
    lua_pushcclosure(L, l_find, 1);
    lua_setfield(L, -2, "find");
    lua_pop(L, 1);
}

int library_open(lua_State *L)
{
    add(L, luaopen_base, "");
    add(L, luaopen_math, LUA_MATHLIBNAME);
    add(L, luaopen_string, LUA_STRLIBNAME);
    add(L, luaopen_table, LUA_TABLIBNAME);
    keep_of(L, "math", maths);
    keep_of(L, "string", strings); /* the methods of all strings, too */
    make_find_plain(L);
    keep_of(L, "table", tables);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    keep(L, lua_gettop(L), globals);
    return 0;
}
