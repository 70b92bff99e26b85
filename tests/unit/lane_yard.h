/*
 * lane_yard.h - a pool on the fake driver and lanes that remember what they
 * were given, for tests.
 */
#ifndef TIDEPOOL_UNIT_LANE_YARD_H
#define TIDEPOOL_UNIT_LANE_YARD_H

#include "fake_driver.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"

enum { LANES_TEST_MAX = 8, ITEMS_MAX = 256, GROUPS_MAX = 64 };

static const uint64_t US = 1000;

/* Owned by the test; what it changes of fake.settings counts from yard_open()
 * on. */
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

/* One lane, groups of 10 and of 2 ms. */
void yard_init(struct yard *yard);
/* conns connections, all idle. */
void yard_open(struct yard *yard, unsigned conns);
/* Asked to, every lane finishes what is on it and goes. */
void yard_close(struct yard *yard);
/* Runs the lanes until they ask no more; gives when they want it again. */
uint64_t yard_pump(struct yard *yard);
/* Queues a statement, the next of items; and count of 1 us. */
enum err yard_add(struct yard *yard, enum lane_kind kind, uint64_t cost_ns);
void yard_add_many(struct yard *yard, enum lane_kind kind, unsigned count);

#endif
