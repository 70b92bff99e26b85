/* test_pool_why.c - where the time went, and the sentence that says so. */
#include "fake_driver.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/why.h"

static void explain(struct fake *fake, const struct wait_log *log, char *text)
{
    struct pool_why why;
    struct err_text out = { 0 };

    pool_explain(fake->pool, log != NULL ? &log->waiter : NULL,
                 log != NULL ? log->err : ERR_BUSY, fake->now_ns, &why);
    pool_why_text(&why, "main", &out);
    strcpy(text, out.text);
}

/* Lets log wait for the first connection of a new pool. */
static struct conn *start_waiting(struct fake *fake, struct wait_log *log)
{
    fake_init(fake);
    fake_start(fake);
    assert_ok(fake_wait(fake, log));
    fake_settle(fake);
    return &fake_first(fake, FAKE_OPEN)->conn;
}

static void test_wait_for_a_new_connection_is_split_into_its_phases(void **s)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_waiting(&fake, &log);
    const uint64_t *phase_ns = log.waiter.phase_ns;

    (void)s;
    fake.now_ns += 1 * MS;
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake.now_ns += 2 * MS;
    pool_conn_phase(conn, WAIT_TLS, fake.now_ns);
    fake.now_ns += 3 * MS;
    pool_conn_phase(conn, WAIT_AUTH, fake.now_ns);
    fake.now_ns += 4 * MS;
    pool_conn_phase(conn, WAIT_INIT, fake.now_ns);
    fake.now_ns += 5 * MS;
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    assert_int_equal(phase_ns[WAIT_QUEUE], 0);
    assert_int_equal(phase_ns[WAIT_DNS], 1 * MS);
    assert_int_equal(phase_ns[WAIT_TCP], 2 * MS);
    assert_int_equal(phase_ns[WAIT_TLS], 3 * MS);
    assert_int_equal(phase_ns[WAIT_AUTH], 4 * MS);
    assert_int_equal(phase_ns[WAIT_INIT], 5 * MS);
    assert_int_equal(phase_ns[WAIT_TEST], 0);
    fake_end(&fake);
}

static void test_phases_before_the_wait_began_are_not_its_own(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake_start(&fake);
    fake_tick(&fake);
    conn = &fake_first(&fake, FAKE_OPEN)->conn;
    fake.now_ns += 10 * MS;
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake.now_ns += 10 * MS;
    assert_ok(fake_wait(&fake, &log));
    fake.now_ns += 5 * MS;
    pool_conn_phase(conn, WAIT_AUTH, fake.now_ns);
    fake.now_ns += 1 * MS;
    fake_opened(&fake);
    assert_int_equal(log.waiter.phase_ns[WAIT_DNS], 0);
    assert_int_equal(log.waiter.phase_ns[WAIT_TCP], 5 * MS);
    assert_int_equal(log.waiter.phase_ns[WAIT_AUTH], 1 * MS);
    fake_end(&fake);
}

static void test_next_address_takes_the_time_of_the_one_before(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_waiting(&fake, &log);

    (void)state;
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake.now_ns += 2 * MS;
    pool_conn_phase(conn, WAIT_AUTH, fake.now_ns);
    fake.now_ns += 3 * MS;
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake.now_ns += 4 * MS;
    pool_conn_phase(conn, WAIT_AUTH, fake.now_ns);
    fake.now_ns += 5 * MS;
    fake_opened(&fake);
    assert_int_equal(log.waiter.phase_ns[WAIT_TCP], 9 * MS);
    assert_int_equal(log.waiter.phase_ns[WAIT_AUTH], 5 * MS);
    fake_end(&fake);
}

static void test_wait_for_a_lease_to_end_is_all_queue(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 7 * MS);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(log.waiter.phase_ns[WAIT_QUEUE], 7 * MS);
    fake_end(&fake);
}

/* Only the first to get it has waited for its opening. */
static void test_second_holder_did_not_wait_for_the_opening(void **state)
{
    struct fake fake;
    struct wait_log first = { 0 }, second = { 0 };
    struct conn *conn = start_waiting(&fake, &first);

    (void)state;
    fake.settings.max_connections = 1;
    fake_set(&fake);
    assert_ok(fake_wait(&fake, &second));
    fake_pass(&fake, 3 * MS);
    fake_opened(&fake);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(first.waiter.phase_ns[WAIT_DNS], 3 * MS);
    assert_int_equal(second.waiter.phase_ns[WAIT_QUEUE], 3 * MS);
    fake_end(&fake);
}

