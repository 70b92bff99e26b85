/* bind_pool.c - see bind_pool.h. */
#include "base/cores.h"
#include "pg/pg.h"
#include "pool/budget_census.h"
#include "pool/conn_state.h"
#include "pool/event.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"
#include "redis/redis.h"
#include "script/bind_events.h"
#include "script/bind_policy.h"
#include "script/bind_trace.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/fields.h"
#include "script/park.h"
#include "script/userdata.h"

#include <stdio.h>
#include <string.h>

static const char *const TYPES[] = { "tidepool.postgres", "tidepool.redis" };
static const char *const KINDS[] = { "postgres", "redis" };

const char *pool_kind_name(enum pool_kind kind)
{
    return KINDS[kind];
}

struct script_pool *check_any_pool(lua_State *L, int index)
{
    if (!vm_is_type(L, index, TYPES[POOL_POSTGRES]) &&
        !vm_is_type(L, index, TYPES[POOL_REDIS]))
        vm_refuse_type(L, index, "pool");
    return lua_touserdata(L, index);
}

struct script_pool *check_open_pool(lua_State *L, int index)
{
    struct script_pool *box = check_any_pool(L, index);

    if (box->pool == NULL)
        raise_at_script(L, "pool \"%s\" is closed", box->name);
    return box;
}

struct script_pool *check_pool(lua_State *L, int index, enum pool_kind kind)
{
    struct script_pool *box = vm_check_type(L, index, TYPES[kind]);

    if (box->pool == NULL)
        raise_at_script(L, "pool \"%s\" is closed", box->name);
    return box;
}

struct script_pool *pool_push(lua_State *L, enum pool_kind kind,
                              const char *name)
{
    struct script_pool *box = lua_newuserdata(L, sizeof(*box));

    memset(box, 0, sizeof(*box));
    box->vm = vm_of(L);
    box->kind = kind;
    box->self_ref = LUA_NOREF;
    box->hooks_ref = LUA_NOREF;
    snprintf(box->name, sizeof(box->name), "%s", name);
    list_init(&box->closers);
    vm_set_type(L, TYPES[kind]);
    return box;
}

void pool_opened(lua_State *L, struct script_pool *box, struct pool *pool)
{
    box->pool = pool;
    pool_observe(pool, events_note, box);
    list_push_back(&box->vm->pools, &box->node);
    lua_createtable(L, 1, 0); /* what leases have as their environment */
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    lua_pushvalue(L, -1);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* ---- arguments */

static bool set_one(lua_State *L, struct pool_settings *settings,
                    struct err_text *why)
{
    const struct pool_setting *setting =
        pool_setting_find(luaL_checkstring(L, -2));
    double value;

    if (setting == NULL)
        luaL_error(L, "unknown pool setting: %s", lua_tostring(L, -2));
    if (setting->kind == SETTING_FLAG) {
        luaL_checktype(L, -1, LUA_TBOOLEAN);
        value = lua_toboolean(L, -1);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        value = lua_tonumber(L, -1);
    } else {
        return luaL_error(L, "%s: number expected, got %s", lua_tostring(L, -2),
                          luaL_typename(L, -1));
    }
    return pool_settings_set(settings, setting, value, why) == ERR_OK;
}

bool pool_settings_read(lua_State *L, int index, struct pool_settings *settings,
                        struct err_text *why)
{
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a setting's name is a string");
        if (!set_one(L, settings, why))
            return false;
        lua_pop(L, 1);
    }
    return pool_settings_check(settings, why) == ERR_OK;
}

static const char *text_field(lua_State *L, const char *key, const char * or)
{
    const char *text;

    lua_getfield(L, 1, key); /* stays on the stack while it is borrowed */
    text = luaL_optstring(L, -1, or);
    return text;
}

bool pool_arguments(lua_State *L, struct pool_arguments *out,
                    struct err_text *why)
{
    static const char *const traces[] = { "off", "comment", "application_name",
                                          NULL };

    luaL_checktype(L, 1, LUA_TTABLE);
    out->name = text_field(L, "name", "main");
    out->url = text_field(L, "url", NULL);
    out->application_name = text_field(L, "application_name", "tidepool");
    text_field(L, "trace", "off");
    out->trace = (enum pool_trace)luaL_checkoption(L, -1, "off", traces);
    if (out->url == NULL)
        luaL_error(L, "url expected");
    pool_settings_init(&out->settings, cores_usable());
    lua_getfield(L, 1, "settings");
    if (lua_isnil(L, -1))
        return true;
    luaL_checktype(L, -1, LUA_TTABLE);
    return pool_settings_read(L, lua_gettop(L), &out->settings, why);
}

uint64_t check_timeout_ms(lua_State *L, int index)
{
    double ms;

    if (lua_isnoneornil(L, index))
        return 0;
    ms = lua_isnumber(L, index) ? lua_tonumber(L, index) : 0;
    if (!(ms > 0 && ms < 1e12))
        luaL_error(L, "timeout_ms: milliseconds above 0 expected");
    return (uint64_t)(ms * 1e6);
}

