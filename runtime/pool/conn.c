/* conn.c - see conn.h; here, and only here, a connection changes state. */
#include "pool/conn.h"

#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "pool/grow.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/liveness.h"
#include "pool/permit.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"

#include <string.h>

static const uint64_t TEST_LIMIT_NS = 1000000000;
static const uint64_t RESET_LIMIT_NS = 1000000000;
static const uint64_t CANCEL_LIMIT_NS = 5000000000;
static const uint64_t HOOK_LIMIT_NS = 5000000000;
static const uint64_t NS_PER_MS = 1000000;

/* clang-format off */
static const bool legal_moves[CONN_STATES][CONN_STATES] = {
    [CONN_OPENING]    = { [CONN_IDLE] = true, [CONN_CLOSING] = true },
    [CONN_IDLE]       = { [CONN_LEASED] = true, [CONN_SHARED] = true,
                          [CONN_TESTING] = true, [CONN_HOOKED] = true,
                          [CONN_CLOSING] = true },
    [CONN_LEASED]     = { [CONN_IDLE] = true, [CONN_RESETTING] = true,
                          [CONN_CANCELLING] = true, [CONN_CLOSING] = true },
    [CONN_SHARED]     = { [CONN_IDLE] = true, [CONN_RESETTING] = true,
                          [CONN_CANCELLING] = true, [CONN_CLOSING] = true },
    [CONN_TESTING]    = { [CONN_IDLE] = true, [CONN_CLOSING] = true },
    [CONN_HOOKED]     = { [CONN_IDLE] = true, [CONN_RESETTING] = true,
                          [CONN_CANCELLING] = true, [CONN_CLOSING] = true },
    [CONN_RESETTING]  = { [CONN_IDLE] = true, [CONN_CLOSING] = true },
    [CONN_CANCELLING] = { [CONN_IDLE] = true, [CONN_RESETTING] = true,
                          [CONN_CLOSING] = true },
};
/* clang-format on */

const char *conn_state_name(enum conn_state state)
{
    static const char *const names[] = {
#define XX(name, text) [CONN_##name] = text,
        CONN_STATE_MAP(XX)
#undef XX
    };

    assert(state < CONN_STATES);
    return names[state];
}

const char *close_reason_name(enum close_reason reason)
{
    static const char *const names[] = {
#define XX(name, text) [CLOSE_##name] = text,
        CLOSE_REASON_MAP(XX)
#undef XX
    };

    assert(reason < CLOSE_REASONS);
    return names[reason];
}

const char *wait_phase_name(enum wait_phase phase)
{
    static const char *const names[] = {
#define XX(name, text) [WAIT_##name] = text,
        WAIT_PHASE_MAP(XX)
#undef XX
    };

    assert(phase < WAIT_PHASES);
    return names[phase];
}

const char *conn_hook_name(enum conn_hook hook)
{
    static const char *const names[] = {
#define XX(name, text) [HOOK_##name] = text,
        CONN_HOOK_MAP(XX)
#undef XX
    };

    assert(hook < CONN_HOOKS);
    return names[hook];
}

/* ---- deadlines */

static uint64_t retire_deadline(const struct conn *conn)
{
    if (conn->is_replaced || list_is_linked(&conn->retire_node))
        return WHEEL_NEVER;
    return conn->retire_ns;
}

/* An idle time that has passed has no deadline: from then on every event
 * looks whether there are more than min_connections. */
static uint64_t idle_deadline(const struct pool *pool, const struct conn *conn)
{
    uint64_t retire_ns = retire_deadline(conn);
    uint64_t idle_ns = conn->used_ns + pool->settings.idle_timeout_ns;

    if (idle_ns <= pool->now_ns || idle_ns > retire_ns)
        return retire_ns;
    return idle_ns;
}

/* Of a lease that began at state_ns; 0 is no limit. */
static uint64_t end_of(const struct conn *conn, uint64_t limit_ns)
{
    return limit_ns != 0 ? conn->state_ns + limit_ns : WHEEL_NEVER;
}

static uint64_t warn_deadline(const struct pool *pool, const struct conn *conn)
{
    return conn->is_leak ? WHEEL_NEVER
                         : end_of(conn, pool->settings.leak_threshold_ns);
}

static uint64_t reclaim_deadline(const struct pool *pool,
                                 const struct conn *conn)
{
    return conn->is_kept ? WHEEL_NEVER
                         : end_of(conn, pool->settings.leak_reclaim_ns);
}

