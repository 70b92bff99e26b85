/* test_pool_idle.c - closing what is idle beyond min_connections. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/lease.h"
#include "pool/stats.h"

static const uint64_t IDLE_NS = 600000000000;

/* Opens count, gives all back now; nothing else closes them. */
static void start_idle(struct fake *fake, struct conn **conns, unsigned count)
{
    fake->settings.max_lifetime_ns = 100000 * SECOND;
    fake_lend(fake, conns, count);
    for (unsigned i = 0; i < count; i++)
        fake_release(fake, conns[i], CONN_CLEAN);
}

static void test_idle_connection_is_closed_at_its_timeout(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    start_idle(&fake, &conn, 1);
    fake_pass(&fake, IDLE_NS - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_IDLE_TIMEOUT);
    fake_end(&fake);
}

static void test_min_connections_stay_however_long_they_are_idle(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 2;
    start_idle(&fake, conns, 3);
    fake_pass(&fake, 10 * IDLE_NS);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 2);
    assert_int_equal(fake.calls[FAKE_OPEN], 3);
    fake_end(&fake);
}

static void test_use_starts_the_idle_time_anew(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    start_idle(&fake, &conn, 1);
    fake_pass(&fake, IDLE_NS - SECOND);
    fake_try(&fake);
    fake_pass(&fake, 10 * SECOND);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, IDLE_NS - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_end(&fake);
}

/* Last in, first out: light load lets the others grow old, and shrinks. */
static void test_leak_time_of_a_lease_that_ended_tells_nothing(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.leak_threshold_ns = 30 * SECOND;
    start_idle(&fake, &conn, 1);
    fake_try(&fake);
    fake_pass(&fake, 10 * SECOND);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 15 * SECOND);
    fake_try(&fake);
    fake_pass(&fake, 30 * SECOND - 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_end(&fake);
}

static void test_light_load_lets_all_but_one_idle_out(void **state)
{
    struct fake fake;
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    start_idle(&fake, conns, 3);
    for (uint64_t ns = 0; ns < IDLE_NS; ns += 10 * SECOND) {
        struct conn *conn = fake_try(&fake);

        assert_ptr_equal(conn, conns[2]);
        fake_pass(&fake, 10 * SECOND);
        fake_release(&fake, conn, CONN_CLEAN);
    }
    assert_int_equal(fake_open_count(&fake), 1);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_IDLE_TIMEOUT], 2);
    fake_end(&fake);
}

/* One that opens is no connection yet; when it is, the idle one is too many,
 * long after its own timer. */
static void test_overdue_one_is_closed_as_soon_as_another_has_opened(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake.settings.min_connections = 1;
    fake.settings.connect_timeout_ns = 3600 * SECOND;
    start_idle(&fake, &conn, 1);
    fake_try(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_CLEAN);
    fake_release(&fake, log.conn, CONN_CLEAN);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);

    fake_pass(&fake, 2 * IDLE_NS);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_IDLE_TIMEOUT);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void test_shared_connection_does_not_idle_out(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    start_idle(&fake, &conn, 1);
    assert_ptr_equal(pool_try_acquire(fake.pool, true, NULL, fake.now_ns),
                     conn);
    fake_pass(&fake, 10 * IDLE_NS);
    assert_int_equal(conn->state, CONN_SHARED);
    assert_int_equal(fake.calls[FAKE_CLOSE] + fake.calls[FAKE_UNSHARE], 0);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_connection_is_closed_at_its_timeout),
        cmocka_unit_test(test_min_connections_stay_however_long_they_are_idle),
        cmocka_unit_test(test_use_starts_the_idle_time_anew),
        cmocka_unit_test(test_leak_time_of_a_lease_that_ended_tells_nothing),
        cmocka_unit_test(test_light_load_lets_all_but_one_idle_out),
        cmocka_unit_test(
            test_overdue_one_is_closed_as_soon_as_another_has_opened),
        cmocka_unit_test(test_shared_connection_does_not_idle_out),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
