/*
 * test_stress.c - four threads post while a host steps, collects, cancels and
 * drains at any moment: each post that was taken is let go of once, and results
 * come in their order.  STRESS_ROUNDS (10) says how often; by thousands under
 * sanitizers it is a hunt for races.
 */
#include "embed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 10, STEPS = 60, KEYS = 40, CALLS = 8 };
enum { PAYLOAD_MAX = 3000, COLLECT_MAX = 32 };

static const char SCRIPT[] =
    "local tide = require 'tidepool'\n"
    "tide.handler('echo', function(call) return call.payload end)\n"
    "tide.handler('turn', function(call)\n"
    "  tide.sleep(0) return call.payload end)\n"
    "tide.handler('wait', function() tide.sleep(0.002) end)\n"
    "tide.handler('raise', function() error 'no luck' end)\n"
    "tide.handler('hang', function() tide.sleep(3600) end)\n";

static const char *const names[] = { "echo", "turn",  "echo", "turn",
                                     "wait", "raise", "none", "hang" };

struct host {
    tide_runtime *runtime;
    atomic_uint taken, freed;
    unsigned calls; /* that were begun, and those that have ended */
    unsigned replies, frees;
    unsigned seed;
};

struct poster {
    struct host *host;
    pthread_t thread;
    unsigned seed;
};

static unsigned number_below(unsigned *seed, unsigned bound)
{
    return (unsigned)rand_r(seed) % bound;
}

/* ---- the other threads */

static void on_free_post(void *ud)
{
    struct host *host = ud;

    atomic_fetch_add(&host->freed, 1);
}

static int post_one(struct host *host, unsigned *seed)
{
    static const char payload[PAYLOAD_MAX];
    tide_request request;
    int code;

    tide_request_init(&request);
    request.name = names[number_below(seed, 8)];
    request.payload = payload;
    request.len = number_below(seed, PAYLOAD_MAX);
    request.timeout_ms = number_below(seed, 4) * 5;
    if (strcmp(request.name, "hang") == 0)
        request.timeout_ms = 5;
    request.ud = host;
    request.free_ud = on_free_post;
    code = tide_post(host->runtime, number_below(seed, KEYS), &request);
    if (code == TIDE_OK)
        atomic_fetch_add(&host->taken, 1);
    return code;
}

/* Until the runtime is drained. */
static void *post_until_closed(void *ud)
{
    const struct timespec moment = { .tv_nsec = 50000 };
    struct poster *poster = ud;
    int code = TIDE_OK;

    while (code == TIDE_OK || code == TIDE_BUSY) {
        code = post_one(poster->host, &poster->seed);
        if (code == TIDE_BUSY)
            nanosleep(&moment, NULL);
    }
    return (void *)(intptr_t)code;
}

/* ---- the host's thread */

static void on_call_replied(void *ud, const tide_reply *reply)
{
    struct host *host = ud;

    (void)reply;
    host->replies++;
}

static void on_call_freed(void *ud)
{
    struct host *host = ud;

    host->frees++;
}

/* Some are cancelled at once, some later, some end before. */
static void call_and_cancel(struct host *host, uint64_t ids[CALLS])
{
    unsigned at = number_below(&host->seed, CALLS);
    tide_request request;

    if (ids[at] != 0)
        (void)tide_cancel(host->runtime, ids[at]);
    tide_request_init(&request);
    request.name = names[number_below(&host->seed, 8)];
    request.timeout_ms = 1 + number_below(&host->seed, 10);
    request.ud = host;
    request.free_ud = on_call_freed;
    assert_done(tide_call(host->runtime, &request, on_call_replied, &ids[at]));
    host->calls++;
    if (number_below(&host->seed, 4) == 0)
        assert_done(tide_cancel(host->runtime, ids[at]));
}

static void collect_some(struct host *host)
{
    tide_result results[COLLECT_MAX];
    size_t count = 0;

    assert_done(tide_collect(host->runtime, results,
                             number_below(&host->seed, COLLECT_MAX), &count));
    for (size_t i = 1; i < count; i++)
        assert_true(results[i - 1].key < results[i].key ||
                    (results[i - 1].key == results[i].key &&
                     results[i - 1].seq < results[i].seq));
}

static void turn(struct host *host, uint64_t ids[CALLS])
{
    unsigned what = number_below(&host->seed, 10);

    if (what < 3)
        call_and_cancel(host, ids);
    if (what < 8)
        collect_some(host);
    if (what == 9)
        wait_for_work(host->runtime);
    assert_done(tide_step(
        host->runtime, number_below(&host->seed, 500) * (uint64_t)1000, NULL));
}

static void run_round(unsigned seed)
{
    struct host host = { .seed = seed };
    struct poster posters[THREADS];
    uint64_t ids[CALLS] = { 0 };
    tide_options options;
    unsigned steps = 1 + number_below(&host.seed, STEPS);

    tide_options_init(&options);
    options.max_posts = 1 + number_below(&host.seed, 200);
    assert_done(tide_open(&host.runtime, &options));
    assert_done(tide_load(host.runtime, "stress.lua", SCRIPT));
    for (unsigned i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){ .host = &host, .seed = seed + i };
        assert_int_equal(pthread_create(&posters[i].thread, NULL,
                                        post_until_closed, &posters[i]),
                         0);
    }
    for (unsigned i = 0; i < steps; i++)
        turn(&host, ids);
    (void)tide_drain(host.runtime, number_below(&host.seed, 6));
    for (unsigned i = 0; i < THREADS; i++) {
        void *code = NULL;

        pthread_join(posters[i].thread, &code);
        assert_code((int)(intptr_t)code, TIDE_CLOSED);
    }
    collect_some(&host);
    assert_done(tide_close(host.runtime));

    assert_int_equal(host.freed, host.taken);
    assert_int_equal(host.replies, host.calls);
    assert_int_equal(host.frees, host.calls);
}

static void test_posts_of_four_threads_are_let_go_of_once(void **state)
{
    const char *given = getenv("STRESS_ROUNDS");
    unsigned rounds = given != NULL ? (unsigned)atoi(given) : ROUNDS;

    (void)state;
    for (unsigned round = 1; round <= rounds; round++)
        run_round(round * 7919);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posts_of_four_threads_are_let_go_of_once),
    };

    return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
