/* test_base_login.c - a user and a password that change. */
#include "oom.h"
#include "unit.h"

#include "base/login.h"

static void test_login_is_replaced_whole(void **state)
{
    struct login login = { 0 };

    (void)state;
    assert_ok(login_set(&login, "moon", "one"));
    assert_string_equal(login.user, "moon");
    assert_string_equal(login.password, "one");
    assert_ok(login_set(&login, NULL, ""));
    assert_null(login.user);
    assert_string_equal(login.password, "");
    login_clear(&login);
    assert_null(login.password);
    login_clear(&login);
}

static void test_login_stays_when_there_is_no_memory(void **state)
{
    struct login login = { 0 };
    enum err err;
    unsigned failures = 0;

    (void)state;
    assert_ok(login_set(&login, "moon", "one"));
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = login_set(&login, "tide", "two");
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_string_equal(login.user, "moon");
        assert_string_equal(login.password, "one");
        failures++;
    }
    assert_ok(err);
    assert_int_equal(failures, 2);
    assert_string_equal(login.user, "tide");
    login_clear(&login);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_is_replaced_whole),
        cmocka_unit_test(test_login_stays_when_there_is_no_memory),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
