/* test_pool_hasty.c - a host that has no time: each call does one thing, and
 * the rest is for ticks that are due at once. */
#include "pool/lanes.h"

#include "fake_driver.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"

enum { WAITS = 5 };

static void start(struct fake *fake)
{
    fake_init(fake);
    fake->settings.max_connections = 1;
    fake_start(fake);
    fake_tick(fake);
}

static void test_one_that_waits_is_refused_a_tick(void **state)
{
    struct wait_log logs[WAITS] = { 0 };
    struct fake fake;

    (void)state;
    start(&fake);
    for (int i = 0; i < WAITS; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake.is_hasty = true;
    fake_failed(&fake, "connection refused");
    for (unsigned ends = 1; ends < WAITS; ends++) {
        assert_int_equal(fake.ends, ends);
        assert_true(fake.due_ns <= fake.now_ns);
        fake_tick(&fake);
    }

    for (unsigned i = 0; i < WAITS; i++) {
        assert_int_equal(logs[i].err, ERR_REFUSED);
        assert_int_equal(logs[i].turn, i + 1);
    }
    fake.is_hasty = false;
    fake_end(&fake);
}

static void test_one_whose_time_is_over_is_told_a_tick(void **state)
{
    struct wait_log logs[WAITS] = { 0 };
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake);
    fake_opened(&fake);
    conn = fake_try(&fake);
    for (int i = 0; i < WAITS; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake.is_hasty = true;
    fake.now_ns += fake.settings.acquire_timeout_ns + MS;
    for (unsigned ends = 1; ends <= WAITS; ends++) {
        assert_true(fake.due_ns <= fake.now_ns);
        fake_tick(&fake);
        assert_int_equal(fake.ends, ends);
    }

    for (int i = 0; i < WAITS; i++)
        assert_int_equal(logs[i].err, ERR_TIMEOUT);
    fake.is_hasty = false;
    fake_release(&fake, conn, CONN_CLEAN);
    fake_end(&fake);
}

static void test_one_of_those_that_are_drained_is_closed_a_tick(void **state)
{
    struct conn *conns[3];
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    for (int i = 0; i < 3; i++)
        fake_release(&fake, conns[i], CONN_CLEAN);
    fake.is_hasty = true;
    pool_drain(fake.pool, fake.now_ns);
    for (unsigned left = 2; left > 0; left--) {
        assert_int_equal(fake_count(&fake, CONN_IDLE), left);
        assert_null(fake_try(&fake));
        assert_true(fake.due_ns <= fake.now_ns);
        fake_tick(&fake);
    }

    assert_int_equal(fake_count(&fake, CONN_IDLE), 0);
    fake.is_hasty = false;
    fake_end(&fake);
}

/* ---- statements that wait for a lane */

struct yard {
    struct fake fake;
    struct lanes lanes;
    struct lane_item items[WAITS];
    unsigned refused, wakes;
};

static struct yard *yard_of(struct lanes *lanes)
{
    return container_of(lanes, struct yard, lanes);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    (void)item;
    (void)waiter;
    assert_int_equal(err, ERR_REFUSED);
    yard_of(lanes)->refused++;
}

static void wake(struct lanes *lanes)
{
    yard_of(lanes)->wakes++;
}

static void test_one_statement_is_refused_a_tick(void **state)
{
    static const struct lanes_ops ops = { .refuse = refuse, .wake = wake };
    struct yard yard = { .refused = 0 };

    (void)state;
    start(&yard.fake);
    lanes_init(&yard.lanes, yard.fake.pool, &ops);
    for (int i = 0; i < WAITS; i++) {
        yard.items[i].kind = LANE_READ;
        assert_ok(lanes_add(&yard.lanes, &yard.items[i], yard.fake.now_ns));
    }
    lanes_pump(&yard.lanes, yard.fake.now_ns);
    yard.fake.is_hasty = true;
    fake_failed(&yard.fake, "connection refused");
    for (unsigned refused = 1; refused < WAITS; refused++) {
        assert_int_equal(yard.refused, refused);
        assert_true(yard.wakes > 0);
        yard.wakes = 0;
        lanes_pump(&yard.lanes, yard.fake.now_ns);
    }

    assert_int_equal(yard.refused, WAITS);
    yard.fake.is_hasty = false;
    fake_end(&yard.fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_waits_is_refused_a_tick),
        cmocka_unit_test(test_one_whose_time_is_over_is_told_a_tick),
        cmocka_unit_test(test_one_of_those_that_are_drained_is_closed_a_tick),
        cmocka_unit_test(test_one_statement_is_refused_a_tick),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
