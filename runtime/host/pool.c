/* pool.c - see tidepool.h: pools from C, opened by the host or by its script,
 * set, read and closed. */
#include "host/operation.h"

#include "base/cores.h"
#include "pg/pg.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"
#include "redis/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)TIDE_POSTGRES == (int)POOL_POSTGRES &&
                   (int)TIDE_REDIS == (int)POOL_REDIS,
               "tidepool.h has the kinds of bind_pool.h");

struct pool *host_pool_live(const tide_pool *pool)
{
    return pool->box != NULL ? pool->box->pool : pool->pool;
}

static tide_pool *handle_new(tide_runtime *runtime, enum tide_kind kind,
                             const char *name)
{
    tide_pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->runtime = runtime;
    pool->kind = (enum pool_kind)kind;
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    return pool;
}

/* ---- opening */

static enum err open_postgres(tide_pool *pool, const char *url,
                              struct err_text *why)
{
    struct vm *vm = pool->runtime->vm;
    struct pg_config config = { .name = pool->name,
                                .url = url,
                                .application_name = "tidepool",
                                .log = &vm->log,
                                .seed = rand_next(&pool->runtime->vm->rand) };
    enum err err;

    pool_settings_init(&config.settings, cores_usable());
    err = pg_pool_open(&pool->pg, vm->loop, &config, why);
    if (err == ERR_OK)
        pool->pool = pg_pool_pool(pool->pg);
    return err;
}

static enum err open_redis(tide_pool *pool, const char *url,
                           struct err_text *why)
{
    struct vm *vm = pool->runtime->vm;
    struct redis_config config = { .name = pool->name,
                                   .url = url,
                                   .client_name = "tidepool",
                                   .log = &vm->log,
                                   .seed =
                                       rand_next(&pool->runtime->vm->rand) };
    enum err err;

    pool_settings_init(&config.settings, cores_usable());
    err = redis_pool_open(&pool->redis, vm->loop, &config, why);
    if (err == ERR_OK)
        pool->pool = redis_pool_pool(pool->redis);
    return err;
}

static int check_name(tide_runtime *runtime, enum tide_kind kind,
                      const char *name)
{
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if ((kind != TIDE_POSTGRES && kind != TIDE_REDIS) || name == NULL)
        return host_fail(runtime, TIDE_BADARG,
                         "TIDE_POSTGRES or TIDE_REDIS and a name expected");
    return TIDE_OK;
}

int tide_pool_open(tide_runtime *runtime, enum tide_kind kind, const char *name,
                   const char *url, tide_pool **out)
{
    struct err_text why = { .text = "" };
    tide_pool *pool;
    enum err err;
    int code = check_name(runtime, kind, name);

    if (code != TIDE_OK)
        return code;
    if (runtime->is_closed)
        return host_fail(runtime, TIDE_CLOSED, "the runtime is drained");
    if (url == NULL)
        return host_fail(runtime, TIDE_BADARG, "a url expected");
    pool = handle_new(runtime, kind, name);
    if (pool == NULL)
        return TIDE_NOMEM;
    err = kind == TIDE_POSTGRES ? open_postgres(pool, url, &why)
                                : open_redis(pool, url, &why);
    if (err != ERR_OK) {
        free(pool);
        return host_fail(runtime, (int)err, "%s", why.text);
    }
    list_push_back(&runtime->pools, &pool->node);
    *out = pool;
    return TIDE_OK;
}

/* ---- the script's */

struct lookup {
    enum tide_kind kind;
    const char *name;
    struct script_pool *box; /* NULL: there is none, or it is closed */
};

/* Under memory_protect(): by the names that scripts have for them. */
static int find_box(lua_State *L)
{
    struct lookup *lookup = lua_touserdata(L, 1);
    struct script_pool *box;

    host_push(L, "tidepool", "_find_pool");
    lua_pushstring(L, pool_kind_name((enum pool_kind)lookup->kind));
    lua_pushstring(L, lookup->name);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1))
        return 0;
    box = check_any_pool(L, lua_gettop(L));
    if (box->pool != NULL)
        lookup->box = box;
    return 0;
}

static tide_pool *find_named(const tide_runtime *runtime,
                             const struct script_pool *box)
{
    list_each (node, &runtime->named) {
        tide_pool *pool = container_of(node, struct tide_pool, node);

        if (pool->box == box)
            return pool;
    }
    return NULL;
}

