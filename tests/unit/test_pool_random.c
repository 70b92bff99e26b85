/*
 * test_pool_random.c - seeded runs of random demand and faults against the
 * pool.  After every event pool_check() holds and each wait has ended at most
 * once, in its turn, by its deadline; at the end everybody is served when the
 * server is well again, and nothing is left.  POOL_SEED=n runs one seed.
 */
#include "fake_driver.h"

#include "base/rand.h"
#include "pool/backoff.h"
#include "pool/check.h"
#include "pool/driver.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/status.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEEDS = 300, EVENTS = 3000, ACTORS = 40 };

/* One caller: at rest, in line, or holding a connection. */
struct actor {
    struct pool_waiter waiter;
    struct world *world;
    bool is_waiting;
    uint64_t joined; /* its number in the order of joining */
    struct conn *conn;
};

struct world {
    struct fake fake;
    struct rand rand;
    struct actor actors[ACTORS];
    uint64_t joins;
    bool is_healing;   /* callbacks only take what they get */
    uint64_t mildness; /* one answer in so many is bad */
    uint64_t ends[ERR_COUNT];
};

static uint64_t seed_at_work; /* for the report of a failure */

static uint64_t pick(struct world *world, uint64_t bound)
{
    return rand_below(&world->rand, bound);
}

static bool is_bad(struct world *world)
{
    return pick(world, world->mildness) == 0;
}

static struct actor *pick_actor(struct world *world)
{
    return &world->actors[pick(world, ACTORS)];
}

static enum conn_wire pick_wire(struct world *world)
{
    static const enum conn_wire bad[] = { CONN_DIRTY, CONN_BUSY, CONN_BROKEN };

    return is_bad(world) ? bad[pick(world, ARRAY_LEN(bad))] : CONN_CLEAN;
}

static void let_go(struct world *world, struct actor *actor)
{
    struct fake *fake = &world->fake;
    uint64_t generation;

    if (actor->conn == NULL)
        return;
    generation = actor->conn->generation;
    if (pick(world, 10) == 0 && is_bad(world))
        pool_discard(fake->pool, actor->conn, CLOSE_STALLED, fake->now_ns);
    else
        fake_return(fake, actor->conn, pick_wire(world));
    /* the holder was told, and may hold another by now */
    assert_true(actor->conn == NULL || actor->conn->generation != generation);
}

static void join(struct world *world, struct actor *actor);

static void leave(struct world *world, struct actor *actor)
{
    if (!actor->is_waiting)
        return;
    actor->is_waiting = false;
    pool_wait_cancel(world->fake.pool, &actor->waiter, world->fake.now_ns);
}

static void change_settings(struct world *world);

/* What a callback does to the pool that calls it. */
static void act_inside(struct world *world, struct actor *actor)
{
    struct actor *other = pick_actor(world);

    switch (pick(world, 8)) {
    case 1:
    case 2: let_go(world, actor); break;
    case 3: leave(world, other); break;
    case 4: let_go(world, other); break;
    case 5: join(world, actor->conn == NULL ? actor : other); break;
    case 6: change_settings(world); break;
    default: break;
    }
}

static void check_turn(const struct world *world, const struct actor *actor)
{
    for (size_t i = 0; i < ACTORS; i++) {
        const struct actor *other = &world->actors[i];

        assert_true(!other->is_waiting || other->joined > actor->joined);
    }
}

static void on_done(struct pool_waiter *waiter, enum err err, struct conn *conn)
{
    struct actor *actor = container_of(waiter, struct actor, waiter);
    struct world *world = actor->world;
    uint64_t now_ns = world->fake.now_ns, total_ns = 0;

    assert_true(actor->is_waiting);
    actor->is_waiting = false;
    world->ends[err]++;
    assert_int_equal(err == ERR_OK, conn != NULL);
    assert_true(err == ERR_TIMEOUT ? now_ns >= waiter->deadline_ns
                                   : now_ns < waiter->deadline_ns + 1000);
    assert_true(now_ns < waiter->deadline_ns + 1000);
    for (size_t i = 0; i < WAIT_PHASES; i++)
        total_ns += waiter->phase_ns[i];
    assert_int_equal(total_ns, now_ns - waiter->since_ns);
    if (conn != NULL) {
        check_turn(world, actor);
        actor->conn = conn;
        conn_set_holder(conn, &actor->conn, "random.lua:1");
        assert_int_equal(conn->state,
                         waiter->shared ? CONN_SHARED : CONN_LEASED);
    }
    if (!world->is_healing)
        act_inside(world, actor);
}

