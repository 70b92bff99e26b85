/* line.c - see line.h: standing in line, leaving it, and who is served. */
#include "pool/line.h"

#include "base/clock.h"
#include "pool/event.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/line_inside.h"
#include "pool/lists.h"
#include "pool/liveness.h"
#include "pool/pool_inside.h"
#include "pool/status.h"

#include <string.h>

/* ---- where the time of a wait went */

/*
 * Adds to phase_ns what of [since_ns, now_ns] lies in each phase; starts holds
 * the start of each phase and, last, their end, WHEEL_NEVER for what was not.
 */
static void add_overlap(uint64_t *phase_ns, const uint64_t *starts,
                        uint64_t since_ns, uint64_t now_ns)
{
    uint64_t end_ns = starts[WAIT_PHASES];

    if (end_ns > now_ns)
        end_ns = now_ns;
    for (int i = WAIT_PHASES - 1; i > WAIT_QUEUE; i--) {
        uint64_t start_ns = starts[i];

        if (start_ns == WHEEL_NEVER)
            continue;
        if (start_ns < since_ns)
            start_ns = since_ns;
        if (end_ns > start_ns)
            phase_ns[i] += end_ns - start_ns;
        end_ns = starts[i];
    }
}

/* What a wait that got no connection stood by for. */
static const uint64_t *awaited_phases(const struct pool *pool, enum err err)
{
    const struct conn *conn = pool_first(pool, CONN_OPENING);

    if (err == ERR_REFUSED)
        return pool->failed_phase_ns;
    if (conn == NULL)
        conn = pool_first(pool, CONN_TESTING);
    if (conn == NULL)
        conn = pool_first(pool, CONN_HOOKED);
    return conn != NULL ? conn->phase_ns : NULL;
}

/* conn is what the waiter gets; NULL when the wait failed. */
static void attribute(struct pool *pool, struct pool_waiter *waiter,
                      enum err err, const struct conn *conn)
{
    const uint64_t *starts = NULL;
    uint64_t rest_ns = pool->now_ns - waiter->since_ns;

    if (conn == NULL)
        starts = awaited_phases(pool, err);
    else if (conn->is_fresh)
        starts = conn->phase_ns;
    if (starts != NULL)
        add_overlap(waiter->phase_ns, starts, waiter->since_ns, pool->now_ns);
    for (size_t i = WAIT_QUEUE + 1; i < WAIT_PHASES; i++)
        rest_ns -= waiter->phase_ns[i];
    waiter->phase_ns[WAIT_QUEUE] = rest_ns;
}

/* ---- ending a wait */

void pool_count_end(struct pool *pool, enum demand_end end)
{
    struct pool_stats *stats = &pool->stats;

    switch (end) {
    case DEMAND_TIMEOUT: stats->timeouts++; break;
    case DEMAND_REFUSED: stats->refused++; break;
    case DEMAND_BUSY: stats->busy++; break;
    case DEMAND_SHED: stats->shed++; break;
    case DEMAND_CLOSED: stats->closed++; break;
    case DEMAND_CANCELLED: stats->cancelled++; break;
    case DEMAND_SERVED: /* counted and noted when it comes back */
    case DEMAND_ENDS: break;
    }
}

/* Lanes wait for the sake of their statements: of these each counts. */
static void count_end(struct pool *pool, const struct pool_waiter *waiter,
                      enum demand_end end)
{
    pool->stats.waits += end == DEMAND_SERVED;
    if (end == DEMAND_SERVED || waiter->shared)
        return;
    pool_count_end(pool, end);
    flight_demand(pool->flight,
                  &(struct flight_demand){
                      .end = end,
                      .class = waiter->class,
                      .wait_ns = pool->now_ns - waiter->since_ns,
                  },
                  pool->now_ns);
}

static void warn_if_slow(struct pool *pool, const struct pool_waiter *waiter)
{
    uint64_t waited_ns = pool->now_ns - waiter->since_ns;
    uint64_t threshold_ns = pool->settings.acquire_slow_threshold_ns;

    if (threshold_ns == 0 || waited_ns < threshold_ns)
        return;
    pool->stats.slow_acquires++;
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_SLOW_ACQUIRE,
                        .site = waiter->site,
                        .duration_ns = waited_ns,
                        .phase_ns = waiter->phase_ns,
                    });
}

void pool_tell_timeout(const struct pool *pool, const char *site,
                       uint64_t since_ns)
{
    pool_tell(pool, &(struct pool_event){
                        .kind = POOL_EVENT_TIMEOUT,
                        .site = site,
                        .duration_ns = elapsed_ns(since_ns, pool->now_ns),
                    });
}

