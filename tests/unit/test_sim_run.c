/* test_sim_run.c - the simulator: it repeats itself, and says what theory says.
 */
#include "unit.h"

#include "sim/sim.h"

static const struct sim_phase minute[] = { { 100, 60 } };

/* 10 ms a statement on 4 cores: 400 a second is all. */
static void init(struct sim_config *config)
{
    *config = (struct sim_config){
        .seed = 1,
        .hosts = 1,
        .phases = minute,
        .n_phases = 1,
        .service = 0.010,
        .connect = 0.005,
        .cores = 4,
        .server_max = 100,
        .sample = 1,
    };
    pool_settings_init(&config->settings, 4);
    config->settings.max_connections = 10;
}

static void run(const struct sim_config *config, struct sim_report *report)
{
    struct err_text why = { .text = "" };

    if (sim_run(config, report, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void test_calm_load_is_served_without_waits(void **state)
{
    struct sim_config config;
    struct sim_report report;

    (void)state;
    init(&config);
    run(&config, &report);
    assert_int_equal(report.n_samples, 60);
    assert_true(report.total.arrivals > 5500 && report.total.arrivals < 6500);
    assert_true(report.total.done >= report.total.arrivals - 10);
    assert_true(report.total.wait_p50 < 1e-6);
    assert_true(report.total.service_p50 > 0.005 &&
                report.total.service_p50 < 0.009);
    assert_true(report.total.open <= 10);
    sim_report_free(&report);
}

static void test_same_seed_gives_the_same_report(void **state)
{
    struct sim_config config;
    struct sim_report reports[3];

    (void)state;
    init(&config);
    for (int i = 0; i < 3; i++) {
        config.seed = i < 2 ? 7 : 8;
        run(&config, &reports[i]);
    }
    assert_int_equal(reports[0].events, reports[1].events);
    assert_memory_equal(reports[0].samples, reports[1].samples,
                        reports[0].n_samples * sizeof(struct sim_sample));
    assert_true(reports[0].events != reports[2].events);
    for (int i = 0; i < 3; i++)
        sim_report_free(&reports[i]);
}

/* Twice of what the server can do: with controlled delay it does all it can,
 * in time; without it, all waits become too long. */
static void test_overload_with_and_without_codel(void **state)
{
    static const struct sim_phase load[] = { { 800, 60 } };
    struct sim_config config;
    struct sim_report with, without;

    (void)state;
    init(&config);
    config.phases = load;
    config.settings.max_connections = 4;
    config.settings.acquire_timeout_ns = 1000000000000;
    run(&config, &without);
    config.settings.codel_target_ns = 10000000;
    run(&config, &with);
    assert_true(with.total.done > 60 * 400 * 0.9);
    assert_true(with.total.wait_p99 < 0.15); /* target and interval */
    assert_true(without.total.wait_p99 > 10);
    sim_report_free(&with);
    sim_report_free(&without);
}

static void test_outage_is_survived(void **state)
{
    static const struct sim_outage outage[] = { { 20, 30 } };
    struct sim_config config;
    struct sim_report report;
    double late = 0;

    (void)state;
    init(&config);
    config.outages = outage;
    config.n_outages = 1;
    run(&config, &report);
    assert_true(report.total.refused > 800);
    for (size_t i = 35; i < report.n_samples; i++)
        late += report.samples[i].done;
    assert_true(late > 2200); /* it serves again */
    sim_report_free(&report);
}

static void test_hosts_share_one_server(void **state)
{
    static const struct sim_phase load[] = { { 300, 20 } };
    struct sim_config config;
    struct sim_report report;

    (void)state;
    init(&config);
    config.hosts = 50;
    config.phases = load;
    config.settings.max_connections = 20;
    config.server_max = 30;
    run(&config, &report);
    assert_true(report.total.max == 50 * 20);
    for (size_t i = 0; i < report.n_samples; i++)
        assert_true(report.samples[i].open <= 30 + 50); /* some are opening */
    assert_true(report.total.done > 1000);
    sim_report_free(&report);
}

static void test_policy_flies_and_tells(void **state)
{
    static const char text[] =
        "return { decide = function(pool, ctx)\n"
        "  if pool.waiting > 0 then\n"
        "    return { max_connections = pool.settings.max_connections + 2 },\n"
        "      pool.waiting .. ' wait'\n"
        "  end\n"
        "  if ctx.now > 30 then error 'late' end\n"
        "end }";
    static const struct sim_phase load[] = { { 50, 10 }, { 350, 50 } };
    struct policy_source source = { .name = "test.lua",
                                    .text = text,
                                    .len = sizeof(text) - 1 };
    struct sim_config config;
    struct sim_report report;
    struct rails rails;
    bool has_error = false;

    (void)state;
    init(&config);
    config.phases = load;
    config.n_phases = 2;
    config.policy = &source;
    config.settings.max_connections = 20;
    rails_init(&rails, &config.settings);
    config.settings.max_connections = 1;
    config.rails = &rails;
    run(&config, &report);
    assert_true(report.n_changes > 2);
    assert_int_equal(report.changes[0].outcome, RAILS_APPLIED);
    assert_string_equal(report.changes[0].setting, "max_connections");
    assert_true(report.changes[0].to == 3);
    for (size_t i = 0; i < report.n_changes; i++)
        has_error |= report.changes[i].is_error;
    assert_true(has_error);
    assert_true(report.total.max > 3);
    sim_report_free(&report);
}

static void test_nonsense_is_refused(void **state)
{
    struct policy_source source = { .name = "x", .text = "return 1", .len = 8 };
    struct sim_config config;
    struct sim_report report;
    struct rails rails;
    struct err_text why = { .text = "" };

    (void)state;
    init(&config);
    config.hosts = 0;
    assert_err(sim_run(&config, &report, &why), ERR_BADARG);
    init(&config);
    config.service = 0;
    assert_err(sim_run(&config, &report, &why), ERR_BADARG);
    init(&config);
    config.settings.min_connections = 99;
    assert_err(sim_run(&config, &report, &why), ERR_BADARG);
    init(&config);
    rails_init(&rails, &config.settings);
    config.rails = &rails;
    config.policy = &source;
    assert_err(sim_run(&config, &report, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "a policy gives a table"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm_load_is_served_without_waits),
        cmocka_unit_test(test_same_seed_gives_the_same_report),
        cmocka_unit_test(test_overload_with_and_without_codel),
        cmocka_unit_test(test_outage_is_survived),
        cmocka_unit_test(test_hosts_share_one_server),
        cmocka_unit_test(test_policy_flies_and_tells),
        cmocka_unit_test(test_nonsense_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
