/* test_pool_lanes_come.c - who gets a lane, and when lanes go. */
#include "lane_yard.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/status.h"

/* ---- lanes come and go */

static void test_lanes_are_as_many_as_are_needed_up_to_the_setting(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.lanes = 3;
    yard_open(&yard, 5);
    yard_add_many(&yard, LANE_READ, 4); /* too few to be parted */
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 1);
    yard_add_many(&yard, LANE_READ, 100);
    for (int i = 0; i < 5; i++)
        yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 3);
    assert_int_equal(yard.groups, 6);
    assert_int_equal(fake_count(&yard.fake, CONN_SHARED), 3);
    yard_close(&yard);
}

static void test_fewer_lanes_are_left_when_the_setting_is_lowered(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.lanes = 2;
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_READ, 40);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    yard.fake.settings.lanes = 1;
    fake_set(&yard.fake);
    yard_pump(&yard);
    assert_false(yard.lane[0].is_finishing);
    assert_true(yard.lane[1].is_finishing);
    lane_group_done(&yard.lane[1], yard.fake.now_ns);
    lane_group_done(&yard.lane[1], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(fake_count(&yard.fake, CONN_SHARED), 1);
    yard_close(&yard);
}

static void test_writes_spread_over_all_connections(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 3);
    yard_add_many(&yard, LANE_WRITE, 7);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_WRITE], 3);
    assert_int_equal(yard.groups, 3);
    assert_int_equal(yard.sizes[0], 3);
    assert_int_equal(yard.sizes[1], 2);
    assert_int_equal(yard.sizes[2], 2);
    yard_close(&yard);
}

static void test_write_lane_goes_back_when_it_is_done(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_WRITE, 1);
    yard_pump(&yard);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 0);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 1);
    assert_int_equal(fake_count(&yard.fake, CONN_IDLE), 1);
    yard_close(&yard);
}

static void test_read_lane_lingers_for_a_second(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    assert_int_equal(yard_pump(&yard), yard.fake.now_ns + SECOND);
    fake_pass(&yard.fake, SECOND - 1);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 0);
    fake_pass(&yard.fake, 1);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 1);
    yard_close(&yard);
}

static void test_lane_that_is_not_ready_takes_nothing(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.is_slow = true;
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 1);
    assert_int_equal(yard.groups, 0);
    lane_ready(&yard.lane[0]);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    yard_close(&yard);
}

/* ---- with leases */

static void test_statement_waits_for_a_lane_by_its_age(void **state)
{
    struct yard yard;
    struct wait_log first = { 0 };
    struct wait_log second = { 0 };
    struct conn *conn;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    conn = fake_try(&yard.fake);
    assert_ok(fake_wait(&yard.fake, &first));
    yard_add_many(&yard, LANE_READ, 3);
    yard_pump(&yard);
    assert_ok(fake_wait(&yard.fake, &second));
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(first.calls, 1);
    assert_int_equal(yard.begun[LANE_READ], 0);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 1);
    assert_int_equal(second.calls, 0);
    yard_pump(&yard);
    assert_int_equal(yard.sizes[0], 3);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard); /* which does not linger: somebody waits */
    assert_int_equal(second.calls, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    yard_close(&yard);
}

static void test_write_lane_goes_to_a_lease_that_is_older(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_WRITE, 1);
    yard_pump(&yard);
    assert_ok(fake_wait(&yard.fake, &lease));
    yard.fake.now_ns += MS;
    yard_add_many(&yard, LANE_WRITE, 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(lease.calls, 1);
    assert_int_equal(yard.groups, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 2);
    yard_close(&yard);
}

static void test_lease_gets_a_lane_that_rests_at_once(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_null(fake_try(&yard.fake));
    assert_ok(fake_wait(&yard.fake, &lease));
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_finish(&yard.lane[0]);
    yard_pump(&yard);
    assert_int_equal(lease.calls, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    yard_close(&yard);
}

static void test_lane_that_comes_works_before_it_is_asked_back(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };
    struct conn *conn;

    (void)state;
    yard_init(&yard);
    yard.is_slow = true;
    yard_open(&yard, 1);
    conn = fake_try(&yard.fake);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    assert_ok(fake_wait(&yard.fake, &lease));
    yard.fake.now_ns += SECOND;
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 1);
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 0);
    lane_ready(&yard.lane[0]);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    lane_finish(&yard.lane[0]);
    yard_pump(&yard);
    assert_int_equal(lease.calls, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    yard_close(&yard);
}

/* A kind that has no lane gets one of the other, however busy that is. */
static void check_first_lane(enum lane_kind busy, enum lane_kind other)
{
    struct yard yard;

    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, busy, 40);
    yard_pump(&yard);
    yard_add_many(&yard, other, 1);
    yard_pump(&yard);
    fake_pass(&yard.fake, 50 * MS - 1);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 0);
    fake_pass(&yard.fake, 1);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_finish(yard.on[0]);
    while (yard.on[0]->groups > 0)
        lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.begun[other], 1);
    yard_close(&yard);
}

static void test_write_gets_a_lane_of_reads_that_never_end(void **state)
{
    (void)state;
    check_first_lane(LANE_READ, LANE_WRITE);
}

static void test_read_gets_a_lane_of_writes_that_never_end(void **state)
{
    (void)state;
    check_first_lane(LANE_WRITE, LANE_READ);
}

