/* test_pg_request.c - how statements end that do not end well. */
#include "pg/pg.h"
#include "pg_peer.h"
#include "pool/line.h"
#include "pool/stats.h"
#include "turns.h"
#include "unit.h"

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

/* Starts "hold" on the pool and waits until the peer holds it. */
static void hold_on_pool(struct world *world, struct call *call,
                         uint64_t timeout_ms)
{
    struct peer_conn *conn = &world->peer.conns[0];

    pg_call_init(call, "hold", NULL);
    call->request.timeout_ns = timeout_ms * NS_PER_MS;
    assert_ok(pg_pool_send(world->pg, &call->request));
    wait_for(world->loop, conn->is_holding);
}

static void hold_on_link(struct world *world, struct pg_link *link,
                         struct call *call, uint64_t timeout_ms)
{
    pg_call_init(call, "hold", NULL);
    call->request.timeout_ns = timeout_ms * NS_PER_MS;
    assert_ok(pg_link_send(link, &call->request));
    wait_for(world->loop, world->peer.conns[0].is_holding);
}

/* ---- lost */

static void test_statement_on_a_killed_connection_is_lost(void **state)
{
    struct world *world = *state;
    struct call call;

    hold_on_pool(world, &call, 5000);
    pg_peer_kill(&world->peer.conns[0], "57P01");
    pg_call_wait(world, &call);

    assert_err(call.err, ERR_LOST);
    assert_string_equal(call.text.sqlstate, "57P01");
    assert_string_equal(call.text.text, "the peer's words");
    assert_true(call.request.was_sent);
    pg_run_pool(world, "select 1");
    assert_int_equal(world->peer.n_conns, 2);
}

static void test_statement_on_a_cut_connection_is_lost(void **state)
{
    struct world *world = *state;
    struct call call;

    hold_on_pool(world, &call, 5000);
    pg_peer_cut(&world->peer.conns[0]);
    pg_call_wait(world, &call);

    assert_err(call.err, ERR_LOST);
    assert_string_equal(call.text.sqlstate, "");
    assert_string_equal(call.text.text,
                        "server closed the connection unexpectedly");
    assert_true(call.request.was_sent);
}

static void test_statement_that_was_only_parsed_was_not_sent(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_run_pool(world, "select 1");
    world->peer.conns[0].is_holding = true;
    pg_call_init(&call, "select 2", NULL);
    assert_ok(pg_pool_send(world->pg, &call.request));
    pg_peer_cut(&world->peer.conns[0]);
    pg_call_wait(world, &call);

    assert_err(call.err, ERR_LOST);
    assert_false(call.request.was_sent);
}

static void test_idle_connection_that_is_killed_is_closed(void **state)
{
    struct world *world = *state;
    const struct pool_stats *stats = pool_stats(pg_pool_pool(world->pg));

    pg_run_pool(world, "select 1");
    pg_peer_kill(&world->peer.conns[0], "57P01");
    wait_for(world->loop, stats->closes[CLOSE_LOST] == 1);
    assert_int_equal(pg_world_count(world, CONN_IDLE), 0);
}

static void test_what_an_idle_connection_may_hear_does_no_harm(void **state)
{
    struct world *world = *state;

    pg_run_pool(world, "select 1");
    pg_peer_notify(&world->peer.conns[0]);
    loop_turn(world->loop, 20);
    pg_run_pool(world, "select 1");
    assert_int_equal(world->peer.n_conns, 1);
}

static void test_lease_on_a_dead_connection_says_so(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_run_link(world, link, "begin");
    pg_peer_kill(&world->peer.conns[0], "57P01");
    wait_for(world->loop, pg_link_tx(link) == PG_TX_UNKNOWN);

    pg_call_init(&call, "select 1", NULL);
    assert_err(pg_link_send(link, &call.request), ERR_LOST);
    pg_world_release(world, link);
    pg_run_pool(world, "select 1");
    assert_int_equal(call.calls, 0);
}

/* ---- late */

static void test_late_statement_on_the_pool_ends_at_once(void **state)
{
    struct world *world = *state;
    struct call call;

    world->peer.is_slow = true;
    hold_on_pool(world, &call, 30);
    pg_call_wait(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_string_equal(call.text.text,
                        "the statement did not end within 0.03 s");
    assert_true(call.request.was_sent);
    assert_int_equal(pg_world_count(world, CONN_CANCELLING), 1);

    /* the wire is quiet, but the server may still act on the cancel */
    wait_for(world->loop, !world->peer.conns[0].is_holding);
    for (int i = 0; i < 5; i++)
        loop_turn(world->loop, 5);
    assert_int_equal(pg_world_count(world, CONN_CANCELLING), 1);

    pg_peer_answer_cancels(&world->peer);
    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    pg_run_pool(world, "select 1");
    assert_int_equal(world->peer.n_cancels, 1);
}

static void
test_statement_that_is_late_being_prepared_is_prepared_anew(void **state)
{
    struct world *world = *state;
    struct peer_conn *conn = &world->peer.conns[0];
    struct call call;

    world->peer.is_deaf = true;
    pg_call_init(&call, "hold parse $1", "1", NULL);
    call.request.timeout_ns = (uint64_t)30 * NS_PER_MS;
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    pg_peer_go(conn);
    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);

    pg_call_init(&call, "hold parse $1", "1", NULL);
    assert_ok(pg_pool_send(world->pg, &call.request));
    wait_for(world->loop, conn->is_holding);
    pg_peer_go(conn);
    pg_call_wait(world, &call);
    assert_ok(call.err);
}

