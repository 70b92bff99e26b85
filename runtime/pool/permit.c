/* permit.c - see permit.h. */
#include "pool/permit.h"

#include "base/clock.h"
#include "pool/bucket.h"
#include "pool/budget.h"
#include "pool/budget_census.h"
#include "pool/budget_ghost.h"
#include "pool/budget_permit.h"
#include "pool/conn_inside.h"
#include "pool/ghost.h"
#include "pool/internal.h"
#include "pool/lists.h"
#include "pool/liveness.h"
#include "pool/pool.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"
#include "pool/status.h"

/* Who was refused asks again, if nobody rings before. */
static const uint64_t RETRY_NS = 50000000;
/* Who came to be in no need, and is again: one may have come free meanwhile. */
static const uint64_t RELAPSE_NS = 5000000;

/* ---- the settings' parts */

static uint32_t part_of(const struct pool *pool, uint64_t whole)
{
    uint64_t workers = pool->part.workers;

    return (uint32_t)(whole / workers + (pool->part.rank < whole % workers));
}

uint32_t pool_min(const struct pool *pool)
{
    return part_of(pool, pool->settings.min_connections);
}

uint64_t pool_lane_limit(const struct pool *pool)
{
    uint64_t workers = pool->part.workers;

    return (pool->settings.lanes + workers - 1) / workers;
}

static void read_part(struct pool *pool)
{
    uint64_t max;

    pool->changes = budget_changes(pool->share);
    budget_read(pool->share, &pool->part);
    max = pool->part.max;
    pool->settings.max_connections = max;
    if (pool->settings.min_connections > max)
        pool->settings.min_connections = max;
    pool_set_ceiling(pool);
}

void pool_begin_share(struct pool *pool, const struct budget_share *share)
{
    pool->part = (struct budget_part){ .workers = 1 };
    pool->permit_ns = 0;
    pool->share = share;
    if (share != NULL)
        read_part(pool);
}

void pool_share_max(struct pool *pool)
{
    if (pool->share != NULL)
        budget_set_max(pool->share, (uint32_t)pool->settings.max_connections);
}

/* What another worker changed. */
static void follow(struct pool *pool)
{
    if (pool->changes != budget_changes(pool->share))
        read_part(pool);
}

void pool_look(struct pool *pool, uint64_t now_ns)
{
    assert(pool->share != NULL);
    pool_enter(pool, now_ns);
    pool->permit_ns = 0;
    pool->look_ns = 0;
    pool_leave(pool);
}

/* ---- taking and giving */

static bool is_delayed(struct pool *pool, uint64_t until_ns)
{
    if (until_ns <= pool->now_ns) {
        pool->is_delayed = false;
        return false;
    }
    pool->stats.connects_delayed += !pool->is_delayed;
    pool->is_delayed = true;
    pool->retry_ns = until_ns;
    return true;
}

static bool take_alone(struct pool *pool)
{
    uint64_t rate = pool->settings.connect_rate;
    uint64_t ready_ns = bucket_ready_ns(
        &pool->full_ns, rate, pool->settings.max_connections, pool->now_ns);

    if (is_delayed(pool, ready_ns))
        return false;
    bucket_take(&pool->full_ns, rate, pool->now_ns);
    return true;
}

static void refused(struct pool *pool, uint32_t wanted)
{
    pool->stats.permits_refused += !pool->is_short;
    pool->is_short = true;
    pool->wants = wanted;
    pool->permit_ns = pool->now_ns + RETRY_NS;
    pool->retry_ns = wanted > 0 ? pool->permit_ns : WHEEL_NEVER;
}

bool pool_take_permit(struct pool *pool, uint32_t wanted, uint32_t *permit)
{
    const struct budget_wish wish = {
        .wanted = wanted,
        .rate = (uint32_t)pool->settings.connect_rate,
    };
    uint64_t at_ns = 0;
    uint32_t at = 0;

    *permit = 0;
    if (pool->share == NULL)
        return take_alone(pool);
    if (pool->permit_ns > pool->now_ns && wanted <= pool->wants) {
        pool->retry_ns = pool->permit_ns;
        return false;
    }
    switch (budget_take(pool->share, &wish, pool->now_ns, &at, &at_ns)) {
    case BUDGET_REFUSED: refused(pool, wanted); return false;
    case BUDGET_LATER: (void)is_delayed(pool, at_ns); return false;
    case BUDGET_TAKEN: break;
    }
    pool->is_short = false;
    pool->is_delayed = false;
    pool->wants -= pool->wants > 0;
    *permit = at + 1;
    return true;
}

void pool_need_no_permit(struct pool *pool)
{
    pool->is_short = false;
    if (pool->wants == 0)
        return;
    pool->wants = 0;
    pool->permit_ns = earlier_ns(pool->permit_ns, pool->now_ns + RELAPSE_NS);
    budget_unwant(pool->share);
}

