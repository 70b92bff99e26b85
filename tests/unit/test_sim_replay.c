/* test_sim_replay.c - what is read of a trace's server, and traces replayed
 * through the real pool and its lanes. */
#include "unit.h"

#include "sim/replay.h"
#include "sim/sim.h"

static const uint64_t MS = 1000000;

enum { DEMANDS = 400 };

static struct trace_demand demands[DEMANDS];

static struct trace trace_of(size_t count)
{
    struct trace trace = { .n_pools = 1, .demands = demands };

    trace.n_demands = count;
    for (size_t i = 0; i < count; i++) {
        const struct trace_demand *demand = &demands[i];
        uint64_t over_ns = demand->at_ns + demand->wait_ns + demand->service_ns;

        if (over_ns > trace.span_ns)
            trace.span_ns = over_ns;
    }
    return trace;
}

/* Bursts of 1, 2 ... 8 at once; each takes 10 ms alone. */
static struct trace bursts(unsigned cores)
{
    size_t count = 0;

    for (unsigned turn = 0; turn < 40; turn++) {
        unsigned size = turn % 8 + 1;

        for (unsigned n = 0; n < size; n++)
            demands[count++] = (struct trace_demand){
                .at_ns = turn * 1000 * MS + n,
                .service_ns =
                    (uint64_t)(10 * (double)MS * sim_slowdown(n, cores)),
            };
    }
    return trace_of(count);
}

static void test_cores_are_found(void **state)
{
    static const unsigned cores[] = { 1, 2, 3, 5, 8 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cores); i++) {
        struct trace trace = bursts(cores[i]);
        unsigned found;

        assert_ok(sim_replay_cores(&trace, &found));
        assert_int_equal(found, cores[i]);
    }
}

static void test_what_each_takes_alone(void **state)
{
    struct trace trace = bursts(2);
    struct sim_replay replay;

    (void)state;
    demands[5].end = DEMAND_SHED; /* as the one before it */
    demands[5].service_ns = 0;
    assert_ok(sim_replay_new(&replay, &trace, 2));
    for (size_t i = 0; i < trace.n_demands; i++)
        assert_in_range(replay.base_ns[i], 10 * MS - 10, 10 * MS);
    sim_replay_free(&replay);
}

static void init(struct sim_config *config, const struct trace *trace)
{
    *config = (struct sim_config){
        .seed = 1,
        .hosts = 1,
        .trace = trace,
        .connect = 0.001,
        .service = 1,
        .cores = 8,
        .server_max = 100,
        .sample = 1,
    };
    pool_settings_init(&config->settings, 4);
    config->settings.max_connections = 1;
    config->settings.lanes = 1;
}

static void run(const struct sim_config *config, struct sim_report *report)
{
    struct err_text why = { .text = "" };

    if (sim_run(config, report, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

/* Each second 4 of 10 ms, one connection: they wait 0, 10, 20 and 30 ms. */
static size_t make_fours(bool is_shared)
{
    size_t count = 0;

    for (unsigned turn = 1; turn <= 20; turn++)
        for (unsigned n = 0; n < 4; n++)
            demands[count++] = (struct trace_demand){ .at_ns = turn * 1000 * MS,
                                                      .service_ns = 10 * MS,
                                                      .is_shared = is_shared };
    return count;
}

static void check_fours(bool is_shared)
{
    struct trace trace = trace_of(make_fours(is_shared));
    struct sim_config config;
    struct sim_report report;

    init(&config, &trace);
    run(&config, &report);
    assert_int_equal(report.total.arrivals, 80);
    assert_int_equal(report.total.done, 80);
    assert_true(report.total.wait_p50 > 0.009 && report.total.wait_p50 < 0.011);
    assert_true(report.total.wait_p99 > 0.028 && report.total.wait_p99 < 0.034);
    sim_report_free(&report);
    config.settings.max_connections = 4;
    config.settings.lanes = 4;
    run(&config, &report);
    assert_int_equal(report.total.done, 80);
    assert_true(is_shared || report.total.wait_p99 < 0.002);
    sim_report_free(&report);
}

static void test_leases_are_replayed(void **state)
{
    (void)state;
    check_fours(false);
}

static void test_statements_are_replayed_on_lanes(void **state)
{
    (void)state;
    check_fours(true);
}

static void test_statements_expire_and_survive_an_outage(void **state)
{
    static const struct sim_outage outage = { 5.005, 7.5 };
    struct trace trace = trace_of(make_fours(true));
    struct sim_config config;
    struct sim_report report;

    (void)state;
    init(&config, &trace);
    config.settings.acquire_timeout_ns = 15 * MS;
    config.settings.group_max = 1;
    config.outages = &outage;
    config.n_outages = 1;
    run(&config, &report);
    assert_int_equal(report.total.arrivals, 80);
    assert_true(report.total.timeouts > 10);
    assert_true(report.total.refused >= 4); /* lost, or refused meanwhile */
    assert_true(report.total.done > 20);
    assert_int_equal(
        report.total.done + report.total.timeouts + report.total.refused, 80);
    sim_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cores_are_found),
        cmocka_unit_test(test_what_each_takes_alone),
        cmocka_unit_test(test_leases_are_replayed),
        cmocka_unit_test(test_statements_are_replayed_on_lanes),
        cmocka_unit_test(test_statements_expire_and_survive_an_outage),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
