/* test_net_stream.c - streams between a listener and a client on one loop. */
#include "net/stream.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum event { NONE, ON_OPEN, ON_DATA, ON_END, ON_DRAINED };

/* One end of a connection, and what it was told. */
struct end {
    struct stream *stream;
    unsigned opens, data_calls, ends, drains;
    struct err_text text;
    enum event closes_on;
    bool does_consume;
    size_t got;       /* bytes consumed */
    bool is_in_order; /* they were 0, 1, 2... 255, 0... */
};

/* A listener, a client that dialled it and the stream that was accepted. */
struct line {
    struct loop *loop;
    struct listener *listener;
    struct end client;
    struct end server;
    unsigned accepts;
    char dir[64];
};

static void close_if(struct end *end, enum event event)
{
    if (end->closes_on != event)
        return;
    stream_close(end->stream);
    end->stream = NULL;
}

static void on_open(struct stream *stream, void *ud)
{
    struct end *end = ud;

    assert_ptr_equal(stream, end->stream);
    end->opens++;
    close_if(end, ON_OPEN);
}

static void on_data(struct stream *stream, void *ud)
{
    struct end *end = ud;
    struct buf *in = stream_in(stream);

    end->data_calls++;
    for (size_t i = 0; end->does_consume && i < in->len; i++) {
        if ((unsigned char)in->data[i] != (end->got + i) % 256)
            end->is_in_order = false;
    }
    if (end->does_consume) {
        end->got += in->len;
        buf_consume(in, in->len);
    }
    close_if(end, ON_DATA);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct end *end = ud;

    (void)stream;
    end->ends++;
    end->text = *text;
    close_if(end, ON_END);
}

static void on_drained(struct stream *stream, void *ud)
{
    struct end *end = ud;

    (void)stream;
    end->drains++;
    close_if(end, ON_DRAINED);
}

static const struct stream_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_drained = on_drained,
};

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    struct line *line = ud;

    assert_ptr_equal(listener, line->listener);
    line->accepts++;
    line->server.stream = stream;
    stream_set_events(stream, &events, &line->server);
}

static void dial_tcp(struct line *line)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct err_text why;
    const char *port;

    assert_ok(listener_open(&line->listener, line->loop, "127.0.0.1:0",
                            on_accept, line, &why));
    port = strrchr(listener_address(line->listener), ':') + 1;
    address.sin_port = htons((uint16_t)atoi(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_ok(stream_connect(&line->client.stream, line->loop,
                             (struct sockaddr *)&address, &events,
                             &line->client));
}

static void dial_unix(struct line *line)
{
    char path[80], address[88];
    struct err_text why;

    make_dir(line->dir);
    snprintf(path, sizeof(path), "%s/socket", line->dir);
    snprintf(address, sizeof(address), "unix:%s", path);
    assert_ok(listener_open(&line->listener, line->loop, address, on_accept,
                            line, &why));
    assert_ok(stream_connect_unix(&line->client.stream, line->loop, path,
                                  &events, &line->client));
}

/* Both ends are there and nothing has been said yet. */
static void open_line(struct line *line, void (*dial)(struct line *line))
{
    *line = (struct line){ .loop = make_loop() };
    line->client.is_in_order = true;
    line->server.is_in_order = true;
    dial(line);
    assert_int_equal(line->client.opens, 0);
    wait_for(line->loop, line->accepts == 1 && line->client.opens == 1);
}

static void close_line(struct line *line)
{
    stream_close(line->client.stream);
    stream_close(line->server.stream);
    listener_close(line->listener);
    drop_loop(line->loop);
    if (line->dir[0] != '\0')
        drop_dir(line->dir);
}

static void say(struct end *end, const char *text)
{
    buf_put_str(stream_out(end->stream), text);
    stream_flush(end->stream);
}

/* size bytes 0, 1, 2... */
static void say_many(struct end *end, size_t size)
{
    struct buf *out = stream_out(end->stream);

    assert_ok(buf_reserve(out, size));
    for (size_t i = 0; i < size; i++)
        out->data[out->len + i] = (char)(i % 256);
    buf_added(out, size);
    stream_flush(end->stream);
}

static bool has(const struct end *end, size_t len)
{
    return stream_in(end->stream)->len == len;
}

static void talk(struct line *line)
{
    say(&line->client, "ping");
    wait_for(line->loop, has(&line->server, 4));
    assert_buf(stream_in(line->server.stream), "ping");
    say(&line->server, "pong!");
    wait_for(line->loop, has(&line->client, 5));
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
    open_line(&line, dial_tcp);
    assert_string_equal(stream_peer(line.client.stream),
                        listener_address(line.listener));
    assert_memory_equal(stream_peer(line.server.stream), "127.0.0.1:", 10);
    talk(&line);
    close_line(&line);
}

static void test_stream_carries_bytes_both_ways_over_a_unix_socket(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_unix);
    assert_string_equal(stream_peer(line.client.stream),
                        listener_address(line.listener));
    assert_string_equal(stream_peer(line.server.stream), "unix:");
    talk(&line);
    close_line(&line);
}

