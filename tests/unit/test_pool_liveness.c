/* test_pool_liveness.c - testing quiet connections before they are lent. */
#include "fake_driver.h"
#include "pool/driver.h"
#include "pool/line.h"
#include "pool/stats.h"

/* One idle connection, tested after a second of silence. */
static struct conn *start(struct fake *fake)
{
    fake_init(fake);
    fake->settings.test_before_acquire = true;
    fake->settings.test_after_ns = SECOND;
    return fake_start_open(fake);
}

/* count idle ones. */
static void start_idle(struct fake *fake, struct conn **conns, unsigned count)
{
    fake_init(fake);
    fake->settings.max_connections = count + 1;
    fake->settings.test_before_acquire = true;
    fake->settings.test_after_ns = SECOND;
    fake_lend(fake, conns, count);
    for (unsigned i = 0; i < count; i++)
        fake_release(fake, conns[i], CONN_CLEAN);
}

static void test_connection_is_tested_only_after_a_quiet_time(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, SECOND - 1);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 1);
    assert_null(fake_try(&fake));
    assert_int_equal(fake.calls[FAKE_TEST], 0); /* a test is for a waiter */
    fake_end(&fake);
}

static void test_byte_puts_off_the_test(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, SECOND - 1);
    pool_conn_byte(conn, fake.now_ns);
    fake_pass(&fake, SECOND - 1);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_end(&fake);
}

static void test_waiter_gets_the_connection_when_the_test_passed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(conn->state, CONN_TESTING);
    assert_int_equal(log.calls, 0);
    fake_tested(&fake, true);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_int_equal(pool_stats(fake.pool)->tests, 1);
    fake_end(&fake);
}

/* A connect failed, long ago; then the only connection passes its test and goes
 * for its age.  The server is there: nobody is refused. */
static void test_passed_test_makes_an_older_failure_forgotten(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake.settings.test_after_ns = SECOND / 2;
    fake.settings.max_lifetime_ns = SECOND;
    conn = fake_start_open(&fake);
    assert_ptr_equal(fake_try(&fake), conn);
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_failed(&fake, "refused");
    pool_wait_cancel(fake.pool, &logs[0].waiter, fake.now_ns);
    fake_release(&fake, conn, CONN_CLEAN);
    fake.settings.max_connections = 1;
    fake_set(&fake);
    fake_pass(&fake, SECOND * 85 / 100);
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, SECOND / 5);
    fake_tested(&fake, true);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(logs[1].calls, 0);
    fake_opened(&fake);
    assert_err(logs[1].err, ERR_OK);
    fake_release(&fake, logs[1].conn, CONN_CLEAN);
    fake_end(&fake);
}

static void test_test_belongs_to_the_pool_when_the_waiter_leaves(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    pool_wait_cancel(fake.pool, &log.waiter, fake.now_ns);
    fake_tested(&fake, true);
    assert_int_equal(conn->state, CONN_IDLE);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_end(&fake);
}

static void test_failed_test_closes_and_opens_another_for_the_waiter(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)s;
    start(&fake);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_tested(&fake, false);
    assert_int_equal(fake.closed_for, CLOSE_TEST_FAILED);
    assert_int_equal(log.calls, 0);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_test_has_one_second(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start(&fake);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_TEST_FAILED);
    assert_string_equal(fake.event_text.text, "no answer to a test in 1000 ms");
    fake_end(&fake);
}

static void test_connection_that_dies_in_its_test_is_lost(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    pool_conn_lost(conn, NULL, fake.now_ns);
    assert_int_equal(fake.closed_for, CLOSE_LOST);
    assert_int_equal(log.calls, 0);
    fake_end(&fake);
    assert_int_equal(log.calls, 1);
}

static void test_tests_in_flight_are_no_more_than_waiters(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conns[4];

    (void)state;
    start_idle(&fake, conns, 4);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_int_equal(fake_count(&fake, CONN_TESTING), 1);
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake_count(&fake, CONN_TESTING), 2);
    assert_int_equal(fake.calls[FAKE_OPEN], 4);
    fake_tested(&fake, true);
    fake_tested(&fake, true);
    assert_int_equal(logs[0].calls + logs[1].calls, 2);
    assert_true(logs[0].turn < logs[1].turn);
    assert_int_equal(fake.calls[FAKE_TEST], 2);
    fake_end(&fake);
}

