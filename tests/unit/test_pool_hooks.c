/* test_pool_hooks.c - after_connect, before_acquire and after_release. */
#include "fake_driver.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"

enum {
    CONNECT = 1 << HOOK_AFTER_CONNECT,
    ACQUIRE = 1 << HOOK_BEFORE_ACQUIRE,
    RELEASE = 1 << HOOK_AFTER_RELEASE
};

static void start(struct fake *fake, unsigned which)
{
    fake_init(fake);
    fake_start(fake);
    fake_set_hooks(fake, which);
    fake_tick(fake);
}

/* One connection that has passed what hooks there are, idle. */
static struct conn *start_open(struct fake *fake, unsigned which)
{
    struct conn *conn;

    start(fake, which);
    conn = fake_opened(fake);
    if (which & CONNECT)
        assert_ptr_equal(fake_hooked(fake, HOOK_PASSED), conn);
    assert_int_equal(conn->state, CONN_IDLE);
    return conn;
}

static uint64_t closes(const struct fake *fake, enum close_reason reason)
{
    return pool_stats(fake->pool)->closes[reason];
}

/* ---- after_connect */

static void test_connection_opens_when_after_connect_has_passed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    start(&fake, CONNECT);
    assert_ok(fake_wait(&fake, &log));
    conn = fake_opened(&fake);
    assert_int_equal(conn->state, CONN_OPENING);
    assert_int_equal(conn->hook, HOOK_AFTER_CONNECT);
    assert_int_equal(fake.events[POOL_EVENT_OPENED], 0);
    assert_int_equal(log.calls, 0);
    fake_pass(&fake, 3 * MS);
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(fake.events[POOL_EVENT_OPENED], 1);
    assert_int_equal(log.waiter.phase_ns[WAIT_HOOK], 3 * MS);
    assert_int_equal(fake.baselines, 1);
    assert_int_equal(pool_stats(fake.pool)->hooks, 1);
    fake_end(&fake);
}

static void test_failed_after_connect_is_a_failed_attempt(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start(&fake, CONNECT);
    assert_ok(fake_wait(&fake, &log));
    fake_opened(&fake);
    fake_hooked(&fake, HOOK_FAILED);
    fake_settle(&fake);
    assert_err(log.err, ERR_REFUSED);
    assert_string_equal(pool_last_error(fake.pool)->text,
                        "after_connect says no");
    assert_int_equal(fake.events[POOL_EVENT_CONNECT_FAILED], 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 1); /* it backs off */
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_end(&fake);
}

static void test_after_connect_has_the_time_of_a_connect(void **state)
{
    struct fake fake;

    (void)state;
    start(&fake, CONNECT);
    fake_pass(&fake, 2 * SECOND);
    fake_opened(&fake);
    fake_pass(&fake, fake.settings.connect_timeout_ns - 2 * SECOND);
    assert_int_equal(closes(&fake, CLOSE_CONNECT_TIMEOUT), 1);
    assert_non_null(strstr(pool_last_error(fake.pool)->text, "stood in hook"));
    fake_end(&fake);
}

static void test_connection_that_cannot_be_kept_is_closed(void **state)
{
    struct fake fake;

    (void)state;
    start(&fake, CONNECT);
    fake.is_left_open = true;
    fake_opened(&fake);
    fake_hooked(&fake, HOOK_PASSED);
    assert_int_equal(closes(&fake, CLOSE_CONNECT_FAILED), 1);
    assert_string_equal(pool_last_error(fake.pool)->text,
                        "after_connect left its connection in a transaction "
                        "or busy");
    fake_end(&fake);
}

static void test_hook_that_cannot_begin_fails(void **state)
{
    struct fake fake;

    (void)state;
    start(&fake, CONNECT);
    fake.has_no_tasks = true;
    fake_opened(&fake);
    assert_int_equal(closes(&fake, CLOSE_CONNECT_FAILED), 1);
    fake_end(&fake);
}

static void test_bare_session_gets_after_connect_again(void **state)
{
    struct fake fake;
    struct conn *conn = start_open(&fake, CONNECT);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_DIRTY);
    pool_conn_bare(conn);
    fake_reset(&fake, true);
    assert_int_equal(conn->state, CONN_HOOKED);
    assert_null(fake_try(&fake));
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_IDLE);
    fake_end(&fake);
}

