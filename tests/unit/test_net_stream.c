/* test_net_stream.c - bytes from one end of a stream to the other. */
#include "stream_line.h"

static void talk(struct line *line)
{
    line_say(&line->client, "ping");
    wait_for(line->loop, line_has(&line->server, 4));
    assert_buf(stream_in(line->server.stream), "ping");
    line_say(&line->server, "pong!");
    wait_for(line->loop, line_has(&line->client, 5));
    assert_buf(stream_in(line->client.stream), "pong!");
    assert_int_equal(line->client.drains, 1);
    assert_int_equal(line->server.drains, 1);
    assert_int_equal(line->server.opens, 0);
    assert_int_equal(stream_unsent(line->client.stream), 0);

    stream_close(line->client.stream);
    line->client.stream = NULL;
    wait_for(line->loop, line->server.ends == 1);
    assert_string_equal(line->server.text.text, "");
    loop_turn(line->loop, 0);
    assert_int_equal(line->server.ends, 1);
}

static void test_stream_carries_bytes_both_ways_over_tcp(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_tcp);
    assert_string_equal(stream_peer(line.client.stream),
                        listener_address(line.listener));
    assert_memory_equal(stream_peer(line.server.stream), "127.0.0.1:", 10);
    talk(&line);
    line_close(&line);
}

static void test_stream_carries_bytes_both_ways_over_a_unix_socket(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    assert_string_equal(stream_peer(line.client.stream),
                        listener_address(line.listener));
    assert_string_equal(stream_peer(line.server.stream), "unix:");
    talk(&line);
    line_close(&line);
}

static void test_stream_sends_what_one_turn_wrote_at_once(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    line_say(&line.client, "one ");
    line_say(&line.client, "two ");
    line_say(&line.client, "three");
    wait_for(line.loop, line.server.data_calls > 0);

    assert_buf(stream_in(line.server.stream), "one two three");
    assert_int_equal(line.client.drains, 1);
    line_close(&line);
}

static void test_stream_sends_what_was_written_before_it_was_open(void **state)
{
    struct line line = { .loop = make_loop() };

    (void)state;
    line_dial_tcp(&line);
    line_say(&line.client, "early");
    wait_for(line.loop, line.accepts == 1 && line.client.opens == 1);
    wait_for(line.loop, line.server.data_calls > 0);

    assert_buf(stream_in(line.server.stream), "early");
    line_close(&line);
}

static void test_stream_keeps_what_a_paused_peer_does_not_take(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    struct line line;

    (void)state;
    line_open(&line, line_dial_tcp);
    line.server.does_consume = true;
    stream_pause(line.server.stream);
    line_say_many(&line.client, SIZE);
    loop_turn(line.loop, 20);
    loop_turn(line.loop, 20);
    assert_true(stream_unsent(line.client.stream) > 0);
    assert_int_equal(line.client.drains, 0);
    assert_int_equal(line.server.data_calls, 0);

    stream_resume(line.server.stream);
    wait_for(line.loop, line.server.got == SIZE);
    assert_true(line.server.is_in_order);
    assert_int_equal(line.client.drains, 1);
    assert_int_equal(stream_unsent(line.client.stream), 0);
    line_close(&line);
}

static void test_stream_shows_the_end_only_after_it_is_resumed(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    stream_pause(line.server.stream);
    line_say(&line.client, "last words");
    line.client.closes_on = ON_DRAINED;
    wait_for(line.loop, line.client.stream == NULL);
    loop_turn(line.loop, 0);
    loop_turn(line.loop, 0);
    assert_int_equal(line.server.data_calls + line.server.ends, 0);

    stream_resume(line.server.stream);
    wait_for(line.loop, line.server.ends == 1);
    assert_buf(stream_in(line.server.stream), "last words");
    line_close(&line);
}

static void test_stream_shutdown_sends_all_and_still_reads(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_tcp);
    line.server.does_consume = true;
    line_say_many(&line.client, 3000000);
    stream_shutdown(line.client.stream);
    wait_for(line.loop, line.server.ends == 1);
    assert_int_equal(line.server.got, 3000000);
    assert_string_equal(line.server.text.text, "");

    line_say(&line.server, "after the end");
    wait_for(line.loop, line_has(&line.client, 13));
    assert_int_equal(line.client.ends, 0);
    line_close(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_carries_bytes_both_ways_over_tcp),
        cmocka_unit_test(
            test_stream_carries_bytes_both_ways_over_a_unix_socket),
        cmocka_unit_test(test_stream_sends_what_one_turn_wrote_at_once),
        cmocka_unit_test(test_stream_sends_what_was_written_before_it_was_open),
        cmocka_unit_test(test_stream_keeps_what_a_paused_peer_does_not_take),
        cmocka_unit_test(test_stream_shows_the_end_only_after_it_is_resumed),
        cmocka_unit_test(test_stream_shutdown_sends_all_and_still_reads),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
