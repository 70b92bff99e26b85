/* test_script.c - settings, scripts and their next versions, calls of handlers.
 */
#include "embed.h"

#include <stdlib.h>
#include <unistd.h>

static const char SCRIPT[] =
    "local tide = require 'tidepool'\n"
    "tide.handler('echo', function(call) return call.payload end)\n"
    "tide.handler('sum', function(call)\n"
    "  local given, err = call:json()\n"
    "  if err then return nil, err end\n"
    "  return { sum = given.a + given.b, name = call.name }\n"
    "end)\n"
    "tide.handler('nothing', function() end)\n"
    "tide.handler('type', type)\n" /* of no script */
    "tide.handler('raise', function() error 'no luck' end)\n"
    "tide.handler('wait', function() tide.sleep(3600) end)\n"
    "tide.handler('stubborn', function()\n"
    "  pcall(tide.sleep, 3600) return 'later' end)\n"
    "tide.handler('spin', function() while true do end end)\n"
    "tide.handler('version', function() tide.sleep(0.05) return 'one' end)\n";

static void test_a_handler_replies_with_bytes_and_json(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer answer;

    (void)state;
    ask(runtime, &answer, "echo", "a\nb");
    assert_code(answer.code, TIDE_OK);
    assert_string_equal(answer.payload, "a\nb");
    ask(runtime, &answer, "echo", NULL);
    assert_string_equal(answer.payload, "");
    ask(runtime, &answer, "sum", "{\"a\":1,\"b\":2}");
    assert_non_null(strstr(answer.payload, "\"sum\":3"));
    assert_non_null(strstr(answer.payload, "\"name\":\"sum\""));
    ask(runtime, &answer, "type", NULL);
    assert_string_equal(answer.payload, "table");
    ask(runtime, &answer, "nothing", "x");
    assert_code(answer.code, TIDE_OK);
    assert_string_equal(answer.payload, "");

    assert_done(tide_close(runtime));
}

static void test_a_failure_has_a_code_and_a_sentence(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer answer;

    (void)state;
    ask(runtime, &answer, "sum", "{");
    assert_code(answer.code, TIDE_BADARG);
    assert_non_null(strstr(answer.error, "bad JSON"));
    ask(runtime, &answer, "raise", NULL);
    assert_code(answer.code, TIDE_SCRIPT);
    assert_string_equal(answer.error, "host.lua:10: no luck");
    ask(runtime, &answer, "ecko", NULL);
    assert_code(answer.code, TIDE_BADARG);
    assert_non_null(
        strstr(answer.error, "no handler \"ecko\"; there are \"echo\""));

    assert_done(tide_close(runtime));
}

static void test_a_call_ends_at_its_timeout(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer late = { 0 }, stubborn = { 0 };
    tide_request request = request_for(&late, "wait", NULL);

    (void)state;
    request.timeout_ms = 20;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    request = request_for(&stubborn, "stubborn", NULL);
    request.timeout_ms = 20;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    step_until(runtime, late.count > 0 && stubborn.count > 0);

    assert_code(late.code, TIDE_TIMEOUT);
    assert_string_equal(late.error, "the reply did not come within timeout_ms");
    assert_code(stubborn.code, TIDE_OK);
    assert_string_equal(stubborn.payload, "later");
    assert_done(tide_close(runtime));
}

static void test_a_call_is_cancelled_once(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "wait", NULL);
    uint64_t id = 0;

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, &id));
    assert_done(tide_step(runtime, 1000000, NULL));
    assert_done(tide_cancel(runtime, id));
    assert_int_equal(answer.count, 0);
    step_until(runtime, answer.count > 0);

    assert_code(answer.code, TIDE_CANCELLED);
    assert_code(tide_cancel(runtime, id), TIDE_BADARG);
    assert_done(tide_close(runtime));
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.freed, 1);
}

static void test_close_ends_calls_and_drain_waits_for_them(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer waits = { 0 }, ends = { 0 };
    tide_request request = request_for(&ends, "version", NULL);

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    request = request_for(&waits, "wait", NULL);
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_code(tide_drain(runtime, 300), TIDE_TIMEOUT);
    assert_int_equal(ends.count, 1);
    assert_int_equal(waits.count, 0);
    assert_code(tide_call(runtime, &request, on_reply, NULL), TIDE_CLOSED);
    assert_done(tide_close(runtime));

    assert_int_equal(waits.count, 1);
    assert_int_equal(waits.freed, 1);
    assert_code(waits.code, TIDE_CANCELLED);
}