static void test_stream_sends_what_one_turn_wrote_at_once(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_unix);
    say(&line.client, "one ");
    say(&line.client, "two ");
    say(&line.client, "three");
    wait_for(line.loop, line.server.data_calls > 0);

    assert_buf(stream_in(line.server.stream), "one two three");
    assert_int_equal(line.client.drains, 1);
    close_line(&line);
}

static void test_stream_sends_what_was_written_before_it_was_open(void **state)
{
    struct line line = { .loop = make_loop() };

    (void)state;
    dial_tcp(&line);
    say(&line.client, "early");
    wait_for(line.loop, line.accepts == 1 && line.client.opens == 1);
    wait_for(line.loop, line.server.data_calls > 0);

    assert_buf(stream_in(line.server.stream), "early");
    close_line(&line);
}

static void test_stream_keeps_what_a_paused_peer_does_not_take(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    struct line line;

    (void)state;
    open_line(&line, dial_tcp);
    line.server.does_consume = true;
    stream_pause(line.server.stream);
    say_many(&line.client, SIZE);
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
    close_line(&line);
}

static void test_stream_shows_the_end_only_after_it_is_resumed(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_unix);
    stream_pause(line.server.stream);
    say(&line.client, "last words");
    line.client.closes_on = ON_DRAINED;
    wait_for(line.loop, line.client.stream == NULL);
    loop_turn(line.loop, 0);
    loop_turn(line.loop, 0);
    assert_int_equal(line.server.data_calls + line.server.ends, 0);

    stream_resume(line.server.stream);
    wait_for(line.loop, line.server.ends == 1);
    assert_buf(stream_in(line.server.stream), "last words");
    close_line(&line);
}

static void test_stream_shutdown_sends_all_and_still_reads(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_tcp);
    line.server.does_consume = true;
    say_many(&line.client, 3000000);
    stream_shutdown(line.client.stream);
    wait_for(line.loop, line.server.ends == 1);
    assert_int_equal(line.server.got, 3000000);
    assert_string_equal(line.server.text.text, "");

    say(&line.server, "after the end");
    wait_for(line.loop, has(&line.client, 13));
    assert_int_equal(line.client.ends, 0);
    close_line(&line);
}

static void test_stream_ends_once_when_the_peer_reset_it(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_tcp);
    stream_pause(line.client.stream);
    say(&line.server, "never read");
    wait_for(line.loop, line.server.drains == 1);
    stream_close(line.client.stream); /* unread bytes make it a reset */
    line.client.stream = NULL;
    wait_for(line.loop, line.server.ends == 1);
    assert_non_null(strstr(line.server.text.text, "connection reset"));

    /* Neither kills us by SIGPIPE nor ends it again. */
    say(&line.server, "anybody?");
    loop_turn(line.loop, 0);
    loop_turn(line.loop, 0);
    assert_int_equal(line.server.ends, 1);
    close_line(&line);
}

static void test_stream_ends_when_writing_fails(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_unix);
    stream_pause(line.server.stream); /* so that only the write can tell */
    stream_close(line.client.stream);
    line.client.stream = NULL;
    loop_turn(line.loop, 0);
    say(&line.server, "anybody?");
    wait_for(line.loop, line.server.ends == 1);

    assert_non_null(strstr(line.server.text.text, "cannot write to unix:"));
    assert_int_equal(line.server.drains, 0);
    close_line(&line);
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
                             &events, &end));
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
    assert_err(stream_connect_unix(&end.stream, loop, long_path, &events, &end),
               ERR_BADARG);
    assert_ok(stream_connect_unix(&end.stream, loop, "/nowhere/socket", &events,
                                  &end));
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

        open_line(&line, dial_tcp);
        line.server.closes_on = (enum event)event;
        say(&line.client, "data");
        say(&line.server, "more");
        if (event == ON_END)
            stream_shutdown(line.client.stream);
        wait_for(line.loop, line.server.stream == NULL);
        close_line(&line);
    }
}

static void test_stream_may_be_closed_by_on_open(void **state)
{
    struct line line = { .loop = make_loop(), .client.closes_on = ON_OPEN };

    (void)state;
    dial_unix(&line);
    wait_for(line.loop, line.client.opens == 1 && line.accepts == 1);
    assert_null(line.client.stream);
    wait_for(line.loop, line.server.ends == 1);
    close_line(&line);
}

static void test_stream_calls_nothing_after_it_was_closed(void **state)
{
    struct line line = { .loop = make_loop() };

    (void)state;
    dial_tcp(&line);
    say(&line.client, "x");
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
        err = stream_connect_unix(&end.stream, loop, "/nowhere/socket", &events,
                                  &end);
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
    open_line(&line, dial_unix);
    stream_pause(line.server.stream);
    say(&line.client, "x");
    wait_for(line.loop, line.client.drains == 1);
    stream_resume(line.server.stream);
    oom_fail_at(1);
    wait_for(line.loop, line.server.ends == 1);
    oom_off();

    assert_non_null(strstr(line.server.text.text, "not enough memory"));
    close_line(&line);
}

static void test_stream_ends_when_there_is_no_memory_to_write(void **state)
{
    struct line line;

    (void)state;
    open_line(&line, dial_unix);
    oom_fail_at(1);
    say(&line.client, "x");
    oom_off();
    wait_for(line.loop, line.client.ends == 1);

    assert_non_null(strstr(line.client.text.text, "not enough memory"));
    close_line(&line);
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
