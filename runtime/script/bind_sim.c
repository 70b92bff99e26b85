/* bind_sim.c - the simulator for `tidepool simulate`. */
#include "script/vm.h"
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 256, OPTIONS_MAX = 32 };

static double number(lua_State *L, const char *key)
{
    double value;

    lua_getfield(L, 1, key);
    value = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return value;
}

/* The i-th pair of numbers of the list at the top. */
static void pair_at(lua_State *L, int i, const char *first, const char *second,
                    double *out)
{
    lua_rawgeti(L, -1, i);
    lua_getfield(L, -1, first);
    out[0] = luaL_checknumber(L, -1);
    lua_getfield(L, -2, second);
    out[1] = luaL_checknumber(L, -1);
    lua_pop(L, 3);
}

static size_t list_len(lua_State *L, const char *key)
{
    size_t count;

    lua_getfield(L, 1, key);
    count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (count > LIST_MAX)
        luaL_error(L, "%s: at most %d", key, LIST_MAX);
    return count;
}

static void set_pool(lua_State *L, struct pool_settings *settings)
{
    struct err_text why = { .text = "" };

    lua_getfield(L, 1, "settings");
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const struct pool_setting *setting =
            pool_setting_find(luaL_checkstring(L, -2));

        if (setting == NULL ||
            pool_settings_set(settings, setting,
                              lua_isboolean(L, -1) ? lua_toboolean(L, -1)
                                                   : luaL_checknumber(L, -1),
                              &why) != ERR_OK)
            luaL_error(L, "%s: %s", lua_tostring(L, -2), why.text);
    }
    lua_pop(L, 1);
}

static double optional(lua_State *L, const char *key, double without)
{
    double value;

    lua_getfield(L, -1, key);
    value = luaL_optnumber(L, -1, without);
    lua_pop(L, 1);
    return value;
}

static void set_rails(lua_State *L, struct rails *rails)
{
    lua_getfield(L, 1, "rails");
    for (lua_pushnil(L); lua_istable(L, -2) && lua_next(L, -2) != 0;
         lua_pop(L, 1)) {
        const struct pool_setting *setting =
            pool_setting_find(luaL_checkstring(L, -2));

        if (setting == NULL)
            luaL_error(L, "unknown pool setting: %s", lua_tostring(L, -2));
        rails->rails[setting - pool_setting_table] = (struct rail){
            .min = optional(L, "min", setting->min),
            .max = optional(L, "max", setting->max),
            .step = optional(L, "step", 0),
            .cooldown_ns = (uint64_t)(optional(L, "every", 5) * 1e9),
            .is_open = true,
        };
    }
    lua_settop(L, 1);
}

static size_t take_options(lua_State *L, struct policy_option *options)
{
    size_t count = 0;

    lua_getfield(L, 1, "options"); /* stays: it keeps the strings */
    if (!lua_istable(L, -1))
        return 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (count == OPTIONS_MAX)
            luaL_error(L, "more than %d options of a policy", OPTIONS_MAX);
        options[count] =
            (struct policy_option){ .name = luaL_checkstring(L, -2) };
        if (lua_type(L, -1) == LUA_TNUMBER)
            options[count].number = lua_tonumber(L, -1);
        else
            options[count].text = luaL_checkstring(L, -1);
        count++;
    }
    return count;
}

/* ---- the report */

