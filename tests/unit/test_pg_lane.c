/* test_pg_lane.c - statements that share a connection: sent, failed, lost. */
#include "pg/pg.h"
#include "pg_peer.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "turns.h"
#include "unit.h"

enum { CALLS = 4, LESSONS_MAX = 200 };

static int set_up(void **state)
{
    static struct world world;

    pg_world_init(&world);
    world.settings.lanes = 1;
    world.settings.max_connections = 2;
    world.settings.group_target_ns = 5 * NS_PER_MS;
    pg_world_open(&world);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    pg_world_free(*state);
    return 0;
}

static const struct pool_stats *stats_of(struct world *world)
{
    return pool_stats(pg_pool_pool(world->pg));
}

static void init_call(struct call *call, const char *sql)
{
    pg_call_init(call, sql, NULL);
    call->request.may_share = true;
}

/* Runs sql until it is on a lane, which rests then. */
static void teach(struct world *world, const char *sql)
{
    uint64_t before = stats_of(world)->shared_statements;
    struct call call;

    for (int i = 0; i < LESSONS_MAX; i++) {
        init_call(&call, sql);
        pg_call_pool(world, &call);
        assert_ok(call.err);
        if (stats_of(world)->shared_statements > before)
            break;
    }
    assert_true(stats_of(world)->shared_statements > before);
    loop_turn(world->loop, 0);
    for (unsigned i = 0; i < world->peer.n_conns; i++)
        pg_peer_forget(&world->peer.conns[i]);
}

static void send_calls(struct world *world, struct call *calls, unsigned count,
                       const char *sql)
{
    for (unsigned i = 0; i < count; i++) {
        init_call(&calls[i], sql);
        assert_ok(pg_pool_send(world->pg, &calls[i].request));
        assert_int_equal(calls[i].calls, 0);
    }
}

static void wait_calls(struct world *world, struct call *calls, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pg_call_wait(world, &calls[i]);
}

/* The connection that holds a statement. */
static struct peer_conn *holding(struct world *world)
{
    for (unsigned i = 0; i < world->peer.n_conns; i++) {
        struct peer_conn *conn = &world->peer.conns[i];

        if (conn->is_holding && conn->stream != NULL)
            return conn;
    }
    return NULL;
}

static void hold(struct world *world, struct call *call, const char *sql,
                 uint64_t timeout_ms)
{
    teach(world, sql);
    world->peer.hold = sql;
    init_call(call, sql);
    call->request.timeout_ns = timeout_ms * NS_PER_MS;
    assert_ok(pg_pool_send(world->pg, &call->request));
    wait_for(world->loop, holding(world) != NULL);
    assert_int_equal(call->request.place, PG_PLACE_LANE);
}

static void test_group_ends_in_one_sync(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];

    teach(world, "select 1");
    send_calls(world, calls, 3, "select 1");
    wait_calls(world, calls, 3);

    for (int i = 0; i < 3; i++) {
        assert_ok(calls[i].err);
        assert_string_equal(calls[i].value, "select 1");
    }
    if (strlen(world->peer.conns[0].heard) == 0)
        assert_string_equal(world->peer.conns[1].heard, "B E B E B E S ");
    else
        assert_string_equal(world->peer.conns[0].heard, "B E B E B E S ");
}

static void test_turn_that_is_over_takes_one_answer(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];
    unsigned done = 0;

    teach(world, "select 1");
    send_calls(world, calls, CALLS, "select 1");
    for (int turns = 0; done < CALLS && turns < 100000; turns++) {
        unsigned before = done;

        loop_turn_until(world->loop, 1); /* long ago */
        done = 0;
        for (int i = 0; i < CALLS; i++)
            done += calls[i].calls;
        assert_in_range(done, before, before + 1);
    }

    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(calls[i].calls, 1);
        assert_ok(calls[i].err);
    }
}

static void test_error_ends_one_and_the_rest_is_sent_again(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];
    uint64_t before;

    teach(world, "select 1");
    before = stats_of(world)->resends;
    world->peer.fail_bind = "22012";
    send_calls(world, calls, 4, "select 1");
    wait_calls(world, calls, 4);

    assert_err(calls[0].err, ERR_SERVER);
    assert_string_equal(calls[0].text.sqlstate, "22012");
    for (int i = 1; i < 4; i++)
        assert_ok(calls[i].err);
    assert_int_equal(stats_of(world)->resends - before, 3);
}

static void test_write_on_a_read_lane_runs_on_a_write_lane(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];

    teach(world, "select 1");
    world->peer.fail_bind = "25006";
    send_calls(world, calls, 3, "select 1");
    wait_calls(world, calls, 3);

    for (int i = 0; i < 3; i++)
        assert_ok(calls[i].err);
    assert_int_equal(stats_of(world)->reroutes, 1);
}

