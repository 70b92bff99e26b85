/* bind_listen.c - leased Postgres connections that hear NOTIFY, as Lua
 * values. */
#include "pg/listen.h"
#include "pg/pg.h"
#include "pool/lease.h"
#include "script/core.h"
#include "script/failure.h"
#include "script/hearing.h"
#include "script/hold.h"
#include "script/lease.h"
#include "script/park.h"
#include "script/userdata.h"

#include <string.h>

static const char LISTENER_TYPE[] = "tidepool.listener";

/* A userdata; its hold ties it to the task that made it, which holds the lease
 * as well. */
struct ear {
    struct hold hold;
    struct pg_listener listener;
    struct hearing hearing;
    struct lease *lease; /* kept by the userdata's environment */
};

static struct ear *check_ear(lua_State *L)
{
    return vm_check_type(L, 1, LISTENER_TYPE);
}

/* Leaves a list of channel, payload, channel, payload...; or nil, err when the
 * connection is lost. */
static int push_heard(lua_State *L, struct hearing *hearing)
{
    struct ear *ear = container_of(hearing, struct ear, hearing);
    struct pg_listener *listener = &ear->listener;
    int count = 0;

    if (listener->n_notes == 0 && listener->link == NULL)
        return return_failure(L, ear->lease->box, ERR_LOST,
                              &listener->lost_text);
    lua_createtable(L, (int)listener->n_notes * 2, 0);
    for (size_t i = 0; i < listener->n_notes; i++) {
        lua_pushstring(L, listener->notes[i].channel);
        lua_rawseti(L, -2, ++count);
        lua_pushstring(L, listener->notes[i].payload);
        lua_rawseti(L, -2, ++count);
    }
    pg_listener_taken(listener);
    return 1;
}

static void on_heard(struct pg_listener *listener)
{
    hearing_tell(&container_of(listener, struct ear, listener)->hearing);
}

/* hear(seconds): what came, empty when nothing did for so long or wake() was
 * called; or nil, err when the connection is lost. */
static int l_hear(lua_State *L)
{
    struct ear *ear = check_ear(L);
    bool has_something =
        ear->listener.n_notes > 0 || ear->listener.link == NULL;

    return hearing_wait(L, &ear->hearing, has_something, check_seconds(L, 2));
}

static int l_wake(lua_State *L)
{
    hearing_wake(&check_ear(L)->hearing);
    return 0;
}

/* True when the pool was drained since the connection was opened. */
static int l_is_old(lua_State *L)
{
    const struct lease *lease = check_ear(L)->lease;

    lua_pushboolean(L, lease->conn != NULL && pool_conn_is_old(lease->conn));
    return 1;
}

static void drop_ear(struct hold *hold)
{
    pg_listener_close(&container_of(hold, struct ear, hold)->listener);
}

/* raw_listener(lease): to be closed before the lease is given back; or nil, err
 * when the pool took its connection. */
static int l_open(lua_State *L)
{
    struct lease *lease = lease_check(L, POOL_POSTGRES);
    struct ear *ear;

    if (lease->conn == NULL)
        return return_taken(L, lease);
    ear = lua_newuserdata(L, sizeof(*ear));
    memset(ear, 0, sizeof(*ear));
    ear->lease = lease;
    ear->listener.on_heard = on_heard;
    ear->hearing.push = push_heard;
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    vm_set_type(L, LISTENER_TYPE);
    pg_listener_open(&ear->listener, pg_link_of(lease->conn));
    hold_add(lease->hold.task, &ear->hold, drop_ear);
    conn_set_standing(lease->conn);
    return 1;
}

static int l_close(lua_State *L)
{
    struct ear *ear = lua_touserdata(L, 1);

    hold_remove(&ear->hold);
    pg_listener_close(&ear->listener);
    return 0;
}

static int l_close_checked(lua_State *L)
{
    check_ear(L);
    return l_close(L);
}

static const luaL_Reg methods[] = {
    { "raw_hear", l_hear },       { "wake", l_wake },  { "is_old", l_is_old },
    { "close", l_close_checked }, { "__gc", l_close }, { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_listener", l_open },
    { NULL, NULL },
};

/* core.postgres_listener is the method table. */
void bind_listen(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, LISTENER_TYPE, methods);
    lua_setfield(L, -2, "postgres_listener");
    vm_extend(L, vm, "postgres_lease", lease_methods);
}
