/* check.c - see check.h. */
#include "pool/check.h"

#include "pool/budget_census.h"
#include "pool/internal.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/line_inside.h"
#include "pool/lists.h"
#include "pool/status.h"

static void check_conn(const struct pool *pool, const struct conn *conn,
                       enum conn_state state)
{
    bool is_retiring = list_is_linked(&conn->retire_node);

    assert(conn->pool == pool && conn->state == state);
    assert(conn->id > 0 && conn->id <= pool->last_id);
    assert(conn->epoch <= pool->epoch);
    assert(!conn->is_suspect || state == CONN_TESTING);
    assert(!conn->is_unshared || state == CONN_SHARED);
    assert(!is_retiring || (state != CONN_OPENING && state != CONN_CLOSING));
    assert(conn->site == NULL || conn_is_held(conn) || state == CONN_SHARED);
    assert(conn->hook == HOOK_NONE || state == CONN_HOOKED ||
           (state == CONN_OPENING && conn->hook == HOOK_AFTER_CONNECT));
    assert(conn->hook != HOOK_NONE || state != CONN_HOOKED);
    switch (state) {
    case CONN_OPENING:
    case CONN_TESTING:
    case CONN_HOOKED:
    case CONN_RESETTING:
    case CONN_CANCELLING: assert(wheel_is_armed(&conn->timer)); break;
    case CONN_IDLE:
        assert(wheel_is_armed(&conn->timer) || is_retiring);
        assert((conn->epoch == pool->epoch || pool->is_sweeping) &&
               !pool->is_closing);
        break;
    case CONN_CLOSING: assert(!wheel_is_armed(&conn->timer)); break;
    default: break;
    }
}

static void check_conns(const struct pool *pool)
{
    uint32_t open = 0, suspects = 0, unshared = 0, retiring = 0;

    for (enum conn_state state = 0; state < CONN_STATES; state++) {
        uint32_t len = 0;

        list_each (node, &pool->by_state[state]) {
            const struct conn *conn = pool_conn_of(node);

            check_conn(pool, conn, state);
            suspects += conn->is_suspect;
            unshared += conn->is_unshared;
            retiring += list_is_linked(&conn->retire_node);
            len++;
        }
        assert(len == pool_count(pool, state));
        open += len;
    }
    assert(open == pool->open && open <= pool->ceiling);
    assert(suspects == pool->suspects && unshared == pool->unshared);
    assert(retiring == pool->retiring.len);
}

static void check_line(const struct pool *pool)
{
    uint32_t len = 0;
    uint64_t since_ns = 0;

    list_each (node, &pool->line) {
        const struct pool_waiter *waiter =
            container_of(node, struct pool_waiter, node);

        assert(waiter->pool == pool && wheel_is_armed(&waiter->timer));
        assert(waiter->since_ns >= since_ns); /* first come, first served */
        since_ns = waiter->since_ns;
        len++;
    }
    assert(len == pool->line.len && len == pool->wait_wheel.len);
    assert(len == 0 || !pool->is_closing || pool->is_behind);
}

/* The budget knows of all that are open. */
static void check_share(const struct pool *pool)
{
    struct budget_census census;

    if (pool->share == NULL)
        return;
    pool_census(pool, &census);
    assert(census.mine == pool->open);
    for (enum conn_state state = 0; state < CONN_STATES; state++)
        list_each (node, &pool->by_state[state])
            assert(pool_conn_of(node)->permit != 0);
}

void pool_check(const struct pool *pool)
{
    assert(pool->depth == 0);
    check_share(pool);
    check_conns(pool);
    check_line(pool);
    /* nothing that is due later than the host was told */
    assert(!pool_line_has_work(pool) || pool->announced_ns <= pool->now_ns);
}
