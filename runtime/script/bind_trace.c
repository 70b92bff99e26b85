/* bind_trace.c - see bind_trace.h. */
#include "script/bind_trace.h"

#include "base/hist.h"
#include "pool/flight.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/userdata.h"
#include "sim/replay.h"
#include "trace/dump.h"
#include "trace/recorder.h"

#include <string.h>

static const char RECORDER_TYPE[] = "tidepool.recorder";
static const char TRACE_TYPE[] = "tidepool.trace";

/* A userdata. */
struct script_recorder {
    struct vm *vm;
    struct recorder *recorder; /* NULL once closed */
};

/* ---- recordings */

static struct script_recorder *check_recorder(lua_State *L)
{
    struct script_recorder *box = vm_check_type(L, 1, RECORDER_TYPE);

    if (box->recorder == NULL)
        luaL_error(L, "the recorder is closed");
    return box;
}

/* recorder(path, max_bytes): one of a process; or nil, err. */
static int l_recorder(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *path = luaL_checkstring(L, 1);
    double max_bytes = luaL_checknumber(L, 2);
    struct err_text why = { .text = "" };
    struct script_recorder *box;
    enum err err;

    luaL_argcheck(L, vm->recorder == NULL, 1, "there is one already");
    box = lua_newuserdata(L, sizeof(*box));
    *box = (struct script_recorder){ .vm = vm };
    vm_set_type(L, RECORDER_TYPE);
    err =
        recorder_new(&box->recorder, vm->loop, path, (uint64_t)max_bytes, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    vm->recorder = box->recorder;
    return 1;
}

static int l_add(lua_State *L)
{
    struct script_recorder *box = check_recorder(L);
    struct script_pool *pool = check_open_pool(L, 2);

    if (recorder_add(box->recorder, pool->pool, pool->name,
                     pool_kind_name(pool->kind)) != ERR_OK)
        luaL_error(L, "%s: too many pools", pool->name);
    return 0;
}

/* stats(): lines, lost, rotations; error, of the last write that failed. */
static int l_recorder_stats(lua_State *L)
{
    struct script_recorder *box = check_recorder(L);
    struct recorder_stats stats;

    recorder_stats(box->recorder, &stats);
    lua_newtable(L);
    field_number(L, "lines", (double)stats.lines);
    field_number(L, "lost", (double)stats.lost);
    field_number(L, "rotations", (double)stats.rotations);
    if (stats.error != 0)
        field_text(L, "error", strerror(stats.error));
    return 1;
}

static int l_recorder_close(lua_State *L)
{
    struct script_recorder *box = vm_check_type(L, 1, RECORDER_TYPE);

    recorder_free(box->recorder);
    if (box->recorder != NULL)
        box->vm->recorder = NULL;
    box->recorder = NULL;
    return 0;
}

/* ---- dumps */

void trace_forget_pool(struct script_pool *box)
{
    dump_disarm(box->pool);
    if (box->vm->recorder != NULL)
        recorder_forget(box->vm->recorder, box->pool);
}

/* dump_text(pool): the trace that the flight recorder holds. */
static int l_dump_text(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    struct buf text = { 0 };

    dump_text(&text, box->pool, box->name, pool_kind_name(box->kind),
              loop_now_ns(box->vm->loop));
    if (buf_failed(&text)) {
        buf_free(&text);
        return luaL_error(L, "out of memory");
    }
    lua_pushlstring(L, text.data, text.len);
    buf_free(&text);
    return 1;
}

/* dump_file(pool, path): true; or nil, err. */
static int l_dump_file(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    const char *path = luaL_checkstring(L, 2);
    int error = dump_file(path, box->pool, box->name, pool_kind_name(box->kind),
                          loop_now_ns(box->vm->loop));

    if (error != 0)
        return return_text(L, ERR_BADARG, "%s: %s", path, strerror(error));
    lua_pushboolean(L, true);
    return 1;
}

/* dump_on_crash(pool, path): whether it will. */
static int l_dump_on_crash(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);

    lua_pushboolean(L, dump_on_crash(box->pool, luaL_checkstring(L, 2),
                                     box->name, pool_kind_name(box->kind)));
    return 1;
}

/* ---- traces that are read */

const struct trace *check_trace(lua_State *L, int index)
{
    return vm_check_type(L, index, TRACE_TYPE);
}

/* trace(path, [pool]): one pool of a file; or nil, err. */
static int l_trace(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const char *name = luaL_optstring(L, 2, NULL);
    struct trace *trace = lua_newuserdata(L, sizeof(*trace));
    struct err_text why = { .text = "" };
    enum err err;

    memset(trace, 0, sizeof(*trace));
    vm_set_type(L, TRACE_TYPE);
    err = trace_read(trace, path, name, &why);
    return err != ERR_OK ? return_err(L, err, &why) : 1;
}

/* info(): pool, kind, settings, seconds, demands, lost, cores that its server
 * seems to have, wait_p50 and wait_p99, in seconds and of those served; and how
 * many ended how. */
static int l_trace_info(lua_State *L)
{
    const struct trace *trace = check_trace(L, 1);
    uint64_t ends[DEMAND_ENDS] = { 0 };
    struct hist wait = { 0 };
    unsigned cores;

    if (sim_replay_cores(trace, &cores) != ERR_OK)
        return luaL_error(L, "out of memory");
    for (size_t i = 0; i < trace->n_demands; i++) {
        ends[trace->demands[i].end]++;
        if (trace->demands[i].end == DEMAND_SERVED)
            hist_record(&wait, trace->demands[i].wait_ns);
    }
    lua_newtable(L);
    field_text(L, "pool", trace->names[trace->pool]);
    field_text(L, "kind", trace->kind);
    pool_settings_push(L, &trace->settings);
    lua_setfield(L, -2, "settings");
    field_number(L, "seconds", (double)trace->span_ns / 1e9);
    field_number(L, "demands", (double)trace->n_demands);
    field_number(L, "cores", (double)cores);
    field_number(L, "lost", (double)trace->lost);
    field_number(L, "wait_p50", (double)hist_quantile(&wait, 0.5) / 1e9);
    field_number(L, "wait_p99", (double)hist_quantile(&wait, 0.99) / 1e9);
    for (int end = 0; end < DEMAND_ENDS; end++)
        field_number(L, demand_end_name(end), (double)ends[end]);
    return 1;
}

static int l_trace_gc(lua_State *L)
{
    trace_free(lua_touserdata(L, 1));
    return 0;
}

static const luaL_Reg recorder_methods[] = {
    { "add", l_add },
    { "stats", l_recorder_stats },
    { "close", l_recorder_close },
    { "__gc", l_recorder_close },
    { NULL, NULL },
};

static const luaL_Reg trace_methods[] = {
    { "info", l_trace_info },
    { "__gc", l_trace_gc },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "recorder", l_recorder },   { "dump_text", l_dump_text },
    { "dump_file", l_dump_file }, { "dump_on_crash", l_dump_on_crash },
    { "trace", l_trace },         { NULL, NULL },
};

void bind_trace(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, RECORDER_TYPE, recorder_methods);
    lua_pop(L, 1);
    vm_metatable(L, vm, TRACE_TYPE, trace_methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
