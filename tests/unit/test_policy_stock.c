/* test_policy_stock.c - the stock policies on scripted snapshots. */
#include "unit.h"

#include "policy/host.h"

#include <math.h>
#include <stdio.h>

enum { SOURCE_MAX = 16384, OPTIONS_MAX = 8 };

struct world {
    struct policy_host *host;
    struct policy_option options[OPTIONS_MAX];
    size_t n_options;
    struct snapshot snap;
    struct policy_time time;
    struct policy_wish wish;
};

static size_t place(const char *setting)
{
    return (size_t)(pool_setting_find(setting) - pool_setting_table);
}

static void option(struct world *world, const char *name, double number)
{
    world->options[world->n_options++] =
        (struct policy_option){ .name = name, .number = number };
}

static void text_option(struct world *world, const char *name, const char *text)
{
    world->options[world->n_options++] =
        (struct policy_option){ .name = name, .text = text };
}

/* A calm Postgres pool of 10, half of it in use. */
static void init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->snap.name = "main";
    world->snap.kind = "postgres";
    pool_settings_init(&world->snap.settings, 4);
    world->snap.settings.max_connections = 10;
    world->snap.interval = 1;
    world->snap.use_ratio = 0.5;
    world->snap.server = (struct snapshot_server){ .max_connections = NAN,
                                                   .connections = NAN,
                                                   .is_replica = NAN };
    world->snap.service = (struct snapshot_times){
        .count = 1000, .p50 = 0.010, .p90 = 0.020, .p99 = 0.040
    };
}

static enum err load(struct world *world, const char *name,
                     struct err_text *why)
{
    static char text[SOURCE_MAX];
    char path[128];
    struct policy_source source = { .name = name,
                                    .text = text,
                                    .options = world->options,
                                    .n_options = world->n_options,
                                    .cores = 4 };
    FILE *file;

    snprintf(path, sizeof(path), "lua/tidepool/policy/%s.lua", name);
    file = fopen(path, "r");
    assert_non_null(file);
    source.len = fread(text, 1, sizeof(text), file);
    assert_true(source.len > 0 && source.len < sizeof(text));
    fclose(file);
    return policy_host_new(&world->host, &source, why);
}

static void start(struct world *world, const char *name)
{
    struct err_text why = { .text = "" };

    if (load(world, name, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static enum err ask(struct world *world, struct err_text *why)
{
    world->time.now_ns += 1000000000;
    assert_ok(
        policy_host_show(world->host, &world->snap, 1, &world->time, why));
    return policy_host_decide(world->host, "main", &world->wish, why);
}

/* What it wants of a setting; -1: nothing. */
static double wanted(struct world *world, const char *setting)
{
    struct err_text why = { .text = "" };

    if (ask(world, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return world->wish.is_set[place(setting)]
               ? world->wish.values[place(setting)]
               : -1;
}

/* The same, and the pool gets it. */
static double step(struct world *world)
{
    double size = wanted(world, "max_connections");

    if (size > 0)
        world->snap.settings.max_connections = (uint64_t)size;
    return (double)world->snap.settings.max_connections;
}

static void end(struct world *world)
{
    policy_host_free(world->host);
}

/* ---- fixed */

static void test_fixed_sets_what_its_options_name(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "fixed");
    assert_true(wanted(&world, "max_connections") == -1);
    end(&world);
    init(&world);
    option(&world, "max_connections", 7);
    start(&world, "fixed");
    assert_true(step(&world) == 7);
    assert_string_equal(world.wish.reason, "max_connections is fixed at 7");
    assert_true(wanted(&world, "max_connections") == -1);
    end(&world);
}

/* ---- formula */

static void test_formula_is_cores_times_two_plus_spindles(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "formula");
    assert_true(step(&world) == 9);
    assert_string_equal(world.wish.reason, "4 cores x 2 + 1");
    end(&world);
    init(&world);
    option(&world, "cores", 16);
    option(&world, "spindles", 4);
    start(&world, "formula");
    assert_true(step(&world) == 36);
    end(&world);
}

static void test_formula_leaves_room_for_others(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "formula");
    world.snap.open = 3;
    world.snap.server.max_connections = 20;
    world.snap.server.connections = 18; /* 15 are others' */
    assert_true(step(&world) == 5);
    assert_string_equal(world.wish.reason,
                        "the server has room for 5: it takes 20, others have "
                        "15");
    world.snap.server.connections = 30;
    assert_true(step(&world) == 1);
    world.snap.kind = "redis";
    assert_true(wanted(&world, "max_connections") == -1);
    end(&world);
}

/* ---- aimd */

static void test_aimd_grows_by_one_while_somebody_waits(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "aimd");
    assert_true(step(&world) == 10);
    world.snap.waiting = 3;
    world.snap.use_ratio = 1;
    assert_true(step(&world) == 11);
    assert_true(step(&world) == 12);
    assert_string_equal(world.wish.reason, "3 wait, 100% in use");
    world.snap.use_ratio = 0.2; /* what it has is not used */
    assert_true(step(&world) == 12);
    end(&world);
}

static void test_aimd_backs_off_when_the_server_is_slow(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "aimd");
    world.snap.waiting = 50;
    world.snap.use_ratio = 1;
    world.snap.service.p90 = 0.8;
    assert_true(step(&world) == 9);
    assert_true(step(&world) == 8);
    for (int i = 0; i < 40; i++)
        step(&world);
    assert_true(world.snap.settings.max_connections == 1);
    end(&world);
}

static void test_aimd_shrinks_slowly_when_calm(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "aimd");
    world.snap.use_ratio = 0.1;
    for (int i = 0; i < 30; i++)
        assert_true(step(&world) == 10);
    assert_true(step(&world) == 9);
    end(&world);
}

