/* alarm.c - see alarm.h. */
#include "pool/alarm.h"

#include "base/clock.h"
#include "pool/event.h"
#include "pool/internal.h"
#include "pool/lane_queue.h"
#include "pool/lease_inside.h"
#include "pool/lists.h"
#include "pool/pool_inside.h"
#include "pool/status.h"

/* How long it must be so before it is told. */
static const uint64_t PATIENCE_NS = 1000000000;

static uint64_t oldest_statement_ns(const struct pool *pool)
{
    uint64_t oldest_ns = UINT64_MAX;

    if (pool->lanes != NULL)
        (void)lanes_queued(pool->lanes, &oldest_ns);
    return oldest_ns;
}

/* Lanes that have all they may have stand in no line. */
static bool are_lanes_behind(const struct pool *pool)
{
    uint64_t oldest_ns = oldest_statement_ns(pool);

    return oldest_ns <= pool->now_ns && pool->now_ns - oldest_ns >= PATIENCE_NS;
}

/* Somebody waits, and nothing is left to be lent or opened. */
static bool is_exhausted(const struct pool *pool)
{
    if (pool->is_paused || pool_is_down(pool))
        return false;
    if (are_lanes_behind(pool))
        return true;
    if (pool->line.len == 0)
        return false;
    if (pool_is_full(pool))
        return true;
    return (pool->open >= pool->settings.max_connections || pool->is_short) &&
           pool_count(pool, CONN_IDLE) + pool_count(pool, CONN_OPENING) == 0;
}

static enum pool_alarm seen(const struct pool *pool)
{
    if (pool_is_down(pool))
        return POOL_DEGRADED;
    return is_exhausted(pool) ? POOL_EXHAUSTED : POOL_WELL;
}

static void tell(struct pool *pool, enum pool_event_kind kind,
                 uint64_t since_ns)
{
    const struct conn *conn = pool_first(pool, CONN_LEASED);

    pool_tell(
        pool,
        &(struct pool_event){
            .kind = kind,
            .site = kind == POOL_EVENT_EXHAUSTED && conn != NULL ? conn->site
                                                                 : NULL,
            .text = kind == POOL_EVENT_DEGRADED ? &pool->last_error : NULL,
            .duration_ns = pool->now_ns - since_ns,
        });
}

static void sound(struct pool *pool, enum pool_alarm alarm)
{
    uint64_t began_ns = pool->alarm_ns;

    pool->alarm = alarm;
    pool->alarm_ns = pool->stress_ns;
    switch (alarm) {
    case POOL_WELL: tell(pool, POOL_EVENT_RECOVERED, began_ns); break;
    case POOL_EXHAUSTED:
        pool->stats.exhaustions++;
        tell(pool, POOL_EVENT_EXHAUSTED, pool->stress_ns);
        break;
    case POOL_DEGRADED:
        pool->stats.degradations++;
        tell(pool, POOL_EVENT_DEGRADED, pool->stress_ns);
        break;
    }
}

void pool_watch_alarm(struct pool *pool)
{
    enum pool_alarm now = seen(pool);

    if (now != pool->stress) {
        pool->stress = now;
        pool->stress_ns = pool->now_ns;
    }
    if (pool->stress != pool->alarm &&
        pool->now_ns - pool->stress_ns >= PATIENCE_NS && !pool->is_closing)
        sound(pool, pool->stress);
}

uint64_t pool_watch_lanes(struct pool *pool, uint64_t now_ns)
{
    uint64_t oldest_ns = oldest_statement_ns(pool);

    if (oldest_ns == UINT64_MAX && pool->stress == POOL_WELL)
        return WHEEL_NEVER;
    pool_enter(pool, now_ns);
    pool_watch_alarm(pool);
    pool_leave_to_tick(pool);
    /* it waits for long already: the rest is for the pool's events to tell */
    if (oldest_ns == UINT64_MAX || elapsed_ns(oldest_ns, now_ns) >= PATIENCE_NS)
        return WHEEL_NEVER;
    return oldest_ns + PATIENCE_NS;
}

bool pool_is_exhausted(const struct pool *pool)
{
    return pool->alarm == POOL_EXHAUSTED;
}

uint64_t pool_alarm_ns(const struct pool *pool)
{
    if (pool->stress == pool->alarm || pool->is_closing)
        return WHEEL_NEVER;
    return pool->stress_ns + PATIENCE_NS;
}
