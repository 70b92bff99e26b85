/* test_pg_query.c - statements on a link: prepared, run, refused, retried. */
#include "pg/pg.h"
#include "pg_peer.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "turns.h"
#include "unit.h"

#include <libpq-fe.h>

/* How a statement of ours is closed. */
#ifdef LIBPQ_HAS_CLOSE_PREPARED
#define CLOSE "C:tp"
#else
#define CLOSE "P:DEALLOCATE tp"
#endif

static int set_up(void **state)
{
    static struct world world;

    pg_world_init(&world);
    pg_world_open(&world);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    pg_world_free(*state);
    return 0;
}

static void set_cache(struct world *world, uint64_t size)
{
    struct pool *pool = pg_pool_pool(world->pg);
    struct pool_settings settings = *pool_settings(pool);
    struct err_text why;

    settings.statement_cache = size;
    assert_ok(pool_set(pool, &settings, loop_now_ns(world->loop), &why));
}

static void test_statement_is_prepared_once_then_sent_in_one_go(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];

    pg_run_pool(world, "select 1");
    assert_string_equal(conn->heard, "P:select 1 D S B E S ");
    pg_peer_forget(conn);

    pg_run_pool(world, "select 1");
    assert_string_equal(conn->heard, "B E S ");
    assert_int_equal(conn->reads, 1);
}

static void test_parameters_are_counted_before_they_are_sent(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_call_init(&call, "select $1, $2", "1", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_BADARG);
    assert_string_equal(call.text.text,
                        "the statement has 2 parameters ($1..$2), 1 was given");
    assert_false(call.request.was_sent);
    assert_null(strchr(world->peer.conns[0].heard, 'B'));

    pg_call_init(&call, "select $1", "1", "2", NULL);
    pg_call_pool(world, &call);
    assert_string_equal(call.text.text,
                        "the statement has 1 parameter ($1), 2 were given");

    pg_call_init(&call, "select", "1", NULL);
    pg_call_pool(world, &call);
    assert_string_equal(call.text.text,
                        "the statement has no parameters, 1 was given");
}

static void test_statement_with_a_zero_byte_is_refused(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_call_init(&call, "select", NULL);
    call.request.sql = "select\0 1";
    call.request.sql_len = 9;
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_BADARG);
    assert_string_equal(world->peer.conns[0].heard, "");
}

static void test_error_of_the_server_has_its_words(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_call_init(&call, "bad", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_SERVER);
    assert_string_equal(call.text.sqlstate, "42601");
    assert_string_equal(call.text.text, "the peer's words");
    assert_false(call.request.was_sent);

    world->peer.fail_bind = "22P02";
    pg_call_init(&call, "select $1", "x", NULL);
    pg_call_pool(world, &call);
    assert_string_equal(call.text.sqlstate, "22P02");
    assert_true(call.request.was_sent);
    pg_run_pool(world, "select 1");
    assert_int_equal(world->peer.n_conns, 1);
}

static void test_evicted_statement_is_closed_with_the_next_one(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];

    set_cache(world, 2);
    pg_run_pool(world, "a");
    pg_run_pool(world, "b");
    pg_run_pool(world, "a");
    pg_peer_forget(conn);
    pg_run_pool(world, "c");
    assert_int_equal(conn->reads, 2);
    assert_non_null(strstr(conn->heard, "P:c D " CLOSE));
    pg_peer_forget(conn);

    pg_run_pool(world, "a");
    pg_run_pool(world, "b");
    assert_memory_equal(conn->heard, "B E S P:b D ", 12);
}

static void test_statements_are_not_closed_inside_a_transaction(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];
    struct pg_link *link = pg_world_lease(world);

    set_cache(world, 1);
    pg_run_link(world, link, "begin");
    pg_run_link(world, link, "a");
    pg_run_link(world, link, "b");
    assert_null(strstr(conn->heard, CLOSE));
    pg_run_link(world, link, "rollback");
    pg_peer_forget(conn);

    pg_run_link(world, link, "c");
    assert_non_null(strstr(conn->heard, CLOSE));
    pg_world_release(world, link);
}

