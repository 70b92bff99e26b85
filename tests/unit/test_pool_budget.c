/* test_pool_budget.c - permits: who gets one, who gives one, what the dead
 * leave. */
#include "fake_driver.h"
#include "pool/budget.h"
#include "pool/budget_census.h"
#include "pool/budget_ghost.h"
#include "pool/budget_permit.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4, FIRST_PID = 100 };

/* Workers as plain structs in one process; time moves by hand. */
struct world {
    struct budget *budget;
    struct budget_share shares[WORKERS];
    uint64_t now_ns;
    unsigned rings[WORKERS];
    uint32_t permits[WORKERS][64];
    unsigned taken[WORKERS];
};

static void on_ring(void *ud, unsigned slot, int pid)
{
    struct world *world = ud;

    assert_int_equal(pid, FIRST_PID + (int)slot);
    world->rings[slot]++;
}

static void begin_worker(struct world *world, unsigned i, uint32_t max)
{
    struct budget_share *share = &world->shares[i];

    share->budget = world->budget;
    share->bell = (struct budget_bell){ on_ring, world };
    share->slot = i;
    assert_int_equal(budget_claim(world->budget, FIRST_PID + (int)i,
                                  world->now_ns, &share->bell),
                     i);
    assert_ok(budget_join(share, "postgres/main", max));
}

static void begin(struct world *world, unsigned workers, uint32_t max)
{
    *world = (struct world){ .now_ns = SECOND };
    world->budget = calloc(1, budget_size());
    assert_non_null(world->budget);
    assert_ok(budget_init(world->budget));
    for (unsigned i = 0; i < workers; i++)
        begin_worker(world, i, max);
    memset(world->rings, 0, sizeof(world->rings));
}

static void end(struct world *world)
{
    free(world->budget);
}

static struct budget_census census(const struct world *world, unsigned i)
{
    struct budget_census out;

    budget_count(&world->shares[i], &out);
    assert_true(out.mine + out.others + out.ghosts <= out.max);
    assert_int_equal(out.mine, world->taken[i]);
    return out;
}

static enum budget_verdict take(struct world *world, unsigned i,
                                uint32_t wanted)
{
    const struct budget_wish wish = { .wanted = wanted };
    uint64_t at_ns;
    uint32_t permit;
    enum budget_verdict verdict =
        budget_take(&world->shares[i], &wish, world->now_ns, &permit, &at_ns);

    if (verdict == BUDGET_TAKEN)
        world->permits[i][world->taken[i]++] = permit;
    (void)census(world, i);
    return verdict;
}

static void take_all(struct world *world, unsigned i, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        assert_int_equal(take(world, i, 0), BUDGET_TAKEN);
}

static void give(struct world *world, unsigned i)
{
    budget_give(&world->shares[i], world->permits[i][--world->taken[i]], false,
                world->now_ns);
    (void)census(world, i);
}

/* Offers the last that i took. */
static enum budget_answer offer(struct world *world, unsigned i, bool is_spare,
                                uint64_t idle_ns)
{
    uint64_t at_ns = 0;
    struct budget_offer what = {
        .permit = world->permits[i][world->taken[i] - 1],
        .is_spare = is_spare,
        .idle_ns = idle_ns,
    };
    enum budget_answer answer =
        budget_offer(&world->shares[i], &what, world->now_ns, &at_ns);

    assert_true(answer != BUDGET_KEEP || at_ns > world->now_ns);
    return answer;
}

/* ---- the cap */

static void test_all_workers_together_take_no_more_than_max(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 5);
    take_all(&world, 0, 3);
    take_all(&world, 1, 2);
    assert_int_equal(take(&world, 0, 0), BUDGET_REFUSED);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    give(&world, 0);
    assert_int_equal(take(&world, 1, 1), BUDGET_TAKEN);
    assert_int_equal(census(&world, 0).others, 3);
    end(&world);
}

