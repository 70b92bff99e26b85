/* tables.c - see tables.h. */
#include "policy/tables.h"

#include "pool/conn_state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- snapshots */

static void set_number(lua_State *L, const char *key, double value)
{
    if (isnan(value))
        return;
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, double value)
{
    lua_pushboolean(L, value != 0);
    lua_setfield(L, -2, key);
}

static void set_times(lua_State *L, const char *key,
                      const struct snapshot_times *times)
{
    lua_createtable(L, 0, 5);
    set_number(L, "count", times->count);
    set_number(L, "p50", times->p50);
    set_number(L, "p90", times->p90);
    set_number(L, "p99", times->p99);
    set_number(L, "max", times->max);
    lua_setfield(L, -2, key);
}

static void set_settings(lua_State *L, const struct pool_settings *settings)
{
    lua_newtable(L);
    for (const struct pool_setting *setting = pool_setting_table;
         setting->name != NULL; setting++) {
        double value = pool_settings_get(settings, setting);

        if (setting->kind == SETTING_FLAG)
            set_flag(L, setting->name, value);
        else
            set_number(L, setting->name, value);
    }
    lua_setfield(L, -2, "settings");
}

static void set_server(lua_State *L, const struct snapshot_server *server)
{
    lua_newtable(L);
#define XX(name, text) set_number(L, #name, server->name);
    SNAPSHOT_SERVER_MAP(XX)
#undef XX
    if (!isnan(server->is_replica))
        set_flag(L, "is_replica", server->is_replica);
    lua_setfield(L, -2, "server");
}

void tables_push_snapshot(lua_State *L, const struct snapshot *snap)
{
    lua_createtable(L, 0, 32);
    set_text(L, "name", snap->name);
    set_text(L, "kind", snap->kind);
#define XX(name, text) set_number(L, #name, snap->name);
    SNAPSHOT_MAP(XX)
#undef XX
    set_flag(L, "is_down", snap->is_down);
    set_flag(L, "is_paused", snap->is_paused);
    for (int i = 0; i < CONN_STATES; i++)
        set_number(L, conn_state_name((enum conn_state)i), snap->states[i]);
    lua_newtable(L);
    for (int i = ERR_OK + 1; i < ERR_COUNT; i++)
        set_number(L, err_code((enum err)i), snap->errors[i]);
    lua_setfield(L, -2, "errors");
    set_times(L, "wait", &snap->wait);
    set_times(L, "service", &snap->service);
    set_settings(L, &snap->settings);
    set_server(L, &snap->server);
}

/* ---- options */

static bool is_plain(lua_State *L, int index)
{
    int type = lua_type(L, index);

    return type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TBOOLEAN;
}

/* Sets one in the table on top, which has its default. */
static void set_option(lua_State *L, const char *policy,
                       const struct policy_option *option)
{
    int type;

    lua_getfield(L, -1, option->name);
    type = lua_type(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        luaL_error(L, "%s has no option %s", policy, option->name);
    if (type == LUA_TNUMBER && option->text != NULL)
        luaL_error(L, "option %s of %s: a number or a time expected, got %s",
                   option->name, policy, option->text);
    if (option->text != NULL)
        lua_pushstring(L, option->text);
    else
        lua_pushnumber(L, option->number);
    lua_setfield(L, -2, option->name);
}

void tables_push_options(lua_State *L, int index,
                         const struct policy_source *source)
{
    int defaults, out;

    lua_getfield(L, index, "options");
    defaults = lua_gettop(L);
    lua_newtable(L);
    out = lua_gettop(L);
    if (!lua_isnil(L, defaults) && !lua_istable(L, defaults))
        luaL_error(L, "%s: options: table expected, got %s", source->name,
                   luaL_typename(L, defaults));
    if (lua_istable(L, defaults)) {
        for (lua_pushnil(L); lua_next(L, defaults) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !is_plain(L, -1))
                luaL_error(L,
                           "%s: options: names with numbers, texts or "
                           "booleans expected",
                           source->name);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, out);
        }
    }
    for (size_t i = 0; i < source->n_options; i++)
        set_option(L, source->name, &source->options[i]);
    lua_remove(L, defaults);
}

/* ---- wishes */

static void take_reason(lua_State *L, int index, const char *policy,
                        struct policy_wish *wish)
{
    size_t len = 0;
    const char *reason = lua_type(L, index) == LUA_TSTRING
                             ? lua_tolstring(L, index, &len)
                             : NULL;

    if (len == 0)
        luaL_error(L, "%s: a reason expected as the second value, got %s",
                   policy, reason != NULL ? "\"\"" : luaL_typename(L, index));
    snprintf(wish->reason, sizeof(wish->reason), "%s", reason);
    for (char *at = wish->reason; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
}

static double value_of(lua_State *L, const struct pool_setting *setting,
                       const char *policy)
{
    bool is_flag = setting->kind == SETTING_FLAG;
    double value;

    if (lua_type(L, -1) != (is_flag ? LUA_TBOOLEAN : LUA_TNUMBER))
        luaL_error(L, "%s: %s: %s expected, got %s", policy, setting->name,
                   is_flag ? "boolean" : "number", luaL_typename(L, -1));
    value = is_flag ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
    if (!isfinite(value))
        luaL_error(L, "%s: %s: a finite number expected", policy,
                   setting->name);
    return setting->kind == SETTING_COUNT ? floor(value + 0.5) : value;
}

void tables_take_wish(lua_State *L, const char *policy,
                      struct policy_wish *wish)
{
    int reason = lua_gettop(L), table = reason - 1;
    bool is_any = false;

    if (lua_isnil(L, table))
        return;
    if (!lua_istable(L, table))
        luaL_error(L,
                   "%s: decide gives a table of settings, or nothing; it "
                   "gave %s",
                   policy, luaL_typename(L, table));
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        const char *name =
            lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const struct pool_setting *setting = pool_setting_find(name);
        size_t i;

        if (setting == NULL)
            luaL_error(L, "%s: unknown setting: %s", policy,
                       name[0] != '\0' ? name : luaL_typename(L, -2));
        i = (size_t)(setting - pool_setting_table);
        wish->values[i] = value_of(L, setting, policy);
        wish->is_set[i] = true;
        is_any = true;
    }
    if (is_any)
        take_reason(L, reason, policy, wish);
}