/* ---- settings */

static int l_pool_settings(lua_State *L)
{
    static const char *const kinds[] = { "count", "time", "flag" };
    int i = 0;

    lua_newtable(L);
    for (const struct pool_setting *entry = pool_setting_table;
         entry->name != NULL; entry++) {
        lua_createtable(L, 0, 6);
        field_text(L, "name", entry->name);
        field_text(L, "kind", kinds[entry->kind]);
        if (entry->kind == SETTING_FLAG)
            lua_pushboolean(L, entry->def != 0);
        else
            lua_pushnumber(L, entry->def);
        lua_setfield(L, -2, "default");
        field_number(L, "min", entry->min);
        field_number(L, "max", entry->max);
        field_text(L, "text", entry->text);
        lua_rawseti(L, -2, ++i);
    }
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "acquire_timeout");
    lua_setfield(L, -2, "connection_timeout");
    return 2;
}

void pool_settings_push(lua_State *L, const struct pool_settings *settings)
{
    lua_newtable(L);
    for (const struct pool_setting *entry = pool_setting_table;
         entry->name != NULL; entry++) {
        double value = pool_settings_get(settings, entry);
        if (entry->kind == SETTING_FLAG)
            lua_pushboolean(L, value != 0);
        else
            lua_pushnumber(L, value);
        lua_setfield(L, -2, entry->name);
    }
}

static int l_settings(lua_State *L)
{
    pool_settings_push(L, pool_settings(check_open_pool(L, 1)->pool));
    return 1;
}

static int l_set(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    struct pool_settings settings = *pool_settings(box->pool);
    struct err_text why = { .text = "" };

    luaL_checktype(L, 2, LUA_TTABLE);
    if (!pool_settings_read(L, 2, &settings, &why) ||
        pool_set(box->pool, &settings, loop_now_ns(box->vm->loop), &why) !=
            ERR_OK)
        return return_failure(L, box, ERR_BADARG, &why);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- stats */

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Powers of two of a nanosecond, where the histogram counts exactly: from
 * 16 microseconds to 34 seconds. */
static void set_buckets(lua_State *L, const struct hist *hist)
{
    int i = 0;

    lua_newtable(L);
    for (unsigned bit = 14; bit <= 35; bit++) {
        uint64_t bound = 1ULL << bit;
        lua_createtable(L, 0, 2);
        field_number(L, "le", seconds(bound));
        field_number(L, "count", (double)hist_count_to(hist, bound));
        lua_rawseti(L, -2, ++i);
    }
    lua_setfield(L, -2, "buckets");
}

static void set_hist(lua_State *L, const char *key, const struct hist *hist)
{
    lua_createtable(L, 0, 7);
    field_number(L, "count", (double)hist->count);
    field_number(L, "sum", seconds(hist->sum_ns));
    field_number(L, "max", seconds(hist->max_ns));
    field_number(L, "p50", seconds(hist_quantile(hist, 0.5)));
    field_number(L, "p90", seconds(hist_quantile(hist, 0.9)));
    field_number(L, "p99", seconds(hist_quantile(hist, 0.99)));
    set_buckets(L, hist);
    lua_setfield(L, -2, key);
}

static void set_counters(lua_State *L, const struct pool_stats *stats)
{
    lua_newtable(L);
#define XX(name, text) field_number(L, #name, (double)stats->name);
    POOL_COUNTERS_MAP(XX)
#undef XX
    lua_setfield(L, -2, "counters");
    lua_newtable(L);
    for (int i = 0; i < CLOSE_REASONS; i++)
        field_number(L, close_reason_name(i), (double)stats->closes[i]);
    lua_setfield(L, -2, "closes");
    lua_newtable(L);
    for (int i = ERR_OK + 1; i < ERR_COUNT; i++)
        field_number(L, err_code(i), (double)stats->errors[i]);
    lua_setfield(L, -2, "errors");
}

static void set_histograms(lua_State *L, const struct pool_stats *stats)
{
    set_hist(L, "wait", &stats->wait);
    set_hist(L, "create", &stats->create);
    set_hist(L, "use", &stats->use);
    set_hist(L, "queue", &stats->queue);
    set_hist(L, "service", &stats->service);
    lua_newtable(L);
    for (int i = 0; i < WAIT_PHASES; i++)
        set_hist(L, wait_phase_name(i), &stats->phases[i]);
    lua_setfield(L, -2, "phases");
}

static void set_counts(lua_State *L, const struct script_pool *box)
{
    uint64_t now_ns = loop_now_ns(box->vm->loop);
    struct budget_census census;
    struct pool_counts counts;

    pool_counts(box->pool, &counts);
    pool_census(box->pool, &census);
    for (int i = 0; i < CONN_STATES; i++)
        field_number(L, conn_state_name(i), counts.states[i]);
    field_number(L, "open", counts.open);
    field_number(L, "waiting", counts.waiting);
    field_number(L, "queued", counts.queued);
    field_number(L, "due", counts.due);
    field_number(L, "oldest_wait",
                 counts.oldest_ns < now_ns ? seconds(now_ns - counts.oldest_ns)
                                           : 0);
    field_number(L, "elsewhere", census.others);
    field_number(L, "ghosts", census.ghosts);
    field_number(L, "max", counts.max);
    field_number(L, "min", counts.min);
}

static int l_stats(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    const struct err_text *error = pool_last_error(box->pool);

    lua_newtable(L);
    field_text(L, "kind", KINDS[box->kind]);
    field_text(L, "name", box->name);
    set_counts(L, box);
    lua_pushboolean(L, pool_is_down(box->pool));
    lua_setfield(L, -2, "down");
    lua_pushboolean(L, pool_is_paused(box->pool));
    lua_setfield(L, -2, "paused");
    lua_pushboolean(L, pool_is_exhausted(box->pool));
    lua_setfield(L, -2, "exhausted");
    if (error != NULL)
        field_text(L, "last_error", error->text);
    set_counters(L, pool_stats(box->pool));
    set_histograms(L, pool_stats(box->pool));
    return 1;
}

/* ---- life */

static int l_name(lua_State *L)
{
    lua_pushstring(L, check_any_pool(L, 1)->name);
    return 1;
}

static int l_kind(lua_State *L)
{
    lua_pushstring(L, KINDS[check_any_pool(L, 1)->kind]);
    return 1;
}

static int l_pause(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);

    pool_pause(box->pool, loop_now_ns(box->vm->loop));
    return 0;
}

