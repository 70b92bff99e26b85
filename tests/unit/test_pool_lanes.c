/* test_pool_lanes.c - which lane takes how many statements, and who gets one.
 */
#include "fake_driver.h"
#include "pool/lanes.h"

enum { LANES_TEST_MAX = 8, ITEMS_MAX = 256, GROUPS_MAX = 64 };

static const uint64_t US = 1000;

/* A pool on the fake driver and lanes that remember what they were given. */
struct yard {
    struct fake fake;
    struct lanes lanes;
    struct lane lane[LANES_TEST_MAX];
    struct lane_item items[ITEMS_MAX];
    unsigned n_items;
    unsigned begun[LANE_KINDS];
    unsigned ended;
    unsigned groups;
    uint32_t sizes[GROUPS_MAX];
    struct lane *on[GROUPS_MAX];
    unsigned refused;
    enum err refused_with;
    unsigned wakes;
    bool is_slow; /* lanes are not ready at once */
};

static struct yard *yard_of(struct lanes *lanes)
{
    return container_of(lanes, struct yard, lanes);
}

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct yard *yard = yard_of(lanes);
    struct lane *lane = yard->lane;

    while (lane->lanes != NULL)
        lane++;
    assert_true(lane < yard->lane + LANES_TEST_MAX);
    yard->begun[kind]++;
    lane_begin(lane, lanes, conn, kind, yard->fake.now_ns);
    if (!yard->is_slow)
        lane_ready(lane);
}

static void send_group(struct lane *lane, struct list *group)
{
    struct yard *yard = yard_of(lane->lanes);

    assert_true(yard->groups < GROUPS_MAX);
    yard->on[yard->groups] = lane;
    yard->sizes[yard->groups++] = group->len;
    while (list_pop_front(group) != NULL)
        continue;
}

static void end(struct lane *lane)
{
    struct yard *yard = yard_of(lane->lanes);

    yard->ended++;
    lane_leave(lane);
    pool_release(yard->fake.pool, lane->conn, yard->fake.now_ns);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    (void)item;
    (void)waiter;
    yard_of(lanes)->refused++;
    yard_of(lanes)->refused_with = err;
}

static void wake(struct lanes *lanes)
{
    yard_of(lanes)->wakes++;
}

static const struct lanes_ops ops = {
    .begin = begin,
    .send = send_group,
    .end = end,
    .refuse = refuse,
    .wake = wake,
};

static uint64_t pump(struct yard *yard)
{
    uint64_t due_ns;

    do {
        yard->wakes = 0;
        due_ns = lanes_pump(&yard->lanes, yard->fake.now_ns);
        pool_check(yard->fake.pool);
    } while (yard->wakes > 0);
    return due_ns;
}

/* conns connections, all idle; lanes as set in settings. */
static void open_yard(struct yard *yard, unsigned conns)
{
    struct conn *lent[LANES_TEST_MAX];

    yard->fake.settings.max_connections = conns;
    fake_lend(&yard->fake, lent, conns);
    for (unsigned i = 0; i < conns; i++)
        fake_release(&yard->fake, lent[i], CONN_CLEAN);
    lanes_init(&yard->lanes, yard->fake.pool, &ops);
}

static void init_yard(struct yard *yard)
{
    memset(yard, 0, sizeof(*yard));
    fake_init(&yard->fake);
    yard->fake.settings.lanes = 1;
    yard->fake.settings.group_max = 10;
    yard->fake.settings.group_target_ns = 2 * MS;
}

static enum err add(struct yard *yard, enum lane_kind kind, uint64_t cost_ns)
{
    struct lane_item *item = &yard->items[yard->n_items++];

    assert_true(yard->n_items <= ITEMS_MAX);
    item->kind = kind;
    item->cost_ns = cost_ns;
    return lanes_add(&yard->lanes, item, yard->fake.now_ns);
}

static void add_many(struct yard *yard, enum lane_kind kind, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_ok(add(yard, kind, US));
}

