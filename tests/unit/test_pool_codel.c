/* test_pool_codel.c - a line that stands: who is shed, who is served, when it
 * ends; and the limit of what is lent at once. */
#include "fake_driver.h"

#include "base/rand.h"
#include "pool/stats.h"
#include "pool/why.h"

#include <stdlib.h>

/* One connection; target 5 ms, interval 100 ms. */
static void start(struct fake *fake)
{
    fake_init(fake);
    fake->settings.max_connections = 1;
    fake->settings.codel_target_ns = 5 * MS;
    fake->settings.codel_interval_ns = 100 * MS;
    fake_start_open(fake);
}

static uint64_t shed(const struct fake *fake)
{
    return pool_stats(fake->pool)->shed;
}

static void test_line_that_empties_is_left_alone(void **state)
{
    struct fake fake;
    struct wait_log logs[40] = { 0 };
    struct conn *conn;

    (void)state;
    start(&fake);
    conn = fake_try(&fake);
    for (int i = 0; i < 40; i++) /* full for a moment */
        assert_ok(fake_wait(&fake, &logs[i]));
    for (int i = 0; i < 40; i++) {
        fake_pass(&fake, 2 * MS);
        fake_release(&fake, conn, CONN_CLEAN);
        assert_int_equal(logs[i].turn, i + 1); /* first come, first served */
        conn = logs[i].conn;
    }
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(shed(&fake), 0);
    fake_end(&fake);
}