/* Under memory_protect(): the box outlives the pool's end. */
static int keep_box(lua_State *L)
{
    const struct script_pool *box = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, box->self_ref);
    (void)luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool call_protected(tide_runtime *runtime, lua_CFunction fn, void *ud)
{
    if (memory_protect(runtime->vm, fn, ud) == 0)
        return true;
    lua_pop(runtime->vm->L, 1);
    return false;
}

/* A handle on one that has none yet; NULL: there is no memory. */
static tide_pool *handle_on(tide_runtime *runtime, struct script_pool *box)
{
    tide_pool *pool = handle_new(runtime, (enum tide_kind)box->kind, box->name);

    if (pool == NULL || !call_protected(runtime, keep_box, box)) {
        free(pool);
        return NULL;
    }
    pool->box = box;
    pool->pg = box->pg;
    pool->redis = box->redis;
    list_push_back(&runtime->named, &pool->node);
    return pool;
}

int tide_pool_named(tide_runtime *runtime, enum tide_kind kind,
                    const char *name, tide_pool **out)
{
    struct lookup lookup = { kind, name, NULL };
    tide_pool *pool;
    int code = check_name(runtime, kind, name);

    if (code != TIDE_OK)
        return code;
    if (!call_protected(runtime, find_box, &lookup))
        return TIDE_NOMEM;
    if (lookup.box == NULL)
        return host_fail(runtime, TIDE_BADARG, "no %s pool \"%s\" is open",
                         pool_kind_name((enum pool_kind)kind), name);
    pool = find_named(runtime, lookup.box);
    if (pool == NULL)
        pool = handle_on(runtime, lookup.box);
    if (pool == NULL)
        return TIDE_NOMEM;
    *out = pool;
    return TIDE_OK;
}

/* ---- closing */

static void free_if_unused(tide_pool *pool)
{
    if (!pool->is_gone || pool->pending > 0)
        return;
    list_remove(&pool->runtime->pools, &pool->node);
    free(pool);
}

void host_pool_left(tide_pool *pool)
{
    pool->pending--;
    free_if_unused(pool);
}

static void on_closed(void *ud)
{
    tide_pool *pool = ud;

    pool->is_gone = true;
    free_if_unused(pool);
}

static void begin_close(tide_pool *pool, uint64_t deadline_ns)
{
    pool->pool = NULL;
    if (pool->kind == POOL_POSTGRES)
        pg_pool_close(pool->pg, deadline_ns, on_closed, pool);
    else
        redis_pool_close(pool->redis, deadline_ns, on_closed, pool);
}

static int check(const tide_pool *pool)
{
    tide_runtime *runtime = pool->runtime;
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (host_pool_live(pool) == NULL)
        return host_fail(runtime, TIDE_CLOSED, "pool \"%s\" is closed",
                         pool->name);
    return TIDE_OK;
}

int tide_pool_close(tide_pool *pool, uint64_t timeout_ms)
{
    tide_runtime *runtime = pool->runtime;
    uint64_t now_ns = host_now_ns(runtime);
    uint64_t due_ns = host_due_ns(runtime, timeout_ms);
    int code = check(pool);

    if (code != TIDE_OK)
        return code;
    if (pool->box != NULL)
        return host_fail(runtime, TIDE_MISUSED,
                         "pool \"%s\" is the script's, which closes it",
                         pool->name);
    if (due_ns == 0)
        due_ns = timeout_ms == 0 ? now_ns : UINT64_MAX;
    begin_close(pool, due_ns);
    return TIDE_OK;
}

static void begin_close_all(tide_runtime *runtime)
{
    list_each (node, &runtime->pools) {
        tide_pool *pool = container_of(node, struct tide_pool, node);

        if (pool->pool != NULL)
            begin_close(pool, host_now_ns(runtime));
    }
}

void host_pools_close(tide_runtime *runtime)
{
    list_each (node, &runtime->operations) {
        struct operation *operation =
            container_of(node, struct operation, node);

        if (operation->is_pending)
            host_operation_cancel(operation);
        else if (operation->kind == OPERATION_ACQUIRE)
            host_acquire_undo(operation);
    }
    while (runtime->leases.len > 0)
        (void)tide_release(container_of(list_first(&runtime->leases),
                                        struct tide_lease, node));
    begin_close_all(runtime);
}