/* Asked to, every lane finishes what is on it and goes. */
static void close_yard(struct yard *yard)
{
    for (unsigned i = 0; i < LANES_TEST_MAX; i++) {
        struct lane *lane = &yard->lane[i];

        while (lane->lanes != NULL && lane->groups > 0)
            lane_group_done(lane, yard->fake.now_ns);
        lane_finish(lane);
    }
    pool_close(yard->fake.pool, yard->fake.now_ns + SECOND, yard->fake.now_ns);
    pump(yard);
    lanes_refuse_all(&yard->lanes, ERR_CLOSED);
    for (int kind = 0; kind < LANE_KINDS; kind++)
        assert_int_equal(yard->lanes.sets[kind].lanes.len, 0);
    fake_end(&yard->fake);
}

/* ---- the flight recorder */

/* The next note of a statement, or NULL. */
static const struct flight_note *next_shared(const struct yard *yard,
                                             struct flight_walk *walk)
{
    const struct flight_note *note;

    do
        note = flight_next(yard->fake.flight, walk);
    while (note != NULL && !note->is_shared);
    return note;
}

/* 3 on one lane: sent after 1 ms, answered after 2, 4 and 4 more. */
static void test_own_time_of_each_is_noted(void **state)
{
    static const uint32_t own_us[] = { 2000, 4000, 0 };
    static const uint32_t wait_us[] = { 1000, 3000, 7000 };
    struct yard yard;
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    unsigned count = 0;

    (void)state;
    init_yard(&yard);
    yard.fake.flight = flight_new();
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 3);
    yard.fake.now_ns += MS;
    pump(&yard);
    yard.fake.now_ns += 2 * MS;
    lane_answered(yard.on[0], &yard.items[0], yard.fake.now_ns);
    yard.fake.now_ns += 4 * MS;
    lane_answered(yard.on[0], &yard.items[1], yard.fake.now_ns);
    lane_answered(yard.on[0], &yard.items[2], yard.fake.now_ns);
    while ((note = next_shared(&yard, &walk)) != NULL) {
        assert_int_equal(note->what, DEMAND_SERVED);
        assert_int_equal(note->wait_us, wait_us[count]);
        assert_int_equal(note->service_us, own_us[count++]);
    }
    assert_int_equal(count, 3);
    close_yard(&yard);
    flight_free(yard.fake.flight);
}

static void test_statements_that_leave_are_noted(void **state)
{
    static const enum demand_end ends[] = { DEMAND_TIMEOUT, DEMAND_CANCELLED,
                                            DEMAND_CANCELLED };
    struct yard yard;
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    unsigned count = 0;

    (void)state;
    init_yard(&yard);
    yard.fake.flight = flight_new();
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 3);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    lanes_cancel(&yard.lanes, &yard.items[1], yard.fake.now_ns);
    pump(&yard);
    lane_forgot(yard.on[0], &yard.items[2], DEMAND_CANCELLED,
                yard.fake.now_ns + MS);
    while ((note = next_shared(&yard, &walk)) != NULL)
        assert_int_equal(note->what, ends[count++]);
    assert_int_equal(count, 3);
    close_yard(&yard);
    flight_free(yard.fake.flight);
}

/* ---- counting */

/* Of a lane that does not come each statement that waited for it is one, and
 * what the lane itself waited for is none. */