static void test_without_a_cache_all_goes_at_once(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];
    struct call call;

    set_cache(world, 0);
    pg_run_pool(world, "select 1");
    assert_string_equal(conn->heard, "P:select 1 B E S ");
    pg_peer_forget(conn);

    pg_call_init(&call, "select $1", "[1]", NULL);
    call.params[0].kind = PG_PARAM_JSON;
    pg_call_pool(world, &call);
    assert_ok(call.err);
    assert_string_equal(conn->heard, "P:select $1 D S P:select $1 B E S ");
}

static void test_forgotten_statement_is_prepared_anew_once(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];
    struct call call;

    pg_run_pool(world, "a");
    memset(conn->stmts, 0, sizeof(conn->stmts));
    pg_peer_forget(conn);
    pg_run_pool(world, "a");
    assert_string_equal(conn->heard, "B S P:a D S B E S ");

    world->peer.fail_bind = "0A000";
    world->peer.fail_where = "elsewhere";
    pg_call_init(&call, "a", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_SERVER);
}

/*
 * Runs "a" when the server finds its plan old, which it says to the Bind or to
 * the Describe, by fail; before that ran has run.  It is passed by without a
 * name: behind a pooler each may lead to the old plan again.
 */
static void run_on_old_plan(struct world *world, const char *ran,
                            const char **fail)
{
    pg_run_pool(world, ran);
    pg_peer_forget(&world->peer.conns[0]);
    *fail = "0A000";
    world->peer.fail_where = "RevalidateCachedQuery";
    pg_run_pool(world, "a");
}

static void test_old_plan_is_passed_by_and_made_anew_next_time(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];

    run_on_old_plan(world, "a", &world->peer.fail_bind);
    assert_string_equal(conn->heard, "B S P:a B E S ");
    pg_peer_forget(conn);

    pg_run_pool(world, "a");
    assert_memory_equal(conn->heard, "P:a D " CLOSE, strlen("P:a D " CLOSE));
}

static void test_old_plan_of_a_new_name_is_passed_by(void **state)
{
    struct world *world = *state;

    run_on_old_plan(world, "b", &world->peer.fail_describe);
    assert_string_equal(world->peer.conns[0].heard, "P:a D S P:a B E S ");
}

static void test_forgotten_statement_fails_inside_a_transaction(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_run_link(world, link, "a");
    pg_run_link(world, link, "begin");
    world->peer.fail_bind = "26000";
    pg_call_init(&call, "a", NULL);
    pg_call_link(world, link, &call);
    assert_err(call.err, ERR_SERVER);
    assert_int_equal(pg_link_tx(link), PG_TX_FAILED);

    pg_run_link(world, link, "rollback");
    pg_run_link(world, link, "a");
    pg_world_release(world, link);
}

static void test_name_that_is_taken_is_given_up_for_another(void **state)
{
    struct world *world = *state;
    struct call call;

    world->peer.fail_parse = "42P05";
    pg_run_pool(world, "a");
    assert_string_equal(world->peer.conns[0].heard, "P:a S P:a D S B E S ");

    world->peer.fail_parse = "42601";
    pg_call_init(&call, "b", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_SERVER);
}

static void test_copy_is_refused_and_leaves_the_link_clean(void **state)
{
    static const char *const copies[] = { "copy in", "copy out" };
    struct world *world = *state;
    struct call call;

    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        pg_call_init(&call, copies[i], NULL);
        pg_call_pool(world, &call);
        assert_err(call.err, ERR_BADARG);
        assert_string_equal(call.text.text,
                            "COPY needs db:copy_in or db:copy_out");
        pg_run_pool(world, "select 1");
    }
    assert_int_equal(world->peer.n_cancels, 1);
    assert_int_equal(pg_world_count(world, CONN_IDLE), 1);
}

static void test_session_statements_are_refused_on_the_pool(void **state)
{
    struct world *world = *state;
    struct pg_link *link;
    struct call call;

    pg_call_init(&call, "begin", NULL);
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_BADARG);
    assert_string_equal(world->peer.conns[0].heard, "");

    link = pg_world_lease(world);
    pg_run_link(world, link, "begin");
    assert_int_equal(pg_link_tx(link), PG_TX_OPEN);
    assert_int_equal(pg_link_backend_pid(link), 1);
    pg_world_release(world, link);
}

