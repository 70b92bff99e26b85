/* test_base_cores.c - how many cores there are to use. */
#include "base/cores.h"
#include "unit.h"

#include <sched.h>

static void test_a_quota_is_cores_rounded_up(void **state)
{
    static const struct {
        const char *text;
        unsigned cores;
    } rows[] = {
        { "200000 100000", 2 }, { "150000 100000", 2 }, { "50000 100000", 1 },
        { "1000 100000", 1 },   { "max 100000", 0 },    { "", 0 },
        { "100000", 0 },        { "100000 0", 0 },      { "-1 100000", 0 },
        { "nonsense", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(cores_of_quota(rows[i].text), rows[i].cores);
}

static void test_cores_are_those_it_may_run_on(void **state)
{
    cpu_set_t all, one;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    assert_in_range(cores_usable(), 1, CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(cores_usable(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quota_is_cores_rounded_up),
        cmocka_unit_test(test_cores_are_those_it_may_run_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
