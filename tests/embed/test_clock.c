/* test_clock.c - time and randomness that are the host's. */
#include "embed.h"

#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

static const uint64_t SECOND = 1000000000;

static uint64_t tell_time(void *ud)
{
    return *(uint64_t *)ud;
}

static tide_runtime *open_by(uint64_t *clock_ns)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    tide_options_init(&options);
    options.write_log = show_log;
    options.now_ns = tell_time;
    options.now_ud = clock_ns;
    assert_done(tide_open(&runtime, &options));
    return runtime;
}

static void load(tide_runtime *runtime, const char *text)
{
    if (tide_load(runtime, "clock.lua", text) != TIDE_OK)
        fail_msg("%s", tide_last_error(runtime));
}

static void begin(tide_runtime *runtime, struct answer *answer,
                  const char *name, uint64_t timeout_ms)
{
    tide_request request = request_for(answer, name, NULL);

    request.timeout_ms = timeout_ms;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_done(tide_step(runtime, SECOND, NULL));
}

static void test_sleeps_and_timeouts_go_by_the_hosts_clock(void **state)
{
    uint64_t clock_ns = SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    struct answer sleeps = { 0 }, waits = { 0 };

    (void)state;
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('sleep', function()\n"
                  "  local from = tide.now() tide.sleep(3600)\n"
                  "  return ('%.3f'):format(tide.now() - from) end)\n"
                  "tide.handler('wait', function() tide.sleep(1e6) end)\n");
    begin(runtime, &sleeps, "sleep", 0);
    begin(runtime, &waits, "wait", 3000000);
    for (int i = 0; i < 20 && waits.count == 0; i++) {
        int left_ms = tide_next_timeout_ms(runtime);

        assert_in_range(left_ms, 1, 3000000);
        clock_ns += (uint64_t)left_ms * 1000000 - 1000;
        assert_done(tide_step(runtime, SECOND, NULL));
        assert_int_equal(waits.count, 0);
        clock_ns += 1000;
        assert_int_equal(tide_next_timeout_ms(runtime), 0);
        assert_done(tide_step(runtime, SECOND, NULL));
    }
    assert_int_equal(waits.count, 1);
    assert_code(waits.code, TIDE_TIMEOUT);
    assert_int_equal(clock_ns, 3001 * SECOND);
    assert_int_equal(sleeps.count, 0);
    assert_in_range(tide_next_timeout_ms(runtime), 1, 600000);

    clock_ns += 700 * SECOND; /* a leap, beyond it */
    assert_done(tide_step(runtime, SECOND, NULL));
    assert_int_equal(sleeps.count, 1);
    assert_string_equal(sleeps.payload, "3700.000");
    assert_done(tide_close(runtime));
}

static void test_timeouts_of_pools_go_by_the_hosts_clock(void **state)
{
    uint64_t clock_ns = 5 * SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    struct answer answer = { 0 };
    char url[100];
    int hole;

    (void)state;
    hole = open_black_hole(url, sizeof(url), "postgres://u@127.0.0.1:%d/d");
    assert_done(tide_set(runtime, "database.postgres_url", url));
    assert_done(tide_set(runtime, "database.pool.acquire_timeout", "20s"));
    assert_done(tide_set(runtime, "database.pool.connect_timeout", "40s"));
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('ask', function()\n"
                  "  return tide.postgres():one('SELECT 1') end)\n");
    begin(runtime, &answer, "ask", 0);
    for (int i = 0; i < 19; i++) {
        clock_ns += SECOND;
        assert_done(tide_step(runtime, SECOND, NULL));
        assert_int_equal(answer.count, 0);
    }
    clock_ns += SECOND + 1000;
    assert_done(tide_step(runtime, SECOND, NULL));

    assert_int_equal(answer.count, 1);
    assert_code(answer.code, TIDE_TIMEOUT);
    assert_done(tide_close(runtime));
    close(hole);
}

/* Alarms and pauses between connects, by a clock that stands still while nobody
 * is told, and leaves a moment for each connect to be refused. */
static void test_alarms_of_pools_go_by_the_hosts_clock(void **state)
{
    uint64_t clock_ns = SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    struct answer answer = { 0 };

    (void)state;
    assert_done(tide_set(runtime, "redis.url", "redis://127.0.0.1:1"));
    load(runtime, "local tide = require 'tidepool'\n"
                  "local told = 'nothing'\n"
                  "tide.on('pool_degraded', function(event)\n"
                  "  told = event.pool end)\n"
                  "tide.handler('told', function() return told end)\n"
                  "tide.handler('ask', function()\n"
                  "  tide.redis():get 'k' end)\n");
    ask(runtime, &answer, "ask", NULL);
    for (int i = 0; i < 20; i++)
        assert_done(tide_step(runtime, SECOND, NULL));
    ask(runtime, &answer, "told", NULL);
    assert_string_equal(answer.payload, "nothing");
    for (int i = 0; i < 600 && strcmp(answer.payload, "redis") != 0; i++) {
        clock_ns += SECOND / 10;
        ask(runtime, &answer, "told", NULL);
    }

    assert_string_equal(answer.payload, "redis");
    assert_done(tide_close(runtime));
}

