/* test_script_origin.c - ids, keys and traces of requests. */
#include "unit.h"

#include "http/header.h"
#include "oom.h"
#include "script/origin.h"

#include <stdlib.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00-" TRACE "-00f067aa0ba902b7-01"

static struct origin_source source;

static int set_up(void **state)
{
    (void)state;
    source = (struct origin_source){ .high = { 1 }, .low = { 2 } };
    source.sampled_from = sample_from(0);
    return 0;
}

static struct http_header header(const char *name, const char *value)
{
    return (struct http_header){ { name, strlen(name) },
                                 { value, strlen(value) } };
}

static struct origin *with(const char *name, const char *value)
{
    struct http_header only = header(name, value);

    return origin_new(&source, &only, 1);
}

static void test_an_id_of_the_client_is_kept(void **state)
{
    struct origin *origin = with("x-request-id", "Abc-123_4.5:6/7+8=9@x");

    (void)state;
    assert_string_equal(origin->id, "Abc-123_4.5:6/7+8=9@x");
    origin_unref(origin);
}

static void test_an_id_that_is_none_is_replaced(void **state)
{
    static const char *const wrong[] = {
        "",
        "a b",
        "a\nb",
        "a\"b",
        "\xc3\xa4",
        "a,b",
        "0123456789012345678901234567890123456789012345678901234567890123x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct origin *origin = with("x-request-id", wrong[i]);

        assert_int_equal(strlen(origin->id), TRACE_ID_LEN);
        assert_int_equal(strspn(origin->id, "0123456789abcdef"), TRACE_ID_LEN);
        origin_unref(origin);
    }
}

static void test_headers_that_stand_twice_count_as_none(void **state)
{
    struct http_header twice[] = { header("x-request-id", "one"),
                                   header("x-request-id", "two"),
                                   header("traceparent", PARENT),
                                   header("traceparent", PARENT) };
    struct origin *origin = origin_new(&source, twice, 4);

    (void)state;
    assert_int_equal(strlen(origin->id), TRACE_ID_LEN);
    assert_false(origin->has_trace);
    origin_unref(origin);
}

static void test_a_trace_goes_on_with_a_span_of_our_own(void **state)
{
    struct http_header headers[] = { header("traceparent", PARENT),
                                     header("tracestate", "a=1"),
                                     header("tracestate", "b=2") };
    struct origin *origin = origin_new(&source, headers, 3);
    const struct trace_parent *trace = origin_trace(&source, origin);

    (void)state;
    assert_string_equal(trace->trace_id, TRACE);
    assert_string_equal(origin->parent_id, "00f067aa0ba902b7");
    assert_string_not_equal(trace->span_id, origin->parent_id);
    assert_true(trace->is_sampled);
    assert_true(origin_is_sampled(&source, origin));
    assert_string_equal(origin->state, "a=1,b=2");
    assert_int_equal(origin->key, 0xce929d0e0e4736);
    origin_unref(origin);
}

static void test_a_tracestate_without_its_trace_is_dropped(void **state)
{
    struct http_header headers[] = { header("traceparent", "00-0-0-00"),
                                     header("tracestate", "a=1") };
    struct origin *origin = origin_new(&source, headers, 2);

    (void)state;
    assert_false(origin->has_trace);
    assert_null(origin->state);
    origin_unref(origin);
}

static void test_a_tracestate_that_is_too_long_is_dropped(void **state)
{
    char longest[TRACESTATE_MOST + 1];
    struct http_header headers[3] = { header("traceparent", PARENT),
                                      header("tracestate", "a=1") };
    struct origin *origin;

    (void)state;
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    headers[2] = header("tracestate", longest);
    origin = origin_new(&source, headers, 3);
    assert_true(origin->has_trace);
    assert_null(origin->state);
    origin_unref(origin);
}

