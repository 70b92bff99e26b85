/* test_step.c - a step keeps its budget and never waits. */
#include "embed.h"
#include "silent.h"

#include <stdio.h>
#include <stdlib.h>

enum { MS = 1000000, CALLS = 50 };

/* What a timeout, in ms, is on a machine so many times as slow. */
static int slowly(int ms)
{
    const char *slowness = getenv("TEST_SLOWNESS");

    return slowness != NULL ? ms * atoi(slowness) : ms;
}

/* Sets a time, in ms. */
static void set_time(tide_runtime *runtime, const char *key, int ms)
{
    char text[20];

    snprintf(text, sizeof(text), "%dms", slowly(ms));
    assert_done(tide_set(runtime, key, text));
}

/* Each takes 2 ms of the clock. */
static const char BUSY[] = "require('tidepool').handler('busy', function()\n"
                           "  local tide = require 'tidepool'\n"
                           "  local until_s = tide.now() + 0.002\n"
                           "  while tide.now() < until_s do end\n"
                           "end)\n";

static void begin_calls(tide_runtime *runtime, struct answer *answers)
{
    for (int i = 0; i < CALLS; i++) {
        tide_request request = request_for(&answers[i], "busy", NULL);

        assert_done(tide_call(runtime, &request, on_reply, NULL));
    }
}

static int count_done(const struct answer *answers)
{
    int count = 0;

    for (int i = 0; i < CALLS; i++)
        count += answers[i].count;
    return count;
}

static void test_a_step_stops_between_tasks_at_its_budget(void **state)
{
    tide_runtime *runtime = open_script(BUSY);
    struct answer answers[CALLS] = { { 0 } };
    tide_step_info info;
    int done;

    (void)state;
    begin_calls(runtime, answers);
    assert_int_equal(tide_next_timeout_ms(runtime), 0);
    assert_done(tide_step(runtime, 10 * MS, &info));
    done = count_done(answers);

    assert_in_range(done, 1, 6); /* 10 ms are over after the fifth */
    assert_int_equal(info.ready_left, CALLS - done);
    assert_true(info.used_ns >= 10 * MS);
    assert_true(info.oldest_ready_ns >= info.used_ns);
    assert_int_equal(tide_next_timeout_ms(runtime), 0);

    step_until(runtime, count_done(answers) == CALLS);
    assert_done(tide_close(runtime));
}

static void test_a_step_without_a_budget_runs_one_task(void **state)
{
    tide_runtime *runtime = open_script(BUSY);
    struct answer answers[CALLS] = { { 0 } };
    int steps = 0;

    (void)state;
    begin_calls(runtime, answers);
    while (count_done(answers) < CALLS) {
        int before = count_done(answers);

        assert_done(tide_step(runtime, 0, NULL));
        assert_int_equal(count_done(answers), before + 1);
        steps++;
    }

    assert_int_equal(steps, CALLS);
    assert_done(tide_close(runtime));
}

static void test_the_host_is_told_when_the_next_step_is_due(void **state)
{
    tide_runtime *runtime =
        open_script("local tide = require 'tidepool'\n"
                    "tide.handler('sleep', function() tide.sleep(30) end)");
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "sleep", NULL);
    tide_step_info info;

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_done(tide_step(runtime, 1000 * MS, &info));

    assert_in_range(tide_next_timeout_ms(runtime), 15000, 30100);
    assert_int_equal(info.ready_left, 0);
    assert_true(info.used_ns < 1000 * (uint64_t)MS);
    assert_done(tide_close(runtime));
}

static void set_url(tide_runtime *runtime, const char *key, const char *form,
                    const struct silent *server)
{
    char url[100];

    assert_non_null(server);
    snprintf(url, sizeof(url), form, silent_port(server));
    assert_done(tide_set(runtime, key, url));
}

/* A test by the CPU clock would not see a wait; this bound is far above what a
 * step takes and far below any timeout of ours. */
static void test_no_step_waits_for_a_server_that_is_silent(void **state)
{
    tide_runtime *runtime = open_runtime();
    struct answer answers[2] = { { 0 } };
    tide_request request = request_for(&answers[0], "ask", NULL);
    struct silent *server = silent_new(SILENT_ALWAYS, 0);

    (void)state;
    set_url(runtime, "database.postgres_url", "postgres://u@127.0.0.1:%d/d",
            server);
    set_url(runtime, "redis.url", "redis://127.0.0.1:%d", server);
    set_time(runtime, "database.pool.connect_timeout", 300);
    set_time(runtime, "database.pool.acquire_timeout", 1000);
    set_time(runtime, "redis.pool.connect_timeout", 300);
    set_time(runtime, "redis.pool.acquire_timeout", 1000);
    assert_done(tide_load(runtime, "ask.lua",
                          "local tide = require 'tidepool'\n"
                          "tide.handler('ask', function()\n"
                          "  return tide.postgres():one('SELECT 1') end)\n"
                          "tide.handler('get', function()\n"
                          "  return tide.redis():get('k') end)\n"));
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    request = request_for(&answers[1], "get", NULL);
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    while (answers[0].count == 0 || answers[1].count == 0) {
        tide_step_info info;

        wait_for_work(runtime);
        assert_done(tide_step(runtime, 1 * MS, &info));
        assert_true(info.used_ns < (uint64_t)slowly(200) * MS);
    }

    assert_true(answers[0].code != TIDE_OK && answers[1].code != TIDE_OK);
    assert_done(tide_close(runtime));
    silent_free(server);
}

/* libpq has to hash that often, for seconds: others are answered meanwhile. */
static void test_a_login_that_computes_for_long_holds_up_no_step(void **state)
{
    struct silent *server = silent_new(SILENT_LOGIN, 1000000 / slowly(1));
    tide_runtime *runtime = open_runtime();
    struct answer waits = { 0 }, other;
    tide_request request = request_for(&waits, "ask", NULL);
    int others = 0;

    (void)state;
    set_url(runtime, "database.postgres_url",
            "postgres://u:p@127.0.0.1:%d/d?sslmode=disable", server);
    assert_done(tide_set(runtime, "database.pool.max_connections", "1"));
    assert_done(tide_set(runtime, "database.pool.connect_timeout", "60s"));
    assert_done(tide_set(runtime, "database.pool.acquire_timeout", "60s"));
    assert_done(tide_load(runtime, "ask.lua",
                          "local tide = require 'tidepool'\n"
                          "tide.handler('ask', function()\n"
                          "  return tide.postgres():one('SELECT 1') end)\n"
                          "tide.handler('other', function()\n"
                          "  tide.sleep(0.001) end)\n"));
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    while (silent_count(server) == 0 && others < 100000) {
        ask(runtime, &other, "other", NULL);
        others += silent_asked(server);
    }

    assert_int_equal(silent_count(server), 1);
    assert_true(others > 20);
    assert_done(tide_close(runtime));
    silent_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_stops_between_tasks_at_its_budget),
        cmocka_unit_test(test_a_step_without_a_budget_runs_one_task),
        cmocka_unit_test(test_the_host_is_told_when_the_next_step_is_due),
        cmocka_unit_test(test_no_step_waits_for_a_server_that_is_silent),
        cmocka_unit_test(test_a_login_that_computes_for_long_holds_up_no_step),
    };

    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
