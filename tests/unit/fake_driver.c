/* fake_driver.c - see fake_driver.h. */
#include "fake_driver.h"

#include "pool/check.h"
#include "pool/driver.h"
#include "pool/ghost.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/status.h"

#include <stdlib.h>

struct fake_link *fake_link_of(struct conn *conn)
{
    return container_of(conn, struct fake_link, conn);
}

static void owe(struct fake_link *link, enum fake_debt debt)
{
    struct fake *fake = link->fake;

    list_remove(&fake->links[link->debt], &link->node);
    list_push_back(&fake->links[debt], &link->node);
    link->debt = debt;
    fake->calls[debt]++;
}

/* ---- the driver's side */

static struct fake_link *new_link(struct fake *fake)
{
    struct fake_link *link;

    if (fake->arena == NULL) {
        link = calloc(1, sizeof(*link));
        assert_non_null(link);
        return link;
    }
    link = (struct fake_link *)(void *)fake->arena;
    fake->arena += FAKE_STRIDE;
    return link;
}

static struct conn *open_link(void *driver)
{
    struct fake *fake = driver;
    struct fake_link *link;

    if (fake->has_no_memory)
        return NULL;
    link = new_link(fake);
    link->fake = fake;
    link->wire = CONN_CLEAN;
    link->debt = FAKE_OPEN;
    list_push_back(&fake->links[FAKE_OPEN], &link->node);
    fake->calls[FAKE_OPEN]++;
    fake->live++;
    return &link->conn;
}

static enum conn_wire read_wire(const struct conn *conn)
{
    return container_of(conn, const struct fake_link, conn)->wire;
}

static void test_link(struct conn *conn)
{
    struct fake *fake = fake_link_of(conn)->fake;
    const int32_t *pids;

    fake->asked = pool_ghosts(conn, &pids);
    memcpy(fake->ghosts, pids, fake->asked * sizeof(*pids));
    owe(fake_link_of(conn), FAKE_TEST);
}

static void reset_link(struct conn *conn)
{
    owe(fake_link_of(conn), FAKE_RESET);
}

static void cancel_link(struct conn *conn)
{
    owe(fake_link_of(conn), FAKE_CANCEL);
}

static bool keep_link(struct conn *conn, bool is_baseline)
{
    struct fake *fake = fake_link_of(conn)->fake;

    fake->kept++;
    fake->baselines += is_baseline;
    return !fake->is_left_open;
}

static void abandon_link(struct conn *conn)
{
    fake_link_of(conn)->fake->abandons++;
}

static void unshare_link(struct conn *conn)
{
    owe(fake_link_of(conn), FAKE_UNSHARE);
}

static void free_link(struct fake_link *link)
{
    struct fake *fake = link->fake;

    list_remove(&fake->links[link->debt], &link->node);
    fake->live--;
    pool_conn_closed(&link->conn, fake->now_ns);
    if (fake->arena == NULL)
        free(link);
}

static void close_link(struct conn *conn, enum close_reason reason)
{
    struct fake_link *link = fake_link_of(conn);
    struct fake *fake = link->fake;

    fake->closed_for = reason;
    owe(link, FAKE_CLOSE);
    if (fake->on_close != NULL)
        fake->on_close(fake, link);
    if (!fake->is_close_slow)
        free_link(link);
}

static const struct conn_ops fake_ops = {
    .name = "fake",
    .open = open_link,
    .wire = read_wire,
    .test = test_link,
    .reset = reset_link,
    .cancel = cancel_link,
    .keep = keep_link,
    .abandon = abandon_link,
    .unshare = unshare_link,
    .close = close_link,
};

/* ---- the host's side */

static void wake_at(void *ud, uint64_t at_ns)
{
    struct fake *fake = ud;

    assert_true(at_ns < fake->due_ns); /* only what is news */
    fake->due_ns = at_ns;
    fake->wakes++;
}

static void on_event(void *ud, const struct pool_event *event)
{
    struct fake *fake = ud;

    fake->events[event->kind]++;
    fake->event = *event;
    memset(&fake->event_text, 0, sizeof(fake->event_text));
    if (event->text != NULL)
        fake->event_text = *event->text;
    if (event->phase_ns != NULL)
        memcpy(fake->event_phase_ns, event->phase_ns,
               sizeof(fake->event_phase_ns));
}

