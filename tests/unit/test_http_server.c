/* test_http_server.c - the order of replies, connections kept and closed. */
#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "http_client.h"
#include "net/stream.h"

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

static const struct http_stats *stats(const struct rig *rig)
{
    return http_server_stats(rig->server);
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
    rig_init(&rig);
    rig_open_unix(&rig);
    client_open(&client, &rig);
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

/* What a client sends before it can know is answered, and says the end. */
static void test_drain_answers_what_was_on_its_way(void **state)
{
    struct rig rig;
    struct client client;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    assert_int_equal(client_ask(&client, get).status, 200);
    http_server_drain(rig.server, rig_on_drained, &rig);
    loop_turn(rig.loop, 0);
    answer = client_ask(&client, get);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    client_wait_end(&client);
    wait_for(rig.loop, rig.drained);
    stop(&rig, &client);
}

/* The kernel has connected it, and the server has not looked yet. */
static void test_drain_accepts_who_is_in_the_queue(void **state)
{
    struct rig rig;
    struct client first, queued;

    (void)state;
    start(&rig, &first);
    assert_int_equal(client_ask(&first, get).status, 200);
    client_open(&queued, &rig);
    client_send(&queued, get);
    http_server_drain(rig.server, rig_on_drained, &rig);
    assert_int_equal(client_wait(&queued).status, 200);
    client_wait_end(&queued);
    client_close(&queued);
    wait_for(rig.loop, rig.drained);
    stop(&rig, &first);
}

static void test_announced_end_is_told_with_each_reply(void **state)
{
    struct rig rig;
    struct client client, later;
    struct answer answer;

    (void)state;
    start(&rig, &client);
    assert_int_equal(client_ask(&client, get).status, 200);
    http_server_announce_end(rig.server);
    client_open(&later, &rig);
    answer = client_ask(&later, get);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    client_wait_end(&later);
    client_close(&later);
    assert_false(client.has_ended); /* as long as it asks nothing */
    assert_int_equal(client_ask(&client, get).status, 200);
    client_wait_end(&client);
    stop(&rig, &client);
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

    rig.drained = false; /* once more for who asks again */
    http_server_drain(rig.server, rig_on_drained, &rig);
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
        cmocka_unit_test(test_connection_is_kept_or_closed_as_the_client_says),
        cmocka_unit_test(test_replies_come_in_the_order_of_pipelined_requests),
        cmocka_unit_test(test_many_pipelined_requests_are_all_answered),
        cmocka_unit_test(test_client_is_held_up_while_its_request_is_handled),
        cmocka_unit_test(test_client_that_does_not_read_gets_no_more_replies),
        cmocka_unit_test(test_client_that_leaves_is_told_of_once),
        cmocka_unit_test(test_client_that_leaves_may_be_replied_to_at_once),
        cmocka_unit_test(test_half_closed_client_still_gets_what_was_replied),
        cmocka_unit_test(test_drain_ends_when_the_last_request_is_answered),
        cmocka_unit_test(test_drain_answers_what_was_on_its_way),
        cmocka_unit_test(test_drain_accepts_who_is_in_the_queue),
        cmocka_unit_test(test_announced_end_is_told_with_each_reply),
        cmocka_unit_test(test_drain_without_connections_ends_in_the_next_turn),
        cmocka_unit_test(test_server_close_cuts_what_is_left),
        cmocka_unit_test(test_server_may_be_closed_by_a_handler),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
