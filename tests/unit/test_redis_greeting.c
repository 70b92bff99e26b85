/* test_redis_greeting.c - what a new connection says to a scripted peer: its
 * name, and which protocol it wants. */
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

#include <hiredis/hiredis.h>

static struct world world;

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    world.peer.does_echo = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_free(&world);
    return 0;
}

/* Opens with these words added to the peer's url and makes one call. */
static void call_with(const char *parameters, struct call *call)
{
    size_t len = strlen(world.peer.url);

    snprintf(world.peer.url + len, sizeof(world.peer.url) - len, "%s",
             parameters);
    world_open(&world);
    call_start(&world, call, "GET a");
    call_wait(&world, call);
}

static const char *greeting(void)
{
    return world.peer.conns[0].greeting;
}

static void test_connection_has_the_name_it_was_given(void **state)
{
    struct call call;

    (void)state;
    world.peer.setname = "+OK\r\n";
    world.client_name = "my app\n1";
    call_with("", &call);
    assert_ok(call.err);
    assert_string_equal(greeting(), "CLIENT SETNAME my_app_1;PING;");
}

static void test_name_in_the_url_comes_first(void **state)
{
    struct call call;

    (void)state;
    world.peer.setname = "+OK\r\n";
    world.client_name = "tidepool";
    call_with("?db=2&client_name=orders", &call);
    assert_ok(call.err);
    assert_string_equal(greeting(), "SELECT 2;CLIENT SETNAME orders;PING;");
}

static void test_server_that_refuses_the_name_is_used(void **state)
{
    struct call call;

    (void)state;
    world.peer.setname = "-NOPERM no\r\n";
    world.client_name = "tidepool";
    call_with("", &call);
    assert_ok(call.err);
}

static void test_refused_database_counts_beside_a_name(void **state)
{
    struct call call;

    (void)state;
    world.peer.setname = "+OK\r\n";
    world.peer.select = "-ERR DB index\r\n";
    world.client_name = "tidepool";
    call_with("?db=99", &call);
    assert_err(call.err, ERR_REFUSED);
    assert_non_null(strstr(call.text, "ERR DB index"));
}

#ifdef REDIS_REPLY_MAP
static void test_third_protocol_is_asked_for_with_the_login(void **state)
{
    struct call call;

    (void)state;
    world.peer.hello = "%1\r\n+proto\r\n:3\r\n";
    snprintf(world.peer.url, sizeof(world.peer.url), "unix://:x@%s/redis",
             world.peer.dir);
    call_with("?protocol=3&db=1", &call);
    assert_ok(call.err);
    assert_string_equal(greeting(), "HELLO 3 AUTH default x;SELECT 1;PING;");
}

static void test_server_without_the_third_protocol_is_refused(void **state)
{
    struct call call;

    (void)state;
    world.peer.hello = "-NOPROTO unsupported\r\n";
    call_with("?protocol=3", &call);
    assert_err(call.err, ERR_REFUSED);
    assert_non_null(strstr(call.text, "protocol=3): NOPROTO unsupported"));
}

static void test_what_a_server_pushes_shifts_no_reply(void **state)
{
    struct call call, next;

    (void)state;
    world.peer.hello = "%1\r\n+proto\r\n:3\r\n";
    call_with("?protocol=3", &call);
    peer_say(&world.peer, 0, ">2\r\n+invalidate\r\n*1\r\n+k\r\n");
    call_start(&world, &next, "GET b");
    call_wait(&world, &next);
    assert_ok(next.err);
    assert_string_equal(next.reply, "b");
    assert_int_equal(world.peer.n_conns, 1);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection_has_the_name_it_was_given),
        TEST(test_name_in_the_url_comes_first),
        TEST(test_server_that_refuses_the_name_is_used),
        TEST(test_refused_database_counts_beside_a_name),
#ifdef REDIS_REPLY_MAP
        TEST(test_third_protocol_is_asked_for_with_the_login),
        TEST(test_server_without_the_third_protocol_is_refused),
        TEST(test_what_a_server_pushes_shifts_no_reply),
#endif
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