static void test_a_pool_of_another_name_has_permits_of_its_own(void **state)
{
    struct world world;
    struct budget_share other;
    const struct budget_wish wish = { .wanted = 1 };
    uint32_t permit;
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 1);
    take_all(&world, 0, 1);
    other = world.shares[1];
    assert_ok(budget_join(&other, "redis/main", 1));
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(budget_take(&other, &wish, world.now_ns, &permit, &at_ns),
                     BUDGET_TAKEN);
    end(&world);
}

static void test_a_permit_that_comes_free_wakes_who_waits(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 3, 2);
    take_all(&world, 0, 2);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(world.rings[0], 1); /* it may have an idle one */
    assert_int_equal(world.rings[2], 0); /* it has none */
    give(&world, 0);
    assert_int_equal(world.rings[1], 1);
    end(&world);
}

static void test_nobody_overtakes_who_has_waited_for_longer(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 3, 2);
    take_all(&world, 0, 2);
    assert_int_equal(take(&world, 2, 1), BUDGET_REFUSED);
    world.now_ns += MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    give(&world, 0);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(take(&world, 0, 1), BUDGET_REFUSED);
    assert_int_equal(take(&world, 2, 1), BUDGET_TAKEN);
    end(&world);
}

static void test_who_is_below_its_share_comes_first(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 4);
    take_all(&world, 0, 3);
    take_all(&world, 1, 1);
    assert_int_equal(take(&world, 0, 2), BUDGET_REFUSED);
    world.now_ns += MS;
    assert_int_equal(take(&world, 1, 2), BUDGET_REFUSED);
    give(&world, 0);
    give(&world, 0);
    assert_int_equal(take(&world, 1, 2), BUDGET_TAKEN);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(take(&world, 0, 2), BUDGET_TAKEN);
    end(&world);
}

static void test_who_is_stuck_holds_up_nobody_for_long(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 3, 1);
    take_all(&world, 0, 1);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    give(&world, 0);
    assert_int_equal(take(&world, 2, 1), BUDGET_REFUSED);
    world.now_ns += 250 * MS;
    assert_int_equal(take(&world, 2, 1), BUDGET_TAKEN);
    end(&world);
}

/* ---- giving */

static void test_idle_connections_over_the_share_go_at_once(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 4);
    take_all(&world, 0, 4);
    world.now_ns += SECOND;
    assert_int_equal(offer(&world, 0, true, 0), BUDGET_KEEP); /* no need */
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(offer(&world, 0, true, 0), BUDGET_YIELD);
    assert_int_equal(offer(&world, 0, true, 0), BUDGET_KEEP); /* one is due */
    end(&world);
}

static void test_idle_ones_within_the_share_go_when_unused(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 4);
    take_all(&world, 0, 2);
    take_all(&world, 1, 2);
    world.now_ns += SECOND;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(offer(&world, 0, true, SECOND - 1), BUDGET_KEEP);
    assert_int_equal(offer(&world, 0, true, SECOND), BUDGET_YIELD);
    end(&world);
}

static void test_a_busy_worker_over_its_share_gives_to_one_below(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 4);
    take_all(&world, 0, 4);
    world.now_ns += SECOND;
    assert_int_equal(take(&world, 1, 9), BUDGET_REFUSED);
    assert_int_equal(offer(&world, 0, false, 0), BUDGET_KEEP); /* patience */
    world.now_ns += 5 * MS;
    assert_int_equal(offer(&world, 0, false, 0), BUDGET_YIELD);
    give(&world, 0);
    assert_int_equal(take(&world, 1, 9), BUDGET_TAKEN);
    assert_int_equal(take(&world, 1, 8), BUDGET_REFUSED);
    world.now_ns += 5 * MS;
    assert_int_equal(offer(&world, 0, false, 0), BUDGET_YIELD);
    give(&world, 0);
    assert_int_equal(take(&world, 1, 8), BUDGET_TAKEN);
    assert_int_equal(take(&world, 1, 7), BUDGET_REFUSED);
    assert_int_equal(offer(&world, 0, false, 0), BUDGET_KEEP); /* even now */
    end(&world);
}