static void test_a_trace_that_begins_here_has_the_key_of_the_id(void **state)
{
    struct origin *origin = with("x-request-id", "the same everywhere");
    struct origin *made;
    char tail[17];

    (void)state;
    origin_unref(origin);
    origin = with("x-request-id", "same-everywhere");
    made = with("x-request-id", "same-everywhere");
    assert_int_equal(origin->key, made->key);
    origin_trace(&source, origin);
    origin_trace(&source, made);
    assert_string_not_equal(origin->trace.trace_id, made->trace.trace_id);
    trace_put_hex(tail, origin->key);
    assert_string_equal(origin->trace.trace_id + 18, tail + 2);
    assert_int_equal(origin->trace.trace_id[0] != '\0', 1);
    origin_unref(origin);
    origin_unref(made);
}

static void test_a_share_of_the_keys_is_sampled(void **state)
{
    unsigned sampled = 0;

    (void)state;
    source.sampled_from = sample_from(0.25);
    for (int i = 0; i < 10000; i++) {
        struct origin *origin = origin_new(&source, NULL, 0);
        bool is_sampled = origin_is_sampled(&source, origin);

        assert_int_equal(origin_trace(&source, origin)->is_sampled, is_sampled);
        sampled += is_sampled;
        origin_unref(origin);
    }
    assert_in_range(sampled, 2300, 2700);
}

static void test_none_and_all_are_sampled_at_the_ends(void **state)
{
    struct origin *origin = origin_new(&source, NULL, 0);

    (void)state;
    origin->key = ((uint64_t)1 << ORIGIN_KEY_BITS) - 1;
    assert_false(origin_is_sampled(&source, origin));
    source.sampled_from = sample_from(1);
    origin->key = 0;
    assert_true(origin_is_sampled(&source, origin));
    origin_unref(origin);
}

static void test_the_comment_cannot_be_left(void **state)
{
    static const char route[] = "/a*/; DROP TABLE t; --'%:x";
    struct http_header headers[] = { header("x-request-id", "id=1"),
                                     header("traceparent", PARENT),
                                     header("tracestate", "k='*/") };
    struct origin *origin = origin_new(&source, headers, 3);
    struct buf out = { 0 };

    (void)state;
    strcpy(origin->trace.span_id, "0000000000000001");
    origin_set_route(origin, route, strlen(route));
    origin_put_comment(&source, origin, &out);
    assert_buf(&out,
               " /*request_id='id%3D1',"
               "route='%2Fa%2A%2F%3B%20DROP%20TABLE%20t%3B%20--%27%25%3Ax'"
               ",traceparent='00-" TRACE "-0000000000000001-01'"
               ",tracestate='k%3D%27%2A%2F'*/");
    buf_free(&out);
    origin_unref(origin);
}

static void test_no_memory_is_no_origin(void **state)
{
    (void)state;
    oom_fail_at(1);
    assert_null(origin_new(&source, NULL, 0));
    oom_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_id_of_the_client_is_kept, set_up),
        cmocka_unit_test_setup(test_an_id_that_is_none_is_replaced, set_up),
        cmocka_unit_test_setup(test_headers_that_stand_twice_count_as_none,
                               set_up),
        cmocka_unit_test_setup(test_a_trace_goes_on_with_a_span_of_our_own,
                               set_up),
        cmocka_unit_test_setup(test_a_tracestate_without_its_trace_is_dropped,
                               set_up),
        cmocka_unit_test_setup(test_a_tracestate_that_is_too_long_is_dropped,
                               set_up),
        cmocka_unit_test_setup(
            test_a_trace_that_begins_here_has_the_key_of_the_id, set_up),
        cmocka_unit_test_setup(test_a_share_of_the_keys_is_sampled, set_up),
        cmocka_unit_test_setup(test_none_and_all_are_sampled_at_the_ends,
                               set_up),
        cmocka_unit_test_setup(test_the_comment_cannot_be_left, set_up),
        cmocka_unit_test_setup(test_no_memory_is_no_origin, set_up),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
