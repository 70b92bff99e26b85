/*
 * test_oom_new.c - whatever is made without the network, made again and again
 * with its n-th allocation failing, see makers.h and tests/README.md.
 */
#include "makers.h"
#include "turns.h"

#include "base/buf.h"
#include "base/login.h"
#include "base/map.h"
#include "http/answer.h"
#include "policy/pilot.h"
#include "pool/driver.h"
#include "pool/flight.h"
#include "pool/pool.h"
#include "script/origin.h"
#include "sim/replay.h"
#include "sim/sim.h"
#include "tidepool.h"

#include <stdio.h>

static struct loop *loop;
static char dir[64];
static char path[128];
static struct err_text why;

/* ---- base */

static struct buf buf;
static struct login login;
static struct map map;
static struct map_node node;

static enum err make_buf(void)
{
    buf_free(&buf); /* one that failed stays so */
    return buf_reserve(&buf, 5000);
}

static void drop_buf(void)
{
    buf_free(&buf);
}

static enum err make_login(void)
{
    return login_set(&login, "user", "password");
}

static void drop_login(void)
{
    login_clear(&login);
}

static enum err make_map(void)
{
    node.hash = 7;
    return map_put(&map, &node);
}

static void drop_map(void)
{
    map_free(&map);
}

/* ---- pool */

static struct pool *pool;
static struct flight *flight;
static const struct conn_ops no_ops = { .name = "none" };

static struct pool_config pool_config(void)
{
    struct pool_config config = { .ops = &no_ops, .addresses = 1 };

    pool_settings_init(&config.settings, 1);
    return config;
}

static enum err make_pool(void)
{
    struct pool_config config = pool_config();

    return pool_new(&pool, &config, 1);
}

static void drop_pool(void)
{
    pool_free(pool);
}

static enum err make_flight(void)
{
    flight = flight_new();
    return flight != NULL ? ERR_OK : ERR_NOMEM;
}

static void drop_flight(void)
{
    flight_free(flight);
}

/* ---- http */

static struct http_answer *answer;

static enum err make_answer(void)
{
    return http_answer_new(&answer);
}

static void drop_answer(void)
{
    http_answer_free(answer);
}

/* ---- trace, policy, sim, script */

static struct trace trace;
static struct policy_host *host;
static struct pilot *pilot;
static struct sim_replay replay;
static struct sim_report report;
static struct origin_source source;
static struct origin *origin;

static const char TRACE[] = "# tidepool trace 1 began_us 1000000\n"
                            "# pool 0 main postgres max_connections=4\n"
                            "# us pool what outcome wait_us service_us conn "
                            "class\n"
                            "1000 0 lease served 120 15300 1 normal\n"
                            "2000 0 lease served 0 15300 1 normal\n";

static enum err make_trace(void)
{
    return trace_read(&trace, path, NULL, &why);
}

static void drop_trace(void)
{
    trace_free(&trace);
}

static const struct policy_source policy = {
    .name = "test.lua",
    .text = "return { decide = function() end }",
    .len = 34,
    .cores = 1,
};

static enum err make_host(void)
{
    return policy_host_new(&host, &policy, &why);
}

static void drop_host(void)
{
    policy_host_free(host);
}

static void on_pilot_event(void *ud, const struct pilot_event *event)
{
    (void)ud;
    (void)event;
}

static enum err make_pilot(void)
{
    const struct pilot_ops ops = { .on_event = on_pilot_event };

    return pilot_new(&pilot, host, &ops);
}

static enum err add_pilot(void)
{
    struct pool_settings settings;
    struct rails rails;

    pool_settings_init(&settings, 1);
    rails_init(&rails, &settings);
    return pilot_add(pilot, pool, "main", "postgres", &rails);
}

static void remove_pilot(void)
{
    pilot_remove(pilot, pool);
}

static enum err make_replay(void)
{
    return sim_replay_new(&replay, &trace, 2);
}

static void drop_replay(void)
{
    sim_replay_free(&replay);
}

static enum err make_run(void)
{
    static const struct sim_phase phases[] = { { .rate = 50, .seconds = 2 } };
    struct sim_config config = {
        .hosts = 2,
        .phases = phases,
        .n_phases = 1,
        .service = 0.01,
        .connect = 0.01,
        .cores = 2,
        .server_max = 10,
        .sample = 0.5,
    };
    struct rails rails;

    pool_settings_init(&config.settings, 1);
    rails_init(&rails, &config.settings);
    config.rails = &rails;
    return sim_run(&config, &report, &why);
}

static void drop_run(void)
{
    sim_report_free(&report);
}

static enum err make_origin(void)
{
    origin = origin_new(&source, NULL, 0);
    return origin != NULL ? ERR_OK : ERR_NOMEM;
}

static void drop_origin(void)
{
    origin_unref(origin);
}

/* ---- host */

static tide_runtime *runtime;

static enum err make_runtime(void)
{
    tide_options options;

    tide_options_init(&options);
    switch (tide_open(&runtime, &options)) {
    case TIDE_OK: return ERR_OK;
    case TIDE_NOMEM: return ERR_NOMEM;
    default: return ERR_INTERNAL;
    }
}

static void drop_runtime(void)
{
    assert_int_equal(tide_close(runtime), TIDE_OK);
}

/* ---- each of them */

static void test_what_stands_alone_is_made_or_not(void **state)
{
    static const struct maker makers[] = {
        { "buf_reserve", make_buf, drop_buf },
        { "login_set", make_login, drop_login },
        { "map_put", make_map, drop_map },
        { "pool_new", make_pool, drop_pool },
        { "flight_new", make_flight, drop_flight },
        { "policy_host_new", make_host, drop_host },
        { "http_answer_new", make_answer, drop_answer },
        { "origin_new", make_origin, drop_origin },
        { "sim_run", make_run, drop_run },
        { "tide_open", make_runtime, drop_runtime },
    };

    (void)state;
    makers_check(loop, makers, ARRAY_LEN(makers));
}

/* What is made of something that was made before. */
static void test_what_is_made_of_another_is_made_or_not(void **state)
{
    static const struct maker of_host = { "pilot_new", make_pilot, NULL };
    static const struct maker of_pool = { "pilot_add", add_pilot,
                                          remove_pilot };
    static const struct maker of_trace[] = {
        { "trace_read", make_trace, drop_trace },
        { "sim_replay_new", make_replay, drop_replay },
    };
    FILE *file = fopen(path, "w");

    (void)state;
    assert_ok(make_host());
    assert_ok(make_pool());
    print_message("# %s: %u\n", of_host.name, maker_exhaust(loop, &of_host));
    makers_check(loop, &of_pool, 1);
    pilot_free(pilot);
    drop_pool();

    assert_non_null(file);
    assert_true(fputs(TRACE, file) >= 0);
    assert_int_equal(fclose(file), 0);
    makers_check(loop, &of_trace[0], 1);
    assert_ok(make_trace());
    makers_check(loop, &of_trace[1], 1);
    drop_trace();
}

static int set_up(void **state)
{
    (void)state;
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/file", dir);
    loop = make_loop();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    drop_loop(loop);
    drop_dir(dir);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_stands_alone_is_made_or_not),
        TEST(test_what_is_made_of_another_is_made_or_not),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
