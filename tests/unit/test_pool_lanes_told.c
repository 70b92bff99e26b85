/* test_pool_lanes_told.c - what the pool tells of statements on lanes. */
#include "lane_yard.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"
#include "pool/stats.h"

/* ---- the flight recorder */

/* The next note of a statement, or NULL. */
static const struct flight_note *next_shared(const struct yard *yard,
                                             struct flight_walk *walk)
{
    const struct flight_note *note;

    do
        note = flight_next(yard->fake.flight, walk);
    while (note != NULL && !note->is_shared);
    return note;
}

/* 3 on one lane: sent after 1 ms, answered after 2, 4 and 4 more. */
static void test_own_time_of_each_is_noted(void **state)
{
    static const uint32_t own_us[] = { 2000, 4000, 0 };
    static const uint32_t wait_us[] = { 1000, 3000, 7000 };
    struct yard yard;
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    unsigned count = 0;

    (void)state;
    yard_init(&yard);
    yard.fake.flight = flight_new();
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 3);
    yard.fake.now_ns += MS;
    yard_pump(&yard);
    yard.fake.now_ns += 2 * MS;
    lane_answered(yard.on[0], &yard.items[0], yard.fake.now_ns);
    yard.fake.now_ns += 4 * MS;
    lane_answered(yard.on[0], &yard.items[1], yard.fake.now_ns);
    lane_answered(yard.on[0], &yard.items[2], yard.fake.now_ns);
    while ((note = next_shared(&yard, &walk)) != NULL) {
        assert_int_equal(note->what, DEMAND_SERVED);
        assert_int_equal(note->wait_us, wait_us[count]);
        assert_int_equal(note->service_us, own_us[count++]);
    }
    assert_int_equal(count, 3);
    yard_close(&yard);
    flight_free(yard.fake.flight);
}

static void test_statements_that_leave_are_noted(void **state)
{
    static const enum demand_end ends[] = { DEMAND_TIMEOUT, DEMAND_CANCELLED,
                                            DEMAND_CANCELLED };
    struct yard yard;
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    unsigned count = 0;

    (void)state;
    yard_init(&yard);
    yard.fake.flight = flight_new();
    yard_open(&yard, 1);
    yard_add_many(&yard, LANE_READ, 3);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    lanes_cancel(&yard.lanes, &yard.items[1], yard.fake.now_ns);
    yard_pump(&yard);
    lane_forgot(yard.on[0], &yard.items[2], DEMAND_CANCELLED,
                yard.fake.now_ns + MS);
    while ((note = next_shared(&yard, &walk)) != NULL)
        assert_int_equal(note->what, ends[count++]);
    assert_int_equal(count, 3);
    yard_close(&yard);
    flight_free(yard.fake.flight);
}

/* ---- counting */

/* Of a lane that does not come each statement that waited for it is one, and
 * what the lane itself waited for is none. */
static void test_each_statement_that_fails_is_counted_once(void **state)
{
    const struct pool_stats *stats;
    struct conn *conn;
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    stats = pool_stats(yard.fake.pool);
    conn = fake_try(&yard.fake);
    yard_add_many(&yard, LANE_READ, 5);
    yard_pump(&yard);
    lanes_cancel(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    lanes_expire(&yard.lanes, &yard.items[1], yard.fake.now_ns);
    pool_close(yard.fake.pool, yard.fake.now_ns + SECOND, yard.fake.now_ns);
    assert_int_equal(yard.refused, 3);
    assert_int_equal(stats->closed, 3);
    assert_int_equal(stats->cancelled, 1);
    assert_int_equal(stats->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    yard_close(&yard);
}

static void test_wait_for_a_lane_that_nobody_needs_is_not_counted(void **state)
{
    struct conn *conn;
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard_open(&yard, 1);
    conn = fake_try(&yard.fake);
    assert_ok(yard_add(&yard, LANE_READ, US));
    yard_pump(&yard);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    yard_pump(&yard);
    assert_int_equal(pool_stats(yard.fake.pool)->cancelled, 0);
    assert_int_equal(pool_stats(yard.fake.pool)->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    yard_close(&yard);
}

/* ---- the alarm */

/* Lets time pass, in which the lanes run when they asked for it. */
static void pass(struct yard *yard, uint64_t ns)
{
    uint64_t end_ns = yard->fake.now_ns + ns;

    for (;;) {
        uint64_t due_ns = yard_pump(yard);

        if (due_ns > end_ns)
            break;
        fake_pass(&yard->fake,
                  due_ns > yard->fake.now_ns ? due_ns - yard->fake.now_ns : 1);
    }
    if (end_ns > yard->fake.now_ns)
        fake_pass(&yard->fake, end_ns - yard->fake.now_ns);
}

/* All lanes that may be are busy; the pool has connections left. */
static void test_statements_that_wait_exhaust_the_pool(void **state)
{
    struct yard yard;

    (void)state;
    yard_init(&yard);
    yard.fake.settings.group_max = 1;
    yard.fake.settings.group_target_ns = 3600 * SECOND;
    yard_open(&yard, 3);
    yard_add_many(&yard, LANE_READ, 4);
    pass(&yard, 1900 * MS);
    assert_int_equal(yard.groups, 2);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 0);
    pass(&yard, 200 * MS);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 1);
    pass(&yard, 10 * SECOND);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pass(&yard, 900 * MS);
    assert_int_equal(yard.groups, 4);
    assert_int_equal(yard.fake.events[POOL_EVENT_RECOVERED], 0);
    pass(&yard, 200 * MS);
    assert_int_equal(yard.fake.events[POOL_EVENT_RECOVERED], 1);
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_that_wait_exhaust_the_pool),
        cmocka_unit_test(test_own_time_of_each_is_noted),
        cmocka_unit_test(test_statements_that_leave_are_noted),
        cmocka_unit_test(test_each_statement_that_fails_is_counted_once),
        cmocka_unit_test(test_wait_for_a_lane_that_nobody_needs_is_not_counted),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
