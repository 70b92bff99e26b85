/* grow.c - see grow.h. */
#include "pool/grow.h"

#include "base/clock.h"
#include "pool/backoff.h"
#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/lists.h"
#include "pool/permit.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"
#include "pool/status.h"

#include <string.h>

static const uint64_t BACKOFF_BASE_NS = 50000000;
/* With the connect that follows, a server that is back is found within 1 s. */
static const uint64_t BACKOFF_CAP_NS = 750000000;
enum { BACKOFF_DOUBLINGS = 4 }; /* 50 ms << 4 is over the cap */

/* ---- back-off */

static const struct pool_address *address_of(const struct pool *pool,
                                             unsigned address)
{
    assert(address < pool->address_count);
    return &pool->addresses[address];
}

static bool is_ready(const struct pool_address *address, uint64_t now_ns)
{
    return address->failures == 0 || address->retry_ns <= now_ns;
}

bool pool_address_ready(const struct pool *pool, unsigned address,
                        uint64_t now_ns)
{
    return is_ready(address_of(pool, address), now_ns);
}

void pool_address_failed(struct pool *pool, unsigned address, uint64_t now_ns)
{
    struct pool_address *failed = &pool->addresses[address];
    uint64_t most_ns;

    assert(address < pool->address_count);
    pool->reports++;
    if (!is_ready(failed, now_ns))
        return; /* begun in parallel with the one that failed first */
    if (failed->failures < BACKOFF_DOUBLINGS)
        failed->failures++;
    most_ns = BACKOFF_BASE_NS << failed->failures;
    if (most_ns > BACKOFF_CAP_NS)
        most_ns = BACKOFF_CAP_NS;
    failed->retry_ns = now_ns + BACKOFF_BASE_NS +
                       rand_below(&pool->rand, most_ns - BACKOFF_BASE_NS + 1);
}

void pool_address_answered(struct pool *pool, unsigned address)
{
    assert(address < pool->address_count);
    pool->addresses[address].failures = 0;
}

/* When the next attempt may begin: the earliest of all addresses. */
static uint64_t backoff_end(const struct pool *pool)
{
    uint64_t end_ns = WHEEL_NEVER;

    for (unsigned i = 0; i < pool->address_count; i++) {
        if (pool->addresses[i].failures == 0)
            return 0;
        if (pool->addresses[i].retry_ns < end_ns)
            end_ns = pool->addresses[i].retry_ns;
    }
    return end_ns;
}

/* No address answered when it was last dialled. */
static bool is_failing(const struct pool *pool)
{
    return backoff_end(pool) > 0;
}

/* Others were under way when the first one failed. */
static bool may_another_come(const struct pool *pool)
{
    return pool->is_patient && pool_count(pool, CONN_OPENING) > 0;
}

bool pool_is_down(const struct pool *pool)
{
    return pool->is_known && pool->is_last_failed && pool_usable(pool) == 0 &&
           is_failing(pool) && pool->last_error_ns >= pool->proven_ns &&
           !may_another_come(pool);
}

void pool_forget_failures(struct pool *pool)
{
    for (unsigned i = 0; i < pool->address_count; i++)
        pool->addresses[i].failures = 0;
    pool->is_known = false;
}

/* Nobody said which address it was, so it was all of them. */
static void fail_all(struct pool *pool)
{
    for (unsigned i = 0; i < pool->address_count; i++)
        pool_address_failed(pool, i, pool->now_ns);
}

/* ---- how many */

