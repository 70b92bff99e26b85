/* bind_pg.c - Postgres pools and leases as Lua values. */
#include "pg/pg.h"
#include "pg/request.h"
#include "pool/pool.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/lease.h"
#include "script/nested.h"
#include "script/park.h"
#include "script/statement.h"

#include <stdio.h>

/* ---- statements on the pool */

static int send_on_pool(lua_State *L, enum statement_shape shape)
{
    struct script_pool *box = check_pool(L, 1, POOL_POSTGRES);
    struct task *task = task_check(L);
    int n_refused;

    nested_check_hook(L, task, box);
    statement_fill(L, task, box, 2, shape);
    n_refused = nested_refuse(L, task, box, 2);
    if (n_refused > 0)
        return n_refused;
    task->awaits = box->pool;
    task->was_sent = &task->pg.was_sent;
    return statement_park(L, task, box, pg_pool_send(box->pg, &task->pg));
}

static int l_query(lua_State *L)
{
    return send_on_pool(L, SHAPE_ROWS);
}

static int l_one(lua_State *L)
{
    return send_on_pool(L, SHAPE_ONE);
}

static int l_exec(lua_State *L)
{
    return send_on_pool(L, SHAPE_EXEC);
}

/* ---- leases */

static int send_on_lease(lua_State *L, enum statement_shape shape)
{
    struct lease *lease = lease_check(L, POOL_POSTGRES);
    struct task *task = task_check(L);
    enum err err;

    if (lease->conn == NULL)
        return return_taken(L, lease);
    statement_fill(L, task, lease->box, 2, shape);
    task->operand = lease->box;
    task->link = pg_link_of(lease->conn);
    err = pg_link_send(task->link, &task->pg);
    if (err != ERR_OK)
        return return_failure(L, lease->box, err, NULL);
    return statement_park(L, task, lease->box, ERR_OK);
}

static int l_lease_query(lua_State *L)
{
    return send_on_lease(L, SHAPE_ROWS);
}

static int l_lease_one(lua_State *L)
{
    return send_on_lease(L, SHAPE_ONE);
}

static int l_lease_exec(lua_State *L)
{
    return send_on_lease(L, SHAPE_EXEC);
}

/* Fills task->pg with what names the session after the trace, behind as much of
 * its own name as there is room for. */
static void fill_name(lua_State *L, struct task *task, struct lease *lease,
                      struct origin *origin)
{
    enum { NAME_MOST = 63 - TRACE_ID_LEN - 1 }; /* Postgres' NAMEDATALEN */
    const struct trace_parent *trace = origin_trace(&task->vm->origins, origin);
    struct pg_link *link = pg_link_of(lease->conn);
    const char *own = pg_link_parameter(link, "application_name");
    char name[64];

    snprintf(name, sizeof(name), "%.*s %s", NAME_MOST, own != NULL ? own : "",
             trace->trace_id);
    lua_settop(L, 1);
    lua_pushliteral(L, "SELECT set_config('application_name', $1, false)");
    lua_pushstring(L, name);
    statement_fill(L, task, lease->box, 2, SHAPE_EXEC);
    task->pg.names_session = true;
    task->link = link;
}

/* raw_name(lease): where the pool is to tell the server so, and the request is
 * sampled, the session has its trace's name, until it is given back. */
static int l_lease_name(lua_State *L)
{
    struct lease *lease = lease_check(L, POOL_POSTGRES);
    struct origin *origin;
    struct task *task;
    enum err err;

    if (lease->box->trace != TRACE_APPLICATION_NAME || lease->conn == NULL)
        return 0;
    task = task_check(L);
    origin = task_origin(task);
    if (origin == NULL || !origin_is_sampled(&task->vm->origins, origin))
        return 0;
    fill_name(L, task, lease, origin);
    err = pg_link_send(task->link, &task->pg);
    if (err != ERR_OK)
        return return_failure(L, lease->box, err, NULL);
    return statement_park(L, task, lease->box, ERR_OK);
}