static void test_each_statement_that_fails_is_counted_once(void **state)
{
    const struct pool_stats *stats;
    struct conn *conn;
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    stats = pool_stats(yard.fake.pool);
    conn = fake_try(&yard.fake);
    add_many(&yard, LANE_READ, 5);
    pump(&yard);
    lanes_cancel(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    lanes_expire(&yard.lanes, &yard.items[1], yard.fake.now_ns);
    pool_close(yard.fake.pool, yard.fake.now_ns + SECOND, yard.fake.now_ns);
    assert_int_equal(yard.refused, 3);
    assert_int_equal(stats->closed, 3);
    assert_int_equal(stats->cancelled, 1);
    assert_int_equal(stats->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    close_yard(&yard);
}

static void test_wait_for_a_lane_that_nobody_needs_is_not_counted(void **state)
{
    struct conn *conn;
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    conn = fake_try(&yard.fake);
    assert_ok(add(&yard, LANE_READ, US));
    pump(&yard);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(pool_stats(yard.fake.pool)->cancelled, 0);
    assert_int_equal(pool_stats(yard.fake.pool)->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    close_yard(&yard);
}

/* ---- when they run again */

/* It was on a lane, so it is not shed; all the time it is over the target. */
static void test_statement_that_is_kept_lets_the_lanes_rest(void **state)
{
    struct conn *conn;
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.codel_target_ns = 5 * MS;
    yard.fake.settings.codel_interval_ns = 20 * MS;
    open_yard(&yard, 1);
    assert_ok(add(&yard, LANE_READ, US));
    pump(&yard);
    lane_leave(yard.on[0]);
    conn = yard.lane[0].conn;
    lanes_return(&yard.lanes, &yard.items[0]);
    for (int i = 0; i < 10; i++) {
        yard.fake.now_ns += 10 * MS;
        assert_true(pump(&yard) > yard.fake.now_ns);
    }
    assert_int_equal(yard.refused, 0);
    pool_release(yard.fake.pool, conn, yard.fake.now_ns);
    close_yard(&yard);
}

/* No connect is possible, so there is nothing to tell of lanes that are behind;
 * the next tick refuses all. */
static void test_statement_that_waits_for_long_lets_the_lanes_rest(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    fake_release(&yard.fake, fake_try(&yard.fake), CONN_BROKEN);
    assert_ok(add(&yard, LANE_READ, US));
    yard.fake.now_ns += 2 * SECOND;
    yard.fake.has_no_memory = true;
    assert_true(lanes_pump(&yard.lanes, yard.fake.now_ns) > yard.fake.now_ns);
    assert_true(pool_is_down(yard.fake.pool));
    assert_int_equal(yard.refused, 0);
    fake_settle(&yard.fake);
    assert_int_equal(yard.refused, 1);
    yard.fake.has_no_memory = false;
    close_yard(&yard);
}

/* ---- the alarm */

/* Lets time pass, in which the lanes run when they asked for it. */
static void pass(struct yard *yard, uint64_t ns)
{
    uint64_t end_ns = yard->fake.now_ns + ns;

    for (;;) {
        uint64_t due_ns = pump(yard);

        if (due_ns > end_ns)
            break;
        fake_pass(&yard->fake,
                  due_ns > yard->fake.now_ns ? due_ns - yard->fake.now_ns : 1);
    }
    if (end_ns > yard->fake.now_ns)
        fake_pass(&yard->fake, end_ns - yard->fake.now_ns);
}

/* All lanes that may be are busy; the pool has connections left. */
static void test_statements_that_wait_exhaust_the_pool(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.group_max = 1;
    yard.fake.settings.group_target_ns = 3600 * SECOND;
    open_yard(&yard, 3);
    add_many(&yard, LANE_READ, 4);
    pass(&yard, 1900 * MS);
    assert_int_equal(yard.groups, 2);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 0);
    pass(&yard, 200 * MS);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 1);
    pass(&yard, 10 * SECOND);
    assert_int_equal(yard.fake.events[POOL_EVENT_EXHAUSTED], 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pass(&yard, 900 * MS);
    assert_int_equal(yard.groups, 4);
    assert_int_equal(yard.fake.events[POOL_EVENT_RECOVERED], 0);
    pass(&yard, 200 * MS);
    assert_int_equal(yard.fake.events[POOL_EVENT_RECOVERED], 1);
    close_yard(&yard);
}

/* ---- groups */

static void test_group_is_made_of_what_is_queued(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 7);
    assert_int_equal(yard.groups, 0);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    assert_int_equal(yard.sizes[0], 7);
    close_yard(&yard);
}

static void test_two_groups_of_group_max_are_in_flight(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 25);
    pump(&yard);
    assert_int_equal(yard.groups, 2);
    assert_int_equal(yard.sizes[0], 10);
    assert_int_equal(yard.sizes[1], 10);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(yard.groups, 3);
    assert_int_equal(yard.sizes[2], 5);
    close_yard(&yard);
}

static void test_counts_have_the_groups_in_flight(void **state)
{
    struct yard yard;
    struct pool_counts counts;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.due, 0);
    add_many(&yard, LANE_READ, 25);
    pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.due, 2);
    assert_int_equal(counts.queued, 5);
    close_yard(&yard);
}

static void test_group_takes_no_longer_than_planned(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    for (int i = 0; i < 5; i++)
        assert_ok(add(&yard, LANE_READ, 600 * US));
    assert_ok(add(&yard, LANE_READ, 50 * MS));
    pump(&yard);
    assert_int_equal(yard.sizes[0], 3);
    assert_int_equal(yard.sizes[1], 2);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(yard.sizes[2], 1);
    close_yard(&yard);
}