/* A write-behind whose server is not there. */
static const char PUT[] =
    "local tide = require 'tidepool'\n"
    "local wb = assert(tide.writebehind { db = tide.postgres(),\n"
    "  table = 'states', flush = 60 })\n"
    "tide.handler('put', function() assert(wb:put('a', 1)) end)\n";

static void test_drain_says_what_write_behinds_could_not_store(void **state)
{
    tide_runtime *runtime = open_runtime();
    struct answer answer;

    (void)state;
    assert_done(tide_set(runtime, "database.postgres_url",
                         "postgres://u@/d?host=/nonexistent"));
    assert_done(tide_load(runtime, "put.lua", PUT));
    ask(runtime, &answer, "put", NULL);
    assert_code(answer.code, TIDE_OK);

    assert_code(tide_drain(runtime, 100), TIDE_TIMEOUT);
    assert_string_equal(tide_last_error(runtime),
                        "1 changes of write-behinds are not stored");
    assert_done(tide_close(runtime));
}

static void on_reply_try_all(void *ud, const tide_reply *reply)
{
    tide_runtime *runtime = *(tide_runtime **)ud;
    struct answer *answer = (struct answer *)((tide_runtime **)ud + 1);
    tide_request request = request_for(answer, "echo", "inner");

    assert_code(reply->code, TIDE_OK);
    assert_code(tide_step(runtime, 0, NULL), TIDE_MISUSED);
    assert_code(tide_reload(runtime, NULL), TIDE_MISUSED);
    assert_code(tide_close(runtime), TIDE_MISUSED);
    assert_done(tide_call(runtime, &request, on_reply, NULL));
}

static void test_a_callback_may_call_but_not_turn_the_loop(void **state)
{
    struct {
        tide_runtime *runtime;
        struct answer answer;
    } all = { open_script(SCRIPT), { 0 } };
    tide_request request = request_for(NULL, "echo", "outer");

    (void)state;
    request.ud = &all;
    request.free_ud = NULL;
    assert_done(tide_call(all.runtime, &request, on_reply_try_all, NULL));
    step_until(all.runtime, all.answer.count > 0);

    assert_string_equal(all.answer.payload, "inner");
    assert_done(tide_close(all.runtime));
}

static void test_settings_are_checked_one_by_one(void **state)
{
    static const struct {
        const char *key, *value, *says;
    } wrong[] = {
        { "database.pool.max_conections", "3", "unknown key" },
        { "database.pool.max_connections", "many", "expected a whole number" },
        { "server.listen", "127.0.0.1:80", "has settings of database" },
        { "redis.url", " ", "expected a url" },
    };
    tide_runtime *runtime = open_runtime();

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_code(tide_set(runtime, wrong[i].key, wrong[i].value),
                    TIDE_BADARG);
        assert_non_null(strstr(tide_last_error(runtime), wrong[i].key));
        assert_non_null(strstr(tide_last_error(runtime), wrong[i].says));
    }
    assert_done(tide_set(runtime, "database.pool.min_connections", "50"));
    assert_code(tide_load(runtime, "x.lua", ""), TIDE_SCRIPT);
    assert_non_null(strstr(tide_last_error(runtime), "max_connections"));
    assert_done(tide_set(runtime, "database.pool.max_connections", "60"));
    assert_done(tide_load(runtime, "x.lua", ""));
    assert_code(tide_set(runtime, "redis.url", "redis://h"), TIDE_MISUSED);
    assert_done(tide_close(runtime));
}

static void test_nothing_of_the_surroundings_counts(void **state)
{
    tide_runtime *runtime;

    (void)state;
    setenv("DATABASE_URL", "postgres://x@localhost/x", 1);
    runtime = open_runtime();
    assert_code(tide_load(runtime, "x.lua", "require'tidepool'.postgres()"),
                TIDE_SCRIPT);
    assert_non_null(strstr(tide_last_error(runtime), "x.lua:1: there is no"));
    assert_done(tide_close(runtime));
    unsetenv("DATABASE_URL");
}

