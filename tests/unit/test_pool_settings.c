/* test_pool_settings.c - names, units and limits of the settings. */
#include "unit.h"

#include "pool/settings.h"

#include <math.h>

static void test_defaults_follow_the_cores(void **state)
{
    struct pool_settings settings;

    (void)state;
    pool_settings_init(&settings, 4);
    assert_int_equal(settings.max_connections, 9);
    assert_int_equal(settings.lanes, 5);
    assert_int_equal(settings.min_connections, 0);
    assert_int_equal(settings.acquire_timeout_ns, 30000000000);
    assert_int_equal(settings.stall_timeout_ns, 2000000000);
    assert_true(settings.test_before_acquire);
    assert_ok(pool_settings_check(&settings, NULL));
}

static void test_defaults_are_in_range_for_any_number_of_cores(void **state)
{
    struct pool_settings settings;

    (void)state;
    pool_settings_init(&settings, 0);
    assert_int_equal(settings.max_connections, 3);
    assert_ok(pool_settings_check(&settings, NULL));
    pool_settings_init(&settings, 100000);
    assert_int_equal(settings.max_connections, POOL_MAX_CONNECTIONS);
    assert_ok(pool_settings_check(&settings, NULL));
}

static void test_setting_is_found_by_name_and_by_alias(void **state)
{
    (void)state;
    assert_string_equal(pool_setting_find("idle_timeout")->name,
                        "idle_timeout");
    assert_string_equal(pool_setting_find("connection_timeout")->name,
                        "acquire_timeout");
    assert_null(pool_setting_find("idle_timeout_ns"));
    assert_null(pool_setting_find(""));
}

static void refuse(const struct pool_setting *setting, double value)
{
    struct pool_settings settings, before;
    struct err_text why = { 0 };

    memset(&settings, 0, sizeof(settings));
    pool_settings_init(&settings, 1);
    before = settings;
    assert_err(pool_settings_set(&settings, setting, value, &why), ERR_BADARG);
    assert_memory_equal(&settings, &before, sizeof(settings));
    assert_non_null(strstr(why.text, setting->name));
    assert_err(pool_settings_set(&settings, setting, value, NULL), ERR_BADARG);
}

static void accept(const struct pool_setting *setting, double value)
{
    struct pool_settings settings;

    pool_settings_init(&settings, 1);
    assert_ok(pool_settings_set(&settings, setting, value, NULL));
    assert_true(pool_settings_get(&settings, setting) == value);
}

static void test_each_setting_takes_what_is_within_its_limits(void **state)
{
    const struct pool_setting *setting;

    (void)state;
    for (setting = pool_setting_table; setting->name != NULL; setting++) {
        accept(setting, setting->min);
        accept(setting, setting->max);
        refuse(setting, setting->min - 0.0001);
        refuse(setting, setting->max + 1);
        refuse(setting, NAN);
    }
}

static void test_count_is_whole_and_flag_is_nought_or_one(void **state)
{
    (void)state;
    refuse(pool_setting_find("max_connections"), 2.5);
    refuse(pool_setting_find("test_before_acquire"), 0.5);
    accept(pool_setting_find("idle_timeout"), 2.5);
}

static void test_refusal_says_what_was_expected(void **state)
{
    struct pool_settings settings;
    struct err_text why = { 0 };

    (void)state;
    pool_settings_init(&settings, 1);
    assert_err(
        pool_settings_set(&settings, pool_setting_find("lanes"), 0, &why),
        ERR_BADARG);
    assert_string_equal(why.text,
                        "lanes must be a whole number from 1 to 10000, not 0");
}

static void test_time_is_kept_in_nanoseconds(void **state)
{
    struct pool_settings settings;

    (void)state;
    pool_settings_init(&settings, 1);
    assert_ok(pool_settings_set(&settings, pool_setting_find("test_after"),
                                0.0015, NULL));
    assert_int_equal(settings.test_after_ns, 1500000);
}

static void test_min_may_equal_max_but_not_exceed_it(void **state)
{
    struct pool_settings settings;
    struct err_text why = { 0 };

    (void)state;
    pool_settings_init(&settings, 1);
    settings.min_connections = settings.max_connections;
    assert_ok(pool_settings_check(&settings, &why));
    settings.min_connections = settings.max_connections + 1;
    assert_err(pool_settings_check(&settings, &why), ERR_BADARG);
    assert_string_equal(
        why.text, "min_connections (4) must not be over max_connections (3)");
}

static void test_check_refuses_a_value_that_no_setter_saw(void **state)
{
    struct pool_settings settings;
    struct err_text why = { 0 };

    (void)state;
    pool_settings_init(&settings, 1);
    settings.stall_timeout_ns = 0;
    assert_err(pool_settings_check(&settings, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "stall_timeout"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_follow_the_cores),
        cmocka_unit_test(test_defaults_are_in_range_for_any_number_of_cores),
        cmocka_unit_test(test_setting_is_found_by_name_and_by_alias),
        cmocka_unit_test(test_each_setting_takes_what_is_within_its_limits),
        cmocka_unit_test(test_count_is_whole_and_flag_is_nought_or_one),
        cmocka_unit_test(test_refusal_says_what_was_expected),
        cmocka_unit_test(test_time_is_kept_in_nanoseconds),
        cmocka_unit_test(test_min_may_equal_max_but_not_exceed_it),
        cmocka_unit_test(test_check_refuses_a_value_that_no_setter_saw),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
