/* bind_confine.c - what the process gives up, as functions of Lua. */
#include "net/confine.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/vm.h"

enum { RULES_MAX = 128, PORTS_MAX = 64, LISTENING_MAX = 100 };

/* The number of values in the list that the table at 1 holds by this name,
 * which is left on the stack. */
static size_t list_of(lua_State *L, const char *name, size_t max)
{
    size_t count;

    lua_getfield(L, 1, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    count = lua_objlen(L, -1);
    luaL_argcheck(L, count <= max, 1, name);
    return count;
}

/* Adds those of a list of paths; the table keeps the texts. */
static size_t take_rules(lua_State *L, struct confine_rule *rules, size_t from,
                         const char *name, bool is_writable)
{
    size_t count = list_of(L, name, RULES_MAX - from);

    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        rules[from + i] =
            (struct confine_rule){ luaL_checkstring(L, -1), is_writable };
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return from + count;
}

/* confine{ read = paths, write = paths, connect = ports }: see confine.h; gives
 * landlock's ABI and whether connects are limited; or nil, err. */
static int l_confine(lua_State *L)
{
    struct confine_rule rules[RULES_MAX];
    uint16_t ports[PORTS_MAX];
    struct confine_wish wish = { .rules = rules, .ports = ports };
    struct confine_result result;
    struct err_text why = { .text = "" };
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    wish.n_rules = take_rules(L, rules, 0, "read", false);
    wish.n_rules = take_rules(L, rules, wish.n_rules, "write", true);
    wish.n_ports = list_of(L, "connect", PORTS_MAX);
    for (size_t i = 0; i < wish.n_ports; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        ports[i] = (uint16_t)luaL_checkint(L, -1);
        lua_pop(L, 1);
    }
    err = confine_begin(&wish, &result, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushinteger(L, (lua_Integer)result.landlock_abi);
    lua_pushboolean(L, result.has_ports);
    return 2;
}

/* confine_check(): true; or nil, err: what the kernel lacks. */
static int l_confine_check(lua_State *L)
{
    struct err_text why = { .text = "" };
    enum err err = confine_check(&why);

    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushboolean(L, 1);
    return 1;
}

/* confine_sockets(descriptors): true; or nil, err. */
static int l_confine_sockets(lua_State *L)
{
    int listening[LISTENING_MAX];
    struct err_text why = { .text = "" };
    size_t count;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    count = lua_objlen(L, 1);
    luaL_argcheck(L, count <= LISTENING_MAX, 1, "too many");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        listening[i] = luaL_checkint(L, -1);
        lua_pop(L, 1);
    }
    err = confine_sockets(listening, count, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    { "confine_check", l_confine_check },
    { "confine", l_confine },
    { "confine_sockets", l_confine_sockets },
    { NULL, NULL },
};

void bind_confine(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
