/* test_policy_rails.c - limits, steps, pauses, flapping and trials. */
#include "unit.h"

#include "policy/rails.h"

#include <stdio.h>

static const uint64_t SECOND = 1000000000;

struct world {
    struct rails rails;
    struct snapshot snap;
    struct pool_settings settings;
    uint64_t now_ns;
    unsigned events[RAILS_OUTCOMES];
    char last[RAILS_REASON_MAX + 64];
};

static size_t place(const char *name)
{
    return (size_t)(pool_setting_find(name) - pool_setting_table);
}

static void on_event(void *ud, const struct rails_event *event)
{
    struct world *world = ud;

    world->events[event->outcome]++;
    snprintf(world->last, sizeof(world->last), "%s %g -> %g: %s",
             event->setting->name, event->from, event->to, event->reason);
}

/* max_connections 10, from 2 to 40; a second between two changes. */
static void start(struct world *world)
{
    struct rail *rail;

    memset(world, 0, sizeof(*world));
    pool_settings_init(&world->snap.settings, 2);
    world->snap.settings.max_connections = 10;
    world->snap.interval = 1;
    rails_init(&world->rails, &world->snap.settings);
    rail = &world->rails.rails[place("max_connections")];
    rail->min = 2;
    rail->max = 40;
    rail->cooldown_ns = SECOND;
    world->rails.on_event = on_event;
    world->rails.ud = world;
    world->now_ns = 100 * SECOND;
}

/* A policy wants that many; says how many there are afterwards. */
static uint64_t want(struct world *world, double max)
{
    struct policy_wish wish = { .reason = "because" };

    wish.is_set[place("max_connections")] = true;
    wish.values[place("max_connections")] = max;
    if (rails_apply(&world->rails, &world->snap, &wish, world->now_ns,
                    &world->settings))
        world->snap.settings = world->settings;
    world->now_ns += 2 * SECOND;
    return world->snap.settings.max_connections;
}

static void test_wish_is_applied_with_its_reason(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    assert_int_equal(want(&world, 12), 12);
    assert_int_equal(world.events[RAILS_APPLIED], 1);
    assert_string_equal(world.last, "max_connections 10 -> 12: because");
    assert_int_equal(want(&world, 12), 12);
    assert_int_equal(world.events[RAILS_APPLIED], 1);
}

static void test_rails_limit_how_far_and_how_fast(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    world.rails.rails[place("max_connections")].step = 4;
    assert_int_equal(want(&world, 100), 14);
    assert_int_equal(world.events[RAILS_CLAMPED], 1);
    for (int i = 0; i < 10; i++)
        want(&world, 100);
    assert_int_equal(world.snap.settings.max_connections, 40);
    assert_int_equal(world.events[RAILS_CLAMPED],
                     9); /* the last is told once */
    for (int i = 0; i < 20; i++)
        want(&world, 0);
    assert_int_equal(world.snap.settings.max_connections, 2);
}

static void test_changes_keep_their_distance(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    world.rails.rails[place("max_connections")].cooldown_ns = 5 * SECOND;
    assert_int_equal(want(&world, 11), 11); /* at 0 s */
    assert_int_equal(want(&world, 12), 11);
    assert_int_equal(want(&world, 12), 11); /* at 4 s */
    assert_int_equal(world.events[RAILS_COOLING], 1);
    assert_int_equal(want(&world, 12), 12);
}

static void test_other_settings_are_closed(void **state)
{
    struct world world;
    struct policy_wish wish = { .reason = "because" };

    (void)state;
    start(&world);
    wish.is_set[place("lanes")] = true;
    wish.values[place("lanes")] = 9;
    assert_false(rails_apply(&world.rails, &world.snap, &wish, world.now_ns,
                             &world.settings));
    assert_false(rails_apply(&world.rails, &world.snap, &wish, world.now_ns,
                             &world.settings));
    assert_int_equal(world.events[RAILS_CLOSED], 1);
    world.rails.rails[place("lanes")].is_open = true;
    assert_true(rails_apply(&world.rails, &world.snap, &wish, world.now_ns,
                            &world.settings));
    assert_int_equal(world.settings.lanes, 9);
}