static void test_what_was_taken_just_now_is_kept(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 1);
    take_all(&world, 0, 1);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    world.now_ns += 99 * MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(offer(&world, 0, true, 99 * MS), BUDGET_KEEP);
    world.now_ns += MS;
    assert_int_equal(offer(&world, 0, true, 100 * MS), BUDGET_YIELD);
    end(&world);
}

/* Fewer permits than workers: each gets its turn, 100 ms long at least. */
static void test_one_permit_goes_round_among_busy_workers(void **state)
{
    struct world world;
    unsigned turns[WORKERS] = { 0 };
    unsigned holder = 0;

    (void)state;
    begin(&world, WORKERS, 1);
    take_all(&world, 0, 1);
    for (unsigned ms = 0; ms < 2000; ms += 10) {
        world.now_ns += 10 * MS;
        for (unsigned i = 0; i < WORKERS; i++)
            if (i != holder && take(&world, i, 3) == BUDGET_TAKEN) {
                holder = i;
                turns[i]++;
            }
        if (world.taken[holder] > 0 &&
            offer(&world, holder, false, 0) == BUDGET_YIELD)
            give(&world, holder);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_in_range(turns[i], 4, 6);
    end(&world);
}

static void test_min_connections_are_kept_but_from_who_has_none(void **state)
{
    struct world world;
    uint64_t at_ns;
    struct budget_offer what = { .is_spare = true, .keeps = 3 };

    (void)state;
    begin(&world, 2, 4);
    take_all(&world, 0, 3);
    take_all(&world, 1, 1);
    world.now_ns += SECOND;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    what.permit = world.permits[0][0];
    assert_int_equal(
        budget_offer(&world.shares[0], &what, world.now_ns, &at_ns),
        BUDGET_KEEP);
    give(&world, 1);
    world.now_ns += SECOND; /* it wants no more */
    take_all(&world, 0, 1);
    world.now_ns += SECOND;
    what.keeps = 4;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(
        budget_offer(&world.shares[0], &what, world.now_ns, &at_ns),
        BUDGET_YIELD);
    end(&world);
}

/* ---- settings */

static void test_max_that_was_set_is_everybodys(void **state)
{
    struct world world;
    uint32_t before;

    (void)state;
    begin(&world, 2, 2);
    before = budget_changes(&world.shares[1]);
    budget_set_max(&world.shares[0], 3);
    assert_int_not_equal(budget_changes(&world.shares[1]), before);
    assert_int_equal(world.rings[1], 1);
    take_all(&world, 0, 2);
    take_all(&world, 1, 1);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    end(&world);
}

static void test_a_worker_that_restarts_keeps_the_max_that_was_set(void **state)
{
    struct world world;
    struct budget_part part;

    (void)state;
    begin(&world, 2, 2);
    budget_set_max(&world.shares[0], 3);
    (void)budget_dead(world.budget, FIRST_PID + 1, world.now_ns, NULL);
    begin_worker(&world, 1, 2);
    budget_read(&world.shares[1], &part);
    assert_int_equal(part.max, 3);
    (void)budget_dead(world.budget, FIRST_PID + 1, world.now_ns, NULL);
    begin_worker(&world, 1, 7); /* a new configuration */
    budget_read(&world.shares[0], &part);
    assert_int_equal(part.max, 7);
    end(&world);
}

static void test_a_lowered_max_takes_from_those_over_their_share(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 6);
    take_all(&world, 0, 4);
    take_all(&world, 1, 2);
    budget_set_max(&world.shares[1], 4);
    assert_true(budget_is_short(&world.shares[0]));
    assert_int_equal(offer(&world, 1, true, SECOND), BUDGET_KEEP);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(offer(&world, 0, false, 0), BUDGET_SHRINK);
        budget_give(&world.shares[0], world.permits[0][--world.taken[0]], false,
                    world.now_ns);
    }
    assert_int_equal(offer(&world, 0, false, 0), BUDGET_KEEP);
    end(&world);
}