static void test_a_sentence_is_of_the_last_call_that_failed(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_result result;
    size_t count;

    (void)state;
    assert_code(tide_collect(runtime, &result, 1, &count), TIDE_MISUSED);
    assert_string_equal(tide_last_error(runtime), "no script is loaded");
    assert_code(tide_cancel(runtime, 1), TIDE_BADARG);
    assert_string_equal(tide_last_error(runtime), "");
    assert_code(tide_load(runtime, NULL, SCRIPT), TIDE_BADARG);
    assert_string_equal(tide_last_error(runtime), "a path expected");
    assert_done(tide_close(runtime));
}

static void test_a_script_that_fails_may_be_loaded_again(void **state)
{
    tide_runtime *runtime = open_runtime();
    struct answer answer;
    tide_request request = request_for(&answer, "echo", NULL);

    (void)state;
    assert_code(tide_call(runtime, &request, on_reply, NULL), TIDE_MISUSED);
    assert_code(tide_load(runtime, "bad.lua", "local = 3"), TIDE_SCRIPT);
    assert_non_null(strstr(tide_last_error(runtime), "bad.lua:1:"));
    assert_code(tide_load(runtime, "bad.lua", "io.write 'x'"), TIDE_SCRIPT);
    assert_non_null(strstr(tide_last_error(runtime), "closed to this script"));
    assert_code(tide_load(runtime, "/nowhere/app.lua", NULL), TIDE_SCRIPT);
    assert_non_null(strstr(tide_last_error(runtime), "/nowhere/app.lua"));
    assert_done(tide_load(runtime, "host.lua", SCRIPT));
    assert_code(tide_load(runtime, "host.lua", SCRIPT), TIDE_SCRIPT);
    ask(runtime, &answer, "echo", "x");
    assert_string_equal(answer.payload, "x");
    assert_done(tide_close(runtime));
}

static void test_reload_replaces_handlers_and_lets_calls_finish(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer old = { 0 }, now;
    tide_request request = request_for(&old, "version", NULL);

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_done(tide_step(runtime, 1000000, NULL));
    assert_code(tide_reload(runtime, "error 'not yet'"), TIDE_SCRIPT);
    ask(runtime, &now, "echo", "still there");
    assert_string_equal(now.payload, "still there");
    assert_done(tide_reload(
        runtime, "require'tidepool'.handler('version', function() return "
                 "'two' end)"));
    ask(runtime, &now, "version", NULL);
    assert_string_equal(now.payload, "two");
    ask(runtime, &now, "echo", "x");
    assert_code(now.code, TIDE_BADARG);
    step_until(runtime, old.count > 0);
    assert_string_equal(old.payload, "one");
    assert_done(tide_close(runtime));
}

static void test_what_a_version_left_running_ends_after_its_calls(void **state)
{
    tide_runtime *runtime = open_script(
        "local tide, n = require 'tidepool', 0\n"
        "tide.handler('begin', function()\n"
        "  tide.spawn(function() while true do tide.sleep(0.01) end end)\n"
        "end)\n");
    struct answer answer;

    (void)state;
    ask(runtime, &answer, "begin", NULL);
    assert_true(tide_next_timeout_ms(runtime) >= 0);
    assert_done(tide_reload(runtime, ""));
    step_until(runtime, tide_next_timeout_ms(runtime) == -1);
    assert_done(tide_close(runtime));
}

/* The next version waits while it loads: others are answered meanwhile. */
static void test_a_reload_that_was_begun_goes_on_in_steps(void **state)
{
    static const char next[] = "local tide = require 'tidepool'\n"
                               "tide.sleep(0.1)\n"
                               "tide.handler('echo', function() return "
                               "'next' end)\n";
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer reload = { 0 }, other;
    int others = 0;

    (void)state;
    assert_done(tide_begin_reload(runtime, next, on_reply, &reload));
    assert_int_equal(reload.count, 0);
    while (reload.count == 0) {
        ask(runtime, &other, "echo", "before");
        others += strcmp(other.payload, "before") == 0;
        if (others == 1)
            assert_code(tide_reload(runtime, ""), TIDE_SCRIPT);
    }
    assert_true(others > 10);
    assert_code(reload.code, TIDE_OK);
    ask(runtime, &other, "echo", "after");
    assert_string_equal(other.payload, "next");

    memset(&reload, 0, sizeof(reload));
    assert_done(tide_begin_reload(runtime, "error 'bad'", on_reply, &reload));
    step_until(runtime, reload.count > 0);
    assert_code(reload.code, TIDE_SCRIPT);
    assert_non_null(strstr(reload.error, "bad"));
    ask(runtime, &other, "echo", "after");
    assert_string_equal(other.payload, "next");
    assert_done(tide_close(runtime));
}