static uint32_t over(uint32_t wanted, uint32_t have)
{
    return wanted > have ? wanted - have : 0;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t pool_demand(const struct pool *pool)
{
    uint32_t demand = pool_count(pool, CONN_LEASED) +
                      pool_count(pool, CONN_SHARED) +
                      pool_count(pool, CONN_CANCELLING) + pool->line.len;
    uint32_t min = pool_min(pool);
    uint32_t max = (uint32_t)pool->settings.max_connections;

    if (pool->settings.concurrency > 0 && demand > pool->settings.concurrency)
        demand = (uint32_t)pool->settings.concurrency;
    demand = larger(demand, min);
    return demand < max ? demand : max;
}

/* Those that can serve a waiter without doubt. */
static uint32_t sure_supply(const struct pool *pool)
{
    return pool_count(pool, CONN_IDLE) + pool_count(pool, CONN_RESETTING) +
           pool_count(pool, CONN_HOOKED) + pool_count(pool, CONN_TESTING) -
           pool->suspects;
}

/* How many are lacking; those that are OPENING do not count. */
static uint32_t lacking(const struct pool *pool)
{
    uint32_t usable = pool_usable(pool);
    uint32_t count = over(pool_demand(pool), usable - pool->retiring.len);

    if (pool->suspects > 0)
        count = larger(count, over(pool->line.len, sure_supply(pool)));
    return count;
}

/* How many should be OPENING now. */
static uint32_t wanted(const struct pool *pool)
{
    uint32_t count = larger(lacking(pool), pool->retiring.len);

    if (pool_usable(pool) == 0 && (!pool->is_known || pool->is_last_failed))
        count = larger(count, 1); /* to know the server, or see it come back */
    return count;
}

/* Of those that are lacking, how many do not even open.  A pool that refuses
 * its callers because the last attempt failed lacks one, or with a budget it
 * might never learn that the server is well again. */
static uint32_t unmet(const struct pool *pool)
{
    uint32_t count = lacking(pool);

    if (pool_usable(pool) == 0 && pool->is_last_failed)
        count = larger(count, 1);
    return over(count, pool_count(pool, CONN_OPENING));
}

/* While no address answers one attempt probes for all. */
static uint32_t parallel_limit(const struct pool *pool)
{
    uint32_t quarter = (uint32_t)pool->settings.max_connections / 4;

    return is_failing(pool) ? 1 : larger(2, quarter);
}

/* ---- attempts */

static uint64_t until_retry(const struct pool *pool)
{
    uint64_t end_ns = backoff_end(pool);

    return end_ns > pool->now_ns ? end_ns - pool->now_ns : 0;
}

/* conn is NULL when the driver had no memory for one. */
static void record_failure(struct pool *pool, const struct conn *conn,
                           const struct err_text *text)
{
    pool->stats.connect_failures++;
    pool->is_known = true;
    pool->is_last_failed = true;
    pool->last_error = *text;
    pool->last_error_ns = pool->now_ns;
    for (size_t i = 0; i < WAIT_PHASES; i++)
        pool->failed_phase_ns[i] =
            conn != NULL ? conn->phase_ns[i] : WHEEL_NEVER;
    pool->failed_phase_ns[WAIT_PHASES] = pool->now_ns;
}

void pool_attempt_failed(struct pool *pool, struct conn *conn,
                         enum close_reason reason, const struct err_text *text)
{
    uint64_t reports = conn->reports;

    pool->is_patient |= !is_failing(pool);
    record_failure(pool, conn, text);
    if (pool->address_count == 1)
        fail_all(pool);
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_CONNECT_FAILED,
                        .conn = conn,
                        .reason = reason,
                        .text = text,
                        .duration_ns = pool->now_ns - conn->opened_ns,
                        .retry_ns = until_retry(pool),
                    });
    pool_shut(pool, conn, reason, NULL);
    if (pool->reports == reports) /* or the driver would dial in a loop */
        fail_all(pool);
}

void pool_back_off(struct pool *pool, const struct conn *conn,
                   const struct err_text *text)
{
    record_failure(pool, conn, text);
    fail_all(pool);
}

