/* test_pool_permit.c - pools of several workers with one budget, and a pool
 * alone with its bucket of connects. */
#include "fake_driver.h"

#include "base/rand.h"
#include "pool/budget.h"
#include "pool/budget_census.h"
#include "pool/check.h"
#include "pool/ghost.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"
#include "pool/why.h"

#include <stdlib.h>

enum { WORKERS = 3, FIRST_PID = 100 };

/* Workers in one process, with one clock. */
struct house {
    struct budget *budget;
    struct budget_share shares[WORKERS];
    struct fake fakes[WORKERS];
    bool is_rung[WORKERS];
    unsigned workers;
};

static void on_ring(void *ud, unsigned slot, int pid)
{
    struct house *house = ud;

    (void)pid;
    house->is_rung[slot] = true;
}

static struct budget_census census(const struct house *house, unsigned i)
{
    struct budget_census out;

    budget_count(&house->shares[i], &out);
    return out;
}

/* What a turn of each worker's loop does: bells, ticks, answers. */
static void turn(struct house *house)
{
    for (unsigned i = 0; i < house->workers; i++) {
        struct fake *fake = &house->fakes[i];

        if (fake->pool == NULL)
            continue;
        if (house->is_rung[i]) {
            house->is_rung[i] = false;
            pool_look(fake->pool, fake->now_ns);
            pool_check(fake->pool);
        }
        fake_settle(fake);
        fake_answer_all(fake);
        fake_settle(fake);
        assert_true(census(house, i).mine + census(house, i).others <=
                    census(house, i).max);
    }
}

static void pass(struct house *house, uint64_t ns)
{
    for (uint64_t left = ns; left > 0; left -= MS) {
        turn(house);
        for (unsigned i = 0; i < house->workers; i++)
            if (house->fakes[i].pool != NULL)
                fake_pass(&house->fakes[i], MS);
            else
                house->fakes[i].now_ns += MS;
    }
    turn(house);
    turn(house);
}

static void join(struct house *house, unsigned i)
{
    struct fake *fake = &house->fakes[i];
    struct budget_share *share = &house->shares[i];

    *share = (struct budget_share){
        .budget = house->budget,
        .slot = i,
        .bell = { on_ring, house },
    };
    assert_int_equal(budget_claim(house->budget, FIRST_PID + (int)i,
                                  fake->now_ns, &share->bell),
                     i);
    assert_ok(budget_join(share, "postgres/main",
                          (uint32_t)fake->settings.max_connections));
    fake->share = share;
    fake_start(fake);
    fake_tick(fake);
}

static void begin(struct house *house, unsigned workers, uint32_t max)
{
    memset(house, 0, sizeof(*house));
    house->workers = workers;
    house->budget = calloc(1, budget_size());
    assert_non_null(house->budget);
    assert_ok(budget_init(house->budget));
    for (unsigned i = 0; i < workers; i++) {
        fake_init(&house->fakes[i]);
        house->fakes[i].settings.max_connections = max;
        house->fakes[i].is_close_slow = true;
    }
}

static void begin_all(struct house *house, unsigned workers, uint32_t max)
{
    begin(house, workers, max);
    for (unsigned i = 0; i < workers; i++)
        join(house, i);
    turn(house);
}

static void end(struct house *house)
{
    for (unsigned i = 0; i < house->workers; i++)
        if (house->fakes[i].pool != NULL) {
            fake_end(&house->fakes[i]);
            assert_int_equal(census(house, i).mine, 0);
            budget_leave(&house->shares[i], house->fakes[i].now_ns);
        }
    free(house->budget);
}

/* Worker i leases count connections. */
static void lease(struct house *house, unsigned i, struct wait_log *logs,
                  unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        logs[n].conn = fake_try(&house->fakes[i]);
        if (logs[n].conn == NULL)
            assert_ok(fake_wait(&house->fakes[i], &logs[n]));
    }
    pass(house, 10 * MS);
}

static void release(struct house *house, unsigned i, struct wait_log *log)
{
    fake_release(&house->fakes[i], log->conn, CONN_CLEAN);
    log->conn = NULL;
}

static void explain(struct house *house, unsigned i, struct wait_log *log,
                    struct err_text *out)
{
    struct fake *fake = &house->fakes[i];
    struct pool_why why;

    pool_explain(fake->pool, &log->waiter, ERR_TIMEOUT, fake->now_ns, &why);
    pool_why_text(&why, "main", out);
}

/* ---- giving and getting */

