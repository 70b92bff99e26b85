/* test_pool_backoff.c - servers that refuse: back-off, probes, who is told. */
#include "fake_driver.h"
#include "pool/backoff.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"

static const uint64_t BASE_NS = 50000000;
static const uint64_t CAP_NS = 750000000;

static void start(struct fake *fake)
{
    fake_init(fake);
    fake_start(fake);
    fake_tick(fake);
}

/* Lets the attempt fail that is under way; says how long until the next. */
static uint64_t fail_once(struct fake *fake)
{
    unsigned opens = fake->calls[FAKE_OPEN];
    uint64_t failed_ns = fake->now_ns;
    uint64_t wait_ns;

    fake_failed(fake, "connection refused");
    wait_ns = fake->event.retry_ns;
    fake_pass(fake, wait_ns - 1);
    assert_int_equal(fake->calls[FAKE_OPEN], opens);
    fake_pass(fake, 1);
    assert_int_equal(fake->calls[FAKE_OPEN], opens + 1);
    assert_int_equal(fake->now_ns - failed_ns, wait_ns);
    return wait_ns;
}

static void test_backoff_doubles_from_its_base_to_its_cap(void **state)
{
    struct fake fake;
    uint64_t most_ns = BASE_NS;

    (void)state;
    start(&fake);
    for (int i = 0; i < 12; i++) {
        uint64_t wait_ns = fail_once(&fake);

        most_ns = most_ns * 2 < CAP_NS ? most_ns * 2 : CAP_NS;
        assert_in_range(wait_ns, BASE_NS, most_ns);
    }
    fake_end(&fake);
}

/* The whole range is used, so that a thousand clients do not come together. */
static void test_backoff_has_full_jitter(void **state)
{
    struct fake fake;
    uint64_t least_ns = WHEEL_NEVER, longest_ns = 0;

    (void)state;
    start(&fake);
    for (int i = 0; i < 5; i++)
        fail_once(&fake);
    for (int i = 0; i < 200; i++) {
        uint64_t wait_ns = fail_once(&fake);

        least_ns = wait_ns < least_ns ? wait_ns : least_ns;
        longest_ns = wait_ns > longest_ns ? wait_ns : longest_ns;
    }
    assert_true(least_ns < 100 * MS);
    assert_true(longest_ns > 700 * MS);
    fake_end(&fake);
}

static void test_same_seed_gives_the_same_backoff(void **state)
{
    uint64_t waits_ns[2];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fake fake;

        start(&fake);
        waits_ns[i] = fail_once(&fake);
        fake_end(&fake);
    }
    assert_int_equal(waits_ns[0], waits_ns[1]);
}

static void test_success_ends_the_backoff(void **state)
{
    struct fake fake;
    uint64_t wait_ns;

    (void)state;
    start(&fake);
    for (int i = 0; i < 6; i++)
        fail_once(&fake);
    pool_conn_lost(fake_opened(&fake), NULL, fake.now_ns);
    assert_null(pool_last_error(fake.pool));
    assert_ok(fake_wait(&fake, &(struct wait_log){ 0 }));
    wait_ns = fail_once(&fake);
    assert_in_range(wait_ns, BASE_NS, 2 * BASE_NS);
    fake_end(&fake);
}

static void test_attempts_that_fail_together_count_once(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 16;
    fake.settings.min_connections = 16;
    fake_start(&fake);
    fake_tick(&fake);
    for (int i = 0; i < 4; i++)
        fake_failed(&fake, "refused");
    assert_int_equal(pool_stats(fake.pool)->connect_failures, 4);
    assert_true(fake.event.retry_ns <= 2 * BASE_NS);
    fake_end(&fake);
}

static void test_one_probe_at_a_time_while_the_server_fails(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.settings.min_connections = 3;
    fake_start(&fake);
    fake_tick(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 2);
    fake_failed(&fake, "refused");
    fake_failed(&fake, "refused");
    fake_pass(&fake, SECOND);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_opened(&fake);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 2);
    fake_end(&fake);
}

