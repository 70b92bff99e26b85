/* test_pool_flight.c - what the flight recorder keeps of leases and events; of
 * statements see test_pool_lanes.c. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "pool/lease.h"
#include "pool/line.h"

struct flown {
    struct fake fake;
    struct flight_note notes[64]; /* of demands and events, by time */
    unsigned count;
};

static void begin(struct flown *flown, unsigned max)
{
    memset(flown, 0, sizeof(*flown));
    fake_init(&flown->fake);
    flown->fake.settings.max_connections = max;
    flown->fake.flight = flight_new();
    assert_non_null(flown->fake.flight);
    fake_start_open(&flown->fake);
    fake_pass(&flown->fake, MS);
}

static void read_notes(struct flown *flown)
{
    struct flight_walk walk = { 0 };
    const struct flight_note *note;

    flown->count = 0;
    while ((note = flight_next(flown->fake.flight, &walk)) != NULL) {
        assert_true(flown->count < 64);
        flown->notes[flown->count++] = *note;
    }
    assert_null(flight_next(flown->fake.flight, &walk));
}

static void finish(struct flown *flown)
{
    fake_end(&flown->fake);
    flight_free(flown->fake.flight);
}

static void assert_demand(const struct flight_note *note, enum demand_end end,
                          uint32_t wait_us, uint32_t service_us)
{
    assert_false(note->is_event);
    assert_false(note->is_shared);
    assert_string_equal(demand_end_name(note->what), demand_end_name(end));
    assert_int_equal(note->wait_us, wait_us);
    assert_int_equal(note->service_us, service_us);
}

static void test_a_lease_is_noted_when_it_comes_back(void **state)
{
    struct flown flown;
    struct fake *fake = &flown.fake;
    struct wait_log log = { 0 };
    struct conn *conn;

    (void)state;
    begin(&flown, 1);
    conn = fake_try(fake);
    fake_pass(fake, 3 * MS);
    assert_ok(fake_wait(fake, &log));
    fake_pass(fake, 4 * MS);
    fake_release(fake, conn, CONN_CLEAN);
    fake_settle(fake);
    assert_ptr_equal(log.conn, conn);
    fake_pass(fake, 5 * MS);
    fake_release(fake, conn, CONN_CLEAN);
    read_notes(&flown);
    assert_int_equal(flown.count, 3);
    assert_true(flown.notes[0].is_event);
    assert_int_equal(flown.notes[0].what, POOL_EVENT_OPENED);
    assert_demand(&flown.notes[1], DEMAND_SERVED, 0, 7000);
    assert_demand(&flown.notes[2], DEMAND_SERVED, 4000, 5000);
    assert_int_equal(flown.notes[2].at_ns, fake->now_ns);
    assert_int_equal(flown.notes[2].conn, conn->id);
    finish(&flown);
}

static void test_waits_in_vain_are_noted(void **state)
{
    struct flown flown;
    struct fake *fake = &flown.fake;
    struct wait_log late = { 0 }, gone = { 0 }, busy = { 0 };
    struct conn *conn;

    (void)state;
    begin(&flown, 1);
    fake->settings.max_waiters = 2;
    fake_set(fake);
    conn = fake_try(fake);
    late.waiter.deadline_ns = fake->now_ns + 20 * MS;
    assert_ok(fake_wait(fake, &late));
    assert_ok(fake_wait(fake, &gone));
    assert_err(fake_wait(fake, &busy), ERR_BUSY);
    fake_pass(fake, 10 * MS);
    pool_wait_cancel(fake->pool, &gone.waiter, fake->now_ns);
    fake_pass(fake, 11 * MS);
    read_notes(&flown);
    assert_int_equal(flown.count, 4);
    assert_demand(&flown.notes[1], DEMAND_BUSY, 0, 0);
    assert_demand(&flown.notes[2], DEMAND_CANCELLED, 10000, 0);
    assert_demand(&flown.notes[3], DEMAND_TIMEOUT, 20000, 0);
    fake_release(fake, conn, CONN_CLEAN);
    finish(&flown);
}

static void test_events_survive_many_demands(void **state)
{
    struct flown flown;
    struct fake *fake = &flown.fake;
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    uint64_t before_ns = 0;
    unsigned demands = 0, opened = 0;

    (void)state;
    begin(&flown, 1);
    for (int i = 0; i < FLIGHT_DEMANDS + 100; i++) {
        struct conn *conn = fake_try(fake);

        fake->now_ns += 1000;
        fake_release(fake, conn, CONN_CLEAN);
    }
    while ((note = flight_next(fake->flight, &walk)) != NULL) {
        assert_true(note->at_ns >= before_ns);
        before_ns = note->at_ns;
        demands += !note->is_event;
        opened += note->is_event && note->what == POOL_EVENT_OPENED;
    }
    assert_int_equal(demands, FLIGHT_DEMANDS);
    assert_int_equal(opened, 1);
    assert_int_equal(before_ns, fake->now_ns);
    finish(&flown);
}

static void count_notes(void *ud, const struct flight_note *note)
{
    unsigned *counts = ud;

    counts[note->is_event]++;
}

static void test_a_follower_is_told_of_each(void **state)
{
    struct flown flown;
    struct fake *fake = &flown.fake;
    unsigned counts[2] = { 0, 0 };
    struct conn *conn;

    (void)state;
    begin(&flown, 1);
    flight_follow(fake->flight, count_notes, counts);
    conn = fake_try(fake);
    pool_discard(fake->pool, conn, CLOSE_LOST, fake->now_ns);
    assert_int_equal(counts[false], 1);
    assert_int_equal(counts[true], 1);
    read_notes(&flown);
    assert_int_equal(flown.notes[flown.count - 1].what, POOL_EVENT_CLOSED);
    assert_int_equal(flown.notes[flown.count - 1].detail, CLOSE_LOST);
    flight_follow(fake->flight, NULL, NULL);
    finish(&flown);
}

static void test_durations_end_at_the_largest_that_fits(void **state)
{
    struct flown flown;
    struct fake *fake = &flown.fake;
    struct conn *conn;

    (void)state;
    begin(&flown, 1);
    conn = fake_try(fake);
    fake->now_ns += 10000 * SECOND;
    fake_release(fake, conn, CONN_CLEAN);
    read_notes(&flown);
    for (unsigned i = 0; i < flown.count; i++)
        if (!flown.notes[i].is_event)
            assert_demand(&flown.notes[i], DEMAND_SERVED, 0, UINT32_MAX);
    finish(&flown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_noted_when_it_comes_back),
        cmocka_unit_test(test_waits_in_vain_are_noted),
        cmocka_unit_test(test_events_survive_many_demands),
        cmocka_unit_test(test_a_follower_is_told_of_each),
        cmocka_unit_test(test_durations_end_at_the_largest_that_fits),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