/* Each has its fair share of one, and that is too many. */
static void test_more_workers_than_max_shrink_to_it(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 3, 3);
    for (unsigned i = 0; i < 3; i++)
        take_all(&world, i, 1);
    budget_set_max(&world.shares[2], 2);
    assert_int_equal(offer(&world, 0, true, 0), BUDGET_SHRINK);
    assert_int_equal(offer(&world, 1, true, 0), BUDGET_KEEP);
    budget_give(&world.shares[0], world.permits[0][--world.taken[0]], false,
                world.now_ns);
    assert_int_equal(offer(&world, 1, true, 0), BUDGET_KEEP);
    end(&world);
}

static void test_parts_go_by_the_workers_that_are_there(void **state)
{
    struct world world;
    struct budget_part part;

    (void)state;
    begin(&world, 3, 6);
    budget_read(&world.shares[2], &part);
    assert_int_equal(part.workers, 3);
    assert_int_equal(part.rank, 2);
    budget_leave(&world.shares[1], world.now_ns);
    budget_read(&world.shares[2], &part);
    assert_int_equal(part.workers, 2);
    assert_int_equal(part.rank, 1);
    end(&world);
}

/* ---- the dead */

static void test_ghosts_of_the_dead_count_until_they_are_buried(void **state)
{
    struct world world;
    int32_t pids[BUDGET_ASK_MAX];
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 2);
    take_all(&world, 0, 2);
    budget_set_backend(&world.shares[0], world.permits[0][0], 7001);
    budget_set_backend(&world.shares[0], world.permits[0][1], 7002);
    assert_int_equal(budget_dead(world.budget, FIRST_PID, world.now_ns, NULL),
                     2);
    world.now_ns += 999 * MS;
    assert_true(budget_has_ghosts(&world.shares[1]));
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(budget_ask(&world.shares[1], world.now_ns, pids, &at_ns),
                     2);
    assert_int_equal(budget_ask(&world.shares[1], world.now_ns, pids, &at_ns),
                     0); /* somebody did a moment ago */
    assert_int_equal(at_ns, world.now_ns + 200 * MS);
    budget_bury(&world.shares[1], pids, 1, world.now_ns);
    assert_int_equal(take(&world, 1, 1), BUDGET_TAKEN);
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    assert_int_equal(census(&world, 1).ghosts, 1);
    end(&world);
}

static void test_ghosts_that_nobody_can_ask_for_go_after_a_second(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 2, 1);
    take_all(&world, 0, 1);
    (void)budget_dead(world.budget, FIRST_PID, world.now_ns, NULL);
    world.now_ns += 999 * MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    world.now_ns += MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_TAKEN);
    assert_false(budget_has_ghosts(&world.shares[1]));
    end(&world);
}

/* Somebody must go and ask: one more than max, once. */
static void test_when_all_are_ghosts_one_may_ask_after_a_second(void **state)
{
    struct world world;
    const struct budget_wish wish = { .wanted = 1 };
    uint32_t permit;
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 1);
    take_all(&world, 0, 1);
    budget_set_backend(&world.shares[0], world.permits[0][0], 7001);
    (void)budget_dead(world.budget, FIRST_PID, world.now_ns, NULL);
    world.now_ns += 999 * MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    world.now_ns += MS;
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_TAKEN);
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_REFUSED);
    end(&world);
}

