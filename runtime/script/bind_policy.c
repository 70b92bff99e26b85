/*
 * bind_policy.c - see bind_policy.h.
 *
 * The policy's own Lua state is policy/'s business; here are its clock, and
 * what it did, told to a function of ours in a task of its own.
 */
#include "script/bind_policy.h"

#include "policy/pilot.h"
#include "pool/pool.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/lua_modules.h"
#include "script/policy_args.h"
#include "script/userdata.h"

#include <math.h>
#include <string.h>
#include <time.h>

static const char PILOT_TYPE[] = "tidepool.pilot";

/* A userdata, kept until it is closed. */
struct script_pilot {
    struct list_node node; /* on vm->pilots */
    struct vm *vm;
    struct pilot *pilot; /* NULL once closed */
    struct deadline deadline;
    struct rail rails[RAILS_SETTINGS]; /* open: those that the operator fixed */
    bool is_dry_run;
    bool reverts;
    int on_event_ref;
    int self_ref;
};

/* ---- what it did */

static void set_change(lua_State *L, const struct rails_event *change)
{
    field_text(L, "outcome", rails_outcome_name(change->outcome));
    field_text(L, "reason", change->reason);
    if (change->setting == NULL)
        return;
    field_text(L, "setting", change->setting->name);
    field_number(L, "from", change->from);
    field_number(L, "to", change->to);
}

static void on_event(void *ud, const struct pilot_event *event)
{
    struct script_pilot *box = ud;
    lua_State *L = box->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, box->on_event_ref);
    lua_createtable(L, 0, 8);
    field_text(L, "policy", event->policy);
    if (event->pool != NULL)
        field_text(L, "pool", event->pool);
    if (event->error != NULL)
        field_text(L, "error", event->error->text);
    if (event->change != NULL)
        set_change(L, event->change);
    task_spawn(box->vm, L, 1, NULL);
}

/* ---- its clock */

static struct policy_time time_now(const struct vm *vm)
{
    struct policy_time now = { .now_ns = loop_now_ns(vm->loop) };
    time_t seconds = time(NULL);
    struct tm tm;

    if (localtime_r(&seconds, &tm) != NULL) {
        now.day = tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
        now.weekday = tm.tm_wday;
    }
    return now;
}

static void on_tick(struct deadline *deadline)
{
    struct script_pilot *box =
        container_of(deadline, struct script_pilot, deadline);
    struct policy_time now = time_now(box->vm);
    uint64_t due_ns = pilot_tick(box->pilot, &now);

    if (due_ns != WHEEL_NEVER && box->pilot != NULL)
        deadline_start(box->vm->loop, &box->deadline, due_ns);
}

/* ---- making it */

static struct script_pilot *check_pilot(lua_State *L)
{
    struct script_pilot *box = vm_check_type(L, 1, PILOT_TYPE);

    if (box->pilot == NULL)
        luaL_error(L, "this policy was closed");
    return box;
}

static enum err fly(struct script_pilot *box,
                    const struct policy_source *source, struct err_text *why)
{
    const struct pilot_ops ops = { .ud = box, .on_event = on_event };
    struct policy_host *host;
    enum err err = policy_host_new(&host, source, why);

    if (err != ERR_OK)
        return err;
    err = pilot_new(&box->pilot, host, &ops);
    if (err != ERR_OK)
        policy_host_free(host);
    return err;
}

/* pilot{ name =, text =, options =, cores =, rails =, dry_run =, revert =,
 * on_event = }: one that begins at once; or nil, err. */