void host_pools_free(tide_runtime *runtime)
{
    struct list_node *node;

    while ((node = list_pop_front(&runtime->named)) != NULL)
        free(container_of(node, struct tide_pool, node));
}

/* ---- settings */

static int find_setting(const tide_pool *pool, const char *name,
                        const struct pool_setting **out)
{
    int code = check(pool);

    if (code != TIDE_OK)
        return code;
    *out = name != NULL ? pool_setting_find(name) : NULL;
    if (*out == NULL)
        return host_fail(pool->runtime, TIDE_BADARG, "unknown pool setting: %s",
                         name != NULL ? name : "NULL");
    return TIDE_OK;
}

int tide_pool_set(tide_pool *pool, const char *setting, double value)
{
    const struct pool_setting *entry;
    struct pool_settings settings;
    struct err_text why = { .text = "" };
    int code = find_setting(pool, setting, &entry);

    if (code != TIDE_OK)
        return code;
    settings = *pool_settings(host_pool_live(pool));
    if (pool_settings_set(&settings, entry, value, &why) != ERR_OK ||
        pool_set(host_pool_live(pool), &settings, host_now_ns(pool->runtime),
                 &why) != ERR_OK)
        return host_fail(pool->runtime, TIDE_BADARG, "%s", why.text);
    return TIDE_OK;
}

int tide_pool_get(const tide_pool *pool, const char *setting, double *value)
{
    const struct pool_setting *entry;
    int code = find_setting(pool, setting, &entry);

    if (code == TIDE_OK)
        *value = pool_settings_get(pool_settings(host_pool_live(pool)), entry);
    return code;
}

static int apply(tide_pool *pool,
                 void (*fn)(struct pool *pool, uint64_t now_ns))
{
    int code = check(pool);

    if (code == TIDE_OK)
        fn(host_pool_live(pool), host_now_ns(pool->runtime));
    return code;
}

int tide_pool_pause(tide_pool *pool)
{
    return apply(pool, pool_pause);
}

int tide_pool_resume(tide_pool *pool)
{
    return apply(pool, pool_resume);
}

int tide_pool_drain(tide_pool *pool)
{
    return apply(pool, pool_drain);
}

/* ---- reading it */

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void read_counts(const struct pool *pool, tide_pool_stats *out)
{
    struct pool_counts counts;

    pool_counts(pool, &counts);
    out->max = counts.max;
    out->open = counts.open;
    out->opening = counts.states[CONN_OPENING];
    out->idle = counts.states[CONN_IDLE];
    out->leased = counts.states[CONN_LEASED];
    out->shared = counts.states[CONN_SHARED];
    out->waiting = counts.waiting + counts.queued;
    out->is_down = pool_is_down(pool);
    out->is_paused = pool_is_paused(pool);
}

static void read_stats(const struct pool_stats *stats, tide_pool_stats *out)
{
    out->arrivals = stats->arrivals;
    out->completions = stats->completions;
    for (int i = ERR_OK + 1; i < ERR_COUNT; i++)
        out->errors += stats->errors[i];
    out->timeouts = stats->timeouts;
    out->busy = stats->busy + stats->shed;
    out->refused = stats->refused;
    out->connects = stats->connects;
    out->connect_failures = stats->connect_failures;
    out->wait_p50 = seconds(hist_quantile(&stats->wait, 0.5));
    out->wait_p99 = seconds(hist_quantile(&stats->wait, 0.99));
    out->wait_max = seconds(stats->wait.max_ns);
}

int tide_pool_read(const tide_pool *pool, tide_pool_stats *out)
{
    const struct err_text *error;
    tide_pool_stats own = { 0 };
    int code = check(pool);

    if (code != TIDE_OK)
        return code;
    if (out == NULL || out->size < sizeof(out->size))
        return host_fail(pool->runtime, TIDE_BADARG,
                         "a struct with its size set expected");
    read_counts(host_pool_live(pool), &own);
    read_stats(pool_stats(host_pool_live(pool)), &own);
    error = pool_last_error(host_pool_live(pool));
    own.last_error = error != NULL ? error->text : "";
    own.size = out->size;
    memcpy(out, &own, out->size < sizeof(own) ? out->size : sizeof(own));
    return TIDE_OK;
}