static void test_late_lane_takes_no_more(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    yard.fake.now_ns += 2 * MS + 1;
    assert_true(lane_is_late(yard.on[0], yard.fake.now_ns));
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    assert_false(lane_is_late(yard.on[0], yard.fake.now_ns));
    pump(&yard);
    assert_int_equal(yard.groups, 2);
    close_yard(&yard);
}

static void test_late_lane_does_not_count(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 2);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    yard.fake.now_ns += 3 * MS;
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 2);
    assert_ptr_not_equal(yard.on[0], yard.on[1]);
    close_yard(&yard);
}

static void test_pump_comes_back_when_a_lane_will_be_late(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 2);
    add_many(&yard, LANE_READ, 30);
    assert_int_equal(pump(&yard), yard.fake.now_ns + 2 * MS + 1);
    assert_int_equal(yard.begun[LANE_READ], 1);
    yard.fake.now_ns += 2 * MS + 1;
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 3);
    close_yard(&yard);
}

static void test_lane_that_is_held_takes_nothing(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    yard.on[0]->is_held = true;
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    yard.on[0]->is_held = false;
    pump(&yard);
    assert_int_equal(yard.groups, 2);
    close_yard(&yard);
}

/* ---- lanes come and go */

static void test_lanes_are_as_many_as_are_needed_up_to_the_setting(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.lanes = 3;
    open_yard(&yard, 5);
    add_many(&yard, LANE_READ, 4); /* too few to be parted */
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 1);
    add_many(&yard, LANE_READ, 100);
    for (int i = 0; i < 5; i++)
        pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 3);
    assert_int_equal(yard.groups, 6);
    assert_int_equal(fake_count(&yard.fake, CONN_SHARED), 3);
    close_yard(&yard);
}

static void test_fewer_lanes_are_left_when_the_setting_is_lowered(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.lanes = 2;
    open_yard(&yard, 2);
    add_many(&yard, LANE_READ, 40);
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    yard.fake.settings.lanes = 1;
    fake_set(&yard.fake);
    pump(&yard);
    assert_false(yard.lane[0].is_finishing);
    assert_true(yard.lane[1].is_finishing);
    lane_group_done(&yard.lane[1], yard.fake.now_ns);
    lane_group_done(&yard.lane[1], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(fake_count(&yard.fake, CONN_SHARED), 1);
    close_yard(&yard);
}

static void test_writes_spread_over_all_connections(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 3);
    add_many(&yard, LANE_WRITE, 7);
    pump(&yard);
    assert_int_equal(yard.begun[LANE_WRITE], 3);
    assert_int_equal(yard.groups, 3);
    assert_int_equal(yard.sizes[0], 3);
    assert_int_equal(yard.sizes[1], 2);
    assert_int_equal(yard.sizes[2], 2);
    close_yard(&yard);
}

static void test_write_lane_goes_back_when_it_is_done(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_WRITE, 1);
    pump(&yard);
    pump(&yard);
    assert_int_equal(yard.ended, 0);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(yard.ended, 1);
    assert_int_equal(fake_count(&yard.fake, CONN_IDLE), 1);
    close_yard(&yard);
}

static void test_read_lane_lingers_for_a_second(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    assert_int_equal(pump(&yard), yard.fake.now_ns + SECOND);
    fake_pass(&yard.fake, SECOND - 1);
    pump(&yard);
    assert_int_equal(yard.ended, 0);
    fake_pass(&yard.fake, 1);
    pump(&yard);
    assert_int_equal(yard.ended, 1);
    close_yard(&yard);
}

static void test_lane_that_is_not_ready_takes_nothing(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.is_slow = true;
    open_yard(&yard, 2);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 1);
    assert_int_equal(yard.groups, 0);
    lane_ready(&yard.lane[0]);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    close_yard(&yard);
}

/* ---- with leases */

