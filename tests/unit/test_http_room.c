/* test_http_room.c - a server that is full: of connections, of descriptors, of
 * what waits in buffers. */
#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "http_client.h"
#include "net/stream.h"

#include <sys/resource.h>
#include <unistd.h>

#define GET  "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define HOLD "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"

static const struct http_stats *stats(const struct rig *rig)
{
    return http_server_stats(rig->server);
}

static void pass_time(struct rig *rig, uint64_t ms)
{
    uint64_t until_ns = loop_now_ns(rig->loop) + ms * NS_PER_MS;

    wait_for(rig->loop, loop_now_ns(rig->loop) >= until_ns);
}

static void open_asking(struct client *client, struct rig *rig)
{
    client_open(client, rig);
    assert_int_equal(client_ask(client, GET).status, 200);
}

/* ---- connections */

static void test_idle_longest_makes_room_for_one_more(void **state)
{
    struct rig rig;
    struct client first, second, third;

    (void)state;
    rig_init(&rig);
    rig.limits.max_connections = 2;
    rig_open(&rig);
    open_asking(&first, &rig);
    open_asking(&second, &rig);
    pass_time(&rig, 5);
    assert_int_equal(client_ask(&first, GET).status, 200);
    pass_time(&rig, 20);
    open_asking(&third, &rig);

    client_wait_end(&second);
    assert_int_equal(client_ask(&first, GET).status, 200);
    assert_int_equal(stats(&rig)->idle_evictions, 1);
    assert_int_equal(stats(&rig)->refused, 0);
    client_close(&first);
    client_close(&second);
    client_close(&third);
    rig_close(&rig);
}

static void test_head_that_drips_makes_room_for_one_more(void **state)
{
    struct rig rig;
    struct client slow, other;

    (void)state;
    rig_init(&rig);
    rig.limits.max_connections = 1;
    rig_open(&rig);
    client_open(&slow, &rig);
    client_send(&slow, "GET / HT");
    for (int i = 0; i < 12; i++) {
        pass_time(&rig, 10);
        client_send(&slow, "T");
    }
    open_asking(&other, &rig);

    client_wait_end(&slow);
    assert_int_equal(stats(&rig)->idle_evictions, 1);
    client_close(&slow);
    client_close(&other);
    rig_close(&rig);
}

static void test_new_one_makes_room_before_one_that_was_answered(void **state)
{
    struct rig rig;
    struct client known, silent, third;

    (void)state;
    rig_init(&rig);
    rig.limits.max_connections = 2;
    rig_open(&rig);
    open_asking(&known, &rig);
    client_open(&silent, &rig);
    wait_for(rig.loop, stats(&rig)->open == 2);
    pass_time(&rig, 20);
    open_asking(&third, &rig);

    client_wait_end(&silent);
    assert_int_equal(client_ask(&known, GET).status, 200);
    client_close(&known);
    client_close(&silent);
    client_close(&third);
    rig_close(&rig);
}

static void test_who_is_being_answered_makes_no_room(void **state)
{
    struct rig rig;
    struct client busy, second;

    (void)state;
    rig_init(&rig);
    rig.limits.max_connections = 1;
    rig_open(&rig);
    client_open(&busy, &rig);
    client_send(&busy, HOLD);
    wait_for(rig.loop, rig.n_held == 1);
    pass_time(&rig, 20);
    client_open(&second, &rig);
    client_wait_end(&second);
    assert_int_equal(stats(&rig)->refused, 1);
    assert_int_equal(stats(&rig)->connections, 1);

    rig_reply(&rig, 0, "done");
    assert_string_equal(client_wait(&busy).body, "done");
    client_close(&busy);
    client_close(&second);
    rig_close(&rig);
}

/* As many descriptors as leave room for so many connections. */
static struct rlimit descriptors_for(unsigned connections, int listening)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)listening + connections;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = wanted;
    while (limit.rlim_cur - limit.rlim_cur / 8 < wanted)
        limit.rlim_cur++;
    return limit;
}

