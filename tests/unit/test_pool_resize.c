/* test_pool_resize.c - changing the settings of a pool that runs. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/pool.h"
#include "pool/stats.h"

static void test_raising_max_serves_those_who_wait(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    fake.settings.max_connections = 3;
    fake_set(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 2);
    fake_opened(&fake);
    fake_opened(&fake);
    assert_int_equal(logs[0].calls + logs[1].calls, 2);
    fake_end(&fake);
}

static void test_raising_min_opens_at_once(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    fake.settings.min_connections = 2;
    fake_set(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_end(&fake);
}

static void test_lowering_max_closes_the_idle_at_once_others_on_return(void **s)
{
    struct fake fake;
    struct conn *conns[5];

    (void)s;
    fake_init(&fake);
    fake.settings.max_connections = 5;
    fake_lend(&fake, conns, 5);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_release(&fake, conns[1], CONN_CLEAN);
    fake.settings.max_connections = 2;
    fake_set(&fake);
    assert_int_equal(fake.calls[FAKE_CLOSE], 2);
    assert_int_equal(fake.closed_for, CLOSE_SHRUNK);
    fake_release(&fake, conns[2], CONN_CLEAN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 3);
    fake_release(&fake, conns[3], CONN_CLEAN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 3);
    assert_int_equal(fake_open_count(&fake), 2);
    fake_end(&fake);
}

static void test_lowering_max_closes_the_idle_for_longest_first(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    fake_release(&fake, conns[2], CONN_CLEAN);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_release(&fake, conns[1], CONN_CLEAN);
    fake.settings.max_connections = 2;
    fake_set(&fake);
    assert_ptr_equal(fake_try(&fake), conns[1]);
    assert_ptr_equal(fake_try(&fake), conns[0]);
    fake_end(&fake);
}

static void test_lowering_max_ends_attempts_that_are_too_many(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    fake.settings.max_connections = 1;
    fake_set(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 0);
    assert_int_equal(fake_open_count(&fake), 1);
    assert_int_equal(pool_stats(fake.pool)->connect_failures, 0);
    assert_int_equal(logs[0].calls + logs[1].calls, 0);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(logs[0].calls, 1);
    fake_end(&fake);
}

static void test_dirty_connection_that_is_too_many_is_not_reset(void **state)
{
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    fake.settings.max_connections = 1;
    fake_set(&fake);
    fake_release(&fake, conns[0], CONN_DIRTY);
    assert_int_equal(fake.closed_for, CLOSE_SHRUNK);
    assert_int_equal(fake.calls[FAKE_RESET], 0);
    fake_end(&fake);
}

/* The server must not go on working for a connection that is closed. */
static void test_busy_connection_that_is_too_many_is_cancelled_first(void **s)
{
    struct fake fake;
    struct conn *conns[2];

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    fake.settings.max_connections = 1;
    fake_set(&fake);
    fake_release(&fake, conns[0], CONN_BUSY);
    assert_int_equal(fake.calls[FAKE_CANCEL], 1);
    fake_cancelled(&fake, true, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_SHRUNK);
    fake_end(&fake);
}

static void test_new_idle_timeout_applies_to_what_is_idle(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    fake_pass(&fake, 10 * SECOND);
    fake.settings.idle_timeout_ns = 11 * SECOND;
    fake_set(&fake);
    fake_pass(&fake, SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_end(&fake);
}

static void test_idle_timeout_that_has_passed_closes_at_once(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    fake_pass(&fake, 10 * SECOND);
    fake.settings.idle_timeout_ns = 10 * SECOND;
    fake_set(&fake);
    assert_int_equal(fake.closed_for, CLOSE_IDLE_TIMEOUT);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

static void test_new_lifetime_applies_to_what_is_open(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    fake_pass(&fake, 10 * SECOND);
    fake.settings.max_lifetime_ns = 20 * SECOND;
    fake_set(&fake);
    fake_pass(&fake, 8 * SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 2 * SECOND + 1000);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    fake_end(&fake);
}

static void test_new_leak_threshold_applies_to_what_is_lent(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_pass(&fake, 10 * SECOND);
    fake.settings.leak_threshold_ns = 12 * SECOND;
    fake_set(&fake);
    fake_pass(&fake, 2 * SECOND - 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    fake_set(&fake);
    fake_pass(&fake, 100 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    fake_end(&fake);
}

static void test_deadlines_of_those_in_line_stay(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake.settings.acquire_timeout_ns = SECOND;
    fake_set(&fake);
    fake_pass(&fake, 30 * SECOND - 1000);
    assert_int_equal(log.calls, 0);
    fake_pass(&fake, 1000);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_settings_out_of_range_change_nothing(void **state)
{
    struct fake fake;
    struct err_text why = { 0 };
    struct pool_settings settings;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    settings = fake.settings;
    settings.min_connections = 4;
    assert_err(pool_set(fake.pool, &settings, fake.now_ns, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "min_connections"));
    assert_int_equal(pool_settings(fake.pool)->min_connections, 0);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raising_max_serves_those_who_wait),
        cmocka_unit_test(test_raising_min_opens_at_once),
        cmocka_unit_test(
            test_lowering_max_closes_the_idle_at_once_others_on_return),
        cmocka_unit_test(test_lowering_max_closes_the_idle_for_longest_first),
        cmocka_unit_test(test_lowering_max_ends_attempts_that_are_too_many),
        cmocka_unit_test(test_dirty_connection_that_is_too_many_is_not_reset),
        cmocka_unit_test(
            test_busy_connection_that_is_too_many_is_cancelled_first),
        cmocka_unit_test(test_new_idle_timeout_applies_to_what_is_idle),
        cmocka_unit_test(test_idle_timeout_that_has_passed_closes_at_once),
        cmocka_unit_test(test_new_lifetime_applies_to_what_is_open),
        cmocka_unit_test(test_new_leak_threshold_applies_to_what_is_lent),
        cmocka_unit_test(test_deadlines_of_those_in_line_stay),
        cmocka_unit_test(test_settings_out_of_range_change_nothing),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
