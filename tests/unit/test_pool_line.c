/* test_pool_line.c - waiting for a connection: order, deadlines, callbacks. */
#include "fake_driver.h"
#include "pool/check.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/stats.h"

#include <stdlib.h>

/* A pool of one connection, which is lent. */
static struct conn *start_busy(struct fake *fake)
{
    struct conn *conn;

    fake_init(fake);
    fake->settings.max_connections = 1;
    fake->settings.leak_threshold_ns = 0;
    fake_lend(fake, &conn, 1);
    return conn;
}

static void test_waiters_are_served_in_the_order_they_came(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    for (size_t i = 0; i < 3; i++) {
        fake_release(&fake, conn, CONN_CLEAN);
        assert_int_equal(logs[i].calls, 1);
        assert_int_equal(logs[i].turn, i + 1);
        assert_ptr_equal(logs[i].conn, conn);
    }
    assert_int_equal(pool_stats(fake.pool)->waits, 3);
    fake_end(&fake);
}

static void test_nobody_overtakes_the_line(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)state;
    pool_pause(fake.pool, fake.now_ns);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    assert_null(fake_try(&fake));
    pool_resume(fake.pool, fake.now_ns);
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_wait_ends_with_timeout_at_its_deadline(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start_busy(&fake);
    log.waiter.deadline_ns = fake.now_ns + 100 * MS;
    assert_ok(fake_wait(&fake, &log));

    fake_pass(&fake, 100 * MS - 1000);
    assert_int_equal(log.calls, 0);
    fake_pass(&fake, 1000);
    assert_int_equal(log.calls, 1);
    assert_err(log.err, ERR_TIMEOUT);
    assert_null(log.conn);
    assert_int_equal(pool_stats(fake.pool)->timeouts, 1);
    fake_end(&fake);
    assert_int_equal(log.calls, 1);
}

static void test_wait_without_deadline_has_the_acquire_timeout(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start_busy(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 30 * SECOND - 1000);
    assert_int_equal(log.calls, 0);
    fake_pass(&fake, 1000);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

static void test_deadline_that_has_passed_is_refused_at_once(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start_busy(&fake);
    log.waiter.deadline_ns = fake.now_ns;
    assert_err(fake_wait(&fake, &log), ERR_TIMEOUT);
    log.waiter.deadline_ns = fake.now_ns + 1;
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 1000);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

/* The tick of the loop may be late; the deadline is not. */
static void
test_connection_that_comes_after_the_deadline_is_not_for_it(void **s)
{
    struct fake fake;
    struct wait_log late = { 0 }, next = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)s;
    late.waiter.deadline_ns = fake.now_ns + 100 * MS;
    assert_ok(fake_wait(&fake, &late));
    assert_ok(fake_wait(&fake, &next));
    fake.now_ns += 100 * MS;
    fake_release(&fake, conn, CONN_CLEAN);
    assert_err(late.err, ERR_TIMEOUT);
    assert_ptr_equal(next.conn, conn);
    fake_end(&fake);
}

static void test_line_takes_max_waiters_and_no_more(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };

    (void)state;
    start_busy(&fake);
    fake.settings.max_waiters = 2;
    fake_set(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_err(fake_wait(&fake, &logs[2]), ERR_BUSY);
    assert_int_equal(pool_stats(fake.pool)->busy, 1);
    pool_wait_cancel(fake.pool, &logs[0].waiter, fake.now_ns);
    assert_ok(fake_wait(&fake, &logs[2]));
    fake_end(&fake);
    assert_int_equal(logs[2].calls, 1);
}

static void test_max_waiters_of_zero_lets_nobody_wait(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start_busy(&fake);
    fake.settings.max_waiters = 0;
    fake_set(&fake);
    assert_err(fake_wait(&fake, &log), ERR_BUSY);
    fake_end(&fake);
    assert_int_equal(log.calls, 0);
}

static void test_cancelled_wait_is_not_called_and_loses_its_place(void **state)
{
    struct fake fake;
    struct wait_log first = { 0 }, second = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)state;
    assert_ok(fake_wait(&fake, &first));
    assert_ok(fake_wait(&fake, &second));
    pool_wait_cancel(fake.pool, &first.waiter, fake.now_ns);
    pool_wait_cancel(fake.pool, &first.waiter, fake.now_ns);
    pool_check(fake.pool);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(first.calls, 0);
    assert_ptr_equal(second.conn, conn);
    assert_int_equal(pool_stats(fake.pool)->cancelled, 1);
    fake_end(&fake);
}

