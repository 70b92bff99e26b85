/* test_redis_lane.c - shared connections against a scripted peer: order,
 * tombstones, losses, stalls. */
#include "pool/stats.h"
#include "redis/redis.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { MANY = 100, STALL_MS = 300 };

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

static void start_all(struct call *calls, unsigned count, const char *line)
{
    for (unsigned i = 0; i < count; i++)
        call_start(&world, &calls[i], line);
}

/* ---- order */

static void
test_commands_of_a_turn_are_one_write_and_answered_in_order(void **state)
{
    struct call calls[MANY];

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &calls[0], "GET 0");
    call_wait(&world, &calls[0]);
    assert_int_equal(world.peer.conns[0].reads, 1);

    for (unsigned i = 0; i < MANY; i++) {
        char line[16];

        snprintf(line, sizeof(line), "GET %u", i);
        call_start(&world, &calls[i], line);
    }
    call_wait(&world, &calls[MANY - 1]);

    assert_int_equal(world.peer.n_conns, 1);
    assert_int_equal(world.peer.conns[0].reads, 2);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(calls[i].calls, 1);
        assert_int_equal(atoi(calls[i].reply), i);
        assert_int_equal(calls[i].order, calls[0].order + i);
    }
}

static void test_reply_may_come_in_pieces(void **state)
{
    static const char bytes[] = "$5\r\nhello\r\n";
    struct call call;

    (void)state;
    world_open(&world);
    call_start(&world, &call, "GET a");
    wait_heard(&world, 0, 1);
    for (size_t i = 0; i + 1 < sizeof(bytes); i++) {
        char piece[2] = { bytes[i], '\0' };

        assert_int_equal(call.calls, 0);
        peer_say(&world.peer, 0, piece);
        loop_turn(world.loop, 1);
        loop_turn(world.loop, 1);
    }

    call_wait(&world, &call);
    assert_string_equal(call.reply, "hello");
}

static void test_pipeline_and_multi_take_their_replies_whole(void **state)
{
    struct call pipeline, multi, last;

    (void)state;
    world_open(&world);
    call_init(&pipeline);
    call_add(&pipeline, "SET a 1");
    call_add(&pipeline, "GET a");
    assert_ok(call_send(&world, &pipeline));
    call_init(&multi);
    redis_request_set_multi(&multi.request);
    call_add(&multi, "INCR a");
    assert_ok(call_send(&world, &multi));
    call_start(&world, &last, "GET b");
    wait_heard(&world, 0, 6);
    assert_string_equal(world.peer.conns[0].heard,
                        "SET a 1;GET a;MULTI;INCR a;EXEC;GET b;");

    peer_say(&world.peer, 0, "+one\r\n+two\r\n+OK\r\n+QUEUED\r\n");
    call_wait(&world, &pipeline);
    assert_string_equal(pipeline.reply, "one");
    assert_int_equal(multi.calls, 0);
    peer_say(&world.peer, 0, "*1\r\n+three\r\n+four\r\n");
    call_wait(&world, &multi);
    call_wait(&world, &last);
    assert_string_equal(multi.reply, "three");
    assert_string_equal(last.reply, "four");
}

/* ---- tombstones */

static void test_late_reply_is_dropped_and_shifts_nothing(void **state)
{
    struct call first, late, next;

    (void)state;
    world_open(&world);
    call_start(&world, &first, "GET first");
    wait_heard(&world, 0, 1);
    peer_say(&world.peer, 0, "+first\r\n");
    call_wait(&world, &first);
    call_init(&late);
    call_add(&late, "GET late");
    late.request.timeout_ns = 200 * NS_PER_MS;
    assert_ok(call_send(&world, &late));
    call_wait(&world, &late);
    assert_err(late.err, ERR_TIMEOUT);
    assert_true(late.was_sent);
    assert_non_null(strstr(late.text, "no reply from main within"));

    call_start(&world, &next, "GET next");
    wait_heard(&world, 0, 3);
    peer_say(&world.peer, 0, "+late\r\n+next\r\n");
    call_wait(&world, &next);
    assert_string_equal(next.reply, "next");
    assert_int_equal(late.calls, 1);
    assert_int_equal(world.peer.n_conns, 1);
}

static void test_cancelled_reply_is_dropped_and_shifts_nothing(void **state)
{
    struct call cancelled, next;

    (void)state;
    world_open(&world);
    call_init(&cancelled);
    call_add(&cancelled, "GET a");
    call_add(&cancelled, "GET b");
    assert_ok(call_send(&world, &cancelled));
    call_start(&world, &next, "GET next");
    wait_heard(&world, 0, 3);
    peer_say(&world.peer, 0, "+a\r\n");
    loop_turn(world.loop, 10);
    redis_request_cancel(&cancelled.request);
    redis_request_deinit(&cancelled.request);
    memset(&cancelled.request, 0xee, sizeof(cancelled.request));

    peer_say(&world.peer, 0, "+b\r\n+next\r\n");
    call_wait(&world, &next);
    assert_string_equal(next.reply, "next");
    assert_int_equal(cancelled.calls, 0);
}

