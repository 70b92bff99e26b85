/* test_pg_connect.c - pools that connect, or do not. */
#include "oom.h"
#include "pg/pg.h"
#include "pg_peer.h"
#include "pool/backoff.h"
#include "pool/stats.h"
#include "pool/status.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>

static int set_up(void **state)
{
    static struct world world;

    pg_world_init(&world);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    pg_world_free(*state);
    return 0;
}

static void test_refused_login_has_its_sqlstate(void **state)
{
    struct world *world = *state;
    struct call call;
    const struct err_text *last;

    world->peer.refuse = "28P01";
    pg_world_open(world);
    pg_call_init(&call, "select 1", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_REFUSED);

    last = pool_last_error(pg_pool_pool(world->pg));
    assert_non_null(last);
    assert_string_equal(last->sqlstate, "28P01");
    assert_non_null(strstr(last->text, "FATAL:  the peer's words"));
    assert_null(strstr(last->text, "LOCATION"));
    assert_non_null(strstr(world->logged, "sqlstate=28P01"));
}

static void test_pool_recovers_when_the_server_does(void **state)
{
    struct world *world = *state;
    struct call call;

    world->peer.refuse = "57P03";
    pg_world_open(world);
    pg_call_init(&call, "select 1", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_REFUSED);

    world->peer.refuse = NULL;
    wait_for(world->loop, (pg_call_init(&call, "select 1", NULL),
                           pg_pool_send(world->pg, &call.request)) == ERR_OK);
    pg_call_wait(world, &call);
    assert_ok(call.err);
}

static void use_hosts(struct world *world, const char *first)
{
    int len = snprintf(world->peer.url, sizeof(world->peer.url),
                       "host=%s,%s user=u dbname=d", first, world->peer.dir);

    assert_in_range(len, 1, sizeof(world->peer.url) - 1);
}

static void test_host_that_refuses_is_passed_over_and_left_out(void **state)
{
    struct world *world = *state;
    struct pool *pool;

    use_hosts(world, "/nowhere");
    pg_world_open(world);
    pool = pg_pool_pool(world->pg);
    pg_run_pool(world, "select 1");
    assert_false(pool_address_ready(pool, 0, loop_now_ns(world->loop)));
    assert_true(pool_address_ready(pool, 1, loop_now_ns(world->loop)));
}

static void test_host_that_hangs_gets_no_more_than_its_share(void **state)
{
    struct world *world = *state;
    static struct peer silent;
    struct pool *pool;

    silent = (struct peer){ .is_silent = true };
    pg_peer_open(&silent, world->loop);
    use_hosts(world, silent.dir);
    world->settings.connect_timeout_ns = (uint64_t)400 * NS_PER_MS;
    pg_world_open(world);
    pool = pg_pool_pool(world->pg);

    pg_run_pool(world, "select 1");
    assert_int_equal(pool_stats(pool)->connect_failures, 0);
    assert_int_equal(silent.n_conns, 1);
    assert_true(pool_address_ready(pool, 1, loop_now_ns(world->loop)));
    pg_peer_close(&silent);
}

static void test_pool_may_be_closed_at_any_moment(void **state)
{
    struct world *world = *state;
    struct call call;

    for (int turns = 0; turns < 12; turns++) {
        unsigned before = world->closes;

        pg_world_open(world);
        pg_call_init(&call, "select 1", NULL);
        assert_ok(pg_pool_send(world->pg, &call.request));
        for (int i = 0; i < turns; i++)
            loop_turn(world->loop, 0);
        pg_world_close_pool(world, 0);
        wait_for(world->loop, world->closes == before + 1);
        pg_call_wait(world, &call);
        assert_true(call.err == ERR_OK || call.err == ERR_CLOSED);
    }
    world->closes = 1;
}

static void test_open_says_what_is_wrong_with_the_url(void **state)
{
    struct world *world = *state;
    struct pg_config config = { .name = "x", .url = "postgres://h/d?no=1" };
    struct pg_pool *pg = NULL;
    struct err_text why = { 0 };

    pool_settings_init(&config.settings, 1);
    assert_err(pg_pool_open(&pg, world->loop, &config, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "\"no\""));
    assert_null(pg);
    pg_world_open(world);
    assert_string_equal(pg_pool_name(world->pg), "test");
}

static void test_open_survives_any_failing_allocation(void **state)
{
    struct world *world = *state;
    const struct pg_config config = {
        .name = "test",
        .url = world->peer.url,
        .application_name = "unit",
        .settings = world->settings,
    };
    struct err_text why;
    enum err err;

    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = pg_pool_open(&world->pg, world->loop, &config, &why);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
}

static void test_send_survives_any_failing_allocation(void **state)
{
    struct world *world = *state;
    struct call call;
    char sql[32];

    pg_world_open(world);
    pg_run_pool(world, "select 1");
    for (unsigned n = 1;; n++) {
        snprintf(sql, sizeof(sql), "select %u", n);
        pg_call_init(&call, sql, NULL);
        oom_fail_at(n);
        assert_ok(pg_pool_send(world->pg, &call.request));
        oom_off();
        pg_call_wait(world, &call);
        if (!oom_happened())
            break;
        assert_err(call.err, ERR_NOMEM);
    }
    assert_ok(call.err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_login_has_its_sqlstate),
        TEST(test_pool_recovers_when_the_server_does),
        TEST(test_host_that_refuses_is_passed_over_and_left_out),
        TEST(test_host_that_hangs_gets_no_more_than_its_share),
        TEST(test_pool_may_be_closed_at_any_moment),
        TEST(test_open_says_what_is_wrong_with_the_url),
        TEST(test_open_survives_any_failing_allocation),
        TEST(test_send_survives_any_failing_allocation),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
