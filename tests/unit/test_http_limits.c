/* test_http_limits.c - sizes, numbers and times that a client may not exceed.
 */
#include "http_client.h"

#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "net/stream.h"
#include "oom.h"

#include <stdio.h>

#define GET "GET / HTTP/1.1\r\nHost: x\r\n"

static const struct http_stats *stats(const struct rig *rig)
{
    return http_server_stats(rig->server);
}

static void start(struct rig *rig, struct client *client)
{
    rig_open(rig);
    client_open(client, rig);
}

static void stop(struct rig *rig, struct client *client)
{
    client_close(client);
    rig_close(rig);
}

static void test_head_may_be_as_large_as_the_limit(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct rig rig;
        struct client client;
        char text[300];

        rig_init(&rig);
        rig.limits.max_header_bytes = 200;
        start(&rig, &client);
        snprintf(text, sizeof(text), "%sX: %*d\r\n\r\n", GET,
                 (int)(200 - (sizeof(GET) - 1) - 7 + over), 1);
        assert_int_equal(strlen(text), 200 + over);
        assert_int_equal(client_ask(&client, text).status,
                         over > 0 ? 431 : 200);
        assert_int_equal(stats(&rig)->bad_requests, over);
        stop(&rig, &client);
    }
}

static void test_head_without_an_end_is_refused_at_the_limit(void **state)
{
    struct rig rig;
    struct client client;
    char text[200];

    (void)state;
    rig_init(&rig);
    rig.limits.max_header_bytes = sizeof(text);
    start(&rig, &client);
    memset(text, 'a', sizeof(text));
    client_send_bytes(&client, text, sizeof(text));
    assert_int_equal(client_wait(&client).status, 431);
    client_wait_end(&client);
    stop(&rig, &client);
}

static void test_headers_may_be_as_many_as_the_limit(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig.limits.max_headers = 3;
    start(&rig, &client);
    assert_int_equal(client_ask(&client, GET "A: 1\r\nB: 2\r\n\r\n").status,
                     200);
    assert_int_equal(
        client_ask(&client, GET "A: 1\r\nB: 2\r\nC: 3\r\n\r\n").status, 431);
    client_wait_end(&client);
    stop(&rig, &client);
}

static void test_trailers_are_limited_like_headers(void **state)
{
    static const char *const trailers[] = {
        "0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n",
        "0\r\nA: 1234567890123456789012345678901234567890123456789012345678901"
        "234567890123456789012345678901234567890123456789012345678901234567",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trailers); i++) {
        struct rig rig;
        struct client client;

        rig_init(&rig);
        rig.limits.max_headers = 3;
        rig.limits.max_header_bytes = 100;
        start(&rig, &client);
        client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n");
        assert_int_equal(client_ask(&client, trailers[i]).status, 431);
        stop(&rig, &client);
    }
}