static uint64_t leak_deadline(const struct pool *pool, const struct conn *conn)
{
    uint64_t warn_ns = warn_deadline(pool, conn);
    uint64_t reclaim_ns = reclaim_deadline(pool, conn);

    if (conn->is_standing)
        return WHEEL_NEVER;
    return warn_ns < reclaim_ns ? warn_ns : reclaim_ns;
}

static uint64_t deadline(const struct pool *pool, const struct conn *conn)
{
    switch (conn->state) {
    case CONN_OPENING:
        return conn->state_ns + pool->settings.connect_timeout_ns;
    case CONN_IDLE: return idle_deadline(pool, conn);
    case CONN_LEASED: return leak_deadline(pool, conn);
    case CONN_SHARED: return retire_deadline(conn);
    case CONN_TESTING: return conn->state_ns + TEST_LIMIT_NS;
    case CONN_HOOKED: return conn->state_ns + HOOK_LIMIT_NS;
    case CONN_RESETTING: return conn->state_ns + RESET_LIMIT_NS;
    case CONN_CANCELLING: return conn->state_ns + CANCEL_LIMIT_NS;
    case CONN_CLOSING: /* counts until the driver answers, however late */
    case CONN_STATES: break;
    }
    return WHEEL_NEVER;
}

static void set_timer(struct pool *pool, struct conn *conn)
{
    conn->timer_ns = conn->due_ns;
    if (conn->due_ns != WHEEL_NEVER)
        wheel_add(&pool->conn_wheel, &conn->timer, conn->due_ns);
}

/* A timer that comes sooner is let be, and looks again: a connection that is
 * lent and given back all the time moves none. */
void pool_arm(struct pool *pool, struct conn *conn)
{
    conn->due_ns = deadline(pool, conn);
    if (wheel_is_armed(&conn->timer) && conn->timer_ns <= conn->due_ns &&
        conn->state != CONN_CLOSING)
        return;
    wheel_remove(&pool->conn_wheel, &conn->timer);
    set_timer(pool, conn);
}

bool pool_is_overdue(struct pool *pool, struct conn *conn)
{
    if (conn->due_ns <= pool->now_ns)
        return true;
    set_timer(pool, conn);
    return false;
}

/* ---- moves */

void pool_add(struct pool *pool, struct conn *conn)
{
    memset(conn, 0, sizeof(*conn));
    conn->pool = pool;
    conn->state = CONN_OPENING;
    conn->phase = WAIT_DNS;
    conn->hook = HOOK_NONE;
    conn->id = ++pool->last_id;
    conn->epoch = pool->epoch;
    conn->reports = pool->reports;
    conn->opened_ns = pool->now_ns;
    conn->state_ns = pool->now_ns;
    conn->byte_ns = pool->now_ns;
    for (size_t i = 0; i <= WAIT_PHASES; i++)
        conn->phase_ns[i] = WHEEL_NEVER;
    conn->phase_ns[WAIT_DNS] = pool->now_ns;
    list_push_back(&pool->by_state[CONN_OPENING], &conn->node);
    pool->open++;
    pool_arm(pool, conn);
}

static void note_lease(struct pool *pool, const struct conn *conn)
{
    const struct flight_demand demand = {
        .end = DEMAND_SERVED,
        .class = conn->class,
        .conn = conn->id,
        .wait_ns = conn->state_ns - conn->asked_ns,
        .service_ns = pool->now_ns - conn->state_ns,
    };

    flight_demand(pool->flight, &demand, pool->now_ns);
}

/* Ends what is true only of the state that conn leaves. */
static void leave_state(struct pool *pool, struct conn *conn)
{
    if (conn->state == CONN_LEASED) {
        hist_record(&pool->stats.use, pool->now_ns - conn->state_ns);
        pool->stats.completions++;
        note_lease(pool, conn);
    }
    if (conn->state == CONN_LEASED || conn->state == CONN_SHARED)
        conn->used_ns = pool->now_ns;
    conn->site = NULL;
    conn->hook = HOOK_NONE;
    if (conn->holder != NULL)
        *conn->holder = NULL;
    conn->holder = NULL;
    conn->is_reclaimed = NULL;
    pool->suspects -= conn->is_suspect;
    pool->unshared -= conn->is_unshared;
    conn->is_suspect = false;
    conn->is_unshared = false;
    conn->is_coming = false;
    conn->is_resting = false;
    conn->is_leak = false;
    conn->is_kept = false;
    conn->is_standing = false;
}

