/* test_redis_hasty.c - turns that are over: each goes on with what came, or was
 * lost, by one request. */
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>

enum { CALLS = 20 };

static struct world world;
static struct call calls[CALLS];

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    world_open(&world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_free(&world);
    return 0;
}

static void start_all(const char *line)
{
    for (unsigned i = 0; i < CALLS; i++)
        call_start(&world, &calls[i], line);
    wait_heard(&world, 0, CALLS);
}

static unsigned count_ended(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < CALLS; i++)
        count += calls[i].calls;
    return count;
}

static void turn_until_all_ended(void)
{
    uint64_t give_up_ns =
        loop_now_ns(world.loop) + PATIENCE_S * (uint64_t)1000 * NS_PER_MS;

    while (count_ended() < CALLS) {
        unsigned before = count_ended();

        loop_turn_until(world.loop, 1); /* long ago */
        assert_in_range(count_ended(), before, before + 1);
        assert_true(loop_now_ns(world.loop) < give_up_ns);
    }
    for (unsigned i = 0; i < CALLS; i++)
        assert_int_equal(calls[i].order, calls[0].order + i);
}

static void turn_until_some_ended(void)
{
    for (int i = 0; i < 1000 && count_ended() == 0; i++)
        loop_turn_until(world.loop, 1);
    assert_in_range(count_ended(), 1, CALLS - 1);
}

static void say_all(void)
{
    char bytes[CALLS * 8] = "";

    for (unsigned i = 0; i < CALLS; i++)
        snprintf(bytes + strlen(bytes), sizeof(bytes) - strlen(bytes),
                 "+%02u\r\n", i);
    peer_say(&world.peer, 0, bytes);
}

static void test_one_reply_is_taken_a_turn(void **state)
{
    (void)state;
    start_all("GET a");
    say_all();
    turn_until_all_ended();

    for (unsigned i = 0; i < CALLS; i++) {
        char reply[8];

        snprintf(reply, sizeof(reply), "%02u", i);
        assert_ok(calls[i].err);
        assert_string_equal(calls[i].reply, reply);
    }
}

static void test_replies_that_came_before_the_end_are_taken(void **state)
{
    (void)state;
    start_all("INCR a");
    say_all();
    turn_until_some_ended();
    peer_cut(&world.peer, 0);
    wait_for(world.loop, count_ended() == CALLS);

    for (unsigned i = 0; i < CALLS; i++)
        assert_ok(calls[i].err);
}

static void test_one_command_on_a_lost_lane_ends_a_turn(void **state)
{
    (void)state;
    start_all("INCR a");
    peer_cut(&world.peer, 0);
    turn_until_all_ended();

    for (unsigned i = 0; i < CALLS; i++)
        assert_err(calls[i].err, ERR_LOST);
}

/* What is left is with nobody's connection. */
static void test_pool_may_be_closed_with_replies_left(void **state)
{
    (void)state;
    start_all("GET a");
    say_all();
    turn_until_some_ended();
    world_close_pool(&world, 0);
    turn_until_all_ended();

    for (unsigned i = 0; i < CALLS; i++)
        assert_true(calls[i].err == ERR_OK || calls[i].err == ERR_CLOSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_reply_is_taken_a_turn),
        TEST(test_replies_that_came_before_the_end_are_taken),
        TEST(test_one_command_on_a_lost_lane_ends_a_turn),
        TEST(test_pool_may_be_closed_with_replies_left),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
