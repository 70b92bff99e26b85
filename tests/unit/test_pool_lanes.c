/* test_pool_lanes.c - which lane takes how many statements, and what waits. */
#include "lane_yard.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"

/* ---- groups */

static void test_group_is_made_of_what_is_queued(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 7);
    assert_int_equal(yard.groups, 0);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    assert_int_equal(yard.sizes[0], 7);
    yard_close(&yard);
}

static void test_two_groups_of_group_max_are_in_flight(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 25);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 2);
    assert_int_equal(yard.sizes[0], 10);
    assert_int_equal(yard.sizes[1], 10);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 3);
    assert_int_equal(yard.sizes[2], 5);
    yard_close(&yard);
}

static void test_counts_have_the_groups_in_flight(void **state)
{
    struct yard yard;
    struct pool_counts counts;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.due, 0);
    yard_add_many(&yard, LANE_READ, 25);
    yard_pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.due, 2);
    assert_int_equal(counts.queued, 5);
    yard_close(&yard);
}

static void test_group_takes_no_longer_than_planned(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    for (int i = 0; i < 5; i++)
        assert_ok(yard_add(&yard, LANE_READ, 600 * US));
    assert_ok(yard_add(&yard, LANE_READ, 50 * MS));
    yard_pump(&yard);
    assert_int_equal(yard.sizes[0], 3);
    assert_int_equal(yard.sizes[1], 2);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.sizes[2], 1);
    yard_close(&yard);
}

static void test_late_lane_takes_no_more(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    yard.fake.now_ns += 2 * MS + 1;
    assert_true(lane_is_late(yard.on[0], yard.fake.now_ns));
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    assert_false(lane_is_late(yard.on[0], yard.fake.now_ns));
    yard_pump(&yard);
    assert_int_equal(yard.groups, 2);
    yard_close(&yard);
}

static void test_late_lane_does_not_count(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    yard.fake.now_ns += 3 * MS;
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 2);
    assert_ptr_not_equal(yard.on[0], yard.on[1]);
    yard_close(&yard);
}

static void test_pump_comes_back_when_a_lane_will_be_late(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 2);
    yard_add_many(&yard, LANE_READ, 30);
    assert_int_equal(yard_pump(&yard), yard.fake.now_ns + 2 * MS + 1);
    assert_int_equal(yard.begun[LANE_READ], 1);
    yard.fake.now_ns += 2 * MS + 1;
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 3);
    yard_close(&yard);
}

static void test_lane_that_is_held_takes_nothing(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    yard.on[0]->is_held = true;
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    assert_int_equal(yard.groups, 1);
    yard.on[0]->is_held = false;
    yard_pump(&yard);
    assert_int_equal(yard.groups, 2);
    yard_close(&yard);
}

/* ---- the queue */

static void test_item_that_leaves_is_not_sent_and_needs_no_lane(void **state)
{
    struct yard yard;
    struct conn *conn;
    struct pool_counts counts;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    conn = fake_try(&yard.fake);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.waiting, 1);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    yard_pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(pool_stats(yard.fake.pool)->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 0);
    yard_close(&yard);
}

static void test_item_is_refused_when_too_many_are_queued(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.max_waiters = 2;
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 2);
    assert_err(yard_add(&yard, LANE_READ, US), ERR_BUSY);
    assert_ok(yard_add(&yard, LANE_WRITE, US));
    yard_pump(&yard);
    assert_int_equal(yard.sizes[0], 2);
    yard_close(&yard);
}

static void test_queue_is_refused_when_no_lane_can_come(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 3);
    pool_close(yard.fake.pool, yard.fake.now_ns + SECOND, yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.refused, 3);
    assert_err(yard.refused_with, ERR_CLOSED);
    yard_close(&yard);
}

static void test_item_that_returns_is_first(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.group_max = 1;
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 4);
    yard_pump(&yard);
    lanes_return(&yard.lanes, &yard.items[0]);
    assert_ptr_equal(list_first(&yard.lanes.sets[LANE_READ].queue),
                     &yard.items[0].node);
    lanes_remove(&yard.lanes, &yard.items[0]);
    lanes_reroute(&yard.lanes, &yard.items[0]);
    assert_int_equal(yard.lanes.sets[LANE_WRITE].queue.len, 1);
    assert_int_equal(pool_stats(yard.fake.pool)->reroutes, 1);
    yard_close(&yard);
}

/* ---- costs */

static void test_cost_falls_quickly_and_rises_slowly(void **state)
{
    (void)state;
    assert_int_equal(lane_cost(0, 500, 1), 500);
    assert_int_equal(lane_cost(1000, 500, 1), 750);
    assert_int_equal(lane_cost(1000, 1800, 1), 1100);
    assert_int_equal(lane_cost(1000, 4 * MS, 1), 1000 + 251);
    assert_int_equal(lane_cost(1000, 100 * US, 64), 1000 + 99 * US / 8);
    assert_int_equal(lane_cost(1000, 1000 + 8 * SECOND, 1), 1000 + SECOND);
    assert_int_equal(lane_cost(0, 0, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_is_made_of_what_is_queued),
        cmocka_unit_test(test_two_groups_of_group_max_are_in_flight),
        cmocka_unit_test(test_counts_have_the_groups_in_flight),
        cmocka_unit_test(test_group_takes_no_longer_than_planned),
        cmocka_unit_test(test_late_lane_takes_no_more),
        cmocka_unit_test(test_late_lane_does_not_count),
        cmocka_unit_test(test_pump_comes_back_when_a_lane_will_be_late),
        cmocka_unit_test(test_lane_that_is_held_takes_nothing),
        cmocka_unit_test(test_item_that_leaves_is_not_sent_and_needs_no_lane),
        cmocka_unit_test(test_item_is_refused_when_too_many_are_queued),
        cmocka_unit_test(test_queue_is_refused_when_no_lane_can_come),
        cmocka_unit_test(test_item_that_returns_is_first),
        cmocka_unit_test(test_cost_falls_quickly_and_rises_slowly),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