static void leave_line(struct pool *pool, struct pool_waiter *waiter)
{
    list_remove(&pool->line, &waiter->node);
    classes_leave(&pool->classes, waiter->class, &waiter->class_node);
    wheel_remove(&pool->wait_wheel, &waiter->timer);
}

/* on_done may change anything, and the waiter is gone when it returns. */
static void finish(struct pool *pool, struct pool_waiter *waiter, enum err err,
                   struct conn *conn)
{
    leave_line(pool, waiter);
    count_end(pool, waiter, demand_end_of(err, true));
    if (err == ERR_OK || err == ERR_TIMEOUT) {
        hist_record(&pool->stats.wait, pool->now_ns - waiter->since_ns);
        for (size_t i = 0; i < WAIT_PHASES; i++)
            hist_record(&pool->stats.phases[i], waiter->phase_ns[i]);
    }
    warn_if_slow(pool, waiter);
    if (err == ERR_TIMEOUT)
        pool_tell_timeout(pool, waiter->site, waiter->since_ns);
    waiter->on_done(waiter, err, conn);
}

static void fail(struct pool *pool, struct pool_waiter *waiter, enum err err)
{
    attribute(pool, waiter, err, NULL);
    finish(pool, waiter, err, NULL);
}

static void shed(struct pool *pool, struct pool_waiter *waiter)
{
    pool->shed_ns = pool->now_ns;
    fail(pool, waiter, ERR_BUSY);
}

static void serve(struct pool *pool, struct pool_waiter *waiter,
                  struct conn *conn)
{
    codel_note(&pool->codel, &pool->settings,
               pool->now_ns - pool_first_waiter(pool)->since_ns, pool->now_ns);
    attribute(pool, waiter, ERR_OK, conn);
    pool_lend(pool, conn, waiter->shared, waiter->site, waiter->since_ns);
    conn->class = waiter->class;
    classes_served(&pool->classes, waiter->class, &pool->settings);
    finish(pool, waiter, ERR_OK, conn);
}

/* ---- the steps */

/* The idle connection that may be lent as it is, or NULL. */
static struct conn *servable(const struct pool *pool)
{
    struct conn *conn = pool_first(pool, CONN_IDLE);

    if (conn == NULL || pool->is_paused || pool_is_full(pool) ||
        pool_needs_test(pool, conn) || pool_needs_approval(pool, conn))
        return NULL;
    return conn;
}

static struct pool_waiter *of_class(struct list_node *node)
{
    return node != NULL ? container_of(node, struct pool_waiter, class_node)
                        : NULL;
}

/* Of the class whose turn it is, the first.  While the line stands, the newest:
 * it may yet be served in time. */
static struct pool_waiter *next_waiter(const struct pool *pool)
{
    enum pool_class class = classes_next(&pool->classes);
    const struct list *line;

    if (class == POOL_CLASSES)
        return NULL;
    line = &pool->classes.lines[class];
    return of_class(pool->codel.is_standing ? list_last(line)
                                            : list_first(line));
}

bool pool_line_serve(struct pool *pool)
{
    struct pool_waiter *waiter = next_waiter(pool);
    struct conn *conn = waiter != NULL ? servable(pool) : NULL;

    if (conn == NULL)
        return false;
    if (waiter->deadline_ns <= pool->now_ns)
        fail(pool, waiter, ERR_TIMEOUT);
    else
        serve(pool, waiter, conn);
    return true;
}

bool pool_line_refuse(struct pool *pool)
{
    struct pool_waiter *waiter = pool_first_waiter(pool);

    if (waiter == NULL)
        return false;
    if (pool->is_closing)
        fail(pool, waiter, ERR_CLOSED);
    else if (pool_is_down(pool) && !pool->is_paused)
        fail(pool, waiter, ERR_REFUSED);
    else
        return false;
    return true;
}

/* Who waits for a lane waits for many: lanes shed their own. */
static struct pool_waiter *first_to_shed(const struct pool *pool)
{
    list_each (node, &pool->line) {
        struct pool_waiter *waiter =
            container_of(node, struct pool_waiter, node);

        if (!waiter->shared)
            return waiter;
    }
    return NULL;
}

const struct pool_waiter *pool_first_pressing(const struct pool *pool)
{
    list_each (node, &pool->line) {
        const struct pool_waiter *waiter =
            container_of(node, struct pool_waiter, node);

        if (!waiter->shared || waiter->is_first)
            return waiter;
    }
    return NULL;
}

static bool must_shed(const struct pool *pool)
{
    const struct pool_waiter *waiter;

    if (!pool->codel.is_standing || pool->is_paused)
        return false;
    waiter = first_to_shed(pool);
    return waiter != NULL && codel_sheds(&pool->codel, &pool->settings,
                                         waiter->since_ns, pool->now_ns);
}