static int l_resume(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);

    pool_resume(box->pool, loop_now_ns(box->vm->loop));
    return 0;
}

static int l_drain(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);

    pool_drain(box->pool, loop_now_ns(box->vm->loop));
    return 0;
}

static void on_pool_closed(void *ud)
{
    struct script_pool *box = ud;
    struct list_node *node;

    list_remove(&box->vm->pools, &box->node);
    while ((node = list_pop_front(&box->closers)) != NULL) {
        struct task *task = container_of(node, struct task, wait_node);
        lua_pushboolean(task_results(task), 1);
        task_wake(task);
    }
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->hooks_ref);
    box->hooks_ref = LUA_NOREF;
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->self_ref);
    box->self_ref = LUA_NOREF;
}

void pool_begin_close(struct script_pool *box, uint64_t deadline_ns)
{
    if (box->pool == NULL)
        return;
    policy_forget_pool(box);
    trace_forget_pool(box);
    box->pool = NULL;
    if (box->kind == POOL_POSTGRES)
        pg_pool_close(box->pg, deadline_ns, on_pool_closed, box);
    else
        redis_pool_close(box->redis, deadline_ns, on_pool_closed, box);
}

static void cancel_close(struct task *task)
{
    struct script_pool *box = task->operand;

    list_remove(&box->closers, &task->wait_node);
}

/* close([seconds]): parks until the last connection is gone. */
static int l_close(lua_State *L)
{
    struct script_pool *box = check_any_pool(L, 1);
    double patience = luaL_optnumber(L, 2, 0);
    struct task *task = task_check(L);

    pool_begin_close(box, loop_now_ns(box->vm->loop) +
                              (uint64_t)((patience > 0 ? patience : 0) * 1e9));
    if (box->self_ref == LUA_NOREF) {
        lua_pushboolean(L, 1);
        return 1;
    }
    list_push_back(&box->closers, &task->wait_node);
    task->operand = box;
    return task_park(L, task, cancel_close);
}

static const luaL_Reg methods[] = {
    { "name", l_name },     { "kind", l_kind },   { "settings", l_settings },
    { "set", l_set },       { "stats", l_stats }, { "pause", l_pause },
    { "resume", l_resume }, { "drain", l_drain }, { "close", l_close },
    { NULL, NULL },
};

/* pool_counters(): name to what it counts. */
static int l_pool_counters(lua_State *L)
{
    lua_newtable(L);
#define XX(name, text)        \
    lua_pushliteral(L, text); \
    lua_setfield(L, -2, #name);
    POOL_COUNTERS_MAP(XX)
#undef XX
    return 1;
}

static const luaL_Reg functions[] = {
    { "pool_settings", l_pool_settings },
    { "pool_counters", l_pool_counters },
    { NULL, NULL },
};

/* core.postgres and core.redis are the method tables: the Lua modules add
 * what they build on top. */
void bind_pool(lua_State *L, struct vm *vm)
{
    for (int i = 0; i < 2; i++) {
        vm_metatable(L, vm, TYPES[i], methods);
        lua_setfield(L, -2, KINDS[i]);
    }
    vm_register(L, vm, functions);
}
