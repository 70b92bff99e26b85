/* retire.c - see retire.h. */
#include "pool/retire.h"

#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/grow.h"
#include "pool/internal.h"
#include "pool/lease.h"
#include "pool/line_inside.h"
#include "pool/lists.h"
#include "pool/permit.h"
#include "pool/pool.h"
#include "pool/pool_inside.h"

/* An idle connection used this recently is taken to be in demand. */
static const uint64_t RECENT_NS = 1000000000;
/* The least time between two epochs that a server's words begin. */
static const uint64_t OUTDATED_PAUSE_NS = 5000000000;
/* How long lanes may keep whoever presses from getting a connection. */
static const uint64_t RELIEF_NS = 50000000;

/* ---- lifetime */

void pool_set_lifetime(struct pool *pool, struct conn *conn)
{
    uint64_t lifetime_ns = pool->settings.max_lifetime_ns;
    uint64_t jitter_ns = rand_below(&pool->rand, lifetime_ns / 10 + 1);

    conn->retire_ns = conn->ready_ns + lifetime_ns - jitter_ns;
    conn->is_paced = false;
}

/* Connections that expire together retire one by one, a tenth of the lifetime
 * for all: gives conn the next turn. */
static void take_turn(struct pool *pool, struct conn *conn)
{
    uint64_t pace_ns = pool->settings.max_lifetime_ns / 10 / pool->open;

    if (conn->is_paced)
        return;
    conn->is_paced = true;
    conn->retire_ns = pool->now_ns;
    if (pool->next_retire_ns > pool->now_ns)
        conn->retire_ns = pool->next_retire_ns;
    pool->next_retire_ns = conn->retire_ns + pace_ns;
}

/* Without conn there would be fewer than min_connections or than are in use. */
static bool is_needed(const struct pool *pool, const struct conn *conn)
{
    uint32_t others = pool_live(pool) - 1 - pool->retiring.len;
    uint32_t demand = pool_demand(pool);

    if (conn->state == CONN_IDLE && pool->now_ns - conn->used_ns < RECENT_NS)
        demand++;
    return others < demand;
}

/*
 * Whether conn is to be closed now for its age.  When it is needed and there
 * is room for its replacement it stays in service until that has opened.
 */
static bool has_outlived(struct pool *pool, struct conn *conn)
{
    if (conn->is_replaced)
        return true;
    if (list_is_linked(&conn->retire_node) || conn->retire_ns > pool->now_ns)
        return false;
    take_turn(pool, conn);
    if (conn->retire_ns > pool->now_ns)
        return false;
    if (pool->open >= pool->settings.max_connections || !is_needed(pool, conn))
        return true;
    list_push_back(&pool->retiring, &conn->retire_node);
    return false;
}

/* Closes conn now when nobody uses it, else when it comes back. */
static void retire(struct pool *pool, struct conn *conn)
{
    if (conn->state == CONN_IDLE) {
        pool_shut(pool, conn, CLOSE_LIFETIME, NULL);
        return;
    }
    conn->is_replaced = true;
    if (conn->state == CONN_SHARED)
        pool_unshare(pool, conn);
}

void pool_outlived(struct pool *pool, struct conn *conn)
{
    if (has_outlived(pool, conn))
        retire(pool, conn);
    else
        pool_arm(pool, conn);
}

static void retire_first(struct pool *pool)
{
    struct list_node *node = list_pop_front(&pool->retiring);

    retire(pool, container_of(node, struct conn, retire_node));
}

void pool_replaced(struct pool *pool)
{
    if (pool->retiring.len > 0)
        retire_first(pool);
}

/* Retires one without its replacement: there is no room left to open it, or
 * there are enough without it by now. */
static bool retire_unreplaced(struct pool *pool)
{
    uint32_t demand = pool_demand(pool);
    bool may_open =
        pool->open < pool->settings.max_connections && !pool->is_short;
    bool has_room =
        may_open || pool->retiring.len <= pool_count(pool, CONN_OPENING);

    if (pool->retiring.len == 0)
        return false;
    if (has_room && pool_usable(pool) <= (demand > 1 ? demand : 1))
        return false;
    retire_first(pool);
    return true;
}

/* ---- coming back */

bool pool_conn_is_old(const struct conn *conn)
{
    return conn->epoch != conn->pool->epoch;
}