static void test_down_pool_recovers_by_itself_without_demand(void **state)
{
    struct fake fake;

    (void)state;
    start(&fake);
    assert_false(pool_is_down(fake.pool));
    fake_failed(&fake, "refused");
    assert_true(pool_is_down(fake.pool));
    assert_string_equal(pool_last_error(fake.pool)->text, "refused");
    fake_pass(&fake, SECOND);
    assert_true(pool_is_down(fake.pool));
    fake_opened(&fake);
    assert_false(pool_is_down(fake.pool));
    assert_null(pool_last_error(fake.pool));
    fake_end(&fake);
}

static void test_wait_is_refused_at_once_while_the_pool_is_down(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    start(&fake);
    fake_failed(&fake, "refused");
    assert_err(fake_wait(&fake, &log), ERR_REFUSED);
    fake_pass(&fake, SECOND); /* also while a probe is under way */
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    assert_err(fake_wait(&fake, &log), ERR_REFUSED);
    assert_int_equal(pool_stats(fake.pool)->refused, 2);
    fake_opened(&fake);
    assert_non_null(fake_try(&fake));
    fake_end(&fake);
    assert_int_equal(log.calls, 0);
}

static void test_waiters_await_the_outcome_of_the_first_attempts(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };

    (void)state;
    start(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, SECOND);
    fake_failed(&fake, "refused");
    assert_int_equal(logs[0].calls, 0);
    fake_failed(&fake, "refused");
    assert_err(logs[0].err, ERR_REFUSED);
    assert_err(logs[1].err, ERR_REFUSED);
    assert_int_equal(logs[0].calls + logs[1].calls, 2);
    fake_end(&fake);
}

/* A server that is nearly full: some connect. */
static void test_first_failure_ends_nobody_while_another_attempt_runs(void **s)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };

    (void)s;
    start(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake_count(&fake, CONN_OPENING), 2);
    fake_pass(&fake, MS);
    fake_failed(&fake, "too many clients");
    assert_false(pool_is_down(fake.pool));
    assert_int_equal(logs[0].calls + logs[1].calls, 0);
    fake_opened(&fake);
    assert_ok(logs[0].err);
    fake_release(&fake, logs[0].conn, CONN_CLEAN);
    assert_ok(logs[1].err);
    fake_release(&fake, logs[1].conn, CONN_CLEAN);
    fake_end(&fake);
}

static void test_attempt_that_hangs_is_awaited_for_the_back_off_only(void **s)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    uint64_t wait_ns;

    (void)s;
    start(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, MS);
    fake_failed(&fake, "refused");
    wait_ns = fake.event.retry_ns;
    fake_pass(&fake, wait_ns - 1);
    assert_int_equal(logs[0].calls + logs[1].calls, 0);
    fake_pass(&fake, 1);
    assert_err(logs[0].err, ERR_REFUSED);
    assert_err(logs[1].err, ERR_REFUSED);
    assert_true(pool_is_down(fake.pool));
    fake_end(&fake);
}

static void test_failed_attempt_ends_nobody_while_others_are_alive(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake_failed(&fake, "too many clients");
    assert_int_equal(log.calls, 0);
    assert_false(pool_is_down(fake.pool));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(log.conn, conn);
    fake_end(&fake);
}

static void test_last_one_lost_ends_those_who_wait_on_a_failing_server(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)s;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake_failed(&fake, "refused");
    fake_release(&fake, conn, CONN_BROKEN);
    assert_err(log.err, ERR_REFUSED);
    fake_end(&fake);
}

