/* test_pool_alarm.c - exhausted, degraded, recovered: each told once. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/stats.h"

static void start(struct fake *fake, struct conn **conn)
{
    fake_init(fake);
    fake->settings.max_connections = 1;
    fake_start_open(fake);
    *conn = fake_try(fake);
    assert_non_null(*conn);
}

static void test_exhaustion_is_told_once_after_a_second(void **state)
{
    struct fake fake;
    struct wait_log logs[10] = { 0 };
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    fake_pass(&fake, 5 * SECOND); /* nobody waits */
    for (int i = 0; i < 10; i++) {
        assert_ok(fake_wait(&fake, &logs[i]));
        fake_pass(&fake, 99 * MS);
    }
    assert_int_equal(fake.events[POOL_EVENT_EXHAUSTED], 0);
    fake_pass(&fake, 20 * MS);
    assert_int_equal(fake.events[POOL_EVENT_EXHAUSTED], 1);
    assert_string_equal(fake.event.site, "try.lua:1");
    fake_pass(&fake, 10 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_EXHAUSTED], 1);
    assert_int_equal(pool_stats(fake.pool)->exhaustions, 1);
    for (int i = 0; i < 10; i++) {
        fake_release(&fake, conn, CONN_CLEAN);
        conn = logs[i].conn;
    }
    fake_pass(&fake, 999 * MS);
    assert_int_equal(fake.events[POOL_EVENT_RECOVERED], 0);
    fake_pass(&fake, 2 * MS);
    assert_int_equal(fake.events[POOL_EVENT_RECOVERED], 1);
    assert_true(fake.event.duration_ns > 10 * SECOND);
    fake_end(&fake);
}

static void test_moments_are_not_told(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    for (int i = 0; i < 20; i++) {
        struct wait_log log = { 0 };

        assert_ok(fake_wait(&fake, &log));
        fake_pass(&fake, 500 * MS);
        fake_release(&fake, conn, CONN_CLEAN);
        conn = log.conn;
        fake_pass(&fake, MS);
    }
    assert_int_equal(fake.events[POOL_EVENT_EXHAUSTED], 0);
    assert_int_equal(fake.events[POOL_EVENT_RECOVERED], 0);
    fake_end(&fake);
}

static void test_server_that_is_away_is_told_once(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    fake_tick(&fake);
    for (int i = 0; i < 5; i++) {
        fake_failed(&fake, "connection refused");
        fake_pass(&fake, 2 * SECOND);
    }
    assert_int_equal(fake.events[POOL_EVENT_DEGRADED], 1);
    assert_int_equal(pool_stats(fake.pool)->degradations, 1);
    fake_opened(&fake);
    fake_pass(&fake, 2 * SECOND);
    assert_int_equal(fake.events[POOL_EVENT_RECOVERED], 1);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustion_is_told_once_after_a_second),
        cmocka_unit_test(test_moments_are_not_told),
        cmocka_unit_test(test_server_that_is_away_is_told_once),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
