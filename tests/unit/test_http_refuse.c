/* test_http_refuse.c - requests that two readers could understand differently,
 * and those that are no requests: each is refused and ends its connection. */
#include "http_client.h"

#include <stdio.h>

struct refusal {
    const char *what;
    int status;
    const char *head; /* of the request, without the line that ends it */
    const char *rest; /* of the message */
};

/* A request that must never be handled. */
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET      "GET / HTTP/1.1\r\nHost: x\r\n"
#define POST     "POST / HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED  POST "Transfer-Encoding: chunked\r\n"

/* clang-format off */
static const struct refusal refusals[] = {
    /* where the message ends */
    { "both framings", 400, CHUNKED "Content-Length: 4\r\n", "0\r\n\r\n" SMUGGLED },
    { "both framings, length first", 400, POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "two lengths that differ", 400, POST "Content-Length: 0\r\nContent-Length: 35\r\n", SMUGGLED },
    { "two lengths that agree", 400, POST "Content-Length: 4\r\nContent-Length: 4\r\n", "body" },
    { "a list of lengths", 400, POST "Content-Length: 4, 4\r\n", "body" },
    { "a length with a sign", 400, POST "Content-Length: +4\r\n", "body" },
    { "a negative length", 400, POST "Content-Length: -1\r\n", "" },
    { "a length with a space", 400, POST "Content-Length: 1 0\r\n", "body" },
    { "a length in hex", 400, POST "Content-Length: 0x4\r\n", "body" },
    { "a length with a point", 400, POST "Content-Length: 4.0\r\n", "body" },
    { "an empty length", 400, POST "Content-Length:\r\n", "body" },
    { "a length beyond 64 bits", 400, POST "Content-Length: 18446744073709551620\r\n", "body" },
    { "an encoding that is unknown", 501, POST "Transfer-Encoding: gzip\r\n", SMUGGLED },
    { "chunked and another", 501, POST "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "identity", 501, POST "Transfer-Encoding: identity\r\n", SMUGGLED },
    { "chunked twice", 400, POST "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "chunked and not last", 400, POST "Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n" SMUGGLED },
    { "an encoding after a comma", 501, POST "Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "nearly chunked", 501, POST "Transfer-Encoding: xchunked\r\n", SMUGGLED },
    { "chunked in quotes", 501, POST "Transfer-Encoding: \"chunked\"\r\n", SMUGGLED },
    { "an empty encoding", 501, POST "Transfer-Encoding:\r\n", SMUGGLED },
    { "two encodings", 400, CHUNKED "Transfer-Encoding: identity\r\n", "0\r\n\r\n" SMUGGLED },
    { "chunks in HTTP/1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "an encoding behind a control character", 400, POST "Transfer-Encoding: \x0b" "chunked\r\n", "0\r\n\r\n" },
    { "a space before the colon", 400, POST "Transfer-Encoding : chunked\r\n", "0\r\n\r\n" SMUGGLED },
    { "a tab before the colon", 400, POST "Content-Length\t: 4\r\n", "body" },
    { "a folded line", 400, POST "X: a\r\n Content-Length: 4\r\n", "body" },
    { "a line folded by a tab", 400, POST "Transfer-Encoding:\r\n\tchunked\r\n", "0\r\n\r\n" },
    { "a first header that is folded", 400, "GET / HTTP/1.1\r\n Host: x\r\n", "" },
    /* lines */
    { "a carriage return in a value", 400, GET "X: a\rb\r\n", "" },
    { "a header behind a carriage return", 400, GET "X: a\rContent-Length: 35\r\n", SMUGGLED },
    { "a line that ends in LF", 400, "GET / HTTP/1.1\nHost: x\r\n", "" },
    { "a header that ends in LF", 400, GET "X: a\nY: b\r\n", "" },
    { "a carriage return too many", 400, GET "X: a\r\r\n", "" },
    { "a header without a colon", 400, GET "nonsense\r\n", "" },
    { "a header without a name", 400, GET ": a\r\n", "" },
    { "a space in a name", 400, GET "a b: c\r\n", "" },
    { "a control character in a value", 400, GET "X: a\x01\r\n", "" },
    { "a DEL in a value", 400, GET "X: a\x7f\r\n", "" },
    /* the host */
    { "no host", 400, "GET / HTTP/1.1\r\n", "" },
    { "two hosts", 400, GET "Host: y\r\n", "" },
    { "two hosts in HTTP/1.0", 400, "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n", "" },
    { "a host with a space", 400, "GET / HTTP/1.1\r\nHost: a b\r\n", "" },
    { "a host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n", "" },
    /* the request line */
    { "no version", 400, "GET /\r\n", "" },
    { "no target", 400, "GET HTTP/1.1\r\nHost: x\r\n", "" },
    { "an empty target", 400, "GET  HTTP/1.1\r\nHost: x\r\n", "" },
    { "two spaces", 400, "GET  / HTTP/1.1\r\nHost: x\r\n", "" },
    { "a space in the target", 400, "GET /a b HTTP/1.1\r\nHost: x\r\n", "" },
    { "a tab for a space", 400, "GET\t/ HTTP/1.1\r\nHost: x\r\n", "" },
    { "a space at the end", 400, "GET / HTTP/1.1 \r\nHost: x\r\n", "" },
    { "a space at the front", 400, " GET / HTTP/1.1\r\nHost: x\r\n", "" },
    { "a fragment", 400, "GET /#a HTTP/1.1\r\nHost: x\r\n", "" },
    { "a target that is no path", 400, "GET a/b HTTP/1.1\r\nHost: x\r\n", "" },
    { "a target that is not ASCII", 400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n", "" },
    { "a lower-case version", 400, "GET / http/1.1\r\nHost: x\r\n", "" },
    { "a version of two digits", 400, "GET / HTTP/1.10\r\nHost: x\r\n", "" },
    { "HTTP/2", 505, "GET / HTTP/2.0\r\nHost: x\r\n", "" },
    { "the preface of HTTP/2", 505, "PRI * HTTP/2.0\r\n", "SM\r\n\r\n" },
    { "HTTP/1.2", 505, "GET / HTTP/1.2\r\nHost: x\r\n", "" },
    { "HTTP/0.9", 505, "GET / HTTP/0.9\r\nHost: x\r\n", "" },
    { "an unknown method", 501, "BREW / HTTP/1.1\r\nHost: x\r\n", "" },
    { "a method in lower case", 501, "get / HTTP/1.1\r\nHost: x\r\n", "" },
    { "a method that is no word", 400, "G@T / HTTP/1.1\r\nHost: x\r\n", "" },
    { "a tunnel", 501, "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n", "" },
    { "a tunnel to a path", 501, "CONNECT /x HTTP/1.1\r\nHost: x\r\n", "" },
    { "a method of RTSP", 501, "DESCRIBE / HTTP/1.1\r\nHost: x\r\n", "" },
    { "TLS", 400, "\x16\x03\x01\x02\r\n", "" },
    { "an expectation that is unknown", 417, POST "Content-Length: 4\r\nExpect: tea\r\n", "body" },
    /* chunks */
    { "a chunk size that is no number", 400, CHUNKED, "x\r\nbody\r\n0\r\n\r\n" SMUGGLED },
    { "an empty chunk size", 400, CHUNKED, "\r\nbody\r\n0\r\n\r\n" SMUGGLED },
    { "a chunk size with a sign", 400, CHUNKED, "+4\r\nbody\r\n0\r\n\r\n" },
    { "a negative chunk size", 400, CHUNKED, "-4\r\nbody\r\n0\r\n\r\n" },
    { "a chunk size in C's hex", 400, CHUNKED, "0x4\r\nbody\r\n0\r\n\r\n" },
    { "a space before a chunk size", 400, CHUNKED, " 4\r\nbody\r\n0\r\n\r\n" },
    { "a space after a chunk size", 400, CHUNKED, "4 \r\nbody\r\n0\r\n\r\n" },
    { "a chunk size beyond 64 bits", 400, CHUNKED, "10000000000000004\r\nbody\r\n0\r\n\r\n" },
    { "a chunk size that ends in LF", 400, CHUNKED, "4\nbody\r\n0\r\n\r\n" SMUGGLED },
    { "a chunk size that ends in CR", 400, CHUNKED, "4\rXbody\r\n0\r\n\r\n" SMUGGLED },
    { "an LF within a chunk extension", 400, CHUNKED, "4;a\nbody\r\n0\r\n\r\n" SMUGGLED },
    { "a CR within a chunk extension", 400, CHUNKED, "4;a\rb\r\nbody\r\n0\r\n\r\n" SMUGGLED },
    { "a chunk that is longer than it says", 400, CHUNKED, "4\r\nbodyXX0\r\n\r\n" SMUGGLED },
    { "a chunk that ends in LF", 400, CHUNKED, "4\r\nbody\n0\r\n\r\n" SMUGGLED },
    { "a trailer that is folded", 400, CHUNKED, "0\r\nX: a\r\n b\r\n\r\n" SMUGGLED },
    { "a trailer without a colon", 400, CHUNKED, "0\r\n" SMUGGLED },
    { "a trailer that ends in LF", 400, CHUNKED, "0\r\nX: a\n\r\n" SMUGGLED },
};
/* clang-format on */

static void check_refused(const struct refusal *refusal)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    rig_init(&rig);
    rig_open(&rig);
    client_open(&client, &rig);
    client_send(&client, refusal->head);
    client_send(&client, "\r\n");
    client_send(&client, refusal->rest);
    answer = client_wait(&client);
    if (answer.status != refusal->status)
        fail_msg("%s: %d instead of %d", refusal->what, answer.status,
                 refusal->status);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    client_wait_end(&client);

    assert_int_equal(http_server_stats(rig.server)->requests, 0);
    assert_int_equal(http_server_stats(rig.server)->bad_requests,
                     refusal->status < 500);
    client_close(&client);
    rig_close(&rig);
}

static void test_request_is_refused_when_it_is_not_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        check_refused(&refusals[i]);
}

static void test_request_is_refused_for_a_nul_anywhere(void **state)
{
    static const char head[] =
        "POST /a HTTP/1.1\r\nHost: x\r\nX: y\r\nContent-Length: 4\r\n\r\n";
    size_t len = sizeof(head) - 1;

    (void)state;
    for (size_t at = 0; at < len; at++) {
        struct rig rig;
        struct client client;
        char text[sizeof(head)];

        memcpy(text, head, sizeof(head));
        text[at] = '\0';
        rig_init(&rig);
        rig_open(&rig);
        client_open(&client, &rig);
        client_send_bytes(&client, text, len);
        client_send(&client, "\r\n\r\n"); /* ends it, where that was hit */
        assert_int_equal(client_wait(&client).status, 400);
        assert_int_equal(http_server_stats(rig.server)->requests, 0);
        client_close(&client);
        rig_close(&rig);
    }
}

static void test_request_before_the_refused_one_is_answered(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig_open(&rig);
    client_open(&client, &rig);
    client_send(&client, GET "\r\n" GET "X : y\r\n\r\n" SMUGGLED);
    assert_string_equal(client_wait(&client).body, "GET /");
    assert_int_equal(client_wait(&client).status, 400);
    client_wait_end(&client);

    assert_int_equal(http_server_stats(rig.server)->requests, 1);
    client_close(&client);
    rig_close(&rig);
}

static void test_refusal_is_read_by_a_client_that_is_still_sending(void **state)
{
    static char body[3 * 1024 * 1024];
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig_open(&rig);
    client_open(&client, &rig);
    client_send(&client, POST "Content-Length: 3145728\r\n\r\n");
    client_send_bytes(&client, body, sizeof(body));
    assert_int_equal(client_wait(&client).status, 413);
    wait_for(rig.loop, stream_unsent(client.stream) == 0);

    client_wait_end(&client);
    client_close(&client);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_refused_when_it_is_not_exact),
        cmocka_unit_test(test_request_is_refused_for_a_nul_anywhere),
        cmocka_unit_test(test_request_before_the_refused_one_is_answered),
        cmocka_unit_test(
            test_refusal_is_read_by_a_client_that_is_still_sending),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