/* "none", "open", "failed" or "unknown": the transaction, from the wire. */
static int l_lease_tx(lua_State *L)
{
    static const char *const names[] = { [PG_TX_NONE] = "none",
                                         [PG_TX_OPEN] = "open",
                                         [PG_TX_FAILED] = "failed",
                                         [PG_TX_UNKNOWN] = "unknown" };
    struct lease *lease = lease_check(L, POOL_POSTGRES);
    enum pg_tx tx = PG_TX_UNKNOWN;

    if (lease->conn != NULL)
        tx = pg_link_tx(pg_link_of(lease->conn));
    lua_pushstring(L, names[tx]);
    return 1;
}

static int l_lease_pid(lua_State *L)
{
    struct lease *lease = lease_check(L, POOL_POSTGRES);

    if (lease->conn == NULL)
        return 0;
    lua_pushinteger(L, pg_link_backend_pid(pg_link_of(lease->conn)));
    return 1;
}

/* server(lease): its version as a number, and the settings that it reports. */
static int l_lease_server(lua_State *L)
{
    static const char *const names[] = { "server_version",
                                         "server_encoding",
                                         "client_encoding",
                                         "application_name",
                                         "default_transaction_read_only",
                                         "in_hot_standby",
                                         "is_superuser",
                                         "session_authorization",
                                         "DateStyle",
                                         "IntervalStyle",
                                         "TimeZone",
                                         "integer_datetimes",
                                         "standard_conforming_strings" };
    const struct lease *lease = lease_check(L, POOL_POSTGRES);
    const struct pg_link *link;

    if (lease->conn == NULL)
        return return_taken(L, lease);
    link = pg_link_of(lease->conn);
    lua_createtable(L, 0, 16);
    lua_pushinteger(L, pg_link_server_version(link));
    lua_setfield(L, -2, "version");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        lua_pushstring(L, pg_link_parameter(link, names[i])); /* or nil */
        lua_setfield(L, -2, names[i]);
    }
    return 1;
}

/* raw_statement_timeout(lease): the pool's, in seconds. */
static int l_lease_statement_timeout(lua_State *L)
{
    const struct lease *lease = lease_check(L, POOL_POSTGRES);
    const struct pool_settings *settings = pool_settings(lease->pool);

    lua_pushnumber(L, (lua_Number)settings->statement_timeout_ns / 1e9);
    return 1;
}

/* ---- opening */

static int l_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    struct pool_arguments arguments;
    struct pg_config config;
    struct script_pool *box;
    enum err err;

    if (!pool_arguments(L, &arguments, &why))
        return return_err(L, ERR_BADARG, &why);
    config = (struct pg_config){
        .name = arguments.name,
        .url = arguments.url,
        .application_name = arguments.application_name,
        .settings = arguments.settings,
        .log = &vm->log,
        .budget = vm->budget,
        .seed = rand_next(&vm->rand),
    };
    box = pool_push(L, POOL_POSTGRES, arguments.name);
    err = pg_pool_open(&box->pg, vm->loop, &config, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    box->trace = arguments.trace;
    pool_opened(L, box, pg_pool_pool(box->pg));
    return 1;
}

static const luaL_Reg pool_methods[] = {
    { "raw_query", l_query },
    { "raw_one", l_one },
    { "raw_exec", l_exec },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_query", l_lease_query },
    { "raw_one", l_lease_one },
    { "raw_exec", l_lease_exec },
    { "raw_name", l_lease_name },
    { "tx", l_lease_tx },
    { "pid", l_lease_pid },
    { "server", l_lease_server },
    { "raw_statement_timeout", l_lease_statement_timeout },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "postgres_open", l_open },
    { NULL, NULL },
};

void bind_pg(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "postgres", pool_methods);
    vm_extend(L, vm, "postgres_lease", lease_methods);
    vm_register(L, vm, functions);
}