static void test_dry_run_only_tells(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    world.rails.is_dry_run = true;
    assert_int_equal(want(&world, 12), 10);
    assert_int_equal(world.events[RAILS_DRY_RUN], 1);
    assert_string_equal(world.last, "max_connections 10 -> 12: because");
}

static void test_what_goes_back_and_forth_is_held(void **state)
{
    struct world world;
    int changes = 0;

    (void)state;
    start(&world);
    for (int i = 0; i < 20; i++) {
        uint64_t before = world.snap.settings.max_connections;

        changes += want(&world, i % 2 ? 8 : 12) != before;
    }
    assert_int_equal(changes, 4); /* there, and three times back */
    assert_int_equal(world.events[RAILS_FLAPPING], 1);
    world.now_ns += 100 * SECOND;
    assert_true(want(&world, 20) == 20); /* it is let go again */
}

static void test_steady_growth_is_no_flapping(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    for (int i = 11; i <= 40; i++)
        assert_int_equal(want(&world, i), i);
    assert_int_equal(world.events[RAILS_FLAPPING], 0);
}

/* ---- trials */

static void see(struct world *world, double p99, double arrivals,
                double completions)
{
    world->snap.wait.p99 = p99;
    world->snap.wait.count = 1000;
    world->snap.arrivals = arrivals;
    world->snap.completions = completions;
}

static void pass(struct world *world, int intervals)
{
    for (int i = 0; i < intervals; i++) {
        if (rails_apply(&world->rails, &world->snap, NULL, world->now_ns,
                        &world->settings))
            world->snap.settings = world->settings;
        world->now_ns += SECOND;
    }
}

static void test_change_that_made_waits_worse_is_reverted(void **state)
{
    struct world world;

    (void)state;
    start(&world);
    world.rails.reverts = true;
    see(&world, 0.010, 1000, 1000);
    assert_int_equal(want(&world, 5), 5);
    see(&world, 0.200, 1000, 900);
    pass(&world, 2);
    assert_int_equal(world.snap.settings.max_connections, 5); /* not yet */
    pass(&world, 1);
    assert_int_equal(world.snap.settings.max_connections, 10);
    assert_int_equal(world.events[RAILS_REVERTED], 1);
    assert_int_equal(want(&world, 5), 10); /* held for a while */
    world.now_ns += 60 * SECOND;
    assert_int_equal(want(&world, 5), 5);
}

static void test_change_is_not_blamed_for_what_it_did_not_do(void **state)
{
    static const struct {
        double p99, arrivals, completions, count;
    } cases[] = {
        { 0.200, 2000, 900, 1000 },  /* there is more demand */
        { 0.200, 1000, 1200, 1000 }, /* more is done */
        { 0.015, 1000, 900, 1000 },  /* it is not so much worse */
        { 0.200, 1000, 900, 5 },     /* few waits say little */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world world;

        start(&world);
        world.rails.reverts = true;
        see(&world, 0.010, 1000, 1000);
        want(&world, 5);
        see(&world, cases[i].p99, cases[i].arrivals, cases[i].completions);
        world.snap.wait.count = cases[i].count;
        pass(&world, 5);
        assert_int_equal(world.events[RAILS_REVERTED], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wish_is_applied_with_its_reason),
        cmocka_unit_test(test_rails_limit_how_far_and_how_fast),
        cmocka_unit_test(test_changes_keep_their_distance),
        cmocka_unit_test(test_other_settings_are_closed),
        cmocka_unit_test(test_dry_run_only_tells),
        cmocka_unit_test(test_what_goes_back_and_forth_is_held),
        cmocka_unit_test(test_steady_growth_is_no_flapping),
        cmocka_unit_test(test_change_that_made_waits_worse_is_reverted),
        cmocka_unit_test(test_change_is_not_blamed_for_what_it_did_not_do),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