/* What comes first serves the line, and the tested one stays idle. */
static void test_release_may_serve_the_waiter_before_the_test(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[2], *held;

    (void)state;
    start_idle(&fake, conns, 2);
    held = fake_try(&fake);
    fake_pass(&fake, 2 * SECOND);
    pool_conn_byte(held, fake.now_ns);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(fake_count(&fake, CONN_TESTING), 1);
    fake_release(&fake, held, CONN_CLEAN);
    assert_ptr_equal(log.conn, held);
    fake_tested(&fake, true);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

/* A black hole costs one waiter one second, not one for each connection. */
static void test_failed_test_tests_all_other_idle_ones_at_once(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[4];

    (void)state;
    start_idle(&fake, conns, 4);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, SECOND);
    assert_int_equal(fake_count(&fake, CONN_TESTING), 3);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1); /* beside them */
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_pass(&fake, SECOND);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_TEST_FAILED], 4);
    assert_int_equal(fake_open_count(&fake), 1);
    fake_end(&fake);
}

static void test_suspects_that_pass_are_not_tested_again(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[4];

    (void)state;
    start_idle(&fake, conns, 4);
    fake_pass(&fake, 2 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, MS);
    fake_tested(&fake, false);
    fake_pass(&fake, MS);
    fake_tested(&fake, true);
    assert_int_equal(log.calls, 1);
    fake_tested(&fake, true);
    fake_tested(&fake, false);
    assert_int_equal(fake.calls[FAKE_TEST], 4);
    assert_int_equal(fake_count(&fake, CONN_TESTING), 0);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void
test_connection_held_in_silence_is_tested_before_it_goes_on(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start(&fake);

    (void)s;
    fake.settings.max_connections = 1;
    fake_set(&fake);
    assert_ptr_equal(fake_try(&fake), conn);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 2 * SECOND);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_TESTING);
    fake_tested(&fake, true);
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_fresh_connection_needs_no_test_even_when_always_asked(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake.settings.test_after_ns = 0;
    fake_start(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_settle(&fake);
    conn = fake_opened(&fake);
    assert_ptr_equal(log.conn, conn);
    fake_pass(&fake, 1);
    pool_conn_byte(conn, fake.now_ns);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_null(fake_try(&fake));
    fake_end(&fake);
}

static void test_nothing_is_tested_when_it_is_switched_off(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    fake_pass(&fake, 20 * SECOND);
    fake.settings.test_before_acquire = false;
    fake_set(&fake);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_is_tested_only_after_a_quiet_time),
        cmocka_unit_test(test_passed_test_makes_an_older_failure_forgotten),
        cmocka_unit_test(test_byte_puts_off_the_test),
        cmocka_unit_test(test_waiter_gets_the_connection_when_the_test_passed),
        cmocka_unit_test(test_test_belongs_to_the_pool_when_the_waiter_leaves),
        cmocka_unit_test(
            test_failed_test_closes_and_opens_another_for_the_waiter),
        cmocka_unit_test(test_test_has_one_second),
        cmocka_unit_test(test_connection_that_dies_in_its_test_is_lost),
        cmocka_unit_test(test_tests_in_flight_are_no_more_than_waiters),
        cmocka_unit_test(test_release_may_serve_the_waiter_before_the_test),
        cmocka_unit_test(test_failed_test_tests_all_other_idle_ones_at_once),
        cmocka_unit_test(test_suspects_that_pass_are_not_tested_again),
        cmocka_unit_test(
            test_connection_held_in_silence_is_tested_before_it_goes_on),
        cmocka_unit_test(
            test_fresh_connection_needs_no_test_even_when_always_asked),
        cmocka_unit_test(test_nothing_is_tested_when_it_is_switched_off),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
