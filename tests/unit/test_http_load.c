/* test_http_load.c - load tests against a server on the same loop. */
#include "http_client.h"

#include "http/load.h"
#include "http/server.h"
#include "net/stream.h"
#include "oom.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>

static const char GET[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
static const char HOLD[] = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";
static const uint64_t MS = 1000000;

struct trial {
    struct load *load;
    struct load_options options;
    unsigned ends;
};

static void on_end(struct load *load, void *ud)
{
    struct trial *trial = ud;

    assert_ptr_equal(load, trial->load);
    trial->ends++;
}

/* Of the server at address, "127.0.0.1:8080". */
static void start(struct trial *trial, struct loop *loop, const char *address)
{
    char host[64];
    char *port;

    strcpy(host, address);
    port = strchr(host, ':');
    *port++ = '\0';
    trial->options.host = host;
    trial->options.port = port;
    if (trial->options.request == NULL)
        trial->options.request = GET;
    trial->options.request_len = strlen(trial->options.request);
    if (trial->options.timeout_ns == 0)
        trial->options.timeout_ns = PATIENCE_S * (uint64_t)1000 * MS;
    if (trial->options.duration_ns == 0)
        trial->options.duration_ns = PATIENCE_S * (uint64_t)1000 * MS;
    assert_ok(load_start(&trial->load, loop, &trial->options, on_end, trial));
    assert_int_equal(trial->ends, 0);
}

static const struct load_stats *finish(struct trial *trial, struct loop *loop)
{
    wait_for(loop, trial->ends > 0);
    return load_stats(trial->load);
}

static void drop(struct trial *trial)
{
    assert_int_equal(trial->ends, 1);
    load_free(trial->load);
}

/* Begins to load a server of our own. */
static void open_rig(struct rig *rig, struct trial *trial)
{
    rig_init(rig);
    rig_open(rig);
    start(trial, rig->loop, http_server_address(rig->server));
}

/* Answers those that were held in vain, as a handler does in the end. */
static void close_rig(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n_held; i++)
        rig_reply(rig, i, "late");
    rig_close(rig);
}

static uint64_t errors_of(const struct load_stats *stats)
{
    uint64_t sum = 0;

    for (int i = 0; i < LOAD_ERRORS; i++)
        sum += stats->errors[i];
    return sum;
}

static void test_sends_as_many_as_it_may(void **state)
{
    struct trial trial = { .options.connections = 3,
                           .options.max_requests = 100 };
    const struct load_stats *stats;
    struct rig rig;

    (void)state;
    open_rig(&rig, &trial);
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->sent, 100);
    assert_int_equal(stats->answered, 100);
    assert_int_equal(stats->by_status[200], 100);
    assert_int_equal(stats->latency.count, 100);
    assert_int_equal(stats->connects, 3);
    assert_int_equal(stats->peak_in_flight, 3);
    assert_int_equal(stats->bytes_out, 100 * strlen(GET));
    assert_int_equal(errors_of(stats), 0);
    drop(&trial);
    rig_close(&rig);
}

static void test_connects_again_when_replies_end_the_connection(void **state)
{
    struct trial trial = {
        .options.connections = 1,
        .options.max_requests = 5,
        .options.keeps_body = true,
        .options.request =
            "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    };
    const struct load_stats *stats;
    struct rig rig;

    (void)state;
    open_rig(&rig, &trial);
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->answered, 5);
    assert_int_equal(stats->connects, 5);
    assert_buf(&stats->body, "GET /a"); /* the last one's */
    assert_int_equal(errors_of(stats), 0);
    drop(&trial);
    rig_close(&rig);
}

/* One connection, a request due each 10 ms, the first held for 100 ms: those
 * that stood behind it waited, though each was answered at once when sent. */