static void test_the_timeout_of_a_post_goes_by_the_hosts_clock(void **state)
{
    uint64_t clock_ns = SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    tide_request request = request_for(NULL, "wait", NULL);
    tide_result result;
    size_t count = 0;

    (void)state;
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('wait', function() tide.sleep(1e6) end)\n");
    request.timeout_ms = 3600000;
    request.free_ud = NULL;
    assert_done(tide_post(runtime, 1, &request));
    assert_done(tide_step(runtime, SECOND, NULL));
    clock_ns += 3599 * SECOND;
    assert_done(tide_step(runtime, SECOND, NULL));
    assert_done(tide_collect(runtime, &result, 1, &count));
    assert_int_equal(count, 0);
    clock_ns += SECOND;
    assert_done(tide_step(runtime, SECOND, NULL));
    assert_done(tide_collect(runtime, &result, 1, &count));

    assert_int_equal(count, 1);
    assert_code(result.code, TIDE_TIMEOUT);
    assert_done(tide_close(runtime));
}

static void test_where_the_clock_goes_back_time_stands_still(void **state)
{
    uint64_t clock_ns = 100 * SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    struct answer answer = { 0 };

    (void)state;
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('sleep', function() tide.sleep(10) end)\n");
    begin(runtime, &answer, "sleep", 0);
    clock_ns = 50 * SECOND;
    assert_done(tide_step(runtime, SECOND, NULL));
    assert_int_equal(tide_next_timeout_ms(runtime), 10000);
    clock_ns = 109 * SECOND;
    assert_done(tide_step(runtime, SECOND, NULL));
    assert_int_equal(answer.count, 0);
    clock_ns = 110 * SECOND;
    assert_done(tide_step(runtime, SECOND, NULL));

    assert_int_equal(answer.count, 1);
    assert_done(tide_close(runtime));
}

/* Statements that wait for a silent server end by deadlines, which a clock that
 * stands still would never reach. */
static void test_drain_and_close_end_where_the_clock_stands_still(void **state)
{
    uint64_t clock_ns = SECOND;
    tide_runtime *runtime = open_by(&clock_ns);
    struct answer asks = { 0 }, sleeps = { 0 };
    char url[100];
    int hole;

    (void)state;
    hole = open_black_hole(url, sizeof(url), "redis://127.0.0.1:%d");
    assert_done(tide_set(runtime, "redis.url", url));
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('ask', function()\n"
                  "  return tide.redis():get('k') end)\n"
                  "tide.handler('sleep', function() tide.sleep(1e6) end)\n");
    begin(runtime, &asks, "ask", 0);
    begin(runtime, &sleeps, "sleep", 0);
    assert_code(tide_drain(runtime, 50), TIDE_TIMEOUT);
    assert_done(tide_close(runtime));

    assert_int_equal(asks.count, 1);
    assert_int_equal(sleeps.count, 1);
    assert_code(sleeps.code, TIDE_CANCELLED);
    close(hole);
}

static void
test_a_turn_of_the_hosts_loop_sees_that_its_clock_moved(void **state)
{
    uint64_t clock_ns = SECOND;
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "sleep", NULL);
    tide_options options;
    tide_runtime *runtime;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    tide_options_init(&options);
    options.uv_loop = &loop;
    options.now_ns = tell_time;
    options.now_ud = &clock_ns;
    assert_done(tide_open(&runtime, &options));
    load(runtime, "local tide = require 'tidepool'\n"
                  "tide.handler('sleep', function() tide.sleep(3600) end)\n");
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(answer.count, 0);
    clock_ns += 3600 * SECOND;
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);

    assert_int_equal(answer.count, 1);
    assert_done(tide_close(runtime));
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* By TEST_LONG=1 alone: it takes the minute that it is about. */
static void test_load_ends_where_the_clock_stands_still(void **state)
{
    uint64_t clock_ns = SECOND;
    tide_runtime *runtime = open_by(&clock_ns);

    (void)state;
    if (getenv("TEST_LONG") != NULL) {
        assert_code(
            tide_load(runtime, "wait.lua", "require'tidepool'.sleep(1)"),
            TIDE_SCRIPT);
        load(runtime, "");
    }
    assert_done(tide_close(runtime));
}

/* ---- the same again */

enum { CALLS = 50, TRANSCRIPT_MAX = 20000 };

struct dice {
    uint64_t state;
    int left; /* until they give nothing */
};