static void test_body_may_be_as_large_as_the_limit(void **state)
{
    static const struct {
        const char *message;
        int status;
    } cases[] = {
        { "Content-Length: 4\r\n\r\nbody", 200 },
        { "Content-Length: 5\r\n\r\n", 413 },
        { "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", 413 },
        { "Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n",
          200 },
        { "Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n2\r\n", 413 },
        { "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", 413 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig rig;
        struct client client;

        rig_init(&rig);
        rig.limits.max_body_bytes = 4;
        start(&rig, &client);
        client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n");
        assert_int_equal(client_ask(&client, cases[i].message).status,
                         cases[i].status);
        if (cases[i].status != 200)
            client_wait_end(&client);
        stop(&rig, &client);
    }
}

static void test_chunk_extensions_are_limited(void **state)
{
    struct rig rig;
    struct client client;
    char text[300];

    (void)state;
    rig_init(&rig);
    start(&rig, &client);
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n1;");
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(client_ask(&client, text).status, 400);
    stop(&rig, &client);
}

/* ---- times */

static void test_head_that_is_too_slow_gets_a_408(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig.limits.header_timeout_ns = 5 * NS_PER_MS;
    start(&rig, &client);
    assert_int_equal(client_ask(&client, GET).status, 408);
    client_wait_end(&client);

    assert_int_equal(stats(&rig)->header_timeouts, 1);
    assert_int_equal(stats(&rig)->status_classes[4], 1);
    stop(&rig, &client);
}

static void test_head_that_drips_gets_a_408_all_the_same(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    rig_init(&rig);
    rig.limits.header_timeout_ns = 20 * NS_PER_MS;
    start(&rig, &client);
    client_send(&client, GET "X: ");
    while (!client_read(&client, false, &answer)) {
        client_send(&client, "a");
        loop_turn(rig.loop, 1);
        assert_in_range(stream_in(client.stream)->len, 0, 20000);
    }
    assert_int_equal(answer.status, 408);
    stop(&rig, &client);
}

static void test_body_that_is_too_slow_gets_a_408(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig.limits.body_timeout_ns = 5 * NS_PER_MS;
    start(&rig, &client);
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n"
                         "Content-Length: 4\r\n\r\nbo");
    assert_int_equal(client_wait(&client).status, 408);
    client_wait_end(&client);

    assert_int_equal(stats(&rig)->body_timeouts, 1);
    assert_int_equal(stats(&rig)->requests, 0);
    stop(&rig, &client);
}

static void test_idle_connection_is_closed_silently(void **state)
{
    struct rig rig;
    struct client fresh, used;

    (void)state;
    rig_init(&rig);
    rig.limits.idle_timeout_ns = 100 * NS_PER_MS;
    start(&rig, &used);
    client_open(&fresh, &rig);
    assert_int_equal(client_ask(&used, GET "\r\n\r\n").status, 200);
    client_wait_end(&used);
    client_wait_end(&fresh);

    assert_int_equal(stats(&rig)->idle_closes, 2);
    client_close(&fresh);
    stop(&rig, &used);
}

static void pass_time(struct rig *rig, uint64_t ns)
{
    uint64_t until_ns = loop_now_ns(rig->loop) + ns;

    wait_for(rig->loop, loop_now_ns(rig->loop) >= until_ns);
}

static void
test_handler_may_take_longer_than_any_time_of_the_client(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig.limits.idle_timeout_ns = 150 * NS_PER_MS;
    rig.limits.header_timeout_ns = 150 * NS_PER_MS;
    rig.limits.body_timeout_ns = 150 * NS_PER_MS;
    rig.limits.write_timeout_ns = 150 * NS_PER_MS;
    start(&rig, &client);
    client_send(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(rig.loop, rig.n_held == 1);
    pass_time(&rig, 200 * NS_PER_MS);

    rig_reply(&rig, 0, "slow");
    assert_string_equal(client_wait(&client).body, "slow");
    client_wait_end(&client);
    stop(&rig, &client);
}

static void reply_large(struct rig *rig, struct http_request *request)
{
    static char body[16 * 1024 * 1024];
    struct http_reply reply = { .status = 200, .body = { body, sizeof(body) } };

    (void)rig;
    http_reply(request, &reply);
}

static void test_client_that_does_not_read_is_cut(void **state)
{
    struct rig rig;
    struct client client;

    (void)state;
    rig_init(&rig);
    rig.limits.write_timeout_ns = 5 * NS_PER_MS;
    rig.on_request = reply_large;
    start(&rig, &client);
    stream_pause(client.stream);
    client_send(&client, GET "\r\n");
    wait_for(rig.loop, stats(&rig)->write_timeouts == 1);

    assert_int_equal(stats(&rig)->open, 0);
    stop(&rig, &client);
}

static void test_client_that_reads_slowly_is_not_cut(void **state)
{
    enum { STEP = 2 * 1024 * 1024 }; /* more than the kernel's buffers hide */
    struct rig rig;
    struct client client;
    uint64_t began_ns;

    (void)state;
    rig_init(&rig);
    rig.limits.write_timeout_ns = 500 * NS_PER_MS;
    rig.on_request = reply_large;
    start(&rig, &client);
    client_send(&client, GET "\r\n");
    began_ns = loop_now_ns(rig.loop);
    for (size_t got = STEP; got <= 8 * STEP; got += STEP) {
        stream_resume(client.stream);
        wait_for(rig.loop, client.has_ended || client.got.len >= got);
        stream_pause(client.stream);
        pass_time(&rig, 80 * NS_PER_MS);
    }
    assert_true(loop_now_ns(rig.loop) - began_ns > 500 * NS_PER_MS);
    stream_resume(client.stream);
    assert_int_equal(client_wait(&client).body_len, 8 * STEP);
    assert_int_equal(stats(&rig)->write_timeouts, 0);
    stop(&rig, &client);
}

/* ---- numbers */

static void test_server_open_fails_without_memory(void **state)
{
    struct rig rig;
    struct err_text why;
    enum err err;

    (void)state;
    rig_init(&rig);
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = http_server_open(&rig.server, rig.loop, "127.0.0.1:0",
                               &rig.limits, NULL, NULL, &why);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_null(rig.server);
        assert_non_null(strstr(why.text, "memory"));
    }
    assert_ok(err);
    rig_close(&rig);
}