static void test_open_loop_counts_from_when_requests_were_due(void **state)
{
    struct trial trial = {
        .options.connections = 1,
        .options.rate = 100,
        .options.max_requests = 5,
        .options.request = HOLD,
    };
    const struct load_stats *stats;
    struct rig rig;
    uint64_t until;

    (void)state;
    open_rig(&rig, &trial);
    wait_for(rig.loop, rig.n_held == 1);
    until = loop_now_ns(rig.loop) + 100 * MS;
    wait_for(rig.loop, loop_now_ns(rig.loop) >= until);
    for (unsigned i = 0; i < 5; i++) {
        wait_for(rig.loop, rig.n_held == i + 1);
        rig_reply(&rig, i, "x");
    }
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->answered, 5);
    assert_in_range(stats->late, 4, 5); /* the first may be, of itself */
    assert_int_equal(stats->unsent, 0);
    /* The last was due 40 ms after the first, so it waited 60 ms. */
    assert_true(hist_quantile(&stats->latency, 0) >= 50 * MS);
    assert_true(hist_quantile(&stats->service, 0.2) < 50 * MS);
    drop(&trial);
    rig_close(&rig);
}

static void test_requests_that_were_never_sent_are_counted(void **state)
{
    struct trial trial = {
        .options.connections = 1,
        .options.rate = 1000,
        .options.duration_ns = 50 * MS,
        .options.timeout_ns = 200 * MS,
        .options.request = HOLD,
    };
    const struct load_stats *stats;
    struct rig rig;

    (void)state;
    open_rig(&rig, &trial);
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->sent, 1);
    assert_int_equal(stats->unsent, 49);
    assert_int_equal(stats->errors[LOAD_TIMEOUT], 1);
    assert_int_equal(stats->latency.count, 0);
    drop(&trial);
    close_rig(&rig);
}

static void test_a_stop_ends_it_at_once(void **state)
{
    struct trial trial = {
        .options.connections = 2,
        .options.request = HOLD,
    };
    const struct load_stats *stats;
    struct rig rig;

    (void)state;
    open_rig(&rig, &trial);
    wait_for(rig.loop, rig.n_held == 2);
    load_stop(trial.load);
    assert_int_equal(trial.ends, 0);
    stats = finish(&trial, rig.loop);
    load_stop(trial.load); /* does nothing now */

    assert_int_equal(stats->abandoned, 2);
    assert_int_equal(errors_of(stats), 0);
    drop(&trial);
    close_rig(&rig);
}

static void test_can_be_freed_in_the_middle(void **state)
{
    struct trial trial = {
        .options.connections = 2,
        .options.rate = 10,
        .options.request = HOLD,
    };
    struct rig rig;

    (void)state;
    open_rig(&rig, &trial);
    wait_for(rig.loop, rig.n_held == 1);
    load_free(trial.load);
    assert_int_equal(trial.ends, 0);
    close_rig(&rig);
}

/* ---- servers that do worse */

/* Sends reply to whoever sends anything, and ends. */
struct liar {
    struct loop *loop;
    struct listener *listener;
    const char *reply;
};

static void on_liar_data(struct stream *stream, void *ud)
{
    struct liar *liar = ud;

    buf_consume(stream_in(stream), stream_in(stream)->len);
    if (liar->reply == NULL) {
        stream_close(stream);
        return;
    }
    buf_put_str(stream_out(stream), liar->reply);
    stream_flush(stream);
}

static void on_liar_end(struct stream *stream, const struct err_text *text,
                        void *ud)
{
    (void)text;
    (void)ud;
    stream_close(stream);
}

static const struct stream_events liar_events = { .on_data = on_liar_data,
                                                  .on_end = on_liar_end };

static void on_liar_accept(struct listener *listener, struct stream *stream,
                           void *ud)
{
    (void)listener;
    stream_set_events(stream, &liar_events, ud);
}

/* Loads a server that answers so, or ends without an answer: one request. */
static void check_error(const char *reply, enum load_error expected)
{
    struct trial trial = { .options.connections = 1,
                           .options.max_requests = 1 };
    struct liar liar = { .loop = make_loop(), .reply = reply };
    struct err_text why;
    const struct load_stats *stats;

    assert_ok(listener_open(&liar.listener, liar.loop, "127.0.0.1:0",
                            on_liar_accept, &liar, &why));
    start(&trial, liar.loop, listener_address(liar.listener));
    stats = finish(&trial, liar.loop);

    assert_int_equal(stats->sent, 1);
    assert_int_equal(stats->answered, 0);
    assert_int_equal(stats->errors[expected], 1);
    assert_int_equal(errors_of(stats), 1);
    assert_string_not_equal(stats->why.text, "");
    drop(&trial);
    listener_close(liar.listener);
    drop_loop(liar.loop);
}