static int throw_dice(void *ud, void *out, size_t len)
{
    struct dice *dice = ud;

    if (dice->left-- == 0)
        return 1;
    for (size_t i = 0; i < len; i++) {
        dice->state = dice->state * 6364136223846793005ULL + 1;
        ((unsigned char *)out)[i] = (unsigned char)(dice->state >> 56);
    }
    return 0;
}

/* One after another, as they come to their end. */
struct transcript {
    char text[TRANSCRIPT_MAX];
    size_t len;
    int count;
};

static void write_down(void *ud, const tide_reply *reply)
{
    struct transcript *transcript = ud;

    assert_code(reply->code, TIDE_OK);
    transcript->len += (size_t)snprintf(
        transcript->text + transcript->len, TRANSCRIPT_MAX - transcript->len,
        "%.*s\n", (int)reply->len, (const char *)reply->payload);
    transcript->count++;
}

static tide_runtime *open_game(uint64_t *clock_ns, struct dice *dice)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    tide_options_init(&options);
    options.write_log = show_log;
    options.now_ns = tell_time;
    options.now_ud = clock_ns;
    options.random = throw_dice;
    options.random_ud = dice;
    assert_done(tide_open(&runtime, &options));
    load(runtime,
         "local tide = require 'tidepool'\n"
         "local memo = tide.memo { ttl = 5, load = function(key)\n"
         "  tide.sleep(0.1) return key .. math.random(1000) end }\n"
         "tide.handler('play', function(call)\n"
         "  tide.sleep(math.random() * 20)\n"
         "  local both = tide.all {\n"
         "    function() return memo:get('k' .. math.random(3)) end,\n"
         "    function() tide.sleep(math.random()) return tide.now() end }\n"
         "  return ('%s: %s %.9f'):format(call.payload, both[1], both[2])\n"
         "end)\n");
    return runtime;
}

static void play(struct transcript *transcript, uint64_t seed)
{
    struct dice dice = { .state = seed, .left = 1000 };
    uint64_t clock_ns = 0; /* from wherever */
    tide_runtime *runtime = open_game(&clock_ns, &dice);

    memset(transcript, 0, sizeof(*transcript));
    for (int i = 0; i < 10000 && transcript->count < CALLS; i++) {
        tide_request request = request_for(NULL, "play", "player");

        request.ud = transcript;
        request.free_ud = NULL;
        if (i < CALLS)
            assert_done(tide_call(runtime, &request, write_down, NULL));
        clock_ns += SECOND / 60;
        assert_done(tide_step(runtime, i % 2 == 0 ? 0 : UINT64_MAX, NULL));
    }
    assert_int_equal(transcript->count, CALLS);
    assert_done(tide_close(runtime));
}

static void test_the_same_clock_random_and_calls_do_the_same(void **state)
{
    static struct transcript first, again, other;

    (void)state;
    play(&first, 1);
    play(&again, 1);
    play(&other, 2);

    assert_string_equal(first.text, again.text);
    assert_string_not_equal(first.text, other.text);
}

static void test_open_says_so_when_there_is_nothing_random(void **state)
{
    struct dice dice = { .left = 0 };
    tide_options options;
    tide_runtime *runtime = NULL;

    (void)state;
    tide_options_init(&options);
    options.random = throw_dice;
    options.random_ud = &dice;
    assert_code(tide_open(&runtime, &options), TIDE_INTERNAL);
    assert_null(runtime);
}

static void test_two_runtimes_have_no_dice_in_common(void **state)
{
    static const char roll[] =
        "require'tidepool'.handler('roll', function()\n"
        "  return ('%.17g'):format(math.random()) end)\n";
    tide_runtime *runtimes[] = { open_script(roll), open_script(roll) };
    struct answer answers[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        ask(runtimes[i], &answers[i], "roll", NULL);
        assert_done(tide_close(runtimes[i]));
    }

    assert_string_not_equal(answers[0].payload, answers[1].payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleeps_and_timeouts_go_by_the_hosts_clock),
        cmocka_unit_test(test_timeouts_of_pools_go_by_the_hosts_clock),
        cmocka_unit_test(test_alarms_of_pools_go_by_the_hosts_clock),
        cmocka_unit_test(test_the_timeout_of_a_post_goes_by_the_hosts_clock),
        cmocka_unit_test(test_where_the_clock_goes_back_time_stands_still),
        cmocka_unit_test(test_drain_and_close_end_where_the_clock_stands_still),
        cmocka_unit_test(
            test_a_turn_of_the_hosts_loop_sees_that_its_clock_moved),
        cmocka_unit_test(test_load_ends_where_the_clock_stands_still),
        cmocka_unit_test(test_the_same_clock_random_and_calls_do_the_same),
        cmocka_unit_test(test_open_says_so_when_there_is_nothing_random),
        cmocka_unit_test(test_two_runtimes_have_no_dice_in_common),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
