/* pool.c - see pool.h: making it, running it, changing and reading it. */
#include "pool/pool.h"

#include "base/clock.h"
#include "pool/alarm.h"
#include "pool/backoff.h"
#include "pool/class.h"
#include "pool/conn_inside.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "pool/grow.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/line_inside.h"
#include "pool/lists.h"
#include "pool/liveness.h"
#include "pool/permit.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"
#include "pool/stats.h"
#include "pool/status.h"

#include <stdlib.h>

/* ---- settling */

bool pool_is_over(const struct pool *pool)
{
    return pool->host.is_over != NULL && pool->host.is_over(pool->host.ud);
}

static bool apply_rule(struct pool *pool)
{
    return pool_sweep(pool) || pool_line_refuse(pool) || pool_line_shed(pool) ||
           pool_seek_ghosts(pool) || pool_yield(pool) ||
           pool_line_serve(pool) || pool_test_idle(pool) ||
           pool_approve_idle(pool) || pool_retire(pool) || pool_grow(pool);
}

/*
 * Repeats the rules until none finds work, or there is no time.  The order
 * matters only for speed: each reads the lists afresh, since a callback may
 * have changed all of them.
 */
static void settle(struct pool *pool)
{
    pool->is_behind = false;
    while (!pool->is_behind && apply_rule(pool))
        pool->is_behind = pool_is_over(pool);
    pool_watch_alarm(pool);
}

static bool is_closed_now(const struct pool *pool)
{
    return pool->is_closing && !pool->is_closed && pool->open == 0 &&
           pool->line.len == 0;
}

static uint64_t next_due(const struct pool *pool)
{
    uint64_t due_ns = pool->retry_ns;

    if (!pool->is_started || pool->is_behind || is_closed_now(pool) ||
        pool->is_sweeping || pool_line_has_work(pool))
        return pool->now_ns;
    if (pool->is_closing)
        due_ns = earlier_ns(due_ns, pool->close_ns);
    due_ns = earlier_ns(due_ns, pool_relief_ns(pool));
    due_ns = earlier_ns(due_ns, pool_line_shed_ns(pool));
    due_ns = earlier_ns(due_ns, pool_alarm_ns(pool));
    due_ns = earlier_ns(due_ns, pool_share_ns(pool));
    due_ns = earlier_ns(due_ns, wheel_next_ns(&pool->conn_wheel));
    return earlier_ns(due_ns, wheel_next_ns(&pool->wait_wheel));
}

static void announce(struct pool *pool)
{
    uint64_t due_ns = next_due(pool);

    if (due_ns >= pool->announced_ns)
        return;
    pool->announced_ns = due_ns;
    if (pool->host.wake_at != NULL)
        pool->host.wake_at(pool->host.ud, due_ns);
}

void pool_enter(struct pool *pool, uint64_t now_ns)
{
    if (now_ns > pool->now_ns)
        pool->now_ns = now_ns;
    pool->depth++;
}

void pool_leave(struct pool *pool)
{
    if (pool->depth == 1)
        settle(pool);
    if (--pool->depth == 0)
        announce(pool);
}

void pool_leave_quietly(struct pool *pool)
{
    if (pool->depth == 1) {
        while (pool_test_idle(pool) || pool_approve_idle(pool))
            continue;
        pool_grow(pool);
        pool_watch_alarm(pool);
    }
    if (--pool->depth == 0)
        announce(pool);
}

void pool_leave_to_tick(struct pool *pool)
{
    if (--pool->depth == 0)
        announce(pool);
}

void pool_tell(const struct pool *pool, const struct pool_event *event)
{
    if (pool->host.on_event != NULL)
        pool->host.on_event(pool->host.ud, event);
    flight_event(pool->flight, event, pool->now_ns);
    if (pool->observe != NULL)
        pool->observe(pool->observe_ud, event);
}

void pool_observe(struct pool *pool, pool_observe_fn fn, void *ud)
{
    pool->observe = fn;
    pool->observe_ud = ud;
}

/* ---- life */

static void init(struct pool *pool, const struct pool_config *config,
                 uint64_t now_ns)
{
    pool->ops = config->ops;
    pool->driver = config->driver;
    pool->host = config->host;
    pool->flight = config->flight;
    pool->settings = config->settings;
    pool->rand.state = config->seed;
    pool->address_count = config->addresses;
    pool->now_ns = now_ns;
    pool->announced_ns = WHEEL_NEVER;
    pool->retry_ns = WHEEL_NEVER;
    for (size_t i = 0; i < CONN_STATES; i++)
        list_init(&pool->by_state[i]);
    list_init(&pool->retiring);
    list_init(&pool->line);
    classes_init(&pool->classes);
    wheel_init(&pool->conn_wheel, now_ns);
    wheel_init(&pool->wait_wheel, now_ns);
    pool_begin_share(pool, config->share);
    pool_set_ceiling(pool);
}

