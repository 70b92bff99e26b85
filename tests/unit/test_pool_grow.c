/* test_pool_grow.c - how many connections are opened, when and for whom. */
#include "fake_driver.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/stats.h"

static void wait_all(struct fake *fake, struct wait_log *logs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_ok(fake_wait(fake, &logs[i]));
}

static void test_pool_opens_nothing_before_its_first_tick(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 3;
    fake_start(&fake);
    assert_int_equal(fake.calls[FAKE_OPEN], 0);
    pool_free(fake.pool);
}

static void test_first_tick_probes_the_server_even_with_min_zero(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake_start_open(&fake);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void test_pool_opens_min_connections_and_no_more(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 3;
    fake.settings.max_connections = 5;
    fake_start_open(&fake);
    while (fake_first(&fake, FAKE_OPEN) != NULL)
        fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_OPEN], 3);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 3);
    fake_end(&fake);
}

static void test_each_waiter_wants_one_connection(void **state)
{
    struct fake fake;
    struct wait_log logs[4] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 40;
    fake_lend(&fake, &conn, 1);
    wait_all(&fake, logs, 4);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 4);
    fake_end(&fake);
}

static void test_attempts_in_parallel_are_bounded_by_a_quarter(void **state)
{
    struct fake fake;
    struct wait_log logs[10] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 15;
    fake_lend(&fake, &conn, 1);
    wait_all(&fake, logs, 10);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 3);
    fake_opened(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 3);
    assert_int_equal(logs[0].calls, 1);
    fake_end(&fake);
}

static void test_a_small_pool_opens_two_in_parallel(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 4;
    fake_lend(&fake, &conn, 1);
    wait_all(&fake, logs, 3);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 2);
    fake_end(&fake);
}

static void test_max_connections_counts_those_that_open_and_close(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };
    struct conn *conns[2];

    (void)state;
    fake_init(&fake);
    fake.is_close_slow = true;
    fake_lend(&fake, conns, 2);
    fake_release(&fake, conns[0], CONN_BROKEN);
    wait_all(&fake, logs, 3);
    assert_int_equal(fake_open_count(&fake), 3);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_end(&fake);
}

/* No attempt belongs to a waiter, so none is wasted. */
static void test_waiter_that_times_out_leaves_the_attempt_alone(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    log.waiter.deadline_ns = fake.now_ns + MS;
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, MS);
    assert_err(log.err, ERR_TIMEOUT);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_opened(&fake);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    fake_end(&fake);
}

static void test_new_connection_goes_to_the_next_when_its_waiter_left(void **s)
{
    struct fake fake;
    struct wait_log first = { 0 }, second = { 0 };
    struct conn *conn, *opened;

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &first));
    pool_wait_cancel(fake.pool, &first.waiter, fake.now_ns);
    assert_ok(fake_wait(&fake, &second));
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    opened = fake_opened(&fake);
    assert_ptr_equal(second.conn, opened);
    fake_end(&fake);
}

static void test_no_attempt_is_begun_for_demand_that_has_gone(void **state)
{
    struct fake fake;
    struct wait_log logs[8] = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 9;
    fake_lend(&fake, &conn, 1);
    wait_all(&fake, logs, 8);
    assert_int_equal(fake.calls[FAKE_OPEN], 3);
    for (size_t i = 0; i < 8; i++)
        pool_wait_cancel(fake.pool, &logs[i].waiter, fake.now_ns);
    fake_opened(&fake);
    fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_OPEN], 3);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 2);
    fake_end(&fake);
}

/* A release serves the line before the attempt does; both connections stay. */
static void
test_release_serves_a_waiter_whose_attempt_is_under_way(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(log.conn, conn);
    fake_opened(&fake);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void test_lost_connection_is_replaced_when_below_min(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 1;
    conn = fake_start_open(&fake);
    pool_conn_lost(conn, NULL, fake.now_ns);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_opened(&fake);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void test_lost_connection_is_not_replaced_without_demand(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    conn = fake_start_open(&fake);
    pool_conn_lost(conn, NULL, fake.now_ns);
    fake_pass(&fake, 100 * SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    fake_end(&fake);
}

/* One that is being reset will serve the waiter; one being cancelled may be
 * long. */
static void
test_connection_being_reset_is_supply_but_not_one_cancelled(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[2];

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, conns, 2);
    fake_release(&fake, conns[0], CONN_DIRTY);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_reset(&fake, true);
    assert_int_equal(log.calls, 1);

    fake_release(&fake, conns[0], CONN_BUSY);
    memset(&log, 0, sizeof(log));
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(fake.calls[FAKE_OPEN], 3);
    fake_end(&fake);
}

static void test_attempt_has_the_connect_timeout(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    fake_tick(&fake);
    conn = &fake_first(&fake, FAKE_OPEN)->conn;
    pool_conn_phase(conn, WAIT_TLS, fake.now_ns + SECOND);

    fake_pass(&fake, 5 * SECOND - 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_pass(&fake, 1000);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_CONNECT_TIMEOUT);
    assert_int_equal(fake.events[POOL_EVENT_CONNECT_FAILED], 1);
    assert_string_equal(fake.event_text.text,
                        "no connection after 5000 ms, it stood in tls");
    assert_int_equal(pool_stats(fake.pool)->connect_failures, 1);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_opens_nothing_before_its_first_tick),
        cmocka_unit_test(test_first_tick_probes_the_server_even_with_min_zero),
        cmocka_unit_test(test_pool_opens_min_connections_and_no_more),
        cmocka_unit_test(test_each_waiter_wants_one_connection),
        cmocka_unit_test(test_attempts_in_parallel_are_bounded_by_a_quarter),
        cmocka_unit_test(test_a_small_pool_opens_two_in_parallel),
        cmocka_unit_test(test_max_connections_counts_those_that_open_and_close),
        cmocka_unit_test(test_waiter_that_times_out_leaves_the_attempt_alone),
        cmocka_unit_test(
            test_new_connection_goes_to_the_next_when_its_waiter_left),
        cmocka_unit_test(test_no_attempt_is_begun_for_demand_that_has_gone),
        cmocka_unit_test(
            test_release_serves_a_waiter_whose_attempt_is_under_way),
        cmocka_unit_test(test_lost_connection_is_replaced_when_below_min),
        cmocka_unit_test(test_lost_connection_is_not_replaced_without_demand),
        cmocka_unit_test(
            test_connection_being_reset_is_supply_but_not_one_cancelled),
        cmocka_unit_test(test_attempt_has_the_connect_timeout),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