static void test_wait_for_a_test_says_so(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.test_before_acquire = true;
    fake_start_open(&fake);
    fake_pass(&fake, 10 * SECOND);
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 6 * MS);
    fake_tested(&fake, true);
    assert_int_equal(log.waiter.phase_ns[WAIT_TEST], 6 * MS);
    assert_int_equal(log.waiter.phase_ns[WAIT_QUEUE], 0);
    fake_end(&fake);
}

static void test_histograms_take_every_acquire_and_each_wait(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    const struct pool_stats *stats;
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1); /* at once */
    stats = pool_stats(fake.pool);
    logs[1].waiter.deadline_ns = fake.now_ns + 8 * MS;
    assert_ok(fake_wait(&fake, &logs[0]));
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, 5 * MS);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 3 * MS);
    assert_int_equal(stats->wait.count, 3);
    assert_int_equal(stats->wait.sum_ns, 13 * MS);
    assert_int_equal(stats->phases[WAIT_QUEUE].count, 2);
    assert_int_equal(stats->phases[WAIT_QUEUE].sum_ns, 13 * MS);
    assert_int_equal(stats->phases[WAIT_TCP].count, 2);
    assert_int_equal(stats->use.count, 1);
    assert_int_equal(stats->use.sum_ns, 5 * MS);
    assert_int_equal(stats->create.count, 1);
    fake_end(&fake);
}

static void test_wait_over_the_threshold_is_told_with_its_phases(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { { .waiter.site = "app.lua:7" } };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_pass(&fake, 1);
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, 2 * SECOND - 1);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.events[POOL_EVENT_SLOW_ACQUIRE], 1);
    assert_string_equal(fake.event.site, "app.lua:7");
    assert_int_equal(fake.event.duration_ns, 2 * SECOND);
    assert_int_equal(fake.event_phase_ns[WAIT_QUEUE], 2 * SECOND);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.events[POOL_EVENT_SLOW_ACQUIRE], 1);
    assert_int_equal(pool_stats(fake.pool)->slow_acquires, 1);
    fake_end(&fake);
}

static void test_wait_that_timed_out_is_told_with_its_site(void **state)
{
    struct fake fake;
    struct wait_log log = { .waiter.site = "app.lua:9" };
    struct conn *conn;

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake.settings.acquire_slow_threshold_ns = 0;
    fake.settings.leak_threshold_ns = 0;
    fake_lend(&fake, &conn, 1);
    log.waiter.deadline_ns = fake.now_ns + SECOND;
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, SECOND - 1);
    assert_int_equal(fake.events[POOL_EVENT_TIMEOUT], 0);
    fake_pass(&fake, 1);
    assert_err(log.err, ERR_TIMEOUT);
    assert_int_equal(fake.events[POOL_EVENT_TIMEOUT], 1);
    assert_string_equal(fake.event.site, "app.lua:9");
    assert_int_equal(fake.event.duration_ns, SECOND);
    fake_end(&fake);
}

/* ---- the sentence */

static void test_timeout_names_the_counts_and_the_oldest_holder(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };
    struct conn *conns[2];
    char text[ERR_TEXT_MAX];

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 2;
    fake_lend(&fake, conns, 2);
    fake_pass(&fake, 29200 * MS);
    logs[0].waiter.deadline_ns = fake.now_ns + 2000 * MS;
    for (size_t i = 0; i < 3; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake_pass(&fake, 2000 * MS);
    explain(&fake, &logs[0], text);
    assert_string_equal(text,
                        "no connection came free in 2000 ms (queue 2000 ms): "
                        "pool \"main\" 2 of 2 open: 2 leased, 0 idle, 0 "
                        "opening; 2 waiting; oldest lease try.lua:1 for 31.2 "
                        "s");
    fake_end(&fake);
}

static void test_timeout_names_the_phase_that_an_attempt_stands_in(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_waiting(&fake, &log);
    char text[ERR_TEXT_MAX];

    (void)state;
    pool_wait_cancel(fake.pool, &log.waiter, fake.now_ns);
    log.waiter.deadline_ns = fake.now_ns + 400 * MS;
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 100 * MS);
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake_pass(&fake, 300 * MS);
    explain(&fake, &log, text);
    assert_string_equal(text,
                        "no connection came free in 400 ms (dns 100 ms, tcp "
                        "300 ms): pool \"main\" 1 of 3 open: 0 leased, 0 idle, "
                        "1 opening; 0 waiting");
    fake_end(&fake);
}

static void test_timeout_names_the_last_connect_error(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;
    char text[ERR_TEXT_MAX];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    log.waiter.deadline_ns = fake.now_ns + 1000 * MS;
    assert_ok(fake_wait(&fake, &log));
    fake_failed(&fake, "sorry, too many clients already");
    fake_pass(&fake, 1000 * MS);
    explain(&fake, &log, text);
    assert_non_null(strstr(text, "; last connect error: sorry, too many "
                                 "clients already (1.0 s ago)"));
    fake_end(&fake);
}

