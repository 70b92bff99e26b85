/* lease.c - see lease.h. */
#include "pool/lease.h"

#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/lists.h"
#include "pool/liveness.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"
#include "pool/stats.h"

static bool is_lent(const struct conn *conn)
{
    return conn->state == CONN_LEASED || conn->state == CONN_SHARED;
}

bool pool_is_full(const struct pool *pool)
{
    uint64_t most = pool->settings.concurrency;

    return most > 0 &&
           pool_count(pool, CONN_LEASED) + pool_count(pool, CONN_SHARED) >=
               most;
}

void pool_lend(struct pool *pool, struct conn *conn, bool shared,
               const char *site, uint64_t since_ns)
{
    pool->stats.acquires++;
    pool_move(pool, conn, shared ? CONN_SHARED : CONN_LEASED);
    conn->generation = ++pool->last_generation;
    conn->site = site;
    conn->asked_ns = since_ns;
    conn->class = CLASS_NORMAL;
    conn->is_fresh = false;
    conn->is_coming = shared;
}

struct conn *pool_try_acquire(struct pool *pool, bool shared, const char *site,
                              uint64_t now_ns)
{
    struct conn *conn = pool_first(pool, CONN_IDLE);

    if (conn == NULL || pool->line.len > 0 || pool->is_paused ||
        pool->is_closing || pool->is_sweeping || pool_is_full(pool))
        return NULL;
    pool_enter(pool, now_ns);
    if (pool_needs_test(pool, conn) || pool_needs_approval(pool, conn)) {
        conn = NULL;
    } else {
        pool_lend(pool, conn, shared, site, pool->now_ns);
        pool->stats.arrivals += !shared;
        hist_record(&pool->stats.wait, 0);
        codel_note(&pool->codel, &pool->settings, 0, pool->now_ns);
    }
    pool_leave_quietly(pool);
    return conn;
}

void pool_place(struct pool *pool, struct conn *conn)
{
    enum close_reason reason;

    if (pool_must_go(pool, conn, &reason)) {
        pool_shut(pool, conn, reason, NULL);
        return;
    }
    pool_move(pool, conn, CONN_IDLE);
    pool_run_due_hook(pool, conn);
}

static void reset(struct pool *pool, struct conn *conn)
{
    enum close_reason reason;

    if (pool_must_go(pool, conn, &reason)) { /* closing cleans as well */
        pool_shut(pool, conn, reason, NULL);
        return;
    }
    pool->stats.resets++;
    pool_move(pool, conn, CONN_RESETTING);
    pool->ops->reset(conn);
}

/* Also one that is to be closed: the server must not go on working for it. */
static void cancel(struct pool *pool, struct conn *conn)
{
    pool->stats.cancels++;
    pool_move(pool, conn, CONN_CANCELLING);
    pool->ops->cancel(conn);
}

void pool_settle_wire(struct pool *pool, struct conn *conn)
{
    switch (pool->ops->wire(conn)) {
    case CONN_CLEAN: pool_place(pool, conn); break;
    case CONN_DIRTY: reset(pool, conn); break;
    case CONN_BUSY: cancel(pool, conn); break;
    case CONN_SPENT: pool_shut(pool, conn, CLOSE_SPENT, NULL); break;
    case CONN_BROKEN: pool_shut(pool, conn, CLOSE_LOST, NULL); break;
    }
}

static void end_lease(struct pool *pool, struct conn *conn)
{
    conn->is_returned = pool_has_hook(pool, HOOK_AFTER_RELEASE);
    pool_settle_wire(pool, conn);
}

void pool_release(struct pool *pool, struct conn *conn, uint64_t now_ns)
{
    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->pool == pool && is_lent(conn));
    pool_enter(pool, now_ns);
    end_lease(pool, conn);
    pool_leave(pool);
}

void pool_take_back(struct pool *pool, struct conn *conn)
{
    *conn->is_reclaimed = true;
    pool->ops->abandon(conn);
    end_lease(pool, conn);
}

void pool_discard(struct pool *pool, struct conn *conn,
                  enum close_reason reason, uint64_t now_ns)
{
    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->pool == pool && is_lent(conn));
    pool_enter(pool, now_ns);
    pool_shut(pool, conn, reason, NULL);
    pool_leave(pool);
}

void pool_conn_bare(struct conn *conn)
{
    conn->is_bare = true;
}

void pool_conn_reset(struct conn *conn, bool is_clean, uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_RESETTING);
    pool_enter(pool, now_ns);
    if (is_clean)
        pool_place(pool, conn);
    else
        pool_shut(pool, conn, CLOSE_RESET_FAILED, NULL);
    pool_leave(pool);
}

/* What ran has ended, but the wire is not quiet: once is enough. */
static void settle_cancelled(struct pool *pool, struct conn *conn)
{
    switch (pool->ops->wire(conn)) {
    case CONN_CLEAN: pool_place(pool, conn); break;
    case CONN_DIRTY: reset(pool, conn); break;
    case CONN_BUSY: pool_shut(pool, conn, CLOSE_CANCEL_FAILED, NULL); break;
    case CONN_SPENT: pool_shut(pool, conn, CLOSE_SPENT, NULL); break;
    case CONN_BROKEN: pool_shut(pool, conn, CLOSE_LOST, NULL); break;
    }
}

void pool_conn_cancelled(struct conn *conn, bool is_drained, uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_CANCELLING);
    pool_enter(pool, now_ns);
    if (is_drained)
        settle_cancelled(pool, conn);
    else
        pool_shut(pool, conn, CLOSE_CANCEL_FAILED, NULL);
    pool_leave(pool);
}

/* ---- circles */

bool pool_is_kept(const struct pool *pool,
                  bool (*keeps)(struct conn **holder, void *ud), void *ud)
{
    if (pool_count(pool, CONN_LEASED) < pool->settings.max_connections)
        return false;
    list_each (node, &pool->by_state[CONN_LEASED]) {
        struct conn *conn = pool_conn_of(node);

        if (!conn->is_standing &&
            (conn->holder == NULL || !keeps(conn->holder, ud)))
            return false;
    }
    return true;
}

void pool_count_nested(struct pool *pool)
{
    pool->stats.nested++;
}

void pool_count_error(struct pool *pool, enum err err)
{
    assert(err != ERR_OK && (unsigned)err < ERR_COUNT);
    pool->stats.errors[err]++;
}