static void test_idle_connections_of_another_come_at_once(void **state)
{
    struct house house;
    struct wait_log mine[4] = { 0 };
    struct wait_log yours[4] = { 0 };

    (void)state;
    begin_all(&house, 2, 4);
    lease(&house, 0, mine, 3); /* the other has had its first attempt */
    for (int n = 0; n < 3; n++)
        release(&house, 0, &mine[n]);
    pass(&house, 2 * SECOND);
    for (int n = 0; n < 4; n++)
        assert_ok(fake_wait(&house.fakes[1], &yours[n]));
    for (int n = 0; n < 4; n++) /* asks, gives, opens: without a wait */
        turn(&house);
    for (int n = 0; n < 4; n++)
        assert_non_null(yours[n].conn);
    assert_int_equal(pool_stats(house.fakes[0].pool)->yields, 3);
    assert_int_equal(pool_stats(house.fakes[0].pool)->closes[CLOSE_YIELDED], 3);
    assert_int_equal(pool_stats(house.fakes[1].pool)->permits_refused, 1);
    for (int n = 0; n < 4; n++)
        release(&house, 1, &yours[n]);
    end(&house);
}

static void
test_a_lease_that_comes_back_goes_to_who_is_below_its_share(void **state)
{
    struct house house;
    struct wait_log mine[6] = { 0 };
    struct wait_log yours = { 0 };

    (void)state;
    begin(&house, 2, 4);
    join(&house, 0);
    lease(&house, 0, mine, 6); /* two of them wait */
    join(&house, 1);
    assert_ok(fake_wait(&house.fakes[1], &yours));
    pass(&house, 200 * MS);
    assert_null(yours.conn);
    release(&house, 0, &mine[0]);
    turn(&house);
    turn(&house);
    assert_non_null(yours.conn);
    assert_null(mine[4].conn);
    release(&house, 1, &yours);
    for (int n = 1; n < 6; n++) {
        pass(&house, 2 * SECOND);
        assert_non_null(mine[n].conn);
        release(&house, 0, &mine[n]);
    }
    end(&house);
}

static void test_a_lane_that_rests_is_given_too(void **state)
{
    struct house house;
    struct wait_log yours = { 0 };
    struct conn *lane;

    (void)state;
    begin(&house, 2, 1);
    join(&house, 0);
    turn(&house);
    lane = pool_try_acquire(house.fakes[0].pool, true, "lane",
                            house.fakes[0].now_ns);
    assert_non_null(lane);
    pool_lane_rests(lane, true);
    join(&house, 1);
    pass(&house, 200 * MS);
    assert_int_equal(house.fakes[0].calls[FAKE_UNSHARE], 0);
    assert_ok(fake_wait(&house.fakes[1], &yours));
    pass(&house, 5 * MS);
    assert_non_null(yours.conn);
    assert_int_equal(pool_stats(house.fakes[0].pool)->closes[CLOSE_YIELDED], 1);
    release(&house, 1, &yours);
    end(&house);
}

static void test_who_waits_for_others_permits_is_told_so(void **state)
{
    struct house house;
    struct wait_log mine[3] = { 0 };
    struct wait_log yours = { 0 };
    struct err_text text = { 0 };

    (void)state;
    begin(&house, 2, 3);
    join(&house, 0);
    lease(&house, 0, mine, 3);
    join(&house, 1);
    assert_ok(fake_wait(&house.fakes[1], &yours));
    pass(&house, SECOND + 50 * MS);
    explain(&house, 1, &yours, &text);
    assert_non_null(strstr(text.text, "3 of 3 are other workers'"));
    assert_true(pool_is_exhausted(house.fakes[1].pool));
    for (int n = 0; n < 3; n++)
        release(&house, 0, &mine[n]);
    pass(&house, 5 * MS);
    release(&house, 1, &yours);
    end(&house);
}

/* Others have all, and it refuses its callers, so nobody else would ask. */
static void test_who_failed_to_connect_tries_again_with_others_permit(void **st)
{
    struct house house;

    (void)st;
    begin(&house, 2, 1);
    join(&house, 0);
    fake_failed(&house.fakes[0], "refused");
    fake_closed(&house.fakes[0]);
    join(&house, 1);
    turn(&house);
    assert_int_equal(fake_open_count(&house.fakes[1]), 1);
    assert_true(pool_is_down(house.fakes[0].pool));
    pass(&house, 3 * SECOND);
    assert_false(pool_is_down(house.fakes[0].pool));
    end(&house);
}

/* ---- settings */

