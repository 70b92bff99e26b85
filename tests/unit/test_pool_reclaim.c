/* test_pool_reclaim.c - leases that are taken back from their holders. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/lease.h"
#include "pool/stats.h"

struct keeper {
    struct conn *conn;
    bool is_reclaimed;
};

static void lend_to(struct fake *fake, struct keeper *keeper)
{
    fake->settings.acquire_timeout_ns = 300 * SECOND;
    fake->settings.leak_threshold_ns = 0;
    fake->settings.leak_reclaim_ns = 30 * SECOND;
    fake_lend(fake, &keeper->conn, 1);
    keeper->is_reclaimed = false;
    conn_set_holder(keeper->conn, &keeper->conn, "app.lua:7");
    conn_set_reclaimable(keeper->conn, &keeper->is_reclaimed);
}

static void test_lease_is_taken_back_at_leak_reclaim(void **state)
{
    struct fake fake;
    struct keeper keeper;

    (void)state;
    fake_init(&fake);
    lend_to(&fake, &keeper);

    fake_pass(&fake, 30 * SECOND - 1);
    assert_false(keeper.is_reclaimed);
    assert_int_equal(fake_count(&fake, CONN_LEASED), 1);
    fake_pass(&fake, 1);
    assert_true(keeper.is_reclaimed);
    assert_null(keeper.conn);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    assert_int_equal(fake.abandons, 1);
    assert_int_equal(fake.events[POOL_EVENT_RECLAIMED], 1);
    assert_int_equal(pool_stats(fake.pool)->reclaims, 1);
    assert_int_equal(pool_stats(fake.pool)->leaks, 0);
    fake_end(&fake);
}

static void test_busy_lease_taken_back_is_stopped_then_cleaned(void **state)
{
    struct fake fake;
    struct keeper keeper;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    lend_to(&fake, &keeper);
    conn = keeper.conn;
    assert_ok(fake_wait(&fake, &log));
    fake_link_of(conn)->wire = CONN_BUSY;

    fake_pass(&fake, 30 * SECOND);
    assert_int_equal(fake_count(&fake, CONN_CANCELLING), 1);
    fake_cancelled(&fake, true, CONN_DIRTY);
    fake_reset(&fake, true);
    assert_ptr_equal(log.conn, conn);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_end(&fake);
}

static void test_leak_is_warned_of_before_it_is_taken_back(void **state)
{
    struct fake fake;
    struct keeper keeper;

    (void)state;
    fake_init(&fake);
    lend_to(&fake, &keeper);
    fake.settings.leak_threshold_ns = 10 * SECOND;
    fake_set(&fake);

    fake_pass(&fake, 10 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    assert_false(keeper.is_reclaimed);
    fake_pass(&fake, 20 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_LEAK], 1);
    assert_true(keeper.is_reclaimed);
    fake_end(&fake);
}

static void test_only_a_holder_that_can_lose_its_lease_does(void **state)
{
    struct fake fake;
    struct conn *holders[2];
    bool is_reclaimed = false;

    (void)state;
    fake_init(&fake);
    fake.settings.leak_reclaim_ns = SECOND;
    fake_lend(&fake, holders, 2);
    conn_set_holder(holders[1], &holders[1], NULL);
    conn_set_reclaimable(holders[1], &is_reclaimed);
    conn_set_standing(holders[1]);

    fake_pass(&fake, 60 * SECOND);
    assert_int_equal(fake_count(&fake, CONN_LEASED), 2);
    assert_false(is_reclaimed);
    assert_int_equal(pool_stats(fake.pool)->reclaims, 0);
    assert_int_equal(pool_stats(fake.pool)->leaks, 1);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_is_taken_back_at_leak_reclaim),
        cmocka_unit_test(test_busy_lease_taken_back_is_stopped_then_cleaned),
        cmocka_unit_test(test_leak_is_warned_of_before_it_is_taken_back),
        cmocka_unit_test(test_only_a_holder_that_can_lose_its_lease_does),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
