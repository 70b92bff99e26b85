/* test_http_server.c - requests in, replies out, connections kept or closed. */
#include "http_client.h"

#include <stdio.h>
#include <stdlib.h>

static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

static void start(struct rig *rig, struct client *client)
{
    rig_init(rig);
    rig_open(rig);
    client_open(client, rig);
}

static void stop(struct rig *rig, struct client *client)
{
    client_close(client);
    rig_close(rig);
}

static bool text_is(struct http_text text, const char *expected)
{
    return text.len == strlen(expected) &&
           memcmp(text.bytes, expected, text.len) == 0;
}

static const struct http_stats *stats(const struct rig *rig)
{
    return http_server_stats(rig->server);
}

/* ---- requests */

static struct http_text header(const struct http_request *request,
                               const char *name)
{
    const struct http_text *value = http_request_header(request, name);

    assert_non_null(value);
    return *value;
}

static void check_parts(struct rig *rig, struct http_request *request)
{
    struct http_reply reply = { .status = 204 };

    (void)rig;
    assert_true(text_is(request->method, "PUT"));
    assert_true(text_is(request->target, "/a%20b?c=d&e"));
    assert_true(text_is(request->path, "/a%20b"));
    assert_true(text_is(request->query, "c=d&e"));
    assert_true(text_is(request->body, "hello"));
    assert_memory_equal(request->remote, "127.0.0.1:", 10);
    assert_false(request->is_head);
    assert_true(request->started_ns > 0);
    assert_int_equal(request->n_headers, 5);
    assert_true(text_is(header(request, "host"), "example.com:80"));
    assert_true(text_is(header(request, "x-mixed"), "Some Value"));
    assert_true(text_is(header(request, "x-empty"), ""));
    assert_true(text_is(header(request, "x-tab"), "a\tb \xc3\xa9"));
    assert_null(http_request_header(request, "x-none"));
    http_reply(request, &reply);
}

static void test_request_is_handed_out_with_its_parts(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = check_parts;
    client_send(&client, "PUT /a%20b?c=d&e HTTP/1.1\r\n"
                         "hOsT: example.com:80\r\n"
                         "X-Mixed:  \t Some Value \t\r\n"
                         "X-Empty:\r\n"
                         "X-Tab: a\tb \xc3\xa9\r\n"
                         "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(client_wait(&client).status, 204);

    assert_int_equal(stats(&rig)->requests, 1);
    assert_int_equal(stats(&rig)->status_classes[2], 1);
    stop(&rig, &client);
}

static void test_request_may_come_a_byte_at_a_time(void **state)
{
    static const char text[] =
        "\r\nPOST /x HTTP/1.1\r\nHost: y\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4\r\nabcd\r\n1;ext=\"1\"\r\ne\r\n0\r\nTrailer: t\r\n\r\n";
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send_bytes(&client, text + i, 1);
        loop_turn(rig.loop, 0);
        loop_turn(rig.loop, 0);
    }
    assert_string_equal(client_wait(&client).body, "POST /x:abcde");

    stop(&rig, &client);
}

static void check_path(struct rig *rig, struct http_request *request)
{
    struct http_reply reply = { .status = 200, .body = request->path };

    (void)rig;
    http_reply(request, &reply);
}

static void test_request_target_may_be_of_any_form(void **state)
{
    static const char *const targets[][2] = {
        { "http://example.com/a/b?c", "/a/b" },
        { "http://example.com", "/" },
        { "http://example.com?q=/x", "/" },
        { "/a?b=http://c/d", "/a" },
        { "//a", "//a" },
        { "/?", "/" },
    };
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = check_path;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char text[200];

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
                 targets[i][0]);
        assert_string_equal(client_ask(&client, text).body, targets[i][1]);
    }
    assert_string_equal(
        client_ask(&client, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").body, "*");
    stop(&rig, &client);
}

static void test_request_with_chunks_is_put_together(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n"
                         "Transfer-Encoding: Chunked\r\n\r\n"
                         "5\r\nhello\r\n00a;a=b\r\n, in parts\r\n"
                         "000\r\nX-Trailer: dropped\r\n\r\n");
    client_send(&client, get);
    assert_string_equal(client_wait(&client).body, "POST /:hello, in parts");
    assert_string_equal(client_wait(&client).body, "GET /");

    stop(&rig, &client);
}

