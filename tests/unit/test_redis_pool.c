/* test_redis_pool.c - pools against a scripted peer: greeting, refusals, idle
 * connections, how many lanes, closing. */
#include "oom.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "pool/status.h"
#include "redis/redis.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUSY = 1024 };

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

/* ---- greeting */

static void
test_greeting_has_auth_and_select_only_when_the_url_has(void **state)
{
    struct call plain, full;

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &plain, "GET a");
    call_wait(&world, &plain);
    assert_string_equal(world.peer.conns[0].greeting, "PING;");
    world_close_pool(&world, 0);
    wait_for(world.loop, world.closes == 1);

    world.closes = 0;
    snprintf(world.peer.url, sizeof(world.peer.url),
             "unix://ann:se%%20cret@%s/redis?db=3", world.peer.dir);
    world_open(&world);
    call_start(&world, &full, "GET b");
    call_wait(&world, &full);
    assert_string_equal(world.peer.conns[1].greeting,
                        "AUTH ann se cret;SELECT 3;PING;");
}

/* What the peer answers, and what is told of it. */
struct greeting {
    const char *auth, *select, *ping;
    const char *told; /* NULL: all is well */
};

static void check_greeting(const struct greeting *greeting)
{
    struct call call;

    world_init(&world);
    world.peer.does_echo = true;
    snprintf(world.peer.url, sizeof(world.peer.url), "unix://:x@%s/redis?db=3",
             world.peer.dir);
    world.peer.auth = greeting->auth;
    world.peer.select = greeting->select;
    world.peer.ping = greeting->ping;
    world_open(&world);
    call_start(&world, &call, "GET a");
    call_wait(&world, &call);
    if (greeting->told == NULL) {
        assert_ok(call.err);
    } else {
        assert_err(call.err, ERR_REFUSED);
        assert_false(call.was_sent);
        assert_non_null(strstr(call.text, greeting->told));
        assert_string_equal(pool_last_error(the_pool())->text, greeting->told);
    }
    world_free(&world);
}

static void test_server_that_refuses_is_told_in_its_own_words(void **state)
{
    static const char ok[] = "+OK\r\n", pong[] = "+PONG\r\n";
    static const struct greeting greetings[] = {
        { "-WRONGPASS no\r\n", ok, pong, "WRONGPASS no" },
        { "-ERR AUTH without password\r\n", ok, pong,
          "ERR AUTH without password" },
        { ok, "-ERR DB index\r\n", pong, "ERR DB index" },
        { ok, ok, "-LOADING wait\r\n", "LOADING wait" },
        { ok, ok, "-NOAUTH who?\r\n", "NOAUTH who?" },
        { ok, ok, "-DENIED protected\r\n", "DENIED protected" },
        { ok, ok, "-MISCONF disk\r\n", NULL },
        { ok, ok, "-NOPERM ping\r\n", NULL },
        { ok, ok, "-MASTERDOWN link\r\n", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(greetings); i++)
        check_greeting(&greetings[i]);
}

static void test_peer_that_hangs_up_on_the_greeting_is_refused(void **state)
{
    struct call call;

    (void)state;
    world.peer.ping = NULL;
    world_open(&world);
    call_start(&world, &call, "GET a");
    wait_for(world.loop, world.peer.conns[0].greeting[0] != '\0');
    peer_cut(&world.peer, 0);

    call_wait(&world, &call);
    assert_err(call.err, ERR_REFUSED);
    assert_non_null(strstr(call.text, "closed the connection"));
}

/* ---- nobody there */

static void test_requests_are_refused_at_once_while_nobody_listens(void **state)
{
    struct call waiting[3], next;

    (void)state;
    strcat(world.peer.url, "-not");
    world_open(&world);
    for (unsigned i = 0; i < ARRAY_LEN(waiting); i++)
        call_start(&world, &waiting[i], "GET a");
    for (unsigned i = 0; i < ARRAY_LEN(waiting); i++) {
        call_wait(&world, &waiting[i]);
        assert_err(waiting[i].err, ERR_REFUSED);
        assert_non_null(strstr(waiting[i].text, "cannot connect to"));
    }

    call_start(&world, &next, "GET a");
    loop_turn(world.loop, 0);
    loop_turn(world.loop, 0);
    call_wait(&world, &next);
    assert_err(next.err, ERR_REFUSED);
}

static void test_request_waits_for_a_connection_until_its_deadline(void **state)
{
    struct call call;

    (void)state;
    world.peer.ping = NULL;
    world_open(&world);
    call_init(&call);
    call_add(&call, "GET a");
    call.request.timeout_ns = 200 * NS_PER_MS;
    assert_ok(call_send(&world, &call));

    call_wait(&world, &call);
    assert_err(call.err, ERR_TIMEOUT);
    assert_false(call.was_sent);
    assert_non_null(strstr(call.text, "no connection came free in 2"));
    wait_for(world.loop, world_counts(&world).waiting == 0);
    assert_int_equal(pool_stats(the_pool())->timeouts, 1);
}

static void test_queue_is_bounded_while_no_lane_is_open(void **state)
{
    struct call calls[3];

    (void)state;
    world.settings.max_waiters = 2;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &calls[0], "GET a");
    call_start(&world, &calls[1], "GET b");
    call_init(&calls[2]);
    call_add(&calls[2], "GET c");
    assert_err(call_send(&world, &calls[2]), ERR_BUSY);
    redis_request_deinit(&calls[2].request);

    call_wait(&world, &calls[0]);
    call_wait(&world, &calls[1]);
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
        call_start(&world, &calls[i], "GET d"); /* a lane takes them all */
    call_wait(&world, &calls[2]);
}

