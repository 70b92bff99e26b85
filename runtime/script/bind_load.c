/* bind_load.c - load tests as Lua values, and with them the one client of HTTP
 * that there is. */
#include "http/load.h"
#include "script/bind_tls.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

#include <string.h>

static const char LOAD_TYPE[] = "tidepool.load";

static const char *const ERRORS[] = {
#define XX(name, text) text,
    LOAD_ERROR_MAP(XX)
#undef XX
};

/* A userdata, kept until the load has ended. */
struct script_load {
    struct vm *vm;
    struct load *load; /* NULL once collected */
    bool is_over;
    int self_ref;
    struct list waiters; /* tasks parked in wait(), by wait_node */
};

static struct script_load *check_load(lua_State *L)
{
    return vm_check_type(L, 1, LOAD_TYPE);
}

static void on_end(struct load *load, void *ud)
{
    struct script_load *box = ud;
    struct list_node *node;

    (void)load;
    box->is_over = true;
    while ((node = list_pop_front(&box->waiters)) != NULL) {
        struct task *task = container_of(node, struct task, wait_node);
        deadline_stop(box->vm->loop, &task->deadline);
        lua_pushboolean(task_results(task), true);
        task_wake(task);
    }
    luaL_unref(box->vm->L, LUA_REGISTRYINDEX, box->self_ref);
    box->self_ref = LUA_NOREF;
}

/* ---- start */

static double number(lua_State *L, const char *key, double value)
{
    lua_getfield(L, 1, key);
    value = luaL_optnumber(L, -1, value);
    lua_pop(L, 1);
    return value;
}

/* A string that the table at 1 keeps, or NULL. */
static const char *text(lua_State *L, const char *key)
{
    const char *found;

    lua_getfield(L, 1, key);
    found = luaL_optstring(L, -1, NULL);
    lua_pop(L, 1);
    return found;
}

static bool flag(lua_State *L, const char *key)
{
    bool is_set;

    lua_getfield(L, 1, key);
    is_set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is_set;
}

static void take_options(lua_State *L, struct load_options *options)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    options->host = text(L, "host");
    options->port = text(L, "port");
    options->unix_path = text(L, "unix_path");
    lua_getfield(L, 1, "tls");
    options->tls = tls_at(L, -1);
    lua_pop(L, 1);
    options->is_head = flag(L, "is_head");
    options->keeps_body = flag(L, "keeps_body");
    options->connections = (unsigned)number(L, "connections", 1);
    options->rate = number(L, "rate", 0);
    options->duration_ns = (uint64_t)(number(L, "seconds", 10) * 1e9);
    options->max_requests = (uint64_t)number(L, "requests", 0);
    options->timeout_ns = (uint64_t)(number(L, "timeout", 10) * 1e9);
    lua_getfield(L, 1, "request");
    options->request = luaL_checklstring(L, -1, &options->request_len);
    lua_pop(L, 1);
    luaL_argcheck(L, options->host != NULL || options->unix_path != NULL, 1,
                  "host or unix_path expected");
    luaL_argcheck(L, options->connections > 0 && options->duration_ns > 0, 1,
                  "connections and seconds above 0 expected");
}

/* load{ host =, port =, tls =, | unix_path =, request =, is_head =, keeps_body
 * =, connections =, rate =, seconds =, requests =, timeout = } */