static bool begin_hook(void *ud, struct conn *conn, enum conn_hook hook)
{
    struct fake *fake = ud;

    assert_int_equal(conn->hook, hook);
    if (fake->has_no_tasks)
        return false;
    owe(fake_link_of(conn), FAKE_HOOK);
    return true;
}

static void on_closed(void *ud)
{
    struct fake *fake = ud;

    fake->closed++;
    pool_free(fake->pool);
    fake->pool = NULL;
}

/* ---- running it */

void fake_init(struct fake *fake)
{
    memset(fake, 0, sizeof(*fake));
    pool_settings_init(&fake->settings, 1);
    fake->settings.max_connections = 3;
    fake->settings.test_before_acquire = false;
    fake->settings.connect_rate = 0;
    fake->seed = 1;
    fake->addresses = 1;
    fake->now_ns = SECOND;
    fake->due_ns = WHEEL_NEVER;
    for (size_t i = 0; i < FAKE_DEBTS; i++)
        list_init(&fake->links[i]);
}

static bool is_over(void *ud)
{
    const struct fake *fake = ud;

    return fake->is_hasty;
}

void fake_start(struct fake *fake)
{
    struct pool_config config = {
        .ops = &fake_ops,
        .driver = fake,
        .host = { .ud = fake,
                  .wake_at = wake_at,
                  .on_event = on_event,
                  .on_closed = on_closed,
                  .is_over = is_over },
        .settings = fake->settings,
        .share = fake->share,
        .flight = fake->flight,
        .seed = fake->seed,
        .addresses = fake->addresses,
    };

    assert_ok(pool_new(&fake->pool, &config, fake->now_ns));
}

static void check(struct fake *fake)
{
    if (fake->pool != NULL && !fake->is_unchecked)
        pool_check(fake->pool);
}

void fake_tick(struct fake *fake)
{
    uint64_t due_ns = pool_tick(fake->pool, fake->now_ns);

    fake->due_ns = due_ns;
    check(fake);
}

struct conn *fake_start_open(struct fake *fake)
{
    fake_start(fake);
    fake_tick(fake);
    return fake_opened(fake);
}

void fake_settle(struct fake *fake)
{
    while (fake->pool != NULL && fake->due_ns <= fake->now_ns)
        fake_tick(fake);
}

void fake_pass(struct fake *fake, uint64_t ns)
{
    uint64_t end_ns = fake->now_ns + ns;

    fake_settle(fake);
    while (fake->pool != NULL && fake->due_ns <= end_ns) {
        if (fake->due_ns > fake->now_ns)
            fake->now_ns = fake->due_ns;
        fake_tick(fake);
    }
    fake->now_ns = end_ns;
}

void fake_lend(struct fake *fake, struct conn **conns, unsigned count)
{
    struct wait_log logs[64] = { 0 };

    assert_true(count <= ARRAY_LEN(logs));
    fake_start_open(fake);
    conns[0] = fake_try(fake);
    for (unsigned i = 1; i < count; i++)
        assert_ok(fake_wait(fake, &logs[i]));
    for (unsigned i = 1; i < count; i++) {
        fake_opened(fake);
        conns[i] = logs[i].conn;
        assert_non_null(conns[i]);
    }
}

void fake_answer_all(struct fake *fake)
{
    while (fake_first(fake, FAKE_CLOSE) != NULL)
        fake_closed(fake);
    while (fake_first(fake, FAKE_OPEN) != NULL)
        fake_opened(fake);
    while (fake_first(fake, FAKE_HOOK) != NULL)
        fake_hooked(fake, HOOK_PASSED);
    while (fake_first(fake, FAKE_TEST) != NULL)
        fake_tested(fake, true);
    while (fake_first(fake, FAKE_RESET) != NULL)
        fake_reset(fake, true);
    while (fake_first(fake, FAKE_CANCEL) != NULL)
        fake_cancelled(fake, true, CONN_CLEAN);
    while (fake_first(fake, FAKE_UNSHARE) != NULL)
        fake_release(fake, &fake_first(fake, FAKE_UNSHARE)->conn, CONN_CLEAN);
}

void fake_end(struct fake *fake)
{
    pool_close(fake->pool, fake->now_ns, fake->now_ns);
    check(fake);
    assert_int_equal(fake->closed, 0);
    fake_settle(fake);
    fake_answer_all(fake);
    fake_settle(fake);
    assert_int_equal(fake->closed, 1);
    assert_int_equal(fake->live, 0);
    assert_null(fake->pool);
}

/* ---- a caller's side */

