/* test_redis_lease.c - connections of one caller against a scripted peer: of
 * blocking commands, and of who asked for one. */
#include "pool/lease.h"
#include "pool/stats.h"
#include "redis/lease.h"
#include "redis/redis.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

static struct world world;

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_free(&world);
    return 0;
}

static struct pool *the_pool(void)
{
    return redis_pool_pool(world.redis);
}

/* ---- blocking commands */

static void test_blocking_command_has_a_connection_of_its_own(void **state)
{
    struct call blocked, other, next;

    (void)state;
    world_open(&world);
    call_start(&world, &blocked, "BLPOP a 0");
    wait_heard(&world, 0, 1);
    call_start(&world, &other, "GET b");
    wait_heard(&world, 1, 1);
    peer_say(&world.peer, 1, "+b\r\n");
    call_wait(&world, &other);
    assert_int_equal(blocked.calls, 0);
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 1);

    peer_say(&world.peer, 0, "+a\r\n");
    call_wait(&world, &blocked);
    assert_string_equal(blocked.reply, "a");
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 0);
    call_start(&world, &next, "BRPOP c 1"); /* on the same, at once */
    wait_heard(&world, 0, 2);
    peer_say(&world.peer, 0, "+c\r\n");
    call_wait(&world, &next);
}

static void test_late_blocking_command_gives_its_connection_up(void **state)
{
    struct call late;

    (void)state;
    world_open(&world);
    call_init(&late);
    call_add(&late, "BLPOP a 0");
    late.request.timeout_ns = 200 * NS_PER_MS;
    assert_ok(call_send(&world, &late));
    wait_heard(&world, 0, 1);

    call_wait(&world, &late);
    assert_err(late.err, ERR_TIMEOUT);
    assert_true(late.was_sent);
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_CANCEL_FAILED], 1);
}

static void test_cancelled_blocking_command_ends_its_connection(void **state)
{
    struct call sent, waiting;

    (void)state;
    world.settings.max_connections = 1;
    world_open(&world);
    call_start(&world, &sent, "BLPOP a 0");
    wait_heard(&world, 0, 1);
    call_start(&world, &waiting, "BLPOP a 0");
    redis_request_cancel(&waiting.request);
    redis_request_deinit(&waiting.request);
    redis_request_cancel(&sent.request);
    redis_request_deinit(&sent.request);

    wait_for(world.loop, world.peer.conns[0].stream == NULL);
    assert_int_equal(sent.calls + waiting.calls, 0);
    assert_int_equal(world_counts(&world).waiting, 0);
}

static void test_blocking_command_is_lost_with_its_connection(void **state)
{
    struct call blocked;

    (void)state;
    world_open(&world);
    call_start(&world, &blocked, "BLPOP a 0");
    wait_heard(&world, 0, 1);
    peer_cut(&world.peer, 0);

    call_wait(&world, &blocked);
    assert_err(blocked.err, ERR_LOST);
    assert_true(blocked.was_sent);
}

/* A lane under load gives way to who waits for the only connection. */
static void test_blocking_command_gets_the_only_connection_in_turn(void **state)
{
    struct call shared, blocked;

    (void)state;
    world.settings.max_connections = 1;
    world_open(&world);
    call_start(&world, &shared, "GET a");
    wait_heard(&world, 0, 1);
    call_start(&world, &blocked, "BLPOP b 1");
    peer_say(&world.peer, 0, "+a\r\n");
    call_wait(&world, &shared);
    wait_heard(&world, 0, 2);
    peer_say(&world.peer, 0, "+b\r\n");

    call_wait(&world, &blocked);
    assert_string_equal(blocked.reply, "b");
}

/* ---- callers' own */

static struct redis_link *lease(void)
{
    struct conn *conn = NULL;

    world.settings.min_connections = 1;
    world_open(&world);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    conn = pool_try_acquire(the_pool(), false, "test.lua:2",
                            loop_now_ns(world.loop));
    assert_non_null(conn);
    assert_ptr_equal(redis_link_conn(redis_link_of(conn)), conn);
    return redis_link_of(conn);
}

static void give_back(struct redis_link *link)
{
    pool_release(the_pool(), redis_link_conn(link), loop_now_ns(world.loop));
}

static void start_on(struct redis_link *link, struct call *call,
                     const char *line)
{
    call_init(call);
    redis_request_set_lease(&call->request);
    call_add(call, line);
    assert_ok(redis_link_send(link, &call->request));
}

static void test_lease_takes_session_commands_and_is_cleaned(void **state)
{
    struct redis_link *link;
    struct call watch, get;

    (void)state;
    world.peer.does_echo = true;
    link = lease();
    start_on(link, &watch, "WATCH a");
    start_on(link, &get, "GET a");
    call_wait(&world, &watch);
    call_wait(&world, &get);
    assert_string_equal(get.reply, "a");
    give_back(link);

    assert_int_equal(world_counts(&world).states[CONN_RESETTING], 1);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    assert_string_equal(world.peer.conns[0].heard,
                        "WATCH a;GET a;DISCARD;UNWATCH;");
    assert_string_equal(world.peer.conns[0].greeting, "PING;SELECT 0;");
    assert_int_equal(world.peer.n_conns, 1);
}

