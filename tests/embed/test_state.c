/* test_state.c - what one version of a script hands over to the next, and what
 * of it is left. */
#include "embed.h"

#define TIDE "local tide = require 'tidepool'\n"

/* Counts, and hands its count over. */
#define COUNTING                                                 \
    TIDE "local seen\n"                                          \
         "tide.on_load(function(state) seen = state or 0 end)\n" \
         "tide.on_unload(function() return seen end)\n"          \
         "tide.handler('count', function() seen = seen + 1 return seen end)\n"

static void assert_asks(tide_runtime *runtime, const char *name,
                        const char *reply)
{
    struct answer answer;

    ask(runtime, &answer, name, NULL);
    assert_string_equal(answer.error, "");
    assert_string_equal(answer.payload, reply);
}

static void assert_refused(tide_runtime *runtime, const char *script,
                           const char *says)
{
    assert_code(tide_reload(runtime, script), TIDE_SCRIPT);
    if (strstr(tide_last_error(runtime), says) == NULL)
        fail_msg("\"%s\" has no \"%s\"", tide_last_error(runtime), says);
}

static void test_state_goes_from_one_version_to_the_next(void **state)
{
    tide_runtime *runtime = open_script(COUNTING);

    (void)state;
    assert_asks(runtime, "count", "1");
    assert_asks(runtime, "count", "2");
    assert_done(tide_reload(runtime, COUNTING));
    assert_asks(runtime, "count", "3");
    assert_done(tide_reload(runtime, COUNTING "-- once more"));
    assert_asks(runtime, "count", "4");
    assert_done(tide_close(runtime));
}

static void test_state_is_a_copy_of_tables(void **state)
{
    tide_runtime *runtime = open_script(
        TIDE "tide.on_unload(function()\n"
             "  return { players = { { name = 'ada', hp = 7.5 } } } end)\n");

    (void)state;
    assert_done(tide_reload(runtime, TIDE
                            "local got\n"
                            "tide.on_load(function(state) got = state end)\n"
                            "tide.handler('got', function()\n"
                            "  local one = got.players[1]\n"
                            "  return one.name .. one.hp end)\n"));
    assert_asks(runtime, "got", "ada7.5");
    assert_done(tide_close(runtime));
}

static void test_an_app_that_is_not_served_hands_its_state_over(void **state)
{
    tide_runtime *runtime =
        open_script(TIDE "local app = tide.app()\n"
                         "app:on_unload(function() return 'of the app' end)\n"
                         "return app\n");

    (void)state;
    assert_done(tide_reload(
        runtime, TIDE "local got\n"
                      "tide.on_load(function(state) got = state end)\n"
                      "tide.handler('got', function() return got end)\n"));
    assert_asks(runtime, "got", "of the app");
    assert_done(tide_close(runtime));
}

static void test_a_version_that_refuses_the_state_changes_nothing(void **state)
{
    tide_runtime *runtime = open_script(COUNTING);

    (void)state;
    assert_asks(runtime, "count", "1");
    assert_refused(runtime,
                   TIDE "tide.spawn(function() while true do\n"
                        "  tide.sleep(0.001) end end)\n"
                        "tide.on_load(function(state)\n"
                        "  error('no use for ' .. state) end)\n",
                   "host.lua:5: no use for 1, in on_load");
    assert_refused(runtime,
                   TIDE "tide.on_load(function() assert(nil, 'x') end)",
                   "host.lua:2: x, in on_load");
    assert_asks(runtime, "count", "2");
    step_until(runtime, tide_next_timeout_ms(runtime) == -1);
    assert_done(tide_reload(runtime, COUNTING));
    assert_asks(runtime, "count", "3");
    assert_done(tide_close(runtime));
}