static void open_one(struct pool *pool, uint32_t permit)
{
    struct conn *conn = pool->ops->open(pool->driver);
    const struct conn none = { .pool = pool };
    struct err_text text = { 0 };

    pool->stats.connects++;
    if (conn != NULL) {
        pool_add(pool, conn);
        conn->permit = permit;
        return;
    }
    pool_give_permit(pool, permit, false);
    err_text_set(&text, "no memory for a connection");
    record_failure(pool, NULL, &text);
    fail_all(pool);
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_CONNECT_FAILED,
                        .conn = &none,
                        .reason = CLOSE_CONNECT_FAILED,
                        .text = &text,
                        .retry_ns = until_retry(pool),
                    });
}

/* A server that is nearly full takes some and refuses others, so those that
 * were under way with the first that failed are awaited.  One that hangs may
 * never come: the back-off is all the time they have. */
static void end_patience(struct pool *pool)
{
    uint64_t end_ns = backoff_end(pool);

    pool->is_patient = pool->now_ns < end_ns && may_another_come(pool);
    if (pool->is_patient)
        pool->retry_ns = earlier_ns(pool->retry_ns, end_ns);
}

bool pool_grow(struct pool *pool)
{
    uint64_t failures = pool->stats.connect_failures;

    pool->retry_ns = WHEEL_NEVER;
    if (!pool->is_started || pool->is_paused || pool->is_closing)
        return false;
    while (pool_count(pool, CONN_OPENING) < wanted(pool) &&
           pool_count(pool, CONN_OPENING) < parallel_limit(pool) &&
           pool->open < pool->settings.max_connections) {
        uint64_t end_ns = backoff_end(pool);
        uint32_t permit;

        if (end_ns > pool->now_ns) {
            pool->retry_ns = end_ns;
            break;
        }
        if (!pool_take_permit(pool, unmet(pool), &permit))
            break;
        open_one(pool, permit);
    }
    end_patience(pool);
    if (unmet(pool) == 0)
        pool_need_no_permit(pool);
    return pool->stats.connect_failures != failures;
}

/* ---- the driver's answers */

void pool_conn_phase(struct conn *conn, enum wait_phase phase, uint64_t now_ns)
{
    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_OPENING);
    assert(phase >= WAIT_DNS && phase < WAIT_TEST);
    /* Back to an earlier one, with the next address: what came after it until
     * now counts as part of it. */
    for (int i = phase + 1; i < WAIT_PHASES; i++)
        conn->phase_ns[i] = WHEEL_NEVER;
    if (conn->phase_ns[phase] == WHEEL_NEVER)
        conn->phase_ns[phase] = now_ns;
    conn->phase = phase;
}

static void record_success(struct pool *pool, struct conn *conn)
{
    pool->is_known = true;
    pool->is_last_failed = false;
    if (pool->address_count == 1)
        pool_address_answered(pool, 0);
    conn->phase_ns[WAIT_PHASES] = pool->now_ns;
    conn->byte_ns = pool->now_ns;
    conn->ready_ns = pool->now_ns;
    conn->proven_ns = pool->now_ns;
    conn->used_ns = pool->now_ns;
    conn->is_fresh = true;
    hist_record(&pool->stats.create, pool->now_ns - conn->opened_ns);
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_OPENED,
                        .conn = conn,
                        .duration_ns = pool->now_ns - conn->opened_ns,
                    });
}

void pool_admit(struct pool *pool, struct conn *conn)
{
    record_success(pool, conn);
    pool_set_lifetime(pool, conn);
    pool_place(pool, conn);
    pool_replaced(pool);
}

void pool_conn_opened(struct conn *conn, uint64_t now_ns)
{
    struct pool *pool = conn->pool;

    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_OPENING);
    pool_enter(pool, now_ns);
    if (!pool_hook_opening(pool, conn))
        pool_admit(pool, conn);
    pool_leave(pool);
}

void pool_conn_failed(struct conn *conn, const struct err_text *text,
                      uint64_t now_ns)
{
    struct pool *pool = conn->pool;
    struct err_text none = { 0 };

    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->state == CONN_OPENING);
    pool_enter(pool, now_ns);
    pool_attempt_failed(pool, conn, CLOSE_CONNECT_FAILED,
                        text != NULL ? text : &none);
    pool_leave(pool);
}
