/* test_pool_lease.c - lending a connection and what becomes of it after. */
#include "fake_driver.h"
#include "pool/check.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/lease.h"
#include "pool/stats.h"
#include "pool/why.h"

static void test_try_acquire_lends_an_idle_connection_at_once(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    conn = fake_start_open(&fake);

    assert_ptr_equal(fake_try(&fake), conn);
    assert_int_equal(fake_count(&fake, CONN_LEASED), 1);
    assert_int_equal(pool_stats(fake.pool)->acquires, 1);
    assert_null(fake_try(&fake));
    fake_end(&fake);
}

static void test_connection_returned_last_is_lent_first(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    fake_release(&fake, conns[1], CONN_CLEAN);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_release(&fake, conns[2], CONN_CLEAN);

    assert_ptr_equal(fake_try(&fake), conns[2]);
    assert_ptr_equal(fake_try(&fake), conns[0]);
    assert_ptr_equal(fake_try(&fake), conns[1]);
    fake_end(&fake);
}

static void test_clean_connection_goes_to_the_head_of_the_line(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));

    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(log.calls, 1);
    assert_err(log.err, ERR_OK);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(conn->state, CONN_LEASED);
    assert_int_equal(fake.calls[FAKE_RESET] + fake.calls[FAKE_CLOSE], 0);
    fake_end(&fake);
}

static void test_dirty_connection_is_reset_before_the_next_gets_it(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));

    fake_release(&fake, conn, CONN_DIRTY);
    assert_int_equal(log.calls, 0);
    assert_int_equal(fake_count(&fake, CONN_RESETTING), 1);
    fake_reset(&fake, true);
    assert_int_equal(log.calls, 1);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(fake.calls[FAKE_RESET], 1);
    assert_int_equal(pool_stats(fake.pool)->resets, 1);
    fake_end(&fake);
}

static void test_connection_that_cannot_be_reset_is_closed(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_DIRTY);
    fake_reset(&fake, false);

    assert_int_equal(fake.closed_for, CLOSE_RESET_FAILED);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

static void test_reset_has_one_second(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_DIRTY);

    fake_pass(&fake, SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_RESET_FAILED);
    assert_string_equal(fake.event_text.text,
                        "not clean 1000 ms after a reset began");
    fake_end(&fake);
}

/* Gives one back busy; the wire says wire when the cancel was answered. */
static struct conn *cancel_one(struct fake *fake, enum conn_wire wire)
{
    struct conn *conn;

    fake_init(fake);
    fake_lend(fake, &conn, 1);
    fake_release(fake, conn, CONN_BUSY);
    assert_int_equal(fake_count(fake, CONN_CANCELLING), 1);
    assert_int_equal(fake->calls[FAKE_CANCEL], 1);
    fake_cancelled(fake, true, wire);
    return conn;
}

static void test_cancelled_connection_that_is_clean_is_lent_again(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    conn = cancel_one(&fake, CONN_CLEAN);
    assert_ptr_equal(fake_try(&fake), conn);
    assert_int_equal(pool_stats(fake.pool)->cancels, 1);
    fake_end(&fake);
}

static void test_cancelled_connection_that_is_dirty_is_reset(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    conn = cancel_one(&fake, CONN_DIRTY);
    assert_int_equal(conn->state, CONN_RESETTING);
    fake_reset(&fake, true);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_end(&fake);
}

static void test_cancelled_connection_that_is_busy_still_is_closed(void **state)
{
    struct fake fake;

    (void)state;
    cancel_one(&fake, CONN_BUSY);
    assert_int_equal(fake.closed_for, CLOSE_CANCEL_FAILED);
    assert_int_equal(fake.calls[FAKE_CANCEL], 1);
    fake_end(&fake);
}

static void test_cancelled_connection_that_is_broken_is_closed(void **state)
{
    struct fake fake;

    (void)state;
    cancel_one(&fake, CONN_BROKEN);
    assert_int_equal(fake.closed_for, CLOSE_LOST);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

static void test_connection_that_is_not_drained_is_closed(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_BUSY);
    fake_cancelled(&fake, false, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_CANCEL_FAILED);
    fake_end(&fake);
}

static void test_cancel_has_five_seconds(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_BUSY);

    fake_pass(&fake, 5 * SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_CANCEL_FAILED);
    fake_end(&fake);
}

static void test_broken_connection_is_closed_as_lost(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_BROKEN);
    assert_int_equal(fake.closed_for, CLOSE_LOST);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_LOST], 1);
    fake_end(&fake);
}

static void test_discard_closes_whatever_the_wire_says(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    pool_discard(fake.pool, conn, CLOSE_STALLED, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.closed_for, CLOSE_STALLED);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_STALLED], 1);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

