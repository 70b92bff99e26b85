/* test_pool_flow.c - lanes that have no groups, as those of Redis: a lane takes
 * what it has room for. */
#include "fake_driver.h"
#include "pool/check.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/lease.h"
#include "pool/pool.h"

enum { LANES_TEST_MAX = 4, ITEMS_MAX = 64, ROOM = 10, BUSY = 5 };

/* A pool on the fake driver and lanes on which items are due until the test
 * says otherwise. */
struct canal {
    struct fake fake;
    struct lanes lanes;
    struct lane lane[LANES_TEST_MAX];
    uint32_t due[LANES_TEST_MAX];
    struct lane_item items[ITEMS_MAX];
    unsigned n_items;
    unsigned begun;
    unsigned ended;
    unsigned sends;
    uint32_t send_most; /* the rest is returned; 0: all are sent */
    unsigned wakes;
};

static struct canal *canal_of(const struct lanes *lanes)
{
    return container_of(lanes, struct canal, lanes);
}

static uint32_t *due_of(const struct lane *lane)
{
    struct canal *canal = canal_of(lane->lanes);

    return &canal->due[lane - canal->lane];
}

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct canal *canal = canal_of(lanes);
    struct lane *lane = canal->lane;

    while (lane->lanes != NULL)
        lane++;
    assert_true(lane < canal->lane + LANES_TEST_MAX);
    canal->begun++;
    lane_begin(lane, lanes, conn, kind, canal->fake.now_ns);
    lane_ready(lane);
}

static void send_items(struct lane *lane, struct list *group)
{
    struct canal *canal = canal_of(lane->lanes);
    uint32_t most = canal->send_most > 0 ? canal->send_most : group->len;

    canal->sends++;
    assert_true(group->len <= ROOM - *due_of(lane));
    for (; most > 0 && list_pop_front(group) != NULL; most--)
        ++*due_of(lane);
    while (group->len > 0) {
        struct list_node *node = list_last(group);

        list_remove(group, node);
        lanes_return(lane->lanes, container_of(node, struct lane_item, node));
    }
}

static void end(struct lane *lane)
{
    struct canal *canal = canal_of(lane->lanes);

    assert_int_equal(*due_of(lane), 0);
    canal->ended++;
    lane_leave(lane);
    pool_release(canal->fake.pool, lane->conn, canal->fake.now_ns);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    (void)lanes;
    (void)item;
    (void)waiter;
    assert_err(err, ERR_CLOSED);
}

static struct lane_flow flow(const struct lane *lane)
{
    uint32_t due = *due_of(lane);

    return (struct lane_flow){ .due = due,
                               .room = ROOM - due,
                               .is_busy = due >= BUSY };
}

static void wake(struct lanes *lanes)
{
    canal_of(lanes)->wakes++;
}

static const struct lanes_ops ops = {
    .begin = begin,
    .send = send_items,
    .end = end,
    .refuse = refuse,
    .flow = flow,
    .wake = wake,
};

static uint64_t pump(struct canal *canal)
{
    uint64_t due_ns;

    do {
        canal->wakes = 0;
        due_ns = lanes_pump(&canal->lanes, canal->fake.now_ns);
        pool_check(canal->fake.pool);
    } while (canal->wakes > 0);
    return due_ns;
}

/* conns connections, all idle. */
static void open_canal(struct canal *canal, unsigned conns, unsigned lanes)
{
    struct conn *lent[LANES_TEST_MAX];

    memset(canal, 0, sizeof(*canal));
    fake_init(&canal->fake);
    canal->fake.settings.lanes = lanes;
    canal->fake.settings.group_max = 2; /* says nothing here */
    canal->fake.settings.max_connections = conns;
    fake_lend(&canal->fake, lent, conns);
    for (unsigned i = 0; i < conns; i++)
        fake_release(&canal->fake, lent[i], CONN_CLEAN);
    lanes_init(&canal->lanes, canal->fake.pool, &ops);
}

static void add(struct canal *canal, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct lane_item *item = &canal->items[canal->n_items++];

        assert_true(canal->n_items <= ITEMS_MAX);
        item->kind = LANE_READ;
        assert_ok(lanes_add(&canal->lanes, item, canal->fake.now_ns));
    }
}