/* Of the class that is shed first, the oldest that has waited for too long. */
static struct pool_waiter *victim(const struct pool *pool)
{
    uint64_t over_ns = pool->settings.codel_target_ns;

    for (unsigned rank = 0; rank < POOL_CLASSES; rank++) {
        enum pool_class class = class_to_shed(&pool->settings, rank);

        list_each (node, &pool->classes.lines[class]) {
            struct pool_waiter *waiter = of_class(node);

            if (!waiter->shared && pool->now_ns - waiter->since_ns > over_ns)
                return waiter;
        }
    }
    return first_to_shed(pool);
}

bool pool_line_shed(struct pool *pool)
{
    if (!must_shed(pool))
        return false;
    shed(pool, victim(pool));
    return true;
}

uint64_t pool_line_shed_ns(const struct pool *pool)
{
    const struct pool_waiter *waiter;

    if (pool->settings.codel_target_ns == 0 || pool->is_paused)
        return WHEEL_NEVER;
    waiter = first_to_shed(pool);
    if (waiter == NULL)
        return WHEEL_NEVER;
    return codel_due_ns(&pool->codel, &pool->settings, waiter->since_ns);
}

void pool_line_expire(struct pool *pool)
{
    const struct pool_waiter *waiter = first_to_shed(pool);
    struct wheel_timer *timer;

    codel_look(&pool->codel, &pool->settings,
               waiter != NULL ? waiter->since_ns : UINT64_MAX, pool->now_ns);
    while ((timer = wheel_expire(&pool->wait_wheel, pool->now_ns)) != NULL) {
        fail(pool, container_of(timer, struct pool_waiter, timer), ERR_TIMEOUT);
        if (pool_is_over(pool))
            return;
    }
}

bool pool_line_has_work(const struct pool *pool)
{
    if (pool->line.len == 0)
        return false;
    return pool->is_closing || servable(pool) != NULL || must_shed(pool) ||
           (pool_is_down(pool) && !pool->is_paused);
}

/* ---- joining and leaving */

static enum err refusal(const struct pool *pool,
                        const struct pool_waiter *waiter)
{
    if (pool->is_closing)
        return ERR_CLOSED;
    if (waiter->deadline_ns <= pool->now_ns)
        return ERR_TIMEOUT;
    if (pool_is_down(pool) && !pool->is_paused)
        return ERR_REFUSED;
    if (pool->line.len >= pool->settings.max_waiters)
        return ERR_BUSY;
    return ERR_OK;
}

enum err pool_wait(struct pool *pool, struct pool_waiter *waiter,
                   uint64_t now_ns)
{
    enum err err;

    assert(waiter->on_done != NULL && !list_is_linked(&waiter->node));
    pool_enter(pool, now_ns);
    pool->stats.arrivals += !waiter->shared;
    waiter->pool = pool;
    waiter->since_ns = pool->now_ns;
    memset(waiter->phase_ns, 0, sizeof(waiter->phase_ns));
    if (waiter->deadline_ns == 0)
        waiter->deadline_ns = pool->now_ns + pool->settings.acquire_timeout_ns;
    err = refusal(pool, waiter);
    if (err == ERR_OK) {
        if (pool->line.len == 0)
            codel_look(&pool->codel, &pool->settings, UINT64_MAX, pool->now_ns);
        list_push_back(&pool->line, &waiter->node);
        classes_join(&pool->classes, waiter->class, &waiter->class_node, false);
        wheel_add(&pool->wait_wheel, &waiter->timer, waiter->deadline_ns);
    } else {
        count_end(pool, waiter, demand_end_of(err, false));
        if (err == ERR_TIMEOUT)
            pool_tell_timeout(pool, waiter->site, waiter->since_ns);
    }
    pool_leave_quietly(pool);
    return err;
}

void pool_wait_cancel(struct pool *pool, struct pool_waiter *waiter,
                      uint64_t now_ns)
{
    if (!list_is_linked(&waiter->node))
        return;
    assert(waiter->pool == pool);
    pool_enter(pool, now_ns);
    leave_line(pool, waiter);
    count_end(pool, waiter, DEMAND_CANCELLED);
    pool_leave_quietly(pool);
}

void pool_wait_press(struct pool *pool, struct pool_waiter *waiter,
                     bool is_first, uint64_t now_ns)
{
    assert(waiter->shared && list_is_linked(&waiter->node));
    if (waiter->is_first == is_first)
        return;
    pool_enter(pool, now_ns);
    waiter->is_first = is_first;
    pool_leave_to_tick(pool);
}
