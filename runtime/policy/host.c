/* host.c - see host.h: the state, its limits, and what it is asked. */
#include "policy/host.h"

#include "base/rand.h"
#include "policy/library.h"
#include "policy/tables.h"

#include <assert.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const size_t MEMORY_BYTES = 8 << 20;
static const uint64_t BUDGET = 2000000;
/* Functions of C may take long for few instructions. */
static const uint64_t CPU_LIMIT_NS = 200000000;
static const double EVERY_MIN = 0.05, EVERY_MAX = 3600;
enum { HOOK_STEP = 1000 };
/* LuaJIT does not live through a failed allocation while it makes a state, so
 * what that takes (12 KiB) is there before; the state keeps it. */
enum { RESERVE_BYTES = 24 << 10, RESERVE_STEP = 16 };

struct policy_host {
    lua_State *L;
    char *name;
    struct rand rand;
    uint64_t every_ns;
    size_t bytes; /* that the state has now */
    size_t most_bytes;
    char *reserve;   /* for making the state */
    size_t reserved; /* bytes of it that were taken */
    uint64_t budget;
    uint64_t spent;  /* of the present call */
    uint64_t cpu_ns; /* when it began */
    bool is_over;    /* the budget */
    bool is_short;   /* of memory, to read its text */
};

/* ---- limits */

static bool is_reserved(const struct policy_host *host, const void *block)
{
    uintptr_t at = (uintptr_t)block, start = (uintptr_t)host->reserve;

    return at >= start && at - start < RESERVE_BYTES;
}

static void *take_reserved(struct policy_host *host, const void *block,
                           size_t old, size_t wanted)
{
    char *taken = host->reserve + host->reserved;

    host->reserved += (wanted + RESERVE_STEP - 1) & ~(size_t)(RESERVE_STEP - 1);
    if (old > 0)
        memcpy(taken, block, old < wanted ? old : wanted);
    return taken;
}

static void *resize(struct policy_host *host, void *block, size_t old,
                    size_t wanted)
{
    void *moved;

    if (host->L == NULL && wanted < RESERVE_BYTES - host->reserved)
        return take_reserved(host, block, old, wanted);
    if (!is_reserved(host, block))
        return realloc(block, wanted);
    if (wanted <= old)
        return block;
    moved = malloc(wanted);
    if (moved != NULL)
        memcpy(moved, block, old);
    return moved;
}

static void *allocate(void *ud, void *block, size_t old, size_t wanted)
{
    struct policy_host *host = ud;
    void *moved;

    if (wanted == 0) {
        if (!is_reserved(host, block))
            free(block);
        host->bytes -= old;
        return NULL;
    }
    if (wanted > old && wanted - old > host->most_bytes - host->bytes)
        return NULL;
    moved = resize(host, block, old, wanted);
    if (moved != NULL)
        host->bytes += wanted - old;
    return moved;
}

static uint64_t cpu_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct policy_host *host_of(lua_State *L)
{
    void *ud;

    lua_getallocf(L, &ud);
    return ud;
}

/* Once over, every further instruction raises: no pcall() outlives that. */
static void on_count(lua_State *L, lua_Debug *at)
{
    struct policy_host *host = host_of(L);

    (void)at;
    host->spent += HOOK_STEP;
    if (!host->is_over && host->spent < host->budget &&
        cpu_now_ns() - host->cpu_ns < CPU_LIMIT_NS)
        return;
    host->is_over = true;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    luaL_error(L, "the policy's budget is spent");
}

static void begin_budget(struct policy_host *host)
{
    host->spent = 0;
    host->is_over = false;
    host->cpu_ns = cpu_now_ns();
    lua_sethook(host->L, on_count, LUA_MASKCOUNT, HOOK_STEP);
}

static void tell_error(struct policy_host *host, int status,
                       struct err_text *why)
{
    lua_State *L = host->L;

    if (host->is_over)
        err_text_set(why, "%s: it took more than %llu instructions", host->name,
                     (unsigned long long)host->budget);
    else if (status == LUA_ERRMEM)
        err_text_set(why, "%s: it took more than %zu MiB of memory", host->name,
                     host->most_bytes >> 20);
    else if (lua_type(L, -1) == LUA_TSTRING)
        err_text_set(why, "%s", lua_tostring(L, -1));
    else
        err_text_set(why, "%s: it raised a %s", host->name,
                     luaL_typename(L, -1));
}

/* Runs function, which finds ud at 1, within the limits. */
static enum err run(struct policy_host *host, lua_CFunction function, void *ud,
                    struct err_text *why)
{
    int status;

    begin_budget(host);
    status = lua_cpcall(host->L, function, ud);
    lua_sethook(host->L, NULL, 0, 0);
    if (status != 0)
        tell_error(host, status, why);
    lua_settop(host->L, 0);
    if (host->is_over)
        return ERR_TIMEOUT;
    if (status == 0)
        return ERR_OK;
    return status == LUA_ERRMEM || host->is_short ? ERR_NOMEM : ERR_BADARG;
}

/* ---- making it */

static int l_random(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)rand_below(&host_of(L)->rand, 1ULL << 53) /
                          9007199254740992.0);
    return 1;
}

