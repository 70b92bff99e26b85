/* test_base_trace_context.c - the W3C's traceparent and tracestate. */
#include "unit.h"

#include "base/trace_context.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN  "00f067aa0ba902b7"

static bool reads(const char *text)
{
    struct trace_parent parent;

    return trace_parent_read(&parent, text, strlen(text));
}

static void test_a_traceparent_gives_its_parts(void **state)
{
    const char text[] = "00-" TRACE "-" SPAN "-01";
    struct trace_parent parent;
    char again[TRACEPARENT_LEN + 1];

    (void)state;
    assert_true(trace_parent_read(&parent, text, strlen(text)));
    assert_string_equal(parent.trace_id, TRACE);
    assert_string_equal(parent.span_id, SPAN);
    assert_true(parent.is_sampled);
    trace_parent_write(again, &parent);
    assert_string_equal(again, text);
}

static void test_of_the_flags_only_sampled_is_known(void **state)
{
    const char text[] = "00-" TRACE "-" SPAN "-fe";
    struct trace_parent parent;
    char again[TRACEPARENT_LEN + 1];

    (void)state;
    assert_true(trace_parent_read(&parent, text, strlen(text)));
    assert_false(parent.is_sampled);
    trace_parent_write(again, &parent);
    assert_string_equal(again, "00-" TRACE "-" SPAN "-00");
}

static void test_of_a_later_version_what_is_known_is_read(void **state)
{
    (void)state;
    assert_true(reads("cc-" TRACE "-" SPAN "-01"));
    assert_true(reads("01-" TRACE "-" SPAN "-01-what-the-future-brings"));
    assert_false(reads("01-" TRACE "-" SPAN "-01.what"));
    assert_false(reads("ff-" TRACE "-" SPAN "-01"));
}

static void test_what_is_no_traceparent_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN,
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-more",
        "00-" TRACE "-" SPAN "-0x",
        "0x-" TRACE "-" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        " 00-" TRACE "-" SPAN "-01",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (reads(wrong[i]))
            fail_msg("was read: \"%s\"", wrong[i]);
}

static void test_what_is_refused_changes_nothing(void **state)
{
    struct trace_parent parent = { .trace_id = "before" };
    const char text[] = "00-" TRACE "-0000000000000000-01";

    (void)state;
    assert_false(trace_parent_read(&parent, text, strlen(text)));
    assert_string_equal(parent.trace_id, "before");
}

static void test_a_tracestate_is_printable_and_bounded(void **state)
{
    char most[TRACESTATE_MOST + 1];

    (void)state;
    memset(most, 'a', sizeof(most));
    assert_true(trace_state_is_fit("a=1,b=2", 7));
    assert_true(trace_state_is_fit(most, TRACESTATE_MOST));
    assert_false(trace_state_is_fit(most, TRACESTATE_MOST + 1));
    assert_false(trace_state_is_fit("", 0));
    assert_false(trace_state_is_fit("a=\x01", 3));
    assert_false(trace_state_is_fit("a=\xc3\xa4", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_traceparent_gives_its_parts),
        cmocka_unit_test(test_of_the_flags_only_sampled_is_known),
        cmocka_unit_test(test_of_a_later_version_what_is_known_is_read),
        cmocka_unit_test(test_what_is_no_traceparent_is_refused),
        cmocka_unit_test(test_what_is_refused_changes_nothing),
        cmocka_unit_test(test_a_tracestate_is_printable_and_bounded),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
