/* bind_copy.c - COPY on a leased Postgres connection, as a Lua value. */
#include "pg/copy.h"
#include "pg/pg.h"
#include "pg/rows.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/hearing.h"
#include "script/hold.h"
#include "script/lease.h"
#include "script/park.h"
#include "script/statement.h"
#include "script/userdata.h"

#include <string.h>

static const char COPY_TYPE[] = "tidepool.copy";

/* What its task waits for. */
enum wait { WAIT_FOR_START, WAIT_FOR_ROWS, WAIT_FOR_ROOM, WAIT_FOR_END };

/* A userdata; its hold ties it to the task that holds the lease as well. */
struct copying {
    struct hold hold;
    struct pg_copy copy;
    struct hearing hearing;
    enum wait wait;
    double seconds;          /* that the wait may take */
    struct script_pool *box; /* kept by the environment, as a lease's */
    bool is_given_up;        /* by the script, which knows why: no failure */
};

static struct copying *check_copy(lua_State *L)
{
    return vm_check_type(L, 1, COPY_TYPE);
}

static bool is_over(const struct copying *copying)
{
    const struct pg_copy *copy = &copying->copy;

    if (copy->state == PG_COPY_DONE)
        return true;
    switch (copying->wait) {
    case WAIT_FOR_START: return copy->state != PG_COPY_STARTING;
    case WAIT_FOR_ROWS: return copy->data.len > 0;
    case WAIT_FOR_ROOM: return !copy->is_full;
    case WAIT_FOR_END: break;
    }
    return false;
}

static void on_change(struct pg_copy *copy)
{
    struct copying *copying = container_of(copy, struct copying, copy);

    if (is_over(copying))
        hearing_tell(&copying->hearing);
}

/* The number of rows, and `at_end` before it; or nil, err. */
static int push_end(lua_State *L, struct copying *copying)
{
    struct pg_copy *copy = &copying->copy;
    struct pg_rows *rows = copy->rows;

    copy->rows = NULL;
    if (copy->err == ERR_OK) {
        lua_pushnumber(L, (lua_Number)pg_rows_affected(rows));
        pg_rows_free(rows);
        return 1;
    }
    if (!copying->is_given_up)
        failure_count(copying->box, copy->err);
    lua_pushnil(L);
    if (rows != NULL)
        push_server_err(L, rows, &copy->text);
    else
        push_err(L, copy->err, &copy->text);
    if (copy->err == ERR_LOST) {
        lua_pushliteral(L, "unknown");
        lua_setfield(L, -2, "outcome");
    }
    return 2;
}

static int push_result(lua_State *L, struct hearing *hearing)
{
    struct copying *copying = container_of(hearing, struct copying, hearing);
    struct pg_copy *copy = &copying->copy;
    struct err_text text = { .text = "" };

    if (!is_over(copying)) {
        err_text_set(&text, "COPY made no progress in %.3g s",
                     copying->seconds);
        return return_failure(L, copying->box, ERR_TIMEOUT, &text);
    }
    if (copying->wait == WAIT_FOR_ROWS && copy->data.len > 0) {
        lua_pushlstring(L, copy->data.data, copy->data.len);
        pg_copy_taken(copy);
        return 1;
    }
    if (copy->state == PG_COPY_DONE)
        return push_end(L, copying);
    if (copying->wait == WAIT_FOR_START && copy->state != PG_COPY_ENDING)
        lua_pushstring(L, copy->state == PG_COPY_IN ? "in" : "out");
    else
        lua_pushboolean(L, 1);
    return 1;
}

static int wait_for(lua_State *L, struct copying *copying, enum wait wait,
                    int index)
{
    uint64_t ns = check_seconds(L, index);

    copying->wait = wait;
    copying->seconds = (double)ns / 1e9;
    return hearing_wait(L, &copying->hearing, is_over(copying), ns);
}

/* raw_begin(seconds): "in", "out", or true for what ends at once; nil, err. */
static int l_begin(lua_State *L)
{
    return wait_for(L, check_copy(L), WAIT_FOR_START, 2);
}

/* raw_read(seconds): whole rows as a string; at the end their number; or nil,
 * err. */
static int l_read(lua_State *L)
{
    return wait_for(L, check_copy(L), WAIT_FOR_ROWS, 2);
}

/* raw_write(seconds, data): true when more may be written; a number when the
 * server has ended it; or nil, err. */
static int l_write(lua_State *L)
{
    struct copying *copying = check_copy(L);
    size_t len;
    const char *data = luaL_checklstring(L, 3, &len);

    if (copying->copy.state == PG_COPY_IN) {
        /* what is lost is told by the wait that follows */
        enum err err = pg_copy_put(&copying->copy, data, len);
        (void)err;
    }
    return wait_for(L, copying, WAIT_FOR_ROOM, 2);
}

/* raw_finish(seconds [, why]): ends the input; the number of rows, or nil,
 * err. */
static int l_finish(lua_State *L)
{
    struct copying *copying = check_copy(L);
    const char *why = luaL_optstring(L, 3, NULL);

    copying->is_given_up = why != NULL;
    if (copying->copy.state == PG_COPY_IN) {
        enum err err = pg_copy_finish(&copying->copy, why);
        (void)err; /* see l_write() */
    }
    return wait_for(L, copying, WAIT_FOR_END, 2);
}

/* raw_stop(seconds): stops the output, as raw_finish(). */
static int l_stop(lua_State *L)
{
    struct copying *copying = check_copy(L);

    copying->is_given_up = true;
    pg_copy_stop(&copying->copy);
    return wait_for(L, copying, WAIT_FOR_END, 2);
}

/* ---- life */

static void drop_copy(struct hold *hold)
{
    struct copying *copying = container_of(hold, struct copying, hold);

    pg_copy_leave(&copying->copy);
    pg_rows_free(copying->copy.rows);
    copying->copy.rows = NULL;
    buf_free(&copying->copy.data);
}

/* raw_copy(lease, sql): sends it; or nil, err. */
static int l_copy(lua_State *L)
{
    struct lease *lease = lease_check(L, POOL_POSTGRES);
    const char *sql = luaL_checkstring(L, 2);
    struct copying *copying;
    enum err err;

    if (lease->conn == NULL)
        return return_taken(L, lease);
    copying = lua_newuserdata(L, sizeof(*copying));
    memset(copying, 0, sizeof(*copying));
    copying->copy.on_change = on_change;
    copying->hearing.push = push_result;
    copying->hearing.box = lease->box;
    copying->box = lease->box;
    lua_getfenv(L, 1);
    lua_setfenv(L, -2);
    err = pg_copy_begin(&copying->copy, pg_link_of(lease->conn), sql);
    if (err != ERR_OK)
        return return_failure(L, lease->box, err, NULL);
    hold_add(lease->hold.task, &copying->hold, drop_copy);
    vm_set_type(L, COPY_TYPE);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct copying *copying = lua_touserdata(L, 1);

    hold_remove(&copying->hold);
    drop_copy(&copying->hold);
    return 0;
}

static int l_close(lua_State *L)
{
    check_copy(L);
    return l_gc(L);
}

static const luaL_Reg methods[] = {
    { "raw_begin", l_begin }, { "raw_read", l_read },
    { "raw_write", l_write }, { "raw_finish", l_finish },
    { "raw_stop", l_stop },   { "close", l_close },
    { "__gc", l_gc },         { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_copy", l_copy },
    { NULL, NULL },
};

/* core.postgres_copy is the method table. */
void bind_copy(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, COPY_TYPE, methods);
    lua_setfield(L, -2, "postgres_copy");
    vm_extend(L, vm, "postgres_lease", lease_methods);
}