/* ---- gradient */

static void test_gradient_grows_while_the_server_keeps_its_pace(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "gradient");
    world.snap.use_ratio = 0.9;
    for (int i = 0; i < 10; i++)
        step(&world);
    assert_true(world.snap.settings.max_connections >= 16);
    world.snap.use_ratio = 0.2;
    assert_true(wanted(&world, "max_connections") == -1);
    end(&world);
}

static void test_gradient_shrinks_when_the_server_slows_down(void **state)
{
    struct world world;
    uint64_t before;

    (void)state;
    init(&world);
    start(&world, "gradient");
    world.snap.settings.max_connections = 40;
    world.snap.use_ratio = 0.9;
    step(&world);
    before = world.snap.settings.max_connections;
    world.snap.service.p50 = 0.040; /* four times slower */
    for (int i = 0; i < 20; i++)
        step(&world);
    assert_true(world.snap.settings.max_connections < before / 4);
    assert_non_null(strstr(world.wish.reason, "usually 10.0 ms: x 0.50"));
    world.snap.service.p50 = 0.010;
    for (int i = 0; i < 20; i++)
        step(&world);
    assert_true(world.snap.settings.max_connections > 5);
    end(&world);
}

static void test_gradient_does_not_learn_overload_as_normal(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "gradient");
    world.snap.use_ratio = 1;
    step(&world);
    world.snap.service.p50 = 0.050;
    for (int i = 0; i < 2000; i++)
        step(&world);
    assert_true(world.snap.settings.max_connections <= 2);
    end(&world);
}

/* ---- codel */

static void test_codel_aims_at_a_few_service_times(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    start(&world, "codel");
    assert_true(fabs(wanted(&world, "codel_target") - 0.020) < 1e-9);
    assert_true(world.wish.values[place("codel_interval")] == 0.1);
    world.snap.settings.codel_target_ns = 20000000;
    assert_true(wanted(&world, "codel_target") == -1);
    world.snap.service.p50 = 0.0101;
    assert_true(wanted(&world, "codel_target") == -1);
    world.snap.service.p50 = 10;
    assert_true(wanted(&world, "codel_target") == 0.1);
    world.snap.service.p50 = 0.0001;
    assert_true(wanted(&world, "codel_target") == 0.005);
    end(&world);
}

/* ---- schedule */

static void at(struct world *world, int weekday, int hour, int minute)
{
    world->time.weekday = weekday;
    world->time.day = hour * 3600 + minute * 60;
}

static void test_schedule_follows_the_clock(void **state)
{
    struct world world;

    (void)state;
    init(&world);
    text_option(&world, "plan",
                "20:00=10 08:00=40 weekend:00:00=5 fri:12:30=2");
    start(&world, "schedule");
    at(&world, 1, 9, 0);
    assert_true(step(&world) == 40);
    assert_string_equal(world.wish.reason, "the plan from 08:00 on");
    at(&world, 1, 20, 0);
    assert_true(step(&world) == 10);
    at(&world, 2, 7, 59); /* still that of the day before */
    assert_true(step(&world) == 10);
    at(&world, 5, 13, 0);
    assert_true(step(&world) == 2);
    at(&world, 6, 1, 0);
    assert_true(step(&world) == 5);
    at(&world, 1, 7, 0);
    assert_true(step(&world) == 5);
    assert_true(wanted(&world, "max_connections") == -1);
    end(&world);
}

static void test_schedule_names_what_is_wrong_with_a_plan(void **state)
{
    static const char *const plans[] = { "8=40", "08:00", "0800=4", "x:y=3" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct world world;
        struct err_text why = { .text = "" };

        init(&world);
        text_option(&world, "plan", plans[i]);
        start(&world, "schedule");
        assert_err(ask(&world, &why), ERR_BADARG);
        assert_non_null(strstr(why.text, "expected, got \""));
        assert_non_null(strstr(why.text, plans[i]));
        end(&world);
    }
}

/* ---- all */

static void test_stock_policies_are_short_and_name_their_source(void **state)
{
    static const char *const names[] = { "fixed",    "formula", "aimd",
                                         "gradient", "codel",   "schedule" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128], line[256];
        FILE *file;
        int lines = 0;
        bool has_source = i == 0; /* fixed is nobody's */

        snprintf(path, sizeof(path), "lua/tidepool/policy/%s.lua", names[i]);
        file = fopen(path, "r");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file) != NULL) {
            lines++;
            has_source |= strstr(line, "-- Source:") != NULL;
        }
        fclose(file);
        assert_true(lines > 10 && lines <= 80);
        assert_true(has_source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_sets_what_its_options_name),
        cmocka_unit_test(test_formula_is_cores_times_two_plus_spindles),
        cmocka_unit_test(test_formula_leaves_room_for_others),
        cmocka_unit_test(test_aimd_grows_by_one_while_somebody_waits),
        cmocka_unit_test(test_aimd_backs_off_when_the_server_is_slow),
        cmocka_unit_test(test_aimd_shrinks_slowly_when_calm),
        cmocka_unit_test(test_gradient_grows_while_the_server_keeps_its_pace),
        cmocka_unit_test(test_gradient_shrinks_when_the_server_slows_down),
        cmocka_unit_test(test_gradient_does_not_learn_overload_as_normal),
        cmocka_unit_test(test_codel_aims_at_a_few_service_times),
        cmocka_unit_test(test_schedule_follows_the_clock),
        cmocka_unit_test(test_schedule_names_what_is_wrong_with_a_plan),
        cmocka_unit_test(test_stock_policies_are_short_and_name_their_source),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