static void test_statement_that_is_unknown_is_prepared_again(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];

    teach(world, "select 1");
    world->peer.fail_bind = "26000";
    send_calls(world, calls, 2, "select 1");
    wait_calls(world, calls, 2);

    for (int i = 0; i < 2; i++)
        assert_ok(calls[i].err);
}

static void run_with_old_plans(struct world *world, const char *sql)
{
    struct call calls[CALLS];

    teach(world, sql);
    world->peer.is_old = true;
    send_calls(world, calls, 3, sql);
    wait_calls(world, calls, 3);
    for (int i = 0; i < 3; i++)
        assert_ok(calls[i].err);
}

static void test_reads_with_an_old_plan_run_without_a_name(void **state)
{
    run_with_old_plans(*state, "select 1");
}

static void test_writes_with_an_old_plan_run_without_a_name(void **state)
{
    run_with_old_plans(*state, "update 1");
}

static void test_read_on_a_lost_lane_runs_on_another(void **state)
{
    struct world *world = *state;
    struct call call;

    hold(world, &call, "select 1", 5000);
    world->peer.hold = NULL;
    pg_peer_cut(holding(world));
    pg_call_wait(world, &call);
    assert_ok(call.err);
    assert_int_equal(stats_of(world)->closes[CLOSE_LOST], 1);
}

static void test_read_is_not_run_a_third_time(void **state)
{
    struct world *world = *state;
    uint64_t before = stats_of(world)->resends;
    const struct peer_conn *first;
    struct call call;

    hold(world, &call, "select 1", 5000);
    first = holding(world);
    pg_peer_kill(holding(world), "57P01");
    wait_for(world->loop, holding(world) != NULL && holding(world) != first);
    pg_peer_kill(holding(world), "57P01");
    pg_call_wait(world, &call);

    assert_err(call.err, ERR_LOST);
    assert_string_equal(call.text.sqlstate, "57P01");
    assert_int_equal(stats_of(world)->resends - before, 1);
}

static void test_write_on_a_lost_lane_is_lost(void **state)
{
    struct world *world = *state;
    struct call call;

    hold(world, &call, "update 1", 5000);
    world->peer.hold = NULL;
    pg_peer_kill(holding(world), "57P01");
    pg_call_wait(world, &call);
    assert_err(call.err, ERR_LOST);
    assert_string_equal(call.text.sqlstate, "57P01");
    assert_true(call.request.was_sent);
}

static void run_garbled(struct world *world, struct call *call, const char *sql)
{
    teach(world, sql);
    world->peer.garbles = sql;
    init_call(call, sql);
    pg_call_pool(world, call);
    assert_int_equal(stats_of(world)->closes[CLOSE_LOST], 1);
}

static void test_write_whose_answer_is_not_understood_is_lost(void **state)
{
    struct world *world = *state;
    struct call call;

    run_garbled(world, &call, "update 1");
    assert_err(call.err, ERR_LOST);
    assert_true(call.request.was_sent);
    assert_non_null(strstr(call.text.text, "unexpected response from server"));
}

static void test_read_whose_answer_is_not_understood_runs_again(void **state)
{
    struct world *world = *state;
    struct call call;

    run_garbled(world, &call, "select 1");
    assert_ok(call.err);
    assert_string_equal(call.value, "select 1");
}

static void set_connect_timeout(struct world *world, uint64_t ms)
{
    world->settings.connect_timeout_ns = ms * NS_PER_MS;
    assert_ok(pool_set(pg_pool_pool(world->pg), &world->settings,
                       loop_now_ns(world->loop), NULL));
}

/* Runs sql on connections of its own until it is queued for a lane. */
static void send_shared(struct world *world, struct call *call, const char *sql)
{
    for (int i = 0; i < LESSONS_MAX; i++) {
        init_call(call, sql);
        assert_ok(pg_pool_send(world->pg, &call->request));
        if (call->request.place == PG_PLACE_QUEUE)
            return;
        pg_call_wait(world, call);
        assert_ok(call->err);
    }
    fail_msg("%s was not put on a lane", sql);
}

static void test_lane_is_lost_when_its_setup_is_not_answered(void **state)
{
    struct world *world = *state;
    uint64_t usual_ms = world->settings.connect_timeout_ns / NS_PER_MS;
    struct call call;

    world->peer.hold = "SELECT pg_catalog.set_config";
    send_shared(world, &call, "select 1");
    set_connect_timeout(world, 20);
    wait_for(world->loop, stats_of(world)->closes[CLOSE_LOST] == 1);
    set_connect_timeout(world, usual_ms);
    assert_int_equal(call.calls, 0);
    assert_non_null(strstr(world->logged, "within connect_timeout"));
    world->peer.hold = NULL;
    pg_call_wait(world, &call);

    assert_ok(call.err);
    assert_int_equal(stats_of(world)->shared_statements, 1);
}

