/* test_policy_host.c - policies in their own state: what they may, and what
 * becomes of those that do what they may not. */
#include "unit.h"

#include "policy/host.h"

#include <math.h>
#include <stdio.h>

static const struct policy_time noon = { .now_ns = 5000000000,
                                         .day = 43200,
                                         .weekday = 3 };

static enum err make(struct policy_host **host, const char *text,
                     struct err_text *why)
{
    struct policy_source source = {
        .name = "mine.lua",
        .text = text,
        .len = strlen(text),
        .cores = 4,
        .seed = 7,
        .budget = 100000,
    };

    return policy_host_new(host, &source, why);
}

static struct snapshot snap_of(const char *name)
{
    struct snapshot snap = { .name = name, .kind = "postgres" };

    pool_settings_init(&snap.settings, 4);
    snap.server.max_connections = 100;
    snap.server.connections = NAN;
    snap.wait.p99 = 0.25;
    snap.states[CONN_LEASED] = 3;
    snap.is_down = 1;
    return snap;
}

static size_t place(const char *setting)
{
    return (size_t)(pool_setting_find(setting) - pool_setting_table);
}

/* What the policy says of a pool "main". */
static enum err ask(struct policy_host *host, struct policy_wish *wish,
                    struct err_text *why)
{
    struct snapshot snap = snap_of("main");

    assert_ok(policy_host_show(host, &snap, 1, &noon, why));
    return policy_host_decide(host, "main", wish, why);
}

static enum err ask_once(const char *text, struct policy_wish *wish,
                         struct err_text *why)
{
    struct policy_host *host;
    enum err err;

    assert_ok(make(&host, text, why));
    err = ask(host, wish, why);
    policy_host_free(host);
    return err;
}

static void test_policy_gives_settings_and_a_reason(void **state)
{
    struct policy_wish wish;
    struct err_text why = { .text = "" };

    (void)state;
    assert_ok(ask_once("return { decide = function(pool, ctx)\n"
                       "  return { max_connections = ctx.cores * 2 + 1.2,\n"
                       "    acquire_timeout = pool.wait.p99 },\n"
                       "    ('%s at %d'):format(pool.name, ctx.now)\n"
                       "end }",
                       &wish, &why));
    assert_true(wish.is_set[place("max_connections")]);
    assert_true(wish.values[place("max_connections")] == 9); /* whole */
    assert_true(wish.values[place("acquire_timeout")] == 0.25);
    assert_false(wish.is_set[place("min_connections")]);
    assert_string_equal(wish.reason, "main at 5");
}

static void test_policy_sees_the_pool_and_the_clock(void **state)
{
    struct policy_wish wish;
    struct err_text why = { .text = "" };

    (void)state;
    assert_ok(
        ask_once("return { decide = function(pool, ctx)\n"
                 "  assert(pool.kind == 'postgres' and pool.leased == 3)\n"
                 "  assert(pool.is_down == true and pool.is_paused == false)\n"
                 "  assert(pool.settings.max_connections == 9)\n"
                 "  assert(pool.settings.test_before_acquire == true)\n"
                 "  assert(pool.server.max_connections == 100)\n"
                 "  assert(pool.server.connections == nil)\n"
                 "  assert(pool.errors.timeout == 0)\n"
                 "  assert(ctx.pools.main == pool)\n"
                 "  assert(ctx.day == 43200 and ctx.weekday == 3)\n"
                 "end }",
                 &wish, &why));
    assert_string_equal(why.text, "");
    assert_string_equal(wish.reason, "");
}

static void test_state_stays_and_random_is_seeded(void **state)
{
    const char *text = "return { decide = function(pool, ctx)\n"
                       "  ctx.state.n = (ctx.state.n or 0) + 1\n"
                       "  return { max_connections = ctx.state.n },\n"
                       "    ('%.9f'):format(ctx.random())\n"
                       "end }";
    struct policy_host *hosts[2];
    struct policy_wish wishes[2];
    struct err_text why = { .text = "" };

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_ok(make(&hosts[i], text, &why));
    for (int turn = 1; turn <= 3; turn++) {
        for (int i = 0; i < 2; i++)
            assert_ok(ask(hosts[i], &wishes[i], &why));
        assert_string_equal(wishes[0].reason, wishes[1].reason);
        assert_true(wishes[0].values[place("max_connections")] == turn);
    }
    for (int i = 0; i < 2; i++)
        policy_host_free(hosts[i]);
}

