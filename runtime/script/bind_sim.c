/* bind_sim.c - the simulator for `tidepool simulate`. */
#include "script/bind_trace.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/policy_args.h"
#include "sim/sim.h"

enum { LIST_MAX = 256 };

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

/* ---- the report */

static void push_sample(lua_State *L, const struct sim_sample *sample)
{
    lua_newtable(L);
#define XX(name, text) field_number(L, #name, sample->name);
    SIM_SAMPLE_MAP(XX)
#undef XX
}

static void push_change(lua_State *L, const struct sim_change *change)
{
    lua_createtable(L, 0, 8);
    field_number(L, "at", change->at);
    lua_pushinteger(L, (lua_Integer)change->host);
    lua_setfield(L, -2, "host");
    field_text(L, "outcome",
               change->is_error ? "failed"
                                : rails_outcome_name(change->outcome));
    field_text(L, "setting", change->setting);
    field_number(L, "from", change->from);
    field_number(L, "to", change->to);
    field_text(L, "reason", change->reason);
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
    field_number(L, "changes_lost", (double)report->changes_lost);
    field_number(L, "events", (double)report->events);
    push_sample(L, &report->total);
    lua_setfield(L, -2, "total");
}

/* ---- a run */

/* What a configuration borrows. */
struct parts {
    struct sim_phase phases[LIST_MAX];
    struct sim_outage outages[LIST_MAX];
    struct policy_option options[POLICY_OPTIONS_MAX];
    struct policy_source source;
    struct rails rails;
};

static void take_load(lua_State *L, struct parts *parts,
                      struct sim_config *config)
{
    double two[2];

    lua_getfield(L, 1, "trace");
    if (!lua_isnil(L, -1))
        config->trace = check_trace(L, lua_gettop(L));
    config->n_phases = list_len(L, "phases");
    for (size_t i = 0; i < config->n_phases; i++) {
        pair_at(L, (int)i + 1, "rate", "seconds", two);
        parts->phases[i] = (struct sim_phase){ two[0], two[1] };
    }
    config->n_outages = list_len(L, "outages");
    for (size_t i = 0; i < config->n_outages; i++) {
        pair_at(L, (int)i + 1, "from", "to", two);
        parts->outages[i] = (struct sim_outage){ two[0], two[1] };
    }
    config->phases = parts->phases;
    config->outages = parts->outages;
}

static void take_model(lua_State *L, struct sim_config *config)
{
    config->seed = (uint64_t)number(L, "seed");
    config->hosts = (unsigned)number(L, "hosts");
    config->service = number(L, "service");
    config->connect = number(L, "connect");
    config->cores = (unsigned)number(L, "cores");
    config->server_max = (unsigned)number(L, "server_max");
    config->sample = number(L, "sample");
}

/* After the settings, which the default rails go by. */
static void take_rails(lua_State *L, struct parts *parts,
                       struct sim_config *config)
{
    struct rail fixed[RAILS_SETTINGS] = { { 0 } };

    rails_init(&parts->rails, &config->settings);
    lua_getfield(L, 1, "rails");
    policy_rails_read(L, fixed);
    rails_fix(&parts->rails, fixed);
    lua_getfield(L, 1, "revert");
    parts->rails.reverts = lua_toboolean(L, -1);
    config->rails = &parts->rails;
}

static void take_policy(lua_State *L, struct parts *parts,
                        struct sim_config *config)
{
    struct policy_source *source = &parts->source;

    lua_getfield(L, 1, "policy");
    if (lua_isnil(L, -1))
        return;
    lua_rawgeti(L, -1, 1);
    source->name = luaL_checkstring(L, -1);
    lua_rawgeti(L, -2, 2);
    source->text = luaL_checklstring(L, -1, &source->len);
    source->cores = config->cores;
    lua_getfield(L, 1, "options");
    source->n_options = policy_options_read(L, parts->options);
    source->options = parts->options;
    config->policy = source;
}

/* Of what the field progress is: fn(at, end). */
static void on_sample(void *ud, double at, double end)
{
    lua_State *L = ud;

    lua_getfield(L, 1, "progress");
    lua_pushnumber(L, at);
    lua_pushnumber(L, end);
    if (lua_pcall(L, 2, 0, 0) != 0)
        lua_pop(L, 1); /* what only shows something fails alone */
}

static void take_progress(lua_State *L, struct sim_config *config)
{
    lua_getfield(L, 1, "progress");
    if (lua_isnil(L, -1))
        return;
    config->on_sample = on_sample;
    config->ud = L;
}

/* simulate{ seed =, hosts =, settings =, rails =, revert =, policy = { name,
 * text }, options =, trace =, phases = { { rate =, seconds = } }, outages = { {
 * from =, to = } }, service =, connect =, cores =, server_max =, sample =,
 * progress = fn(at, end) }: samples, changes, total and events; or nil, err. */
static int l_simulate(lua_State *L)
{
    struct parts parts = { .source = { 0 } };
    struct sim_config config = { 0 };
    struct sim_report report;
    struct err_text why = { .text = "" };
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    take_model(L, &config);
    take_load(L, &parts, &config);
    pool_settings_init(&config.settings, config.cores);
    lua_getfield(L, 1, "settings");
    if (!pool_settings_read(L, lua_gettop(L), &config.settings, &why))
        return return_err(L, ERR_BADARG, &why);
    take_rails(L, &parts, &config);
    take_policy(L, &parts, &config);
    take_progress(L, &config);
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