static void test_state_that_is_not_plain_or_too_large_is_told(void **state)
{
    static const struct {
        const char *script, *says;
    } wrong[] = {
        { TIDE "tide.on_unload(function() return { fn = print } end)",
          "host.lua:2: state.fn is a function: plain data expected, that is "
          "tables, texts, numbers and booleans, in on_unload" },
        { TIDE "tide.on_unload(function() return ('x'):rep(9e6) end)",
          "state is too large: at state there are more than 8 MiB" },
        { TIDE "tide.on_unload(function() error 'not now' end)",
          "host.lua:2: not now, in on_unload" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        tide_runtime *runtime = open_script(wrong[i].script);

        assert_refused(runtime, COUNTING, wrong[i].says);
        assert_done(tide_close(runtime));
    }
}

static void test_a_first_version_that_fails_may_be_loaded_again(void **state)
{
    tide_runtime *runtime = open_runtime();

    (void)state;
    assert_code(tide_load(runtime, "host.lua",
                          TIDE "tide.on_load(function(state)\n"
                               "  error(type(state)) end)\n"),
                TIDE_SCRIPT);
    assert_string_equal(tide_last_error(runtime),
                        "host.lua:3: nil, in on_load");
    assert_done(tide_load(runtime, "host.lua", COUNTING));
    assert_asks(runtime, "count", "1");
    assert_done(tide_close(runtime));
}

static void test_each_is_set_once(void **state)
{
    tide_runtime *runtime = open_script("");

    (void)state;
    assert_refused(runtime, TIDE "tide.on_load(print)\ntide.on_load(print)",
                   "host.lua:3: on_load is set already, at");
    assert_refused(runtime, TIDE "tide.on_unload(7)",
                   "host.lua:2: on_unload: function expected, got number");
    assert_refused(runtime,
                   TIDE "local app = tide.app()\n"
                        "app:on_load(function() end)\n"
                        "tide.on_load(function() end)\n"
                        "return app\n",
                   "host.lua:4: on_load is set already, at host.lua:3");
    assert_done(tide_close(runtime));
}

static void test_calls_go_to_the_old_version_while_state_is_taken(void **state)
{
    tide_runtime *runtime =
        open_script(TIDE "local n = 0\n"
                         "tide.handler('n', function() n = n + 1 end)\n"
                         "tide.on_unload(function() return n end)\n");
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "n", NULL);

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    assert_done(tide_reload(runtime,
                            TIDE "local given\n"
                                 "tide.sleep(0.01)\n"
                                 "tide.on_load(function(n) given = n end)\n"
                                 "tide.handler('n', function() return given "
                                 "end)\n"));
    assert_int_equal(answer.count, 1);
    assert_code(answer.code, TIDE_OK);
    assert_asks(runtime, "n", "1");
    assert_done(tide_close(runtime));
}

/* Each version holds 4 MB. */
static void test_versions_that_ended_leave_no_memory(void **state)
{
    static const char heavy[] = TIDE
        "local bulk = math.random() .. ('x'):rep(4e6)\n"
        "tide.on_load(function() return bulk end)\n"
        "tide.handler('size', function()\n"
        "  collectgarbage() collectgarbage()\n"
        "  return { n = #bulk > 4e6, kib = collectgarbage 'count' } end)\n";
    tide_runtime *runtime = open_runtime();
    struct answer answer;
    double kib = 0;

    (void)state;
    assert_done(tide_set(runtime, "script.trusted", "true"));
    assert_done(tide_load(runtime, "host.lua", heavy));
    for (int i = 0; i < 10; i++)
        assert_done(tide_reload(runtime, heavy));
    ask(runtime, &answer, "size", NULL);
    assert_code(answer.code, TIDE_OK);
    assert_non_null(strstr(answer.payload, "\"n\":true"));
    sscanf(strstr(answer.payload, "\"kib\":"), "\"kib\":%lf", &kib);

    assert_in_range((int)kib, 4000, 20000);
    assert_done(tide_close(runtime));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_goes_from_one_version_to_the_next),
        cmocka_unit_test(test_state_is_a_copy_of_tables),
        cmocka_unit_test(test_an_app_that_is_not_served_hands_its_state_over),
        cmocka_unit_test(test_a_version_that_refuses_the_state_changes_nothing),
        cmocka_unit_test(test_state_that_is_not_plain_or_too_large_is_told),
        cmocka_unit_test(test_a_first_version_that_fails_may_be_loaded_again),
        cmocka_unit_test(test_each_is_set_once),
        cmocka_unit_test(test_calls_go_to_the_old_version_while_state_is_taken),
        cmocka_unit_test(test_versions_that_ended_leave_no_memory),
    };

    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