static void answer(struct canal *canal, unsigned at, uint32_t count)
{
    canal->due[at] -= count;
    if (canal->due[at] == 0)
        lane_rests(&canal->lane[at], canal->fake.now_ns);
}

static void close_canal(struct canal *canal)
{
    for (unsigned i = 0; i < LANES_TEST_MAX; i++) {
        canal->due[i] = 0;
        lane_finish(&canal->lane[i]);
    }
    pool_close(canal->fake.pool, canal->fake.now_ns + SECOND,
               canal->fake.now_ns);
    pump(canal);
    lanes_refuse_all(&canal->lanes, ERR_CLOSED);
    assert_int_equal(canal->begun, canal->ended);
    fake_end(&canal->fake);
}

static void test_lane_takes_what_it_has_room_for(void **state)
{
    struct canal canal;

    (void)state;
    open_canal(&canal, 1, 1);
    add(&canal, ROOM + 3);
    pump(&canal);
    assert_int_equal(canal.sends, 1);
    assert_int_equal(canal.due[0], ROOM);

    answer(&canal, 0, 2);
    pump(&canal);
    assert_int_equal(canal.due[0], ROOM);
    assert_int_equal(canal.lanes.sets[LANE_READ].queue.len, 1);
    close_canal(&canal);
}

static void test_lane_that_is_slow_is_not_late(void **state)
{
    struct canal canal;

    (void)state;
    open_canal(&canal, 1, 1);
    add(&canal, 1);
    pump(&canal);
    fake_pass(&canal.fake, 10 * SECOND);
    add(&canal, 1);
    pump(&canal);
    assert_int_equal(canal.due[0], 2);
    close_canal(&canal);
}

static void test_next_lane_comes_when_all_are_busy(void **state)
{
    struct canal canal;

    (void)state;
    open_canal(&canal, 3, 2);
    add(&canal, BUSY - 1);
    pump(&canal);
    assert_int_equal(canal.begun, 1);
    add(&canal, 1);
    pump(&canal);
    assert_int_equal(canal.begun, 2);

    add(&canal, 3);
    pump(&canal);
    assert_int_equal(canal.due[0], BUSY);
    assert_int_equal(canal.due[1], 3);
    add(&canal, 2 * ROOM);
    pump(&canal);
    assert_int_equal(canal.begun, 2);
    close_canal(&canal);
}

static void test_what_is_returned_is_sent_before_all_others(void **state)
{
    struct canal canal;

    (void)state;
    open_canal(&canal, 1, 1);
    canal.send_most = 2;
    add(&canal, 5);
    pump(&canal);
    assert_int_equal(canal.sends, 3);
    assert_int_equal(canal.due[0], 5);
    close_canal(&canal);
}

static void test_lane_with_nothing_due_goes_back_after_a_second(void **state)
{
    struct canal canal;
    uint64_t due_ns;

    (void)state;
    open_canal(&canal, 1, 1);
    add(&canal, 1);
    pump(&canal);
    fake_pass(&canal.fake, 5 * SECOND);
    pump(&canal);
    assert_int_equal(canal.ended, 0);

    answer(&canal, 0, 1);
    due_ns = pump(&canal);
    assert_int_equal(due_ns, canal.fake.now_ns + SECOND);
    fake_pass(&canal.fake, SECOND);
    pump(&canal);
    assert_int_equal(canal.ended, 1);
    close_canal(&canal);
}

static void test_lane_that_finishes_ends_when_nothing_is_due(void **state)
{
    struct canal canal;

    (void)state;
    open_canal(&canal, 1, 1);
    add(&canal, 2);
    pump(&canal);
    lane_finish(&canal.lane[0]);
    pump(&canal);
    assert_int_equal(canal.ended, 0);
    answer(&canal, 0, 2);
    pump(&canal);
    assert_int_equal(canal.ended, 1);
    close_canal(&canal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lane_takes_what_it_has_room_for),
        cmocka_unit_test(test_lane_that_is_slow_is_not_late),
        cmocka_unit_test(test_next_lane_comes_when_all_are_busy),
        cmocka_unit_test(test_what_is_returned_is_sent_before_all_others),
        cmocka_unit_test(test_lane_with_nothing_due_goes_back_after_a_second),
        cmocka_unit_test(test_lane_that_finishes_ends_when_nothing_is_due),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