static void join(struct world *world, struct actor *actor)
{
    struct fake *fake = &world->fake;
    enum err err;

    if (actor->is_waiting || actor->conn != NULL)
        return;
    memset(&actor->waiter, 0, sizeof(actor->waiter));
    actor->waiter.on_done = on_done;
    actor->waiter.shared = pick(world, 4) == 0;
    if (pick(world, 3) > 0)
        actor->waiter.deadline_ns = fake->now_ns + pick(world, 300 * MS);
    actor->joined = ++world->joins;
    actor->is_waiting = true;
    err = pool_wait(fake->pool, &actor->waiter, fake->now_ns);
    if (err != ERR_OK) {
        world->ends[err]++;
        actor->is_waiting = false;
    }
}

static void try_it(struct world *world, struct actor *actor)
{
    struct fake *fake = &world->fake;
    bool shared = pick(world, 4) == 0;

    if (actor->is_waiting || actor->conn != NULL)
        return;
    actor->conn = pool_try_acquire(fake->pool, shared, NULL, fake->now_ns);
    if (actor->conn == NULL)
        return;
    for (size_t i = 0; i < ACTORS; i++)
        assert_false(world->actors[i].is_waiting);
    conn_set_holder(actor->conn, &actor->conn, "random.lua:2");
}

static void change_settings(struct world *world)
{
    struct fake *fake = &world->fake;
    struct pool_settings settings = *pool_settings(fake->pool);

    settings.max_connections = 1 + pick(world, 12);
    settings.min_connections = pick(world, settings.max_connections + 1);
    if (pick(world, 2) == 0)
        settings.min_connections = 0;
    settings.max_waiters = pick(world, 2 * ACTORS);
    settings.idle_timeout_ns = 10 * MS + pick(world, SECOND);
    settings.max_lifetime_ns = 100 * MS + pick(world, 10 * SECOND);
    settings.connect_timeout_ns = 10 * MS + pick(world, SECOND);
    settings.acquire_timeout_ns = MS + pick(world, SECOND);
    settings.test_before_acquire = pick(world, 4) > 0;
    settings.test_after_ns = pick(world, 3) * 20 * MS;
    settings.leak_threshold_ns = pick(world, 2) * pick(world, SECOND);
    settings.acquire_slow_threshold_ns = pick(world, 2) * pick(world, SECOND);
    assert_ok(pool_set(fake->pool, &settings, fake->now_ns, NULL));
}

static void change_hooks(struct world *world)
{
    struct fake *fake = &world->fake;

    fake->has_no_tasks = pick(world, 10) == 0;
    fake->is_left_open = pick(world, 10) == 0;
    fake_set_hooks(fake, (unsigned)pick(world, 1U << CONN_HOOKS));
}

/* ---- the driver */

static void answer_open(struct world *world)
{
    struct fake *fake = &world->fake;
    unsigned address = (unsigned)pick(world, fake->addresses);

    if (!is_bad(world)) {
        if (fake->addresses > 1)
            pool_address_answered(fake->pool, address);
        fake_opened(fake);
        return;
    }
    if (fake->addresses > 1 && pick(world, 4) > 0)
        pool_address_failed(fake->pool, address, fake->now_ns);
    fake_failed(fake, "random");
}

/* A random one of those that owe this, so that answers overtake one another. */
static void shuffle(struct world *world, enum fake_debt debt)
{
    struct list *links = &world->fake.links[debt];

    for (uint64_t i = pick(world, links->len + 1); i > 0; i--)
        list_push_back(links, list_pop_front(links));
}

static enum hook_verdict pick_verdict(struct world *world)
{
    if (!is_bad(world))
        return HOOK_PASSED;
    return pick(world, 2) == 0 ? HOOK_REFUSED : HOOK_FAILED;
}

static void answer(struct world *world, enum fake_debt debt)
{
    struct fake *fake = &world->fake;

    if (fake_first(fake, debt) == NULL)
        return;
    shuffle(world, debt);
    switch (debt) {
    case FAKE_OPEN: answer_open(world); break;
    case FAKE_TEST: fake_tested(fake, !is_bad(world)); break;
    case FAKE_RESET: fake_reset(fake, !is_bad(world)); break;
    case FAKE_CANCEL:
        fake_cancelled(fake, !is_bad(world), pick_wire(world));
        break;
    case FAKE_HOOK: fake_hooked(fake, pick_verdict(world)); break;
    case FAKE_CLOSE: fake_closed(fake); break;
    default: break;
    }
}

