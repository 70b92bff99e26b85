/* test_redis_pubsub.c - a connection that hears, against a scripted peer. */
#include "oom.h"
#include "pool/lease.h"
#include "pool/stats.h"
#include "redis/lease.h"
#include "redis/pubsub.h"
#include "redis/redis.h"
#include "redis/reply.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

static struct world world;
static struct redis_pubsub pubsub;
static unsigned told;

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

static void on_heard(struct redis_pubsub *heard)
{
    assert_ptr_equal(heard, &pubsub);
    told++;
}

/* The world's only connection, listening. */
static struct conn *begin_to_hear(void)
{
    struct conn *conn;

    world.settings.min_connections = 1;
    world_open(&world);
    wait_for(world.loop, world_counts(&world).states[CONN_IDLE] == 1);
    conn = pool_try_acquire(the_pool(), false, "test.lua:2",
                            loop_now_ns(world.loop));
    assert_non_null(conn);
    told = 0;
    pubsub = (struct redis_pubsub){ .on_heard = on_heard };
    redis_pubsub_open(&pubsub, redis_link_of(conn));
    return conn;
}

static void give_back(struct conn *conn)
{
    redis_pubsub_close(&pubsub);
    pool_release(the_pool(), conn, loop_now_ns(world.loop));
}

static void say(const char *verb, const char *channel)
{
    const char *args[] = { verb, channel };

    assert_ok(redis_pubsub_say(&pubsub, 2, args, NULL));
}

/* The last word of the i-th reply. */
static const char *heard(size_t i)
{
    const struct redis_reply *reply = pubsub.replies[i];
    size_t len;

    return redis_reply_text(redis_reply_at(reply, redis_reply_size(reply) - 1),
                            &len);
}

static void test_what_comes_is_kept_in_order_and_told_once(void **state)
{
    struct conn *conn = begin_to_hear();

    (void)state;
    say("SUBSCRIBE", "a");
    wait_heard(&world, 0, 1);
    assert_string_equal(world.peer.conns[0].heard, "SUBSCRIBE a;");
    peer_say(&world.peer, 0, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n");
    wait_for(world.loop, pubsub.n_replies == 1);
    peer_say(&world.peer, 0, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\ntw");
    peer_say(&world.peer, 0, "o\r\n");
    wait_for(world.loop, pubsub.n_replies == 2);
    assert_int_equal(told, 1);
    assert_string_equal(heard(0), "one");
    assert_string_equal(heard(1), "two");

    redis_pubsub_taken(&pubsub);
    assert_int_equal(pubsub.n_replies, 0);
    peer_say(&world.peer, 0, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\nnew\r\n");
    wait_for(world.loop, pubsub.n_replies == 1);
    assert_int_equal(told, 2);
    give_back(conn);
}

static void test_connection_that_heard_is_closed_when_given_back(void **state)
{
    struct conn *conn = begin_to_hear();

    (void)state;
    give_back(conn);
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
    assert_int_equal(world_counts(&world).states[CONN_LEASED], 0);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_SPENT], 1);
}

static void test_half_a_message_is_waited_for(void **state)
{
    struct conn *conn = begin_to_hear();

    (void)state;
    peer_say(&world.peer, 0, "*3\r\n$7\r\nmess");
    wait_for(world.loop, conn->byte_ns > conn->state_ns);
    assert_non_null(pubsub.link);
    assert_int_equal(told, 0);
    give_back(conn);
}

static void test_loss_is_told_with_its_reason(void **state)
{
    const char *args[] = { "PING" };
    struct conn *conn = begin_to_hear();

    (void)state;
    peer_cut(&world.peer, 0);
    wait_for(world.loop, told == 1);
    assert_null(pubsub.link);
    assert_non_null(strstr(pubsub.lost_text.text, "closed the connection"));
    assert_err(redis_pubsub_say(&pubsub, 1, args, NULL), ERR_LOST);
    give_back(conn);
    assert_int_equal(pool_stats(the_pool())->closes[CLOSE_LOST], 1);
}

static void test_pool_that_closes_is_told_as_a_loss(void **state)
{
    struct conn *conn = begin_to_hear();

    (void)state;
    conn_set_holder(conn, &conn, "test.lua:2");
    world_close_pool(&world, 0);
    wait_for(world.loop, told == 1);
    assert_null(conn); /* it is not ours to give back */
    assert_string_equal(pubsub.lost_text.text,
                        "the pool closed the connection");
    redis_pubsub_close(&pubsub);
}

static void test_no_memory_for_a_message_is_a_loss(void **state)
{
    struct conn *conn = begin_to_hear();

    (void)state;
    peer_say(&world.peer, 0, "+a\r\n");
    wait_for(world.loop, pubsub.n_replies == 1);
    for (unsigned i = 1; i < 16; i++)
        peer_say(&world.peer, 0, "+a\r\n");
    wait_for(world.loop, pubsub.n_replies == 16);
    oom_fail_at(1);
    peer_say(&world.peer, 0, "+a\r\n");
    wait_for(world.loop, pubsub.link == NULL);
    oom_off();
    give_back(conn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_comes_is_kept_in_order_and_told_once),
        TEST(test_connection_that_heard_is_closed_when_given_back),
        TEST(test_half_a_message_is_waited_for),
        TEST(test_loss_is_told_with_its_reason),
        TEST(test_pool_that_closes_is_told_as_a_loss),
        TEST(test_no_memory_for_a_message_is_a_loss),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
