/* test_pool_lanes_rest.c - read lanes that rest: who may have them meanwhile.
 */
#include "lane_yard.h"
#include "pool/lane.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/stats.h"

/* As many lanes as connections, each of which has had a group and rests. */
static void open_resting(struct yard *yard, unsigned count)
{
    yard_init(yard);
    yard->fake.settings.lanes = count;
    yard_open(yard, count);
    yard_add_many(yard, LANE_READ, 20 * count);
    yard_pump(yard);
    for (unsigned i = 0; i < count; i++)
        while (yard->lane[i].groups > 0)
            lane_group_done(&yard->lane[i], yard->fake.now_ns);
    yard_pump(yard);
    assert_int_equal(yard->begun[LANE_READ], count);
    assert_int_equal(fake_count(&yard->fake, CONN_SHARED), count);
}

static void test_next_read_goes_at_once_and_the_rest_begins_anew(void **state)
{
    struct yard yard;
    unsigned before;

    (void)state;
    open_resting(&yard, 1);
    before = yard.groups;
    fake_pass(&yard.fake, SECOND / 2);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    assert_int_equal(yard.groups, before + 1);
    lane_group_done(yard.on[before], yard.fake.now_ns);
    assert_int_equal(yard_pump(&yard), yard.fake.now_ns + SECOND);
    assert_int_equal(yard.begun[LANE_READ], 1);
    yard_close(&yard);
}

static void test_write_does_not_wait_for_the_end_of_a_rest(void **state)
{
    struct yard yard;

    (void)state;
    open_resting(&yard, 1);
    yard_add_many(&yard, LANE_WRITE, 1);
    yard_pump(&yard);
    fake_settle(&yard.fake);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 1);
    assert_int_equal(yard.begun[LANE_WRITE], 1);
    yard_close(&yard);
}

static void test_youngest_goes_at_once_when_the_setting_is_lowered(void **state)
{
    struct yard yard;

    (void)state;
    open_resting(&yard, 3);
    yard.fake.settings.lanes = 2;
    fake_set(&yard.fake);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 1);
    assert_null(yard.lane[2].lanes);
    assert_int_equal(fake_count(&yard.fake, CONN_IDLE), 1);
    yard_close(&yard);
}

static void test_lane_that_is_asked_back_goes_at_once(void **state)
{
    struct yard yard;

    (void)state;
    open_resting(&yard, 1);
    pool_drain(yard.fake.pool, yard.fake.now_ns);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_finish(&yard.lane[0]);
    yard_pump(&yard);
    assert_int_equal(yard.ended, 1);
    assert_int_equal(pool_stats(yard.fake.pool)->closes[CLOSE_DRAINED], 1);
    yard_close(&yard);
}

static void test_lane_that_is_lost_is_replaced_when_it_is_needed(void **state)
{
    struct yard yard;
    struct conn *conn;

    (void)state;
    open_resting(&yard, 1);
    conn = yard.lane[0].conn;
    lane_leave(&yard.lane[0]);
    pool_discard(yard.fake.pool, conn, CLOSE_LOST, yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 1);
    yard_add_many(&yard, LANE_READ, 1);
    yard_pump(&yard);
    fake_opened(&yard.fake);
    yard_pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 3);
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_read_goes_at_once_and_the_rest_begins_anew),
        cmocka_unit_test(test_write_does_not_wait_for_the_end_of_a_rest),
        cmocka_unit_test(
            test_youngest_goes_at_once_when_the_setting_is_lowered),
        cmocka_unit_test(test_lane_that_is_asked_back_goes_at_once),
        cmocka_unit_test(test_lane_that_is_lost_is_replaced_when_it_is_needed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