static void test_refusal_says_why_the_server_could_not_be_reached(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn = start_waiting(&fake, &log);
    char text[ERR_TEXT_MAX];

    (void)state;
    pool_conn_phase(conn, WAIT_TCP, fake.now_ns);
    fake_pass(&fake, 5000 * MS);
    assert_err(log.err, ERR_REFUSED);
    explain(&fake, &log, text);
    assert_string_equal(
        text, "the server cannot be reached: no connection after 5000 ms, it "
              "stood in tcp, after 5000 ms (tcp 5000 ms): pool \"main\" 0 of 3 "
              "open: 0 leased, 0 idle, 0 opening; 0 waiting");
    fake_end(&fake);
}

static void test_busy_and_closed_say_so(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;
    char text[ERR_TEXT_MAX];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, &conn, 1);
    explain(&fake, NULL, text);
    assert_string_equal(text, "the waiting line is full: pool \"main\" 1 of 3 "
                              "open: 1 leased, 0 idle, 0 opening; 0 waiting; "
                              "oldest lease try.lua:1 for 0.0 s");
    pool_close(fake.pool, fake.now_ns + SECOND, fake.now_ns);
    log.err = fake_wait(&fake, &log);
    explain(&fake, &log, text);
    assert_non_null(strstr(text, "the pool is closed: pool \"main\""));
    fake_end(&fake);
}

static void test_oldest_holder_is_the_one_that_holds_longest(void **state)
{
    struct fake fake;
    struct conn *conns[3];
    struct pool_why why;

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    conn_set_holder(conns[1], NULL, "second");
    conn_set_holder(conns[2], NULL, "third");
    fake_pass(&fake, SECOND);
    fake_release(&fake, conns[0], CONN_CLEAN);
    fake_try(&fake);
    pool_explain(fake.pool, NULL, ERR_BUSY, fake.now_ns, &why);
    assert_string_equal(why.holder_site, "second");
    assert_int_equal(why.holder_ns, SECOND);
    fake_end(&fake);
}

static void test_a_long_error_does_not_push_out_the_counts(void **state)
{
    struct pool_why why = { .err = ERR_REFUSED, .max = 3 };
    struct err_text out = { 0 };

    (void)state;
    memset(why.last_error.text, 'x', ERR_TEXT_MAX - 1);
    pool_why_text(&why, "main", &out);
    assert_non_null(strstr(out.text, "pool \"main\" 0 of 3 open"));
    why.err = ERR_TIMEOUT;
    pool_why_text(&why, "main", &out);
    assert_non_null(strstr(out.text, "pool \"main\" 0 of 3 open"));
    assert_int_equal(strlen(out.text), ERR_TEXT_MAX - 1);
}

/* ---- names */

static void test_every_state_reason_and_phase_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(conn_state_name(CONN_OPENING), "opening");
    assert_string_equal(conn_state_name(CONN_CLOSING), "closing");
    assert_string_equal(close_reason_name(CLOSE_CONNECT_FAILED),
                        "connect_failed");
    assert_string_equal(close_reason_name(CLOSE_POOL_CLOSED), "pool_closed");
    assert_string_equal(wait_phase_name(WAIT_QUEUE), "queue");
    assert_string_equal(wait_phase_name(WAIT_TEST), "test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_wait_for_a_new_connection_is_split_into_its_phases),
        cmocka_unit_test(test_phases_before_the_wait_began_are_not_its_own),
        cmocka_unit_test(test_next_address_takes_the_time_of_the_one_before),
        cmocka_unit_test(test_wait_for_a_lease_to_end_is_all_queue),
        cmocka_unit_test(test_second_holder_did_not_wait_for_the_opening),
        cmocka_unit_test(test_wait_for_a_test_says_so),
        cmocka_unit_test(test_histograms_take_every_acquire_and_each_wait),
        cmocka_unit_test(test_wait_over_the_threshold_is_told_with_its_phases),
        cmocka_unit_test(test_wait_that_timed_out_is_told_with_its_site),
        cmocka_unit_test(test_timeout_names_the_counts_and_the_oldest_holder),
        cmocka_unit_test(
            test_timeout_names_the_phase_that_an_attempt_stands_in),
        cmocka_unit_test(test_timeout_names_the_last_connect_error),
        cmocka_unit_test(test_refusal_says_why_the_server_could_not_be_reached),
        cmocka_unit_test(test_busy_and_closed_say_so),
        cmocka_unit_test(test_oldest_holder_is_the_one_that_holds_longest),
        cmocka_unit_test(test_a_long_error_does_not_push_out_the_counts),
        cmocka_unit_test(test_every_state_reason_and_phase_has_its_name),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