static void test_request_cancelled_in_its_turn_is_not_written(void **state)
{
    struct call cancelled, next;

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &cancelled, "GET a");
    call_start(&world, &next, "GET next");
    redis_request_cancel(&cancelled.request);
    redis_request_deinit(&cancelled.request);
    redis_request_cancel(&cancelled.request); /* again does nothing */

    call_wait(&world, &next);
    assert_string_equal(world.peer.conns[0].heard, "GET next;");
    assert_int_equal(cancelled.calls, 0);
}

static void cancel_other(struct call *call)
{
    struct call *other = call->ud;

    redis_request_cancel(&other->request);
    redis_request_deinit(&other->request);
}

static void send_other(struct call *call)
{
    call_start(&world, call->ud, "GET again");
}

static void
test_requests_are_sent_and_cancelled_from_inside_on_done(void **state)
{
    struct call first, second, third, again;

    (void)state;
    world.peer.does_echo = true;
    world_open(&world);
    call_start(&world, &first, "GET 1");
    call_start(&world, &second, "GET 2");
    call_start(&world, &third, "GET 3");
    first.then = cancel_other;
    first.ud = &second;
    third.then = send_other;
    third.ud = &again;

    call_wait(&world, &third);
    call_wait(&world, &again);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    assert_string_equal(third.reply, "3");
    assert_string_equal(again.reply, "again");
}

/* ---- losses */

static void test_reads_move_to_another_lane_when_theirs_is_cut(void **state)
{
    struct call write, reads[3];

    (void)state;
    world_open(&world);
    call_start(&world, &write, "INCR w");
    for (unsigned i = 0; i < 3; i++) {
        char line[16];

        snprintf(line, sizeof(line), "GET %u", i);
        call_start(&world, &reads[i], line);
    }
    wait_heard(&world, 0, 4);
    world.peer.does_echo = true;
    peer_cut(&world.peer, 0);
    call_wait(&world, &write);
    call_wait(&world, &reads[2]);

    assert_err(write.err, ERR_LOST);
    assert_true(write.was_sent);
    assert_non_null(strstr(write.text, "closed the connection"));
    assert_string_equal(world.peer.conns[1].heard, "GET 0;GET 1;GET 2;");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reads[i].calls, 1);
        assert_int_equal(atoi(reads[i].reply), i);
    }
}

static void test_read_moves_once_and_is_lost_the_second_time(void **state)
{
    struct call read;

    (void)state;
    world_open(&world);
    call_start(&world, &read, "GET a");
    wait_heard(&world, 0, 1);
    peer_cut(&world.peer, 0);
    wait_heard(&world, 1, 1);
    peer_cut(&world.peer, 1);

    call_wait(&world, &read);
    assert_err(read.err, ERR_LOST);
    assert_int_equal(world.peer.n_conns, 2);
}

static void test_pipeline_of_reads_starts_anew_on_another_lane(void **state)
{
    struct call reads;

    (void)state;
    world_open(&world);
    call_init(&reads);
    call_add(&reads, "GET a");
    call_add(&reads, "GET b");
    assert_ok(call_send(&world, &reads));
    wait_heard(&world, 0, 2);
    peer_say(&world.peer, 0, "+old\r\n");
    loop_turn(world.loop, 10);
    peer_cut(&world.peer, 0);
    wait_heard(&world, 1, 2);
    peer_say(&world.peer, 1, "+new\r\n+newer\r\n");

    call_wait(&world, &reads);
    assert_string_equal(reads.reply, "new");
}

/* The kernel has no room for both while the peer does not read. */
static void test_write_that_did_not_leave_moves_to_another_lane(void **state)
{
    static char value[600 * 1024];
    const char *const args[] = { "SET", "big", value };
    const size_t lens[] = { 3, 3, sizeof(value) };
    struct call first, big, last;
    struct err_text why;

    (void)state;
    world_open(&world);
    call_start(&world, &first, "GET 1");
    wait_heard(&world, 0, 1);
    peer_say(&world.peer, 0, "+1\r\n");
    call_wait(&world, &first);
    stream_pause(world.peer.conns[0].stream);
    call_init(&big);
    assert_ok(redis_request_add(&big.request, 3, args, lens, &why));
    assert_ok(call_send(&world, &big));
    call_start(&world, &last, "INCR last");
    loop_turn(world.loop, 10);
    world.peer.does_echo = true;
    stream_shutdown(world.peer.conns[0].stream);

    call_wait(&world, &big);
    call_wait(&world, &last);
    assert_err(big.err, ERR_LOST);
    assert_true(big.was_sent);
    assert_ok(last.err);
    assert_string_equal(world.peer.conns[1].heard, "INCR last;");
}