static void test_late_statement_is_stopped_and_the_rest_sent_again(void **state)
{
    struct world *world = *state;
    struct call late, behind;

    hold(world, &late, "select 1", 50);
    init_call(&behind, "select 1");
    assert_ok(pg_pool_send(world->pg, &behind.request));
    world->peer.hold = NULL;
    pg_call_wait(world, &late);
    pg_call_wait(world, &behind);

    assert_err(late.err, ERR_TIMEOUT);
    assert_true(late.request.was_sent);
    assert_ok(behind.err);
    wait_for(world->loop, world->peer.n_cancels == 1);
    wait_for(world->loop, holding(world) == NULL);
}

static void test_cancel_that_came_too_early_is_sent_again(void **state)
{
    struct world *world = *state;
    struct call late, behind;

    world->peer.is_deaf = true; /* as it is before the statement begins */
    hold(world, &late, "select 1", 50);
    init_call(&behind, "select 1");
    assert_ok(pg_pool_send(world->pg, &behind.request));
    world->peer.hold = NULL;
    pg_call_wait(world, &late);
    wait_for(world->loop, world->peer.n_cancels > 0);
    world->peer.is_deaf = false;
    pg_call_wait(world, &behind);

    assert_err(late.err, ERR_TIMEOUT);
    assert_ok(behind.err);
    assert_true(world->peer.n_cancels > 1);
    assert_int_equal(stats_of(world)->closes[CLOSE_LOST], 0);
    wait_for(world->loop, holding(world) == NULL);
}

static void test_cancelled_request_is_not_told(void **state)
{
    struct world *world = *state;
    struct call call, next;

    hold(world, &call, "select 1", 5000);
    world->peer.hold = NULL;
    pg_request_cancel(&call.request);
    wait_for(world->loop, world->peer.n_cancels == 1);
    init_call(&next, "select 1");
    pg_call_pool(world, &next);
    assert_ok(next.err);
    assert_int_equal(call.calls, 0);
}

static void test_queued_request_leaves_without_a_trace(void **state)
{
    struct world *world = *state;
    struct call calls[CALLS];

    teach(world, "select 1");
    send_calls(world, calls, 2, "select 1");
    assert_int_equal(calls[0].request.place, PG_PLACE_QUEUE);
    pg_request_cancel(&calls[0].request);
    pg_call_wait(world, &calls[1]);
    assert_ok(calls[1].err);
    assert_int_equal(calls[0].calls, 0);
}

static void test_closing_ends_what_is_queued_and_what_runs(void **state)
{
    struct world *world = *state;
    struct call held, queued;

    hold(world, &held, "select 1", 5000);
    init_call(&queued, "select 1");
    assert_ok(pg_pool_send(world->pg, &queued.request));
    pg_world_close_pool(world, 0);
    pg_call_wait(world, &held);
    pg_call_wait(world, &queued);
    assert_err(held.err, ERR_CLOSED);
    assert_err(queued.err, ERR_CLOSED);
}

static void test_reads_share_nothing_behind_a_pooler(void **state)
{
    struct world *world = *state;
    struct call call;

    world->peer.is_pooler = true;
    for (int i = 0; i < LESSONS_MAX; i++) {
        init_call(&call, "select 1");
        pg_call_pool(world, &call);
        assert_ok(call.err);
        assert_string_equal(call.value, "select 1");
    }

    assert_int_equal(stats_of(world)->shared_statements, 0);
    assert_string_equal(world->logged,
                        "behind a pooler pool=test effect=reads do not share "
                        "connections");
    loop_turn(world->loop, 0);
    assert_int_equal(pg_world_count(world, CONN_SHARED), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_group_ends_in_one_sync),
        TEST(test_turn_that_is_over_takes_one_answer),
        TEST(test_error_ends_one_and_the_rest_is_sent_again),
        TEST(test_write_on_a_read_lane_runs_on_a_write_lane),
        TEST(test_statement_that_is_unknown_is_prepared_again),
        TEST(test_reads_with_an_old_plan_run_without_a_name),
        TEST(test_writes_with_an_old_plan_run_without_a_name),
        TEST(test_read_on_a_lost_lane_runs_on_another),
        TEST(test_read_is_not_run_a_third_time),
        TEST(test_write_on_a_lost_lane_is_lost),
        TEST(test_write_whose_answer_is_not_understood_is_lost),
        TEST(test_read_whose_answer_is_not_understood_runs_again),
        TEST(test_lane_is_lost_when_its_setup_is_not_answered),
        TEST(test_late_statement_is_stopped_and_the_rest_sent_again),
        TEST(test_cancel_that_came_too_early_is_sent_again),
        TEST(test_cancelled_request_is_not_told),
        TEST(test_queued_request_leaves_without_a_trace),
        TEST(test_closing_ends_what_is_queued_and_what_runs),
        TEST(test_reads_share_nothing_behind_a_pooler),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
