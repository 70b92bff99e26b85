/* test_pool_life.c - making, closing and freeing a pool. */
#include "fake_driver.h"
#include "oom.h"
#include "pool/backoff.h"
#include "pool/check.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/stats.h"

static const struct conn_ops no_ops = { .name = "none" };

static void init_config(struct pool_config *config)
{
    memset(config, 0, sizeof(*config));
    config->ops = &no_ops;
    config->addresses = 1;
    pool_settings_init(&config->settings, 1);
}

static void test_new_pool_survives_any_allocation_that_fails(void **state)
{
    struct pool_config config;
    struct pool *pool = NULL;
    enum err err;

    (void)state;
    init_config(&config);
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = pool_new(&pool, &config, 0);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_null(pool);
    }
    assert_ok(err);
    pool_free(pool);
}

static void test_new_pool_refuses_what_is_out_of_range(void **state)
{
    struct pool_config config;
    struct pool *pool = NULL;

    (void)state;
    init_config(&config);
    config.addresses = 0;
    assert_err(pool_new(&pool, &config, 0), ERR_BADARG);
    config.addresses = POOL_ADDRESSES_MAX + 1;
    assert_err(pool_new(&pool, &config, 0), ERR_BADARG);
    config.addresses = POOL_ADDRESSES_MAX;
    config.settings.max_connections = 0;
    assert_err(pool_new(&pool, &config, 0), ERR_BADARG);
    assert_null(pool);
    config.settings.max_connections = 1;
    assert_ok(pool_new(&pool, &config, 0));
    pool_free(pool);
}

static void test_pool_that_was_never_used_may_be_freed(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    pool_free(fake.pool);
    pool_free(NULL);
    assert_int_equal(fake.wakes, 0);
}

/* Whoever closes does not expect to be told inside the call. */
static void
test_on_closed_comes_from_the_next_tick_when_nothing_is_open(void **s)
{
    struct fake fake;

    (void)s;
    fake_init(&fake);
    fake_start(&fake);
    pool_close(fake.pool, fake.now_ns, fake.now_ns);
    assert_int_equal(fake.closed, 0);
    assert_int_equal(fake.wakes, 1);
    fake_settle(&fake);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 0);
}

static void test_close_ends_the_line_and_refuses_newcomers(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 }, late = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    pool_close(fake.pool, fake.now_ns + SECOND, fake.now_ns);
    pool_check(fake.pool);
    assert_err(logs[0].err, ERR_CLOSED);
    assert_err(logs[1].err, ERR_CLOSED);
    assert_null(fake_try(&fake));
    assert_err(fake_wait(&fake, &late), ERR_CLOSED);
    assert_int_equal(pool_stats(fake.pool)->closed, 3);
    fake_end(&fake);
    assert_int_equal(logs[0].calls + logs[1].calls, 2);
    assert_int_equal(late.calls, 0);
}

static void test_close_closes_at_once_what_nobody_uses(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conns[0], CONN_DIRTY);
    pool_close(fake.pool, fake.now_ns + SECOND, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_CLOSE], 2); /* opening and resetting */
    assert_int_equal(fake.closed_for, CLOSE_POOL_CLOSED);
    assert_int_equal(fake_open_count(&fake), 1);
    assert_int_equal(pool_stats(fake.pool)->connect_failures, 0);
    fake_end(&fake);
}

static void test_close_waits_for_leases_until_its_deadline(void **state)
{
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    pool_close(fake.pool, fake.now_ns + 5 * SECOND, fake.now_ns);
    fake_pass(&fake, SECOND);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_pass(&fake, 4 * SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed, 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 2);
    assert_int_equal(fake.closed_for, CLOSE_POOL_CLOSED);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.live, 0);
}

static void test_close_follows_the_last_lease_without_delay(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    pool_close(fake.pool, fake.now_ns + 5 * SECOND, fake.now_ns);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.closed, 0);
    fake_settle(&fake);
    assert_int_equal(fake.closed, 1);
}

static void test_close_asks_lanes_and_lets_cancels_end(void **state)
{
    struct fake fake;
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_non_null(pool_try_acquire(fake.pool, true, NULL, fake.now_ns));
    fake_release(&fake, conns[1], CONN_BUSY);
    pool_close(fake.pool, fake.now_ns + 5 * SECOND, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    assert_int_equal(fake.calls[FAKE_UNSHARE], 1);
    fake_cancelled(&fake, true, CONN_CLEAN);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_int_equal(pool_stats(fake.pool)->closes[CLOSE_POOL_CLOSED], 2);
    fake_settle(&fake);
    assert_int_equal(fake.closed, 1);
}

static void test_second_close_may_shorten_the_deadline_not_lengthen_it(void **s)
{
    struct fake fake;
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    pool_close(fake.pool, fake.now_ns + 5 * SECOND, fake.now_ns);
    pool_close(fake.pool, fake.now_ns + 2 * SECOND, fake.now_ns);
    pool_close(fake.pool, fake.now_ns + 9 * SECOND, fake.now_ns);
    fake_pass(&fake, 2 * SECOND - 1000);
    assert_int_equal(fake.closed, 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.closed, 1);
}

static void test_holder_may_release_what_the_close_took_away(void **state)
{
    struct fake fake;
    struct conn *conn, *held;

    (void)state;
    fake_init(&fake);
    fake.is_close_slow = true;
    fake_lend(&fake, &conn, 1);
    held = conn;
    conn_set_holder(conn, &held, "app.lua:1");
    pool_close(fake.pool, fake.now_ns, fake.now_ns);
    fake_settle(&fake);
    assert_null(held);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    fake_pass(&fake, 100 * SECOND); /* the truth: it is open still */
    assert_int_equal(fake.closed, 0);
    fake_closed(&fake);
    fake_settle(&fake);
    assert_int_equal(fake.closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_pool_survives_any_allocation_that_fails),
        cmocka_unit_test(test_new_pool_refuses_what_is_out_of_range),
        cmocka_unit_test(test_pool_that_was_never_used_may_be_freed),
        cmocka_unit_test(
            test_on_closed_comes_from_the_next_tick_when_nothing_is_open),
        cmocka_unit_test(test_close_ends_the_line_and_refuses_newcomers),
        cmocka_unit_test(test_close_closes_at_once_what_nobody_uses),
        cmocka_unit_test(test_close_waits_for_leases_until_its_deadline),
        cmocka_unit_test(test_close_follows_the_last_lease_without_delay),
        cmocka_unit_test(test_close_asks_lanes_and_lets_cancels_end),
        cmocka_unit_test(
            test_second_close_may_shorten_the_deadline_not_lengthen_it),
        cmocka_unit_test(test_holder_may_release_what_the_close_took_away),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