static void test_options_are_the_operators(void **state)
{
    const char *text = "return { every = 0.5, options = { a = 1, b = 'x' },\n"
                       "  decide = function(pool, ctx)\n"
                       "    return { max_connections = ctx.options.a },\n"
                       "      ctx.options.b\n"
                       "  end }";
    struct policy_option options[] = { { "a", NULL, 12 }, { "c", NULL, 1 } };
    struct policy_source source = { .name = "mine.lua",
                                    .text = text,
                                    .len = strlen(text),
                                    .options = options,
                                    .n_options = 1 };
    struct policy_host *host;
    struct policy_wish wish;
    struct err_text why = { .text = "" };

    (void)state;
    assert_ok(policy_host_new(&host, &source, &why));
    assert_int_equal(policy_host_every_ns(host), 500000000);
    assert_ok(ask(host, &wish, &why));
    assert_true(wish.values[place("max_connections")] == 12);
    assert_string_equal(wish.reason, "x");
    policy_host_free(host);
    source.n_options = 2;
    assert_err(policy_host_new(&host, &source, &why), ERR_BADARG);
    assert_string_equal(why.text, "mine.lua has no option c");
    options[0].text = "soon";
    assert_err(policy_host_new(&host, &source, &why), ERR_BADARG);
    assert_string_equal(why.text, "option a of mine.lua: a number or a time "
                                  "expected, got soon");
}

static void test_what_is_no_policy_is_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        { "return 7", "mine.lua: a policy gives a table, this gave number" },
        { "return {}", "mine.lua: decide: function expected, got nil" },
        { "return { every = 0, decide = print }", "decide: function expected" },
        { "return { every = 0, decide = type }", "every: seconds from" },
        { "return { options = 1, decide = type }", "options: table expected" },
        { "return { options = { type }, decide = type }", "options: names" },
        { "retrun {}", "mine.lua:1:" },
        { "error 'no'", "mine.lua:1: no" },
        { "\x1bLJ\x02", "attempt to load chunk with wrong mode" },
        { "while true do end", "more than 100000 instructions" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy_host *host;
        struct err_text why = { .text = "" };

        assert_true(make(&host, cases[i].text, &why) != ERR_OK);
        if (strstr(why.text, cases[i].words) == NULL)
            fail_msg("case %zu: \"%s\"", i, why.text);
    }
}