/* Takes what the table on top says. */
static void take_module(lua_State *L, const struct policy_source *source)
{
    double every;

    if (!lua_istable(L, -1))
        luaL_error(L, "%s: a policy gives a table, this gave %s", source->name,
                   luaL_typename(L, -1));
    lua_getfield(L, -1, "decide");
    if (!lua_isfunction(L, -1))
        luaL_error(L, "%s: decide: function expected, got %s", source->name,
                   luaL_typename(L, -1));
    lua_setfield(L, LUA_REGISTRYINDEX, "decide");
    lua_getfield(L, -1, "every");
    every = lua_isnil(L, -1) ? 1 : lua_tonumber(L, -1);
    if (!(every >= EVERY_MIN && every <= EVERY_MAX))
        luaL_error(L, "%s: every: seconds from %f to %f expected", source->name,
                   EVERY_MIN, EVERY_MAX);
    host_of(L)->every_ns = (uint64_t)(every * 1e9);
    lua_pop(L, 1);
}

/* What stays from call to call. */
static void make_ctx(lua_State *L, const struct policy_source *source)
{
    int module = lua_gettop(L);

    lua_newtable(L);
    tables_push_options(L, module, source);
    lua_setfield(L, -2, "options");
    lua_pushinteger(L, (lua_Integer)source->cores);
    lua_setfield(L, -2, "cores");
    lua_pushcfunction(L, l_random);
    lua_setfield(L, -2, "random");
    lua_setfield(L, LUA_REGISTRYINDEX, "ctx");
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "states");
}

static int l_load(lua_State *L)
{
    const struct policy_source *source = lua_touserdata(L, 1);
    const char *chunk;
    int status;

    library_open(L);
    chunk = lua_pushfstring(L, "@%s", source->name);
    status = luaL_loadbufferx(L, source->text, source->len, chunk, "t");
    host_of(L)->is_short = status == LUA_ERRMEM;
    if (status != 0)
        return lua_error(L); /* as an error like any other */
    lua_call(L, 0, 1);
    take_module(L, source);
    make_ctx(L, source);
    return 0;
}

enum err policy_host_new(struct policy_host **out,
                         const struct policy_source *source,
                         struct err_text *why)
{
    struct policy_host *host = calloc(1, sizeof(*host));
    enum err err = ERR_NOMEM;

    if (host == NULL)
        return ERR_NOMEM;
    host->most_bytes =
        source->memory_bytes > 0 ? source->memory_bytes : MEMORY_BYTES;
    assert(host->most_bytes > RESERVE_BYTES);
    host->budget = source->budget > 0 ? source->budget : BUDGET;
    host->rand.state = source->seed;
    host->name = strdup(source->name);
    host->reserve = malloc(RESERVE_BYTES);
    if (host->name != NULL && host->reserve != NULL)
        host->L = lua_newstate(allocate, host);
    if (host->L != NULL) {
        luaJIT_setmode(host->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
        err = run(host, l_load, (void *)(uintptr_t)source, why);
    }
    if (err != ERR_OK) {
        policy_host_free(host);
        return err;
    }
    *out = host;
    return ERR_OK;
}

void policy_host_free(struct policy_host *host)
{
    if (host == NULL)
        return;
    if (host->L != NULL)
        lua_close(host->L);
    free(host->reserve);
    free(host->name);
    free(host);
}

uint64_t policy_host_every_ns(const struct policy_host *host)
{
    return host->every_ns;
}

const char *policy_host_name(const struct policy_host *host)
{
    return host->name;
}

/* ---- asking it */

struct show {
    const struct snapshot *snaps;
    size_t count;
    const struct policy_time *time;
};

static int l_show(lua_State *L)
{
    const struct show *show = lua_touserdata(L, 1);

    lua_getfield(L, LUA_REGISTRYINDEX, "ctx");
    lua_pushnumber(L, (lua_Number)show->time->now_ns / 1e9);
    lua_setfield(L, -2, "now");
    lua_pushnumber(L, show->time->day);
    lua_setfield(L, -2, "day");
    lua_pushinteger(L, show->time->weekday);
    lua_setfield(L, -2, "weekday");
    lua_newtable(L);
    for (size_t i = 0; i < show->count; i++) {
        tables_push_snapshot(L, &show->snaps[i]);
        lua_setfield(L, -2, show->snaps[i].name);
    }
    lua_setfield(L, -2, "pools");
    return 0;
}

enum err policy_host_show(struct policy_host *host,
                          const struct snapshot *snaps, size_t count,
                          const struct policy_time *time, struct err_text *why)
{
    struct show show = { snaps, count, time };

    return run(host, l_show, &show, why);
}

/* Pushes the table that a policy keeps for a pool from call to call. */
static void push_state(lua_State *L, const char *pool)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "states");
    lua_getfield(L, -1, pool);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, pool);
    }
    lua_remove(L, -2);
}

struct question {
    const char *pool;
    struct policy_wish *wish;
};

static int l_decide(lua_State *L)
{
    const struct question *question = lua_touserdata(L, 1);

    lua_getfield(L, LUA_REGISTRYINDEX, "decide");
    lua_getfield(L, LUA_REGISTRYINDEX, "ctx");
    push_state(L, question->pool);
    lua_setfield(L, -2, "state");
    lua_getfield(L, -1, "pools");
    lua_getfield(L, -1, question->pool);
    lua_insert(L, -3);
    lua_pop(L, 1);
    lua_call(L, 2, 2);
    tables_take_wish(L, host_of(L)->name, question->wish);
    return 0;
}

enum err policy_host_decide(struct policy_host *host, const char *pool,
                            struct policy_wish *wish, struct err_text *why)
{
    struct question question = { pool, wish };
    enum err err;

    memset(wish, 0, sizeof(*wish));
    err = run(host, l_decide, &question, why);
    if (err != ERR_OK)
        memset(wish, 0, sizeof(*wish));
    return err;
}