static void test_reply_that_nobody_asked_for_closes_the_lane(void **state)
{
    struct call call, next;

    (void)state;
    world_open(&world);
    call_start(&world, &call, "GET a");
    wait_heard(&world, 0, 1);
    peer_say(&world.peer, 0, "+a\r\n+stray\r\n");
    call_wait(&world, &call);
    assert_string_equal(call.reply, "a");

    call_start(&world, &next, "GET b");
    wait_heard(&world, 1, 1);
    peer_say(&world.peer, 1, "+b\r\n");
    call_wait(&world, &next);
    assert_string_equal(next.reply, "b");
    wait_for(world.loop, world.peer.conns[0].stream == NULL);
}

static void test_bytes_that_are_no_reply_close_the_lane(void **state)
{
    struct call write, read;

    (void)state;
    world_open(&world);
    call_start(&world, &write, "INCR a");
    call_start(&world, &read, "GET a");
    wait_heard(&world, 0, 2);
    world.peer.does_echo = true;
    peer_say(&world.peer, 0, "HTTP/1.1 400 Bad Request\r\n");

    call_wait(&world, &write);
    call_wait(&world, &read);
    assert_err(write.err, ERR_PROTOCOL);
    assert_true(write.was_sent);
    assert_non_null(strstr(write.text, "broke the protocol"));
    assert_string_equal(read.reply, "a");
}

/* ---- stalls */

static void test_lane_without_a_byte_is_closed_as_stalled(void **state)
{
    struct call write, read;

    (void)state;
    world.settings.stall_timeout_ns = STALL_MS * NS_PER_MS;
    world_open(&world);
    call_start(&world, &write, "INCR a");
    call_start(&world, &read, "GET a");
    wait_heard(&world, 0, 2);
    world.peer.does_echo = true;

    call_wait(&world, &write);
    call_wait(&world, &read);
    assert_err(write.err, ERR_LOST);
    assert_true(write.was_sent);
    assert_non_null(strstr(write.text, "sent no byte for 300 ms"));
    assert_string_equal(read.reply, "a");
    assert_int_equal(
        pool_stats(redis_pool_pool(world.redis))->closes[CLOSE_STALLED], 1);
}

static void test_lane_is_not_stalled_while_bytes_come(void **state)
{
    struct call calls[8];

    (void)state;
    world.settings.stall_timeout_ns = STALL_MS * NS_PER_MS;
    world_open(&world);
    start_all(calls, ARRAY_LEN(calls), "INCR a");
    wait_heard(&world, 0, ARRAY_LEN(calls));
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
        uint64_t until_ns = loop_now_ns(world.loop) + 60 * NS_PER_MS;

        wait_for(world.loop, loop_now_ns(world.loop) >= until_ns);
        peer_say(&world.peer, 0, ":1\r\n");
    }

    call_wait(&world, &calls[ARRAY_LEN(calls) - 1]);
    assert_ok(calls[ARRAY_LEN(calls) - 1].err);
    assert_int_equal(world.peer.n_conns, 1);
}

static void test_time_in_which_we_did_not_read_is_no_stall(void **state)
{
    struct call call;
    uint64_t until_ns;

    (void)state;
    world.settings.stall_timeout_ns = STALL_MS * NS_PER_MS;
    world_open(&world);
    call_start(&world, &call, "INCR a");
    wait_heard(&world, 0, 1);
    peer_say(&world.peer, 0, ":1\r\n");
    until_ns = loop_now_ns(world.loop) + 2 * STALL_MS * NS_PER_MS;
    while (loop_now_ns(world.loop) < until_ns)
        continue; /* a script that computes */

    call_wait(&world, &call);
    assert_ok(call.err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_commands_of_a_turn_are_one_write_and_answered_in_order),
        TEST(test_reply_may_come_in_pieces),
        TEST(test_pipeline_and_multi_take_their_replies_whole),
        TEST(test_late_reply_is_dropped_and_shifts_nothing),
        TEST(test_cancelled_reply_is_dropped_and_shifts_nothing),
        TEST(test_request_cancelled_in_its_turn_is_not_written),
        TEST(test_requests_are_sent_and_cancelled_from_inside_on_done),
        TEST(test_reads_move_to_another_lane_when_theirs_is_cut),
        TEST(test_read_moves_once_and_is_lost_the_second_time),
        TEST(test_pipeline_of_reads_starts_anew_on_another_lane),
        TEST(test_write_that_did_not_leave_moves_to_another_lane),
        TEST(test_reply_that_nobody_asked_for_closes_the_lane),
        TEST(test_bytes_that_are_no_reply_close_the_lane),
        TEST(test_lane_without_a_byte_is_closed_as_stalled),
        TEST(test_lane_is_not_stalled_while_bytes_come),
        TEST(test_time_in_which_we_did_not_read_is_no_stall),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