static void test_server_open_says_what_is_wrong_with_the_address(void **state)
{
    struct rig rig;
    struct err_text why;

    (void)state;
    rig_init(&rig);
    assert_err(http_server_open(&rig.server, rig.loop, "nonsense", &rig.limits,
                                NULL, NULL, &why),
               ERR_BADARG);
    assert_memory_equal(why.text, "cannot listen on nonsense: ", 27);
    rig_close(&rig);
}

static void test_request_without_memory_for_it_ends_its_connection(void **state)
{
    static const char text[] = "POST / HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 4\r\n\r\nbody";
    bool has_failed = true;

    (void)state;
    for (unsigned n = 1; has_failed; n++) {
        struct rig rig;
        struct client client;
        struct answer answer = { 0 };

        rig_init(&rig);
        start(&rig, &client);
        wait_for(rig.loop, stats(&rig)->open == 1);
        client_send(&client, text);
        oom_fail_at(n); /* the client's own allocations count, too */
        wait_for(rig.loop, client.has_ended || buf_failed(&client.got) ||
                               client_read(&client, false, &answer));
        oom_off();
        has_failed = oom_happened();
        if (answer.status != 0 && answer.status != 200)
            assert_int_equal(answer.status, 503);
        if (!has_failed)
            assert_int_equal(answer.status, 200);
        stop(&rig, &client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_may_be_as_large_as_the_limit),
        cmocka_unit_test(test_head_without_an_end_is_refused_at_the_limit),
        cmocka_unit_test(test_headers_may_be_as_many_as_the_limit),
        cmocka_unit_test(test_trailers_are_limited_like_headers),
        cmocka_unit_test(test_body_may_be_as_large_as_the_limit),
        cmocka_unit_test(test_chunk_extensions_are_limited),
        cmocka_unit_test(test_head_that_is_too_slow_gets_a_408),
        cmocka_unit_test(test_head_that_drips_gets_a_408_all_the_same),
        cmocka_unit_test(test_body_that_is_too_slow_gets_a_408),
        cmocka_unit_test(test_idle_connection_is_closed_silently),
        cmocka_unit_test(
            test_handler_may_take_longer_than_any_time_of_the_client),
        cmocka_unit_test(test_client_that_does_not_read_is_cut),
        cmocka_unit_test(test_client_that_reads_slowly_is_not_cut),
        cmocka_unit_test(test_server_open_fails_without_memory),
        cmocka_unit_test(test_server_open_says_what_is_wrong_with_the_address),
        cmocka_unit_test(
            test_request_without_memory_for_it_ends_its_connection),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