static void test_nonsense_is_refused(void **state)
{
    static const struct {
        const char *body, *words;
    } cases[] = {
        { "return 12", "decide gives a table of settings, or nothing" },
        { "return { size = 3 }, 'x'", "unknown setting: size" },
        { "return { 3 }, 'x'", "unknown setting: number" },
        { "return { max_connections = 'x' }, 'x'", "number expected" },
        { "return { max_connections = 0/0 }, 'x'", "finite number" },
        { "return { max_connections = 1/0 }, 'x'", "finite number" },
        { "return { test_before_acquire = 1 }, 'x'", "boolean expected" },
        { "return { max_connections = 3 }", "a reason expected" },
        { "return { max_connections = 3 }, ''", "a reason expected" },
        { "error {}", "it raised a table" },
        { "local x = pool.settings.a.b", "attempt to index" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        struct policy_wish wish;
        struct err_text why = { .text = "" };

        snprintf(text, sizeof(text),
                 "return { decide = function(pool) %s end }", cases[i].body);
        assert_err(ask_once(text, &wish, &why), ERR_BADARG);
        if (strstr(why.text, cases[i].words) == NULL)
            fail_msg("case %zu: \"%s\"", i, why.text);
        assert_false(wish.is_set[place("max_connections")]);
    }
}

static void test_budget_ends_what_does_not_end(void **state)
{
    static const char *const bodies[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return f() end f()",
        "local t = {} for i = 1, 1e9 do t[1] = i end",
        "for _ in function() return 1 end do end",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        char text[256];
        struct policy_host *host;
        struct policy_wish wish;
        struct err_text why = { .text = "" };

        snprintf(text, sizeof(text),
                 "local n = 0 return { decide = function() n = n + 1 "
                 "if n == 2 then return { lanes = 1 }, 'well' end %s end }",
                 bodies[i]);
        assert_ok(make(&host, text, &why));
        assert_err(ask(host, &wish, &why), ERR_TIMEOUT);
        assert_non_null(strstr(why.text, "more than 100000 instructions"));
        assert_ok(ask(host, &wish, &why)); /* it can be asked again */
        assert_string_equal(wish.reason, "well");
        policy_host_free(host);
    }
}

static void test_memory_has_a_limit(void **state)
{
    static const char *const bodies[] = {
        "local t = {} for i = 1, 1e9 do t[i] = { i } end",
        "local s = 'x' while true do s = s .. s end",
        "while true do pcall(function() local s = 'x' while true do "
        "s = s .. s end end) end",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        char text[256];
        struct policy_source source = { .name = "mine.lua",
                                        .text = text,
                                        .memory_bytes = 1 << 20,
                                        .budget = 20000000 };
        struct policy_host *host;
        struct policy_wish wish;
        struct err_text why = { .text = "" };
        enum err err;

        snprintf(text, sizeof(text), "return { decide = function() %s end }",
                 bodies[i]);
        source.len = strlen(text);
        assert_ok(policy_host_new(&host, &source, &why));
        err = ask(host, &wish, &why);
        assert_true(err == ERR_NOMEM || err == ERR_TIMEOUT);
        assert_true(i == 2 || strstr(why.text, "more than 1 MiB") != NULL);
        policy_host_free(host);
    }
}

static void test_deep_recursion_ends(void **state)
{
    struct policy_wish wish;
    struct err_text why = { .text = "" };

    (void)state;
    assert_err(ask_once("local function f() return 1 + f() end\n"
                        "return { decide = function() f() end }",
                        &wish, &why),
               ERR_BADARG);
    assert_non_null(strstr(why.text, "stack overflow"));
}

static void test_nothing_dangerous_is_there(void **state)
{
    static const char *const names[] = {
        "ffi",
        "io",
        "os",
        "debug",
        "jit",
        "package",
        "require",
        "load",
        "loadstring",
        "dofile",
        "loadfile",
        "getfenv",
        "setfenv",
        "newproxy",
        "collectgarbage",
        "coroutine",
        "setmetatable",
        "getmetatable",
        "rawset",
        "xpcall",
        "string.rep",
        "string.gsub",
        "string.match",
        "string.gmatch",
        "string.dump",
        "('').rep",
        "('').match",
        "math.random",
        "math.randomseed",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[256];
        struct policy_wish wish;
        struct err_text why = { .text = "" };

        snprintf(text, sizeof(text),
                 "return { decide = function() assert(%s == nil) end }",
                 names[i]);
        if (ask_once(text, &wish, &why) != ERR_OK)
            fail_msg("%s: %s", names[i], why.text);
    }
    {
        struct policy_wish wish;
        struct err_text why = { .text = "" };

        assert_ok(ask_once("return { decide = function()\n"
                           "  assert(('a.b'):find('.') == 2)\n"
                           "  assert(('aXb'):find('.') == nil)\n"
                           "end }",
                           &wish, &why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_gives_settings_and_a_reason),
        cmocka_unit_test(test_policy_sees_the_pool_and_the_clock),
        cmocka_unit_test(test_state_stays_and_random_is_seeded),
        cmocka_unit_test(test_options_are_the_operators),
        cmocka_unit_test(test_what_is_no_policy_is_refused),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_budget_ends_what_does_not_end),
        cmocka_unit_test(test_memory_has_a_limit),
        cmocka_unit_test(test_deep_recursion_ends),
        cmocka_unit_test(test_nothing_dangerous_is_there),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