void pool_move(struct pool *pool, struct conn *conn, enum conn_state next)
{
    assert(legal_moves[conn->state][next]);
    list_remove(&pool->by_state[conn->state], &conn->node);
    leave_state(pool, conn);
    conn->state = next;
    conn->state_ns = pool->now_ns;
    if (next == CONN_IDLE) /* last in, first out; elsewhere the oldest first */
        list_push_front(&pool->by_state[next], &conn->node);
    else
        list_push_back(&pool->by_state[next], &conn->node);
    pool_arm(pool, conn);
}

void pool_shut(struct pool *pool, struct conn *conn, enum close_reason reason,
               const struct err_text *text)
{
    if (list_is_linked(&conn->retire_node))
        list_remove(&pool->retiring, &conn->retire_node);
    pool_move(pool, conn, CONN_CLOSING);
    conn->reason = reason;
    pool->stats.closes[reason]++;
    /* a failed attempt has been told as such */
    if (reason != CLOSE_CONNECT_FAILED && reason != CLOSE_CONNECT_TIMEOUT)
        pool_tell(pool, &(struct pool_event){
                            .kind = POOL_EVENT_CLOSED,
                            .conn = conn,
                            .reason = reason,
                            .text = text,
                            .duration_ns = pool->now_ns - conn->opened_ns,
                        });
    pool->ops->close(conn, reason);
}

void pool_set_ceiling(struct pool *pool)
{
    uint32_t max = (uint32_t)pool->settings.max_connections;

    pool->ceiling = pool->open > max ? pool->open : max;
}

void pool_conn_closed(struct conn *conn, uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    pool_enter(pool, now_ns);
    assert(conn->state == CONN_CLOSING);
    list_remove(&pool->by_state[CONN_CLOSING], &conn->node);
    pool_give_permit(pool, conn->permit, conn->is_ghost);
    conn->pool = NULL;
    pool->open--;
    pool_set_ceiling(pool);
    pool_leave(pool);
}

/* ---- overdue */

static void tell_held(struct pool *pool, struct conn *conn,
                      enum pool_event_kind kind)
{
    pool_tell(pool, &(struct pool_event){
                        .kind = kind,
                        .conn = conn,
                        .site = conn->site,
                        .duration_ns = pool->now_ns - conn->state_ns,
                    });
}

static void held_too_long(struct pool *pool, struct conn *conn)
{
    if (conn->is_standing)
        return;
    if (warn_deadline(pool, conn) <= pool->now_ns) {
        conn->is_leak = true;
        pool->stats.leaks++;
        tell_held(pool, conn, POOL_EVENT_LEAK);
    }
    if (reclaim_deadline(pool, conn) > pool->now_ns) {
        pool_arm(pool, conn);
    } else if (conn->is_reclaimed == NULL) { /* a driver's own, which ends */
        conn->is_kept = true;
        pool_arm(pool, conn);
    } else {
        pool->stats.reclaims++;
        tell_held(pool, conn, POOL_EVENT_RECLAIMED);
        pool_take_back(pool, conn);
    }
}

static unsigned long long spent_ms(const struct pool *pool,
                                   const struct conn *conn)
{
    return (pool->now_ns - conn->state_ns) / NS_PER_MS;
}

void pool_overdue(struct pool *pool, struct conn *conn)
{
    unsigned long long ms = spent_ms(pool, conn);
    struct err_text text = { 0 };

    switch (conn->state) {
    case CONN_OPENING:
        err_text_set(&text, "no connection after %llu ms, it stood in %s", ms,
                     wait_phase_name(conn->phase));
        pool_attempt_failed(pool, conn, CLOSE_CONNECT_TIMEOUT, &text);
        break;
    case CONN_IDLE:
    case CONN_SHARED: pool_outlived(pool, conn); break;
    case CONN_LEASED: held_too_long(pool, conn); break;
    case CONN_TESTING:
        err_text_set(&text, "no answer to a test in %llu ms", ms);
        pool_test_failed(pool, conn, CLOSE_TEST_FAILED, &text);
        break;
    case CONN_HOOKED:
        err_text_set(&text, "%s did not end in %llu ms",
                     conn_hook_name(conn->hook), ms);
        pool_hook_failed(pool, conn, HOOK_FAILED, &text);
        break;
    case CONN_RESETTING:
        err_text_set(&text, "not clean %llu ms after a reset began", ms);
        pool_shut(pool, conn, CLOSE_RESET_FAILED, &text);
        break;
    case CONN_CANCELLING:
        err_text_set(&text, "not quiet %llu ms after a cancel", ms);
        pool_shut(pool, conn, CLOSE_CANCEL_FAILED, &text);
        break;
    case CONN_CLOSING:
    case CONN_STATES: assert(false); break; /* these have no deadline */
    }
}