static void test_open_connections_get_a_new_after_connect(void **state)
{
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_set_hooks(&fake, CONNECT);
    assert_ptr_equal(fake_hooked(&fake, HOOK_PASSED), conns[0]);
    assert_int_equal(conns[1]->state, CONN_LEASED);
    fake_release(&fake, conns[1], CONN_CLEAN);
    assert_ptr_equal(fake_hooked(&fake, HOOK_PASSED), conns[1]);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 2);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_end(&fake);
}

static void test_other_after_connect_replaces_the_connections(void **state)
{
    struct fake fake;
    struct conn *conn = start_open(&fake, CONNECT);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_set_hooks(&fake, 0);
    assert_int_equal(conn->state, CONN_LEASED);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(closes(&fake, CLOSE_DRAINED), 1);
    fake_end(&fake);
}

/* ---- before_acquire */

static void test_waiter_gets_what_before_acquire_lets_pass(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_open(&fake, ACQUIRE);

    (void)state;
    assert_null(fake_try(&fake));
    fake_pass(&fake, 7 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(conn->state, CONN_HOOKED);
    assert_int_equal(conn_age_ns(conn), 7 * SECOND);
    assert_int_equal(conn_idle_ns(conn), 7 * SECOND);
    fake_pass(&fake, 2 * MS);
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(log.waiter.phase_ns[WAIT_HOOK], 2 * MS);
    assert_int_equal(log.waiter.phase_ns[WAIT_QUEUE], 0);
    assert_int_equal(fake.baselines, 0);
    assert_int_equal(fake.kept, 1);
    fake_end(&fake);
}

static void test_each_lease_is_asked_for(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conn = start_open(&fake, ACQUIRE);

    (void)state;
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_hooked(&fake, HOOK_PASSED);
    fake_pass(&fake, 1);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 1);
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake.calls[FAKE_HOOK], 2);
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(logs[1].conn, conn);
    fake_end(&fake);
}

static void test_quiet_connection_is_tested_before_it_is_asked_for(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake.settings.test_after_ns = SECOND;
    conn = fake_start_open(&fake);
    fake_set_hooks(&fake, ACQUIRE);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(conn->state, CONN_TESTING);
    fake_pass(&fake, 5 * MS);
    fake_tested(&fake, true);
    assert_int_equal(conn->state, CONN_HOOKED);
    fake_pass(&fake, 2 * SECOND);
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(log.conn, conn); /* no second test */
    assert_int_equal(log.waiter.phase_ns[WAIT_TEST], 5 * MS);
    assert_int_equal(log.waiter.phase_ns[WAIT_HOOK], 2 * SECOND);
    fake_end(&fake);
}

static void test_refused_connection_is_replaced(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_open(&fake, 0);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_set_hooks(&fake, ACQUIRE);
    assert_ok(fake_wait(&fake, &log));
    fake_hooked(&fake, HOOK_REFUSED);
    assert_int_equal(closes(&fake, CLOSE_HOOK_REFUSED), 1);
    assert_int_equal(fake.event.kind, POOL_EVENT_CLOSED);
    assert_string_equal(fake.event_text.text, "before_acquire says no");
    fake_settle(&fake);
    assert_int_equal(log.calls, 0);
    fake_opened(&fake);
    fake_hooked(&fake, HOOK_PASSED);
    assert_int_equal(log.calls, 1);
    assert_non_null(log.conn);
    fake_end(&fake);
}

static void test_new_connections_that_are_refused_back_off(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start_open(&fake, ACQUIRE);
    assert_ok(fake_wait(&fake, &log));
    fake_hooked(&fake, HOOK_REFUSED);
    fake_settle(&fake);
    assert_err(log.err, ERR_REFUSED);
    assert_string_equal(pool_last_error(fake.pool)->text,
                        "before_acquire says no");
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    fake_end(&fake);
}

/* before_acquire runs for a waiter, on the connection that holder has. */
static void start_held(struct fake *fake, struct wait_log *log,
                       struct conn **holder)
{
    *holder = start_open(fake, ACQUIRE);
    assert_ok(fake_wait(fake, log));
    conn_set_holder(*holder, holder, "hook.lua:1");
}