/* A lane that was asked to finish does. */
static void unshare(struct world *world)
{
    struct fake_link *link = fake_first(&world->fake, FAKE_UNSHARE);

    if (link != NULL)
        fake_release(&world->fake, &link->conn, CONN_CLEAN);
}

/* Something happens to a connection that is not closing. */
static void strike(struct world *world)
{
    struct fake *fake = &world->fake;
    enum fake_debt debt = (enum fake_debt)pick(world, FAKE_CLOSE);
    struct fake_link *link;

    shuffle(world, debt);
    link = fake_first(fake, debt);
    if (link == NULL)
        return;
    if (link->conn.state != CONN_IDLE && pick(world, 2) == 0)
        pool_conn_byte(&link->conn, fake->now_ns);
    else if (debt == FAKE_OPEN)
        pool_conn_phase(&link->conn, WAIT_DNS + (enum wait_phase)pick(world, 5),
                        fake->now_ns);
    else if (is_bad(world))
        pool_conn_lost(&link->conn, NULL, fake->now_ns);
}

/* ---- events */

static void pass_time(struct world *world)
{
    static const uint64_t spans_ns[] = { 1,      1000,    10000,
                                         100000, 1000000, 10000000 };
    uint64_t span_ns = spans_ns[pick(world, ARRAY_LEN(spans_ns))];

    if (pick(world, 40) == 0)
        span_ns = SECOND;
    fake_pass(&world->fake, pick(world, span_ns));
}

static void rare(struct world *world)
{
    struct fake *fake = &world->fake;

    switch (pick(world, 8)) {
    case 0: pool_pause(fake->pool, fake->now_ns); break;
    case 1: pool_drain(fake->pool, fake->now_ns); break;
    case 2: change_settings(world); break;
    case 3: fake->is_close_slow = pick(world, 2) == 0; break;
    case 4: fake->has_no_memory = pick(world, 8) == 0; break;
    case 5: change_hooks(world); break;
    default: pool_resume(fake->pool, fake->now_ns); break;
    }
}

static void demand(struct world *world)
{
    struct actor *actor = pick_actor(world);

    switch (pick(world, 8)) {
    case 0:
    case 1:
    case 2: join(world, actor); break;
    case 3: try_it(world, actor); break;
    case 4: leave(world, actor); break;
    default: let_go(world, actor); break;
    }
}

static void event(struct world *world)
{
    static const enum fake_debt debts[] = { FAKE_OPEN,  FAKE_OPEN,  FAKE_OPEN,
                                            FAKE_OPEN,  FAKE_TEST,  FAKE_TEST,
                                            FAKE_TEST,  FAKE_RESET, FAKE_CANCEL,
                                            FAKE_CLOSE, FAKE_HOOK,  FAKE_HOOK };
    uint64_t choice = pick(world, 26);

    if (choice < ARRAY_LEN(debts))
        answer(world, debts[choice]);
    else if (choice == 12)
        unshare(world);
    else if (choice == 13)
        strike(world);
    else if (choice < 16)
        pass_time(world);
    else if (choice == 16 && pick(world, 5) == 0)
        rare(world);
    else
        demand(world);
}

/* Nobody waits without something under way that will end or serve the wait. */
static void check_progress(const struct world *world)
{
    const struct fake *fake = &world->fake;
    struct pool_counts counts;

    pool_check(fake->pool);
    pool_counts(fake->pool, &counts);
    if (counts.waiting == 0 || pool_is_paused(fake->pool) ||
        fake->due_ns <= fake->now_ns)
        return;
    if (counts.states[CONN_IDLE] > 0)
        assert_true(counts.states[CONN_TESTING] + counts.states[CONN_HOOKED] >=
                    counts.waiting);
    assert_true(counts.open > counts.states[CONN_IDLE] ||
                fake->due_ns <= fake->now_ns + SECOND);
}

/* ---- a run */

static void start(struct world *world, uint64_t seed)
{
    struct fake *fake = &world->fake;

    memset(world, 0, sizeof(*world));
    world->rand.state = seed;
    world->mildness = 2 + seed % 20;
    fake_init(fake);
    fake->seed = seed;
    fake->addresses = seed % 3 == 0 ? 3 : 1;
    fake_start(fake);
    for (size_t i = 0; i < ACTORS; i++)
        world->actors[i].world = world;
    change_settings(world);
}