static void test_memory_that_is_missing_counts_as_a_failed_attempt(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake.has_no_memory = true;
    fake_start(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_settle(&fake);
    assert_err(log.err, ERR_REFUSED);
    assert_int_equal(fake.events[POOL_EVENT_CONNECT_FAILED], 1);
    assert_string_equal(fake.event_text.text, "no memory for a connection");
    fake.has_no_memory = false;
    fake_pass(&fake, SECOND);
    fake_opened(&fake);
    assert_false(pool_is_down(fake.pool));
    fake_end(&fake);
}

/* ---- several addresses */

static void test_missing_memory_is_not_asked_for_in_a_loop(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.addresses = 3;
    fake.has_no_memory = true;
    fake_start(&fake);
    pool_address_failed(fake.pool, 1, fake.now_ns);
    fake_tick(&fake);
    assert_int_equal(pool_stats(fake.pool)->connects, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_false(pool_address_ready(fake.pool, i, fake.now_ns));
    fake_end(&fake);
}

static void test_pool_is_down_only_when_every_address_failed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake.addresses = 2;
    fake_start(&fake);
    assert_ok(fake_wait(&fake, &log));
    fake_settle(&fake);
    pool_address_failed(fake.pool, 0, fake.now_ns);
    fake_failed(&fake, "refused");
    assert_int_equal(log.calls, 0);
    assert_false(pool_address_ready(fake.pool, 0, fake.now_ns));
    assert_true(pool_address_ready(fake.pool, 1, fake.now_ns));
    assert_int_equal(fake.calls[FAKE_OPEN], 2); /* the other at once */
    pool_address_failed(fake.pool, 1, fake.now_ns);
    fake_failed(&fake, "refused");
    assert_err(log.err, ERR_REFUSED);
    assert_true(pool_is_down(fake.pool));
    fake_end(&fake);
}

static void test_address_that_answers_is_ready_at_once(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.addresses = 2;
    fake_start(&fake);
    pool_address_failed(fake.pool, 1, fake.now_ns);
    assert_false(pool_address_ready(fake.pool, 1, fake.now_ns));
    assert_false(pool_address_ready(fake.pool, 1, fake.now_ns + BASE_NS - 1));
    assert_true(pool_address_ready(fake.pool, 1, fake.now_ns + 2 * BASE_NS));
    pool_address_answered(fake.pool, 1);
    assert_true(pool_address_ready(fake.pool, 1, fake.now_ns));
    pool_free(fake.pool);
}

static void fail_second(struct fake *fake, struct fake_link *link)
{
    (void)link;
    pool_address_failed(fake->pool, 1, fake->now_ns);
}

static void test_driver_may_tell_of_its_address_when_it_is_closed(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.addresses = 2;
    fake.on_close = fail_second;
    fake_start(&fake);
    fake_tick(&fake);
    fake_pass(&fake, 5 * SECOND);
    assert_true(pool_address_ready(fake.pool, 0, fake.now_ns));
    assert_false(pool_address_ready(fake.pool, 1, fake.now_ns));
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake.on_close = NULL;
    fake_end(&fake);
}

static void test_driver_that_tells_nothing_does_not_dial_in_a_loop(void **state)
{
    struct fake fake;

    (void)state;
    fake_init(&fake);
    fake.addresses = 2;
    fake_start(&fake);
    fake_tick(&fake);
    fake_failed(&fake, "refused");
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_false(pool_address_ready(fake.pool, 0, fake.now_ns));
    assert_false(pool_address_ready(fake.pool, 1, fake.now_ns));
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_doubles_from_its_base_to_its_cap),
        cmocka_unit_test(test_backoff_has_full_jitter),
        cmocka_unit_test(test_same_seed_gives_the_same_backoff),
        cmocka_unit_test(test_success_ends_the_backoff),
        cmocka_unit_test(test_attempts_that_fail_together_count_once),
        cmocka_unit_test(test_one_probe_at_a_time_while_the_server_fails),
        cmocka_unit_test(test_down_pool_recovers_by_itself_without_demand),
        cmocka_unit_test(test_wait_is_refused_at_once_while_the_pool_is_down),
        cmocka_unit_test(test_waiters_await_the_outcome_of_the_first_attempts),
        cmocka_unit_test(
            test_first_failure_ends_nobody_while_another_attempt_runs),
        cmocka_unit_test(
            test_attempt_that_hangs_is_awaited_for_the_back_off_only),
        cmocka_unit_test(
            test_failed_attempt_ends_nobody_while_others_are_alive),
        cmocka_unit_test(
            test_last_one_lost_ends_those_who_wait_on_a_failing_server),
        cmocka_unit_test(
            test_memory_that_is_missing_counts_as_a_failed_attempt),
        cmocka_unit_test(test_missing_memory_is_not_asked_for_in_a_loop),
        cmocka_unit_test(test_pool_is_down_only_when_every_address_failed),
        cmocka_unit_test(test_address_that_answers_is_ready_at_once),
        cmocka_unit_test(test_driver_may_tell_of_its_address_when_it_is_closed),
        cmocka_unit_test(
            test_driver_that_tells_nothing_does_not_dial_in_a_loop),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
