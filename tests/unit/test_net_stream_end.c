/* test_net_stream_end.c - how streams end: closed, refused, reset, no memory.
 */
#include "oom.h"
#include "stream_line.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

static void test_stream_ends_once_when_the_peer_reset_it(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_tcp);
    stream_pause(line.client.stream);
    line_say(&line.server, "never read");
    wait_for(line.loop, line.server.drains == 1);
    stream_close(line.client.stream); /* unread bytes make it a reset */
    line.client.stream = NULL;
    wait_for(line.loop, line.server.ends == 1);
    assert_non_null(strstr(line.server.text.text, "connection reset"));

    /* Neither kills us by SIGPIPE nor ends it again. */
    line_say(&line.server, "anybody?");
    loop_turn(line.loop, 0);
    loop_turn(line.loop, 0);
    assert_int_equal(line.server.ends, 1);
    line_close(&line);
}

static void test_stream_ends_when_writing_fails(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    stream_pause(line.server.stream); /* so that only the write can tell */
    stream_close(line.client.stream);
    line.client.stream = NULL;
    loop_turn(line.loop, 0);
    line_say(&line.server, "anybody?");
    wait_for(line.loop, line.server.ends == 1);

    assert_non_null(strstr(line.server.text.text, "cannot write to unix:"));
    assert_int_equal(line.server.drains, 0);
    line_close(&line);
}

static void test_stream_connect_ends_when_nobody_listens(void **state)
{
    struct loop *loop = make_loop();
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof(address);
    struct end end = { 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    assert_ok(stream_connect(&end.stream, loop, (struct sockaddr *)&address,
                             &line_events, &end));
    assert_int_equal(end.ends, 0);
    wait_for(loop, end.ends == 1);
    assert_int_equal(end.opens, 0);
    assert_non_null(strstr(end.text.text, "cannot connect to 127.0.0.1:"));
    assert_non_null(strstr(end.text.text, "connection refused"));

    stream_close(end.stream);
    close(fd);
    drop_loop(loop);
}

static void test_stream_connect_ends_when_there_is_no_socket_file(void **state)
{
    struct loop *loop = make_loop();
    struct end end = { .closes_on = ON_END };
    char long_path[200];

    (void)state;
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_err(
        stream_connect_unix(&end.stream, loop, long_path, &line_events, &end),
        ERR_BADARG);
    assert_ok(stream_connect_unix(&end.stream, loop, "/nowhere/socket",
                                  &line_events, &end));
    assert_int_equal(end.ends, 0);
    wait_for(loop, end.ends == 1);

    assert_string_equal(end.text.text, "cannot connect to unix:/nowhere/socket:"
                                       " no such file or directory");
    drop_loop(loop);
}

static void test_stream_may_be_closed_by_any_of_its_callbacks(void **state)
{
    (void)state;
    for (int event = ON_DATA; event <= ON_DRAINED; event++) {
        struct line line;

        line_open(&line, line_dial_tcp);
        line.server.closes_on = (enum event)event;
        line_say(&line.client, "data");
        line_say(&line.server, "more");
        if (event == ON_END)
            stream_shutdown(line.client.stream);
        wait_for(line.loop, line.server.stream == NULL);
        line_close(&line);
    }
}

static void test_stream_may_be_closed_by_on_open(void **state)
{
    struct line line = { .loop = make_loop(), .client.closes_on = ON_OPEN };

    (void)state;
    line_dial_unix(&line);
    wait_for(line.loop, line.client.opens == 1 && line.accepts == 1);
    assert_null(line.client.stream);
    wait_for(line.loop, line.server.ends == 1);
    line_close(&line);
}

static void test_stream_calls_nothing_after_it_was_closed(void **state)
{
    struct line line = { .loop = make_loop() };

    (void)state;
    line_dial_tcp(&line);
    line_say(&line.client, "x");
    stream_close(line.client.stream);
    stream_close(NULL);
    line.client.stream = NULL;
    listener_close(line.listener);
    listener_close(NULL);
    drop_loop(line.loop);
    assert_int_equal(line.client.opens + line.client.ends, 0);
    assert_int_equal(line.client.drains, 0);
}

static void test_stream_connect_fails_without_memory(void **state)
{
    struct loop *loop = make_loop();
    struct end end = { 0 };
    enum err err;

    (void)state;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = stream_connect_unix(&end.stream, loop, "/nowhere/socket",
                                  &line_events, &end);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_null(end.stream);
    }
    assert_ok(err);
    stream_close(end.stream);
    drop_loop(loop);
    assert_int_equal(end.ends, 0);
}

static void test_stream_ends_when_there_is_no_memory_to_read(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    stream_pause(line.server.stream);
    line_say(&line.client, "x");
    wait_for(line.loop, line.client.drains == 1);
    stream_resume(line.server.stream);
    oom_fail_at(1);
    wait_for(line.loop, line.server.ends == 1);
    oom_off();

    assert_non_null(strstr(line.server.text.text, "not enough memory"));
    line_close(&line);
}

static void test_stream_ends_when_there_is_no_memory_to_write(void **state)
{
    struct line line;

    (void)state;
    line_open(&line, line_dial_unix);
    oom_fail_at(1);
    line_say(&line.client, "x");
    oom_off();
    wait_for(line.loop, line.client.ends == 1);

    assert_non_null(strstr(line.client.text.text, "not enough memory"));
    line_close(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_ends_once_when_the_peer_reset_it),
        cmocka_unit_test(test_stream_ends_when_writing_fails),
        cmocka_unit_test(test_stream_connect_ends_when_nobody_listens),
        cmocka_unit_test(test_stream_connect_ends_when_there_is_no_socket_file),
        cmocka_unit_test(test_stream_may_be_closed_by_any_of_its_callbacks),
        cmocka_unit_test(test_stream_may_be_closed_by_on_open),
        cmocka_unit_test(test_stream_calls_nothing_after_it_was_closed),
        cmocka_unit_test(test_stream_connect_fails_without_memory),
        cmocka_unit_test(test_stream_ends_when_there_is_no_memory_to_read),
        cmocka_unit_test(test_stream_ends_when_there_is_no_memory_to_write),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