static int l_pilot(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct policy_option options[POLICY_OPTIONS_MAX];
    struct policy_source source = { .options = options,
                                    .seed = rand_next(&vm->rand) };
    struct err_text why = { .text = "" };
    struct script_pilot *box;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm;
    box->on_event_ref = LUA_NOREF;
    box->self_ref = LUA_NOREF;
    vm_set_type(L, PILOT_TYPE);
    lua_getfield(L, 1, "name");
    source.name = luaL_checkstring(L, -1);
    lua_getfield(L, 1, "text");
    source.text = luaL_checklstring(L, -1, &source.len);
    lua_getfield(L, 1, "cores");
    source.cores = (unsigned)luaL_checkint(L, -1);
    lua_getfield(L, 1, "options");
    source.n_options = policy_options_read(L, options);
    lua_getfield(L, 1, "rails");
    policy_rails_read(L, box->rails);
    lua_getfield(L, 1, "dry_run");
    box->is_dry_run = lua_toboolean(L, -1);
    lua_getfield(L, 1, "revert");
    box->reverts = lua_toboolean(L, -1);
    err = fly(box, &source, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    lua_getfield(L, 1, "on_event");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    box->on_event_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    list_push_back(&vm->pilots, &box->node);
    box->deadline.fn = on_tick;
    deadline_start(vm->loop, &box->deadline, loop_now_ns(vm->loop));
    lua_pushvalue(L, 2);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    return 1;
}

/* ---- pools */

/* add(pool): it flies that too. */
static int l_add(lua_State *L)
{
    struct script_pilot *box = check_pilot(L);
    struct script_pool *pool = check_open_pool(L, 2);
    struct rails rails;
    enum err err;

    rails_init(&rails, pool_settings(pool->pool));
    rails.is_dry_run = box->is_dry_run;
    rails.reverts = box->reverts;
    rails_fix(&rails, box->rails);
    err = pilot_add(box->pilot, pool->pool, pool->name,
                    pool_kind_name(pool->kind), &rails);
    if (err != ERR_OK)
        return return_err(L, err, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

void policy_forget_pool(struct script_pool *box)
{
    list_each (node, &box->vm->pilots) {
        struct script_pilot *pilot =
            container_of(node, struct script_pilot, node);

        pilot_remove(pilot->pilot, box->pool);
    }
}

/* NaN where the table on top does not say. */
static double fact(lua_State *L, const char *key)
{
    double value;

    lua_getfield(L, -1, key);
    value = luaL_optnumber(L, -1, NAN);
    lua_pop(L, 1);
    return value;
}

/* set_server(pool, facts): what the server says of itself. */
static int l_set_server(lua_State *L)
{
    struct script_pilot *box = check_pilot(L);
    struct script_pool *pool = check_open_pool(L, 2);
    struct snapshot_server server = { .age = 0 };

    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
#define XX(field, text) server.field = fact(L, #field);
    SNAPSHOT_SERVER_MAP(XX)
#undef XX
    pilot_set_server(box->pilot, pool->pool, &server,
                     loop_now_ns(box->vm->loop));
    return 0;
}

/* stats(): ticks, failures, and how often each outcome was. */
static int l_stats(lua_State *L)
{
    const struct pilot_stats *stats = pilot_stats(check_pilot(L)->pilot);

    lua_newtable(L);
    field_number(L, "ticks", (double)stats->ticks);
    field_number(L, "failures", (double)stats->failures);
    for (int i = 0; i < RAILS_OUTCOMES; i++)
        field_number(L, rails_outcome_name((enum rails_outcome)i),
                     (double)stats->outcomes[i]);
    return 1;
}

/* ---- the end */

static void close_pilot(struct script_pilot *box)
{
    if (box->pilot == NULL)
        return;
    deadline_stop(box->vm->loop, &box->deadline);
    list_remove(&box->vm->pilots, &box->node);
    pilot_free(box->pilot);
    box->pilot = NULL;
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->on_event_ref);
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->self_ref);
}

/* close(): settings stay as they are. */
static int l_close(lua_State *L)
{
    close_pilot(vm_check_type(L, 1, PILOT_TYPE));
    return 0;
}

static int l_gc(lua_State *L)
{
    close_pilot(lua_touserdata(L, 1));
    return 0;
}

/* module_text(name): of a module that is compiled in; or nil. */
static int l_module_text(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    for (const struct lua_module *module = lua_modules; module->name != NULL;
         module++) {
        if (strcmp(module->name, name) != 0)
            continue;
        lua_pushlstring(L, module->text, module->text_len);
        return 1;
    }
    return 0;
}

static const luaL_Reg methods[] = {
    { "raw_add", l_add },     { "raw_set_server", l_set_server },
    { "raw_stats", l_stats }, { "raw_close", l_close },
    { "__gc", l_gc },         { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "pilot", l_pilot },
    { "module_text", l_module_text },
    { NULL, NULL },
};

void bind_policy(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, PILOT_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