enum err pool_new(struct pool **out, const struct pool_config *config,
                  uint64_t now_ns)
{
    struct pool *pool;

    assert(config->ops != NULL);
    if (config->addresses < 1 || config->addresses > POOL_ADDRESSES_MAX ||
        pool_settings_check(&config->settings, NULL) != ERR_OK)
        return ERR_BADARG;
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return ERR_NOMEM;
    init(pool, config, now_ns);
    *out = pool;
    return ERR_OK;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->open == 0 && pool->line.len == 0 && pool->depth == 0);
    free(pool);
}

static void expire(struct pool *pool)
{
    struct wheel_timer *timer;

    pool_line_expire(pool);
    while ((timer = wheel_expire(&pool->conn_wheel, pool->now_ns)) != NULL) {
        struct conn *conn = container_of(timer, struct conn, timer);

        if (pool_is_overdue(pool, conn))
            pool_overdue(pool, conn);
        if (pool_is_over(pool))
            return;
    }
}

uint64_t pool_tick(struct pool *pool, uint64_t now_ns)
{
    assert(pool->depth == 0);
    pool_enter(pool, now_ns);
    pool->is_started = true;
    expire(pool);
    pool_close_overdue(pool);
    settle(pool);
    pool->depth--;
    pool->announced_ns = next_due(pool);
    if (!is_closed_now(pool))
        return pool->announced_ns;
    pool->is_closed = true;
    pool->announced_ns = WHEEL_NEVER;
    if (pool->host.on_closed != NULL)
        pool->host.on_closed(pool->host.ud); /* may have freed the pool */
    return WHEEL_NEVER;
}

/* ---- changing it */

const struct pool_settings *pool_settings(const struct pool *pool)
{
    return &pool->settings;
}

/* Deadlines of connections follow the settings; all that has passed by the
 * new ones is due at once. */
static void apply(struct pool *pool, bool lifetime_changed)
{
    if (lifetime_changed)
        pool->next_retire_ns = pool->now_ns;
    for (enum conn_state state = 0; state < CONN_STATES; state++) {
        list_each (node, &pool->by_state[state]) {
            struct conn *conn = pool_conn_of(node);

            if (lifetime_changed && state != CONN_OPENING)
                pool_set_lifetime(pool, conn);
            pool_arm(pool, conn);
        }
    }
}

enum err pool_set(struct pool *pool, const struct pool_settings *settings,
                  uint64_t now_ns, struct err_text *why)
{
    enum err err = pool_settings_check(settings, why);
    bool lifetime_changed =
        settings->max_lifetime_ns != pool->settings.max_lifetime_ns;

    if (err != ERR_OK)
        return err;
    pool_enter(pool, now_ns);
    pool->settings = *settings;
    pool_share_max(pool);
    pool_set_ceiling(pool);
    apply(pool, lifetime_changed);
    pool_leave(pool);
    return ERR_OK;
}

void pool_pause(struct pool *pool, uint64_t now_ns)
{
    pool_enter(pool, now_ns);
    pool->is_paused = true;
    pool_leave(pool);
}

void pool_resume(struct pool *pool, uint64_t now_ns)
{
    if (!pool->is_paused)
        return;
    pool_enter(pool, now_ns);
    pool->is_paused = false;
    pool_forget_failures(pool); /* a pause is for changing the server */
    pool_leave(pool);
}

bool pool_is_paused(const struct pool *pool)
{
    return pool->is_paused;
}

/* ---- reading it */

uint64_t pool_epoch(const struct pool *pool)
{
    return pool->epoch;
}

const struct pool_stats *pool_stats(const struct pool *pool)
{
    return &pool->stats;
}

struct flight *pool_flight(const struct pool *pool)
{
    return pool->flight;
}

void pool_each_lease(const struct pool *pool,
                     void (*fn)(void *ud, const struct conn *conn), void *ud)
{
    list_each (node, &pool->by_state[CONN_LEASED])
        fn(ud, pool_conn_of(node));
}

void pool_counts(const struct pool *pool, struct pool_counts *out)
{
    for (enum conn_state state = 0; state < CONN_STATES; state++)
        out->states[state] = pool_count(pool, state);
    out->open = pool->open;
    out->waiting = pool->line.len;
    out->oldest_ns = UINT64_MAX;
    if (pool->line.len > 0)
        out->oldest_ns = pool_first_waiter(pool)->since_ns;
    out->queued =
        pool->lanes != NULL ? lanes_queued(pool->lanes, &out->oldest_ns) : 0;
    out->due = pool->lanes != NULL ? lanes_due(pool->lanes) : 0;
    out->max = (uint32_t)pool->settings.max_connections;
    out->min = (uint32_t)pool->settings.min_connections;
}

const struct err_text *pool_last_error(const struct pool *pool)
{
    return pool->is_last_failed ? &pool->last_error : NULL;
}
