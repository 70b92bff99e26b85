/* test_pool_lifetime.c - old connections: jitter, pace, replacement first. */
#include "fake_driver.h"

static const uint64_t LIFETIME_NS = 100000000000;

/* A lifetime of 100 s, and attempts that may take as long. */
static void init(struct fake *fake)
{
    fake_init(fake);
    fake->settings.max_lifetime_ns = LIFETIME_NS;
    fake->settings.connect_timeout_ns = LIFETIME_NS;
    fake->settings.leak_threshold_ns = 0;
}

static struct conn *start(struct fake *fake)
{
    init(fake);
    return fake_start_open(fake);
}

static void test_lifetime_ends_within_its_last_tenth(void **state)
{
    uint64_t earliest_ns = WHEEL_NEVER, latest_ns = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fake fake;
        uint64_t age_ns;

        init(&fake);
        fake.seed = seed;
        fake_start_open(&fake);
        fake_pass(&fake, LIFETIME_NS * 9 / 10 - 1000);
        assert_int_equal(fake.calls[FAKE_CLOSE], 0);
        fake_pass(&fake, LIFETIME_NS / 10 + 1000);
        assert_int_equal(fake.calls[FAKE_CLOSE], 1);
        assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
        age_ns = fake.event.duration_ns;
        earliest_ns = age_ns < earliest_ns ? age_ns : earliest_ns;
        latest_ns = age_ns > latest_ns ? age_ns : latest_ns;
        fake_end(&fake);
    }
    assert_true(earliest_ns < LIFETIME_NS / 100 * 92);
    assert_true(latest_ns > LIFETIME_NS / 100 * 98);
}

static void test_idle_one_that_nobody_needs_is_closed_without_ado(void **state)
{
    struct fake fake;

    (void)state;
    start(&fake);
    fake_pass(&fake, LIFETIME_NS);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake.calls[FAKE_OPEN], 1);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

static void test_replacement_opens_before_a_needed_one_is_closed(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    init(&fake);
    fake.settings.min_connections = 1;
    conn = fake_start_open(&fake);
    fake_pass(&fake, LIFETIME_NS);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    assert_ptr_equal(fake_try(&fake), conn); /* in service until then */
    fake_release(&fake, conn, CONN_CLEAN);
    fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

/* One that works is better than none. */
static void test_old_one_stays_while_its_replacement_cannot_open(void **state)
{
    struct fake fake;
    struct conn *conn;

    (void)state;
    init(&fake);
    fake.settings.min_connections = 1;
    conn = fake_start_open(&fake);
    fake_pass(&fake, LIFETIME_NS);
    for (int i = 0; i < 5; i++) {
        fake_failed(&fake, "too many clients");
        fake_pass(&fake, SECOND);
    }
    assert_ptr_equal(fake_try(&fake), conn);
    fake_release(&fake, conn, CONN_CLEAN);
    fake_opened(&fake);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    fake_end(&fake);
}

static void test_needed_one_is_closed_first_when_there_is_no_room(void **state)
{
    struct fake fake;

    (void)state;
    init(&fake);
    fake.settings.min_connections = 1;
    fake.settings.max_connections = 1;
    fake_start_open(&fake);
    fake_pass(&fake, LIFETIME_NS);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_end(&fake);
}

static void test_room_that_is_gone_ends_the_wait_for_a_replacement(void **state)
{
    struct fake fake;

    (void)state;
    init(&fake);
    fake.settings.min_connections = 1;
    fake.settings.max_connections = 2;
    fake_start_open(&fake);
    fake_pass(&fake, LIFETIME_NS);
    fake_failed(&fake, "too many clients");
    assert_int_equal(fake_count(&fake, CONN_OPENING), 0);
    fake.settings.max_connections = 1;
    fake_set(&fake);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake_open_count(&fake), 0);
    fake_end(&fake);
}

static void test_leased_one_is_replaced_and_closed_when_it_is_back(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_pass(&fake, 2 * LIFETIME_NS);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(conn->state, CONN_IDLE);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_opened(&fake);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake_end(&fake);
}

static void test_one_replaced_while_it_is_lent_is_closed_on_return(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    assert_ptr_equal(fake_try(&fake), conn);
    fake_pass(&fake, 2 * LIFETIME_NS);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_ptr_equal(fake_try(&fake), conn);
    fake_opened(&fake);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.calls[FAKE_CLOSE], 1);
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    fake_end(&fake);
}

static void test_leased_one_is_closed_on_return_at_max_connections(void **state)
{
    struct fake fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    init(&fake);
    fake.settings.max_connections = 1;
    fake_lend(&fake, &conn, 1);
    fake_pass(&fake, LIFETIME_NS);
    assert_ok(fake_wait(&fake, &log));
    fake_release(&fake, conn, CONN_CLEAN);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(log.calls, 0);
    fake_opened(&fake);
    assert_int_equal(log.calls, 1);
    fake_end(&fake);
}

/* Whether it is idle when its time comes or not: in use is in demand. */
static void test_idle_one_used_a_moment_ago_is_replaced_first(void **state)
{
    struct fake fake;
    struct conn *conn = start(&fake);

    (void)state;
    for (int i = 0; i < 250 && fake.calls[FAKE_OPEN] == 1; i++) {
        fake_try(&fake);
        fake_pass(&fake, 100 * MS);
        fake_release(&fake, conn, CONN_CLEAN);
        fake_pass(&fake, 400 * MS);
    }
    assert_int_equal(fake.calls[FAKE_OPEN], 2);
    assert_int_equal(fake.calls[FAKE_CLOSE], 0);
    fake_end(&fake);
}