/* A cancelled or broken connection must not let a new one in beside it. */
static void test_connection_counts_until_the_driver_has_closed_it(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake.is_close_slow = true;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_BROKEN);

    fake_pass(&fake, 29 * SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_int_equal(fake_count(&fake, CONN_CLOSING), 1);
    fake_closed(&fake);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_handle_is_good_for_its_own_lease_only(void **state)
{
    struct fake fake;
    struct conn *conn;
    uint64_t first;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    first = conn->generation;
    assert_true(conn_is_lent(conn, first));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_false(conn_is_lent(conn, first));
    assert_ptr_equal(fake_try(&fake), conn);
    assert_false(conn_is_lent(conn, first));
    assert_true(conn_is_lent(conn, conn->generation));
    fake_end(&fake);
}

static void test_holder_is_told_when_the_lease_ends(void **state)
{
    struct fake fake;
    struct conn *conn, *held;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    held = conn;
    conn_set_holder(conn, &held, "app.lua:3");
    fake_release(&fake, conn, CONN_CLEAN);
    assert_null(held);

    held = fake_try(&fake);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(held, conn); /* the second lease has no holder */
    fake_end(&fake);
}

static void test_idle_connection_that_dies_is_closed(void **state)
{
    struct fake fake;
    struct err_text text = { .text = "reset by peer" };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    conn = fake_start_open(&fake);
    pool_conn_lost(conn, &text, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.closed_for, CLOSE_LOST);
    assert_string_equal(fake.event_text.text, "reset by peer");
    assert_null(fake_try(&fake));
    fake_end(&fake);
}

static void test_lent_connection_that_dies_waits_for_its_holder(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    pool_conn_lost(conn, NULL, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_release(&fake, conn, CONN_BROKEN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_end(&fake);
}

static void test_answers_after_close_change_nothing(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.is_close_slow = true;
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_BROKEN);
    pool_conn_opened(conn, fake.now_ns);
    pool_conn_failed(conn, NULL, fake.now_ns);
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    pool_conn_tested(conn, true, fake.now_ns);
    pool_conn_reset(conn, true, fake.now_ns);
    pool_conn_cancelled(conn, true, fake.now_ns);
    pool_conn_lost(conn, NULL, fake.now_ns);
    pool_release(fake.pool, conn, fake.now_ns);
    pool_discard(fake.pool, conn, CLOSE_STALLED, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(conn->state, CONN_CLOSING);
    assert_int_equal(conn->reason, CLOSE_LOST);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_end(&fake);
}

static void test_lease_that_cannot_be_made_clean_is_closed(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_release(&fake, conn, CONN_SPENT);
    assert_int_equal(fake.closed_for, CLOSE_SPENT);
    assert_int_equal(fake.calls[FAKE_RESET], 0);
    fake_end(&fake);
}

static void test_leak_is_warned_of_once_at_its_threshold(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);

    fake_pass(&fake, 30 * SECOND - 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    assert_string_equal(fake.event.site, "try.lua:1");
    assert_int_equal(fake.event.duration_ns, 30 * SECOND);
    fake_pass(&fake, 100 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    assert_int_equal(pool_stats(fake.pool)->leaks, 1);
    fake_end(&fake);
}

static void test_each_lease_may_leak_anew(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    fake_pass(&fake, 30 * SECOND);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 100 * SECOND);
    assert_int_equal(pool_stats(fake.pool)->leaks, 1);
    fake_try(&fake);
    fake_pass(&fake, 30 * SECOND);
    assert_int_equal(pool_stats(fake.pool)->leaks, 2);
    fake_end(&fake);
}

static void test_standing_lease_is_no_leak_and_nobody_waits_for_it(void **state)
{
    struct pool_why why;
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    conn_set_standing(conns[0]);
    fake_pass(&fake, 100 * SECOND);
    assert_int_equal(pool_stats(fake.pool)->leaks, 1);
    conns[0]->site = "hub.lua:1";
    conns[1]->site = "try.lua:2";
    pool_explain(fake.pool, NULL, ERR_TIMEOUT, fake.now_ns, &why);
    assert_string_equal(why.holder_site, "try.lua:2");
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_false(conns[0]->is_standing);
    fake_end(&fake);
}

static void test_leak_threshold_of_zero_never_warns(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.leak_threshold_ns = 0;
    fake_lend(&fake, &conn, 1);
    fake_pass(&fake, 10000 * SECOND);
    assert_int_equal(pool_stats(fake.pool)->leaks, 0);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try_acquire_lends_an_idle_connection_at_once),
        cmocka_unit_test(test_connection_returned_last_is_lent_first),
        cmocka_unit_test(test_clean_connection_goes_to_the_head_of_the_line),
        cmocka_unit_test(
            test_dirty_connection_is_reset_before_the_next_gets_it),
        cmocka_unit_test(test_connection_that_cannot_be_reset_is_closed),
        cmocka_unit_test(test_reset_has_one_second),
        cmocka_unit_test(test_cancelled_connection_that_is_clean_is_lent_again),
        cmocka_unit_test(test_cancelled_connection_that_is_dirty_is_reset),
        cmocka_unit_test(
            test_cancelled_connection_that_is_busy_still_is_closed),
        cmocka_unit_test(test_cancelled_connection_that_is_broken_is_closed),
        cmocka_unit_test(test_connection_that_is_not_drained_is_closed),
        cmocka_unit_test(test_cancel_has_five_seconds),
        cmocka_unit_test(test_broken_connection_is_closed_as_lost),
        cmocka_unit_test(test_discard_closes_whatever_the_wire_says),
        cmocka_unit_test(test_connection_counts_until_the_driver_has_closed_it),
        cmocka_unit_test(test_handle_is_good_for_its_own_lease_only),
        cmocka_unit_test(test_holder_is_told_when_the_lease_ends),
        cmocka_unit_test(test_idle_connection_that_dies_is_closed),
        cmocka_unit_test(test_lent_connection_that_dies_waits_for_its_holder),
        cmocka_unit_test(test_answers_after_close_change_nothing),
        cmocka_unit_test(test_lease_that_cannot_be_made_clean_is_closed),
        cmocka_unit_test(test_leak_is_warned_of_once_at_its_threshold),
        cmocka_unit_test(test_each_lease_may_leak_anew),
        cmocka_unit_test(
            test_standing_lease_is_no_leak_and_nobody_waits_for_it),
        cmocka_unit_test(test_leak_threshold_of_zero_never_warns),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