struct conn *fake_try(struct fake *fake)
{
    struct conn *conn =
        pool_try_acquire(fake->pool, false, "try.lua:1", fake->now_ns);

    check(fake);
    return conn;
}

static void log_wait(struct pool_waiter *waiter, enum err err,
                     struct conn *conn)
{
    struct wait_log *log = container_of(waiter, struct wait_log, waiter);

    log->calls++;
    log->turn = ++log->fake->ends;
    log->err = err;
    log->conn = conn;
    if (log->then != NULL)
        log->then(log);
}

enum err fake_join(struct fake *fake, struct wait_log *log)
{
    log->fake = fake;
    log->waiter.on_done = log_wait;
    return pool_wait(fake->pool, &log->waiter, fake->now_ns);
}

enum err fake_wait(struct fake *fake, struct wait_log *log)
{
    enum err err = fake_join(fake, log);

    check(fake);
    return err;
}

void fake_return(struct fake *fake, struct conn *conn, enum conn_wire wire)
{
    struct fake_link *link = fake_link_of(conn);

    if (link->debt == FAKE_UNSHARE)
        owe(link, FAKE_NOTHING);
    link->wire = wire;
    pool_release(fake->pool, conn, fake->now_ns);
}

void fake_release(struct fake *fake, struct conn *conn, enum conn_wire wire)
{
    fake_return(fake, conn, wire);
    check(fake);
}

void fake_set(struct fake *fake)
{
    assert_ok(pool_set(fake->pool, &fake->settings, fake->now_ns, NULL));
    check(fake);
}

void fake_set_hooks(struct fake *fake, unsigned which)
{
    struct pool_hooks hooks = {
        .which = which,
        .begin = begin_hook,
        .ud = fake,
    };

    pool_set_hooks(fake->pool, &hooks, fake->now_ns);
    check(fake);
}

/* ---- answers */

struct fake_link *fake_first(struct fake *fake, enum fake_debt debt)
{
    struct list_node *node = list_first(&fake->links[debt]);

    return node != NULL ? container_of(node, struct fake_link, node) : NULL;
}

static struct fake_link *pay(struct fake *fake, enum fake_debt debt)
{
    struct fake_link *link = fake_first(fake, debt);

    assert_non_null(link);
    owe(link, FAKE_NOTHING);
    return link;
}

struct conn *fake_opened(struct fake *fake)
{
    struct conn *conn = &pay(fake, FAKE_OPEN)->conn;

    if (fake->backend != 0)
        pool_conn_backend(conn, fake->backend++);
    pool_conn_opened(conn, fake->now_ns);
    check(fake);
    return conn;
}

void fake_failed(struct fake *fake, const char *text)
{
    struct err_text why = { 0 };

    err_text_set(&why, "%s", text);
    pool_conn_failed(&pay(fake, FAKE_OPEN)->conn, &why, fake->now_ns);
    check(fake);
}

void fake_tested(struct fake *fake, bool is_alive)
{
    pool_conn_tested(&pay(fake, FAKE_TEST)->conn, is_alive, fake->now_ns);
    check(fake);
}

void fake_reset(struct fake *fake, bool is_clean)
{
    pool_conn_reset(&pay(fake, FAKE_RESET)->conn, is_clean, fake->now_ns);
    check(fake);
}

void fake_cancelled(struct fake *fake, bool is_drained, enum conn_wire wire)
{
    struct fake_link *link = pay(fake, FAKE_CANCEL);

    link->wire = wire;
    pool_conn_cancelled(&link->conn, is_drained, fake->now_ns);
    check(fake);
}

struct conn *fake_hooked(struct fake *fake, enum hook_verdict verdict)
{
    struct conn *conn = &pay(fake, FAKE_HOOK)->conn;
    struct err_text text = { 0 };

    err_text_set(&text, "%s says no", conn_hook_name(conn->hook));
    pool_hook_done(conn, verdict, verdict == HOOK_PASSED ? NULL : &text,
                   fake->now_ns);
    check(fake);
    return conn;
}

void fake_closed(struct fake *fake)
{
    free_link(fake_first(fake, FAKE_CLOSE));
    check(fake);
}

uint32_t fake_count(const struct fake *fake, enum conn_state state)
{
    struct pool_counts counts;

    pool_counts(fake->pool, &counts);
    return counts.states[state];
}

uint32_t fake_open_count(const struct fake *fake)
{
    struct pool_counts counts;

    pool_counts(fake->pool, &counts);
    return counts.open;
}
