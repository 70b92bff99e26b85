/* lane_yard.c - see lane_yard.h. */
#include "lane_yard.h"

#include "pool/check.h"
#include "pool/lease.h"
#include "pool/pool.h"

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

uint64_t yard_pump(struct yard *yard)
{
    uint64_t due_ns;

    do {
        yard->wakes = 0;
        due_ns = lanes_pump(&yard->lanes, yard->fake.now_ns);
        pool_check(yard->fake.pool);
    } while (yard->wakes > 0);
    return due_ns;
}

void yard_open(struct yard *yard, unsigned conns)
{
    struct conn *lent[LANES_TEST_MAX];

    yard->fake.settings.max_connections = conns;
    fake_lend(&yard->fake, lent, conns);
    for (unsigned i = 0; i < conns; i++)
        fake_release(&yard->fake, lent[i], CONN_CLEAN);
    lanes_init(&yard->lanes, yard->fake.pool, &ops);
}

void yard_init(struct yard *yard)
{
    memset(yard, 0, sizeof(*yard));
    fake_init(&yard->fake);
    yard->fake.settings.lanes = 1;
    yard->fake.settings.group_max = 10;
    yard->fake.settings.group_target_ns = 2 * MS;
}

enum err yard_add(struct yard *yard, enum lane_kind kind, uint64_t cost_ns)
{
    struct lane_item *item = &yard->items[yard->n_items++];

    assert_true(yard->n_items <= ITEMS_MAX);
    item->kind = kind;
    item->cost_ns = cost_ns;
    return lanes_add(&yard->lanes, item, yard->fake.now_ns);
}

void yard_add_many(struct yard *yard, enum lane_kind kind, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_ok(yard_add(yard, kind, US));
}

void yard_close(struct yard *yard)
{
    for (unsigned i = 0; i < LANES_TEST_MAX; i++) {
        struct lane *lane = &yard->lane[i];

        while (lane->lanes != NULL && lane->groups > 0)
            lane_group_done(lane, yard->fake.now_ns);
        lane_finish(lane);
    }
    pool_close(yard->fake.pool, yard->fake.now_ns + SECOND, yard->fake.now_ns);
    yard_pump(yard);
    lanes_refuse_all(&yard->lanes, ERR_CLOSED);
    for (int kind = 0; kind < LANE_KINDS; kind++)
        assert_int_equal(yard->lanes.sets[kind].lanes.len, 0);
    fake_end(&yard->fake);
}