static void test_one_may_ask_when_ghosts_are_more_than_max_has_become(void **st)
{
    struct world world;
    const struct budget_wish wish = { .wanted = 1 };
    uint32_t permit;
    uint64_t at_ns;

    (void)st;
    begin(&world, 2, 3);
    take_all(&world, 0, 3);
    for (unsigned i = 0; i < 3; i++)
        budget_set_backend(&world.shares[0], world.permits[0][i],
                           7001 + (int)i);
    (void)budget_dead(world.budget, FIRST_PID, world.now_ns, NULL);
    budget_set_max(&world.shares[1], 1);
    world.now_ns += SECOND;
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_TAKEN);
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_REFUSED);
    end(&world);
}

static void test_one_more_goes_to_ask_when_all_else_is_held(void **state)
{
    struct world world;
    const struct budget_wish wish = { .wanted = 1 };
    int32_t pids[BUDGET_ASK_MAX];
    uint32_t permit;
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 2);
    take_all(&world, 0, 1);
    take_all(&world, 1, 1);
    budget_set_backend(&world.shares[0], world.permits[0][0], 7001);
    (void)budget_dead(world.budget, FIRST_PID, world.now_ns, NULL);
    world.now_ns += 600 * MS;
    assert_int_equal(budget_ask(&world.shares[1], world.now_ns, pids, &at_ns),
                     1);
    world.now_ns += 999 * MS;
    assert_int_equal(take(&world, 1, 1), BUDGET_REFUSED);
    world.now_ns += MS;
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_TAKEN);
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_REFUSED);
    end(&world);
}

/* One that asked in vain, and was held from then on. */
static void test_another_goes_to_ask_while_the_one_before_is_held(void **state)
{
    struct world world;
    const struct budget_wish wish = { .wanted = 1 };
    int32_t pids[BUDGET_ASK_MAX];
    uint32_t permit;
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 2);
    take_all(&world, 0, 2);
    for (int i = 0; i < 2; i++)
        budget_set_backend(&world.shares[0], world.permits[0][i], 7001 + i);
    (void)budget_dead(world.budget, FIRST_PID, world.now_ns, NULL);
    for (int i = 0; i < 2; i++) {
        world.now_ns += i == 0 ? SECOND : 5 * SECOND;
        assert_int_equal(
            budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
            BUDGET_TAKEN);
        assert_int_equal(
            budget_ask(&world.shares[1], world.now_ns, pids, &at_ns), 2);
        world.now_ns += 4999 * MS;
        assert_int_equal(
            budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
            BUDGET_REFUSED);
    }
    world.now_ns += SECOND; /* as many as max live: no more */
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_REFUSED);
    end(&world);
}

static void test_a_new_process_of_a_dead_ones_number_inherits_nothing(void **st)
{
    struct world world;

    (void)st;
    begin(&world, 2, 2);
    take_all(&world, 0, 2);
    world.taken[0] = 0;
    begin_worker(&world, 0, 2);
    assert_int_equal(census(&world, 0).ghosts, 2);
    end(&world);
}

/* ---- connects */