static void test_cancelled_request_leaves_nobody_in_line(void **state)
{
    struct call call;

    (void)state;
    world.peer.ping = NULL;
    world_open(&world);
    call_start(&world, &call, "GET a");
    loop_turn(world.loop, 10);
    assert_int_equal(world_counts(&world).waiting, 1);
    redis_request_cancel(&call.request);
    redis_request_deinit(&call.request);

    wait_for(world.loop, world_counts(&world).waiting == 0);
    assert_int_equal(call.calls, 0);
}

static void test_paused_pool_sends_nothing_until_it_goes_on(void **state)
{
    struct call first, held;

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &first, "GET a");
    call_wait(&world, &first);
    pool_pause(the_pool(), loop_now_ns(world.loop));
    call_start(&world, &held, "GET b");
    for (unsigned i = 0; i < 5; i++)
        loop_turn(world.loop, 10);
    assert_int_equal(world.peer.conns[0].n_commands, 1);

    pool_resume(the_pool(), loop_now_ns(world.loop));
    call_wait(&world, &held);
    assert_string_equal(held.reply, "b");
}

static void test_pool_closed_while_paused_ends_what_it_held(void **state)
{
    struct call first, held;

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &first, "GET a");
    call_wait(&world, &first);
    pool_pause(the_pool(), loop_now_ns(world.loop));
    call_start(&world, &held, "GET b");
    loop_turn(world.loop, 10);
    world_close_pool(&world, 10000);

    call_wait(&world, &held);
    assert_err(held.err, ERR_CLOSED);
    assert_false(held.was_sent);
}

/* ---- idle connections */

static void test_idle_connection_that_ends_is_closed_at_once(void **state)
{
    (void)state;
    world.settings.min_connections = 1;
    world_open(&world);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    peer_cut(&world.peer, 0);

    wait_for(world.loop, world.peer.n_conns == 2);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_LOST], 1);
}

static void test_idle_connection_that_speaks_is_closed(void **state)
{
    (void)state;
    world.settings.min_connections = 1;
    world_open(&world);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    peer_say(&world.peer, 0, "+he");

    wait_for(world.loop, world.peer.n_conns == 2);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_LOST], 1);
}

static void test_quiet_connection_is_tested_before_it_is_used(void **state)
{
    struct call call;

    (void)state;
    world.settings.min_connections = 1;
    world.settings.test_after_ns = 0;
    world.peer.does_echo = true;
    world_open(&world);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    world.peer.ping = "-BUSY a script runs\r\n";
    call_start(&world, &call, "GET a");

    call_wait(&world, &call);
    assert_string_equal(call.reply, "a");
    assert_string_equal(world.peer.conns[0].greeting, "PING;PING;");
}

/* ---- how many lanes */

static void test_second_lane_opens_when_the_first_is_busy(void **state)
{
    struct call *calls = calloc(BUSY + 2, sizeof(*calls));

    (void)state;
    world_open(&world);
    for (unsigned i = 0; i < BUSY - 1; i++)
        call_start(&world, &calls[i], "GET a");
    wait_heard(&world, 0, BUSY - 1);
    loop_turn(world.loop, 10);
    assert_int_equal(world.peer.n_conns, 1);

    call_start(&world, &calls[BUSY - 1], "GET a");
    wait_for(world.loop, world_counts(&world).states[CONN_SHARED] == 2);
    call_start(&world, &calls[BUSY], "GET b");
    wait_heard(&world, 1, 1);
    world.settings.lanes = 1;
    assert_ok(
        pool_set(the_pool(), &world.settings, loop_now_ns(world.loop), NULL));
    call_start(&world, &calls[BUSY + 1], "GET c"); /* not on the second */
    wait_heard(&world, 0, BUSY + 1);
    for (unsigned i = 0; i < BUSY + 2; i++) {
        redis_request_cancel(&calls[i].request);
        redis_request_deinit(&calls[i].request);
    }
    free(calls);
}

static void test_lane_asked_to_finish_answers_what_is_due(void **state)
{
    struct call old, new;

    (void)state;
    world_open(&world);
    call_start(&world, &old, "INCR a");
    wait_heard(&world, 0, 1);
    pool_drain(the_pool(), loop_now_ns(world.loop));
    call_start(&world, &new, "INCR b");
    wait_heard(&world, 1, 1);
    assert_int_equal(world.peer.conns[0].n_commands, 1);

    peer_say(&world.peer, 1, "+b\r\n");
    call_wait(&world, &new);
    peer_say(&world.peer, 0, "+a\r\n");
    call_wait(&world, &old);
    assert_string_equal(old.reply, "a");
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
}