static void test_statement_waits_for_a_lane_by_its_age(void **state)
{
    struct yard yard;
    struct wait_log first = { 0 };
    struct wait_log second = { 0 };
    struct conn *conn;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    conn = fake_try(&yard.fake);
    assert_ok(fake_wait(&yard.fake, &first));
    add_many(&yard, LANE_READ, 3);
    pump(&yard);
    assert_ok(fake_wait(&yard.fake, &second));
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(first.calls, 1);
    assert_int_equal(yard.begun[LANE_READ], 0);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 1);
    assert_int_equal(second.calls, 0);
    pump(&yard);
    assert_int_equal(yard.sizes[0], 3);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard); /* which does not linger: somebody waits */
    assert_int_equal(second.calls, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    close_yard(&yard);
}

static void test_write_lane_goes_to_a_lease_that_is_older(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_WRITE, 1);
    pump(&yard);
    assert_ok(fake_wait(&yard.fake, &lease));
    yard.fake.now_ns += MS;
    add_many(&yard, LANE_WRITE, 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(lease.calls, 1);
    assert_int_equal(yard.groups, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    pump(&yard);
    assert_int_equal(yard.groups, 2);
    close_yard(&yard);
}

static void test_lease_gets_a_lane_that_rests_at_once(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    pump(&yard);
    assert_null(fake_try(&yard.fake));
    assert_ok(fake_wait(&yard.fake, &lease));
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_finish(&yard.lane[0]);
    pump(&yard);
    assert_int_equal(lease.calls, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    close_yard(&yard);
}

static void test_lane_that_comes_works_before_it_is_asked_back(void **state)
{
    struct yard yard;
    struct wait_log lease = { 0 };
    struct conn *conn;

    (void)state;
    init_yard(&yard);
    yard.is_slow = true;
    open_yard(&yard, 1);
    conn = fake_try(&yard.fake);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    assert_ok(fake_wait(&yard.fake, &lease));
    yard.fake.now_ns += SECOND;
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 1);
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 0);
    lane_ready(&yard.lane[0]);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    fake_settle(&yard.fake);
    assert_int_equal(yard.fake.calls[FAKE_UNSHARE], 1);
    lane_group_done(yard.on[0], yard.fake.now_ns);
    lane_finish(&yard.lane[0]);
    pump(&yard);
    assert_int_equal(lease.calls, 1);
    fake_release(&yard.fake, lease.conn, CONN_CLEAN);
    close_yard(&yard);
}

static void test_lane_that_finishes_is_replaced_under_load(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 2);
    add_many(&yard, LANE_READ, 30);
    pump(&yard);
    lane_finish(yard.on[0]);
    pump(&yard);
    assert_int_equal(yard.begun[LANE_READ], 2);
    assert_int_equal(yard.groups, 3);
    close_yard(&yard);
}

static void test_nothing_is_sent_while_the_pool_is_paused(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    pool_pause(yard.fake.pool, yard.fake.now_ns);
    add_many(&yard, LANE_READ, 1);
    assert_true(pump(&yard) > yard.fake.now_ns);
    assert_int_equal(yard.groups, 0);
    pool_resume(yard.fake.pool, yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(yard.groups, 1);
    close_yard(&yard);
}

/* ---- the queue */

static void test_item_that_leaves_is_not_sent_and_needs_no_lane(void **state)
{
    struct yard yard;
    struct conn *conn;
    struct pool_counts counts;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    conn = fake_try(&yard.fake);
    add_many(&yard, LANE_READ, 1);
    pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.waiting, 1);
    lanes_expire(&yard.lanes, &yard.items[0], yard.fake.now_ns);
    pump(&yard);
    pool_counts(yard.fake.pool, &counts);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(pool_stats(yard.fake.pool)->timeouts, 1);
    fake_release(&yard.fake, conn, CONN_CLEAN);
    assert_int_equal(yard.begun[LANE_READ], 0);
    close_yard(&yard);
}

static void test_item_is_refused_when_too_many_are_queued(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.max_waiters = 2;
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 2);
    assert_err(add(&yard, LANE_READ, US), ERR_BUSY);
    assert_ok(add(&yard, LANE_WRITE, US));
    pump(&yard);
    assert_int_equal(yard.sizes[0], 2);
    close_yard(&yard);
}

static void test_queue_is_refused_when_no_lane_can_come(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 3);
    pool_close(yard.fake.pool, yard.fake.now_ns + SECOND, yard.fake.now_ns);
    pump(&yard);
    assert_int_equal(yard.refused, 3);
    assert_err(yard.refused_with, ERR_CLOSED);
    close_yard(&yard);
}

