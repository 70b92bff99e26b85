/* test_http_pace.c - when the requests of an open loop are due, in made-up
 * time. */
#include "unit.h"

#include "http/pace.h"

static const uint64_t SECOND = 1000000000;
static const uint64_t START = 123456789;

static void test_requests_are_due_at_even_distances(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, START, 100, 2 * SECOND, 0);
    assert_int_equal(pace.total, 200);
    assert_int_equal(pace_due_ns(&pace, 0), START);
    assert_int_equal(pace_due_ns(&pace, 1), START + 10000000);
    assert_int_equal(pace_due_ns(&pace, 199), START + 1990000000);
}

static void test_a_request_counts_from_the_moment_it_is_due(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, START, 100, 2 * SECOND, 0);
    assert_int_equal(pace_count(&pace, START - 1), 0);
    assert_int_equal(pace_count(&pace, START), 1);
    assert_int_equal(pace_count(&pace, START + 9999999), 1);
    assert_int_equal(pace_count(&pace, START + 10000000), 2);
}

static void test_no_request_is_due_at_the_end_or_after_it(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, START, 100, 2 * SECOND, 0);
    assert_int_equal(pace_count(&pace, START + 2 * SECOND), 200);
    assert_int_equal(pace_count(&pace, START + 60 * SECOND), 200);
}

static void test_a_limit_ends_it_sooner(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, START, 100, 2 * SECOND, 3);
    assert_int_equal(pace.total, 3);
    assert_int_equal(pace_count(&pace, START + SECOND), 3);
}

static void test_a_rate_below_one_has_its_first_at_once(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, START, 0.5, 5 * SECOND, 0);
    assert_int_equal(pace.total, 3);
    assert_int_equal(pace_count(&pace, START), 1);
    assert_int_equal(pace_due_ns(&pace, 1), START + 2 * SECOND);
}

/* Rates whose distances are no whole numbers: rounding must not lose any. */
static void test_due_and_count_agree_at_any_rate(void **state)
{
    static const double rates[] = { 0.3, 3, 7, 999.7, 33333, 1e6, 7e6 };

    (void)state;
    for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
        struct pace pace;

        pace_init(&pace, START, rates[r], 1000 * SECOND, 0);
        for (uint64_t i = 0; i < pace.total && i < 5000; i++) {
            assert_true(pace_count(&pace, pace_due_ns(&pace, i)) >= i + 1);
            assert_true(pace_count(&pace, pace_due_ns(&pace, i) - 1) <= i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_due_at_even_distances),
        cmocka_unit_test(test_a_request_counts_from_the_moment_it_is_due),
        cmocka_unit_test(test_no_request_is_due_at_the_end_or_after_it),
        cmocka_unit_test(test_a_limit_ends_it_sooner),
        cmocka_unit_test(test_a_rate_below_one_has_its_first_at_once),
        cmocka_unit_test(test_due_and_count_agree_at_any_rate),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