static void test_lease_without_session_commands_needs_no_cleaning(void **state)
{
    struct redis_link *link;
    struct call get;

    (void)state;
    world.peer.does_echo = true;
    link = lease();
    start_on(link, &get, "BLPOP a 0");
    call_wait(&world, &get);
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 1);
    give_back(link);

    assert_int_equal(world_counts(&world).states[CONN_IDLE], 1);
}

static void test_lease_that_cannot_be_cleaned_is_closed(void **state)
{
    struct redis_link *link;
    struct call call;

    (void)state;
    world.peer.does_echo = true;
    link = lease();
    start_on(link, &call, "SELECT 5");
    call_wait(&world, &call);
    world.peer.select = "-NOPERM select\r\n";
    give_back(link);

    wait_for(world.loop, world.peer.conns[0].stream == NULL);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_RESET_FAILED], 1);
}

static void test_multi_on_a_lease_may_come_to_nothing(void **state)
{
    struct redis_link *link;
    struct call call;

    (void)state;
    link = lease();
    call_init(&call);
    redis_request_set_lease(&call.request);
    redis_request_set_multi(&call.request);
    call_add(&call, "INCR a");
    assert_ok(redis_link_send(link, &call.request));
    wait_heard(&world, 0, 3);
    peer_say(&world.peer, 0, "+OK\r\n+QUEUED\r\n*-1\r\n");

    call_wait(&world, &call);
    assert_ok(call.err);
    assert_string_equal(call.reply, "");
    give_back(link);
    assert_int_equal(world_counts(&world).states[CONN_IDLE], 1);
}

static void test_lease_with_a_mark_that_stays_is_closed(void **state)
{
    struct redis_link *link;
    struct call call;

    (void)state;
    world.peer.does_echo = true;
    link = lease();
    start_on(link, &call, "CLIENT SETNAME x");
    call_wait(&world, &call);
    assert_ok(call.err);
    give_back(link);
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_SPENT], 1);
}

static void test_late_reply_on_a_lease_shifts_nothing(void **state)
{
    struct redis_link *link;
    struct call late, cancelled, next;

    (void)state;
    link = lease();
    call_init(&late);
    redis_request_set_lease(&late.request);
    late.request.timeout_ns = 200 * NS_PER_MS;
    call_add(&late, "BLPOP a 0");
    assert_ok(redis_link_send(link, &late.request));
    start_on(link, &cancelled, "GET b");
    start_on(link, &next, "GET c");
    redis_request_cancel(&cancelled.request);
    redis_request_deinit(&cancelled.request);
    call_wait(&world, &late);
    assert_err(late.err, ERR_TIMEOUT);
    peer_say(&world.peer, 0, "+a\r\n+b\r\n+c\r\n");

    call_wait(&world, &next);
    assert_string_equal(next.reply, "c");
    assert_int_equal(cancelled.calls, 0);
    give_back(link);
    assert_int_equal(world_counts(&world).states[CONN_IDLE], 1);
}

static void test_lease_given_back_with_replies_due_is_closed(void **state)
{
    struct redis_link *link;
    struct call call;

    (void)state;
    link = lease();
    start_on(link, &call, "GET a");
    wait_heard(&world, 0, 1);
    give_back(link);

    call_wait(&world, &call);
    assert_err(call.err, ERR_LOST);
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
}

static void test_lost_lease_is_its_holders_until_given_back(void **state)
{
    struct redis_link *link;
    struct call call, next;

    (void)state;
    link = lease();
    start_on(link, &call, "GET a");
    wait_heard(&world, 0, 1);
    peer_cut(&world.peer, 0);
    call_wait(&world, &call);
    assert_err(call.err, ERR_LOST);
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 1);

    call_init(&next);
    redis_request_set_lease(&next.request);
    call_add(&next, "GET b");
    assert_err(redis_link_send(link, &next.request), ERR_LOST);
    redis_request_deinit(&next.request);
    give_back(link);
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 0);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_LOST], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_blocking_command_has_a_connection_of_its_own),
        TEST(test_late_blocking_command_gives_its_connection_up),
        TEST(test_cancelled_blocking_command_ends_its_connection),
        TEST(test_blocking_command_is_lost_with_its_connection),
        TEST(test_blocking_command_gets_the_only_connection_in_turn),
        TEST(test_lease_takes_session_commands_and_is_cleaned),
        TEST(test_lease_without_session_commands_needs_no_cleaning),
        TEST(test_lease_that_cannot_be_cleaned_is_closed),
        TEST(test_multi_on_a_lease_may_come_to_nothing),
        TEST(test_lease_with_a_mark_that_stays_is_closed),
        TEST(test_late_reply_on_a_lease_shifts_nothing),
        TEST(test_lease_given_back_with_replies_due_is_closed),
        TEST(test_lost_lease_is_its_holders_until_given_back),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
