/* hook.c - see hook.h. */
#include "pool/hook.h"

#include "pool/conn_inside.h"
#include "pool/driver.h"
#include "pool/grow.h"
#include "pool/hook_inside.h"
#include "pool/internal.h"
#include "pool/lease_inside.h"
#include "pool/lists.h"
#include "pool/liveness.h"
#include "pool/pool.h"
#include "pool/pool_inside.h"
#include "pool/retire.h"

bool pool_has_hook(const struct pool *pool, enum conn_hook hook)
{
    return (pool->hooks.which & (1U << hook)) != 0;
}

/* ---- beginning */

static void begin(struct pool *pool, struct conn *conn, enum conn_hook hook)
{
    struct err_text text = { 0 };

    pool->stats.hooks++;
    conn->hook = hook;
    if (pool->hooks.begin(pool->hooks.ud, conn, hook))
        return;
    err_text_set(&text, "%s could not be begun", conn_hook_name(hook));
    pool_hook_failed(pool, conn, HOOK_FAILED, &text);
}

static void begin_idle(struct pool *pool, struct conn *conn,
                       enum conn_hook hook)
{
    bool is_tested = conn->phase_ns[WAIT_PHASES] == pool->now_ns;

    pool_move(pool, conn, CONN_HOOKED);
    for (size_t i = 0; i <= WAIT_PHASES && !is_tested; i++)
        conn->phase_ns[i] = WHEEL_NEVER;
    conn->phase_ns[WAIT_HOOK] = pool->now_ns;
    conn->phase_ns[WAIT_PHASES] = WHEEL_NEVER;
    begin(pool, conn, hook);
}

bool pool_needs_approval(const struct pool *pool, const struct conn *conn)
{
    return pool_has_hook(pool, HOOK_BEFORE_ACQUIRE) &&
           conn->approved_ns != pool->now_ns;
}

bool pool_approve_idle(struct pool *pool)
{
    struct conn *conn = pool_first(pool, CONN_IDLE);

    if (conn == NULL || pool->is_paused ||
        pool_count(pool, CONN_TESTING) + pool_count(pool, CONN_HOOKED) >=
            pool->line.len ||
        pool_needs_test(pool, conn) || !pool_needs_approval(pool, conn))
        return false;
    begin_idle(pool, conn, HOOK_BEFORE_ACQUIRE);
    return true;
}

void pool_run_due_hook(struct pool *pool, struct conn *conn)
{
    if (conn->is_bare && pool_has_hook(pool, HOOK_AFTER_CONNECT)) {
        begin_idle(pool, conn, HOOK_AFTER_CONNECT);
    } else if (conn->is_returned) {
        conn->is_returned = false;
        if (pool_has_hook(pool, HOOK_AFTER_RELEASE))
            begin_idle(pool, conn, HOOK_AFTER_RELEASE);
    }
}

bool pool_hook_opening(struct pool *pool, struct conn *conn)
{
    if (!pool_has_hook(pool, HOOK_AFTER_CONNECT))
        return false;
    conn->phase = WAIT_HOOK;
    conn->phase_ns[WAIT_HOOK] = pool->now_ns;
    begin(pool, conn, HOOK_AFTER_CONNECT);
    return true;
}

/* ---- ending */

void pool_hook_failed(struct pool *pool, struct conn *conn,
                      enum hook_verdict verdict, const struct err_text *text)
{
    if (conn->state == CONN_OPENING) {
        pool_attempt_failed(pool, conn, CLOSE_CONNECT_FAILED, text);
        return;
    }
    if (pool->ops->wire(conn) == CONN_BROKEN) {
        pool_shut(pool, conn, CLOSE_LOST, text);
        return;
    }
    /* or connecting and refusing would go on and on */
    if (conn->hook == HOOK_BEFORE_ACQUIRE && conn->generation == 0)
        pool_back_off(pool, conn, text);
    pool_shut(pool, conn,
              verdict == HOOK_REFUSED ? CLOSE_HOOK_REFUSED : CLOSE_HOOK_FAILED,
              text);
}

static void approve(struct pool *pool, struct conn *conn)
{
    conn->approved_ns = pool->now_ns;
    conn->proven_ns = pool->now_ns;
    conn->phase_ns[WAIT_PHASES] = pool->now_ns;
    conn->is_fresh = true;
    pool_place(pool, conn);
}

static void pass(struct pool *pool, struct conn *conn)
{
    switch (conn->hook) {
    case HOOK_AFTER_CONNECT:
        conn->is_bare = false;
        if (conn->state == CONN_OPENING)
            pool_admit(pool, conn);
        else
            pool_place(pool, conn);
        break;
    case HOOK_BEFORE_ACQUIRE: approve(pool, conn); break;
    case HOOK_AFTER_RELEASE: pool_settle_wire(pool, conn); break;
    case HOOK_NONE: assert(false);
    }
}

/* What after_release leaves open is cleaned away; another hook closes it. */
static bool is_kept(struct pool *pool, struct conn *conn)
{
    return conn->hook == HOOK_AFTER_RELEASE ||
           pool->ops->keep(conn, conn->hook == HOOK_AFTER_CONNECT);
}

void pool_hook_done(struct conn *conn, enum hook_verdict verdict,
                    const struct err_text *text, uint64_t now_ns)
{
    struct pool *pool = conn->pool;
    struct err_text left = { 0 };

    assert(conn->hook != HOOK_NONE);
    pool_enter(pool, now_ns);
    if (verdict == HOOK_PASSED && !is_kept(pool, conn)) {
        verdict = HOOK_FAILED;
        err_text_set(&left, "%s left its connection in a transaction or busy",
                     conn_hook_name(conn->hook));
        text = &left;
    }
    if (verdict == HOOK_PASSED)
        pass(pool, conn);
    else
        pool_hook_failed(pool, conn, verdict, text != NULL ? text : &left);
    pool_leave(pool);
}

/* ---- setting */

/* Those that are open and no after_connect has prepared. */
static void mark_bare(struct pool *pool)
{
    struct list *idle = &pool->by_state[CONN_IDLE];
    struct list_node *next;

    for (enum conn_state state = 0; state < CONN_STATES; state++)
        list_each (node, &pool->by_state[state])
            pool_conn_of(node)->is_bare = true;
    for (struct list_node *node = idle->head.next; node != &idle->head;
         node = next) {
        next = node->next;
        pool_run_due_hook(pool, pool_conn_of(node));
    }
    pool_unshare_all(pool);
}

void pool_set_hooks(struct pool *pool, const struct pool_hooks *hooks,
                    uint64_t now_ns)
{
    bool had = pool_has_hook(pool, HOOK_AFTER_CONNECT);

    pool_enter(pool, now_ns);
    pool->hooks = *hooks;
    if (had && pool->open > 0)
        pool_drain(pool, now_ns);
    else if (pool_has_hook(pool, HOOK_AFTER_CONNECT))
        mark_bare(pool);
    pool_leave(pool);
}

/* ---- what hooks are told */

uint64_t conn_age_ns(const struct conn *conn)
{
    return conn->state != CONN_OPENING ? conn->pool->now_ns - conn->ready_ns
                                       : 0;
}

uint64_t conn_idle_ns(const struct conn *conn)
{
    return conn->hook == HOOK_BEFORE_ACQUIRE
               ? conn->pool->now_ns - conn->used_ns
               : 0;
}
