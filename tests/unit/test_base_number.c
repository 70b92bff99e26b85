/* test_base_number.c - numbers as text. */
#include "unit.h"

#include "base/number.h"

#include <math.h>
#include <stdlib.h>

static void check(double number, const char *expected)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_text(text, number);

    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected));
}

static void test_whole_numbers_have_no_point(void **state)
{
    (void)state;
    check(0, "0");
    check(-0.0, "0");
    check(7, "7");
    check(-10, "-10");
    check(999999999999999.0, "999999999999999");
}

static void test_fractions_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    check(0.1, "0.1");
    check(-2.5, "-2.5");
    check(1e300, "1e+300");
    check(0.1 + 0.2, "0.30000000000000004");
}

static void test_what_is_no_number_is_named_as_postgres_does(void **state)
{
    (void)state;
    check(NAN, "NaN");
    check(INFINITY, "Infinity");
    check(-INFINITY, "-Infinity");
}

static void test_text_reads_back_as_the_same_number(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        char text[NUMBER_TEXT_MAX];
        double number;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        memcpy(&number, &seed, sizeof(number));
        if (isnan(number))
            continue;
        number_text(text, number);
        assert_true(strtod(text, NULL) == number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers_have_no_point),
        cmocka_unit_test(test_fractions_are_as_short_as_they_can_be),
        cmocka_unit_test(test_what_is_no_number_is_named_as_postgres_does),
        cmocka_unit_test(test_text_reads_back_as_the_same_number),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