/* Its only lane is asked for while it waits for one more. */
static void test_wait_for_one_more_becomes_that_for_the_first(void **state)
{
    struct yard yard;
    struct conn *conn;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.lanes = 2;
    yard_open(&yard, 2);
    conn = fake_try(&yard.fake);
    yard_add_many(&yard, LANE_READ, 40);
    yard_pump(&yard);
    assert_true(yard.lanes.sets[LANE_READ].is_coming);
    assert_false(yard.lanes.sets[LANE_READ].waiter.is_first);
    lane_finish(&yard.lane[0]);
    yard_pump(&yard);
    assert_true(yard.lanes.sets[LANE_READ].waiter.is_first);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    yard_close(&yard);
}

/* Late lanes do not count, so their kind always waits for more. */
static void test_lease_behind_the_wait_for_one_more_gets_a_lane(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_WRITE, 40);
    yard_pump(&yard);
    yard.fake.now_ns += 3 * MS;
    yard_add_many(&yard, LANE_WRITE, 1);
    yard_pump(&yard);
    assert_true(yard.lanes.sets[LANE_WRITE].is_coming);
    assert_ok(fake_wait(&yard.fake, &lease));
    fake_pass(&yard.fake, 50 * MS);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    assert_int_equal(lease.calls, 0);
    pool_wait_cancel(yard.fake.pool, &lease.waiter, yard.fake.now_ns);
    yard_close(&yard);
}

static void test_lane_that_finishes_is_replaced_under_load(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_READ, 30);
    yard_pump(&yard);
    lane_finish(yard.on[0]);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 3);
    yard_close(&yard);
}

static void test_nothing_is_sent_while_the_pool_is_paused(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    pool_pause(yard.fake.pool, yard.fake.now_ns);
    yard_add_many(&yard, LANE_READ, 1);
    assert_true(yard_pump(&yard) > yard.fake.now_ns);
    assert_int_equal(yard.groups, 0);
    pool_resume(yard.fake.pool, yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    yard_close(&yard);
}

/* ---- when they run again */

/* It was on a lane, so it is not shed; all the time it is over the target. */
static void test_statement_that_is_kept_lets_the_lanes_rest(void **state)
{
    struct conn *conn;
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.codel_target_ns = 5 * MS;
    yard.fake.settings.codel_interval_ns = 20 * MS;
    yard_open(&yard, 1);
    assert_ok(yard_add(&yard, LANE_READ, US));
    yard_pump(&yard);
    lane_leave(yard.on[0]);
    conn = yard.lane[0].conn;
    lanes_return(&yard.lanes, &yard.items[0]);
    for (int i = 0; i < 10; i++) {
        yard.fake.now_ns += 10 * MS;
        assert_true(yard_pump(&yard) > yard.fake.now_ns);
    }
    assert_int_equal(yard.refused, 0);
    pool_release(yard.fake.pool, conn, yard.fake.now_ns);
    yard_close(&yard);
}

/* No connect is possible, so there is nothing to tell of lanes that are behind;
 * the next tick refuses all. */
static void test_statement_that_waits_for_long_lets_the_lanes_rest(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    fake_release(&yard.fake, fake_try(&yard.fake), CONN_BROKEN);
    assert_ok(yard_add(&yard, LANE_READ, US));
    yard.fake.now_ns += 2 * SECOND;
    yard.fake.has_no_memory = true;
    assert_true(lanes_pump(&yard.lanes, yard.fake.now_ns) > yard.fake.now_ns);
    assert_true(pool_is_down(yard.fake.pool));
    assert_int_equal(yard.refused, 0);
    fake_settle(&yard.fake);
    assert_int_equal(yard.refused, 1);
    yard.fake.has_no_memory = false;
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statement_that_is_kept_lets_the_lanes_rest),
        cmocka_unit_test(
            test_statement_that_waits_for_long_lets_the_lanes_rest),
        cmocka_unit_test(
            test_lanes_are_as_many_as_are_needed_up_to_the_setting),
        cmocka_unit_test(test_fewer_lanes_are_left_when_the_setting_is_lowered),
        cmocka_unit_test(test_writes_spread_over_all_connections),
        cmocka_unit_test(test_write_lane_goes_back_when_it_is_done),
        cmocka_unit_test(test_read_lane_lingers_for_a_second),
        cmocka_unit_test(test_lane_that_is_not_ready_takes_nothing),
        cmocka_unit_test(test_statement_waits_for_a_lane_by_its_age),
        cmocka_unit_test(test_write_lane_goes_to_a_lease_that_is_older),
        cmocka_unit_test(test_lease_gets_a_lane_that_rests_at_once),
        cmocka_unit_test(test_lane_that_comes_works_before_it_is_asked_back),
        cmocka_unit_test(test_write_gets_a_lane_of_reads_that_never_end),
        cmocka_unit_test(test_read_gets_a_lane_of_writes_that_never_end),
        cmocka_unit_test(test_wait_for_one_more_becomes_that_for_the_first),
        cmocka_unit_test(test_lease_behind_the_wait_for_one_more_gets_a_lane),
        cmocka_unit_test(test_lane_that_finishes_is_replaced_under_load),
        cmocka_unit_test(test_nothing_is_sent_while_the_pool_is_paused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
