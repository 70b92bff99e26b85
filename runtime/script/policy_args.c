/* policy_args.c - see policy_args.h. */
#include "script/policy_args.h"

#include <lauxlib.h>

size_t policy_options_read(lua_State *L, struct policy_option *options)
{
    int table = lua_gettop(L);
    size_t count = 0;

    if (lua_isnil(L, table))
        return 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        if (count == POLICY_OPTIONS_MAX)
            luaL_error(L, "more than %d options of a policy",
                       POLICY_OPTIONS_MAX);
        options[count].name = luaL_checkstring(L, -2);
        options[count].text = NULL;
        if (lua_type(L, -1) == LUA_TNUMBER)
            options[count].number = lua_tonumber(L, -1);
        else
            options[count].text = luaL_checkstring(L, -1);
        count++;
    }
    return count;
}

/* Of the table on top. */
static double number_or(lua_State *L, const char *key, double without)
{
    double value;

    lua_getfield(L, -1, key);
    value = luaL_optnumber(L, -1, without);
    lua_pop(L, 1);
    return value;
}

void policy_rails_read(lua_State *L, struct rail *rails)
{
    int table = lua_gettop(L);

    if (lua_isnil(L, table))
        return;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        const struct pool_setting *setting =
            pool_setting_find(luaL_checkstring(L, -2));

        if (setting == NULL)
            luaL_error(L, "unknown pool setting: %s", lua_tostring(L, -2));
        rails[setting - pool_setting_table] = (struct rail){
            .min = number_or(L, "min", setting->min),
            .max = number_or(L, "max", setting->max),
            .step = number_or(L, "step", 0),
            .cooldown_ns =
                (uint64_t)(number_or(L, "every",
                                     (double)RAILS_COOLDOWN_NS / 1e9) *
                           1e9),
            .is_open = true,
        };
    }
}
