/* test_policy_pilot.c - a policy at work on a pool of the fake driver. */
#include "fake_driver.h"

#include "policy/pilot.h"
#include "pool/pool.h"

#include <stdio.h>

struct world {
    struct fake fake;
    struct pilot *pilot;
    struct policy_time time;
    uint64_t due_ns;
    unsigned changes;
    unsigned errors;
    struct err_text error;
    char reason[RAILS_REASON_MAX];
    double to;
};

static void on_event(void *ud, const struct pilot_event *event)
{
    struct world *world = ud;

    assert_string_equal(event->policy, "test.lua");
    if (event->error != NULL) {
        world->errors++;
        world->error = *event->error;
    }
    if (event->change != NULL) {
        assert_string_equal(event->pool, "main");
        world->changes++;
        world->to = event->change->to;
        strcpy(world->reason, event->change->reason);
    }
}

static void start(struct world *world, const char *text)
{
    struct policy_source source = {
        .name = "test.lua",
        .text = text,
        .len = strlen(text),
        .budget = 100000,
        .memory_bytes = 1 << 20,
    };
    struct pilot_ops ops = { .ud = world, .on_event = on_event };
    struct policy_host *host;
    struct rails rails;
    struct err_text why = { .text = "" };

    memset(world, 0, sizeof(*world));
    fake_init(&world->fake);
    fake_start_open(&world->fake);
    assert_ok(policy_host_new(&host, &source, &why));
    assert_ok(pilot_new(&world->pilot, host, &ops));
    rails_init(&rails, pool_settings(world->fake.pool));
    for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
        rails.rails[i].is_open = true;
        rails.rails[i].max = pool_setting_table[i].max;
        rails.rails[i].cooldown_ns = 0;
    }
    assert_ok(
        pilot_add(world->pilot, world->fake.pool, "main", "postgres", &rails));
}

static void end(struct world *world)
{
    pilot_free(world->pilot);
    fake_end(&world->fake);
}

/* Lets the time pass, ticking whenever the pilot is due. */
static void pass(struct world *world, uint64_t ns)
{
    uint64_t end_ns = world->fake.now_ns + ns;

    while (world->due_ns <= end_ns) {
        if (world->due_ns > world->fake.now_ns)
            fake_pass(&world->fake, world->due_ns - world->fake.now_ns);
        world->time.now_ns = world->fake.now_ns;
        world->due_ns = pilot_tick(world->pilot, &world->time);
        assert_true(world->due_ns > world->fake.now_ns);
    }
    fake_pass(&world->fake, end_ns - world->fake.now_ns);
}

static uint64_t max_of(const struct world *world)
{
    return pool_settings(world->fake.pool)->max_connections;
}

static void test_policy_sees_what_happened_and_sets(void **state)
{
    struct world world;
    struct conn *conn;

    (void)state;
    start(&world, "return { every = 1, decide = function(pool)\n"
                  "  if pool.arrivals == 0 then return end\n"
                  "  assert(pool.completions == 1 and pool.interval == 1)\n"
                  "  assert(pool.service.p50 == 0.5 and pool.wait.count == 1)\n"
                  "  assert(pool.use_ratio > 0.15 and pool.use_ratio < 0.18)\n"
                  "  return { max_connections = 7 }, 'busy'\n"
                  "end }");
    pass(&world, SECOND + 1);
    assert_int_equal(max_of(&world), 3);
    conn = fake_try(&world.fake);
    pass(&world, SECOND / 2);
    fake_release(&world.fake, conn, CONN_CLEAN);
    pass(&world, SECOND / 2);
    assert_string_equal(world.error.text, "");
    assert_int_equal(max_of(&world), 7);
    assert_string_equal(world.reason, "busy");
    end(&world);
}

static void test_policy_that_errs_changes_nothing(void **state)
{
    static const struct {
        const char *body, *words;
    } cases[] = {
        { "error 'mine'", "mine" },
        { "while true do end", "instructions" },
        { "return { max_connections = {} }, 'x'", "number expected" },
        { "return { max_connections = 0/0 }, 'x'", "finite" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world world;
        char text[256];

        snprintf(text, sizeof(text),
                 "local n = 0 return { decide = function()\n"
                 "n = n + 1 if n == 1 then return { max_connections = 6 }, 'x' "
                 "end %s end }",
                 cases[i].body);
        start(&world, text);
        pass(&world, 10 * SECOND);
        assert_int_equal(max_of(&world), 6); /* its last good answer */
        assert_int_equal(world.errors, 1);   /* told once */
        assert_non_null(strstr(world.error.text, cases[i].words));
        assert_true(pilot_stats(world.pilot)->failures > 5);
        assert_false(pilot_is_spent(world.pilot));
        end(&world);
    }
}

static void test_policy_without_memory_is_spent(void **state)
{
    struct world world;

    (void)state;
    start(&world, "local t = {} return { decide = function()\n"
                  "for i = 1, 1e9 do t[#t + 1] = { i } end end }");
    world.due_ns = 0;
    for (int i = 0; i < 100 && !pilot_is_spent(world.pilot); i++) {
        fake_pass(&world.fake, SECOND);
        world.time.now_ns = world.fake.now_ns;
        pilot_tick(world.pilot, &world.time);
    }
    assert_true(pilot_is_spent(world.pilot));
    assert_int_equal(max_of(&world), 3);
    end(&world);
}

static void test_settings_that_clash_are_refused(void **state)
{
    struct world world;

    (void)state;
    start(&world, "return { decide = function()\n"
                  "return { min_connections = 9, max_connections = 4 }, 'x'\n"
                  "end }");
    pass(&world, 3 * SECOND);
    assert_int_equal(max_of(&world), 3);
    assert_true(pilot_stats(world.pilot)->outcomes[RAILS_REFUSED] > 0);
    assert_non_null(strstr(world.reason, "min_connections (9)"));
    end(&world);
}

static void test_server_is_seen_when_it_was_asked(void **state)
{
    struct world world;
    struct snapshot_server server = { .max_connections = 50,
                                      .connections = 20 };

    (void)state;
    start(&world, "return { decide = function(pool)\n"
                  "if not pool.server.max_connections then return end\n"
                  "return { max_connections = pool.server.max_connections\n"
                  "  - pool.server.connections }, 'age '\n"
                  "  .. math.floor(pool.server.age + 0.5) end }");
    pass(&world, 2 * SECOND);
    assert_int_equal(world.changes, 0);
    pilot_set_server(world.pilot, world.fake.pool, &server, world.fake.now_ns);
    pass(&world, SECOND);
    assert_int_equal(max_of(&world), 30);
    assert_string_equal(world.reason, "age 1");
    end(&world);
}

static void test_removed_pool_is_left_alone(void **state)
{
    struct world world;

    (void)state;
    start(&world, "return { decide = function()\n"
                  "return { max_connections = 8 }, 'x' end }");
    pilot_remove(world.pilot, world.fake.pool);
    pass(&world, 3 * SECOND);
    assert_int_equal(max_of(&world), 3);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_sees_what_happened_and_sets),
        cmocka_unit_test(test_policy_that_errs_changes_nothing),
        cmocka_unit_test(test_policy_without_memory_is_spent),
        cmocka_unit_test(test_settings_that_clash_are_refused),
        cmocka_unit_test(test_server_is_seen_when_it_was_asked),
        cmocka_unit_test(test_removed_pool_is_left_alone),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