bool pool_must_go(struct pool *pool, struct conn *conn,
                  enum close_reason *reason)
{
    if (pool->is_closing)
        *reason = CLOSE_POOL_CLOSED;
    else if (conn->epoch != pool->epoch)
        *reason = pool->epoch_reason;
    else if (pool_live(pool) > pool->settings.max_connections)
        *reason = CLOSE_SHRUNK;
    else if (conn->is_promised)
        *reason = conn->promise;
    else if (has_outlived(pool, conn))
        *reason = CLOSE_LIFETIME;
    else
        return false;
    return true;
}

/* ---- lanes */

void pool_unshare(struct pool *pool, struct conn *conn)
{
    struct list *shared = &pool->by_state[CONN_SHARED];

    assert(conn->state == CONN_SHARED);
    if (conn->is_unshared)
        return;
    conn->is_unshared = true;
    pool->unshared++;
    list_remove(shared, &conn->node);
    list_push_back(shared, &conn->node); /* those not asked come first */
    pool->ops->unshare(conn);
}

/* The lane that was not asked for longest, or NULL. */
static struct conn *first_lane(const struct pool *pool)
{
    struct conn *conn = pool_first(pool, CONN_SHARED);

    return conn == NULL || conn->is_unshared ? NULL : conn;
}

/* The same of those that have done something.  One that has just come is not
 * asked: statements have waited for it, and where the line stands there would
 * always be a lease that has waited for longer than it is there. */
static struct conn *lane_to_ask(const struct pool *pool)
{
    list_each (node, &pool->by_state[CONN_SHARED]) {
        struct conn *conn = container_of(node, struct conn, node);

        if (conn->is_unshared)
            break;
        if (!conn->is_coming)
            return conn;
    }
    return NULL;
}

/*
 * Lanes under load never become empty by themselves.  So when somebody waits
 * for a lease, or for the first lane of a kind, and nothing is about to come
 * free, one lane is asked.
 */
uint64_t pool_relief_ns(const struct pool *pool)
{
    const struct pool_waiter *waiter = pool_first_pressing(pool);
    const struct conn *lane = lane_to_ask(pool);

    if (waiter == NULL || pool->is_paused || pool->unshared > 0 || lane == NULL)
        return WHEEL_NEVER;
    if (pool_count(pool, CONN_IDLE) + pool_count(pool, CONN_TESTING) +
            pool_count(pool, CONN_HOOKED) + pool_count(pool, CONN_OPENING) +
            pool_count(pool, CONN_RESETTING) >
        0)
        return WHEEL_NEVER;
    return waiter->since_ns + (lane->is_resting ? 0 : RELIEF_NS);
}

void pool_lane_rests(struct conn *conn, bool is_resting)
{
    struct pool *pool = conn->pool;
    struct list *shared = &pool->by_state[CONN_SHARED];
    bool was_coming = conn->is_coming;

    assert(conn->state == CONN_SHARED);
    conn->is_coming = false;
    conn->is_resting = is_resting;
    if (is_resting && !conn->is_unshared) {
        list_remove(shared, &conn->node);
        list_push_front(shared, &conn->node);
    }
    if (was_coming) { /* from now on it may be asked */
        pool_enter(pool, pool->now_ns);
        pool_leave_to_tick(pool);
    }
}

static bool relieve_line(struct pool *pool)
{
    if (pool_relief_ns(pool) > pool->now_ns)
        return false;
    pool_unshare(pool, lane_to_ask(pool));
    return true;
}

/* ---- the steps */

static bool shrink(struct pool *pool)
{
    uint64_t max = pool->settings.max_connections;
    struct conn *conn = pool_last(pool, CONN_IDLE);

    if (pool_live(pool) <= max)
        return false;
    if (conn == NULL)
        conn = pool_last(pool, CONN_OPENING);
    if (conn != NULL) {
        pool_shut(pool, conn, CLOSE_SHRUNK, NULL);
        return true;
    }
    conn = first_lane(pool);
    if (conn == NULL || pool_live(pool) - pool->unshared <= max)
        return false;
    pool_unshare(pool, conn);
    return true;
}