/* ---- pace */

enum { MANY = 20 };

static uint64_t closed_ns[2 * MANY];
static unsigned closed;

static void note_close(struct fake *fake, struct fake_link *link)
{
    (void)link;
    assert_true(closed < ARRAY_LEN(closed_ns));
    closed_ns[closed++] = fake->now_ns;
}

/* Opens MANY at the same time, as after a restart of the server. */
static void start_many(struct fake *fake)
{
    closed = 0;
    init(fake);
    fake->settings.min_connections = MANY;
    fake->settings.max_connections = 2 * MANY;
    fake_start_open(fake);
    while (fake_first(fake, FAKE_OPEN) != NULL)
        fake_opened(fake);
    assert_int_equal(fake_open_count(fake), MANY);
    fake->on_close = note_close;
}

static void check_pace(void)
{
    uint64_t pace_ns = LIFETIME_NS / 10 / (MANY + 1);

    assert_int_equal(closed, MANY);
    for (size_t i = 1; i < MANY; i++)
        assert_true(closed_ns[i] - closed_ns[i - 1] >= pace_ns - 10 * MS);
}

static void test_connections_that_open_together_do_not_expire_together(void **s)
{
    struct fake fake;

    (void)s;
    start_many(&fake);
    for (uint64_t ns = 0; ns < LIFETIME_NS * 12 / 10; ns += 10 * MS) {
        fake_pass(&fake, 10 * MS);
        while (fake_first(&fake, FAKE_OPEN) != NULL)
            fake_opened(&fake);
        assert_true(fake_open_count(&fake) <= MANY + 1);
        assert_true(fake_count(&fake, CONN_IDLE) >= MANY);
    }
    check_pace();
    fake.on_close = NULL;
    fake_end(&fake);
}

static void
test_leases_over_their_lifetime_retire_at_the_same_pace(void **state)
{
    struct fake fake;
    struct conn *conns[MANY];

    (void)state;
    start_many(&fake);
    for (size_t i = 0; i < MANY; i++)
        conns[i] = fake_try(&fake);
    fake_pass(&fake, LIFETIME_NS);
    for (size_t i = 0; i < MANY; i++)
        fake_release(&fake, conns[i], CONN_CLEAN);
    assert_int_equal(closed, 0);
    for (uint64_t ns = 0; ns < LIFETIME_NS / 5; ns += 10 * MS) {
        while (fake_first(&fake, FAKE_OPEN) != NULL)
            fake_opened(&fake);
        fake_pass(&fake, 10 * MS);
    }
    check_pace();
    fake.on_close = NULL;
    fake_end(&fake);
}

/* Turns that were given by the old lifetime do not hold up the new one. */
static void test_new_lifetime_has_a_pace_of_its_own(void **state)
{
    struct fake fake;

    (void)state;
    start_many(&fake);
    fake.settings.max_connections = MANY; /* no room: closed at their turn */
    fake_set(&fake);
    fake_pass(&fake, LIFETIME_NS * 95 / 100);
    assert_true(closed < MANY);
    fake.settings.min_connections = 0;
    fake.settings.max_lifetime_ns = SECOND;
    fake_set(&fake);
    fake_pass(&fake, 300 * MS);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 0);
    fake.on_close = NULL;
    fake_end(&fake);
}

static void test_one_that_is_needed_no_more_awaits_no_replacement(void **state)
{
    struct fake fake;

    (void)state;
    start_many(&fake);
    fake_pass(&fake, LIFETIME_NS * 12 / 10);
    assert_int_equal(fake_count(&fake, CONN_IDLE), MANY);
    assert_true(fake_count(&fake, CONN_OPENING) > 1);
    fake.settings.min_connections = 0;
    fake_set(&fake);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1); /* better than none */
    fake_opened(&fake);
    assert_int_equal(fake.closed_for, CLOSE_LIFETIME);
    assert_int_equal(fake_count(&fake, CONN_IDLE), 1);
    fake.on_close = NULL;
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifetime_ends_within_its_last_tenth),
        cmocka_unit_test(test_idle_one_that_nobody_needs_is_closed_without_ado),
        cmocka_unit_test(test_replacement_opens_before_a_needed_one_is_closed),
        cmocka_unit_test(test_old_one_stays_while_its_replacement_cannot_open),
        cmocka_unit_test(test_needed_one_is_closed_first_when_there_is_no_room),
        cmocka_unit_test(
            test_room_that_is_gone_ends_the_wait_for_a_replacement),
        cmocka_unit_test(
            test_leased_one_is_replaced_and_closed_when_it_is_back),
        cmocka_unit_test(
            test_one_replaced_while_it_is_lent_is_closed_on_return),
        cmocka_unit_test(
            test_leased_one_is_closed_on_return_at_max_connections),
        cmocka_unit_test(test_idle_one_used_a_moment_ago_is_replaced_first),
        cmocka_unit_test(
            test_connections_that_open_together_do_not_expire_together),
        cmocka_unit_test(
            test_leases_over_their_lifetime_retire_at_the_same_pace),
        cmocka_unit_test(test_new_lifetime_has_a_pace_of_its_own),
        cmocka_unit_test(test_one_that_is_needed_no_more_awaits_no_replacement),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