void pool_give_permit(struct pool *pool, uint32_t permit, bool is_ghost)
{
    if (permit == 0)
        return;
    budget_give(pool->share, permit - 1, is_ghost, pool->now_ns);
    pool->permit_ns = 0;
}

void pool_conn_backend(struct conn *conn, int pid)
{
    if (conn->permit != 0)
        budget_set_backend(conn->pool->share, conn->permit - 1, pid);
}

void pool_conn_unsure(struct conn *conn)
{
    conn->is_ghost = true;
}

/* ---- giving to others */

/* The idle one that was used last of all, else a lane: one that rests comes
 * first. */
static struct conn *offered(const struct pool *pool)
{
    struct conn *conn = pool_last(pool, CONN_IDLE);

    if (conn == NULL && pool->unshared == 0)
        conn = pool_first(pool, CONN_SHARED);
    return conn;
}

static bool is_spare(const struct pool *pool, const struct conn *conn)
{
    return pool->line.len == 0 &&
           (conn->state == CONN_IDLE || conn->is_resting);
}

static void yield(struct pool *pool, struct conn *conn,
                  enum budget_answer answer)
{
    enum close_reason reason =
        answer == BUDGET_SHRINK ? CLOSE_SHRUNK : CLOSE_YIELDED;

    pool->stats.yields += answer == BUDGET_YIELD;
    if (conn->state == CONN_IDLE) {
        pool_shut(pool, conn, reason, NULL);
        return;
    }
    conn->is_promised = true; /* see pool_must_go() */
    conn->promise = reason;
    pool_unshare(pool, conn);
}

/* In hot paths this is two reads of memory that seldom changes. */
bool pool_yield(struct pool *pool)
{
    struct budget_offer offer = { 0 };
    enum budget_answer answer;
    struct conn *conn;

    if (pool->share == NULL)
        return false;
    follow(pool);
    if (!budget_is_short(pool->share) || pool->look_ns > pool->now_ns ||
        pool->is_closing)
        return false;
    conn = offered(pool);
    if (conn == NULL || conn->is_promised)
        return false;
    offer.permit = conn->permit - 1;
    offer.is_spare = is_spare(pool, conn);
    offer.keeps = pool_min(pool);
    if (conn->state == CONN_IDLE)
        offer.idle_ns = elapsed_ns(conn->used_ns, pool->now_ns);
    answer = budget_offer(pool->share, &offer, pool->now_ns, &pool->look_ns);
    if (answer == BUDGET_KEEP)
        return false;
    pool->look_ns = 0; /* they may need more than one */
    yield(pool, conn, answer);
    return true;
}

/* ---- ghosts */

/* Tests a connection that is idle: its driver asks by the way. */
bool pool_seek_ghosts(struct pool *pool)
{
    struct conn *conn;

    if (pool->share == NULL || !budget_has_ghosts(pool->share) ||
        pool->ask_ns > pool->now_ns || pool->is_paused || pool->is_closing)
        return false;
    conn = pool_first(pool, CONN_IDLE);
    if (conn == NULL) {
        conn = pool_first(pool, CONN_SHARED);
        if (conn == NULL || pool->unshared > 0)
            return false;
        pool_unshare(pool, conn);
        return true;
    }
    pool->ghost_count =
        budget_ask(pool->share, pool->now_ns, pool->ghosts, &pool->ask_ns);
    if (pool->ghost_count == 0)
        return false;
    pool_begin_test(pool, conn);
    pool->ghost_count = 0; /* nobody else asks for them */
    return true;
}

size_t pool_ghosts(const struct conn *conn, const int32_t **pids)
{
    *pids = conn->pool->ghosts;
    return conn->pool->ghost_count;
}

void pool_bury(struct conn *conn, const int32_t *pids, size_t count)
{
    struct pool *pool = conn->pool;

    pool->permit_ns = 0;
    pool->look_ns = 0;
    budget_bury(pool->share, pids, count, pool->now_ns);
}

/* ---- when to look again */

uint64_t pool_share_ns(const struct pool *pool)
{
    uint64_t due_ns = WHEEL_NEVER;

    if (pool->share == NULL || pool->is_closing)
        return WHEEL_NEVER;
    if (budget_is_short(pool->share) && offered(pool) != NULL)
        due_ns = earlier_ns(due_ns, pool->look_ns);
    if (budget_has_ghosts(pool->share) && !pool->is_paused &&
        (pool_count(pool, CONN_IDLE) > 0 ||
         (pool_count(pool, CONN_SHARED) > 0 && pool->unshared == 0)))
        due_ns = earlier_ns(due_ns, pool->ask_ns);
    return due_ns;
}

void pool_census(const struct pool *pool, struct budget_census *out)
{
    *out = (struct budget_census){
        .max = (uint32_t)pool->settings.max_connections,
        .mine = pool->open,
        .workers = 1,
    };
    if (pool->share != NULL)
        budget_count(pool->share, out);
}