/* Everything answers well from now on; the line must come to its end. */
static void heal(struct world *world)
{
    struct fake *fake = &world->fake;

    world->is_healing = true;
    fake->has_no_memory = false;
    fake->is_close_slow = false;
    fake->has_no_tasks = false;
    fake->is_left_open = false;
    pool_resume(fake->pool, fake->now_ns);
    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < ACTORS; k++) {
            if (world->actors[k].conn != NULL)
                fake_release(fake, world->actors[k].conn, CONN_CLEAN);
        }
        fake_answer_all(fake);
        fake_pass(fake, 10 * MS);
    }
    assert_false(pool_is_down(fake->pool));
    for (size_t i = 0; i < ACTORS; i++)
        assert_false(world->actors[i].is_waiting);
}

/* Closes with some in line and some leases out. */
static void finish(struct world *world)
{
    struct fake *fake = &world->fake;

    for (size_t i = 0; i < ACTORS; i++)
        join(world, &world->actors[i]);
    fake_settle(fake);
    pool_close(fake->pool, fake->now_ns + SECOND, fake->now_ns);
    pool_check(fake->pool);
    for (size_t i = 0; i < ACTORS; i++)
        assert_false(world->actors[i].is_waiting);
    for (size_t i = 0; i < ACTORS; i += 2) {
        if (world->actors[i].conn != NULL)
            fake_release(fake, world->actors[i].conn, CONN_BUSY);
    }
    fake_pass(fake, SECOND + 1000);
    assert_int_equal(fake->closed, 1);
    assert_int_equal(fake->live, 0);
    for (size_t i = 0; i < ACTORS; i++)
        assert_null(world->actors[i].conn);
}

static void run(struct world *world, uint64_t seed)
{
    seed_at_work = seed;
    start(world, seed);
    for (int i = 0; i < EVENTS; i++) {
        event(world);
        check_progress(world);
    }
    heal(world);
    finish(world);
}

/* assert() in the pool does not come back to cmocka. */
static void on_abort(int number)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "# seed %llu\n",
                       (unsigned long long)seed_at_work);

    (void)number;
    if (write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(1);
    (void)signal(SIGABRT, SIG_DFL);
}

static int report_seed(void **state)
{
    (void)state;
    if (seed_at_work != 0)
        print_error("# failed at seed %llu\n",
                    (unsigned long long)seed_at_work);
    return 0;
}

static void test_rules_hold_through_random_demand_and_faults(void **state)
{
    const char *only = getenv("POOL_SEED");
    uint64_t ends[ERR_COUNT] = { 0 };
    static struct world world;

    (void)state;
    for (uint64_t i = 1; i <= (only != NULL ? 1 : SEEDS); i++) {
        run(&world, only != NULL ? strtoull(only, NULL, 10) : i);
        for (size_t k = 0; k < ERR_COUNT; k++)
            ends[k] += world.ends[k];
    }
    seed_at_work = 0;
    if (only != NULL)
        return;
    assert_true(ends[ERR_OK] > SEEDS * 30); /* and each end was reached */
    assert_true(ends[ERR_TIMEOUT] > SEEDS);
    assert_true(ends[ERR_REFUSED] > SEEDS);
    assert_true(ends[ERR_BUSY] > SEEDS);
    assert_true(ends[ERR_CLOSED] > SEEDS);
}

static void test_same_seed_gives_the_same_run(void **state)
{
    static struct world worlds[2];

    (void)state;
    for (size_t i = 0; i < 2; i++)
        run(&worlds[i], 77);
    seed_at_work = 0;
    assert_int_equal(worlds[0].fake.now_ns, worlds[1].fake.now_ns);
    assert_memory_equal(worlds[0].fake.calls, worlds[1].fake.calls,
                        sizeof(worlds[0].fake.calls));
    assert_memory_equal(worlds[0].ends, worlds[1].ends, sizeof(worlds[0].ends));
    assert_int_equal(worlds[0].fake.wakes, worlds[1].fake.wakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            test_rules_hold_through_random_demand_and_faults, report_seed),
        cmocka_unit_test_teardown(test_same_seed_gives_the_same_run,
                                  report_seed),
    };

    (void)signal(SIGABRT, on_abort);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