static void test_connects_come_no_faster_than_the_rate(void **state)
{
    struct world world;
    const struct budget_wish wish = { .wanted = 1, .rate = 10 };
    uint32_t permit;
    uint64_t at_ns;

    (void)state;
    begin(&world, 2, 3);
    for (unsigned i = 0; i < 3; i++) { /* the burst, by both workers */
        assert_int_equal(budget_take(&world.shares[i % 2], &wish, world.now_ns,
                                     &permit, &at_ns),
                         BUDGET_TAKEN);
        budget_give(&world.shares[i % 2], permit, false, world.now_ns);
    }
    assert_int_equal(
        budget_take(&world.shares[0], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_LATER);
    assert_int_equal(at_ns, world.now_ns + 100 * MS);
    world.now_ns = at_ns;
    assert_int_equal(
        budget_take(&world.shares[1], &wish, world.now_ns, &permit, &at_ns),
        BUDGET_TAKEN);
    end(&world);
}

/* ---- the block */

static void test_a_block_of_another_version_is_refused(void **state)
{
    struct world world;
    struct err_text why = { 0 };

    (void)state;
    begin(&world, 1, 1);
    assert_ok(budget_check(world.budget, budget_size(), &why));
    ((uint32_t *)(void *)world.budget)[1]++;
    assert_err(budget_check(world.budget, budget_size(), &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "another version of tidepool"));
    ((uint32_t *)(void *)world.budget)[0]++;
    assert_err(budget_check(world.budget, budget_size(), &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "no budget"));
    end(&world);
}

static void test_rows_and_slots_run_out_without_harm(void **state)
{
    struct world world;
    char name[BUDGET_NAME_MAX];

    (void)state;
    begin(&world, 1, 1);
    for (int i = 1; i < BUDGET_ROWS; i++) {
        struct budget_share share = world.shares[0];

        snprintf(name, sizeof(name), "redis/%d", i);
        assert_ok(budget_join(&share, name, 1));
    }
    {
        struct budget_share share = world.shares[0];

        assert_err(budget_join(&share, "one more", 1), ERR_BADARG);
        assert_ok(budget_join(&share, "redis/1", 1));
    }
    for (int i = 1; i < BUDGET_SLOTS; i++)
        assert_int_equal(budget_claim(world.budget, 1000 + i, 1, NULL), i);
    assert_int_equal(budget_claim(world.budget, 2000, 1, NULL), -1);
    (void)budget_dead(world.budget, 1007, 1, NULL);
    assert_int_equal(budget_claim(world.budget, 2000, 1, NULL), 7);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_workers_together_take_no_more_than_max),
        cmocka_unit_test(test_a_pool_of_another_name_has_permits_of_its_own),
        cmocka_unit_test(test_a_permit_that_comes_free_wakes_who_waits),
        cmocka_unit_test(test_nobody_overtakes_who_has_waited_for_longer),
        cmocka_unit_test(test_who_is_below_its_share_comes_first),
        cmocka_unit_test(test_who_is_stuck_holds_up_nobody_for_long),
        cmocka_unit_test(test_idle_connections_over_the_share_go_at_once),
        cmocka_unit_test(test_idle_ones_within_the_share_go_when_unused),
        cmocka_unit_test(test_a_busy_worker_over_its_share_gives_to_one_below),
        cmocka_unit_test(test_what_was_taken_just_now_is_kept),
        cmocka_unit_test(test_one_permit_goes_round_among_busy_workers),
        cmocka_unit_test(test_min_connections_are_kept_but_from_who_has_none),
        cmocka_unit_test(test_max_that_was_set_is_everybodys),
        cmocka_unit_test(test_more_workers_than_max_shrink_to_it),
        cmocka_unit_test(
            test_a_worker_that_restarts_keeps_the_max_that_was_set),
        cmocka_unit_test(test_a_lowered_max_takes_from_those_over_their_share),
        cmocka_unit_test(test_parts_go_by_the_workers_that_are_there),
        cmocka_unit_test(test_ghosts_of_the_dead_count_until_they_are_buried),
        cmocka_unit_test(test_ghosts_that_nobody_can_ask_for_go_after_a_second),
        cmocka_unit_test(test_when_all_are_ghosts_one_may_ask_after_a_second),
        cmocka_unit_test(
            test_one_may_ask_when_ghosts_are_more_than_max_has_become),
        cmocka_unit_test(test_one_more_goes_to_ask_when_all_else_is_held),
        cmocka_unit_test(test_another_goes_to_ask_while_the_one_before_is_held),
        cmocka_unit_test(
            test_a_new_process_of_a_dead_ones_number_inherits_nothing),
        cmocka_unit_test(test_connects_come_no_faster_than_the_rate),
        cmocka_unit_test(test_a_block_of_another_version_is_refused),
        cmocka_unit_test(test_rows_and_slots_run_out_without_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