/* As a task does that takes what is there and never asks to try first. */
static void
test_wait_with_an_idle_connection_is_served_by_the_next_tick(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    conn = fake_start_open(&fake);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(log.calls, 0);
    assert_true(fake.due_ns <= fake.now_ns);
    fake_settle(&fake);
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_wait_before_the_first_tick_asks_for_it(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    assert_int_equal(fake.wakes, 0);
    assert_ok(fake_wait(&fake, &log));
    assert_int_equal(fake.wakes, 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 0);
    fake_settle(&fake);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

/* The host is woken for what is earlier than it knows, and for nothing else. */
static void test_host_is_woken_only_for_an_earlier_deadline(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };
    unsigned wakes;

    (void)state;
    start_busy(&fake);
    logs[0].waiter.deadline_ns = fake.now_ns + 100 * MS;
    logs[1].waiter.deadline_ns = fake.now_ns + 5000 * MS;
    logs[2].waiter.deadline_ns = fake.now_ns + 1 * MS;
    assert_ok(fake_wait(&fake, &logs[0]));
    wakes = fake.wakes;
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake.wakes, wakes);
    assert_ok(fake_wait(&fake, &logs[2]));
    assert_int_equal(fake.wakes, wakes + 1);
    assert_true(fake.due_ns <= fake.now_ns + MS);
    fake_end(&fake);
}

/* ---- callbacks that call the pool */

static void release_it(struct wait_log *log)
{
    fake_return(log->fake, log->conn, CONN_CLEAN);
}

/* The stack does not grow with the line: under ASan this would not survive. */
static void test_release_in_on_done_serves_a_hundred_thousand(void **state)
{
    enum { WAITERS = 100000 };
    struct fake fake;
    struct wait_log *logs = calloc(WAITERS, sizeof(*logs));
    struct conn *conn = start_busy(&fake);

    (void)state;
    fake.settings.max_waiters = WAITERS;
    assert_ok(pool_set(fake.pool, &fake.settings, fake.now_ns, NULL));
    for (size_t i = 0; i < WAITERS; i++) {
        logs[i].then = release_it;
        assert_ok(fake_join(&fake, &logs[i]));
    }
    fake_release(&fake, conn, CONN_CLEAN);
    for (size_t i = 0; i < WAITERS; i++)
        assert_int_equal(logs[i].turn, i + 1);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
    free(logs);
}

/* What the callbacks below act on. */
struct pair {
    struct wait_log log;
    struct wait_log *other;
};

static void cancel_other(struct wait_log *log)
{
    struct pair *pair = container_of(log, struct pair, log);

    pool_wait_cancel(log->fake->pool, &pair->other->waiter, log->fake->now_ns);
    release_it(log);
}

static void test_on_done_may_cancel_the_next_in_line(void **state)
{
    struct fake fake;
    struct wait_log next = { 0 }, last = { 0 };
    struct pair pair = { .log.then = cancel_other, .other = &next };
    struct conn *conn = start_busy(&fake);

    (void)state;
    assert_ok(fake_wait(&fake, &pair.log));
    assert_ok(fake_wait(&fake, &next));
    assert_ok(fake_wait(&fake, &last));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(pair.log.calls, 1);
    assert_int_equal(next.calls, 0);
    assert_ptr_equal(last.conn, conn);
    fake_end(&fake);
}

static void cancel_other_only(struct wait_log *log)
{
    struct pair *pair = container_of(log, struct pair, log);

    pool_wait_cancel(log->fake->pool, &pair->other->waiter, log->fake->now_ns);
}

/* Both are due in the same tick. */
static void test_timeout_may_cancel_one_that_is_due_with_it(void **state)
{
    struct fake fake;
    struct wait_log other = { 0 };
    struct pair pair = { .log.then = cancel_other_only, .other = &other };

    (void)state;
    start_busy(&fake);
    other.waiter.deadline_ns = fake.now_ns + MS;
    pair.log.waiter.deadline_ns = fake.now_ns + MS;
    assert_ok(fake_wait(&fake, &pair.log));
    assert_ok(fake_wait(&fake, &other));
    fake_pass(&fake, MS);
    assert_err(pair.log.err, ERR_TIMEOUT);
    assert_int_equal(other.calls, 0);
    fake_end(&fake);
}