static void test_line_that_stands_sheds_the_old_and_serves_the_new(void **state)
{
    struct fake fake;
    struct wait_log logs[6] = { 0 };
    struct pool_why why;
    struct err_text text;
    struct conn *conn;

    (void)state;
    start(&fake);
    conn = fake_try(&fake);
    for (int i = 0; i < 3; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake_pass(&fake, 99 * MS);
    assert_int_equal(shed(&fake), 0);
    fake_pass(&fake, 102 * MS); /* an interval without anybody served */
    assert_int_equal(shed(&fake), 3);
    assert_err(logs[0].err, ERR_BUSY);
    pool_explain(fake.pool, &logs[2].waiter, ERR_BUSY, fake.now_ns, &why);
    pool_why_text(&why, "main", &text);
    assert_non_null(
        strstr(text.text, "shed, for waits stay over codel_target"));
    for (int i = 3; i < 6; i++) {
        assert_ok(fake_wait(&fake, &logs[i]));
        fake_pass(&fake, MS);
    }
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(logs[5].conn, conn); /* the newest */
    fake_pass(&fake, 9 * MS);
    assert_err(logs[3].err, ERR_BUSY); /* twice the target has passed */
    assert_int_equal(logs[3].calls, 1);
    assert_int_equal(pool_stats(fake.pool)->busy, 0);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_end(&fake);
}

static void test_it_ends_when_somebody_hardly_waits(void **state)
{
    struct fake fake;
    struct wait_log logs[4] = { 0 };
    struct conn *conn;

    (void)state;
    start(&fake);
    conn = fake_try(&fake);
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_pass(&fake, 300 * MS);
    assert_int_equal(shed(&fake), 1);
    fake_release(&fake, conn, CONN_CLEAN);
    conn = fake_try(&fake);
    for (int i = 1; i < 3; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake_pass(&fake, 2 * MS);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(logs[1].conn, conn); /* the first again */
    fake_release(&fake, conn, CONN_CLEAN);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_pass(&fake, 200 * MS);
    conn = fake_try(&fake);
    assert_non_null(conn);
    assert_ok(fake_wait(&fake, &logs[3]));
    fake_pass(&fake, 50 * MS);
    assert_int_equal(shed(&fake), 1);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(logs[3].conn, conn);
    fake_end(&fake);
}

static void test_without_a_target_nobody_is_shed(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 1;
    fake_start_open(&fake);
    assert_non_null(fake_try(&fake));
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, 20 * SECOND);
    assert_int_equal(log.calls, 0);
    fake_end(&fake);
}

/* ---- overload: twice as much is asked for as one connection can do */

enum { SERVICE_MS = 10, SECONDS = 20, CALLERS = 4000 };

struct overload {
    struct fake fake;
    struct wait_log logs[CALLERS];
    uint64_t waits_ns[CALLERS];
    unsigned served;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void run_overload(struct overload *load, uint64_t target_ns)
{
    struct fake *fake = &load->fake;
    struct conn *busy = NULL;
    uint64_t done_ns = 0;
    unsigned next = 0;

    memset(load, 0, sizeof(*load));
    start(fake);
    fake->is_unchecked = true;
    fake->settings.codel_target_ns = target_ns;
    fake->settings.acquire_timeout_ns = 1000 * SECOND;
    fake_set(fake);
    for (unsigned ms = 0; ms < SECONDS * 1000; ms++) {
        if (busy != NULL && fake->now_ns >= done_ns) {
            fake_return(fake, busy, CONN_CLEAN);
            busy = NULL;
        }
        if (ms % (SERVICE_MS / 2) == 0 && next < CALLERS)
            assert_ok(fake_join(fake, &load->logs[next++]));
        fake_settle(fake);
        for (unsigned i = next; i > 0 && busy == NULL; i--) {
            struct wait_log *log = &load->logs[i - 1];

            if (log->calls == 0 || log->conn == NULL)
                continue;
            busy = log->conn;
            log->conn = NULL;
            load->waits_ns[load->served++] =
                fake->now_ns - log->waiter.since_ns;
            done_ns = fake->now_ns + SERVICE_MS * MS;
        }
        fake_pass(fake, MS);
    }
    if (busy != NULL)
        fake_return(fake, busy, CONN_CLEAN);
    qsort(load->waits_ns, load->served, sizeof(uint64_t), by_value);
    fake->is_unchecked = false;
    fake_end(fake);
}

static void test_overload_is_served_in_time_or_not_at_all(void **state)
{
    static struct overload load;
    const unsigned capacity = SECONDS * 1000 / SERVICE_MS;
    uint64_t p99_ns;

    (void)state;
    run_overload(&load, 20 * MS);
    p99_ns = load.waits_ns[load.served * 99 / 100];
    assert_true(load.served >= capacity * 9 / 10);
    assert_true(p99_ns <= 45 * MS); /* twice the target, and a turn */
    run_overload(&load, 0);
    p99_ns = load.waits_ns[load.served * 99 / 100];
    assert_true(p99_ns > 5 * SECOND); /* first come, first served: too late */
}

/* ---- what is lent at once */

static void test_concurrency_limits_what_is_lent(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conns[3];

    (void)state;
    fake_init(&fake);
    fake_lend(&fake, conns, 3);
    for (int i = 0; i < 3; i++)
        fake_release(&fake, conns[i], CONN_CLEAN);
    fake.settings.concurrency = 2;
    fake_set(&fake);
    conns[0] = fake_try(&fake);
    conns[1] = fake_try(&fake);
    assert_non_null(conns[1]);
    assert_null(fake_try(&fake));
    assert_ok(fake_wait(&fake, &log));
    fake_pass(&fake, SECOND);
    assert_int_equal(log.calls, 0);
    fake_release(&fake, conns[0], CONN_CLEAN);
    assert_non_null(log.conn);
    fake_end(&fake);
}

static void test_concurrency_opens_no_more_than_it_lends(void **state)
{
    struct fake fake;
    struct wait_log logs[3] = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.concurrency = 1;
    fake_start_open(&fake);
    assert_non_null(fake_try(&fake));
    for (int i = 0; i < 3; i++)
        assert_ok(fake_wait(&fake, &logs[i]));
    fake_pass(&fake, SECOND);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_that_empties_is_left_alone),
        cmocka_unit_test(
            test_line_that_stands_sheds_the_old_and_serves_the_new),
        cmocka_unit_test(test_it_ends_when_somebody_hardly_waits),
        cmocka_unit_test(test_without_a_target_nobody_is_shed),
        cmocka_unit_test(test_overload_is_served_in_time_or_not_at_all),
        cmocka_unit_test(test_concurrency_limits_what_is_lent),
        cmocka_unit_test(test_concurrency_opens_no_more_than_it_lends),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
