/* test_http_message.c - requests as they are handed out, replies as sent. */
#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "http/status.h"
#include "http/strict.h"
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
        { "http://x/a/b?c", "/a/b" },
        { "http://x", "/" },
        { "http://x?q=/x", "/" },
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
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
