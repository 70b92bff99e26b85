/* test_base_err.c - the list of errors and the one-line texts. */
#include "unit.h"

#include "base/err.h"

static void test_every_error_has_a_code_of_its_own(void **state)
{
    (void)state;

    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(err_code((enum err)i)) > 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_code((enum err)i),
                                    err_code((enum err)j));
    }
}

static void test_every_error_has_a_sentence(void **state)
{
    (void)state;

    for (int i = 0; i < ERR_COUNT; i++)
        assert_true(strlen(err_sentence((enum err)i)) > 0);
}

static void test_known_errors_have_their_names(void **state)
{
    (void)state;

    assert_int_equal(ERR_OK, 0);
    assert_string_equal(err_code(ERR_OK), "ok");
    assert_string_equal(err_code(ERR_TIMEOUT), "timeout");
    assert_string_equal(err_sentence(ERR_TIMEOUT), "the deadline passed");
    assert_string_equal(err_code(ERR_INTERNAL), "internal");
}

static void test_text_is_formatted_and_leaves_the_sqlstate(void **state)
{
    struct err_text text = { .sqlstate = "23505" };
    (void)state;

    err_text_set(&text, "key %d of \"%s\"", 7, "users");

    assert_string_equal(text.text, "key 7 of \"users\"");
    assert_string_equal(text.sqlstate, "23505");
}

static void test_text_is_one_trimmed_line(void **state)
{
    struct err_text text = { 0 };
    (void)state;

    err_text_set(&text, "\n ERROR:\tno\x7fsuch\r\ntable \xc3\xa9 \n");

    assert_string_equal(text.text, "ERROR: no such  table \xc3\xa9");
}

static void test_text_of_blanks_is_empty(void **state)
{
    struct err_text text = { .text = "old" };
    (void)state;

    err_text_set(&text, "%s", " \n\t ");

    assert_string_equal(text.text, "");
}

static void test_text_is_cut_to_fit(void **state)
{
    struct err_text text = { .sqlstate = "00000" };
    char longer[ERR_TEXT_MAX + 10];
    (void)state;

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    err_text_set(&text, "%s", longer);

    assert_int_equal(strlen(text.text), ERR_TEXT_MAX - 1);
    assert_string_equal(text.sqlstate, "00000");
}

static void test_text_may_be_made_from_itself(void **state)
{
    struct err_text text = { .text = "host unknown" };
    (void)state;

    err_text_set(&text, "connect: %s", text.text);

    assert_string_equal(text.text, "connect: host unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_has_a_code_of_its_own),
        cmocka_unit_test(test_every_error_has_a_sentence),
        cmocka_unit_test(test_known_errors_have_their_names),
        cmocka_unit_test(test_text_is_formatted_and_leaves_the_sqlstate),
        cmocka_unit_test(test_text_is_one_trimmed_line),
        cmocka_unit_test(test_text_of_blanks_is_empty),
        cmocka_unit_test(test_text_is_cut_to_fit),
        cmocka_unit_test(test_text_may_be_made_from_itself),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
