/* test_base_hist.c - the histogram against sorted values. */
#include "unit.h"

#include "base/hist.h"
#include "base/rand.h"

#include <math.h>
#include <stdlib.h>

enum { SAMPLES = 20000 };

static const double quantiles[] = { 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* Values of every magnitude, with more than a few exact powers of two. */
static void fill(struct hist *hist, uint64_t *values, uint64_t seed)
{
    struct rand rand = { seed };

    for (int i = 0; i < SAMPLES; i++) {
        uint64_t power = (uint64_t)1 << rand_below(&rand, 40);

        values[i] = power;
        if (rand_below(&rand, 4) > 0)
            values[i] = rand_below(&rand, power) + 1;
        hist_record(hist, values[i]);
    }
    qsort(values, SAMPLES, sizeof(values[0]), compare);
}

static uint64_t count_to(const uint64_t *values, uint64_t bound)
{
    uint64_t count = 0;

    while (count < SAMPLES && values[count] <= bound)
        count++;
    return count;
}

static void test_empty_histogram_answers_zero(void **state)
{
    struct hist hist = { 0 };
    (void)state;

    assert_int_equal(hist_quantile(&hist, 0.5), 0);
    assert_int_equal(hist_count_to(&hist, 0), 0);
    assert_int_equal(hist_count_to(&hist, UINT64_MAX), 0);
}

static void test_record_keeps_count_sum_and_max(void **state)
{
    struct hist hist = { 0 };
    (void)state;

    hist_record(&hist, 5);
    hist_record(&hist, 0);
    hist_record(&hist, 1000);

    assert_int_equal(hist.count, 3);
    assert_int_equal(hist.sum_ns, 1005);
    assert_int_equal(hist.max_ns, 1000);
}

static void test_one_value_is_every_quantile(void **state)
{
    (void)state;

    for (uint64_t value = 0; value < 5000; value++) {
        struct hist hist = { 0 };

        hist_record(&hist, value);
        assert_int_equal(hist_quantile(&hist, 0), value);
        assert_int_equal(hist_quantile(&hist, 0.5), value);
        assert_int_equal(hist_quantile(&hist, 1), value);
    }
}

static void test_quantiles_are_within_one_sixteenth(void **state)
{
    static uint64_t values[SAMPLES];
    struct hist hist = { 0 };
    (void)state;

    fill(&hist, values, 1);

    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        uint64_t exact = values[(size_t)(quantiles[i] * SAMPLES + 0.5) - 1];
        uint64_t found = hist_quantile(&hist, quantiles[i]);

        assert_true(found >= exact);
        assert_true(found - exact <= exact / HIST_SUB);
    }
    assert_int_equal(hist_quantile(&hist, 1), values[SAMPLES - 1]);
}

static void test_quantile_outside_0_to_1_is_the_nearest(void **state)
{
    struct hist hist = { 0 };
    (void)state;

    hist_record(&hist, 3);
    hist_record(&hist, 900);

    assert_int_equal(hist_quantile(&hist, -1), 3);
    assert_int_equal(hist_quantile(&hist, NAN), 3);
    assert_int_equal(hist_quantile(&hist, 7), 900);
}

static void test_counts_to_powers_of_two_are_exact(void **state)
{
    static uint64_t values[SAMPLES];
    struct hist hist = { 0 };
    (void)state;

    fill(&hist, values, 2);

    for (int power = 0; power <= 40; power++) {
        uint64_t bound = (uint64_t)1 << power;

        assert_int_equal(hist_count_to(&hist, bound), count_to(values, bound));
    }
}

static void test_neighbours_of_a_power_of_two_are_told_apart(void **state)
{
    (void)state;

    for (int power = 1; power <= 40; power++) {
        uint64_t bound = (uint64_t)1 << power;
        struct hist hist = { 0 };

        hist_record(&hist, bound - 1);
        hist_record(&hist, bound);
        hist_record(&hist, bound + 1);
        assert_int_equal(hist_count_to(&hist, bound), 2);
    }
}

static void test_counts_never_fall_as_the_bound_rises(void **state)
{
    static uint64_t values[SAMPLES];
    struct hist hist = { 0 };
    uint64_t last = 0;
    (void)state;

    fill(&hist, values, 3);

    for (uint64_t bound = 1; bound < (uint64_t)1 << 42;
         bound += bound / 7 + 1) {
        uint64_t count = hist_count_to(&hist, bound);

        assert_true(count >= last);
        assert_true(count >= count_to(values, bound));
        assert_true(count <= count_to(values, bound + bound / HIST_SUB));
        last = count;
    }
    assert_int_equal(last, SAMPLES);
}

static void test_values_beyond_the_range_share_the_last_bucket(void **state)
{
    struct hist hist = { 0 };
    (void)state;

    hist_record(&hist, (uint64_t)1 << 40);
    hist_record(&hist, ((uint64_t)1 << 40) + 1);
    hist_record(&hist, UINT64_MAX - 1);

    assert_int_equal(hist.buckets[HIST_BUCKETS - 2], 1);
    assert_int_equal(hist.buckets[HIST_BUCKETS - 1], 2);
    assert_int_equal(hist_quantile(&hist, 0.9), UINT64_MAX - 1);
    assert_int_equal(hist_count_to(&hist, (uint64_t)1 << 50), 1);
    assert_int_equal(hist_count_to(&hist, UINT64_MAX), 3);
}

static void test_what_came_since_a_copy_is_told_apart(void **state)
{
    static struct hist all, before, since;

    (void)state;
    memset(&all, 0, sizeof(all));
    memset(&since, 0, sizeof(since));
    for (int i = 0; i < 100; i++)
        hist_record(&all, 1 << 20);
    before = all;
    hist_record(&all, 1 << 10);
    hist_record(&all, 1 << 12);
    hist_add_since(&since, &all, &before);
    assert_int_equal(since.count, 2);
    assert_int_equal(since.sum_ns, (1 << 10) + (1 << 12));
    assert_int_equal(hist_quantile(&since, 0.5), 1 << 10);
    assert_int_equal(hist_quantile(&since, 1), 1 << 12);
    hist_add_since(&since, &all, NULL);
    assert_int_equal(since.count, 104);
    assert_int_equal(hist_quantile(&since, 0.9), 1 << 20);
    hist_add_since(&since, &all, &all);
    assert_int_equal(since.count, 104);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_came_since_a_copy_is_told_apart),
        cmocka_unit_test(test_empty_histogram_answers_zero),
        cmocka_unit_test(test_record_keeps_count_sum_and_max),
        cmocka_unit_test(test_one_value_is_every_quantile),
        cmocka_unit_test(test_quantiles_are_within_one_sixteenth),
        cmocka_unit_test(test_quantile_outside_0_to_1_is_the_nearest),
        cmocka_unit_test(test_counts_to_powers_of_two_are_exact),
        cmocka_unit_test(test_neighbours_of_a_power_of_two_are_told_apart),
        cmocka_unit_test(test_counts_never_fall_as_the_bound_rises),
        cmocka_unit_test(test_values_beyond_the_range_share_the_last_bucket),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