static void wait_again(struct wait_log *log)
{
    if (log->calls < 3) {
        log->waiter.deadline_ns = log->fake->now_ns + MS;
        assert_ok(fake_join(log->fake, log));
    }
}

static void test_on_done_may_wait_again(void **state)
{
    struct fake fake;
    struct wait_log log = { .then = wait_again };

    (void)state;
    start_busy(&fake);
    log.waiter.deadline_ns = fake.now_ns + MS;
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 10 * MS);
    assert_int_equal(log.calls, 3);
    assert_int_equal(pool_stats(fake.pool)->timeouts, 3);
    fake_end(&fake);
}

static void wait_behind(struct wait_log *log)
{
    struct pair *pair = container_of(log, struct pair, log);

    assert_ok(fake_join(log->fake, pair->other));
    release_it(log); /* and now one is idle, but not for those who try */
    assert_null(
        pool_try_acquire(log->fake->pool, false, NULL, log->fake->now_ns));
}

static void
test_one_who_joins_in_on_done_is_served_behind_the_line(void **state)
{
    struct fake fake;
    struct wait_log next = { .then = release_it };
    struct wait_log joining = { .then = release_it };
    struct pair pair = { .log.then = wait_behind, .other = &joining };
    struct conn *conn = start_busy(&fake);

    (void)state;
    assert_ok(fake_wait(&fake, &pair.log));
    assert_ok(fake_wait(&fake, &next));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(pair.log.turn, 1);
    assert_int_equal(next.turn, 2);
    assert_int_equal(joining.turn, 3);
    fake_end(&fake);
}

static void raise_max(struct wait_log *log)
{
    struct pool_settings settings = *pool_settings(log->fake->pool);

    settings.max_connections = 3;
    assert_ok(pool_set(log->fake->pool, &settings, log->fake->now_ns, NULL));
}

static void test_on_done_may_change_the_settings(void **state)
{
    struct fake fake;
    struct wait_log first = { .then = raise_max }, second = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)state;
    assert_ok(fake_wait(&fake, &first));
    assert_ok(fake_wait(&fake, &second));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_opened(&fake);
    assert_int_equal(second.calls, 1);
    fake_end(&fake);
}

static void close_pool(struct wait_log *log)
{
    pool_close(log->fake->pool, log->fake->now_ns + SECOND, log->fake->now_ns);
    release_it(log);
}

static void test_on_done_may_close_the_pool(void **state)
{
    struct fake fake;
    struct wait_log first = { .then = close_pool }, second = { 0 };
    struct conn *conn = start_busy(&fake);

    (void)state;
    assert_ok(fake_wait(&fake, &first));
    assert_ok(fake_wait(&fake, &second));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_err(first.err, ERR_OK);
    assert_err(second.err, ERR_CLOSED);
    assert_int_equal(fake.closed, 0);
    fake_settle(&fake);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiters_are_served_in_the_order_they_came),
        cmocka_unit_test(test_nobody_overtakes_the_line),
        cmocka_unit_test(test_wait_ends_with_timeout_at_its_deadline),
        cmocka_unit_test(test_wait_without_deadline_has_the_acquire_timeout),
        cmocka_unit_test(test_deadline_that_has_passed_is_refused_at_once),
        cmocka_unit_test(
            test_connection_that_comes_after_the_deadline_is_not_for_it),
        cmocka_unit_test(test_line_takes_max_waiters_and_no_more),
        cmocka_unit_test(test_max_waiters_of_zero_lets_nobody_wait),
        cmocka_unit_test(test_cancelled_wait_is_not_called_and_loses_its_place),
        cmocka_unit_test(
            test_wait_with_an_idle_connection_is_served_by_the_next_tick),
        cmocka_unit_test(test_wait_before_the_first_tick_asks_for_it),
        cmocka_unit_test(test_host_is_woken_only_for_an_earlier_deadline),
        cmocka_unit_test(test_release_in_on_done_serves_a_hundred_thousand),
        cmocka_unit_test(test_on_done_may_cancel_the_next_in_line),
        cmocka_unit_test(test_timeout_may_cancel_one_that_is_due_with_it),
        cmocka_unit_test(test_on_done_may_wait_again),
        cmocka_unit_test(
            test_one_who_joins_in_on_done_is_served_behind_the_line),
        cmocka_unit_test(test_on_done_may_change_the_settings),
        cmocka_unit_test(test_on_done_may_close_the_pool),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