/* It is compiled on a thread, as it says nowhere. */
static void
test_a_next_version_that_is_no_lua_is_told_with_its_line(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer reload = { 0 }, other;

    (void)state;
    assert_done(tide_begin_reload(runtime, "local a = 1\nlocal b = = 2",
                                  on_reply, &reload));
    step_until(runtime, reload.count > 0);
    assert_code(reload.code, TIDE_SCRIPT);
    assert_non_null(strstr(reload.error, ":2: unexpected symbol near '='"));
    memset(&reload, 0, sizeof(reload));
    assert_done(tide_begin_reload(runtime, "\x1bLJ\x02", on_reply, &reload));
    step_until(runtime, reload.count > 0);
    assert_code(reload.code, TIDE_SCRIPT);
    assert_non_null(strstr(reload.error, "attempt to load chunk with wrong"));

    ask(runtime, &other, "echo", "still");
    assert_string_equal(other.payload, "still");
    assert_done(tide_close(runtime));
}

static void test_close_ends_a_reload_that_is_compiled(void **state)
{
    enum { LINES = 20000, LINE_LEN = 12 };
    static char text[LINES * LINE_LEN + 1];
    struct answer reload = { 0 };

    (void)state;
    for (int i = 0; i < LINES; i++)
        memcpy(text + (size_t)i * LINE_LEN, "x = 1     ;\n", LINE_LEN);
    for (int steps = 0; steps < 6; steps++) {
        tide_runtime *runtime = open_script(SCRIPT);

        memset(&reload, 0, sizeof(reload));
        assert_done(tide_begin_reload(runtime, text, on_reply, &reload));
        for (int i = 0; i < steps; i++)
            assert_done(tide_step(runtime, 0, NULL));
        assert_done(tide_close(runtime));
        assert_int_equal(reload.count, 1);
        assert_true(reload.code != TIDE_OK);
    }
}

static void test_close_ends_a_reload_that_was_begun(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct answer reload = { 0 };

    (void)state;
    assert_done(tide_begin_reload(runtime, "require'tidepool'.sleep(3600)",
                                  on_reply, &reload));
    assert_done(tide_step(runtime, 1000000, NULL));
    assert_done(tide_close(runtime));

    assert_int_equal(reload.count, 1);
    assert_true(reload.code != TIDE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handler_replies_with_bytes_and_json),
        cmocka_unit_test(test_a_failure_has_a_code_and_a_sentence),
        cmocka_unit_test(test_a_call_ends_at_its_timeout),
        cmocka_unit_test(test_a_call_is_cancelled_once),
        cmocka_unit_test(test_close_ends_calls_and_drain_waits_for_them),
        cmocka_unit_test(test_drain_says_what_write_behinds_could_not_store),
        cmocka_unit_test(test_a_callback_may_call_but_not_turn_the_loop),
        cmocka_unit_test(test_settings_are_checked_one_by_one),
        cmocka_unit_test(test_nothing_of_the_surroundings_counts),
        cmocka_unit_test(test_a_sentence_is_of_the_last_call_that_failed),
        cmocka_unit_test(test_a_script_that_fails_may_be_loaded_again),
        cmocka_unit_test(test_reload_replaces_handlers_and_lets_calls_finish),
        cmocka_unit_test(test_what_a_version_left_running_ends_after_its_calls),
        cmocka_unit_test(test_a_reload_that_was_begun_goes_on_in_steps),
        cmocka_unit_test(
            test_a_next_version_that_is_no_lua_is_told_with_its_line),
        cmocka_unit_test(test_close_ends_a_reload_that_is_compiled),
        cmocka_unit_test(test_close_ends_a_reload_that_was_begun),
    };

    return cmocka_run_group_tests_name("script", tests, NULL, NULL);
}