static void test_link_comes_back_clean(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];
    struct pg_link *link = pg_world_lease(world);

    pg_run_link(world, link, "begin");
    pg_run_link(world, link, "set x = 1");
    pg_peer_forget(conn);
    pg_world_release(world, link);
    assert_int_equal(pg_world_count(world, CONN_RESETTING), 1);
    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    assert_string_equal(conn->heard, "Q:ROLLBACK Q:DISCARD ALL ");

    link = pg_world_lease(world);
    pg_run_link(world, link, "begin");
    pg_peer_forget(conn);
    pg_world_release(world, link);
    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    assert_string_equal(conn->heard, "Q:ROLLBACK ");

    link = pg_world_lease(world);
    pg_run_link(world, link, "set local x = 1");
    pg_run_link(world, link, "select 1");
    pg_world_release(world, link);
    assert_int_equal(pg_world_count(world, CONN_IDLE), 1);
}

static void test_quiet_link_is_tested_with_an_empty_statement(void **state)
{
    struct world *world = *state;
    struct pool *pool = pg_pool_pool(world->pg);
    struct pool_settings settings = *pool_settings(pool);
    struct err_text why;

    pg_run_pool(world, "select 1");
    settings.test_before_acquire = true;
    settings.test_after_ns = 0;
    assert_ok(pool_set(pool, &settings, loop_now_ns(world->loop), &why));
    pg_peer_forget(&world->peer.conns[0]);

    pg_run_pool(world, "select 1");
    assert_string_equal(world->peer.conns[0].heard, "Q B E S ");
}

/* ---- what is no answer */

static void check_garbled(struct world *world, const struct call *call)
{
    assert_err(call->err, ERR_LOST);
    assert_true(call->request.was_sent);
    assert_string_equal(call->text.sqlstate, "");
    assert_non_null(strstr(call->text.text, "unexpected response from server"));
    wait_for(world->loop,
             pool_stats(pg_pool_pool(world->pg))->closes[CLOSE_LOST] == 1);
}

static void test_write_whose_answer_is_not_understood_is_lost(void **state)
{
    struct world *world = *state;
    struct call call;

    world->peer.garbles = "update 1";
    pg_call_init(&call, "update 1", NULL);
    pg_call_pool(world, &call);

    check_garbled(world, &call);
    pg_run_pool(world, "update 1");
}

static void test_lease_whose_answer_is_not_understood_is_lost(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_run_link(world, link, "begin");
    world->peer.garbles = "update 1";
    pg_call_init(&call, "update 1", NULL);
    pg_call_link(world, link, &call);
    assert_err(pg_link_send(link, &call.request), ERR_LOST);
    pg_world_release(world, link);

    check_garbled(world, &call);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_statement_is_prepared_once_then_sent_in_one_go),
        TEST(test_parameters_are_counted_before_they_are_sent),
        TEST(test_statement_with_a_zero_byte_is_refused),
        TEST(test_error_of_the_server_has_its_words),
        TEST(test_evicted_statement_is_closed_with_the_next_one),
        TEST(test_statements_are_not_closed_inside_a_transaction),
        TEST(test_without_a_cache_all_goes_at_once),
        TEST(test_forgotten_statement_is_prepared_anew_once),
        TEST(test_old_plan_is_passed_by_and_made_anew_next_time),
        TEST(test_old_plan_of_a_new_name_is_passed_by),
        TEST(test_forgotten_statement_fails_inside_a_transaction),
        TEST(test_name_that_is_taken_is_given_up_for_another),
        TEST(test_copy_is_refused_and_leaves_the_link_clean),
        TEST(test_session_statements_are_refused_on_the_pool),
        TEST(test_link_comes_back_clean),
        TEST(test_quiet_link_is_tested_with_an_empty_statement),
        TEST(test_write_whose_answer_is_not_understood_is_lost),
        TEST(test_lease_whose_answer_is_not_understood_is_lost),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