static void test_errors_are_counted_by_kind(void **state)
{
    (void)state;
    check_error("hello\r\n", LOAD_BAD_REPLY);
    check_error("HTTP/1.1 204 No Content\r\n\r\nmore", LOAD_BAD_REPLY);
    check_error(NULL, LOAD_CLOSED);
}

/* At a rate, too: 0 is none. */
static void check_nobody_listens(double rate)
{
    struct trial trial = { .options.connections = 2, .options.rate = rate };
    struct loop *loop = make_loop();
    const struct load_stats *stats;

    start(&trial, loop, "127.0.0.1:1");
    stats = finish(&trial, loop);

    assert_int_equal(stats->sent, 0);
    assert_int_equal(stats->errors[LOAD_CONNECT], 2);
    drop(&trial);
    drop_loop(loop);
}

static void test_ends_at_once_where_nobody_listens(void **state)
{
    (void)state;
    check_nobody_listens(0);
    check_nobody_listens(100);
}

/* Instead of libc's, also for libuv: "two.example" has 127.0.0.2, and then
 * 127.0.0.1. */
__attribute__((visibility("default"))) int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **found)
{
    int (*resolve)(const char *, const char *, const struct addrinfo *,
                   struct addrinfo **);
    int status;

    *(void **)&resolve = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node == NULL || strcmp(node, "two.example") != 0 ||
        (hints->ai_flags & AI_NUMERICHOST) != 0)
        return resolve(node, service, hints, found);
    status = resolve("127.0.0.2", service, hints, found);
    if (status == 0)
        status = resolve("127.0.0.1", service, hints, &(*found)->ai_next);
    return status;
}

static void test_all_addresses_of_a_name_are_tried(void **state)
{
    struct trial trial = { .options.connections = 3,
                           .options.max_requests = 10 };
    const struct load_stats *stats;
    char address[64] = "two.example";
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig_open(&rig);
    strcat(address, strchr(http_server_address(rig.server), ':'));
    start(&trial, rig.loop, address);
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->answered, 10);
    assert_int_equal(stats->connects, 3);
    assert_int_equal(errors_of(stats), 0);
    drop(&trial);
    rig_close(&rig);

    memset(&trial, 0, sizeof(trial));
    trial.options.connections = 2;
    rig_init(&rig);
    start(&trial, rig.loop, "two.example:1");
    stats = finish(&trial, rig.loop);

    assert_int_equal(stats->errors[LOAD_CONNECT], 2);
    assert_int_equal(errors_of(stats), 2);
    drop(&trial);
    drop_loop(rig.loop);
}

static void test_start_fails_cleanly_without_memory(void **state)
{
    struct load_options options = { .host = "127.0.0.1",
                                    .port = "1",
                                    .request = GET,
                                    .request_len = strlen(GET),
                                    .connections = 2,
                                    .rate = 1,
                                    .duration_ns = MS,
                                    .timeout_ns = MS };
    struct loop *loop = make_loop();
    struct load *load;
    enum err err;
    unsigned n;

    (void)state;
    for (n = 1;; n++) {
        oom_fail_at(n);
        err = load_start(&load, loop, &options, on_end, NULL);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
    assert_true(n > 5);
    load_free(load);
    drop_loop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sends_as_many_as_it_may),
        cmocka_unit_test(test_connects_again_when_replies_end_the_connection),
        cmocka_unit_test(test_open_loop_counts_from_when_requests_were_due),
        cmocka_unit_test(test_requests_that_were_never_sent_are_counted),
        cmocka_unit_test(test_a_stop_ends_it_at_once),
        cmocka_unit_test(test_can_be_freed_in_the_middle),
        cmocka_unit_test(test_errors_are_counted_by_kind),
        cmocka_unit_test(test_ends_at_once_where_nobody_listens),
        cmocka_unit_test(test_all_addresses_of_a_name_are_tried),
        cmocka_unit_test(test_start_fails_cleanly_without_memory),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