static int l_load(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct load_options options = { 0 };
    struct script_load *box;
    enum err err;

    take_options(L, &options);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm;
    box->self_ref = LUA_NOREF;
    list_init(&box->waiters);
    vm_set_type(L, LOAD_TYPE);
    err = load_start(&box->load, vm->loop, &options, on_end, box);
    if (err != ERR_OK)
        return return_err(L, err, NULL);
    lua_pushvalue(L, -1);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

/* ---- while it runs */

static int l_stop(lua_State *L)
{
    struct script_load *box = check_load(L);

    if (box->load != NULL && !box->is_over)
        load_stop(box->load);
    return 0;
}

static void cancel_wait(struct task *task)
{
    struct script_load *box = task->operand;

    deadline_stop(task->vm->loop, &task->deadline);
    list_remove(&box->waiters, &task->wait_node);
}

static void on_wait_over(struct deadline *deadline)
{
    struct task *task = container_of(deadline, struct task, deadline);
    struct script_load *box = task->operand;

    list_remove(&box->waiters, &task->wait_node);
    lua_pushboolean(task_results(task), false);
    task_wake(task);
}

/* wait(seconds): whether it has ended. */
static int l_wait(lua_State *L)
{
    struct script_load *box = check_load(L);
    uint64_t ns = check_seconds(L, 2);
    struct task *task = task_check(L);

    if (box->is_over) {
        lua_pushboolean(L, true);
        return 1;
    }
    list_push_back(&box->waiters, &task->wait_node);
    task->operand = box;
    task->deadline.fn = on_wait_over;
    deadline_start(box->vm->loop, &task->deadline,
                   loop_now_ns(box->vm->loop) + ns);
    return task_park(L, task, cancel_wait);
}

/* ---- what was measured */

static double seconds_of(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Each bucket that holds anything: upper bound in seconds, count. */
static void push_buckets(lua_State *L, const struct hist *hist)
{
    uint64_t sum = 0;
    int count = 0;

    lua_newtable(L);
    for (int i = 0; i < HIST_BUCKETS; i++) {
        if (hist->buckets[i] == 0)
            continue;
        sum += hist->buckets[i];
        lua_createtable(L, 0, 2);
        field_number(
            L, "le",
            seconds_of(hist_quantile(hist, (double)sum / (double)hist->count)));
        field_number(L, "count", (double)hist->buckets[i]);
        lua_rawseti(L, -2, ++count);
    }
}

static void set_hist(lua_State *L, const char *key, const struct hist *hist)
{
    static const struct {
        const char *key;
        double q;
    } quantiles[] = { { "p50", 0.5 },
                      { "p90", 0.9 },
                      { "p95", 0.95 },
                      { "p99", 0.99 },
                      { "p99_9", 0.999 } };

    lua_newtable(L);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
        field_number(L, quantiles[i].key,
                     seconds_of(hist_quantile(hist, quantiles[i].q)));
    field_number(L, "count", (double)hist->count);
    field_number(L, "max", seconds_of(hist->max_ns));
    field_number(
        L, "average",
        hist->count == 0 ? 0 : seconds_of(hist->sum_ns) / (double)hist->count);
    push_buckets(L, hist);
    lua_setfield(L, -2, "buckets");
    lua_setfield(L, -2, key);
}

/* by_class: counts of 1xx to 5xx; by_status: status -> count, where any. */
static void set_statuses(lua_State *L, const struct load_stats *stats)
{
    double classes[6] = { 0 };

    lua_newtable(L);
    for (int status = 100; status < LOAD_STATUSES; status++) {
        if (stats->by_status[status] == 0)
            continue;
        classes[status / 100] += (double)stats->by_status[status];
        lua_pushnumber(L, (double)stats->by_status[status]);
        lua_rawseti(L, -2, status);
    }
    lua_setfield(L, -2, "by_status");
    lua_newtable(L);
    for (int class = 1; class < 6; class ++) {
        lua_pushnumber(L, classes[class]);
        lua_rawseti(L, -2, class);
    }
    lua_setfield(L, -2, "by_class");
}

static void set_counts(lua_State *L, const struct load_stats *stats)
{
#define COUNT(name) field_number(L, #name, (double)stats->name)
    COUNT(sent);
    COUNT(answered);
    COUNT(bytes_in);
    COUNT(bytes_out);
    COUNT(connects);
    COUNT(late);
    COUNT(unsent);
    COUNT(abandoned);
    COUNT(in_flight);
    COUNT(peak_in_flight);
    COUNT(status);
#undef COUNT
    set_statuses(L, stats);
    lua_newtable(L);
    for (int i = 0; i < LOAD_ERRORS; i++)
        field_number(L, ERRORS[i], (double)stats->errors[i]);
    lua_setfield(L, -2, "errors");
}

static void set_rate(lua_State *L, const struct script_load *box)
{
    const struct load_stats *stats = load_stats(box->load);
    bool is_stopped = stats->stop_ns != 0;
    uint64_t stop = is_stopped ? stats->stop_ns : loop_now_ns(box->vm->loop);
    uint64_t answered = is_stopped ? stats->answered_at_stop : stats->answered;
    double seconds =
        stats->start_ns == 0 ? 0 : seconds_of(stop - stats->start_ns);

    field_number(L, "seconds", seconds);
    field_number(L, "rate", seconds > 0 ? (double)answered / seconds : 0);
}

/* stats(): times in seconds. */
static int l_stats(lua_State *L)
{
    struct script_load *box = check_load(L);
    const struct load_stats *stats = load_stats(box->load);

    lua_newtable(L);
    set_counts(L, stats);
    set_rate(L, box);
    set_hist(L, "latency", &stats->latency);
    set_hist(L, "service", &stats->service);
    lua_pushstring(L, stats->why.text);
    lua_setfield(L, -2, "why");
    return 1;
}

/* body(): of the last reply. */
static int l_body(lua_State *L)
{
    const struct buf *body = &load_stats(check_load(L)->load)->body;

    lua_pushlstring(L, body->len > 0 ? body->data : "", body->len);
    return 1;
}

static int l_load_gc(lua_State *L)
{
    struct script_load *box = lua_touserdata(L, 1);

    load_free(box->load);
    box->load = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    { "stop", l_stop }, { "wait", l_wait },    { "stats", l_stats },
    { "body", l_body }, { "__gc", l_load_gc }, { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "load", l_load },
    { NULL, NULL },
};

void bind_load(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, LOAD_TYPE, methods);
    lua_setfield(L, -2, "load_test");
    vm_register(L, vm, functions);
}