/* ---- closing */

static void test_close_lets_what_is_sent_finish(void **state)
{
    struct call sent, queued, refused;

    (void)state;
    world_open(&world);
    call_start(&world, &sent, "INCR a");
    wait_heard(&world, 0, 1);
    call_start(&world, &queued, "INCR b");
    call_init(&refused);
    call_add(&refused, "GET c");
    world_close_pool(&world, 10000);
    wait_heard(&world, 0, 2);
    assert_int_equal(world.closes, 0);
    peer_say(&world.peer, 0, ":1\r\n:2\r\n");

    call_wait(&world, &sent);
    call_wait(&world, &queued);
    assert_ok(sent.err);
    assert_ok(queued.err);
    wait_for(world.loop, world.closes == 1);
    redis_request_deinit(&refused.request);
}

static void test_close_ends_what_is_late_with_closed(void **state)
{
    struct call sent, blocked;

    (void)state;
    world_open(&world);
    call_start(&world, &sent, "INCR a");
    call_start(&world, &blocked, "BLPOP a 0");
    wait_for(world.loop,
             world.peer.conns[0].n_commands + world.peer.conns[1].n_commands ==
                 2);
    world_close_pool(&world, 20);

    call_wait(&world, &sent);
    call_wait(&world, &blocked);
    assert_err(sent.err, ERR_CLOSED);
    assert_true(sent.was_sent);
    assert_err(blocked.err, ERR_CLOSED);
    wait_for(world.loop, world.closes == 1);
}

static void test_close_ends_what_waits_for_a_connection(void **state)
{
    struct call queued, blocked;

    (void)state;
    world.peer.ping = NULL;
    world_open(&world);
    call_start(&world, &queued, "GET a");
    call_start(&world, &blocked, "BLPOP a 0");
    loop_turn(world.loop, 10);
    world_close_pool(&world, 10000);

    call_wait(&world, &queued);
    call_wait(&world, &blocked);
    assert_err(queued.err, ERR_CLOSED);
    assert_false(queued.was_sent);
    assert_err(blocked.err, ERR_CLOSED);
    assert_string_equal(queued.text, "the pool main is closed");
}

static void test_closing_pool_refuses_requests(void **state)
{
    struct redis_pool *redis;
    struct call call;

    (void)state;
    world_open(&world);
    redis = world.redis;
    world_close_pool(&world, 10000);
    call_init(&call);
    call_add(&call, "GET a");
    assert_err(redis_send(redis, &call.request), ERR_CLOSED);
    redis_request_deinit(&call.request);
}

static void test_empty_request_is_refused(void **state)
{
    struct call call;

    (void)state;
    world_open(&world);
    call_init(&call);
    assert_err(call_send(&world, &call), ERR_BADARG);
    redis_request_deinit(&call.request);
}

static void test_open_says_badarg_for_a_wrong_url_and_nomem(void **state)
{
    struct redis_config config = { .name = "main",
                                   .url = "rediss://h?cacert=/none" };
    struct err_text why;
    enum err err;

    (void)state;
    config.settings = world.settings;
    assert_err(redis_pool_open(&world.redis, world.loop, &config, &why),
               ERR_BADARG);
    assert_non_null(strstr(why.text, "CA file /none: No such file"));
    config.url = world.peer.url;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = redis_pool_open(&world.redis, world.loop, &config, &why);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_greeting_has_auth_and_select_only_when_the_url_has),
        cmocka_unit_test(test_server_that_refuses_is_told_in_its_own_words),
        TEST(test_peer_that_hangs_up_on_the_greeting_is_refused),
        TEST(test_requests_are_refused_at_once_while_nobody_listens),
        TEST(test_request_waits_for_a_connection_until_its_deadline),
        TEST(test_queue_is_bounded_while_no_lane_is_open),
        TEST(test_cancelled_request_leaves_nobody_in_line),
        TEST(test_paused_pool_sends_nothing_until_it_goes_on),
        TEST(test_pool_closed_while_paused_ends_what_it_held),
        TEST(test_idle_connection_that_ends_is_closed_at_once),
        TEST(test_idle_connection_that_speaks_is_closed),
        TEST(test_quiet_connection_is_tested_before_it_is_used),
        TEST(test_second_lane_opens_when_the_first_is_busy),
        TEST(test_lane_asked_to_finish_answers_what_is_due),
        TEST(test_close_lets_what_is_sent_finish),
        TEST(test_close_ends_what_is_late_with_closed),
        TEST(test_close_ends_what_waits_for_a_connection),
        TEST(test_closing_pool_refuses_requests),
        TEST(test_empty_request_is_refused),
        TEST(test_open_says_badarg_for_a_wrong_url_and_nomem),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