static void test_late_statement_on_a_lease_waits_for_the_server(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_run_link(world, link, "begin");
    hold_on_link(world, link, &call, 30);
    pg_call_wait(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_int_equal(pg_link_tx(link), PG_TX_FAILED);

    pg_run_link(world, link, "rollback");
    pg_world_release(world, link);
    assert_int_equal(pg_world_count(world, CONN_IDLE), 1);
}

static void test_server_deaf_to_cancels_costs_the_connection(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    world->peer.is_deaf = true;
    hold_on_link(world, link, &call, 30);
    pg_call_wait(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_string_equal(call.text.text,
                        "the statement did not end within 0.03 s, nor did the "
                        "server answer a cancel");

    pg_call_init(&call, "select 1", NULL);
    assert_err(pg_link_send(link, &call.request), ERR_LOST);
    pg_world_release(world, link);
    assert_int_equal(pg_world_count(world, CONN_IDLE), 0);
}

/* The statement ended before the cancel came, its transaction did not. */
static void test_timeout_fails_the_transaction_in_any_case(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    world->peer.is_deaf = true;
    world->peer.is_slow = true;
    pg_run_link(world, link, "begin");
    hold_on_link(world, link, &call, 30);
    wait_for(world->loop, world->peer.n_cancels == 1);
    pg_peer_go(&world->peer.conns[0]);
    for (int i = 0; i < 5; i++)
        loop_turn(world->loop, 5);
    assert_int_equal(call.calls, 0);

    pg_peer_answer_cancels(&world->peer);
    pg_call_wait(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_int_equal(pg_link_tx(link), PG_TX_FAILED);
    pg_world_release(world, link);
}

static void test_timeout_covers_the_line(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_call_init(&call, "select 1", NULL);
    call.request.timeout_ns = (uint64_t)20 * NS_PER_MS;
    pg_call_pool(world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_false(call.request.was_sent);
    assert_true(call.request.waiter.phase_ns[WAIT_QUEUE] >=
                (uint64_t)20 * NS_PER_MS);
    pg_world_release(world, link);
}

/* ---- given up */

static void test_request_may_be_given_up_in_line(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    pg_call_init(&call, "select 1", NULL);
    assert_ok(pg_pool_send(world->pg, &call.request));
    pg_request_cancel(&call.request);
    pg_request_cancel(&call.request);
    memset(&call, 0xee, sizeof(call));

    pg_world_release(world, link);
    pg_run_pool(world, "select 2");
}

static void test_request_may_be_given_up_while_it_runs(void **state)
{
    struct world *world = *state;
    struct call call;

    hold_on_pool(world, &call, 5000);
    pg_request_cancel(&call.request);
    memset(&call, 0xee, sizeof(call));
    assert_int_equal(pg_world_count(world, CONN_CANCELLING), 1);

    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    pg_run_pool(world, "select 1");
    assert_int_equal(world->peer.n_cancels, 1);
    assert_int_equal(world->peer.n_conns, 2); /* one brought the cancel */
}

static void test_request_may_be_given_up_while_it_is_prepared(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_run_pool(world, "select 1");
    pg_call_init(&call, "select 2", NULL);
    assert_ok(pg_pool_send(world->pg, &call.request));
    pg_request_cancel(&call.request);
    memset(&call, 0xee, sizeof(call));

    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    pg_peer_forget(&world->peer.conns[0]);
    pg_run_pool(world, "select 2");
    assert_string_equal(world->peer.conns[0].heard, "B E S ");
}

static void test_request_may_be_given_up_before_it_failed(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_run_pool(world, "select 1");
    pg_call_init(&call, "select 1", "too", "many", NULL);
    assert_ok(pg_pool_send(world->pg, &call.request));
    pg_request_cancel(&call.request);
    memset(&call, 0xee, sizeof(call));

    assert_int_equal(pg_world_count(world, CONN_IDLE), 1);
    pg_run_pool(world, "select 1");
}

static void test_lease_is_busy_until_what_was_given_up_has_stopped(void **state)
{
    struct world *world = *state;
    struct pg_link *link = pg_world_lease(world);
    struct call call;

    hold_on_link(world, link, &call, 5000);
    pg_request_cancel(&call.request);
    pg_call_init(&call, "select 1", NULL);
    assert_err(pg_link_send(link, &call.request), ERR_BUSY);

    wait_for(world->loop, pg_link_tx(link) == PG_TX_NONE);
    pg_world_release(world, link);
    wait_for(world->loop, pg_world_count(world, CONN_IDLE) == 1);
    pg_run_pool(world, "select 2");
}

struct rival {
    struct pool_waiter waiter;
    struct pg_request *victim;
    struct conn *conn;
};

static void give_up_victim(struct pool_waiter *waiter, enum err err,
                           struct conn *conn)
{
    struct rival *rival = container_of(waiter, struct rival, waiter);

    assert_ok(err);
    rival->conn = conn;
    pg_request_cancel(rival->victim);
}

/* The release that comes before a request's end runs code of others. */
static void test_request_may_be_given_up_while_its_end_is_told(void **state)
{
    struct world *world = *state;
    struct pool *pool = pg_pool_pool(world->pg);
    struct rival rival = { .waiter.on_done = give_up_victim };
    struct call call;

    hold_on_pool(world, &call, 5000);
    rival.victim = &call.request;
    assert_ok(pool_wait(pool, &rival.waiter, loop_now_ns(world->loop)));
    pg_peer_go(&world->peer.conns[0]);
    wait_for(world->loop, rival.conn != NULL);

    loop_turn(world->loop, 5);
    assert_int_equal(call.calls, 0);
    pg_world_release(world, pg_link_of(rival.conn));
}

static void send_again(struct call *call)
{
    struct world *world = call->ud;

    call->then = NULL;
    assert_ok(pg_pool_send(world->pg, &call->request));
}

static void test_end_may_send_the_next_on_the_same_connection(void **state)
{
    struct world *world = *state;
    struct call call;

    pg_call_init(&call, "select 1", NULL);
    call.then = send_again;
    call.ud = world;
    assert_ok(pg_pool_send(world->pg, &call.request));
    wait_for(world->loop, call.calls == 2);
    assert_ok(call.err);
    assert_int_equal(pool_stats(pg_pool_pool(world->pg))->waits, 1);
}

/* ---- closing */

static void test_close_ends_what_is_late_with_closed(void **state)
{
    struct world *world = *state;
    struct pg_link *link;
    struct call held, waiting;

    link = pg_world_lease(world);
    hold_on_link(world, link, &held, 5000);
    pg_call_init(&waiting, "select 1", NULL);
    assert_ok(pg_pool_send(world->pg, &waiting.request));

    pg_world_close_pool(world, 30);
    pg_call_wait(world, &waiting);
    assert_err(waiting.err, ERR_CLOSED);
    assert_int_equal(held.calls, 0);
    pg_call_wait(world, &held);
    assert_err(held.err, ERR_CLOSED);
    wait_for(world->loop, world->peer.n_cancels == 1);
}

static void test_close_lets_what_runs_finish(void **state)
{
    struct world *world = *state;
    struct call call;

    hold_on_pool(world, &call, 5000);
    pg_world_close_pool(world, PATIENCE_S * 1000);
    pg_peer_go(&world->peer.conns[0]);
    pg_call_wait(world, &call);
    assert_ok(call.err);
    assert_string_equal(call.value, "held");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_statement_on_a_killed_connection_is_lost),
        TEST(test_statement_on_a_cut_connection_is_lost),
        TEST(test_statement_that_was_only_parsed_was_not_sent),
        TEST(test_idle_connection_that_is_killed_is_closed),
        TEST(test_what_an_idle_connection_may_hear_does_no_harm),
        TEST(test_lease_on_a_dead_connection_says_so),
        TEST(test_late_statement_on_the_pool_ends_at_once),
        TEST(test_statement_that_is_late_being_prepared_is_prepared_anew),
        TEST(test_late_statement_on_a_lease_waits_for_the_server),
        TEST(test_server_deaf_to_cancels_costs_the_connection),
        TEST(test_timeout_fails_the_transaction_in_any_case),
        TEST(test_timeout_covers_the_line),
        TEST(test_request_may_be_given_up_in_line),
        TEST(test_request_may_be_given_up_while_it_runs),
        TEST(test_request_may_be_given_up_while_it_is_prepared),
        TEST(test_request_may_be_given_up_before_it_failed),
        TEST(test_lease_is_busy_until_what_was_given_up_has_stopped),
        TEST(test_request_may_be_given_up_while_its_end_is_told),
        TEST(test_end_may_send_the_next_on_the_same_connection),
        TEST(test_close_ends_what_is_late_with_closed),
        TEST(test_close_lets_what_runs_finish),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