static void test_min_connections_are_kept_in_parts(void **state)
{
    struct house house;

    (void)state;
    begin(&house, 3, 6);
    for (int i = 0; i < 3; i++) {
        house.fakes[i].settings.min_connections = 5;
        join(&house, (unsigned)i);
    }
    pass(&house, 2 * SECOND);
    assert_int_equal(fake_count(&house.fakes[0], CONN_IDLE), 2);
    assert_int_equal(fake_count(&house.fakes[1], CONN_IDLE), 2);
    assert_int_equal(fake_count(&house.fakes[2], CONN_IDLE), 1);
    assert_int_equal(pool_settings(house.fakes[2].pool)->min_connections, 5);
    end(&house);
}

static void test_max_that_one_worker_is_set_is_that_of_all(void **state)
{
    struct house house;
    struct wait_log mine[5] = { 0 };

    (void)state;
    begin_all(&house, 2, 5);
    lease(&house, 0, mine, 4);
    house.fakes[1].settings.max_connections = 2;
    fake_set(&house.fakes[1]);
    house.fakes[1].settings.max_connections = 5;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pool_settings(house.fakes[1].pool)->max_connections,
                         2);
    if (house.is_rung[0]) { /* it hears of it without a turn of its own */
        house.is_rung[0] = false;
        pool_look(house.fakes[0].pool, house.fakes[0].now_ns);
    }
    assert_int_equal(pool_settings(house.fakes[0].pool)->max_connections, 2);
    for (int n = 0; n < 4; n++)
        release(&house, 0, &mine[n]);
    fake_answer_all(&house.fakes[0]);
    pass(&house, 2 * SECOND);
    assert_true(census(&house, 0).mine + census(&house, 1).mine <= 2);
    end(&house);
}

/* ---- the dead */

/* Its process is gone; its memory lies in ours: for bury(). */
static struct pool *die(struct house *house, unsigned i)
{
    struct pool *pool = house->fakes[i].pool;

    house->fakes[i].pool = NULL;
    (void)budget_dead(house->budget, FIRST_PID + (int)i, house->fakes[i].now_ns,
                      &house->shares[1 - i].bell);
    return pool;
}

static void bury(struct fake *fake, struct pool *pool)
{
    struct list_node *node;

    for (int debt = 0; debt < FAKE_DEBTS; debt++)
        while ((node = list_pop_front(&fake->links[debt])) != NULL)
            free(container_of(node, struct fake_link, node));
    free(pool);
}

static void test_a_survivor_asks_for_a_dead_workers_connections(void **state)
{
    struct pool *pool;
    struct house house;
    struct wait_log mine[2] = { 0 };
    struct wait_log yours[3] = { 0 };
    struct err_text text = { 0 };
    struct conn *asker;

    (void)state;
    begin_all(&house, 2, 4);
    house.fakes[0].backend = 7000;
    lease(&house, 0, mine, 2);
    assert_int_equal(census(&house, 1).others, 2);
    pool = die(&house, 0);
    assert_true(house.is_rung[1]);
    pool_look(house.fakes[1].pool, house.fakes[1].now_ns);
    asker = &fake_first(&house.fakes[1], FAKE_TEST)->conn;
    assert_true(house.fakes[1].asked >= 1);
    assert_int_equal(house.fakes[1].ghosts[0], 7000);
    for (int n = 0; n < 3; n++)
        assert_ok(fake_wait(&house.fakes[1], &yours[n]));
    explain(&house, 1, &yours[2], &text);
    assert_non_null(strstr(text.text, "dead workers' that the server still"));
    pool_bury(asker, house.fakes[1].ghosts, house.fakes[1].asked);
    fake_tested(&house.fakes[1], true);
    pass(&house, 5 * MS);
    assert_int_equal(census(&house, 1).ghosts, 1); /* it had no number */
    for (int n = 0; n < 3; n++)
        release(&house, 1, &yours[n]);
    pass(&house, 1100 * MS);
    assert_int_equal(census(&house, 1).ghosts, 0);
    end(&house);
    bury(&house.fakes[0], pool);
}

/* ---- connects */

static void test_connects_wait_for_connect_rate(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };
    struct pool_why why;
    struct err_text text = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 2;
    fake.settings.connect_rate = 10;
    fake_start_open(&fake);
    fake_release(&fake, fake_try(&fake), CONN_BROKEN);
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_release(&fake, fake_opened(&fake), CONN_BROKEN);
    assert_ok(fake_wait(&fake, &logs[1]));
    assert_int_equal(fake_count(&fake, CONN_OPENING), 0);
    assert_int_equal(pool_stats(fake.pool)->connects_delayed, 1);
    assert_null(pool_last_error(fake.pool)); /* it is no failure */
    pool_explain(fake.pool, &logs[1].waiter, ERR_TIMEOUT, fake.now_ns, &why);
    pool_why_text(&why, "main", &text);
    assert_non_null(strstr(text.text, "connects wait for connect_rate"));
    fake_pass(&fake, 100 * MS - 1);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 0);
    fake_pass(&fake, 1);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_opened(&fake);
    fake_release(&fake, logs[1].conn, CONN_CLEAN);
    fake_end(&fake);
}

