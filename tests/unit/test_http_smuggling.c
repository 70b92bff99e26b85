/* test_http_smuggling.c - requests that two readers could understand
 * differently, and those that are no requests, are refused and end their
 * connection; of others begins and ends each where the standard says. */
#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "http_client.h"
#include "http_shapes.h"
#include "net/stream.h"

/* A request that must never be handled. */
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET      "GET / HTTP/1.1\r\nHost: x\r\n"
#define POST     "POST / HTTP/1.1\r\nHost: x\r\n"
/* What follows a shape that ends nothing: shows where the server is. */
#define PROBE "GET /probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

/* ---- the table of shapes */

static struct buf handled; /* "GET /a\nPOST /:body\n" */

static void note(struct rig *rig, struct http_request *request)
{
    struct http_reply reply = { .status = 200 };

    (void)rig;
    buf_put(&handled, request->method.bytes, request->method.len);
    buf_put_char(&handled, ' ');
    buf_put(&handled, request->target.bytes, request->target.len);
    if (request->body.len > 0)
        buf_put_char(&handled, ':');
    buf_put(&handled, request->body.bytes, request->body.len);
    buf_put_char(&handled, '\n');
    http_reply(request, &reply);
}

/* Sends the first bytes of shape, then step by step the rest of them. */
static void send_shape(struct client *client, const struct http_shape *shape,
                       size_t first, size_t step)
{
    for (size_t at = 0; at < shape->len;) {
        size_t size = at == 0 && first > 0 ? first : step;

        if (size > shape->len - at)
            size = shape->len - at;
        client_send_bytes(client, shape->bytes + at, size);
        at += size;
        loop_turn(client->rig->loop, 0);
        loop_turn(client->rig->loop, 0);
    }
    if (!shape->ends)
        client_send(client, PROBE);
}

/* The status of the last answer. */
static int read_to_end(struct client *client)
{
    struct answer answer = { 0 };

    wait_for(client->rig->loop, client->has_ended);
    while (client_read(client, false, &answer)) {
        assert_true(answer.status >= 100);
        if (answer.status >= 400)
            assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    }
    assert_int_equal(client->got.len, 0);
    return answer.status;
}

static void check_handled(const struct http_shape *shape, size_t first)
{
    buf_put_char(&handled, '\0');
    if (strncmp(handled.data, shape->handled, strlen(shape->handled)) != 0 ||
        strcmp(handled.data + strlen(shape->handled),
               shape->ends ? "" : "GET /probe\n") != 0)
        fail_msg("%s (RFC %s), %zu bytes first: handled \"%s\"", shape->what,
                 shape->section, first, handled.data);
}

static void check_refused(const struct rig *rig, const struct http_shape *shape,
                          size_t first, uint64_t before, int status)
{
    const struct http_stats *stats = http_server_stats(rig->server);
    int expected = shape->refusal == HTTP_ACCEPTED
                       ? 200
                       : http_refusal_status(shape->refusal);

    /* Who asked for the end and sends more may lose the answer. */
    if (shape->refusal == HTTP_ACCEPTED && shape->ends)
        return;
    if (status != expected)
        fail_msg("%s (RFC %s), %zu bytes first: %d instead of %d", shape->what,
                 shape->section, first, status, expected);
    if (shape->refusal != HTTP_ACCEPTED &&
        stats->refusals[shape->refusal] != before + 1)
        fail_msg("%s: counted for another reason", shape->what);
}

static void check_shape(struct rig *rig, const struct http_shape *shape,
                        size_t first, size_t step)
{
    uint64_t before = http_server_stats(rig->server)->refusals[shape->refusal];
    struct client client;
    int status;

    client_open(&client, rig);
    send_shape(&client, shape, first, step);
    status = read_to_end(&client);
    check_handled(shape, first);
    check_refused(rig, shape, first, before, status);
    client_close(&client);
    buf_clear(&handled);
}

static void start(struct rig *rig)
{
    rig_init(rig);
    rig->on_request = note;
    rig_open_unix(rig);
}

static void stop(struct rig *rig)
{
    rig_close(rig);
    buf_free(&handled);
}

static void test_shape_is_refused_or_is_so_many_requests(void **state)
{
    struct rig rig;

    (void)state;
    start(&rig);
    for (size_t i = 0; i < http_shapes_len; i++)
        check_shape(&rig, &http_shapes[i], 0, http_shapes[i].len);
    stop(&rig);
}

static void test_shape_is_the_same_byte_by_byte(void **state)
{
    struct rig rig;

    (void)state;
    start(&rig);
    for (size_t i = 0; i < http_shapes_len; i++)
        check_shape(&rig, &http_shapes[i], 0, 1);
    stop(&rig);
}

static void test_shape_is_the_same_in_two_parts(void **state)
{
    struct rig rig;

    (void)state;
    start(&rig);
    for (size_t i = 0; i < http_shapes_len; i++) {
        for (size_t at = 1; at < http_shapes[i].len; at++)
            check_shape(&rig, &http_shapes[i], at, http_shapes[i].len);
    }
    stop(&rig);
}

/* ---- more */

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
        cmocka_unit_test(test_shape_is_refused_or_is_so_many_requests),
        cmocka_unit_test(test_shape_is_the_same_byte_by_byte),
        cmocka_unit_test(test_shape_is_the_same_in_two_parts),
        cmocka_unit_test(test_request_is_refused_for_a_nul_anywhere),
        cmocka_unit_test(test_request_before_the_refused_one_is_answered),
        cmocka_unit_test(
            test_refusal_is_read_by_a_client_that_is_still_sending),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
