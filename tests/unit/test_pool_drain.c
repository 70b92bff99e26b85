/* test_pool_drain.c - new epochs, and pauses while a server is changed. */
#include "fake_driver.h"
#include "pool/check.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"

static void test_drain_closes_the_idle_at_once_and_the_lent_on_return(void **s)
{
    struct fake fake;
    struct conn *conns[3];

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    fake_release(&fake, conns[0], CONN_CLEAN);
    pool_drain(fake.pool, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_DRAINED);
    fake_release(&fake, conns[1], CONN_CLEAN);
    fake_release(&fake, conns[2], CONN_DIRTY);
    assert_int_equal(fake.calls[FAKE_RESET], 0);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_DRAINED], 3);
    fake_end(&fake);
}

static void test_drain_begins_attempts_anew(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_settle(&fake);
    pool_drain(fake.pool, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(pool_stats(fake.pool)->connect_failures, 0);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_drain_refills_min_connections(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 1;
    conn = fake_start_open(&fake);
    assert_int_equal(conn->epoch, 0);
    pool_drain(fake.pool, fake.now_ns);
    conn = fake_opened(&fake);
    assert_int_equal(conn->epoch, 1);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_IDLE);
    fake_end(&fake);
}

/* In each of these states nobody uses it. */
static void test_drain_closes_what_is_tested_or_reset(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake_lend(&fake, conns, 2);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_pass(&fake, 10 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conns[1], CONN_DIRTY);
    assert_int_equal(fake_count(&fake, CONN_TESTING), 1);
    assert_int_equal(fake_count(&fake, CONN_RESETTING), 1);
    pool_drain(fake.pool, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.calls[FAKE_CLOSE], 2);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_drain_lets_a_cancel_end_before_it_closes(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_BUSY);
    pool_drain(fake.pool, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_cancelled(&fake, true, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_DRAINED);
    fake_end(&fake);
}

/* ---- pause */

static void test_paused_pool_hands_out_nothing_until_it_is_resumed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    conn = fake_start_open(&fake);
    pool_pause(fake.pool, fake.now_ns);
    assert_true(pool_is_paused(fake.pool));
    assert_null(fake_try(&fake));
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, SECOND);
    assert_int_equal(log.calls, 0);
    pool_resume(fake.pool, fake.now_ns);
    assert_false(pool_is_paused(fake.pool));
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_deadlines_run_while_the_pool_is_paused(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    pool_pause(fake.pool, fake.now_ns);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 30 * SECOND - 1000);
    assert_int_equal(log.calls, 0);
    fake_pass(&fake, 1000);
    assert_err(log.err, ERR_TIMEOUT);
    fake_end(&fake);
}

static void test_paused_pool_begins_no_attempt_and_no_test(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake_start_open(&fake);
    pool_pause(fake.pool, fake.now_ns);
    fake_pass(&fake, 10 * SECOND);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_int_equal(fake.calls[FAKE_TEST], 0);
    pool_resume(fake.pool, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(fake.calls[FAKE_TEST], 1);
    fake_end(&fake);
}

static void outdate(struct fake *fake, struct conn *conn)
{
    struct err_text text = { .text = "terminating connection",
                             .sqlstate = "57P01" };

    pool_outdate(conn, &text, fake->now_ns);
    pool_check(fake->pool);
}

static void test_outdated_connections_are_not_lent_again(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    fake_release(&fake, conns[0], CONN_CLEAN);
    outdate(&fake, conns[1]);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0); /* not from inside */
    assert_null(fake_try(&fake));
    assert_true(fake.due_ns <= fake.now_ns);
    fake_settle(&fake);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_OUTDATED);
    fake_release(&fake, conns[1], CONN_CLEAN);
    fake_release(&fake, conns[2], CONN_DIRTY);
    assert_int_equal(fake.calls[FAKE_RESET], 0);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_OUTDATED], 3);
    assert_int_equal(pool_stats(fake.pool)->outdated, 1);
    assert_int_equal(fake.events[POOL_EVENT_OUTDATED], 1);
    fake_end(&fake);
}

static void test_a_server_is_outdated_once_for_all_that_say_so(void **state)
{
    struct fake fake;
    struct conn *conns[3];
    struct conn *later;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    outdate(&fake, conns[0]);
    outdate(&fake, conns[1]);
    fake_settle(&fake);
    fake_release(&fake, conns[0], CONN_BROKEN);
    fake_release(&fake, conns[1], CONN_BROKEN);
    fake_pass(&fake, SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_settle(&fake);
    later = fake_opened(&fake);
    outdate(&fake, later); /* a server that stays as it is */
    assert_int_equal(pool_stats(fake.pool)->outdated, 1);
    fake_pass(&fake, 5 * SECOND);
    outdate(&fake, later);
    assert_int_equal(pool_stats(fake.pool)->outdated, 2);
    fake_release(&fake, later, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_OUTDATED);
    fake_end(&fake);
}

static void test_who_waits_gets_a_new_connection_of_an_outdated_pool(void **s)
{
    struct fake fake;
    struct conn *conns[3];
    struct wait_log log = { 0 };

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    assert_ok(fake_wait(&fake, &log));
    outdate(&fake, conns[0]);
    fake_settle(&fake);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_int_equal(log.calls, 0);
    assert_int_equal(fake_opened(&fake)->epoch, 1);
    assert_int_equal(log.calls, 1);
    assert_int_equal(log.err, ERR_OK);
    fake_end(&fake);
}

/* A server is restarted: pause, drain, restart, resume, and nobody noticed. */
static void test_pause_hides_a_restart_from_those_who_wait(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    fake_tick(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    pool_pause(fake.pool, fake.now_ns);
    fake_failed(&fake, "refused");
    assert_int_equal(logs[0].calls, 0);
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, 10 * SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    pool_resume(fake.pool, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.calls[FAKE_OPEN], 3); /* both at once: no back-off */
    fake_opened(&fake);
    fake_opened(&fake);
    assert_err(logs[0].err, ERR_OK);
    assert_err(logs[1].err, ERR_OK);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_drain_closes_the_idle_at_once_and_the_lent_on_return),
        cmocka_unit_test(test_outdated_connections_are_not_lent_again),
        cmocka_unit_test(test_a_server_is_outdated_once_for_all_that_say_so),
        cmocka_unit_test(
            test_who_waits_gets_a_new_connection_of_an_outdated_pool),
        cmocka_unit_test(test_drain_begins_attempts_anew),
        cmocka_unit_test(test_drain_refills_min_connections),
        cmocka_unit_test(test_drain_closes_what_is_tested_or_reset),
        cmocka_unit_test(test_drain_lets_a_cancel_end_before_it_closes),
        cmocka_unit_test(
            test_paused_pool_hands_out_nothing_until_it_is_resumed),
        cmocka_unit_test(test_deadlines_run_while_the_pool_is_paused),
        cmocka_unit_test(test_paused_pool_begins_no_attempt_and_no_test),
        cmocka_unit_test(test_pause_hides_a_restart_from_those_who_wait),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