/* What is owed from before, at one a second, does not hold it up. */
static void test_a_higher_connect_rate_counts_at_once(void **state)
{
    struct fake fake;
    struct wait_log logs[2] = { 0 };

    (void)state;
    fake_init(&fake);
    fake.settings.max_connections = 2;
    fake.settings.connect_rate = 1;
    fake_start_open(&fake);
    fake_release(&fake, fake_try(&fake), CONN_BROKEN);
    assert_ok(fake_wait(&fake, &logs[0]));
    fake_release(&fake, fake_opened(&fake), CONN_BROKEN);
    fake.settings.connect_rate = 100;
    fake_set(&fake);
    assert_ok(fake_wait(&fake, &logs[1]));
    fake_pass(&fake, 20 * MS);
    assert_int_equal(fake_count(&fake, CONN_OPENING), 1);
    fake_opened(&fake);
    fake_release(&fake, logs[1].conn, CONN_CLEAN);
    fake_end(&fake);
}

/* ---- by chance */

enum { CALLERS = 12, STEPS = 3000 };

struct caller {
    struct wait_log log;
    unsigned worker;
    bool is_waiting;
};

static void step(struct house *house, struct caller *caller, struct rand *rand)
{
    struct fake *fake = &house->fakes[caller->worker];

    if (caller->is_waiting && caller->log.calls > 0) {
        assert_ok(caller->log.err);
        caller->is_waiting = false;
    }
    if (caller->is_waiting)
        return;
    if (caller->log.conn != NULL) {
        fake_release(fake, caller->log.conn,
                     rand_below(rand, 20) == 0 ? CONN_BROKEN : CONN_CLEAN);
        caller->log.conn = NULL;
        return;
    }
    caller->log = (struct wait_log){ 0 };
    caller->log.conn = fake_try(fake);
    if (caller->log.conn == NULL) {
        assert_ok(fake_wait(fake, &caller->log));
        caller->is_waiting = true;
    }
}

/* Nobody waits for ever, and no count is ever wrong. */
static void run_by_chance(uint64_t seed, uint32_t max)
{
    struct caller callers[CALLERS] = { 0 };
    struct rand rand = { .state = seed };
    struct house house;

    begin_all(&house, WORKERS, max);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i].worker = (unsigned)rand_below(&rand, WORKERS);
    for (unsigned n = 0; n < STEPS; n++) {
        step(&house, &callers[rand_below(&rand, CALLERS)], &rand);
        turn(&house);
        if (rand_below(&rand, 4) == 0)
            pass(&house, rand_below(&rand, 30) * MS);
    }
    for (unsigned n = 0; n < 4 * CALLERS; n++) {
        for (unsigned i = 0; i < CALLERS; i++)
            if (callers[i].log.conn != NULL || callers[i].is_waiting)
                step(&house, &callers[i], &rand);
        pass(&house, 300 * MS);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        if (callers[i].is_waiting || callers[i].log.conn != NULL)
            fail_msg("seed %llu, max %u: caller %u of worker %u is not served",
                     (unsigned long long)seed, max, i, callers[i].worker);
    end(&house);
}

static void test_all_are_served_whatever_they_do(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_by_chance(seed, 1 + (uint32_t)seed % 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_connections_of_another_come_at_once),
        cmocka_unit_test(
            test_a_lease_that_comes_back_goes_to_who_is_below_its_share),
        cmocka_unit_test(test_a_lane_that_rests_is_given_too),
        cmocka_unit_test(test_who_waits_for_others_permits_is_told_so),
        cmocka_unit_test(
            test_who_failed_to_connect_tries_again_with_others_permit),
        cmocka_unit_test(test_min_connections_are_kept_in_parts),
        cmocka_unit_test(test_max_that_one_worker_is_set_is_that_of_all),
        cmocka_unit_test(test_a_survivor_asks_for_a_dead_workers_connections),
        cmocka_unit_test(test_connects_wait_for_connect_rate),
        cmocka_unit_test(test_a_higher_connect_rate_counts_at_once),
        cmocka_unit_test(test_all_are_served_whatever_they_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