static void test_request_that_expects_it_is_told_to_continue(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                         "Expect: 100-Continue\r\n\r\n");
    wait_for(rig.loop, client_read(&client, true, &answer));
    assert_string_equal(answer.head, "HTTP/1.1 100 Continue\r\n");
    client_send(&client, "bo");
    loop_turn(rig.loop, 0);
    client_send(&client, "dy");
    assert_string_equal(client_wait(&client).body, "POST /:body");

    /* Not when the body comes along. */
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                         "Expect: 100-continue\r\n\r\nbody");
    assert_string_equal(client_wait(&client).body, "POST /:body");
    stop(&rig, &client);
}

/* ---- replies */

static void test_reply_has_status_date_and_length(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;
    int day, year, hour, minute, second;
    char weekday[4], month[4];

    (void)state;
    start(&rig, &client);
    answer = client_ask(&client, get);

    assert_int_equal(
        sscanf(answer.head,
               "HTTP/1.1 200 OK\r\nDate: %3s, %2d %3s %4d %2d:%2d:%2d GMT\r\n"
               "Content-Length: 5\r\n",
               weekday, &day, month, &year, &hour, &minute, &second),
        7);
    assert_string_equal(answer.body, "GET /");
    assert_null(strstr(answer.head, "Connection:"));
    stop(&rig, &client);
}

static void reply_in_two_steps(struct rig *rig, struct http_request *request)
{
    static const struct http_header type = { { "X-Type", 6 }, { "a b", 3 } };
    struct http_reply reply = { .status = 200,
                                .headers = &type,
                                .n_headers = 1 };
    struct buf *out;

    (void)rig;
    if (text_is(request->path, "/304"))
        reply.status = 304;
    if (text_is(request->path, "/bad"))
        reply.status = 42;
    out = http_reply_begin(request, &reply);
    for (int i = 0; i < 100; i++)
        buf_printf(out, "%02d,", i);
    http_reply_end(request);
}