static bool trim_idle(struct pool *pool)
{
    struct conn *conn = pool_last(pool, CONN_IDLE); /* idle for longest */

    if (conn == NULL ||
        pool->now_ns - conn->used_ns < pool->settings.idle_timeout_ns ||
        pool_usable(pool) <= pool_min(pool))
        return false;
    pool_shut(pool, conn, CLOSE_IDLE_TIMEOUT, NULL);
    return true;
}

bool pool_retire(struct pool *pool)
{
    return shrink(pool) || retire_unreplaced(pool) || trim_idle(pool) ||
           relieve_line(pool);
}

/* ---- all at once: rare, so these may walk */

/* States in which nobody uses a connection. */
static const enum conn_state unused[] = { CONN_OPENING, CONN_TESTING,
                                          CONN_RESETTING, CONN_IDLE };
enum { UNUSED_STATES = sizeof(unused) / sizeof(*unused) };

static void shut_all(struct pool *pool, enum conn_state state,
                     enum close_reason reason)
{
    struct conn *conn;

    while ((conn = pool_first(pool, state)) != NULL)
        pool_shut(pool, conn, reason, NULL);
}

void pool_unshare_all(struct pool *pool)
{
    struct conn *conn;

    while ((conn = first_lane(pool)) != NULL)
        pool_unshare(pool, conn);
}

/* Those that nobody uses are closed, lanes asked to finish. */
static void shut_unused(struct pool *pool, enum close_reason reason)
{
    for (size_t i = 0; i < UNUSED_STATES; i++)
        shut_all(pool, unused[i], reason);
    pool_unshare_all(pool);
}

static void begin_epoch(struct pool *pool, enum close_reason reason)
{
    pool->epoch++;
    pool->epoch_reason = reason;
    pool->is_sweeping = true;
}

/* Of those that nobody uses. */
static struct conn *first_outdated(const struct pool *pool)
{
    for (size_t i = 0; i < UNUSED_STATES; i++)
        list_each (node, &pool->by_state[unused[i]])
            if (pool_conn_of(node)->epoch != pool->epoch)
                return pool_conn_of(node);
    return NULL;
}

bool pool_sweep(struct pool *pool)
{
    struct conn *conn;

    if (!pool->is_sweeping)
        return false;
    conn = first_outdated(pool);
    if (conn != NULL) {
        pool_shut(pool, conn, pool->epoch_reason, NULL);
        return true;
    }
    pool->is_sweeping = false;
    pool_unshare_all(pool);
    return true;
}

void pool_drain(struct pool *pool, uint64_t now_ns)
{
    pool_enter(pool, now_ns);
    begin_epoch(pool, CLOSE_DRAINED);
    pool_leave(pool);
}

void pool_outdate(struct conn *conn, const struct err_text *text,
                  uint64_t now_ns)
{
    struct pool *pool = conn->pool;
    bool is_known = conn->epoch != pool->epoch ||
                    (pool->outdated_ns != 0 &&
                     now_ns - pool->outdated_ns < OUTDATED_PAUSE_NS);

    if (is_known || pool->is_closing)
        return;
    pool_enter(pool, now_ns);
    pool->outdated_ns = pool->now_ns;
    pool->stats.outdated++;
    begin_epoch(pool, CLOSE_OUTDATED);
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_OUTDATED,
                        .conn = conn,
                        .text = text,
                    });
    pool_leave_to_tick(pool);
}

void pool_close(struct pool *pool, uint64_t deadline_ns, uint64_t now_ns)
{
    pool_enter(pool, now_ns);
    if (!pool->is_closing || deadline_ns < pool->close_ns)
        pool->close_ns = deadline_ns;
    pool->is_closing = true;
    shut_unused(pool, CLOSE_POOL_CLOSED);
    pool_leave(pool);
}

void pool_close_overdue(struct pool *pool)
{
    if (!pool->is_closing || pool->close_ns > pool->now_ns)
        return;
    pool->close_ns = WHEEL_NEVER;
    shut_all(pool, CONN_LEASED, CLOSE_POOL_CLOSED);
    shut_all(pool, CONN_SHARED, CLOSE_POOL_CLOSED);
    shut_all(pool, CONN_HOOKED, CLOSE_POOL_CLOSED);
    shut_all(pool, CONN_CANCELLING, CLOSE_POOL_CLOSED);
}
