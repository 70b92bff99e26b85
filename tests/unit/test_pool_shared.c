/* test_pool_shared.c - connections lent to lanes, in line with leases. */
#include "fake_driver.h"
#include "pool/check.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/stats.h"

static struct conn *share(struct fake *fake)
{
    struct conn *conn =
        pool_try_acquire(fake->pool, true, "lane", fake->now_ns);

    pool_check(fake->pool);
    return conn;
}

/* count connections, all lent to lanes. */
static void start_shared(struct fake *fake, struct conn **conns, unsigned count)
{
    fake_lend(fake, conns, count);
    for (unsigned i = 0; i < count; i++) {
        fake_release(fake, conns[i], CONN_CLEAN);
        assert_ptr_equal(share(fake), conns[i]);
    }
}

static void test_lane_gets_a_shared_connection(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    start_shared(&fake, &conn, 1);
    assert_int_equal(conn->state, CONN_SHARED);
    assert_true(conn_is_lent(conn, conn->generation));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_IDLE);
    fake_end(&fake);
}

static void test_lanes_and_leases_stand_in_one_line(void **state)
{
    struct fake fake;
    struct wait_log lane = { .waiter.shared = true };
    struct wait_log lease = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &lane));
    assert_ok(fake_wait(&fake, &lease));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(lane.conn, conn);
    assert_int_equal(conn->state, CONN_SHARED);
    assert_int_equal(lease.calls, 0);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(lease.conn, conn);
    assert_int_equal(conn->state, CONN_LEASED);
    fake_end(&fake);
}

static void test_shared_time_is_no_lease_and_no_leak(void **state)
{
    struct fake fake;
    struct conn *conn;
    uint64_t uses;

    (void)state;
    fake_init(&fake);
    start_shared(&fake, &conn, 1);
    uses = pool_stats(fake.pool)->use.count;
    fake_pass(&fake, 1000 * SECOND);
    assert_int_equal(pool_stats(fake.pool)->leaks, 0);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(pool_stats(fake.pool)->use.count, uses);
    fake_end(&fake);
}

static void test_drain_asks_each_lane_once(void **state)
{
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    start_shared(&fake, conns, 2);
    pool_drain(fake.pool, fake.now_ns);
    pool_drain(fake.pool, fake.now_ns);
    pool_check(fake.pool);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 2);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_DRAINED);
    fake_end(&fake);
}

static void test_shrinking_asks_as_many_lanes_as_are_too_many(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    start_shared(&fake, conns, 3);
    fake.settings.max_connections = 1;
    fake_set(&fake);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 2);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_SHRUNK);
    fake_release(&fake, conns[1], CONN_CLEAN);
    assert_int_equal(fake_count(&fake, CONN_SHARED), 1);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 2);
    fake_end(&fake);
}

static void
test_lane_is_asked_at_its_lifetime_when_the_next_has_opened(void **s)
{
    struct fake fake;
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake.settings.connect_timeout_ns = 3600 * SECOND;
    start_shared(&fake, &conn, 1);
    fake_pass(&fake, 1800 * SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 0);
    fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1);
    fake_end(&fake);
}

static void test_lane_is_asked_at_its_lifetime_when_there_is_no_room(void **s)
{
    struct fake fake;
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    start_shared(&fake, &conn, 1);
    fake_pass(&fake, 1800 * SECOND);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    fake_end(&fake);
}

/* ---- lanes that never become empty */

static void test_lanes_make_room_for_a_lease_that_waited_too_long(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    start_shared(&fake, conns, 3);
    for (unsigned i = 0; i < 3; i++)
        pool_lane_rests(conns[i], false); /* it has done something */
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 50 * MS - 1);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 0);
    fake_pass(&fake, 1);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1);
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1); /* one at a time */
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_ptr_equal(log.conn, conns[0]);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_end(&fake);
}

static void test_lanes_make_no_room_for_a_lane_or_when_one_opens(void **state)
{
    struct fake fake;
    struct wait_log lane = { .waiter.shared = true }, lease = { 0 };
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    start_shared(&fake, conns, 2);
    assert_ok(fake_wait(&fake, &lease));
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 0);
    fake_opened(&fake);
    assert_int_equal(lease.calls, 1);
    assert_ok(fake_wait(&fake, &lane));
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 0);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lane_gets_a_shared_connection),
        cmocka_unit_test(test_lanes_and_leases_stand_in_one_line),
        cmocka_unit_test(test_shared_time_is_no_lease_and_no_leak),
        cmocka_unit_test(test_drain_asks_each_lane_once),
        cmocka_unit_test(test_shrinking_asks_as_many_lanes_as_are_too_many),
        cmocka_unit_test(
            test_lane_is_asked_at_its_lifetime_when_the_next_has_opened),
        cmocka_unit_test(
            test_lane_is_asked_at_its_lifetime_when_there_is_no_room),
        cmocka_unit_test(test_lanes_make_room_for_a_lease_that_waited_too_long),
        cmocka_unit_test(test_lanes_make_no_room_for_a_lane_or_when_one_opens),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