static void test_hook_that_takes_too_long_loses_its_connection(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *holder;

    (void)state;
    start_held(&fake, &log, &holder);
    fake_pass(&fake, 5 * SECOND);
    assert_null(holder);
    assert_int_equal(closes(&fake, CLOSE_HOOK_FAILED), 1);
    fake_end(&fake);
}

static void test_lost_connection_ends_its_hook(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *holder;

    (void)state;
    start_held(&fake, &log, &holder);
    pool_conn_lost(holder, NULL, fake.now_ns);
    assert_null(holder);
    assert_int_equal(closes(&fake, CLOSE_LOST), 1);
    fake_end(&fake);
}

static void test_nobody_is_asked_without_a_waiter(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    for (int i = 0; i < 3; i++)
        fake_release(&fake, conns[i], CONN_CLEAN);
    fake_set_hooks(&fake, ACQUIRE);
    assert_int_equal(fake.calls[FAKE_HOOK], 0);
    fake_pass(&fake, 1);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake.calls[FAKE_HOOK], 2);
    fake_answer_all(&fake);
    assert_int_equal(logs[0].turn + 1, logs[1].turn);
    fake_end(&fake);
}

/* ---- after_release */

static void test_connection_rests_when_after_release_has_passed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_open(&fake, RELEASE);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_HOOKED);
    assert_int_equal(conn->hook, HOOK_AFTER_RELEASE);
    assert_int_equal(conn_idle_ns(conn), 0);
    assert_int_equal(log.calls, 0);
    fake_hooked(&fake, HOOK_PASSED);
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_after_release_sees_a_clean_session(void **state)
{
    struct fake fake;
    struct conn *conn = start_open(&fake, RELEASE);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_DIRTY);
    assert_int_equal(fake.calls[FAKE_HOOK], 0);
    fake_reset(&fake, true);
    fake_link_of(conn)->wire = CONN_DIRTY; /* what the hook does to it */
    fake_hooked(&fake, HOOK_PASSED);
    assert_int_equal(conn->state, CONN_RESETTING);
    fake_reset(&fake, true);
    assert_int_equal(conn->state, CONN_IDLE);
    assert_int_equal(fake.calls[FAKE_HOOK], 1);
    fake_end(&fake);
}

static void test_refused_return_closes_the_connection(void **state)
{
    struct fake fake;
    struct conn *conn = start_open(&fake, RELEASE);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_hooked(&fake, HOOK_REFUSED);
    assert_int_equal(closes(&fake, CLOSE_HOOK_REFUSED), 1);
    assert_false(pool_is_down(fake.pool));
    fake_end(&fake);
}

/* ---- the end */

static void test_pool_closes_over_a_hook(void **state)
{
    struct fake fake;
    struct conn *conn = start_open(&fake, RELEASE);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    pool_close(fake.pool, fake.now_ns + SECOND, fake.now_ns);
    fake_settle(&fake);
    assert_int_equal(conn->state, CONN_HOOKED);
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_opens_when_after_connect_has_passed),
        cmocka_unit_test(test_failed_after_connect_is_a_failed_attempt),
        cmocka_unit_test(test_after_connect_has_the_time_of_a_connect),
        cmocka_unit_test(test_connection_that_cannot_be_kept_is_closed),
        cmocka_unit_test(test_hook_that_cannot_begin_fails),
        cmocka_unit_test(test_bare_session_gets_after_connect_again),
        cmocka_unit_test(test_open_connections_get_a_new_after_connect),
        cmocka_unit_test(test_other_after_connect_replaces_the_connections),
        cmocka_unit_test(test_waiter_gets_what_before_acquire_lets_pass),
        cmocka_unit_test(test_each_lease_is_asked_for),
        cmocka_unit_test(
            test_quiet_connection_is_tested_before_it_is_asked_for),
        cmocka_unit_test(test_refused_connection_is_replaced),
        cmocka_unit_test(test_new_connections_that_are_refused_back_off),
        cmocka_unit_test(test_hook_that_takes_too_long_loses_its_connection),
        cmocka_unit_test(test_lost_connection_ends_its_hook),
        cmocka_unit_test(test_nobody_is_asked_without_a_waiter),
        cmocka_unit_test(test_connection_rests_when_after_release_has_passed),
        cmocka_unit_test(test_after_release_sees_a_clean_session),
        cmocka_unit_test(test_refused_return_closes_the_connection),
        cmocka_unit_test(test_pool_closes_over_a_hook),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