static void test_reply_in_two_steps_gets_its_length_at_the_end(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    rig.on_request = reply_in_two_steps;
    /* Two in one turn: the second is written behind the first. */
    client_send(&client, get);
    client_send(&client, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    answer = client_wait(&client);
    assert_int_equal(answer.body_len, 300);
    assert_memory_equal(answer.body + 291, "97,98,99,", 9);
    assert_non_null(strstr(answer.head, "\r\nX-Type: a b\r\n"));

    wait_for(rig.loop, client_read(&client, true, &answer));
    assert_non_null(strstr(answer.head, " 300\r\n"));
    answer = client_ask(&client, "GET /304 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 304);
    assert_null(strstr(answer.head, "Content-Length"));
    answer = client_ask(&client, "GET /bad HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 500);
    assert_int_equal(answer.body_len, 0);
    assert_string_equal(client_ask(&client, get).body + 291, "97,98,99,");
    stop(&rig, &client);
}

static void test_reply_to_head_has_a_length_and_no_body(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    client_send(&client, "HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n");
    client_send(&client, get);
    wait_for(rig.loop, client_read(&client, true, &answer));
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 9\r\n"));

    assert_string_equal(client_wait(&client).body, "GET /");
    stop(&rig, &client);
}

static void reply_with_path_as_status(struct rig *rig,
                                      struct http_request *request)
{
    struct http_reply reply = { .status = atoi(request->path.bytes + 1),
                                .body = { "body", 4 } };

    (void)rig;
    http_reply(request, &reply);
}

static void test_reply_of_some_statuses_has_no_body(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    rig.on_request = reply_with_path_as_status;
    client_send(&client, "GET /204 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /304 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /599 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /600 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /101 HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int status = 204; status <= 304; status += 100) {
        answer = client_wait(&client);
        assert_int_equal(answer.status, status);
        assert_null(strstr(answer.head, "Content-Length"));
    }
    answer = client_wait(&client);
    assert_int_equal(answer.status, 599);
    assert_string_equal(answer.body, "body");
    for (int i = 0; i < 2; i++) {
        answer = client_wait(&client);
        assert_int_equal(answer.status, 500);
        assert_int_equal(answer.body_len, 0);
    }
    stop(&rig, &client);
}

static void reply_split(struct rig *rig, struct http_request *request)
{
    static const struct http_header header = { { "X-A", 3 },
                                               { "a\r\nX-B: b", 9 } };
    struct http_reply reply = {
        .status = 200, .headers = &header, .n_headers = 1, .body = { "body", 4 }
    };

    (void)rig;
    http_reply(request, &reply);
}

static void test_reply_with_a_header_that_breaks_out_is_a_500(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    rig.on_request = reply_split;
    answer = client_ask(&client, get);

    assert_int_equal(answer.status, 500);
    assert_int_equal(answer.body_len, 0);
    assert_null(strstr(answer.head, "X-"));
    stop(&rig, &client);
}

#define TEXT(literal)                  \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }

static void test_header_is_valid_only_within_its_line(void **state)
{
    static const struct {
        struct http_header header;
        bool is_valid;
    } cases[] = {
        { { TEXT("X-A"), TEXT("b c\td \xc3\xa9") }, true },
        { { TEXT("X-A"), TEXT("") }, true },
        { { TEXT(""), TEXT("b") }, false },
        { { TEXT("X A"), TEXT("b") }, false },
        { { TEXT("X-A:"), TEXT("b") }, false },
        { { TEXT("X\r\n"), TEXT("b") }, false },
        { { TEXT("X\0A"), TEXT("b") }, false },
        { { TEXT("X-A"), TEXT("b\rc") }, false },
        { { TEXT("X-A"), TEXT("b\nc") }, false },
        { { TEXT("X-A"), TEXT("b\0c") }, false },
        { { TEXT("Content-length"), TEXT("1") }, false },
        { { TEXT("Connection"), TEXT("close") }, false },
        { { TEXT("DATE"), TEXT("now") }, false },
        { { TEXT("Transfer-Encoding"), TEXT("chunked") }, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(http_header_is_valid(&cases[i].header),
                         cases[i].is_valid);
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(299), "");
}

/* ---- keep-alive and order */

static void test_connection_is_kept_or_closed_as_the_client_says(void **state)
{
    static const struct {
        const char *request;
        bool is_kept;
        const char *header; /* of the reply, or NULL */
    } cases[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, NULL },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n", false,
          "\r\nConnection: close\r\n" },
        { "GET / HTTP/1.0\r\n\r\n", false, "\r\nConnection: close\r\n" },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true,
          "\r\nConnection: keep-alive\r\n" },
        { "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n"
          "Connection: close\r\n\r\n",
          false, "\r\nConnection: close\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig rig;
        struct client client;
        struct answer answer;

        start(&rig, &client);
        answer = client_ask(&client, cases[i].request);
        assert_string_equal(answer.body, "GET /");
        if (cases[i].header != NULL)
            assert_non_null(strstr(answer.head, cases[i].header));
        else
            assert_null(strstr(answer.head, "Connection"));
        if (cases[i].is_kept)
            assert_int_equal(client_ask(&client, get).status, 200);
        else
            client_wait_end(&client);
        stop(&rig, &client);
    }
}

static void test_replies_come_in_the_order_of_pipelined_requests(void **state)
{
    struct rig rig;
    struct client one, two;

    (void)state;
    start(&rig, &one);
    client_open(&two, &rig);
    client_send(&one, "GET /hold1 HTTP/1.1\r\nHost: x\r\n\r\n"
                      "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
                      "GET /hold2 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(rig.loop, rig.n_held == 1);
    client_send(&two, "GET /hold3 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(rig.loop, rig.n_held == 2);
    assert_int_equal(stats(&rig)->in_flight, 2);

    rig_reply(&rig, 1, "third"); /* another connection's does not wait */
    assert_string_equal(client_wait(&two).body, "third");
    assert_int_equal(one.got.len, 0);
    rig_reply(&rig, 0, "first");
    assert_int_equal(rig.n_held, 2); /* not from inside the reply */
    assert_string_equal(client_wait(&one).body, "first");
    assert_string_equal(client_wait(&one).body, "GET /quick");
    wait_for(rig.loop, rig.n_held == 3);
    rig_reply(&rig, 2, "second");
    assert_string_equal(client_wait(&one).body, "second");
    client_close(&two);
    stop(&rig, &one);
}

static void test_many_pipelined_requests_are_all_answered(void **state)
{
    enum { COUNT = 5000 };
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    for (int i = 0; i < COUNT; i++)
        client_send(&client, get);
    for (int i = 0; i < COUNT; i++)
        assert_string_equal(client_wait(&client).body, "GET /");

    assert_int_equal(stats(&rig)->requests, COUNT);
    assert_int_equal(stats(&rig)->status_classes[2], COUNT);
    stop(&rig, &client);
}

static void test_client_is_held_up_while_its_request_is_handled(void **state)
{
    static char filler[4 * 1024 * 1024];
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    client_send(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    for (size_t i = 0; i + sizeof(get) - 1 <= sizeof(filler);
         i += sizeof(get) - 1)
        memcpy(filler + i, get, sizeof(get) - 1);
    client_send_bytes(&client, filler, sizeof(filler) / 27 * 27);
    for (int i = 0; i < 50; i++)
        loop_turn(rig.loop, 1);
    assert_int_equal(rig.n_held, 1);
    assert_true(stream_unsent(client.stream) > 0);

    rig_reply(&rig, 0, "held");
    assert_string_equal(client_wait(&client).body, "held");
    wait_for(rig.loop, stream_unsent(client.stream) == 0);
    wait_for(rig.loop, stats(&rig)->requests == 1 + sizeof(filler) / 27);
    stop(&rig, &client);
}

static void reply_large(struct rig *rig, struct http_request *request)
{
    static char body[1024 * 1024];
    struct http_reply reply = { .status = 200, .body = { body, sizeof(body) } };

    (void)rig;
    http_reply(request, &reply);
}

static void test_client_that_does_not_read_gets_no_more_replies(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = reply_large;
    stream_pause(client.stream);
    for (int i = 0; i < 40; i++)
        client_send(&client, get);
    for (int i = 0; i < 50; i++)
        loop_turn(rig.loop, 1);
    assert_in_range(stats(&rig)->requests, 1, 20);

    stream_resume(client.stream);
    wait_for(rig.loop, stats(&rig)->requests == 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(client_wait(&client).body_len, 1024 * 1024);
    stop(&rig, &client);
}

/* ---- clients that leave, servers that end */

static void test_client_that_leaves_is_told_of_once(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    client_send(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(rig.loop, rig.n_held == 1);
    client_close(&client);
    wait_for(rig.loop, rig.gone == 1);
    assert_int_equal(stats(&rig)->open, 0);
    assert_int_equal(stats(&rig)->in_flight, 1);

    rig_reply(&rig, 0, "too late");
    loop_turn(rig.loop, 0);
    assert_int_equal(rig.gone, 1);
    assert_int_equal(stats(&rig)->gone, 1);
    assert_int_equal(stats(&rig)->status_classes[2], 0);
    rig_close(&rig);
}

static void reply_when_gone(struct http_request *request)
{
    struct rig *rig = request->ud;
    struct http_reply reply = { .status = 200 };
    struct buf *nowhere = http_reply_begin(request, &reply);

    rig->gone++;
    buf_put_str(nowhere, "nobody reads this");
    http_reply_end(request);
}

static void hold_till_gone(struct rig *rig, struct http_request *request)
{
    (void)rig;
    request->on_gone = reply_when_gone;
}

static void test_client_that_leaves_may_be_replied_to_at_once(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = hold_till_gone;
    client_send(&client, get);
    wait_for(rig.loop, stats(&rig)->in_flight == 1);
    client_close(&client);
    wait_for(rig.loop, rig.gone == 1);

    assert_int_equal(stats(&rig)->in_flight, 0);
    rig_close(&rig);
}

static void test_half_closed_client_still_gets_what_was_replied(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = reply_large;
    stream_pause(client.stream);
    client_send(&client, get);
    client_send(&client, get);
    client_send(&client, get);
    client_send(&client, get);
    stream_shutdown(client.stream);
    for (int i = 0; i < 10; i++)
        loop_turn(rig.loop, 1);
    stream_resume(client.stream);
    assert_int_equal(client_wait(&client).body_len, 1024 * 1024);

    wait_for(rig.loop, client.has_ended);
    stop(&rig, &client);
}

static void test_drain_ends_when_the_last_request_is_answered(void **state)
{
    struct rig rig;
    struct client idle, held, other;
    struct answer answer;

    (void)state;
    start(&rig, &held);
    client_open(&idle, &rig);
    client_open(&other, &rig);
    assert_int_equal(client_ask(&idle, get).status, 200);
    client_send(&held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    client_send(&other, "GET /part HTTP/1.1\r\nHo");
    wait_for(rig.loop, rig.n_held == 1 && stats(&rig)->open == 3);
    loop_turn(rig.loop, 0);
    loop_turn(rig.loop, 0);

    http_server_drain(rig.server, rig_on_drained, &rig);
    client_wait_end(&idle);
    assert_false(rig.drained);
    answer = client_ask(&other, "st: x\r\n\r\n"); /* it had begun */
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    rig_reply(&rig, 0, "late");
    assert_string_equal(client_wait(&held).body, "late");
    client_wait_end(&held);
    assert_false(rig.drained);
    client_close(&held);
    client_close(&other);
    wait_for(rig.loop, rig.drained);
    stop(&rig, &idle);
}

static void test_drain_without_connections_ends_in_the_next_turn(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig_open(&rig);
    http_server_drain(rig.server, rig_on_drained, &rig);
    assert_false(rig.drained);
    wait_for(rig.loop, rig.drained);
    rig_close(&rig);
}

static void test_server_close_cuts_what_is_left(void **state)
{
    struct rig rig;
    struct client held, idle, gone;

    (void)state;
    start(&rig, &held);
    client_open(&idle, &rig);
    client_open(&gone, &rig);
    client_send(&held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    client_send(&gone, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_ask(&idle, get).status, 200);
    wait_for(rig.loop, rig.n_held == 2);
    client_close(&gone);
    wait_for(rig.loop, rig.gone == 1);

    http_server_close(rig.server);
    http_server_close(NULL);
    rig.server = NULL;
    client_wait_end(&held);
    client_wait_end(&idle);
    rig_reply(&rig, 0, "nobody hears it");
    rig_reply(&rig, 1, "nor that");
    assert_int_equal(rig.gone, 1);
    client_close(&held);
    stop(&rig, &idle);
}

static void close_server(struct rig *rig, struct http_request *request)
{
    struct http_reply reply = { .status = 200 };

    http_server_close(rig->server);
    rig->server = NULL;
    http_reply(request, &reply);
}

static void test_server_may_be_closed_by_a_handler(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    start(&rig, &client);
    rig.on_request = close_server;
    client_send(&client, get);
    client_send(&client, get);
    wait_for(rig.loop, rig.server == NULL);
    client_wait_end(&client);
    stop(&rig, &client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_handed_out_with_its_parts),
        cmocka_unit_test(test_request_may_come_a_byte_at_a_time),
        cmocka_unit_test(test_request_target_may_be_of_any_form),
        cmocka_unit_test(test_request_with_chunks_is_put_together),
        cmocka_unit_test(test_request_that_expects_it_is_told_to_continue),
        cmocka_unit_test(test_reply_has_status_date_and_length),
        cmocka_unit_test(test_reply_in_two_steps_gets_its_length_at_the_end),
        cmocka_unit_test(test_reply_to_head_has_a_length_and_no_body),
        cmocka_unit_test(test_reply_of_some_statuses_has_no_body),
        cmocka_unit_test(test_reply_with_a_header_that_breaks_out_is_a_500),
        cmocka_unit_test(test_header_is_valid_only_within_its_line),
        cmocka_unit_test(test_connection_is_kept_or_closed_as_the_client_says),
        cmocka_unit_test(test_replies_come_in_the_order_of_pipelined_requests),
        cmocka_unit_test(test_many_pipelined_requests_are_all_answered),
        cmocka_unit_test(test_client_is_held_up_while_its_request_is_handled),
        cmocka_unit_test(test_client_that_does_not_read_gets_no_more_replies),
        cmocka_unit_test(test_client_that_leaves_is_told_of_once),
        cmocka_unit_test(test_client_that_leaves_may_be_replied_to_at_once),
        cmocka_unit_test(test_half_closed_client_still_gets_what_was_replied),
        cmocka_unit_test(test_drain_ends_when_the_last_request_is_answered),
        cmocka_unit_test(test_drain_without_connections_ends_in_the_next_turn),
        cmocka_unit_test(test_server_close_cuts_what_is_left),
        cmocka_unit_test(test_server_may_be_closed_by_a_handler),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