static void test_last_descriptors_are_not_for_connections(void **state)
{
    enum { OTHERS = 200 }; /* so that the eighth is enough for the clients */
    struct rig rig;
    struct client first, second, third;
    struct rlimit all, few;
    int others[OTHERS];

    (void)state;
    rig_init(&rig);
    for (int i = 0; i < OTHERS; i++)
        others[i] = dup(0);
    few = descriptors_for(2, others[OTHERS - 1] + 1);
    rig_open(&rig);
    open_asking(&first, &rig);
    client_open(&second, &rig);
    client_send(&second, HOLD);
    wait_for(rig.loop, rig.n_held == 1);
    pass_time(&rig, 20);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    open_asking(&third, &rig);

    client_wait_end(&first);
    assert_int_equal(stats(&rig)->idle_evictions, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    rig_reply(&rig, 0, "done");
    assert_string_equal(client_wait(&second).body, "done");
    for (int i = 0; i < OTHERS; i++)
        close(others[i]);
    client_close(&first);
    client_close(&second);
    client_close(&third);
    rig_close(&rig);
}

/* ---- memory */

enum { LARGE = 8 * 1024 * 1024, READERS = 4 };

static void reply_large(struct rig *rig, struct http_request *request)
{
    static char body[LARGE];
    bool is_large = request->path.len > 1;
    struct http_reply reply = { .status = 200,
                                .body = { body, is_large ? LARGE : 2 } };

    (void)rig;
    body[0] = 'o';
    body[1] = 'k';
    http_reply(request, &reply);
}

static void test_slowest_reader_of_most_makes_room_for_replies(void **state)
{
    struct rig rig;
    struct client idle, readers[READERS];

    (void)state;
    rig_init(&rig);
    rig.limits.max_buffered_bytes = 2 * LARGE;
    rig.on_request = reply_large;
    rig_open(&rig);
    open_asking(&idle, &rig);
    for (unsigned i = 0; i < READERS; i++) {
        client_open(&readers[i], &rig);
        stream_pause(readers[i].stream);
        client_send(&readers[i], "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_for(rig.loop, stats(&rig)->requests == 2 + i);
        pass_time(&rig, 20);
        assert_in_range(stats(&rig)->buffered, 1, 4 * LARGE);
    }
    assert_in_range(stats(&rig)->memory_closes, 1, READERS - 1);
    assert_int_equal(client_ask(&idle, GET).status, 200);

    stream_resume(readers[READERS - 1].stream);
    assert_int_equal(client_wait(&readers[READERS - 1]).body_len, LARGE);
    for (unsigned i = 0; i < READERS; i++)
        client_close(&readers[i]);
    client_close(&idle);
    rig_close(&rig);
}

static void test_request_is_refused_when_what_runs_takes_all(void **state)
{
    static char body[512 * 1024];
    struct rig rig;
    struct client running, second;

    (void)state;
    rig_init(&rig);
    rig.limits.max_buffered_bytes = sizeof(body) / 2;
    rig_open(&rig);
    client_open(&running, &rig);
    client_send(&running, "POST /hold HTTP/1.1\r\nHost: x\r\n"
                          "Content-Length: 524288\r\n\r\n");
    client_send_bytes(&running, body, sizeof(body));
    wait_for(rig.loop, rig.n_held == 1);
    client_open(&second, &rig);
    assert_int_equal(client_ask(&second, GET).status, 503);
    client_wait_end(&second);
    assert_int_equal(stats(&rig)->refusals[HTTP_REFUSED_MEMORY], 1);

    rig_reply(&rig, 0, "done");
    assert_string_equal(client_wait(&running).body, "done");
    client_close(&second);
    open_asking(&second, &rig);
    client_close(&running);
    client_close(&second);
    rig_close(&rig);
}

static void test_body_is_refused_while_it_comes_when_there_is_no_room(void **st)
{
    static char body[512 * 1024];
    struct rig rig;
    struct client running, second;

    (void)st;
    rig_init(&rig);
    rig.limits.max_buffered_bytes = sizeof(body) / 2;
    rig_open(&rig);
    client_open(&second, &rig);
    client_send(&second, "POST / HTTP/1.1\r\nHost: x\r\n"
                         "Content-Length: 4\r\n\r\nbo");
    client_open(&running, &rig);
    client_send(&running, "POST /hold HTTP/1.1\r\nHost: x\r\n"
                          "Content-Length: 524288\r\n\r\n");
    client_send_bytes(&running, body, sizeof(body));
    wait_for(rig.loop, rig.n_held == 1);
    client_send(&second, "d");
    wait_for(rig.loop, second.has_ended);

    rig_reply(&rig, 0, "done");
    assert_string_equal(client_wait(&running).body, "done");
    client_close(&running);
    client_close(&second);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_longest_makes_room_for_one_more),
        cmocka_unit_test(test_head_that_drips_makes_room_for_one_more),
        cmocka_unit_test(test_new_one_makes_room_before_one_that_was_answered),
        cmocka_unit_test(test_who_is_being_answered_makes_no_room),
        cmocka_unit_test(test_last_descriptors_are_not_for_connections),
        cmocka_unit_test(test_slowest_reader_of_most_makes_room_for_replies),
        cmocka_unit_test(test_request_is_refused_when_what_runs_takes_all),
        cmocka_unit_test(
            test_body_is_refused_while_it_comes_when_there_is_no_room),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
