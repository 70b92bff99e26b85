/* liveness.c - see liveness.h. */
#include "pool/liveness.h"

#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/lists.h"
#include "pool/pool_inside.h"

/* When it last showed life. */
static uint64_t alive_ns(const struct conn *conn)
{
    return conn->byte_ns > conn->proven_ns ? conn->byte_ns : conn->proven_ns;
}

bool pool_needs_test(const struct pool *pool, const struct conn *conn)
{
    uint64_t quiet_ns = 0;

    if (!pool->settings.test_before_acquire || conn->proven_ns == pool->now_ns)
        return false;
    if (pool->now_ns > alive_ns(conn))
        quiet_ns = pool->now_ns - alive_ns(conn);
    return quiet_ns >= pool->settings.test_after_ns;
}

void pool_begin_test(struct pool *pool, struct conn *conn)
{
    pool->stats.tests++;
    pool_move(pool, conn, CONN_TESTING);
    for (size_t i = 0; i <= WAIT_PHASES; i++)
        conn->phase_ns[i] = WHEEL_NEVER;
    conn->phase_ns[WAIT_TEST] = pool->now_ns;
    pool->ops->test(conn);
}

bool pool_test_idle(struct pool *pool)
{
    struct conn *conn = pool_first(pool, CONN_IDLE);

    if (conn == NULL || pool->is_paused ||
        pool_count(pool, CONN_TESTING) + pool_count(pool, CONN_HOOKED) >=
            pool->line.len ||
        !pool_needs_test(pool, conn))
        return false;
    pool_begin_test(pool, conn);
    return true;
}

/*
 * What killed one connection may have killed all, so every idle one that has
 * not shown life since since_ns is tested at once: the next waiter must not
 * find them dead one by one, a second each.
 */
static void suspect_idle(struct pool *pool, uint64_t since_ns)
{
    struct list *idle = &pool->by_state[CONN_IDLE];
    struct list_node *next;

    for (struct list_node *node = idle->head.next; node != &idle->head;
         node = next) {
        struct conn *conn = pool_conn_of(node);

        next = node->next;
        if (alive_ns(conn) > since_ns)
            continue;
        pool_begin_test(pool, conn);
        conn->is_suspect = true;
        pool->suspects++;
    }
}

void pool_test_failed(struct pool *pool, struct conn *conn,
                      enum close_reason reason, const struct err_text *text)
{
    uint64_t since_ns = conn->state_ns;

    pool_shut(pool, conn, reason, text);
    suspect_idle(pool, since_ns);
}

static void test_passed(struct pool *pool, struct conn *conn)
{
    pool->proven_ns = pool->now_ns;
    conn->byte_ns = pool->now_ns;
    conn->proven_ns = pool->now_ns;
    conn->phase_ns[WAIT_PHASES] = pool->now_ns;
    conn->is_fresh = true;
    pool_place(pool, conn);
}

void pool_conn_tested(struct conn *conn, bool is_alive, uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_TESTING);
    pool_enter(pool, now_ns);
    if (is_alive)
        test_passed(pool, conn);
    else
        pool_test_failed(pool, conn, CLOSE_TEST_FAILED, NULL);
    pool_leave(pool);
}

void pool_conn_lost(struct conn *conn, const struct err_text *text,
                    uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    switch (conn->state) {
    case CONN_OPENING: pool_conn_failed(conn, text, now_ns); return;
    case CONN_LEASED:
    case CONN_SHARED: /* their holder releases them */
    case CONN_CLOSING: return;
    default: break;
    }
    pool_enter(pool, now_ns);
    if (conn->state == CONN_TESTING)
        pool_test_failed(pool, conn, CLOSE_LOST, text);
    else
        pool_shut(pool, conn, CLOSE_LOST, text);
    pool_leave(pool);
}