static void push_sample(lua_State *L, const struct sim_sample *sample)
{
    lua_newtable(L);
#define XX(name, text)               \
    lua_pushnumber(L, sample->name); \
    lua_setfield(L, -2, #name);
    SIM_SAMPLE_MAP(XX)
#undef XX
}

static void push_change(lua_State *L, const struct sim_change *change)
{
    lua_createtable(L, 0, 8);
    lua_pushnumber(L, change->at);
    lua_setfield(L, -2, "at");
    lua_pushinteger(L, (lua_Integer)change->host);
    lua_setfield(L, -2, "host");
    lua_pushstring(L, change->is_error ? "failed"
                                       : rails_outcome_name(change->outcome));
    lua_setfield(L, -2, "outcome");
    lua_pushstring(L, change->setting);
    lua_setfield(L, -2, "setting");
    lua_pushnumber(L, change->from);
    lua_setfield(L, -2, "from");
    lua_pushnumber(L, change->to);
    lua_setfield(L, -2, "to");
    lua_pushstring(L, change->reason);
    lua_setfield(L, -2, "reason");
}

static void push_report(lua_State *L, const struct sim_report *report)
{
    lua_newtable(L);
    lua_createtable(L, (int)report->n_samples, 0);
    for (size_t i = 0; i < report->n_samples; i++) {
        push_sample(L, &report->samples[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "samples");
    lua_createtable(L, (int)report->n_changes, 0);
    for (size_t i = 0; i < report->n_changes; i++) {
        push_change(L, &report->changes[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "changes");
    lua_pushnumber(L, (lua_Number)report->changes_lost);
    lua_setfield(L, -2, "changes_lost");
    lua_pushnumber(L, (lua_Number)report->events);
    lua_setfield(L, -2, "events");
    push_sample(L, &report->total);
    lua_setfield(L, -2, "total");
}

/* simulate{ seed =, hosts =, settings =, rails =, dry_run =, revert =, policy =
 * { name, text }, options =, phases = { { rate =, seconds = } }, outages =
 * { { from =, to = } }, service =, connect =, cores =, server_max =, sample =
 * }: samples, changes, total and events; or nil, err. */
static int l_simulate(lua_State *L)
{
    struct sim_phase phases[LIST_MAX];
    struct sim_outage outages[LIST_MAX];
    struct policy_option options[OPTIONS_MAX];
    struct policy_source source = { .options = options };
    struct rails rails;
    struct sim_config config = { .phases = phases,
                                 .outages = outages,
                                 .rails = &rails };
    struct sim_report report;
    struct err_text why = { .text = "" };
    double two[2];
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    config.seed = (uint64_t)number(L, "seed");
    config.hosts = (unsigned)number(L, "hosts");
    config.service = number(L, "service");
    config.connect = number(L, "connect");
    config.cores = (unsigned)number(L, "cores");
    config.server_max = (unsigned)number(L, "server_max");
    config.sample = number(L, "sample");
    config.n_phases = list_len(L, "phases");
    for (size_t i = 0; i < config.n_phases; i++) {
        pair_at(L, (int)i + 1, "rate", "seconds", two);
        phases[i] = (struct sim_phase){ two[0], two[1] };
    }
    config.n_outages = list_len(L, "outages");
    for (size_t i = 0; i < config.n_outages; i++) {
        pair_at(L, (int)i + 1, "from", "to", two);
        outages[i] = (struct sim_outage){ two[0], two[1] };
    }
    lua_settop(L, 1);
    pool_settings_init(&config.settings, config.cores);
    set_pool(L, &config.settings);
    rails_init(&rails, &config.settings);
    set_rails(L, &rails);
    lua_getfield(L, 1, "dry_run");
    rails.is_dry_run = lua_toboolean(L, -1);
    lua_getfield(L, 1, "revert");
    rails.reverts = lua_toboolean(L, -1);
    lua_getfield(L, 1, "policy");
    if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, 1);
        source.name = luaL_checkstring(L, -1);
        lua_rawgeti(L, -2, 2);
        source.text = luaL_checklstring(L, -1, &source.len);
        source.cores = config.cores;
        source.n_options = take_options(L, options);
        config.policy = &source;
    }
    err = sim_run(&config, &report, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    push_report(L, &report);
    sim_report_free(&report);
    return 1;
}

static const luaL_Reg functions[] = {
    { "simulate", l_simulate },
    { NULL, NULL },
};

void bind_sim(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