static void test_item_that_returns_is_first(void **state)
{
    struct yard yard;

    (void)state;
    init_yard(&yard);
    yard.fake.settings.group_max = 1;
    open_yard(&yard, 1);
    add_many(&yard, LANE_READ, 4);
    pump(&yard);
    lanes_return(&yard.lanes, &yard.items[0]);
    assert_ptr_equal(list_first(&yard.lanes.sets[LANE_READ].queue),
                     &yard.items[0].node);
    lanes_remove(&yard.lanes, &yard.items[0]);
    lanes_reroute(&yard.lanes, &yard.items[0]);
    assert_int_equal(yard.lanes.sets[LANE_WRITE].queue.len, 1);
    assert_int_equal(pool_stats(yard.fake.pool)->reroutes, 1);
    close_yard(&yard);
}

/* ---- costs */

static void test_cost_falls_quickly_and_rises_slowly(void **state)
{
    (void)state;
    assert_int_equal(lane_cost(0, 500, 1), 500);
    assert_int_equal(lane_cost(1000, 500, 1), 750);
    assert_int_equal(lane_cost(1000, 1800, 1), 1100);
    assert_int_equal(lane_cost(1000, 4 * MS, 1), 1000 + 251);
    assert_int_equal(lane_cost(1000, 100 * US, 64), 1000 + 99 * US / 8);
    assert_int_equal(lane_cost(1000, 1000 + 8 * SECOND, 1), 1000 + SECOND);
    assert_int_equal(lane_cost(0, 0, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_that_wait_exhaust_the_pool),
        cmocka_unit_test(test_own_time_of_each_is_noted),
        cmocka_unit_test(test_statements_that_leave_are_noted),
        cmocka_unit_test(test_each_statement_that_fails_is_counted_once),
        cmocka_unit_test(test_wait_for_a_lane_that_nobody_needs_is_not_counted),
        cmocka_unit_test(test_statement_that_is_kept_lets_the_lanes_rest),
        cmocka_unit_test(
            test_statement_that_waits_for_long_lets_the_lanes_rest),
        cmocka_unit_test(test_group_is_made_of_what_is_queued),
        cmocka_unit_test(test_two_groups_of_group_max_are_in_flight),
        cmocka_unit_test(test_counts_have_the_groups_in_flight),
        cmocka_unit_test(test_group_takes_no_longer_than_planned),
        cmocka_unit_test(test_late_lane_takes_no_more),
        cmocka_unit_test(test_late_lane_does_not_count),
        cmocka_unit_test(test_pump_comes_back_when_a_lane_will_be_late),
        cmocka_unit_test(test_lane_that_is_held_takes_nothing),
        cmocka_unit_test(
            test_lanes_are_as_many_as_are_needed_up_to_the_setting),
        cmocka_unit_test(test_fewer_lanes_are_left_when_the_setting_is_lowered),
        cmocka_unit_test(test_writes_spread_over_all_connections),
        cmocka_unit_test(test_write_lane_goes_back_when_it_is_done),
        cmocka_unit_test(test_read_lane_lingers_for_a_second),
        cmocka_unit_test(test_lane_that_is_not_ready_takes_nothing),
        cmocka_unit_test(test_statement_waits_for_a_lane_by_its_age),
        cmocka_unit_test(test_write_lane_goes_to_a_lease_that_is_older),
        cmocka_unit_test(test_lease_gets_a_lane_that_rests_at_once),
        cmocka_unit_test(test_lane_that_comes_works_before_it_is_asked_back),
        cmocka_unit_test(test_lane_that_finishes_is_replaced_under_load),
        cmocka_unit_test(test_nothing_is_sent_while_the_pool_is_paused),
        cmocka_unit_test(test_item_that_leaves_is_not_sent_and_needs_no_lane),
        cmocka_unit_test(test_item_is_refused_when_too_many_are_queued),
        cmocka_unit_test(test_queue_is_refused_when_no_lane_can_come),
        cmocka_unit_test(test_item_that_returns_is_first),
        cmocka_unit_test(test_cost_falls_quickly_and_rises_slowly),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
