/* test_http_answer.c - replies as a client reads them, whole and byte by byte.
 */
#include "unit.h"

#include "http/answer.h"

#include <stdlib.h>

struct reading {
    struct http_answer *answer;
    struct buf in;
    struct buf body;
};

static void start(struct reading *reading, bool is_head)
{
    *reading = (struct reading){ 0 };
    assert_ok(http_answer_new(&reading->answer));
    reading->answer->body = &reading->body;
    http_answer_begin(reading->answer, is_head);
}

static void stop(struct reading *reading)
{
    http_answer_free(reading->answer);
    buf_free(&reading->in);
    buf_free(&reading->body);
}

static enum http_answer_stage take(struct reading *reading, const char *text)
{
    buf_put_str(&reading->in, text);
    return http_answer_take(reading->answer, &reading->in);
}

/* What is expected of a reply. */
struct expected {
    const char *bytes;
    int status;
    bool keeps_alive;
    bool is_head;
    bool ends; /* the server ends its side after the bytes */
    const char *body;
};

static void check(const struct expected *expected, struct reading *reading)
{
    assert_int_equal(reading->answer->stage, HTTP_ANSWER_WHOLE);
    assert_int_equal(reading->answer->status, expected->status);
    assert_int_equal(reading->answer->keeps_alive, expected->keeps_alive);
    assert_int_equal(reading->body.len, strlen(expected->body));
    if (reading->body.len > 0)
        assert_memory_equal(reading->body.data, expected->body,
                            reading->body.len);
    assert_int_equal(reading->in.len, 0);
}

static void read_at_once(const struct expected *expected)
{
    struct reading reading;

    start(&reading, expected->is_head);
    take(&reading, expected->bytes);
    if (expected->ends)
        http_answer_end(reading.answer);
    check(expected, &reading);
    stop(&reading);
}

static void read_by_bytes(const struct expected *expected)
{
    struct reading reading;
    size_t len = strlen(expected->bytes);

    start(&reading, expected->is_head);
    for (size_t i = 0; i < len; i++) {
        char byte[] = { expected->bytes[i], '\0' };

        assert_int_equal(reading.answer->stage, HTTP_ANSWER_DUE);
        take(&reading, byte);
    }
    if (expected->ends)
        http_answer_end(reading.answer);
    check(expected, &reading);
    stop(&reading);
}

static const struct expected good[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, true, false,
      false, "hello" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 200,
      false, false, false, "" },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
      200, true, false, false, "hello" },
    { "HTTP/1.1 200 OK\r\n\r\nto the end", 200, false, false, true,
      "to the end" },
    { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false, false,
      false, "ok" },
    { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
      201, true, false, false, "x" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200, true, true, false,
      "" },
    { "HTTP/1.1 204 No Content\r\n\r\n", 204, true, false, false, "" },
    { "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, true,
      false, false, "" },
    { "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1\r\n\r\nx", 503,
      true, false, false, "x" },
};

static void test_reads_a_reply_that_comes_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        read_at_once(&good[i]);
}

static void test_reads_a_reply_that_comes_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        read_by_bytes(&good[i]);
}

static void test_refuses_what_is_no_reply(void **state)
{
    static const char *const bad[] = {
        "hello\r\n\r\n",
        "\x16\x03\x01\x02",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
        "Upgrade: x\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reading reading;

        start(&reading, false);
        assert_int_equal(take(&reading, bad[i]), HTTP_ANSWER_BAD);
        assert_non_null(reading.answer->why);
        stop(&reading);
    }
}

static void test_an_end_in_the_middle_is_bad(void **state)
{
    static const char *const parts[] = {
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct reading reading;

        start(&reading, false);
        assert_int_equal(take(&reading, parts[i]), HTTP_ANSWER_DUE);
        assert_int_equal(http_answer_end(reading.answer), HTTP_ANSWER_BAD);
        assert_non_null(reading.answer->why);
        stop(&reading);
    }
}

static void test_leaves_what_follows_the_reply(void **state)
{
    struct reading reading;

    (void)state;
    start(&reading, false);
    assert_int_equal(
        take(&reading, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/"),
        HTTP_ANSWER_WHOLE);
    assert_buf(&reading.in, "HTTP/");

    http_answer_begin(reading.answer, false);
    assert_int_equal(take(&reading, "1.1 204 No Content\r\n\r\n"),
                     HTTP_ANSWER_WHOLE);
    assert_int_equal(reading.answer->status, 204);
    stop(&reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_a_reply_that_comes_at_once),
        cmocka_unit_test(test_reads_a_reply_that_comes_byte_by_byte),
        cmocka_unit_test(test_refuses_what_is_no_reply),
        cmocka_unit_test(test_an_end_in_the_middle_is_bad),
        cmocka_unit_test(test_leaves_what_follows_the_reply),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
