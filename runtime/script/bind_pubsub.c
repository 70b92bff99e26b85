/* bind_pubsub.c - leased Redis connections that hear what is published, as Lua
 * values. */
#include "pool/lease.h"
#include "redis/lease.h"
#include "redis/pubsub.h"
#include "script/core.h"
#include "script/failure.h"
#include "script/hearing.h"
#include "script/hold.h"
#include "script/lease.h"
#include "script/park.h"
#include "script/redis_value.h"
#include "script/userdata.h"

#include <string.h>

static const char PUBSUB_TYPE[] = "tidepool.pubsub";

/* A userdata; its hold ties it to the task that made it. */
struct ear {
    struct hold hold;
    struct redis_pubsub pubsub;
    struct vm *vm;
    struct script_pool *box; /* kept by the environment, as a lease's */
    struct pool *pool;
    struct conn *conn; /* NULL once given back, or taken by the pool */
    struct hearing hearing;
    char site[TASK_LABEL_MAX];
};

static struct ear *check_ear(lua_State *L)
{
    return vm_check_type(L, 1, PUBSUB_TYPE);
}

static void close_ear(struct ear *ear)
{
    struct conn *conn = ear->conn;

    redis_pubsub_close(&ear->pubsub);
    if (conn != NULL)
        pool_release(ear->pool, conn, loop_now_ns(ear->vm->loop));
}

static void drop_ear(struct hold *hold)
{
    close_ear(container_of(hold, struct ear, hold));
}

/* ---- hearing */

/* Leaves a list of replies; or nil, err when the connection is lost. */
static int push_heard(lua_State *L, struct hearing *hearing)
{
    struct ear *ear = container_of(hearing, struct ear, hearing);
    struct redis_pubsub *pubsub = &ear->pubsub;
    const struct redis_asker asker = { .box = ear->box };

    if (pubsub->n_replies == 0 && pubsub->link == NULL)
        return return_failure(L, ear->box, ERR_LOST, &pubsub->lost_text);
    lua_createtable(L, (int)pubsub->n_replies, 0);
    for (size_t i = 0; i < pubsub->n_replies; i++) {
        push_redis_reply(L, &asker, pubsub->replies[i], true);
        lua_rawseti(L, -2, (int)i + 1);
    }
    redis_pubsub_taken(pubsub);
    return 1;
}

static void on_heard(struct redis_pubsub *pubsub)
{
    hearing_tell(&container_of(pubsub, struct ear, pubsub)->hearing);
}

/* hear(seconds): what came, as a list of replies, empty when nothing did for so
 * long or wake() was called; or nil, err when the connection is lost. */
static int l_hear(lua_State *L)
{
    struct ear *ear = check_ear(L);
    bool has_something = ear->pubsub.n_replies > 0 || ear->pubsub.link == NULL;

    return hearing_wait(L, &ear->hearing, has_something, check_seconds(L, 2));
}

static int l_wake(lua_State *L)
{
    hearing_wake(&check_ear(L)->hearing);
    return 0;
}

/* say(command, args...): true; or nil, err when the connection is lost. */
static int l_say(lua_State *L)
{
    struct ear *ear = check_ear(L);
    struct err_text why = { .text = "" };
    struct redis_words words;
    enum err err = redis_words_read(L, 2, &words, &why);

    if (err != ERR_OK)
        return luaL_error(L, "%s", why.text);
    err = redis_pubsub_say(&ear->pubsub, words.count, words.args, words.lens);
    if (err != ERR_OK)
        return return_failure(L, ear->box, err, &ear->pubsub.lost_text);
    lua_pushboolean(L, 1);
    return 1;
}

/* True when the pool was drained since it was opened. */
static int l_is_old(lua_State *L)
{
    struct ear *ear = check_ear(L);

    lua_pushboolean(L, ear->conn != NULL && pool_conn_is_old(ear->conn));
    return 1;
}

/* ---- life */

/* hear(lease): the lease's connection, which is the lease's no more; or nil,
 * err when the pool took it. */
static int l_open(lua_State *L)
{
    struct lease *lease = lease_check(L, POOL_REDIS);
    struct task *task = lease->hold.task;
    struct conn *conn = lease->conn;
    struct ear *ear;

    if (conn == NULL)
        return return_taken(L, lease);
    ear = lua_newuserdata(L, sizeof(*ear));
    memset(ear, 0, sizeof(*ear));
    ear->vm = lease->vm;
    ear->box = lease->box;
    ear->pool = lease->pool;
    lua_getfenv(L, 1);
    lua_setfenv(L, -2);
    ear->conn = conn;
    memcpy(ear->site, lease->site, sizeof(ear->site));
    hold_remove(&lease->hold);
    lease->conn = NULL;
    conn_set_holder(conn, &ear->conn, ear->site);
    ear->pubsub.on_heard = on_heard;
    ear->hearing.push = push_heard;
    redis_pubsub_open(&ear->pubsub, redis_link_of(conn));
    hold_add(task, &ear->hold, drop_ear);
    vm_set_type(L, PUBSUB_TYPE);
    return 1;
}

static int l_close(lua_State *L)
{
    struct ear *ear = lua_touserdata(L, 1);

    if (ear->hold.task == NULL)
        return 0;
    hold_remove(&ear->hold);
    close_ear(ear);
    return 0;
}

static int l_close_checked(lua_State *L)
{
    check_ear(L);
    return l_close(L);
}

static const luaL_Reg methods[] = {
    { "raw_hear", l_hear }, { "wake", l_wake },  { "say", l_say },
    { "is_old", l_is_old }, { "__gc", l_close }, { "close", l_close_checked },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_pubsub", l_open },
    { NULL, NULL },
};

/* core.redis_pubsub is the method table. */
void bind_pubsub(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, PUBSUB_TYPE, methods);
    lua_setfield(L, -2, "redis_pubsub");
    vm_extend(L, vm, "redis_lease", lease_methods);
}
